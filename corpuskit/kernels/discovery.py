"""Counting the n-grams of a corpus length by length, and what stands beside them.

Text becomes one array of 16-bit codes: a Han character is a letter (at least `FIRST_LETTER`), everything
else a separator below it, which says what kind it is. An n-gram of letters is named by a number: that of
its first n - 1 characters and its last character make the key of an exact hash table, so nothing is ever
mistaken for something else. A position is looked at only where both (n - 1)-grams in it are frequent
(Agrawal and Srikant 1994), and the numbers of the (n - 1)-grams lie in an array beside the text, so each
length costs one table access a position, and fewer positions the longer the n-gram.

A table may hold one part of all keys, chosen by hash: a corpus with more n-grams than memory is gone
through several times.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.utf8 import next_code_point

FIRST_LETTER = 32
EDGE = 1
"""Code of the separator at the ends of texts and lines."""

OTHER = 14
"""Code of a separator of no kind of its own."""

FIRST_RARE, RARE_CHARACTERS = 0x20000, 0x12000
"""The supplementary ideographic planes that hold characters."""

SAMPLE, SAMPLE_BITS = 16, 22
"""`sample_keys` looks at one key in `SAMPLE`, in a table of ``2**SAMPLE_BITS`` flags."""

ENTROPY_SCALE = 1 << 20
"""Sums of k log2 k are whole numbers of this fraction, so that no order of adding changes them."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel
def encode(data, offsets, rows, ends, classes, rare, state, codes, edges):
    """Codes of texts, and where the dictionary has word boundaries.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
        Text `r` is ``data[offsets[r]:offsets[r + 1]]``.
    rows, ends : int64[:], int32[:]
        The words of text `r` end at bytes ``ends[rows[r]:rows[r + 1]]`` of it.
    classes : uint16[:], shape (65536,)
        The code of each character of the Basic Multilingual Plane.
    rare : uint16[:], shape (RARE_CHARACTERS,)
        The code of each supplementary ideograph that was seen; filled here.
    state : int64[:]
        ``state[0]`` is the next free code.
    codes, edges : uint16[:], uint8[:]
        Receive a code, and whether a word begins at it. One place a byte and two a text is enough. A run
        of separators becomes its first and its last one; every text begins and ends with `EDGE`.

    Returns
    -------
    int
        How many codes there are.
    """
    n = 0
    for row in range(offsets.size - 1):
        begin, stop = offsets[row], offsets[row + 1]
        at = begin
        word = rows[row]
        codes[n], edges[n] = EDGE, 1
        n += 1
        run = 2  # separators of the run that is being read
        starts = True
        while at < stop:
            point, at = next_code_point(data, at, stop)
            code = np.int64(OTHER)
            if point < 65536:
                code = np.int64(classes[point])
            elif FIRST_RARE <= point < FIRST_RARE + RARE_CHARACTERS:
                code = np.int64(rare[point - FIRST_RARE])
                if code == 0 and state[0] < 65536:
                    code = state[0]
                    rare[point - FIRST_RARE] = code
                    state[0] += 1
                elif code == 0:
                    code = np.int64(OTHER)
            if code >= FIRST_LETTER:
                codes[n], edges[n] = code, starts
                n += 1
                run = 0
            elif run < 2:
                codes[n], edges[n] = code, 1
                n += 1
                run += 1
            else:
                codes[n - 1] = code
            starts = False
            while word < rows[row + 1] and ends[word] <= at - begin:
                starts = ends[word] == at - begin
                word += 1
        codes[n], edges[n] = EDGE, 1
        n += 1
    return n


@kernel
def count_characters(codes, counts, totals, run):
    """Count letters, and the n-grams of each length up to ``totals.size - 1`` that runs of them hold.

    Parameters
    ----------
    codes : uint16[:]
    counts : int64[:], shape (65536,)
    totals : int64[:]
        ``totals[n]`` is the number of n-grams.
    run : int
        Letters of the run that the codes before ended in.

    Returns
    -------
    int
        Letters of the run that these end in.
    """
    for i in range(codes.size):
        code = codes[i]
        if code < FIRST_LETTER:
            run = 0
            continue
        counts[code] += 1
        run += 1
        for n in range(1, min(run + 1, totals.size)):
            totals[n] += 1
    return run


@kernel
def _spread(key):
    return np.uint64(key) * _GOLDEN


@kernel
def _part_of(spread, parts):
    # Middle bits: the high ones choose the slot, the low ones of a product are poor.
    return np.int64((spread >> np.uint64(24)) & np.uint64(0xFFFF)) % parts


@kernel
def sample_keys(size, codes, ids, flags):
    """Mark keys of the n-grams of `size` letters, one in `SAMPLE`; see `count` for the parameters."""
    for i in range(ids.size - 1):
        if ids[i] >= 0 and ids[i + 1] >= 0:
            spread = _spread((np.int64(ids[i]) << 16 | np.int64(codes[i + size - 1])) + 1)
            if (spread >> np.uint64(8)) & np.uint64(SAMPLE - 1) == np.uint64(0):
                flags[spread >> np.uint64(64 - SAMPLE_BITS)] = 1


