"""64-bit hashes of character n-grams, rolled over the UTF-8 bytes.

A shingle of characters c1 … cn hashes to ``finish(sum mix(ci) * BASE**(n - i))`` modulo 2**64:
rolling costs one multiplication on the critical path whatever n is. `mix` spreads code points
non-linearly before they are summed, and `finish` is the MurmurHash3 finaliser, a bijection, so two
shingles collide only where the sums do. A text with fewer than n characters is one shingle.

`shingle_hash` in `corpuskit.dedup.shingles` is the same function in plain Python.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.utf8 import next_code_point

BASE = np.uint64(0x9E3779B97F4A7C15)
MIX_ADD = np.uint64(0xD1B54A32D192ED03)
MIX_MULTIPLY = np.uint64(0xAEF17502108EF2D9)
MIX_SHIFT = np.uint64(29)

_FMIX_SHIFT = np.uint64(33)
_FMIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_FMIX_2 = np.uint64(0xC4CEB9FE1A85EC53)

BLOCK_HASHES = 2048
"""Shingles hashed before a sketch consumes them: 16 KiB, half of the smallest L1 cache."""


@kernel
def finish(value):
    """The 64-bit finaliser of MurmurHash3 (Appleby, public domain): a bijection that avalanches."""
    value ^= value >> _FMIX_SHIFT
    value *= _FMIX_1
    value ^= value >> _FMIX_SHIFT
    value *= _FMIX_2
    return value ^ (value >> _FMIX_SHIFT)


@kernel
def power_of_base(exponent):
    """``BASE ** exponent`` modulo 2**64."""
    result = np.uint64(1)
    for _ in range(exponent):
        result *= BASE
    return result


@kernel
def start_rolling(state):
    """Reset `state` (uint64[2 + n]: sum, characters seen, last n mixed characters)."""
    state[0] = np.uint64(0)
    state[1] = np.uint64(0)


@kernel
def roll(data, position, stop, ignored, leaving, state, block):
    """Hash shingles from `position` on until the text ends or `block` is full.

    Parameters
    ----------
    data : uint8[:]
    position, stop : int64
    ignored : uint8[65536]
        1 at the code points that are skipped.
    leaving : uint64
        ``power_of_base(n)``: what a character that leaves the window was multiplied with.
    state : uint64[2 + n]
        As `start_rolling` resets it; carries the window from one call to the next.
    block : uint64[:]
        Filled from the start.

    Returns
    -------
    position, filled : int64, int64
        At the end of a text with fewer than n characters that one shingle is in the block.
    """
    n = state.size - 2
    total = state[0]
    seen = np.int64(state[1])
    slot = seen % n
    filled = 0
    capacity = block.size
    while position < stop and filled < capacity:
        code, position = next_code_point(data, position, stop)
        if code < 65536 and ignored[code]:
            continue
        mixed = (np.uint64(code) + MIX_ADD) * MIX_MULTIPLY
        mixed ^= mixed >> MIX_SHIFT
        if seen >= n:
            total = total * BASE + (mixed - state[2 + slot] * leaving)
        else:
            total = total * BASE + mixed
        state[2 + slot] = mixed
        slot += 1
        if slot == n:
            slot = 0
        seen += 1
        if seen >= n:
            block[filled] = finish(total)
            filled += 1
    if position >= stop and 0 < seen < n and filled < capacity:
        block[filled] = finish(total)
        filled += 1
    state[0] = total
    state[1] = np.uint64(seen)
    return position, filled


@kernel
def insert(table, value):
    """Put `value` into an open-addressing set (uint64[power of two], 0 = free); whether it was new."""
    if value == np.uint64(0):
        value = np.uint64(1)
    mask = np.uint64(table.size - 1)
    slot = value & mask
    while table[slot] != np.uint64(0):
        if table[slot] == value:
            return False
        slot = (slot + np.uint64(1)) & mask
    table[slot] = value
    return True


@kernel
def contains(table, value):
    """Whether `value` is in the set."""
    if value == np.uint64(0):
        value = np.uint64(1)
    mask = np.uint64(table.size - 1)
    slot = value & mask
    while table[slot] != np.uint64(0):
        if table[slot] == value:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


@kernel
def distinct_shingles(data, start, stop, ignored, n):
    """The set of a text's shingle hashes.

    Memory follows the number of distinct shingles, not the length of the text.

    Returns
    -------
    table : uint64[power of two]
        Open-addressing set, at most half full, 0 = free.
    size : int64
        Distinct shingles in it.
    """
    table = np.zeros(256, np.uint64)
    size = 0
    state = np.empty(2 + n, np.uint64)
    start_rolling(state)
    leaving = power_of_base(n)
    block = np.empty(BLOCK_HASHES, np.uint64)
    position = start
    while position < stop:
        position, filled = roll(data, position, stop, ignored, leaving, state, block)
        for i in range(filled):
            if insert(table, block[i]):
                size += 1
                if 2 * size > table.size:
                    larger = np.zeros(4 * table.size, np.uint64)
                    for value in table:
                        if value != np.uint64(0):
                            insert(larger, value)
                    table = larger
    return table, size


@kernel
def shingle_hashes(data, start, stop, ignored, n, out):
    """Write every shingle hash of a text, in order, to `out` (one per character is enough room)."""
    state = np.empty(2 + n, np.uint64)
    start_rolling(state)
    count = 0
    position = start
    leaving = power_of_base(n)
    while position < stop:
        position, filled = roll(data, position, stop, ignored, leaving, state, out[count:])
        count += filled
    return count


@kernel
def jaccard_pairs(data, offsets, left, right, ignored, n, out):
    """Exact Jaccard similarity of the shingle sets of pairs of texts.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    left, right : int64[:]
        Text numbers. The set of a left text is kept while consecutive pairs share it.
    out : float64[:]
        Filled; two texts without shingles have similarity 0.
    """
    last = np.int64(-1)
    table = np.zeros(1, np.uint64)
    size = 0
    for pair in range(left.size):
        text = left[pair]
        if text != last:
            table, size = distinct_shingles(data, offsets[text], offsets[text + 1], ignored, n)
            last = text
        other = right[pair]
        other_table, other_size = distinct_shingles(data, offsets[other], offsets[other + 1], ignored, n)
        common = 0
        for value in other_table:
            if value != np.uint64(0) and contains(table, value):
                common += 1
        union = size + other_size - common
        out[pair] = common / union if union else 0.0
