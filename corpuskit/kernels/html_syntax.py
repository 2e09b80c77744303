"""The parts of a web page's syntax: names, attributes, character references, comments, raw text.

Every function takes the page's bytes and a position and returns the position behind what it read, so a
hostile page costs what its bytes cost. Positions never run past the page's end.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel

_HASH_START = np.uint64(0xCBF29CE484222325)
_HASH_FACTOR = np.uint64(0x100000001B3)


@kernel
def name_hash(data, start, stop):
    """FNV-1a of a name, ASCII letters in lower case."""
    value = _HASH_START
    for i in range(start, stop):
        byte = data[i]
        if 65 <= byte <= 90:
            byte |= 32
        value = (value ^ np.uint64(byte)) * _HASH_FACTOR
    return value


@kernel
def fill_table(keys, values, table_keys, table_values):
    """Enter keys (uint64, not 0) into an open-addressing table whose size is a power of two."""
    mask = np.uint64(table_keys.size - 1)
    for i in range(keys.size):
        slot = keys[i] & mask
        while table_keys[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        table_keys[slot] = keys[i]
        table_values[slot] = values[i]


@kernel
def look_up(key, table_keys, table_values):
    """The value of a key, or -1."""
    mask = np.uint64(table_keys.size - 1)
    slot = key & mask
    while table_keys[slot] != 0:
        if table_keys[slot] == key:
            return np.int64(table_values[slot])
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@kernel
def is_space(byte):
    return byte == 32 or 9 <= byte <= 13


@kernel
def is_name(byte):
    return 97 <= (byte | 32) <= 122 or 48 <= byte <= 57


@kernel
def find_three(data, position, first, second, third):
    """Position of the first place of three bytes, or the end."""
    last = data.size - 2
    while position < last:
        if data[position] == first and data[position + 1] == second and data[position + 2] == third:
            return position
        position += 1
    return data.size


@kernel
def skip_declaration(data, position):
    """The end of a comment, doctype or processing instruction that begins at `position` (at its ``<``)."""
    if data[position + 1] == 33 and position + 3 < data.size:
        if data[position + 2] == 45 and data[position + 3] == 45:  # <!--
            if position + 4 < data.size and data[position + 4] == 62:
                return position + 5
            # The standard's "--!>" is rare enough to be left to the next "-->".
            return min(find_three(data, position + 2, 45, 45, 62) + 3, data.size)
        if data[position + 2] == 91 and data[position + 3] == 67:  # <![CDATA[
            return min(find_three(data, position + 3, 93, 93, 62) + 3, data.size)
    while position < data.size and data[position] != 62:
        position += 1
    return min(position + 1, data.size)


@kernel
def raw_end(data, position, name):
    """Where the end tag of a raw text element begins: the ``<`` of ``</name``, or the end."""
    size = data.size
    while position < size:
        if data[position] == 60 and position + 2 < size and data[position + 1] == 47:
            stop = position + 2
            while stop < size and is_name(data[stop]):
                stop += 1
            if name_hash(data, position + 2, stop) == name:
                return position
            position = stop
        else:
            position += 1
    return size


@kernel
def _hints_of(data, start, stop, hint_keys, hint_values):
    """Hint bits of a class or id: its words, cut at other characters and at a capital in camel case."""
    hints = np.int64(0)
    word = start
    for i in range(start, stop + 1):
        ends = i == stop or not is_name(data[i])
        camel = not ends and i > word and 65 <= data[i] <= 90 and 97 <= data[i - 1] <= 122
        if (ends or camel) and i > word:
            end = i
            while end > word + 1 and 48 <= data[end - 1] <= 57:  # nav2, left01
                end -= 1
            found = look_up(name_hash(data, word, end), hint_keys, hint_values)
            if found > 0:
                hints |= found
        if ends:
            word = i + 1
        elif camel:
            word = i
    return hints


@kernel
def _hides(data, start, stop):
    """Whether a style attribute holds ``display: none``."""
    for i in range(start, stop - 10):
        if (data[i] | 32) == 100 and (data[i + 1] | 32) == 105 and (data[i + 6] | 32) == 121:  # d i ..... y
            j = i + 7
            while j < stop and data[j] == 32:
                j += 1
            if j < stop and data[j] == 58:
                j += 1
                while j < stop and data[j] == 32:
                    j += 1
                if j + 3 < stop and (data[j] | 32) == 110 and (data[j + 1] | 32) == 111:  # no..
                    return True
    return False


CLASS, ID, STYLE, HREF, HIDDEN = range(5)
"""Places of the attributes' names in `attribute_names`."""