@kernel
def count(size, codes, ids, taken, part, parts, keys, counts, suffixes, used):
    """Count the n-grams of `size` letters whose two (n - 1)-grams are frequent.

    Parameters
    ----------
    size : int
    codes : uint16[:]
        Of the window, and ``size`` more.
    ids : int32[:], shape (window + 1,)
        Number of the frequent (n - 1)-gram that begins at each place, or negative.
    taken : int32[:], shape (window,)
        Receives ``-2 - slot`` where an n-gram was counted, and is left alone elsewhere.
    part, parts : int
        Which keys to count.
    keys, counts, suffixes : int64[:], int64[:], int32[:]
        The table: a power of two of slots, keys 0 where free; and the number of each n-gram's last n - 1
        characters.
    used : int
        Keys in the table.

    Returns
    -------
    int
        Keys in the table, or -1 as soon as it is 7/10 full.
    """
    mask = keys.size - 1
    limit = keys.size // 10 * 7
    shift = np.uint64(64)
    slots = keys.size
    while slots > 1:
        slots >>= 1
        shift -= np.uint64(1)
    for i in range(ids.size - 1):
        if ids[i] < 0 or ids[i + 1] < 0:
            continue
        key = (np.int64(ids[i]) << 16 | np.int64(codes[i + size - 1])) + 1
        spread = _spread(key)
        if parts > 1 and _part_of(spread, parts) != part:
            continue
        slot = np.int64(spread >> shift)
        while keys[slot] != 0 and keys[slot] != key:
            slot = (slot + 1) & mask
        if keys[slot] == 0:
            if used >= limit:
                return -1
            used += 1
            keys[slot] = key
            suffixes[slot] = ids[i + 1]
        counts[slot] += 1
        taken[i] = -2 - slot
    return used


@kernel
def relabel(taken, labels):
    """Replace the slots that `count` left by ``labels[slot]``."""
    for i in range(taken.size):
        if taken[i] <= -2:
            taken[i] = labels[-2 - taken[i]]


def _first_steps() -> np.ndarray:
    k = np.arange(1, 1025, dtype=np.float64)
    sums = np.rint(k * np.log2(k) * ENTROPY_SCALE).astype(np.int64)
    return np.diff(sums, prepend=[0, 0])


_STEPS = _first_steps()


@kernel
def _step(k):
    """What k log2 k grows by from k - 1 to k, as a whole number of 1 / `ENTROPY_SCALE`."""
    if k < _STEPS.size:
        return _STEPS[k]
    above, below = np.float64(k), np.float64(k - 1)
    return np.int64(np.rint(above * np.log2(above) * ENTROPY_SCALE)) - np.int64(
        np.rint(below * np.log2(below) * ENTROPY_SCALE)
    )


@kernel
def count_neighbours(size, side, codes, edges, ids, wanted, part, parts, table, found, used):
    """Count what stands before (side -1) or behind (side 1) wanted n-grams.

    Parameters
    ----------
    size, side : int
    codes, edges : uint16[:], uint8[:]
        One place before the window, the window, and ``size`` behind it.
    ids : int32[:]
        Number of the n-gram that begins at each place of the window, or -1.
    wanted : int32[:]
        For each number, the row of `found`, or -1.
    part, parts : int
        Which keys to count.
    table : int64[:, :], shape (a power of two, 2)
        Keys and counts.
    found : int64[:, :], shape (rows, 3)
        Receives the sum of k log2 k over the neighbours' counts k, in 1 / `ENTROPY_SCALE`; the highest
        count of a letter; and, at side 1 and part 0, how often both ends are word boundaries.
    used : int
        Keys in the table.

    Returns
    -------
    int
        As of `count`.
    """
    mask = table.shape[0] - 1
    limit = table.shape[0] // 10 * 7
    shift = np.uint64(64)
    slots = table.shape[0]
    while slots > 1:
        slots >>= 1
        shift -= np.uint64(1)
    for i in range(ids.size):
        if ids[i] < 0:
            continue
        row = np.int64(wanted[ids[i]])
        if row < 0:
            continue
        if side > 0 and part == 0:
            found[row, 2] += edges[i + 1] & edges[i + 1 + size]
        code = np.int64(codes[i + 1 + size]) if side > 0 else np.int64(codes[i])
        key = (row << 16 | code) + 1
        spread = _spread(key)
        if parts > 1 and _part_of(spread, parts) != part:
            continue
        slot = np.int64(spread >> shift)
        while table[slot, 0] != 0 and table[slot, 0] != key:
            slot = (slot + 1) & mask
        if table[slot, 0] == 0:
            if used >= limit:
                return -1
            used += 1
            table[slot, 0] = key
        k = table[slot, 1] + 1
        table[slot, 1] = k
        found[row, 0] += _step(k)
        if code >= FIRST_LETTER and k > found[row, 1]:
            found[row, 1] = k
    return used
