"""The text that benchmarks run on: real corpora where they are, else the demo's articles."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import zstandard

from corpuskit.pipeline.demo.build import articles

_SHARED = Path(os.environ.get("CORPUSKIT_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))


def texts(name: str = "news", max_characters: int = 4_000_000) -> list[str]:
    """Documents of ``text/<name>.jsonl.zst``, up to `max_characters`.

    Without the corpora the demo's articles are repeated; ratios stay meaningful, as every
    contender reads the same.
    """
    path = _SHARED / "text" / f"{name}.jsonl.zst"
    if path.exists():
        with path.open("rb") as raw:
            stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
            source = (json.loads(line)["text"] for line in stream)
            return _take(source, max_characters)
    demo = ["\n".join(article.paragraphs) for article in articles()]
    return _take((demo[i % len(demo)] for i in range(10**9)), max_characters)


def cut(documents: list[str], characters: int) -> list[str]:
    """The same text as documents of exactly `characters` characters."""
    whole = "".join(documents)
    return [whole[i : i + characters] for i in range(0, len(whole) - characters + 1, characters)]


def _take(source, max_characters: int) -> list[str]:
    taken, total = [], 0
    for text in source:
        if total >= max_characters:
            break
        taken.append(text)
        total += len(text)
    return taken
