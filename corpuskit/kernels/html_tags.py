"""Tags, comments and declarations in the text of a document, taken for such only if well formed.

`html_lines` reads pages as browsers do, which make a tag of nearly anything; here the text may be prose.
Every byte is looked at a constant number of times: a tag ends before the next ``<``, and what is never
closed is looked for once.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.html_syntax import find_three, is_name, is_space, look_up, name_hash, raw_end

# Bits of a tag's kind.
VOID, CELL, ROW, BLOCK, BREAK, HIDDEN, SCRIPT, STYLE, PARAGRAPH, OPTIONAL = (1 << i for i in range(10))

COMMENT, DECLARATION = -1, -2
"""Numbers of what has no name."""


@kernel
def _is_letter(byte):
    return 97 <= (byte | 32) <= 122


@kernel
def _skip_spaces(data, position, stop):
    while position < stop and is_space(data[position]):
        position += 1
    return position


@kernel
def _value_end(data, position, stop):
    """The end of the attribute value that begins at `position`; `position` where none does."""
    if position >= stop:
        return position
    quote = data[position]
    end = position
    if quote == 34 or quote == 39:
        end += 1
        while end < stop and data[end] != quote and data[end] != 60:
            end += 1
        return end + 1 if end < stop and data[end] == quote else position
    while end < stop:
        byte = data[end]
        if is_space(byte) or byte == 34 or byte == 39 or byte == 60 or byte == 62 or byte == 96:
            break
        end += 1
    return end


@kernel
def _tag_end(data, position, stop):
    """The end of a tag, from behind its name; -1 where its attributes are not well formed."""
    while True:
        while position < stop and (is_space(data[position]) or data[position] == 47):
            position += 1
        if position >= stop:
            return np.int64(-1)
        byte = data[position]
        if byte == 62:
            return position + 1
        if not (_is_letter(byte) or byte == 95 or byte == 58 or byte == 64):
            return np.int64(-1)
        while position < stop:
            byte = data[position]
            if (
                is_space(byte)
                or byte == 34
                or byte == 39
                or byte == 60
                or byte == 62
                or byte == 47
                or byte == 61
            ):
                break
            position += 1
        behind = _skip_spaces(data, position, stop)
        if behind < stop and data[behind] == 61:
            begin = _skip_spaces(data, behind + 1, stop)
            end = _value_end(data, begin, stop)
            if end > begin:
                position = end


@kernel
def _declaration_end(data, position, stop):
    """The end of ``<!…>`` or ``<?…>`` that holds no other angle bracket; -1 where there is none."""
    position += 1
    while position < stop and data[position] != 60 and data[position] != 62:
        position += 1
    return position + 1 if position < stop and data[position] == 62 else np.int64(-1)


@kernel
def _office_name(data, start, stop):
    """Whether a name is one of those that Word writes: ``o:p``, ``v:shape``, ``w:…``, ``st1:…``."""
    if stop - start >= 2 and data[start + 1] == 58:
        letter = data[start] | 32
        return letter == 111 or letter == 118 or letter == 119
    return (
        stop - start >= 4
        and data[start] | 32 == 115
        and data[start + 1] | 32 == 116
        and data[start + 2] == 49
        and data[start + 3] == 58
    )


@kernel
def read_tags(data, openings, stop, code, keys, ids, hashes, kinds, starts, stops, names, is_end):
    """The tags of known names, comments and declarations of a text.

    Returns
    -------
    count, unknown : int64
        How many there are, and how many tags of other names; count is -1 where there are more than fit.
    """
    count = unknown = np.int64(0)
    never_closed = np.int64(0)
    comments_close = True
    span = np.int64(0)
    position = np.int64(0)
    for start in openings:
        if start < position:
            continue
        position = start
        while span < code.shape[0] and code[span, 1] <= position:
            span += 1
        if span < code.shape[0] and code[span, 0] <= position:
            position = code[span, 1]
            continue
        position += 1
        following = data[position] if position < stop else np.uint8(0)
        name = np.int64(DECLARATION)
        closes = False
        end = np.int64(-1)
        kind = np.int64(0)
        if following == 33:
            behind = data[position + 1] if position + 1 < stop else np.uint8(0)
            if behind == 45 and position + 2 < stop and data[position + 2] == 45:
                position += 3
                if comments_close:
                    name = np.int64(COMMENT)
                    end = find_three(data[:stop], start + 2, 45, 45, 62) + 3
                    if end > stop:
                        comments_close = False
                        end = np.int64(-1)
            elif _is_letter(behind) or behind == 91:
                end = _declaration_end(data, position, stop)
        elif following == 63:
            end = _declaration_end(data, position, stop)
        else:
            closes = following == 47
            first = position + closes
            if first < stop and _is_letter(data[first]):
                last = first + 1
                while last < stop and (
                    is_name(data[last]) or data[last] == 58 or data[last] == 45 or data[last] == 46
                ):
                    last += 1
                if last < stop and (is_space(data[last]) or data[last] == 47 or data[last] == 62):
                    end = _tag_end(data, last, stop)
                if end >= 0:
                    name = look_up(name_hash(data, first, last), keys, ids)
                    if name < 0 and _office_name(data, first, last):
                        name = np.int64(kinds.size - 1)
                    if name < 0:
                        unknown += 1
                        position = end
                        continue
                    kind = kinds[name]
        if end < 0:
            continue
        if count == starts.size:
            return np.int64(-1), unknown
        starts[count] = start
        stops[count] = end
        names[count] = name
        is_end[count] = closes
        count += 1
        position = end
        if kind & (SCRIPT | STYLE) and not closes and not never_closed & kind:
            raw = raw_end(data[:stop], end, hashes[name])
            if raw == stop:
                never_closed |= kind & (SCRIPT | STYLE)
            else:
                position = raw
    return count, unknown
