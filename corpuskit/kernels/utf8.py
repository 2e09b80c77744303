"""Code points straight from the UTF-8 bytes of an Arrow string column.

Every text kernel walks the column's own buffer, so no text becomes a Python string. Arrow promises
valid UTF-8; damaged bytes cannot make a kernel read past `stop`, they only give other code points.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel


@kernel
def next_code_point(data, position, stop):
    """Decode one code point.

    Parameters
    ----------
    data : uint8[:]
    position, stop : int64
        Where the character begins, and the end of its text (``position < stop``).

    Returns
    -------
    code, position : int64, int64
        The code point, and where the next character begins.
    """
    lead = np.int64(data[position])
    if lead < 0x80:
        return lead, position + 1
    if lead < 0xE0:
        if position + 2 > stop:
            return lead, stop
        return ((lead & 0x1F) << 6) | (np.int64(data[position + 1]) & 0x3F), position + 2
    if lead < 0xF0:
        if position + 3 > stop:
            return lead, stop
        middle = (np.int64(data[position + 1]) & 0x3F) << 6
        return ((lead & 0x0F) << 12) | middle | (np.int64(data[position + 2]) & 0x3F), position + 3
    if position + 4 > stop:
        return lead, stop
    high = (np.int64(data[position + 1]) & 0x3F) << 12
    low = ((np.int64(data[position + 2]) & 0x3F) << 6) | (np.int64(data[position + 3]) & 0x3F)
    return ((lead & 0x07) << 18) | high | low, position + 4


@kernel
def checked_code_point(data, at, end):
    """Code point and width of the UTF-8 character at `at`; width 0 if it is malformed."""
    b = np.int64(data[at])
    if b < 0x80:
        return b, 1
    if 0xE0 <= b < 0xF0 and at + 2 < end:
        c, d = np.int64(data[at + 1]), np.int64(data[at + 2])
        code = (b & 0xF) << 12 | (c & 0x3F) << 6 | (d & 0x3F)
        if c & 0xC0 == 0x80 and d & 0xC0 == 0x80 and code >= 0x800 and code & 0xF800 != 0xD800:
            return code, 3
    elif 0xC2 <= b < 0xE0 and at + 1 < end:
        c = np.int64(data[at + 1])
        if c & 0xC0 == 0x80:
            return (b & 0x1F) << 6 | (c & 0x3F), 2
    elif 0xF0 <= b < 0xF5 and at + 3 < end:
        c, d, e = np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
        code = (b & 0x7) << 18 | (c & 0x3F) << 12 | (d & 0x3F) << 6 | (e & 0x3F)
        if c & 0xC0 == 0x80 and d & 0xC0 == 0x80 and e & 0xC0 == 0x80 and 0x10000 <= code <= 0x10FFFF:
            return code, 4
    return np.int64(-1), 0


@kernel
def decode(data, start, stop, codes):
    """Write the code points of ``data[start:stop]`` to `codes` (int32[:]); return how many."""
    count = 0
    position = start
    while position < stop:
        code, position = next_code_point(data, position, stop)
        codes[count] = code
        count += 1
    return count


@kernel
def count_characters(data, offsets, counts):
    """Write the number of characters of each text to `counts` (int64[:])."""
    for text in range(offsets.size - 1):
        count = 0
        for position in range(offsets[text], offsets[text + 1]):
            if data[position] & 0xC0 != 0x80:
                count += 1
        counts[text] = count


@kernel
def remove_characters(data, offsets, ignored, out, out_offsets):
    """Copy every text without its ignored characters.

    Parameters
    ----------
    data : uint8[:]
    offsets : int64[:]
        Text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
    ignored : uint8[65536]
        1 at the code points to leave out; code points from 65536 on are always kept.
    out : uint8[:]
        At least ``offsets[-1] - offsets[0]`` bytes.
    out_offsets : int64[:]
        As long as `offsets`; filled.
    """
    written = 0
    out_offsets[0] = 0
    for text in range(offsets.size - 1):
        position = offsets[text]
        stop = offsets[text + 1]
        while position < stop:
            code, following = next_code_point(data, position, stop)
            if code >= ignored.size or ignored[code] == 0:
                for byte in range(position, following):
                    out[written] = data[byte]
                    written += 1
            position = following
        out_offsets[text + 1] = written
