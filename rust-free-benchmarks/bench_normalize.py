"""Normalisation of scraped news: the kernel beside the plain Python it must equal, and beside ftfy.

ftfy does other work (it folds fullwidth punctuation, which ours keeps); it is here because pipelines call
`ftfy.fix_text` where ours calls `Normalize`.
"""

from __future__ import annotations

import time

import ftfy
import pyarrow as pa
from corpus import texts
from harness import Contender, compare, version

from corpuskit.clean.normalize import PRESETS, Normalize, normalize_batch, normalize_text


def main() -> None:
    """About 3 MB of news, presets ``web`` and ``books``."""
    documents = texts("news", 1_000_000)
    array = pa.array(documents, pa.large_string())
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    web, books = Normalize.preset("web"), Normalize.preset("books")
    expected = [normalize_text(text, web) for text in documents]

    def check(name: str, value: object) -> None:
        if isinstance(value, tuple) and name.endswith("web") and value[0].to_pylist() != expected:
            raise ValueError(f"{name} gave another text than the reference")

    compare(
        "Normalisation, news",
        [
            Contender("corpuskit web", lambda: normalize_batch(array, web)),
            Contender("corpuskit books", lambda: normalize_batch(array, books)),
            Contender("its plain reference", lambda: [normalize_text(text, web) for text in documents]),
            Contender(version("ftfy"), lambda: [ftfy.fix_text(text) for text in documents]),
        ],
        megabytes,
        "MB",
        rounds=3,
        check=check,
    )
    for name in PRESETS:
        config = Normalize.preset(name)
        normalize_batch(array, config)
        started = time.process_time()
        normalize_batch(array, config)
        print(f"  {name:<8} {megabytes / (time.process_time() - started):6.0f} MB/s of processor time")


if __name__ == "__main__":
    main()
