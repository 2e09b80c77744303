"""Builds ``corpuskit/vocab/unicode_classes.gz``: the class of every code point as tiktoken sees it.

    python tools/build_unicode_classes.py

Probed from tiktoken's own regular expressions rather than taken from `unicodedata` (or `regex`), whose
Unicode version is another one: Python 3.11 (Unicode 14) puts thousands of code points elsewhere. It also
checks that Hugging Face tokenizers sees the same classes, and that the letters of the case-insensitive
contractions ('s 't 're 've 'm 'll 'd) match nothing but themselves, their capitals, and ſ for s.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import tiktoken
import tokenizers
from tokenizers import normalizers

CODE_POINTS = 0x110000
CLASSES = {1: r"[\p{Lu}\p{Lt}]", 2: r"\p{Ll}", 3: r"[\p{Lm}\p{Lo}]", 4: r"\p{M}", 5: r"\p{N}", 6: r"\s"}
"""Class numbers of `corpuskit.kernels.pretokenize`; 0 is everything else, 7 the two newlines."""

NEWLINE, HAN_FLAG = 7, 8
FOLDED = {"s": "sSſ", **{letter: letter + letter.upper() for letter in "trevmld"}}
_CHUNK = 1 << 16
_EVERYTHING = [chr(code) for code in range(CODE_POINTS) if not 0xD800 <= code < 0xE000]


def matched(pattern: str) -> set[str]:
    """The characters that tiktoken matches: it drops all others."""
    encoding = tiktoken.Encoding(
        "probe", pat_str=pattern, mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
    )
    found: set[str] = set()
    for first in range(0, len(_EVERYTHING), _CHUNK):
        text = "".join(_EVERYTHING[first : first + _CHUNK])
        found |= set(bytes(encoding.encode_ordinary(text)).decode())
    return found


def matched_by_tokenizers(pattern: str) -> set[str]:
    """The characters that Hugging Face tokenizers matches."""
    remove = normalizers.Replace(tokenizers.Regex(pattern), "")
    left: set[str] = set()
    for first in range(0, len(_EVERYTHING), _CHUNK):
        left |= set(remove.normalize_str("".join(_EVERYTHING[first : first + _CHUNK])))
    return set(_EVERYTHING) - left


def classes() -> np.ndarray:
    """Class of each code point, uint8[0x110000]."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for number, pattern in CLASSES.items():
        codes = _codes(pattern)
        if table[codes].any():
            raise SystemExit(f"{pattern} overlaps another class")
        table[codes] = number
    table[[ord("\r"), ord("\n")]] = NEWLINE
    table[_codes(r"\p{Han}")] |= HAN_FLAG
    if (table != 0).sum() - (table == HAN_FLAG).sum() != len(_codes(r"[\p{L}\p{M}\p{N}\s]")):
        raise SystemExit("the classes do not add up")
    return table


def _codes(pattern: str) -> list[int]:
    characters = matched(pattern)
    if characters != matched_by_tokenizers(pattern):
        raise SystemExit(f"tiktoken and tokenizers differ on {pattern}")
    return sorted(map(ord, characters))


def main() -> None:
    """Write the table."""
    for letter, expected in FOLDED.items():
        if matched(f"(?i:{letter})") != set(expected):
            raise SystemExit(f"(?i:{letter}) matches {sorted(matched(f'(?i:{letter})'))}")
    out = Path(__file__).parent.parent / "corpuskit" / "vocab" / "unicode_classes.gz"
    out.write_bytes(gzip.compress(classes().tobytes(), mtime=0))
    print(f"{out}: {out.stat().st_size} bytes, tiktoken {tiktoken.__version__}")


if __name__ == "__main__":
    main()
