"""Joins the lines of text that was wrapped at a fixed width: novels, bulletin boards, e-mail.

A line break inside a sentence teaches a model that sentences break anywhere, and no line rule works on
such text. A document is taken for wrapped when its lines end where the next word no longer fitted (some
width W that almost no line exceeds), mostly in the middle of a sentence, and hold the end of a sentence
inside. Verse ends its lines on purpose and has no stop inside them; lists of headlines have no stops at
all; prose with one paragraph a line has no W. None of 12,282 statutes, news items and broadcasts with
one paragraph a line is taken for wrapped; of the same texts wrapped at 40 to 80 columns three quarters to
nineteen of twenty are found, and what is not found stays as it is.

`join_lines` is the readable reference of `corpuskit.kernels.wrapping`.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa

from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.code_points import SPACES, expand

MIN_WIDTH = 24
"""Columns (a Han takes two): below twelve Han a line, verse and menus are more likely than prose."""

MAX_WIDTH = 255
"""Columns; wider lines count as this wide."""

MIN_LINES = 6
MIN_FULL_LINES = 4
MIN_FULL_SHARE = 0.25
"""Full lines among all: dialogue has many short paragraphs, of which only some reach a second line."""

MAX_OVERLONG_SHARE = 0.05
OVERLONG_COLUMNS = 4
"""Hanging punctuation, and the noise of the most frequent width in ragged English."""

MIN_BROKEN_SHARE = 0.6
"""Full lines that end inside a sentence. A break at a random place of Chinese prose falls behind a
stop in one case out of ten to twenty; in prose with a paragraph a line, or in verse, always."""

MIN_INNER_STOP_SHARE = 0.05
MIN_INNER_PAUSE_SHARE = 0.5
"""Full lines with the end of a sentence inside, and with a comma or the end of a sentence. Of wrapped
novels and news two thirds of the lines have the first, of statutes, which say everything in one sentence,
one in ten; of lines cut from headlines at one width one in a hundred."""

MIN_LINKED = 2
MIN_LINKED_SHARE = 0.1
"""Breaks between full lines that something else shows to lie inside a sentence: the two characters at
it stand together within a line elsewhere in the document, or the next line begins with a small
letter after a narrow character.
Measured on wrapped news and statutes 0.1 or more in 99 of 100 documents with 20 breaks, in lists of
headlines cut at 14 to 28 characters at most 0.045. It is what tells prose from such lists."""

DENSE_LINES = 8
DENSE_PAUSE_SHARE = 0.9
DENSE_STOP_SHARE = 0.3
"""The other proof, for documents too short to repeat themselves: from so many full lines on, so many have
a pause and the end of a sentence inside. Headlines have a pause in about half."""

PAIR_CHARACTERS = 32_768
"""Wide letters at the beginning of a document whose pairs are looked at: a bound on memory."""

MIN_MARKED_SHARE = 0.05
"""Blank or indented lines among all, from which paragraphs are taken to be marked. Only then is a full
line that ends with its sentence joined to the next."""

STOPS = "。！？!?"
PAUSES = STOPS + "，；,;"
ENDS = STOPS + "…；;.:："
"""A line that ends with one of these, closing marks aside, need not go on in the next."""
CLOSING = "”’」』）)》】〉\"'］]"
NEVER_FIRST = CLOSING + "，。！？；：、…,.!?;:"
"""Kept with the character before them when lines are broken."""
OPENING = "“‘「『（(《【〈［["
BULLETS = "-*•·●○◆◇■□▪►※★☆>＞#|"
NUMERALS = "一二三四五六七八九十百千零〇两兩0-9"
DIVISIONS = "章节節回卷条條篇部集"

_LIST = re.compile(
    f"[{re.escape(BULLETS)}]|[0-9]{{1,3}}(?:[、．)）]|\\.(?![0-9]))|[(（][{NUMERALS}]{{1,3}}[)）]"
    f"|[{NUMERALS}]{{1,3}}、|第[{NUMERALS}]{{1,5}}[{DIVISIONS}]"
)
_WHITE = "".join(map(chr, expand(SPACES))) + "\r"


def _inside(marks: str) -> re.Pattern[str]:
    """One of the marks, or a full stop with a space, with more text behind it."""
    passed = re.escape(CLOSING + marks) + _WHITE
    return re.compile(f"(?:[{marks}]|\\.[{_WHITE}])[{passed}]*[^{passed}]")


_INNER_STOP = _inside(STOPS)
_INNER_PAUSE = _inside(PAUSES)


@dataclass(frozen=True)
class Line:
    """What decides about a line: see `parse`."""

    text: str
    indent: int
    width: int
    token: int
    is_list: bool
    ended: bool
    inner_stop: bool
    inner_pause: bool
    has_letters: bool


def parse(line: str) -> Line:
    """The facts about one line (its newline taken off), widths in columns."""
    text = line.strip(_WHITE)
    said = text.rstrip(CLOSING + _WHITE)
    return Line(
        text,
        indent=columns(line[: len(line) - len(line.lstrip(_WHITE))]) if text else 0,
        width=columns(line.rstrip(_WHITE)),
        token=columns(_first_token(text)),
        is_list=_LIST.match(text) is not None,
        ended=said != "" and said[-1] in ENDS,
        inner_stop=_INNER_STOP.search(text) is not None,
        inner_pause=_INNER_PAUSE.search(text) is not None,
        has_letters=any(character.isalnum() for character in text),
    )


def _first_token(text: str) -> str:
    """The least that a wrapping program moves to the next line as a whole."""
    if not text:
        return ""
    end = 0
    if _width(text[0]) < 2:
        while end < len(text) and _width(text[end]) < 2 and text[end] not in _WHITE:
            end += 1
        return text[:end]
    end = 2 if text[0] in OPENING and text[1:2] not in _WHITE else 1
    while end < len(text) and text[end] in NEVER_FIRST:
        end += 1
    return text[:end]


def columns(text: str) -> int:
    """Width in columns: two for wide and ambiguous characters, four for a tab, one for the others."""
    return sum(map(_width, text))


@cache
def _width(character: str) -> int:
    if character == "\t":
        return 4
    if character in "·":  # ambiguous, but narrow in most fonts
        return 1
    return 2 if unicodedata.east_asian_width(character) in "WFA" else 1


def wrap_width(lines: list[Line]) -> int:
    """The width that the lines were wrapped at, or 0 where they were not."""
    return _judge(lines)[0]


def _judge(lines: list[Line]) -> tuple[int, bool]:
    """The width, and whether paragraphs are marked by blank or indented lines."""
    filled = [line for line in lines if line.text]
    widths = Counter(min(line.width, MAX_WIDTH) for line in filled if line.width >= MIN_WIDTH)
    if len(filled) < MIN_LINES or not widths:
        return 0, False
    width = max(widths, key=lambda value: (widths[value], value))
    overlong = sum(count for value, count in widths.items() if value > width + OVERLONG_COLUMNS)
    full = [line for line, following in pairwise(lines) if _is_full(line, following, width)]
    least = min(line.indent for line in filled)
    marks = sum(line.indent > least for line in filled) + sum(not line.text for line in lines[:-1])
    stops = sum(line.inner_stop for line in full)
    pauses = sum(line.inner_pause for line in full)
    is_dense = (
        len(full) >= DENSE_LINES
        and pauses >= DENSE_PAUSE_SHARE * len(full)
        and stops >= DENSE_STOP_SHARE * len(full)
    )
    wrapped = (
        overlong <= MAX_OVERLONG_SHARE * len(filled)
        and len(full) >= max(MIN_FULL_LINES, MIN_FULL_SHARE * len(filled))
        and sum(not line.ended for line in full) >= MIN_BROKEN_SHARE * len(full)
        and stops >= MIN_INNER_STOP_SHARE * len(full)
        and pauses >= MIN_INNER_PAUSE_SHARE * len(full)
        and (is_dense or _num_linked(lines, width) >= max(MIN_LINKED, MIN_LINKED_SHARE * len(full)))
    )
    return (width if wrapped else 0), marks >= MIN_MARKED_SHARE * len(filled)


def _is_full(line: Line, following: Line, width: int) -> bool:
    """Whether the next line's first word would not have fitted at the end of this one."""
    return bool(line.text and following.text) and line.width + following.token > width


