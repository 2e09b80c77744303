"""The text that benchmarks run on: real corpora where they are, else the demo's articles."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import zstandard

from corpuskit.pipeline.demo.build import articles

_SHARED = Path(os.environ.get("CORPUSKIT_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))


def texts(name: str = "news", max_characters: int = 4_000_000) -> list[str]:
    """Documents of ``text/<name>.jsonl.zst``, up to `max_characters`.

    Without the corpora the demo's articles are repeated; ratios stay meaningful, as every
    contender reads the same.
    """
    if available():
        return _take((record["text"] for record in records(name)), max_characters)
    demo = ["\n".join(article.paragraphs) for article in articles()]
    return _take((demo[i % len(demo)] for i in range(10**9)), max_characters)


def available() -> bool:
    """Whether the real corpora are there."""
    return (_SHARED / "text").is_dir()


def records(name: str) -> Iterator[dict]:
    """The records of ``text/<name>.jsonl.zst``, all fields."""
    with (_SHARED / "text" / f"{name}.jsonl.zst").open("rb") as raw:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8"):
            yield json.loads(line)


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
