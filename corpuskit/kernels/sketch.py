"""Sketches of a text's shingle set, in one pass from its UTF-8 bytes.

Two families:

* *affine*: classic MinHash with ``a * h + b`` modulo 2**32 or 2**64, the permutations of
  datasketch 2 (`affine32`, `affine64`), value for value. Every shingle updates every slot; the
  slots are the inner loop, which vectorises.
* *fss*: Fast Similarity Sketching (Dahlgaard, Knudsen, Thorup 2017, arXiv:1704.04370). In a round
  a shingle updates one slot. A text with many more shingles than slots needs one round, so the cost
  per shingle does not depend on the number of slots, and the estimate's variance is below MinHash's on
  short texts. Unlike the paper's, ours stop after `RANDOM_ROUNDS` and fill what is empty by MinHash.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import finish, unfinish
from corpuskit.kernels.shingles import ROOM, distinct_shingles, padded, read_block, start

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_VALUE_BITS = np.uint64(48)
_VALUE_MASK = np.uint64((1 << 48) - 1)
_HALF = np.uint64(32)
_ROUND_BITS = np.uint64(16)

RANDOM_ROUNDS = 3
"""Rounds in which each shingle goes to a random slot; what is still empty then gets a minimum of its own,
by affine MinHash over the shingles' hashes.

The paper goes on for as many rounds as there are slots. Both ways the smallest of two texts' shingles
decides each slot, so that slots agree with probability J; but of 112 slots and 96 shingles nine are left
after three rounds, and one multiplication a shingle on vectors fills each of them in less than a random
round's time."""


@kernel
def finish32(value):
    """The 32-bit finaliser of MurmurHash3, on the low half of a uint64."""
    low = np.uint32(value & np.uint64(0xFFFFFFFF))
    low ^= low >> np.uint32(16)
    low = np.uint32(low * np.uint32(0x85EBCA6B))
    low ^= low >> np.uint32(13)
    low = np.uint32(low * np.uint32(0xC2B2AE35))
    return np.uint32(low ^ (low >> np.uint32(16)))


@kernel
def _minimum_affine(value, multipliers, increments, minima):
    for slot in range(minima.size):
        candidate = multipliers[slot] * value + increments[slot]
        if candidate < minima[slot]:
            minima[slot] = candidate


@kernel
def sketch_affine64(data, offsets, ignored, n, multipliers, increments, out):
    """Fill `out` (uint64[texts, slots]) with datasketch's `affine64` values of each text."""
    state = np.empty(2, np.int64)
    codes = np.empty(ROOM, np.int32)
    mixed = np.empty(ROOM, np.uint64)
    sums = np.empty(ROOM, np.uint64)
    for text in range(offsets.size - 1):
        minima = out[text]
        minima[:] = _EMPTY
        start(state)
        position = offsets[text]
        stop = offsets[text + 1]
        while position < stop:
            position, filled = read_block(data, position, stop, ignored, n, state, codes, mixed, sums)
            for i in range(filled):
                _minimum_affine(finish(finish(sums[i])), multipliers, increments, minima)


@kernel
def sketch_affine32(data, offsets, ignored, n, multipliers, increments, out):
    """Fill `out` (uint32[texts, slots]) with datasketch's `affine32` values of each text."""
    state = np.empty(2, np.int64)
    codes = np.empty(ROOM, np.int32)
    mixed = np.empty(ROOM, np.uint64)
    sums = np.empty(ROOM, np.uint64)
    for text in range(offsets.size - 1):
        minima = out[text]
        minima[:] = np.uint32(0xFFFFFFFF)
        start(state)
        position = offsets[text]
        stop = offsets[text + 1]
        while position < stop:
            position, filled = read_block(data, position, stop, ignored, n, state, codes, mixed, sums)
            for i in range(filled):
                value = finish32(finish(sums[i]))
                for slot in range(minima.size):
                    candidate = np.uint32(multipliers[slot] * value + increments[slot])
                    minima[slot] = min(minima[slot], candidate)


@kernel
def _finish_all(sums, count, salt, hashes):
    for i in range(padded(count)):
        hashes[i] = finish(sums[i] ^ salt)


@kernel
def _fss_first_round(sums, count, salt, minima, hashes):
    """Round 0: each shingle goes to the slot its hash names; the smallest value stays.

    The hash of a shingle in a round is ``finish(sum ^ salt)``; all are made first (in `hashes`, which is
    room for them), because that loop runs on vectors and the one that scatters them does not.
    """
    _finish_all(sums, count, salt, hashes)
    width = np.uint64(minima.size)
    for i in range(count):
        value = hashes[i]
        slot = ((value >> _HALF) * width) >> _HALF
        minima[slot] = min(minima[slot], value & _VALUE_MASK)