def _num_linked(lines: list[Line], width: int) -> int:
    """Breaks after full lines that lie inside a sentence."""
    pairs = set()
    seen = 0
    for line in lines:
        previous = ""
        for character in line.text:
            wide = _width(character) == 2 and character.isalnum()
            seen += wide
            if seen > PAIR_CHARACTERS:
                break
            if wide and previous:
                pairs.add(previous + character)
            previous = character if wide else ""
    return sum(
        line.text[-1] + following.text[0] in pairs
        or ("a" <= following.text[0] <= "z" and _width(line.text[-1]) < 2)
        for line, following in pairwise(lines)
        if _is_full(line, following, width)
    )


def join_lines(text: str) -> str:
    """`text` with its wrapped lines joined; as it is where it was not wrapped.

    Two lines are joined where the first is full and the second goes on: it is not indented further
    (but for the lines of a list item), not itself an item or a heading, and the first does not end a
    sentence unless paragraphs are marked. Between two narrow characters a space is put, else nothing.
    """
    raw = text.split("\n")
    lines = [parse(line) for line in raw]
    width, marked = _judge(lines)
    if not width:
        return text
    joined = raw[0]
    for previous, line, original in zip(lines, lines[1:], raw[1:]):
        if _goes_on(previous, line, width, marked):
            narrow = _width(previous.text[-1]) < 2 and _width(line.text[0]) < 2
            gap = " " if narrow and previous.text[-1] != "-" else ""
            joined = joined.rstrip(_WHITE) + gap + original.lstrip(_WHITE)
        else:
            joined += "\n" + original
    return joined


