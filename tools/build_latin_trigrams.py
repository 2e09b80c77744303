"""Builds ``corpuskit/clean/latin_trigrams.gz`` from the language profiles of the package langdetect.

    pip install langdetect==1.0.9 && python tools/build_latin_trigrams.py

The profiles (Nakatani Shuyo, Apache License 2.0) count the letter trigrams of Wikipedia abstracts. The
table holds, for each trigram over 28 symbols and each group of languages, the log-likelihood ratio to
English in quarters of a nat, as int8.
"""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path

import langdetect
import numpy as np

GROUPS = (
    "de", "nl af", "fr", "es ca", "pt", "it", "sv da no", "pl cs sk",
    "hr sl", "ro", "hu", "fi et", "tr", "id tl sw so", "vi", "lt lv sq cy",
)  # fmt: skip
"""Close relatives share a column: they need telling from English, not from each other."""

SMOOTHING = 5.0
"""Added to each count in a million: of 1, 2, 3, 5 and 20 the best sum of errors on English and others."""

UNITS_PER_NAT = 4
SYMBOLS = {" ": 0} | {letter: index for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz", 1)}
OTHER_LATIN = 27


def symbol(character: str) -> int | None:
    """The symbol of one character of a trigram; None for other scripts."""
    if character in SYMBOLS:
        return SYMBOLS[character]
    is_latin = character.isalpha() and "LATIN" in unicodedata.name(character, "")
    return OTHER_LATIN if is_latin else None


def shares(language: str) -> np.ndarray:
    """Share of each trigram, float64[28 ** 3]."""
    profile = json.loads((Path(langdetect.__file__).parent / "profiles" / language).read_text("utf-8"))
    counts = np.zeros(28**3)
    for gram, count in profile["freq"].items():
        symbols = [symbol(character) for character in gram.lower()]
        if len(gram) == 3 and len(symbols) == 3 and None not in symbols:
            counts[symbols[0] * 784 + symbols[1] * 28 + symbols[2]] += count
    return counts / counts.sum()


def main() -> None:
    """Write the table."""
    english = np.log(shares("en") * 1e6 + SMOOTHING)
    columns = []
    for group in GROUPS:
        mean = np.mean([shares(language) for language in group.split()], axis=0)
        ratio = UNITS_PER_NAT * (np.log(mean * 1e6 + SMOOTHING) - english)
        columns.append(np.clip(np.round(ratio), -127, 127).astype(np.int8))
    target = Path(__file__).parent.parent / "corpuskit" / "clean" / "latin_trigrams.gz"
    target.write_bytes(gzip.compress(np.array(columns).tobytes(), 9, mtime=0))
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