@kernel
def _fss_round(sums, count, salt, turn, minima, hashes, slots):
    """A later round; returns how many slots it filled.

    Most slots are filled in an earlier round. Which shingles meet one that is not is found without a branch
    (a wrong guess costs more than the rest), and only those are looked at again.
    """
    _finish_all(sums, count, salt, hashes)
    stamp = np.uint64(turn) << _VALUE_BITS
    width = np.uint64(minima.size)
    for i in range(padded(count)):
        slots[i] = ((hashes[i] >> _HALF) * width) >> _HALF
    candidates = 0
    for i in range(count):
        slot = slots[i]
        slots[candidates] = slot
        hashes[candidates] = hashes[i]
        candidates += minima[slot] == _EMPTY
    filled = 0
    for i in range(candidates):
        slot = slots[i]
        filled += minima[slot] == _EMPTY
        minima[slot] = min(minima[slot], stamp | (hashes[i] & _VALUE_MASK))
    return filled


@kernel
def fss_salt(key, turn):
    """What tells the hashes of round `turn` under `key` from those of others."""
    return key + np.uint64(turn) * _GOLDEN


@kernel
def _count_empty(minima):
    empty = 0
    for value in minima:
        empty += value == _EMPTY
    return empty


@kernel
def _fss_further_rounds(sums, count, key, minima, hashes, scratch):
    """Random rounds from the second on, then a minimum of its own for each slot that is left."""
    empty = _count_empty(minima)
    turn = 1
    while turn < RANDOM_ROUNDS and empty:
        empty -= _fss_round(sums, count, fss_salt(key, turn), turn, minima, hashes, scratch)
        turn += 1
    if not empty:
        return
    _finish_all(sums, count, fss_salt(key, 0), hashes)
    for i in range(count, padded(count)):
        hashes[i] = hashes[0]
    for slot in range(minima.size):
        if minima[slot] == _EMPTY:
            turn = RANDOM_ROUNDS + slot
            increment = finish(fss_salt(key, turn))
            multiplier = increment | np.uint64(1)
            best = _EMPTY
            for i in range(padded(count)):
                best = min(best, hashes[i] * multiplier + increment)
            minima[slot] = np.uint64(turn) << _VALUE_BITS | best >> _ROUND_BITS


@kernel
def sketch_fss(data, offsets, ignored, n, key, out):
    """Fill `out` (uint64[texts, slots], slots <= 32767) with each text's fast similarity sketch.

    A slot holds the round in its upper 16 bits and 48 bits of the shingle's hash below. A text
    without shingles has 2**64 - 1 in every slot.
    """
    state = np.empty(2, np.int64)
    codes = np.empty(ROOM, np.int32)
    mixed = np.empty(ROOM, np.uint64)
    sums = np.empty(ROOM, np.uint64)
    first_salt = fss_salt(key, 0)
    for text in range(offsets.size - 1):
        minima = out[text]
        minima[:] = _EMPTY
        start(state)
        position = offsets[text]
        stop = offsets[text + 1]
        blocks = 0
        total = 0
        while position < stop:
            position, filled = read_block(data, position, stop, ignored, n, state, codes, mixed, sums)
            _fss_first_round(sums, filled, first_salt, minima, mixed)
            total += filled
            blocks += filled > 0
        if total == 0 or not _count_empty(minima):
            continue
        if blocks == 1:
            _fss_further_rounds(sums, total, key, minima, mixed, codes)
        else:
            # A long text that leaves slots empty repeats itself: few distinct shingles are left.
            distinct, count = _distinct_sums(data, offsets[text], stop, ignored, n)
            hashes = np.empty(distinct.size, np.uint64)
            _fss_further_rounds(distinct, count, key, minima, hashes, np.empty(distinct.size, np.int32))


@kernel
def _distinct_sums(data, begin, stop, ignored, n):
    table, size = distinct_shingles(data, begin, stop, ignored, n)
    distinct = np.zeros(padded(size), np.uint64)
    count = 0
    for value in table:
        if value != np.uint64(0):
            distinct[count] = unfinish(value)
            count += 1
    return distinct, count


@kernel
def band_hashes(signatures, rows, key, out):
    """Hash each band of `rows` consecutive slots to 64 bits.

    Parameters
    ----------
    signatures : uint64[texts, slots] or uint32[texts, slots]
    rows : int64
    key : uint64
    out : uint64[texts, bands]
    """
    for text in range(signatures.shape[0]):
        for band in range(out.shape[1]):
            value = finish(key + np.uint64(band + 1) * _GOLDEN)
            for row in range(rows):
                value = finish(value ^ np.uint64(signatures[text, band * rows + row])) + _GOLDEN
            out[text, band] = value
