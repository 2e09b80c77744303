"""Which lines of which documents can hold personal data at all, in one pass over the UTF-8 bytes.

Nine lines in ten hold neither a run of seven digits nor an ``@`` nor a Latin word after 微信; the
rules (regular expressions, checksums) see only the rest. The kernel promises a superset: a line it
leaves out has no match; the tests hold it to that by running the rules on every line.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.pii_flags import ACCOUNT, ADDRESS, EMAIL, IGNORABLE, NUMBER, PLATE, SECRET

DIGIT, UPPER, LOWER, WORD_MARK, NEUTRAL, OTHER = 0, 1, 2, 3, 4, 5
"""Classes of ASCII characters: `WORD_MARK` is ``_`` and ``-``; `NEUTRAL` may stand between two digits of one
number (space, tab, ``.``, ``(``, ``)``, ``+``)."""

CONTEXT_BYTES = 96
"""No rule of the `ACCOUNT` flag reaches further back from the account than this."""

_MIN_DIGITS = 7
_MIN_WORD = 5


@kernel
def account_hint(data, start, stop):
    """Whether one of the Han of words for QQ and WeChat (微薇信扣加群) stands in ``data[start:stop]``."""
    for i in range(start, stop - 2):
        first, second, third = data[i], data[i + 1], data[i + 2]
        if first == 0xE5:
            if (second == 0xBE and third == 0xAE) or (second == 0x8A and third == 0xA0):
                return True
        elif first == 0xE8:
            if second == 0x96 and third == 0x87:
                return True
        elif first == 0xE4:
            if second == 0xBF and third == 0xA1:
                return True
        elif first == 0xE6:
            if second == 0x89 and third == 0xA3:
                return True
        elif first == 0xE7 and second == 0xBE and third == 0xA4:
            return True
    return False


@kernel
def candidate_lines(data, offsets, classes, provinces, documents, starts, stops, flags):
    """Find the lines that may hold personal data.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8 of all documents.
    offsets : int64[:]
        Document `i` is ``data[offsets[i]:offsets[i + 1]]``.
    classes : uint8[128]
        Class of each ASCII character. Fullwidth forms count as the ASCII they are.
    provinces : uint8[65536]
        1 at the Han that begin a licence plate.
    documents, starts, stops : int64[:]
        Filled in for each line found: its document and byte range, without the newline. Room for as many
        lines as there are newlines and documents.
    flags : uint8[:]
        Filled in: what may be there.

    Returns
    -------
    int
        How many lines were found, in order.
    """
    found = 0
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        while position < stop:
            start = position
            flag = 0
            digits = 0
            dots = 0
            colons = 0
            word = 0
            hint = start - CONTEXT_BYTES - 1
            last_han = start - CONTEXT_BYTES - 1
            since_han = 2
            before = previous = np.int64(0)
            while position < stop:
                byte = data[position]
                if 0xE4 <= byte <= 0xE9:
                    last_han = position
                    since_han = 0
                    digits = dots = colons = word = 0
                    before = previous = np.int64(0)
                    position += 3
                    continue
                code = np.int64(-1)
                size = 1
                if byte < 0x80:
                    code = np.int64(byte)
                elif byte >= 0xF0:
                    size = 4
                    if byte >= 0xF3:
                        flag |= IGNORABLE
                elif byte >= 0xE0:
                    size = 3
                    if position + 3 <= stop:
                        second, third = data[position + 1], data[position + 2]
                        if byte == 0xEF:
                            if second == 0xBC and third > 0x80:
                                code = np.int64(third) - 0x60
                            elif second == 0xBD and third < 0x9F:
                                code = np.int64(third) - 0x20
                            elif second == 0xBC or second == 0xBD:
                                pass
                            else:
                                flag |= IGNORABLE
                        elif byte == 0xEE or (byte == 0xE1 and second == 0xA0):
                            flag |= IGNORABLE
                        elif byte == 0xE2:
                            if (second == 0x80 and (0x8B <= third <= 0x8F or third >= 0xAA)) or (
                                second == 0x81 and third >= 0xA0
                            ):
                                flag |= IGNORABLE
                        elif byte == 0xE3 and (second != 0x80 or third != 0x80):
                            digits = 0
                else:
                    size = 2
                    if byte == 0xC2 and position + 2 <= stop:
                        second = data[position + 1]
                        if second < 0xA0 or second == 0xAD:
                            flag |= IGNORABLE
                position += size
                if code < 0:
                    dots = colons = word = 0
                    before = previous = np.int64(0)
                    since_han += 1
                    continue
                if code == 10:
                    position -= size
                    break
                kind = classes[code]
                if kind == DIGIT:
                    digits += 1
                    if digits == _MIN_DIGITS:
                        flag |= NUMBER
                    if dots >= 3:
                        flag |= ADDRESS
                    word += 1
                elif kind in (UPPER, LOWER):
                    lower = code | 0x20
                    if kind == UPPER and since_han <= 1 and last_han >= start:
                        han = (
                            ((data[last_han] & 0x0F) << 12)
                            | ((data[last_han + 1] & 0x3F) << 6)
                            | (data[last_han + 2] & 0x3F)
                        )
                        if provinces[han]:
                            flag |= PLATE
                    if (
                        (lower == 0x71 and previous == 0x71)
                        or (lower == 0x78 and (previous == 0x76 or previous == 0x77))
                        or (lower == 0x76 and previous == 0x2B)
                        or (before == 0x77 and previous == 0x65 and (lower == 0x63 or lower == 0x69))
                    ):
                        hint = position
                        word = 0
                    else:
                        word += 1
                    digits = 0
                    dots = 0
                    if lower > 0x66:
                        colons = 0
                    code = lower
                else:
                    if kind == WORD_MARK:
                        word += 1
                    else:
                        word = 0
                    if kind == OTHER or code == 0x5F:
                        digits = 0
                    if code == 0x2E:
                        dots += 1
                    else:
                        dots = 0
                    if code == 0x3A:
                        colons += 1
                        if colons >= 7 or previous == 0x3A:
                            flag |= ADDRESS
                    elif code != 0x2E:
                        colons = 0
                    if code == 0x40:
                        flag |= EMAIL | SECRET
                    elif code == 0x3D:
                        flag |= SECRET
                    elif code < 9 or 0x0D < code < 0x20 or code == 0x7F:
                        flag |= IGNORABLE
                if word == _MIN_WORD and flag & ACCOUNT == 0:
                    reach = position - CONTEXT_BYTES
                    if hint >= reach or (
                        last_han >= reach and account_hint(data, max(start, reach), position)
                    ):
                        flag |= ACCOUNT
                before = previous
                previous = code
                since_han += 1
            if flag:
                documents[found] = document
                starts[found] = start
                stops[found] = position
                flags[found] = flag
                found += 1
            position += 1
    return found