@kernel
def read_attributes(data, position, names, hint_keys, hint_values):
    """Read a tag from behind its name to its ``>``.

    Returns the position behind it, whether it is a link, whether it is hidden, and its hint bits.
    """
    size = data.size
    is_link = False
    hidden = False
    hints = np.int64(0)
    while position < size:
        byte = data[position]
        if byte == 62:
            return position + 1, is_link, hidden, hints
        if is_space(byte) or byte == 47:
            position += 1
            continue
        start = position
        while position < size:
            byte = data[position]
            if byte == 61 or byte == 62 or byte == 47 or is_space(byte):
                break
            position += 1
        name_stop = position
        while position < size and is_space(data[position]):
            position += 1
        value_start = value_stop = position
        if position < size and data[position] == 61:
            position += 1
            while position < size and is_space(data[position]):
                position += 1
            if position < size and (data[position] == 34 or data[position] == 39):
                quote = data[position]
                position += 1
                value_start = position
                while position < size and data[position] != quote:
                    position += 1
                value_stop = position
                position += 1
            else:
                value_start = position
                while position < size and data[position] != 62 and not is_space(data[position]):
                    position += 1
                value_stop = position
        elif position == start:
            position += 1  # a stray "=": always go on
        length = name_stop - start
        if length == 2 or 4 <= length <= 6:
            what = -1
            key = name_hash(data, start, name_stop)
            for i in range(names.size):
                if names[i] == key:
                    what = i
            if what in (CLASS, ID):
                hints |= _hints_of(data, value_start, value_stop, hint_keys, hint_values)
            elif what == STYLE:
                hidden = hidden or _hides(data, value_start, value_stop)
            elif what == HREF:
                is_link = value_stop > value_start
            elif what == HIDDEN:
                hidden = True
    return size, is_link, hidden, hints


@kernel
def read_reference(data, position, entity_keys, entity_values, windows):
    """Code point of the reference at `position` (an ``&``) and the position behind it; -1 for none."""
    size = data.size
    start = position + 1
    if start < size and data[start] == 35:
        start += 1
        base = np.int64(10)
        if start < size and (data[start] | 32) == 120:
            base = np.int64(16)
            start += 1
        code = np.int64(0)
        stop = start
        while stop < size and stop < start + 8:
            byte = np.int64(data[stop])
            if 48 <= byte <= 57:
                digit = byte - 48
            elif base == 16 and 97 <= (byte | 32) <= 102:
                digit = (byte | 32) - 87
            else:
                break
            code = code * base + digit
            stop += 1
        if stop == start:
            return np.int64(-1), position
        if stop < size and data[stop] == 59:
            stop += 1
        if 128 <= code < 160:
            code = np.int64(windows[code - 128])
        if code == 0 or code > 0x10FFFF or 0xD800 <= code < 0xE000:
            code = np.int64(0xFFFD)
        return code, stop
    stop = start
    while stop < size and stop < start + 32 and is_name(data[stop]):
        stop += 1
    if stop == start:
        return np.int64(-1), position
    # Names are case-sensitive; the ";" is part of those that need it.
    value = _HASH_START
    for i in range(start, stop):
        value = (value ^ np.uint64(data[i])) * _HASH_FACTOR
    if stop < size and data[stop] == 59:
        code = look_up((value ^ np.uint64(59)) * _HASH_FACTOR, entity_keys, entity_values)
        if code >= 0:
            return code, stop + 1
    code = look_up(value, entity_keys, entity_values)
    if code >= 0:
        return code, stop
    return np.int64(-1), position
