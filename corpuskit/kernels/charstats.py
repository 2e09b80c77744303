"""Character-class and line counts of many documents in one pass over their UTF-8 bytes.

One lookup a character in a table indexed by code point; lines are judged as they end, so nothing
is split or copied. The reference in the tests counts the same with Python strings.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel

LINES, SHORT_LINES, TERMINATED_LINES, STOPS = 0, 1, 2, 3
"""Columns of the line counts; the last counts characters, not lines."""

TERMINAL_FLAG, CLOSING_FLAG, SPACE_FLAG, STOP_FLAG = 1, 2, 4, 8
"""Bits of the flags table: ends a sentence; may follow what ends one (quotes); white space;
ends a sentence and nothing else (unlike the ASCII full stop of numbers and addresses)."""


@kernel
def document_counts(data, offsets, classes, flags, short_line, class_counts, line_counts):
    """Count character classes and lines of each document.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8 of all documents.
    offsets : int64[:]
        Document `i` is ``data[offsets[i]:offsets[i + 1]]``.
    classes, flags : uint8[0x110000]
        Class and flag bits of each code point.
    short_line : int
        A line with fewer visible characters than this is short.
    class_counts : int64[num_documents, num_classes]
        Filled in: characters of each class.
    line_counts : int64[num_documents, 4]
        Filled in: lines with a visible character; the short ones; those that end a sentence
        (the last visible character is terminal, or closes after a terminal one); sentence-ending marks.
    """
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        visible = 0
        ended = False
        while position < stop:
            byte = data[position]
            if byte < 0x80:
                code = np.int64(byte)
                position += 1
            elif byte < 0xE0:
                code = (np.int64(byte) & 0x1F) << 6 | (np.int64(data[position + 1]) & 0x3F)
                position += 2
            elif byte < 0xF0:
                code = (
                    (np.int64(byte) & 0x0F) << 12
                    | (np.int64(data[position + 1]) & 0x3F) << 6
                    | (np.int64(data[position + 2]) & 0x3F)
                )
                position += 3
            else:
                code = (
                    (np.int64(byte) & 0x07) << 18
                    | (np.int64(data[position + 1]) & 0x3F) << 12
                    | (np.int64(data[position + 2]) & 0x3F) << 6
                    | (np.int64(data[position + 3]) & 0x3F)
                )
                position += 4
            class_counts[document, classes[code]] += 1
            if code == 10:
                if visible > 0:
                    line_counts[document, LINES] += 1
                    line_counts[document, SHORT_LINES] += visible < short_line
                    line_counts[document, TERMINATED_LINES] += ended
                visible = 0
                ended = False
                continue
            flag = flags[code]
            line_counts[document, STOPS] += flag & STOP_FLAG != 0
            if flag & SPACE_FLAG == 0:
                visible += 1
                ended = flag & TERMINAL_FLAG != 0 or (ended and flag & CLOSING_FLAG != 0)
        if visible > 0:
            line_counts[document, LINES] += 1
            line_counts[document, SHORT_LINES] += visible < short_line
            line_counts[document, TERMINATED_LINES] += ended
