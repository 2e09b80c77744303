"""What kind of character each code point is, and how many of each kind a document holds.

Every rule of this room counts characters, never bytes or words, and all counts of a batch come from
one pass of `corpuskit.kernels.charstats` over its Arrow buffer.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

SHORT_LINE_CHARACTERS = 10
"""A line below this many visible characters is short: menus, tags and captions. CWT asks for ten
characters a line on average; a Chinese clause has some eight."""

TERMINAL = "。！？…；.!?;"
"""Ends a sentence. A colon or comma does not; `…` and `；` do, which English lists leave out."""

STOPS = "。！？…；!?"
"""The terminal marks that stand nowhere but at the end of a sentence or clause."""

CLOSING = "”’」』）)》】\"'〉﹂﹄"
"""May follow a terminal mark and leave the line terminated: quoted speech ends in 。”"""


class CharacterClass(IntEnum):
    """Mutually exclusive classes; every code point has one."""

    OTHER = 0
    SPACE = 1
    HAN = 2
    SIMPLIFIED = 3
    """Han used in Simplified text only."""
    TRADITIONAL = 4
    """Han used in Traditional text only."""
    KANA = 5
    HANGUL = 6
    LATIN = 7
    DIGIT = 8
    PUNCTUATION = 9
    SYMBOL = 10
    LETTER = 11
    """A letter of any other script."""


class Tables(NamedTuple):
    """`classes` and `flags`: uint8 arrays indexed by code point (see `kernels.charstats`)."""

    classes: np.ndarray
    flags: np.ndarray


@cache
def tables() -> Tables:
    """The lookup tables, built once a process (some 0.2 s, most of it for the script pair)."""
    from corpuskit.kernels.charstats import CLOSING_FLAG, SPACE_FLAG, STOP_FLAG, TERMINAL_FLAG

    classes = np.zeros(0x110000, np.uint8)
    classes[:0x3400] = [_class_of(chr(code)) for code in range(0x3400)]
    classes[0x3400:0x4DC0] = classes[0x4E00:0xA000] = CharacterClass.HAN
    classes[0x4DC0:0x4E00] = CharacterClass.SYMBOL
    classes[0xA000:0xAC00] = [_class_of(chr(code)) for code in range(0xA000, 0xAC00)]
    classes[0xAC00:0xD7B0] = CharacterClass.HANGUL
    classes[0xF900:0x10000] = [_class_of(chr(code)) for code in range(0xF900, 0x10000)]
    classes[0x1F000:0x1FB00] = CharacterClass.SYMBOL
    classes[0x1B000:0x1B170] = CharacterClass.KANA
    classes[0x20000:0x33480] = CharacterClass.HAN
    classes[0x2F800:0x2FA20] = CharacterClass.HAN
    simplified, traditional = script_specific()
    classes[[ord(c) for c in simplified]] = CharacterClass.SIMPLIFIED
    classes[[ord(c) for c in traditional]] = CharacterClass.TRADITIONAL
    flags = np.zeros(0x110000, np.uint8)
    flags[classes == CharacterClass.SPACE] |= SPACE_FLAG
    flags[[ord(c) for c in TERMINAL]] |= TERMINAL_FLAG
    flags[[ord(c) for c in STOPS]] |= STOP_FLAG
    flags[[ord(c) for c in CLOSING]] |= CLOSING_FLAG
    return Tables(classes, flags)


@cache
def script_specific() -> tuple[str, str]:
    """Han used in Simplified text only, and in Traditional text only.

    A character is Traditional only where OpenCC's table changes it going to Simplified and GB 2312
    does not hold it, Simplified only the other way round with Big5. The second half of each test
    leaves out characters that both scripts use (后, 里, 干, 只).
    """
    from corpuskit.clean.variants import converter

    han = "".join(map(chr, range(0x4E00, 0x9FA6)))
    separated = "\n".join(han)  # one a line, so that no phrase is found across characters
    to_traditional = converter("s2t").convert(separated).split("\n")
    to_simplified = converter("t2s").convert(separated).split("\n")
    simplified = (c for c, t in zip(han, to_traditional) if t != c and not _encodable(c, "big5"))
    traditional = (c for c, s in zip(han, to_simplified) if s != c and not _encodable(c, "gb2312"))
    first, second = set(simplified), set(traditional)
    return "".join(sorted(first - second)), "".join(sorted(second - first))


def _encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _class_of(character: str) -> CharacterClass:
    """The class of a character outside the large blocks of Han, Hangul and private use."""
    code = ord(character)
    category = unicodedata.category(character)
    if character.isspace():
        return CharacterClass.SPACE
    if 0xF900 <= code < 0xFB00 or code == 0x3007:
        return CharacterClass.HAN
    if (
        (0x3041 <= code <= 0x30FF and category[0] == "L")
        or 0x31F0 <= code < 0x3200
        or 0xFF66 <= code <= 0xFF9F
    ):
        return CharacterClass.KANA
    if 0x1100 <= code < 0x1200 or 0x3130 <= code < 0x3190:
        return CharacterClass.HANGUL
    if category == "Nd":
        return CharacterClass.DIGIT
    if category[0] == "L":
        latin = code < 0x250 or 0x1E00 <= code < 0x1F00 or 0xFF21 <= code < 0xFF5B
        return CharacterClass.LATIN if latin else CharacterClass.LETTER
    if category[0] == "P":
        return CharacterClass.PUNCTUATION
    return CharacterClass.SYMBOL if category[0] == "S" else CharacterClass.OTHER


@dataclass(frozen=True)
class Counts:
    """Counts of each document of a batch: int64 arrays with one entry a document."""

    classes: np.ndarray
    lines: np.ndarray

    def of(self, *kinds: CharacterClass) -> np.ndarray:
        """Characters of these classes together."""
        return self.classes[:, [int(kind) for kind in kinds]].sum(axis=1)

    @property
    def han(self) -> np.ndarray:
        return self.of(CharacterClass.HAN, CharacterClass.SIMPLIFIED, CharacterClass.TRADITIONAL)

    @property
    def visible(self) -> np.ndarray:
        """All characters but white space."""
        return self.classes.sum(axis=1) - self.of(CharacterClass.SPACE)

    def share(self, part: np.ndarray) -> np.ndarray:
        """`part` per visible character; 0 for an empty document."""
        return part / np.maximum(self.visible, 1)

    @property
    def num_lines(self) -> np.ndarray:
        return self.lines[:, 0]

    @property
    def short_line_share(self) -> np.ndarray:
        return self.lines[:, 1] / np.maximum(self.num_lines, 1)

    @property
    def terminated_line_share(self) -> np.ndarray:
        return self.lines[:, 2] / np.maximum(self.num_lines, 1)

    @property
    def stops_per_1000(self) -> np.ndarray:
        """Sentence-ending marks per 1,000 visible characters."""
        return 1000 * self.lines[:, 3] / np.maximum(self.visible, 1)


def count_characters(text: pa.Array, *, short_line: int = SHORT_LINE_CHARACTERS) -> Counts:
    """Class and line counts of every document.

    Parameters
    ----------
    text : pyarrow.Array
        A string or large_string array without nulls.
    short_line : int
        A line with fewer visible characters is short.
    """
    from corpuskit.kernels.charstats import document_counts

    data, offsets = utf8_buffers(text)
    classes, flags = tables()
    class_counts = np.zeros((len(text), len(CharacterClass)), np.int64)
    line_counts = np.zeros((len(text), 4), np.int64)
    document_counts(data, offsets, classes, flags, short_line, class_counts, line_counts)
    return Counts(class_counts, line_counts)


def utf8_buffers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes (uint8) and offsets (int64, one more than documents) of a string array, unchanged."""
    text = text.cast(pa.large_string())
    _, offsets, data = text.buffers()
    view = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    if data is None or data.size == 0:
        return np.zeros(0, np.uint8), view
    return np.frombuffer(data, np.uint8), view
