"""Hashes of character n-grams, block by block from the UTF-8 bytes.

A shingle of characters c1 … cn has the sum ``rotate(mix(c1), 11 * (n - 1)) ^ … ^ rotate(mix(cn), 0)`` and
the hash ``finish(sum)``. `mix` spreads code points over 64 bits; 11 is odd, so up to 64 characters are
rotated by different amounts; `finish` is a bijection, so two shingles collide only where their sums do. A
text with fewer than n characters is one shingle.

Each stage (decode, mix, combine) is a loop of its own over a block that stays in the L1 cache. Rolling
the sum from one character to the next instead would chain the characters to each other; this way the
last two stages run on vectors, and a sketch costs a third (86 to 262 million characters a second in one run).
Multiplying by powers of a base where this rotates costs eight multiplications a character instead of three.

`shingle_sum` and `shingle_hash` in `corpuskit.dedup.shingles` are the same functions in plain Python.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import MIX_ADD, MIX_MULTIPLY, MIX_SHIFT, contains, finish, insert

ROTATION = 11
MAX_NGRAM = 64
BLOCK_CHARACTERS = 2048
"""Characters in a block: 16 KiB of sums, half of the smallest L1 cache."""

ROOM = BLOCK_CHARACTERS + 2 * MAX_NGRAM
"""Length of a block's arrays. Loops run on to a multiple of `LANES`, because what a vector loop leaves over
is done one by one: up to 31 of the 96 shingles of a short text."""

LANES = 32

_WORD = np.uint64(64)

# The state of a reader: characters carried over from the last block, shingles so far.
_CARRIED, _SHINGLES = range(2)


@kernel
def start(state):
    """Begin a text: `state` is int64[2]."""
    state[_CARRIED] = 0
    state[_SHINGLES] = 0


@kernel
def _decode(data, position, stop, ignored, codes, count):
    """Append the code points that count to `codes` until it is full or the text ends.

    Every index is unsigned: numba looks after each signed one whether it is below zero, a third of the time.
    """
    at, end, filled = np.uint64(position), np.uint64(stop), np.uint64(count)
    room = np.uint64(BLOCK_CHARACTERS)
    one, two, three, four, six = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(6)
    low = np.uint64(0x3F)
    while at < end and filled < room:
        byte = np.uint64(data[at])
        if np.uint64(0xE0) <= byte < np.uint64(0xF0) and at + three <= end:  # first: nearly all of Chinese
            code = (byte & np.uint64(0x0F)) << np.uint64(12) | (np.uint64(data[at + one]) & low) << six
            code |= np.uint64(data[at + two]) & low
            at += three
        elif byte < np.uint64(0x80):
            code = byte
            at += one
        elif byte < np.uint64(0xE0) and at + two <= end:
            code = (byte & np.uint64(0x1F)) << six | (np.uint64(data[at + one]) & low)
            at += two
        elif at + four <= end:
            code = (byte & np.uint64(0x07)) << np.uint64(18)
            code |= (np.uint64(data[at + one]) & low) << np.uint64(12)
            code |= (np.uint64(data[at + two]) & low) << six | (np.uint64(data[at + three]) & low)
            at += four
        else:  # a character cut at the end, which Arrow never holds
            code = byte
            at = end
        codes[filled] = code
        filled += np.uint64(code >= np.uint64(65536) or ignored[code] == 0)
    return np.int64(at), np.int64(filled)


@kernel
def padded(count):
    """The next multiple of `LANES`."""
    return (count + LANES - 1) // LANES * LANES


@kernel
def _mix(codes, count, mixed):
    for i in range(count):
        value = (np.uint64(codes[i]) + MIX_ADD) * MIX_MULTIPLY
        mixed[i] = value ^ (value >> MIX_SHIFT)


@kernel
def _rotate(value, turn):
    """Rotate to the left by `turn` (uint64, 1 to 63) bits."""
    return (value << turn) | (value >> (_WORD - turn))


@kernel
def _combine(mixed, n, count, sums):
    """The sums of the shingles of n characters that begin at the first `count` places.

    Indices count from slices' beginnings, so that none can be below zero; see `_decode`.
    """
    done = 1
    last = mixed[n - 1 :]
    if n < 5:
        for i in range(count):
            sums[i] = last[i]
    else:  # five characters in one pass over the block
        done = 5
        t1, t2, t3, t4 = np.uint64(11), np.uint64(22), np.uint64(33), np.uint64(44)
        fourth, third, second, first = mixed[n - 2 :], mixed[n - 3 :], mixed[n - 4 :], mixed[n - 5 :]
        for i in range(count):
            sums[i] = (
                last[i]
                ^ _rotate(fourth[i], t1)
                ^ _rotate(third[i], t2)
                ^ _rotate(second[i], t3)
                ^ _rotate(first[i], t4)
            )
    for back in range(done, n):
        turn = np.uint64(ROTATION * back % 64)
        earlier = mixed[n - 1 - back :]
        for i in range(count):
            sums[i] ^= _rotate(earlier[i], turn)


@kernel
def read_block(data, position, stop, ignored, n, state, codes, mixed, sums):
    """Sums of the next shingles of a text.

    Parameters
    ----------
    data : uint8[:]
    position, stop : int64
        Where to read on, and where the text ends.
    ignored : uint8[65536]
        1 at the code points that do not count.
    n : int64
        Characters per shingle, at most `MAX_NGRAM`.
    state : int64[2]
        As `start` resets it; carried from one call to the next.
    codes, mixed, sums : int32[ROOM], uint64[ROOM], uint64[ROOM]
        Scratch, and the result; `codes` carries the last characters from one call to the next.

    Returns
    -------
    position, filled : int64, int64
        Where to read on (`stop` when done), and how many of `sums` are filled.
    """
    position, count = _decode(data, position, stop, ignored, codes, state[_CARRIED])
    width = n
    if count < n:
        # The text has ended: what is carried lies in earlier shingles, unless there were none.
        if state[_SHINGLES] or count == 0:
            return stop, 0
        width = count
    filled = count - width + 1
    _mix(codes, padded(count), mixed)
    _combine(mixed, width, padded(filled), sums)
    for i in range(width - 1):
        codes[i] = codes[filled + i]
    state[_CARRIED] = width - 1
    state[_SHINGLES] += filled
    return position, filled


@kernel
def _add(table, size, value):
    """Put a hash into a growing set: the set, its size, whether it was new."""
    if not insert(table, value):
        return table, size, False
    size += 1
    if 2 * size > table.size:
        larger = np.zeros(4 * table.size, np.uint64)
        for other in table:
            if other != np.uint64(0):
                insert(larger, other)
        table = larger
    return table, size, True


@kernel
def _empty_set(length):
    """A set with room for a Chinese text of so many bytes, up to some 30,000 shingles; then it grows."""
    room = 256
    while room < 2 * length // 3 and room < 1 << 16:
        room *= 2
    return np.zeros(room, np.uint64)


@kernel
def _shingles_of(data, begin, stop, ignored, n, others):
    """The set of a text's shingle hashes, its size, and how many of them are in `others`."""
    table = _empty_set(stop - begin)
    size = common = 0
    state = np.empty(2, np.int64)
    codes = np.empty(ROOM, np.int32)
    mixed = np.empty(ROOM, np.uint64)
    sums = np.empty(ROOM, np.uint64)
    start(state)
    position = begin
    while position < stop:
        position, filled = read_block(data, position, stop, ignored, n, state, codes, mixed, sums)
        for i in range(filled):
            value = finish(sums[i])
            table, size, is_new = _add(table, size, value)
            if is_new:
                common += contains(others, value)
    return table, size, common


@kernel
def distinct_shingles(data, begin, stop, ignored, n):
    """The set of a text's shingle hashes.

    Memory follows the number of distinct shingles, not the length of the text.

    Returns
    -------
    table : uint64[power of two]
        Open-addressing set, at most half full, 0 = free.
    size : int64
        Distinct shingles in it.
    """
    table, size, _ = _shingles_of(data, begin, stop, ignored, n, np.zeros(1, np.uint64))
    return table, size


@kernel
def shingle_hashes(data, begin, stop, ignored, n, out):
    """Write every shingle hash of a text, in order, to `out` (one per character is enough room)."""
    state = np.empty(2, np.int64)
    codes = np.empty(ROOM, np.int32)
    mixed = np.empty(ROOM, np.uint64)
    sums = np.empty(ROOM, np.uint64)
    start(state)
    total = 0
    position = begin
    while position < stop:
        position, filled = read_block(data, position, stop, ignored, n, state, codes, mixed, sums)
        for i in range(filled):
            out[total + i] = finish(sums[i])
        total += filled
    return total


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
        _, other_size, common = _shingles_of(data, offsets[other], offsets[other + 1], ignored, n, table)
        union = size + other_size - common
        out[pair] = common / union if union else 0.0
