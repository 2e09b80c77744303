"""How much of each document its repeated character n-grams cover, for nine sizes at once.

An n-gram can occur twice only where its first n - 1 characters do. So each size looks only at the
places where the size before repeated; and there a small table of saturating counters, which needs no
branch, first sorts out what occurs once (it lets a few too many through). Only the rest, some 1.2 places a
character on news for all nine sizes together, goes into the exact hash table, whose unpredictable
branches are what costs. Shares are exact up to collisions of 40-bit hashes within a document.

Documents are taken in blocks of at most 2**17 visible characters, counted apart: memory is bounded
(7 MiB), and a book is measured like its chapters (repetition grows with length even in good prose).
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.utf8 import next_code_point

FIRST_SIZE, LAST_TOP_SIZE, LAST_SIZE = 2, 4, 10
"""Gopher (Rae et al. 2021, table A1): the most frequent 2- to 4-gram and all repeated 5- to 10-grams."""

NUM_SIZES = LAST_SIZE - FIRST_SIZE + 1

BLOCK_CHARACTERS = 1 << 17

SLOTS_PER_CHARACTER, COUNTERS_PER_CHARACTER = 2, 4
"""Of the hash table and of the counters. The table is at most half full."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0xD1B54A32D192ED03)
_FOLD = np.uint64(32)
_ONE, _TWO = np.uint64(1), np.uint64(2)

# A used slot's key has the epoch in its low 24 bits; the word beside it holds last place and covered
# characters above them, so that no word of an older epoch can pass for one in use.
_EPOCH_BITS, _PLACE_BITS = np.uint64(24), np.uint64(42)
_EPOCH_MASK = np.uint64((1 << 24) - 1)
_COVERED_MASK = np.uint64((1 << 18) - 1)


@kernel
def table_bits(slots):
    """The least k with ``2**k >= slots``, at least 4."""
    bits = 4
    while 1 << bits < slots:
        bits += 1
    return bits


@kernel
def keep_repeated(size, codes, places, hashes, num_places, counters):
    """Keep the places whose n-gram seems to occur twice.

    Parameters
    ----------
    size : int64
    codes : int32[:]
    places, hashes : int32[:], uint64[:]
        The first `num_places` are places, ascending, and the hashes of one character less. What is
        kept moves to the front, with the hashes of this size.
    counters : uint8[:]
        Scratch.

    Returns
    -------
    int64
        How many are kept: all that occur twice, and a few that share a counter.
    """
    bits = table_bits(COUNTERS_PER_CHARACTER * num_places)
    shift = np.uint64(64 - bits)
    counters[: 1 << bits] = 0
    for k in range(np.uint64(num_places)):
        value = (hashes[k] ^ np.uint64(codes[np.uint64(places[k] + size - 1)])) * _MULTIPLIER
        value ^= value >> _FOLD
        hashes[k] = value
        counter = counters[value >> shift]
        counters[value >> shift] = counter + np.uint8(counter < 2)
    kept = np.uint64(0)
    for k in range(np.uint64(num_places)):
        value = hashes[k]
        places[kept] = places[k]
        hashes[kept] = value
        kept += np.uint64(counters[value >> shift] >> np.uint8(1))
    return np.int64(kept)


@kernel
def cover_by_top(size, places, hashes, num_places, epoch, table):
    """Characters in occurrences of the n-gram that covers most, if it occurs twice."""
    bits = table_bits(SLOTS_PER_CHARACTER * num_places)
    mask, shift = (_ONE << np.uint64(bits)) - _ONE, np.uint64(64 - bits)
    most = np.int64(0)
    for k in range(np.uint64(num_places)):
        place = np.int64(places[k])
        key = hashes[k] << _EPOCH_BITS | epoch
        slot = hashes[k] >> shift
        word = table[_TWO * slot]
        while word & _EPOCH_MASK == epoch and word != key:
            slot = (slot + _ONE) & mask
            word = table[_TWO * slot]
        if word != key:
            table[_TWO * slot] = key
            table[_TWO * slot + _ONE] = np.uint64(place) << _PLACE_BITS
        else:
            state = table[_TWO * slot + _ONE]
            covered = np.int64(state >> _EPOCH_BITS & _COVERED_MASK)
            if covered == 0:
                covered = size
            covered += min(place - np.int64(state >> _PLACE_BITS), size)
            most = max(most, covered)
            table[_TWO * slot + _ONE] = np.uint64(place) << _PLACE_BITS | np.uint64(covered) << _EPOCH_BITS
    return most


@kernel
def cover_by_repeated(size, places, hashes, num_places, epoch, table):
    """Characters in n-grams that occurred before, each counted once."""
    bits = table_bits(SLOTS_PER_CHARACTER * num_places)
    mask, shift = (_ONE << np.uint64(bits)) - _ONE, np.uint64(64 - bits)
    covered = until = np.int64(0)
    for k in range(np.uint64(num_places)):
        key = hashes[k] << _EPOCH_BITS | epoch
        slot = hashes[k] >> shift
        word = table[slot]
        while word & _EPOCH_MASK == epoch and word != key:
            slot = (slot + _ONE) & mask
            word = table[slot]
        if word != key:
            table[slot] = key
        else:
            place = np.int64(places[k])
            covered += place + size - max(place, until)
            until = place + size
    return covered


@kernel
def ngram_covers(data, offsets, properties, class_mask, space, block, counters, table, covers):
    """Characters that repeated n-grams cover in each document; white space does not count.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    properties : uint16[0x110000]
    class_mask, space : int
        A code point is white space where ``properties & class_mask == space``.
    block : int64
        Visible characters that are counted together, at most `BLOCK_CHARACTERS`.
    counters : uint8[2**k]
        At least `COUNTERS_PER_CHARACTER` for each character of the longest document or block.
    table : uint64[2 * 2**k]
        Zeros; at least `SLOTS_PER_CHARACTER` slots of two words for each of these characters.
    covers : int64[num_documents, NUM_SIZES]
        Zeros; filled in. Sizes 2 to 4: characters in occurrences of the n-gram that covers most;
        larger sizes: characters in n-grams that occurred before.
    """
    codes = np.empty(1024, np.int32)
    places = np.empty(1024, np.int32)
    hashes = np.empty(1024, np.uint64)
    epoch = np.uint64(0)
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        while position < stop:
            longest = min(stop - position, block)
            if codes.size < longest:
                codes = np.empty(longest, np.int32)
                places = np.empty(longest, np.int32)
                hashes = np.empty(longest, np.uint64)
            n = 0
            while position < stop and n < longest:
                code, position = next_code_point(data, position, stop)
                codes[n] = code
                n += properties[code] & class_mask != space
            num_places = n
            for place in range(n):
                places[place] = place
                hashes[place] = (_SEED ^ np.uint64(codes[place])) * _MULTIPLIER
            for size in range(FIRST_SIZE, LAST_SIZE + 1):
                if num_places > 0 and places[num_places - 1] + size > n:
                    num_places -= 1
                if num_places <= 0:
                    break
                num_places = keep_repeated(size, codes, places, hashes, num_places, counters)
                epoch += _ONE
                if epoch > _EPOCH_MASK:
                    table[:] = np.uint64(0)
                    epoch = _ONE
                if size <= LAST_TOP_SIZE:
                    cover = cover_by_top(size, places, hashes, num_places, epoch, table)
                else:
                    cover = cover_by_repeated(size, places, hashes, num_places, epoch, table)
                covers[document, size - FIRST_SIZE] += cover
