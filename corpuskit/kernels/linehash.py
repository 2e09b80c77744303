"""Hashes of the lines of many documents, and documents without some of their lines.

One pass over the UTF-8 bytes; nothing is split. A line of visible characters c1 … cn, fullwidth forms as
ASCII, hashes to ``finish(sum mix(ci) * BASE**(n - i))`` modulo 2**64, so that two copies of a line agree
whatever their spacing and width; `line_hash` in `corpuskit.clean.lines` is the same in plain Python.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import finish
from corpuskit.kernels.utf8 import next_code_point

BASE = np.uint64(0x9E3779B97F4A7C15)
MIX_ADD = np.uint64(0xD1B54A32D192ED03)
MIX_MULTIPLY = np.uint64(0xAEF17502108EF2D9)
MIX_SHIFT = np.uint64(29)
"""`mix` spreads code points before they are summed: ``x = (c + MIX_ADD) * MIX_MULTIPLY; x ^ x >>
MIX_SHIFT``."""


@kernel
def hash_lines(data, offsets, ignored, fold_digits, documents, starts, stops, hashes, characters, han, last):
    """Hash every line that has a visible character.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8 of all documents.
    offsets : int64[:]
        Document `i` is ``data[offsets[i]:offsets[i + 1]]``.
    ignored : uint8[65536]
        1 at the code points that do not count (white space, invisible characters).
    fold_digits : bool
        Take every digit for 0.
    documents, starts, stops : int64[:]
        Filled in for each such line: its document and byte range, without the newline. Room for as many lines
        as there are newlines and documents.
    hashes : uint64[:]
        Filled in.
    characters, han, last : int32[:]
        Filled in: visible characters, Han among them (basic block and extension A), and the last one.

    Returns
    -------
    int
        How many lines there are, in order.
    """
    found = 0
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        while position < stop:
            start = position
            total = np.uint64(0)
            visible = 0
            num_han = 0
            code = np.int64(0)
            last_code = np.int64(0)
            while position < stop and data[position] != 10:
                code, position = next_code_point(data, position, stop)
                if code < 65536:
                    if ignored[code]:
                        continue
                    if 0x3400 <= code < 0xA000:
                        num_han += 1
                    elif 0xFF01 <= code <= 0xFF5E:
                        code -= 0xFEE0
                    if fold_digits and 48 <= code <= 57:
                        code = np.int64(48)
                mixed = (np.uint64(code) + MIX_ADD) * MIX_MULTIPLY
                mixed ^= mixed >> MIX_SHIFT
                total = total * BASE + mixed
                visible += 1
                last_code = code
            if visible:
                documents[found] = document
                starts[found] = start
                stops[found] = position
                hashes[found] = finish(total)
                characters[found] = visible
                han[found] = num_han
                last[found] = last_code
                found += 1
            position += 1
    return found


@kernel
def remove_lines(data, offsets, documents, starts, stops, out, out_offsets):
    """Copy every document without the lines given.

    A removed line takes its newline along, and the blank lines after it where they would stand first or
    behind another blank line; a document that loses a line loses its last newlines.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
        The documents.
    documents, starts, stops : int64[:]
        The lines to remove, in order, as `hash_lines` gives them.
    out : uint8[:]
        At least ``offsets[-1] - offsets[0]`` bytes.
    out_offsets : int64[:]
        As long as `offsets`; filled.
    """
    written = 0
    line = 0
    out_offsets[0] = 0
    for document in range(offsets.size - 1):
        begin = written
        position, stop = offsets[document], offsets[document + 1]
        touched = False
        while line < documents.size and documents[line] == document:
            touched = True
            for byte in range(position, starts[line]):
                out[written] = data[byte]
                written += 1
            position = min(stops[line] + 1, stop)
            while position < stop and data[position] == 10:
                at_line_start = written == begin or out[written - 1] == 10
                if written != begin and not (
                    at_line_start and (written - 1 == begin or out[written - 2] == 10)
                ):
                    break
                position += 1
            line += 1
        for byte in range(position, stop):
            out[written] = data[byte]
            written += 1
        while touched and written > begin and out[written - 1] == 10:
            written -= 1
        out_offsets[document + 1] = written
