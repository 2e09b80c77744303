"""Words to text and to JSON: separators set between them, characters escaped, straight from the bytes."""

from __future__ import annotations

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.utf8 import next_code_point

NEWLINE, BACKSLASH, QUOTE, SPACE = 10, 92, 34, 32


@kernel
def _is_white_space(point):
    """Python's ``str.isspace`` for one code point."""
    if point < 128:
        return 9 <= point <= 13 or 28 <= point <= 32
    return (
        point == 0x85
        or point == 0xA0
        or point == 0x1680
        or 0x2000 <= point <= 0x200A
        or point == 0x2028
        or point == 0x2029
        or point == 0x202F
        or point == 0x205F
        or point == 0x3000
    )


@kernel
def _is_blank(data, begin, end):
    while begin < end:
        point, begin = next_code_point(data, begin, end)
        if not _is_white_space(point):
            return False
    return True


@kernel
def join_rows(data, bounds, rows, separator, drop_blank, ends, out, out_rows):
    """Write each row's words with a separator between them.

    Parameters
    ----------
    data, bounds : uint8[:], int64[:]
        Word `w` is ``data[bounds[w]:bounds[w + 1]]``.
    rows : int64[:]
        Row `r` has the words ``rows[r]`` to ``rows[r + 1]``.
    separator : uint8[:]
    drop_blank : bool
        Leave out words of white space. A line break in one stays, with no separator beside it.
    ends : uint8[:], shape (rows,)
        What follows each row: 0 nothing, 1 a line feed, 2 a carriage return and a line feed.
    out : uint8[:]
        Room for the bytes, a separator a word, and two bytes a row.
    out_rows : int64[:], shape (rows + 1,)
        Receives where each row begins in `out`.

    Returns
    -------
    int
        Bytes written.
    """
    n = 0
    for row in range(rows.size - 1):
        out_rows[row] = n
        inner = False  # whether a word stands before on the line
        for word in range(rows[row], rows[row + 1]):
            begin, end = bounds[word], bounds[word + 1]
            blank = _is_blank(data, begin, end)
            breaks = False
            for i in range(begin, end):
                breaks |= blank and data[i] == NEWLINE
            if breaks:
                for i in range(begin, end):
                    if data[i] == NEWLINE or (data[i] == 13 and data[min(i + 1, end - 1)] == NEWLINE):
                        out[n] = data[i]
                        n += 1
                inner = False
                continue
            if blank and drop_blank:
                continue
            if inner:
                for i in range(separator.size):
                    out[n] = separator[i]
                    n += 1
            for i in range(begin, end):
                out[n] = data[i]
                n += 1
            inner = True
        if ends[row] == 2:
            out[n] = 13
            n += 1
        if ends[row] > 0:
            out[n] = NEWLINE
            n += 1
    out_rows[rows.size - 1] = n
    return n


@kernel
def _hexadecimal(value):
    return value + 48 if value < 10 else value + 87


@kernel
def json_rows(data, bounds, rows, out, out_rows):
    """Write each row's words as a JSON array of strings; parameters as of `join_rows`.

    `out` needs room for six bytes a byte, four a word, and two a row.
    """
    n = 0
    for row in range(rows.size - 1):
        out_rows[row] = n
        out[n] = 91
        n += 1
        for word in range(rows[row], rows[row + 1]):
            if word > rows[row]:
                out[n], out[n + 1] = 44, SPACE
                n += 2
            out[n] = QUOTE
            n += 1
            for i in range(bounds[word], bounds[word + 1]):
                byte = data[i]
                if byte in (QUOTE, BACKSLASH):
                    out[n], out[n + 1] = BACKSLASH, byte
                    n += 2
                elif byte < SPACE:
                    out[n], out[n + 1], out[n + 2], out[n + 3] = BACKSLASH, 117, 48, 48
                    out[n + 4], out[n + 5] = _hexadecimal(byte >> 4), _hexadecimal(byte & 15)
                    n += 6
                else:
                    out[n] = byte
                    n += 1
            out[n] = QUOTE
            n += 1
        out[n] = 93
        n += 1
    out_rows[rows.size - 1] = n
    return n
