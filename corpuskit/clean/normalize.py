"""One spelling for the same text, without touching what Chinese writers mean.

Fullwidth letters, digits and the ideographic space are folded; Chinese punctuation ，。！？：；（） is
not (several pipelines map it to ASCII, ``１`` even to a quotation mark, and 。 to a full stop, which no
model can undo). NFC rather than NFKC for the same reason.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pyarrow as pa

from corpuskit.clean.steps import Check, Judged, Step, require_at_least, texts
from corpuskit.documents import DocumentBatch, replace_text

_HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WIDE_PUNCTUATION = "、。〈〉《》「」『』【】〔〕！，：；？（）“”‘’…—"
_SPACES = re.compile("[ \t]+")
_SPACE_BETWEEN_HAN = re.compile(f"(?<=[{_HAN}{_WIDE_PUNCTUATION}]) (?=[{_HAN}{_WIDE_PUNCTUATION}])")
_LINE_EDGES = re.compile(" *\n *")
# ``\n`` as two characters, left by a dump that escaped twice, beside Chinese text; not a path such
# as ``在\new``. In the news corpus of the tests 2,192 of 7,353 documents have them.
_ESCAPED_BREAKS = re.compile(
    rf"(?<=[{_HAN}{_WIDE_PUNCTUATION}])(?:\\[rn])+(?![a-z])|(?:\\[rn])+(?=[{_HAN}{_WIDE_PUNCTUATION}\u3000])"
)
# A joiner makes one picture of several emoji; anywhere else in Chinese text it is noise.
_STRAY_JOINER = re.compile("(?<![\U0001f000-\U0001faff\u2600-\u27bf\ufe0f])\u200d")
_PUNCTUATION = "!-/:-@\\[-`{-~·×—‘’“”•…※、。〈-】〔〕〜！，．：；？～＝－＊＿＃"


@dataclass(frozen=True)
class Normalize(Step):
    """Normalise the text of every document; what is empty afterwards is dropped (``clean/empty``).

    Attributes
    ----------
    fold_width : bool
        Fullwidth letters and digits to ASCII.
    remove_han_spaces : bool
        Remove spaces between two Chinese characters or marks.
    unescape_newlines : bool
        Turn a backslash followed by n or r beside Chinese text into the newline it once was.
    max_repeated_punctuation : int
        Longest run kept of one punctuation mark.
    max_blank_lines : int
        Longest run kept of blank lines.
    fix_mojibake : bool
        Undo UTF-8 read as Latin-1 or Windows-1252 through ftfy, in lines that ftfy is sure about.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    fold_width: bool = True
    remove_han_spaces: bool = True
    unescape_newlines: bool = True
    max_repeated_punctuation: int = 3
    max_blank_lines: int = 1
    fix_mojibake: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, 1, "max_repeated_punctuation")
        require_at_least(self, 0, "max_blank_lines")

    def judge(self, batch: DocumentBatch) -> Judged:
        normalized = [normalize_text(text, self) for text in texts(batch).to_pylist()]
        lengths = np.array([len(text) for text in normalized], np.float64)
        changed = replace_text(batch, pa.array(normalized, pa.large_string()))
        return Judged(changed, [Check("empty", lengths, 1.0, lengths < 1)])


def normalize_text(text: str, config: Normalize | None = None) -> str:
    """Normalise one text; applying it twice changes nothing more (mojibake repair aside).

    Removes control, zero-width, private-use and replacement characters, makes every line ending a
    newline and every other white space a space, then does what `config` asks.
    """
    config = config or Normalize()
    if config.fix_mojibake:
        text = _fix_mojibake(text)
    if config.unescape_newlines and "\\" in text:
        text = _ESCAPED_BREAKS.sub("\n", text)
    text = text.replace("\r\n", "\n").translate(_table(config.fold_width))
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    text = _STRAY_JOINER.sub("", text)
    text = _SPACES.sub(" ", text)
    if config.remove_han_spaces:
        text = _SPACE_BETWEEN_HAN.sub("", text)
    text = _repeated(config.max_repeated_punctuation).sub(r"\1", text)
    text = _LINE_EDGES.sub("\n", text)
    return _blank_lines(config.max_blank_lines).sub(r"\1", text).strip(" \n")


@cache
def _table(fold_width: bool) -> dict[int, str | None]:
    """The translation of single characters."""
    removed = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F)]
    removed += [*range(0x2060, 0x2070), 0xFEFF, *range(0xFFF0, 0xFFFE), *range(0xE000, 0xF900)]
    removed += [*range(0xFDD0, 0xFDF0), *range(0xE0000, 0xE0080)]
    removed += [plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF)]
    table: dict[int, str | None] = dict.fromkeys(removed)
    table |= dict.fromkeys([*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE)])
    del table[0x200D]  # decided by its neighbours
    table |= dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000, 0x09], " ")
    table |= dict.fromkeys([0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029], "\n")
    if fold_width:
        for first, last in ("０９", "ＡＺ", "ａｚ"):
            table |= {code: chr(code - 0xFEE0) for code in range(ord(first), ord(last) + 1)}
    return table


@cache
def _repeated(longest: int) -> re.Pattern[str]:
    return re.compile(f"(([{_PUNCTUATION}])\\2{{{longest - 1}}})\\2+")


@cache
def _blank_lines(longest: int) -> re.Pattern[str]:
    return re.compile(f"(\n{{{longest + 1}}})\n+")


def _fix_mojibake(text: str) -> str:
    import ftfy
    import ftfy.badness

    if text.isascii() or not ftfy.badness.is_bad(text):
        return text
    return "\n".join(
        ftfy.fix_encoding(line) if ftfy.badness.is_bad(line) else line for line in text.split("\n")
    )
