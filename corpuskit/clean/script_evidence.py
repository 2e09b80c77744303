"""What each character is evidence for: a script of Chinese, Cantonese, Mandarin, Japanese, Korean, Latin.

No list of ours where a standard can be asked: OpenCC's tables and the character sets of the mainland
(GB 2312), Taiwan (Big5) and Japan (JIS X 0208) say which script uses a character.
"""

from __future__ import annotations

import gzip
import sys
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.variants import converter

CANTONESE_CHARACTERS = "嘅咗喺唔佢哋嚟冇啲嗰咁噉啱睇諗谂瞓嘢乜畀俾攞搵揾嗌嘥攰嚿氹嗱啩喎啫㗎咩嘞囖嬲掟餸"
"""Written for words that Mandarin writes otherwise: 嘅 for 的, 咗 for 了, 喺 for 在, 唔 for 不, 佢 for 他."""

MANDARIN_CHARACTERS = "的了是他她那您哪"
MANDARIN_SIMPLIFIED = "这们吗么没说给"
MANDARIN_TRADITIONAL = "這們嗎麼說妳"
"""Function words of written Mandarin, by the script that alone uses them. None of the last two lists
is in use in Japanese (沒, 還 and 給 are)."""

JAPANESE_MARKS = "々〆ヶ"


class Evidence(IntEnum):
    """Mutually exclusive classes; every code point has one."""

    NONE = 0
    HAN = 1
    """Used in every script."""
    SIMPLIFIED = 2
    """In Simplified Chinese only."""
    SIMPLIFIED_OR_JAPANESE = 3
    """Of the Chinese scripts only in Simplified, and in Japanese: 国 会 学."""
    TRADITIONAL = 4
    TRADITIONAL_OR_JAPANESE = 5
    """Of the Chinese scripts only in Traditional, and in Japanese since 1946: 議 車 長, but not 國 會."""
    LEANS_SIMPLIFIED = 6
    """Changes on the way to Traditional, but is also a (rarer) character there: 后 里 几 礼."""
    LEANS_TRADITIONAL = 7
    JAPANESE = 8
    """In Japanese only: 働 込 気 図."""
    CANTONESE = 9
    MANDARIN = 10
    MANDARIN_SIMPLIFIED = 11
    MANDARIN_TRADITIONAL = 12
    KANA = 13
    POSSESSIVE_KANA = 14
    """の alone: Chinese shop names and spam put it for 的."""
    HANGUL = 15
    LATIN = 16
    LETTER = 17
    """A letter of any other script."""
    COMMA = 18
    """，: Chinese; Japanese has 、 for it."""


class Tables(NamedTuple):
    """Lookup tables of `corpuskit.kernels.scripts`."""

    classes: np.ndarray
    letters: np.ndarray
    trigrams: np.ndarray


@dataclass(frozen=True)
class EvidenceCounts:
    """Counts of each document: int64, one row a document.

    Attributes
    ----------
    classes : numpy.ndarray
        int64[num_documents, 19], by `Evidence`.
    latin : numpy.ndarray
        int64[num_documents, 16]: how much likelier its Latin words are in other languages than in
        English, in quarters of a nat.
    """

    classes: np.ndarray
    latin: np.ndarray

    def of(self, *kinds: Evidence) -> np.ndarray:
        """Characters of these classes together."""
        return self.classes[:, [int(kind) for kind in kinds]].sum(axis=1)

    @property
    def han(self) -> np.ndarray:
        return self.classes[:, Evidence.HAN : Evidence.KANA].sum(axis=1)

    @property
    def simplified(self) -> np.ndarray:
        return self.of(Evidence.SIMPLIFIED, Evidence.SIMPLIFIED_OR_JAPANESE, Evidence.MANDARIN_SIMPLIFIED)

    @property
    def traditional(self) -> np.ndarray:
        return self.of(Evidence.TRADITIONAL, Evidence.TRADITIONAL_OR_JAPANESE, Evidence.MANDARIN_TRADITIONAL)


def count_evidence(text: pa.Array) -> EvidenceCounts:
    """The evidence of every document of a string or large_string array without nulls."""
    from corpuskit.kernels.scripts import script_evidence

    data, offsets = utf8_buffers(text)
    lookup = tables()
    counts = np.empty((len(text), len(Evidence)), np.int64)
    latin = np.empty((len(text), lookup.trigrams.shape[1]), np.int64)
    script_evidence(data, offsets, *lookup, counts, latin)
    return EvidenceCounts(counts, latin)


@cache
def tables() -> Tables:
    """The lookup tables, built once a process (some 0.2 s, most of it OpenCC's)."""
    return Tables(_classes(), _letters(), _trigrams())


