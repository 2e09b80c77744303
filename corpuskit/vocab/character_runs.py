"""Where new tokens may not run across: borders between scripts, and between text and punctuation.

A byte-level BPE's pattern keeps letters, digits and punctuation apart but not scripts (``ＡＢＣ公司`` is one
run of letters, so a token ``Ｃ公`` could be made), and a SentencePiece model applies no pattern at all when
it encodes. What new tokens are learned from is therefore cut here. Han, kana and the marks between them
are one script, as in SentencePiece's trainer: Japanese words mix them.

The classes decide only what is learned. Nothing of them is stored or needed when text is encoded.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import regex

_EAST_ASIAN, _LATIN, _HANGUL, _OTHER_LETTERS = 1, 2, 3, 4
_LAST_LETTERS = _OTHER_LETTERS
DIGITS = 5
_CATEGORIES = {"N": DIGITS, "P": 6, "S": 6, "Z": 7, "M": 8, "C": 9, "L": _OTHER_LETTERS}
_SCRIPTS = {
    _EAST_ASIAN: r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\uff70]",  # the long-vowel marks are Common
    _LATIN: r"\p{Latin}",
    _HANGUL: r"\p{Hangul}",
}


@lru_cache(maxsize=1)
def character_classes() -> np.ndarray:
    """Class of each code point, uint8[0x110000]."""
    classes = np.zeros(0x110000, np.uint8)
    for code in range(0x110000):
        classes[code] = _CATEGORIES[unicodedata.category(chr(code))[0]]
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    for number, pattern in _SCRIPTS.items():
        for run in regex.finditer(f"{pattern}+", everything):
            first = ord(run[0][0])
            classes[first : first + len(run[0])] = number
    return classes


def breaks_before(
    text: bytes, lengths: np.ndarray, *, letters_only: bool, split_digits: bool = False
) -> np.ndarray:
    """Whether a border lies before, or inside, each token.

    Parameters
    ----------
    text : bytes
        Valid UTF-8: the tokens of one or more documents joined.
    lengths : int64[n]
        Bytes of each token.
    letters_only : bool
        Borders lie between letters of different scripts only; else between any two classes.
    split_digits : bool
        Borders lie on both sides of every digit too.

    Returns
    -------
    bool[n]
        Nothing may merge across the place before such a token. A token that itself runs across a
        border has one before and one behind it.
    """
    codes = np.frombuffer(text.decode().encode("utf-32-le"), np.uint32)
    widths = 1 + (codes >= 0x80).astype(np.int8) + (codes >= 0x800) + (codes >= 0x10000)
    classes = np.repeat(character_classes()[codes], widths)
    ends = np.cumsum(lengths)
    first, last = classes[ends - lengths], classes[ends - 1]
    mixed = _apart(first, last, letters_only, False)
    borders = mixed.copy()
    borders[1:] |= mixed[:-1] | _apart(last[:-1], first[1:], letters_only, split_digits)
    return borders


def _apart(left: np.ndarray, right: np.ndarray, letters_only: bool, split_digits: bool) -> np.ndarray:
    differ = left != right
    if letters_only:
        differ &= (left <= _LAST_LETTERS) & (right <= _LAST_LETTERS)
    elif split_digits:
        differ |= left == DIGITS
    return differ
