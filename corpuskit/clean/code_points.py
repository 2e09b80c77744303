"""What normalisation does with each code point: sets of characters, and tables made of them.

The plain Python of `corpuskit.clean.normalize` reads the dictionary, the kernel the array; both are
made here from the same sets.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from itertools import chain

import numpy as np

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
WIDE_PUNCTUATION = "、。〈〉《》「」『』【】〔〕！，：；？（）“”‘’…—"
"""Marks that take no space beside them; of ASCII nothing, since code and English need their spaces."""

PUNCTUATION = "!-/:-@\\[-`{-~·×—‘’“”•…※、。〈-】〔〕〜！，．：；？～＝－＊＿＃"
"""Marks whose long runs are cut. Letters and digits are not among them: 哈哈哈哈, 1000000."""

JOINABLE = "\U0001f000-\U0001faff\u2600-\u27bf\ufe0f"
"""A zero-width joiner makes one picture of several emoji; anywhere else in Chinese text it is noise."""

SPACES = "\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
NEWLINES = "\n\x0b\x0c\r\x85\u2028\u2029"
ZERO_WIDTH_JOINER = 0x200D

PRIVATE_USE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
REPLACEMENT = "\ufffd"
INVISIBLE = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufdd0-\ufdef\ufff0-\ufffc\U000e0000-\U000e007f"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
)
"""Controls, soft hyphen, zero-width and direction marks, byte order mark, interlinear annotation and
object replacement, tags, noncharacters. Variation selectors stay: they choose a form of a character."""

FOLDED = "０-９Ａ-Ｚａ-ｚ"
"""Folded to ASCII. Other fullwidth forms stay: ，。！？：；（） are Chinese punctuation, not wide ASCII."""

FOLDED_MARKS = "．％"
"""Folded to ASCII only in a number of fullwidth digits: ３．１４％ becomes 3.14%, １．引言
keeps its mark."""

_HANGUL_VOWELS_AND_FINALS = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


def expand(ranges: str) -> list[int]:
    """The code points of a string in the notation of a regular expression's character class."""
    codes: list[int] = []
    position = 0
    while position < len(ranges):
        if ranges[position] == "\\":
            position += 1
        first = ord(ranges[position])
        last = first
        if ranges[position + 1 : position + 2] == "-" and position + 2 < len(ranges):
            last = ord(ranges[position + 2])
            position += 2
        codes.extend(range(first, last + 1))
        position += 1
    return codes


# All but ideographs, Hangul syllables (composed by rule), surrogates, private use and empty planes: a
# tenth of the code points, and 0.7 s saved at every start.
_MAY_DECOMPOSE = (
    *((0, 0x3400), (0xA000, 0xAC00), (0xD7A4, 0xD800), (0xF900, 0x20000)),
    *((0x2F800, 0x2FA20), (0xE0000, 0xE0200)),
)


@cache
def nfc_unstable() -> np.ndarray:
    """Code points that text in NFC may lack or that may change beside others, int64, ascending.

    Text without any of them is in NFC: they are the characters that NFC replaces, those with a
    combining class, and those that compose with a character before them (UAX 15, NFC_Quick_Check).
    """
    unstable = set(_HANGUL_VOWELS_AND_FINALS)
    for code in chain.from_iterable(range(first, stop) for first, stop in _MAY_DECOMPOSE):
        character = chr(code)
        decomposition = unicodedata.decomposition(character)
        if decomposition and decomposition[0] != "<":
            if unicodedata.normalize("NFC", character) != character:
                unstable.add(code)
            unstable.update(int(part, 16) for part in decomposition.split()[1:])
        elif unicodedata.combining(character):
            unstable.add(code)
    return np.array(sorted(unstable), np.int64)


def translation(
    *, white_space: str, fold_width: bool, invisible: bool, private_use: bool, replacement: bool
) -> dict[int, str | None]:
    """The table for `str.translate`; the flags say which kinds are removed (see `Normalize`)."""
    table: dict[int, str | None] = {}
    if invisible:
        table |= dict.fromkeys(expand(INVISIBLE))
    if private_use:
        table |= dict.fromkeys(expand(PRIVATE_USE))
    if replacement:
        table |= dict.fromkeys(expand(REPLACEMENT))
    if white_space == "collapse":
        table |= dict.fromkeys(expand(SPACES), " ")
        table[ord("\t")] = "\t"
    if white_space != "keep":
        table |= dict.fromkeys(expand(NEWLINES), "\n")
    if fold_width:
        table |= {code: chr(code - 0xFEE0) for code in expand(FOLDED)}
    return table


def actions(
    *,
    white_space: str,
    fold_width: bool,
    invisible: bool,
    private_use: bool,
    replacement: bool,
    unescape: bool,
    nfc: bool,
) -> np.ndarray:
    """The same as uint8[0x110000] for `kernels.normalization`, with the flags it needs besides."""
    from corpuskit.kernels import normalization as kernel

    table = np.zeros(sys.maxunicode + 1, np.uint8)
    table[expand(HAN)] |= kernel.HAN
    table[expand(WIDE_PUNCTUATION)] |= kernel.HAN
    table[expand(PUNCTUATION)] |= kernel.PUNCTUATION
    table[expand(JOINABLE)] |= kernel.JOINABLE
    table[[*expand(PRIVATE_USE), *expand(REPLACEMENT)]] |= kernel.DAMAGED
    if nfc:
        table[nfc_unstable()] |= kernel.UNSTABLE
    if unescape:
        table[ord("\\")] = kernel.BACKSLASH
    changes = translation(
        white_space=white_space,
        fold_width=fold_width,
        invisible=invisible,
        private_use=private_use,
        replacement=replacement,
    )
    kinds = {" ": kernel.SPACE, "\t": kernel.SPACE, "\n": kernel.NEWLINE, None: kernel.DELETE}
    for code, change in changes.items():
        table[code] = kinds.get(change, kernel.FOLD)
    damaged = np.array([*expand(PRIVATE_USE), *expand(REPLACEMENT)])
    table[damaged[table[damaged] == kernel.DELETE]] = kernel.DELETE_DAMAGED
    if fold_width:
        table[expand(FOLDED_MARKS)] = kernel.FOLD_MARK
    if white_space != "keep":
        table[ord("\r")] = kernel.RETURN
    if invisible:
        table[ZERO_WIDTH_JOINER] = kernel.JOINER
    return table