def _classes() -> np.ndarray:
    classes = np.zeros(sys.maxunicode + 1, np.uint8)
    for first, last in ((0x41, 0x3400), (0xA000, 0xABFF), (0xFB00, 0xFFFF), (0x10000, 0x1F000)):
        classes[first:last] = [_letter_class(chr(code)) for code in range(first, last)]
    for first, last in ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x33480)):
        classes[first:last] = Evidence.HAN
    classes[0xAC00:0xD7A4] = Evidence.HANGUL
    classes[0x3007] = Evidence.HAN
    for kind, characters in _script_specific().items():
        classes[_codes(characters)] = kind
    classes[_codes(JAPANESE_MARKS)] = Evidence.JAPANESE
    classes[_codes(CANTONESE_CHARACTERS)] = Evidence.CANTONESE
    classes[_codes(MANDARIN_CHARACTERS)] = Evidence.MANDARIN
    classes[_codes(MANDARIN_SIMPLIFIED)] = Evidence.MANDARIN_SIMPLIFIED
    classes[_codes(MANDARIN_TRADITIONAL)] = Evidence.MANDARIN_TRADITIONAL
    classes[ord("の")] = Evidence.POSSESSIVE_KANA
    classes[ord("，")] = Evidence.COMMA
    return classes


def _letter_class(character: str) -> int:
    if not character.isalpha():
        return Evidence.NONE
    name = unicodedata.name(character, "")
    if "LATIN" in name:
        return Evidence.LATIN
    if "HIRAGANA" in name or "KATAKANA" in name:
        return Evidence.KANA
    return Evidence.HANGUL if "HANGUL" in name else Evidence.LETTER


def _script_specific() -> dict[Evidence, str]:
    """Han by the scripts that use them.

    A character changed by OpenCC on the way to Traditional is Simplified; where Big5 holds it all the
    same (后, 里), Traditional uses it too and it only leans. The other way round with GB 2312. What JIS
    X 0208 holds and neither these nor OpenCC's forms for Taiwan and Hong Kong (説, 衆), is Japanese.
    """
    han = "".join(map(chr, range(0x4E00, 0x9FA6)))
    to_traditional, to_simplified, to_japanese = (_convert(han, name) for name in ("s2t", "t2s", "t2jp"))
    written = set("".join(_convert(han, name) for name in ("s2t", "s2tw", "s2hk")))
    written -= {own for own, other in zip(han, to_traditional) if own == other and not _in(own, "big5")}
    written |= set(_convert("".join(c for c in han if _in(c, "big5")), "t2hk"))
    kinds: dict[Evidence, list[str]] = {kind: [] for kind in Evidence}
    for index, character in enumerate(han):
        mainland, taiwan = _in(character, "gb2312"), _in(character, "big5")
        japan = _in(character, "shift_jis") and to_japanese[index] == character
        is_simplified = to_traditional[index] != character and to_simplified[index] == character
        is_traditional = to_simplified[index] != character and to_traditional[index] == character
        kind = Evidence.HAN
        if japan and not mainland and not taiwan and character not in written:
            kind = Evidence.JAPANESE
        elif is_simplified and taiwan:
            kind = Evidence.LEANS_SIMPLIFIED
        elif is_simplified:
            kind = Evidence.SIMPLIFIED_OR_JAPANESE if japan else Evidence.SIMPLIFIED
        elif is_traditional and mainland:
            kind = Evidence.LEANS_TRADITIONAL
        elif is_traditional:
            kind = Evidence.TRADITIONAL_OR_JAPANESE if japan else Evidence.TRADITIONAL
        kinds[kind].append(character)
    return {kind: "".join(found) for kind, found in kinds.items() if found}


def _convert(characters: str, conversion: str) -> str:
    """Each character by itself: one a line, so that no phrase is found across them."""
    return converter(conversion).convert("\n".join(characters)).replace("\n", "")


def _in(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _letters() -> np.ndarray:
    """Symbol of each Latin letter (see `kernels.scripts.LETTERS`), uint8[65536]."""
    letters = np.zeros(65536, np.uint8)
    for code in (*range(0x41, 0x250), *range(0x1E00, 0x1F00), *range(0xFF21, 0xFF5B)):
        if _letter_class(chr(code)) == Evidence.LATIN:
            plain = unicodedata.normalize("NFKC", chr(code)).lower()
            letters[code] = ord(plain) - 96 if len(plain) == 1 and "a" <= plain <= "z" else 27
    return letters


def _trigrams() -> np.ndarray:
    """int8[28 ** 3, 16], log-likelihood ratios to English in quarters of a nat.

    Made by ``tools/build_latin_trigrams.py`` from the trigram counts of the package langdetect
    (Wikipedia abstracts; Apache License 2.0).
    """
    packed = resources.files("corpuskit.clean").joinpath("latin_trigrams.gz").read_bytes()
    columns = np.frombuffer(gzip.decompress(packed), np.int8).reshape(16, -1)
    return np.ascontiguousarray(columns.T)


def _codes(characters: str) -> list[int]:
    return [ord(character) for character in characters]
