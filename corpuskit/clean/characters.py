"""What kind of character each code point is, and what it can mean for its line.

Every rule of this room counts characters, never bytes or words, and looks them up in the tables made
here; the counting is done by `corpuskit.kernels.charstats` on the Arrow buffer.
"""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

TERMINAL = "。！？…；.!?;"
"""Ends a line of prose. A colon or comma does not; `…` and `；` do, which English lists leave out."""

FULL_STOPS = "。！？!?"
"""The terminal marks that stand nowhere but at the end of a sentence."""

SENTENCE_MARKS = "。！？…；!?"
"""What is counted as the end of a sentence or of a long clause. Statutes and enumerations end their
items in ；, and the ASCII full stop is left out because it stands in numbers and addresses."""

CLOSING = "”’」』)）》】\"'〉﹂﹄"
"""May follow a terminal mark and leave the line terminated: quoted speech ends in 。”"""

BULLETS = "•●○◦‣⁃▪▫■□◆◇★☆►▶▷→※·・*-–✓✔➢➤"
"""Begins a bulleted line. The dash — does not: translated dialogue begins with it."""

KEYWORD_SEPARATORS = "|｜丨/、,，;；_-·"
"""Stands between the words of a keyword list, as white space does."""

READ_MORE_TAIL = ">»›〉》]】)）.…。→↓↑"
"""May follow 更多 and the like at the end of a line."""

DATE_JOINTS = "-/年月"
"""Stands between the numbers of a date; a colon would take scores and ratios for dates."""

FUNCTION_CHARACTERS = (
    "的了是在和有不这就也之与为而以其于及对将被从到个们我你他她它都要会能可但如所或者并由当把给让还又很没着过吗呢吧"
    "乃则若此未矣焉乎亦"
    "這與為於對將從個們會並當給讓還沒著過嗎後則"
)
"""Characters that do the grammar of Chinese prose, modern and classical, Simplified and Traditional:
pronouns, particles, prepositions, conjunctions, auxiliaries. They stand for FineWeb-2's stop words, whose
Chinese list mixes scripts and holds the dates of Wikipedia (年, 月, 日)."""


class CharacterClass(IntEnum):
    """Mutually exclusive classes; every code point has one.

    Whose Han they are, Simplified or Traditional, is for `corpuskit.clean.script_evidence` to tell.
    """

    OTHER = 0
    SPACE = 1
    HAN = 2
    KANA = 3
    HANGUL = 4
    LATIN = 5
    DIGIT = 6
    PUNCTUATION = 7
    SYMBOL = 8
    LETTER = 9
    """A letter of any other script."""


class Tables(NamedTuple):
    """What is known of each code point.

    Attributes
    ----------
    classes : uint8[0x110000]
        `CharacterClass` of each code point.
    properties : uint16[0x110000]
        The same in the lowest four bits, and the flags of `corpuskit.kernels.charstats`.
    """

    classes: np.ndarray
    properties: np.ndarray


@cache
def tables() -> Tables:
    """The lookup tables, built once a process (some 20 ms)."""
    from corpuskit.kernels import charstats

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
    properties = classes.astype(np.uint16)
    for flag, characters in (
        (charstats.TERMINAL, TERMINAL),
        (charstats.CLOSING, CLOSING),
        (charstats.FULL_STOP, FULL_STOPS),
        (charstats.SENTENCE_MARK, SENTENCE_MARKS),
        (charstats.BULLET, BULLETS),
        (charstats.DOT, "….。"),
        (charstats.SEPARATOR, KEYWORD_SEPARATORS),
        (charstats.TAIL, READ_MORE_TAIL),
        (charstats.FUNCTION, FUNCTION_CHARACTERS),
        (charstats.DATE_JOINT, DATE_JOINTS),
    ):
        properties[[ord(c) for c in characters]] |= flag
    active = properties & ~np.uint16(charstats.CLASS_MASK | charstats.FUNCTION | charstats.SENTENCE_MARK)
    plain = (active == 0) & (classes != CharacterClass.SPACE) & (classes != CharacterClass.DIGIT)
    properties[plain & (np.arange(0x110000) > 0x7F)] |= charstats.PLAIN
    return Tables(classes, properties)


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


def utf8_buffers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes (uint8) and offsets (int64, one more than documents) of a string array, unchanged."""
    text = text.cast(pa.large_string())
    _, offsets, data = text.buffers()
    view = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    if data is None or data.size == 0:
        return np.zeros(0, np.uint8), view
    return np.frombuffer(data, np.uint8), view