def _goes_on(line: Line, following: Line, width: int, marked: bool) -> bool:
    return (
        _is_full(line, following, width)
        and line.has_letters
        and following.has_letters
        and not following.is_list
        and (following.indent <= line.indent or line.is_list)
        and (marked or not line.ended)
    )


@cache
def table() -> np.ndarray:
    """Flags of each code point, uint16[0x110000], for `kernels.wrapping`."""
    from corpuskit.kernels import wrapping as kernel

    flags = np.zeros(sys.maxunicode + 1, np.uint16)
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        if _width.__wrapped__(character) == 2:
            flags[code] |= kernel.WIDE
        if character.isalnum():
            flags[code] |= kernel.LETTER
    kinds = {
        kernel.SPACE: SPACES + "\r",
        kernel.STOP: STOPS,
        kernel.PAUSE: PAUSES,
        kernel.END: ENDS,
        kernel.CLOSING: CLOSING,
        kernel.NEVER_FIRST: NEVER_FIRST,
        kernel.OPENING: OPENING,
        kernel.NUMERAL: NUMERALS,
        kernel.DIVISION: DIVISIONS,
    }
    for flag, characters in kinds.items():
        flags[expand(characters)] |= flag
    flags[[ord(character) for character in BULLETS]] |= kernel.BULLET
    return flags


def join_batch(text: pa.Array) -> pa.Array:
    """`join_lines` of every document of a large_string array without nulls."""
    from corpuskit.kernels.wrapping import join_documents, wrapped_widths

    data, offsets = utf8_buffers(text)
    limits = np.array(
        [
            MIN_WIDTH,
            MAX_WIDTH,
            OVERLONG_COLUMNS,
            MIN_LINES,
            MIN_FULL_LINES,
            PAIR_CHARACTERS,
            MIN_LINKED,
            DENSE_LINES,
        ],
        np.int64,
    )
    shares = np.array(
        [
            MIN_FULL_SHARE,
            MAX_OVERLONG_SHARE,
            MIN_BROKEN_SHARE,
            MIN_INNER_STOP_SHARE,
            MIN_INNER_PAUSE_SHARE,
            MIN_MARKED_SHARE,
            MIN_LINKED_SHARE,
            DENSE_PAUSE_SHARE,
            DENSE_STOP_SHARE,
        ]
    )
    widths = np.zeros(len(text), np.int64)
    marked = np.zeros(len(text), np.bool_)
    wrapped_widths(data, offsets, table(), limits, shares, widths, marked)
    if not widths.any():
        return text
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    out_offsets = np.empty(len(text) + 1, np.int64)
    join_documents(data, offsets, table(), widths, marked, out, out_offsets)
    return string_array(out, out_offsets)


def string_array(data: np.ndarray, offsets: np.ndarray) -> pa.Array:
    """A large_string array of UTF-8 bytes and int64 offsets that begin with 0."""
    data = data[: offsets[-1]]
    return pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data)
    )
