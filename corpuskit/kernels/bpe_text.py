"""Distinct pre-tokens of a text with their counts, and their layout as units of characters.

Chinese repeats few pre-tokens (on 100 MB of laws, news and broadcasts the distinct ones hold 59% of the
bytes), but what it repeats is merged once. A character outside ASCII becomes a composite unit, so that
what merges inside characters is done once a character, not once an occurrence.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.bpe_tables import EMPTY, HASH_MIX, HASH_SHIFT, SEPARATOR
from corpuskit.kernels.compiler import kernel


@kernel
def count_pretokens(data, begin, ends, num_ends, max_bytes, table, store, starts, counts, hashes, num):
    """Count the pre-tokens of a stretch of text.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8.
    begin : int
        Where the first pre-token begins.
    ends : uint64[num_ends]
        Where each ends and the next begins.
    max_bytes : int
        A longer pre-token is cut, between characters, into pieces of at most this; 4 or more.
    table : int32[power of two]
        Open-addressing table of pre-token numbers, -1 where empty; at most half full afterwards.
    store : uint8[:]
        The distinct pre-tokens one after the other; the caller leaves room for all of the stretch.
    starts : int64[:]
        Where each begins in `store`, and where the last ends (0 before the first call).
    counts, hashes : int64, uint64 [:]
    num : int
        Distinct pre-tokens so far.

    Returns
    -------
    int
        Distinct pre-tokens now.
    """
    mask = np.uint64(table.size - 1)
    one = np.uint64(1)
    begin = np.int64(begin)
    number = 0
    while number < num_ends:
        end = np.int64(ends[number])
        if end - begin > max_bytes:
            end = begin + max_bytes
            while data[end] & 0xC0 == 0x80:
                end -= 1
        else:
            number += 1
        if end == begin:
            continue
        value = np.uint64(end - begin)
        for i in range(begin, end):
            value = (value ^ np.uint64(data[i])) * HASH_MIX
            value ^= value >> HASH_SHIFT
        slot = value & mask
        found = False
        while table[slot] != EMPTY:
            candidate = table[slot]
            first = starts[candidate]
            if hashes[candidate] == value and starts[candidate + 1] - first == end - begin:
                found = True
                for i in range(end - begin):
                    if store[first + i] != data[begin + i]:
                        found = False
                        break
                if found:
                    counts[candidate] += 1
                    break
            slot = (slot + one) & mask
        if not found:
            table[slot] = num
            hashes[num] = value
            counts[num] = 1
            first = starts[num]
            for i in range(end - begin):
                store[first + i] = data[begin + i]
            num += 1
            starts[num] = first + end - begin
        begin = end
    return num


@kernel
def rebuild_pretoken_table(table, hashes, num):
    """Fill a larger, empty `table` with the pre-tokens known so far."""
    mask = np.uint64(table.size - 1)
    for i in range(num):
        slot = hashes[i] & mask
        while table[slot] != EMPTY:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = i


@kernel
def lay_units(store, starts, order, byte_ids, size, unit_of, units, inner, unit_starts):
    """Lay pre-tokens out as `corpuskit.kernels.bpe_merging.train_merges` takes them.

    Parameters
    ----------
    store : uint8[:]
    starts : int64[num + 1]
        See `count_pretokens`.
    order : int64[num]
        The order in which to lay them.
    byte_ids : int32[256]
        Token of each byte.
    size : int
        Number of the first composite unit.
    unit_of : int32[0x110000]
        -1 everywhere; overwritten.
    units : int32[:]
        Room for as many items as there are characters and pre-tokens, and one.
    inner, unit_starts : int32[:], int64[:]
        Room for five items, and one, for each different character.

    Returns
    -------
    (int, int, int)
        Items used of `units`, `inner` and `unit_starts`.
    """
    units[0] = SEPARATOR
    inner[0] = SEPARATOR
    num_items, num_inner, num_units = 1, 1, 0
    for pretoken in order:
        i = starts[pretoken]
        end = starts[pretoken + 1]
        while i < end:
            byte = store[i]
            if byte < 0x80:
                units[num_items] = byte_ids[byte]
                num_items += 1
                i += 1
                continue
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            character = np.int64(byte) & (0x7F >> width)
            for j in range(1, width):
                character = (character << 6) | (np.int64(store[i + j]) & 0x3F)
            if unit_of[character] < 0:
                unit_of[character] = size + num_units
                unit_starts[num_units] = num_inner
                num_units += 1
                for j in range(width):
                    inner[num_inner] = byte_ids[store[i + j]]
                    num_inner += 1
                inner[num_inner] = SEPARATOR
                num_inner += 1
            units[num_items] = unit_of[character]
            num_items += 1
            i += width
        units[num_items] = SEPARATOR
        num_items += 1
    return num_items, num_inner, num_units
