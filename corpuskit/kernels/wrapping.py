"""Finds hard-wrapped documents and joins their lines, on the bytes of an Arrow string column.

One scan a line gives all that the rules need (`_scan`); the rules and the reasons for them are in
`corpuskit.clean.wrapping`, whose plain Python the tests hold this against.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import contains, finish, insert
from corpuskit.kernels.utf8 import next_code_point

WIDE, SPACE, LETTER, STOP, END, CLOSING = 1, 2, 4, 8, 16, 32
NEVER_FIRST, OPENING, NUMERAL, DIVISION, BULLET, PAUSE = 64, 128, 256, 512, 1024, 2048
"""Bits of the flags table."""

FIRST, LAST, NEXT, INDENT, WIDTH, TOKEN, FACTS, FIRST_CODE, LAST_CODE = range(9)
"""Columns of a line's numbers: byte positions of the first visible character, behind the last, and of
the next line; widths in columns; the facts below as bits; the first and the last visible character."""
IS_LIST, ENDED, INNER_STOP, HAS_LETTERS, NARROW_FIRST, NARROW_LAST, HYPHEN, INNER_PAUSE = (
    1,
    2,
    4,
    8,
    16,
    32,
    64,
    128,
)

_TAB, _NEWLINE, _DOT, _HYPHEN, _COMMA, _ORDINAL = 9, 10, 46, 45, 0x3001, 0x7B2C  # the last two: 、第


@kernel
def _starts_list(data, position, stop, flags):
    """Whether a bullet, a number with its mark, or 第…章 begins here."""
    code, position = next_code_point(data, position, stop)
    if flags[code] & BULLET:
        return True
    bracket = code == 0x28 or code == 0xFF08
    ordinal = code == _ORDINAL
    digits = numerals = 0
    if flags[code] & NUMERAL:
        numerals = 1
        digits = 1 if code < 128 else 0
    elif not (bracket or ordinal):
        return False
    while position < stop:
        code, position = next_code_point(data, position, stop)
        if not flags[code] & NUMERAL:
            break
        if code < 128 and digits == numerals:
            digits += 1
        numerals += 1
        code = 0
        if numerals > 5:
            return False
    if numerals == 0:
        return False
    if ordinal:
        return flags[code] & DIVISION != 0
    if numerals > 3:
        return False
    closes = code == 0x29 or code == 0xFF09
    if bracket or code == _COMMA:
        return closes if bracket else True
    if digits < numerals:
        return False
    if code == _DOT:
        return not (position < stop and 48 <= data[position] <= 57)
    return closes or code == 0xFF0E


@kernel
def _scan(data, position, stop, flags, line):
    """Fill `line` (int64[9]) with the numbers of the line that begins at `position`."""
    width = indent = 0
    visible_width = token = 0
    first = -1
    last = position
    facts = 0
    in_token = waiting_stop = waiting_pause = dot = ended = first_wide = False
    token_length = 0
    final_code = 0
    while position < stop:
        code, following = next_code_point(data, position, stop)
        if code == _NEWLINE:
            position = following
            break
        flag = flags[code]
        columns = 4 if code == _TAB else (2 if flag & WIDE else 1)
        if flag & SPACE:
            width += columns
            in_token = False
            if dot:
                waiting_stop = waiting_pause = True
                dot = False
            position = following
            continue
        if first < 0:
            first = position
            line[FIRST_CODE] = code
            indent = width
            in_token = True
            first_wide = flag & WIDE != 0
            if not first_wide:
                facts |= NARROW_FIRST
            if _starts_list(data, position, stop, flags):
                facts |= IS_LIST
            token = columns
            token_length = 2 if flag & OPENING else 1
        elif in_token:
            if first_wide:
                if token_length == 2 or flag & NEVER_FIRST:
                    token += columns
                    token_length = 1
                else:
                    in_token = False
            elif flag & WIDE:
                in_token = False
            else:
                token += columns
        if waiting_stop and not flag & (CLOSING | STOP):
            facts |= INNER_STOP
            waiting_stop = False
        if waiting_pause and not flag & (CLOSING | PAUSE):
            facts |= INNER_PAUSE
            waiting_pause = False
        dot = code == _DOT
        if flag & STOP:
            waiting_stop = True
        if flag & PAUSE:
            waiting_pause = True
        if flag & END:
            ended = True
        elif not flag & CLOSING:
            ended = False
        if flag & LETTER:
            facts |= HAS_LETTERS
        width += columns
        visible_width = width
        last = following
        final_code = code
        position = following
    if ended:
        facts |= ENDED
    if first >= 0 and not flags[final_code] & WIDE:
        facts |= NARROW_LAST
    if final_code == _HYPHEN:
        facts |= HYPHEN
    line[LAST_CODE] = final_code
    line[FIRST] = first
    line[LAST] = last
    line[NEXT] = position
    line[INDENT] = indent
    line[WIDTH] = visible_width
    line[TOKEN] = token
    line[FACTS] = facts


@kernel
def _is_full(line, following, width):
    return line[FIRST] >= 0 and following[FIRST] >= 0 and line[WIDTH] + following[TOKEN] > width


@kernel
def _pairs(data, start, stop, flags, limit):
    """The set of pairs of wide letters side by side, among the first `limit` of them."""
    size = 256
    while size < 2 * min(limit, stop - start):
        size *= 2
    pairs = np.zeros(size, np.uint64)
    seen = previous = 0
    position = start
    while position < stop:
        code, position = next_code_point(data, position, stop)
        wide = flags[code] & (WIDE | LETTER) == WIDE | LETTER
        seen += wide
        if seen > limit:
            break
        if wide and previous > 0:
            insert(pairs, _pair(previous, code))
        previous = code if wide else 0
    return pairs


@kernel
def _pair(first, second):
    return finish(np.uint64(first) << np.uint64(32) | np.uint64(second))


@kernel
def _num_linked(data, start, stop, flags, width, limit, line, following):
    """Breaks after full lines that lie inside a sentence."""
    pairs = _pairs(data, start, stop, flags, limit)
    linked = 0
    _scan(data, start, stop, flags, line)
    while line[NEXT] < stop:
        _scan(data, line[NEXT], stop, flags, following)
        if _is_full(line, following, width):
            code = following[FIRST_CODE]
            small_letter = 97 <= code <= 122 and line[FACTS] & NARROW_LAST
            linked += small_letter or contains(pairs, _pair(line[LAST_CODE], code))
        line, following = following, line
    return linked


@kernel
def wrapped_widths(data, offsets, flags, limits, shares, widths, marked):
    """The width that each document was wrapped at, 0 where it was not.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    flags : uint16[0x110000]
    limits : int64[8]
        Least and largest width, overlong columns, least lines, least full lines, pair characters,
        least linked, least dense lines.
    shares : float64[9]
        Least full, largest overlong, least broken, least inner stop, least inner pause,
        least marked, least linked, least dense pauses, least dense stops.
    widths : int64[num_documents]
    marked : bool[num_documents]
        Whether blank or indented lines mark paragraphs.
    """
    histogram = np.zeros(limits[1] + 1, np.int64)
    line = np.zeros(9, np.int64)
    following = np.zeros(9, np.int64)
    for document in range(offsets.size - 1):
        start, stop = offsets[document], offsets[document + 1]
        for value in range(histogram.size):
            histogram[value] = 0
        filled = blank = 0
        least_indent = np.int64(1 << 40)
        position = start
        while position < stop:
            _scan(data, position, stop, flags, line)
            position = line[NEXT]
            if line[FIRST] < 0:
                blank += position < stop or data[stop - 1] == _NEWLINE
                continue
            filled += 1
            least_indent = min(least_indent, line[INDENT])
            if line[WIDTH] >= limits[0]:
                histogram[min(line[WIDTH], limits[1])] += 1
        widths[document] = 0
        marked[document] = False
        if filled < limits[3]:
            continue
        width = 0
        for value in range(limits[0], limits[1] + 1):
            if histogram[value] > 0 and histogram[value] >= histogram[width]:
                width = value
        if width == 0:
            continue
        overlong = 0
        for value in range(width + limits[2] + 1, histogram.size):
            overlong += histogram[value]
        if overlong > shares[1] * filled:
            continue
        full = broken = stops = pauses = indented = 0
        position = start
        _scan(data, position, stop, flags, line)
        indented += line[FIRST] >= 0 and line[INDENT] > least_indent
        while line[NEXT] < stop:
            _scan(data, line[NEXT], stop, flags, following)
            indented += following[FIRST] >= 0 and following[INDENT] > least_indent
            if _is_full(line, following, width):
                full += 1
                broken += line[FACTS] & ENDED == 0
                stops += line[FACTS] & INNER_STOP != 0
                pauses += line[FACTS] & INNER_PAUSE != 0
            line, following = following, line
        if (
            full >= limits[4]
            and full >= shares[0] * filled
            and broken >= shares[2] * full
            and stops >= shares[3] * full
            and pauses >= shares[4] * full
            and (
                (full >= limits[7] and pauses >= shares[7] * full and stops >= shares[8] * full)
                or _num_linked(data, start, stop, flags, width, limits[5], line, following)
                >= max(limits[6], shares[6] * full)
            )
        ):
            widths[document] = width
            marked[document] = blank + indented >= shares[5] * filled


@kernel
def join_documents(data, offsets, flags, widths, marked, out, out_offsets):
    """Copy every document with the lines joined that go on in the next one.

    Parameters
    ----------
    data, offsets, flags, widths, marked
        As for, and from, `wrapped_widths`.
    out : uint8[:]
        As long as `data`; nothing grows.
    out_offsets : int64[:]
        As long as `offsets`; filled.
    """
    line = np.zeros(9, np.int64)
    following = np.zeros(9, np.int64)
    written = 0
    out_offsets[0] = 0
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        width = widths[document]
        if width == 0:
            for byte in range(position, stop):
                out[written] = data[byte]
                written += 1
            out_offsets[document + 1] = written
            continue
        _scan(data, position, stop, flags, line)
        while True:
            goes_on = False
            if line[NEXT] < stop:
                _scan(data, line[NEXT], stop, flags, following)
                facts, after = line[FACTS], following[FACTS]
                goes_on = (
                    _is_full(line, following, width)
                    and facts & HAS_LETTERS != 0
                    and after & HAS_LETTERS != 0
                    and after & IS_LIST == 0
                    and (following[INDENT] <= line[INDENT] or facts & IS_LIST != 0)
                    and (marked[document] or facts & ENDED == 0)
                )
            end = line[LAST] if goes_on else line[NEXT]
            for byte in range(position, end):
                out[written] = data[byte]
                written += 1
            if line[NEXT] >= stop:
                break
            position = line[NEXT]
            if goes_on:
                if line[FACTS] & NARROW_LAST and following[FACTS] & NARROW_FIRST and not line[FACTS] & HYPHEN:
                    out[written] = 32
                    written += 1
                position = following[FIRST]
            line, following = following, line
        out_offsets[document + 1] = written
