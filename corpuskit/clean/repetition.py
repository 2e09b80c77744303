"""Documents that say the same thing over and over.

The published n-gram limits do not carry over: they count words, and the Chinese ones of FineWeb-2
were computed with joined spaces in the numerator only, which inflates them by half or more. So
n-grams here are of characters, and the limits were set on Chinese prose; statutes and news
bulletins, the most formulaic of it, must pass nearly whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from corpuskit.clean.steps import Check, Judged, Step, at_most, require_at_least, require_shares, texts
from corpuskit.documents import DocumentBatch

MAX_SCAN_CHARACTERS = 200_000
"""n-grams are counted in the first 200,000 visible characters: a bound on time and memory that
leaves the shares of even a book as they are."""


@dataclass(frozen=True)
class Repetition(Step):
    """Drop documents dominated by repeated lines or repeated runs of characters.

    Attributes
    ----------
    max_duplicate_line_share : float
        ``clean/duplicate_line_share``: characters in lines that stood before in the same document.
        FineWeb-2 allows 0.287 of the lines; FineWeb 0.1 of the characters, raised from 0.01 in
        FineWeb-2.
    top_ngram_size : int
    max_top_ngram_share : float
        ``clean/top_ngram_share``: characters covered by the most frequent n-gram, at most `n` for
        each occurrence. FineWeb-2 allows 0.171 to 4-grams of Chinese words, inflated as above.
    duplicate_ngram_size : int
    max_duplicate_ngram_share : float
        ``clean/duplicate_ngram_share``: windows of `n` characters that occurred before.
        ChineseWebText: 0.5 of 13-grams.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    max_duplicate_line_share: float = 0.3
    top_ngram_size: int = 5
    max_top_ngram_share: float = 0.2
    duplicate_ngram_size: int = 13
    max_duplicate_ngram_share: float = 0.4

    def __post_init__(self) -> None:
        require_shares(self, "max_duplicate_line_share", "max_top_ngram_share", "max_duplicate_ngram_share")
        require_at_least(self, 2, "top_ngram_size", "duplicate_ngram_size")

    def judge(self, batch: DocumentBatch) -> Judged:
        return Judged(batch, self.checks(texts(batch)))

    def checks(self, text: pa.Array) -> list[Check]:
        """The checks of a string array, in the order in which they decide."""
        rows = [self._measure(value.as_py()) for value in text]
        lines, top, duplicate = np.array(rows, np.float64).reshape(-1, 3).T
        return [
            at_most("duplicate_line_share", lines, self.max_duplicate_line_share),
            at_most("top_ngram_share", top, self.max_top_ngram_share),
            at_most("duplicate_ngram_share", duplicate, self.max_duplicate_ngram_share),
        ]

    def _measure(self, text: str) -> tuple[float, float, float]:
        visible = "".join(text.split())[:MAX_SCAN_CHARACTERS]
        codes = np.frombuffer(visible.encode("utf-32-le"), np.uint32).astype(np.uint64)
        return (
            duplicate_line_share(text),
            top_ngram_share(codes, self.top_ngram_size),
            duplicate_ngram_share(codes, self.duplicate_ngram_size),
        )


def duplicate_line_share(text: str) -> float:
    """Characters in lines that occurred before, per character; blank lines do not count."""
    seen: set[str] = set()
    total = repeated = 0
    for raw in text.split("\n"):
        line = raw.strip()
        total += len(line)
        if line in seen:
            repeated += len(line)
        seen.add(line)
    return repeated / total if total else 0.0


def top_ngram_share(codes: np.ndarray, size: int) -> float:
    """Characters covered by the most frequent n-gram, counting `size` for each occurrence, at most 1.

    Parameters
    ----------
    codes : uint64[num_characters]
        Code points without white space.
    size : int
        Characters an n-gram. An n-gram that occurs once covers nothing.
    """
    hashes = _ngram_hashes(codes, size)
    if hashes.size == 0:
        return 0.0
    most = int(np.unique(hashes, return_counts=True)[1].max())
    return min(1.0, most * size / codes.size) if most > 1 else 0.0


def duplicate_ngram_share(codes: np.ndarray, size: int) -> float:
    """Share of the windows of `size` characters that occurred before in the document."""
    hashes = _ngram_hashes(codes, size)
    return 1.0 - np.unique(hashes).size / hashes.size if hashes.size else 0.0


def _ngram_hashes(codes: np.ndarray, size: int) -> np.ndarray:
    """64-bit polynomial hashes of all windows; equal windows have equal hashes."""
    count = codes.size - size + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    hashes = np.zeros(count, np.uint64)
    for offset in range(size):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += codes[offset : offset + count]
    return hashes
