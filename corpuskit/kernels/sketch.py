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

RANDOM_ROUNDS = 2
"""Rounds in which each shingle goes to a random slot; what is still empty then gets a minimum of its own,
by affine MinHash over the shingles' hashes.

The paper goes on for as many rounds as there are slots. Both ways the smallest of two texts' shingles
decides each slot, so that slots agree with probability J; but of 112 slots and 96 shingles twenty are left
after two rounds, and one 32-bit multiplication a shingle on vectors fills each of them in less than a
random round's time."""


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
def _fss_first_round(hashes, count, minima):
    """Round 0: each shingle goes to the slot its hash names; the smallest value stays."""
    width = np.uint64(minima.size)
    for i in range(count):
        value = hashes[i]
        slot = ((value >> _HALF) * width) >> _HALF
        minima[slot] = min(minima[slot], value & _VALUE_MASK)


@kernel
def _fss_round(hashes, count, turn, multiplier, minima, slots, candidates):
    """A later round: the shingles' hashes times `multiplier`. Returns how many slots it filled.

    Most slots are filled in an earlier round. Which shingles meet one that is not is found without a branch
    (a wrong guess costs more than the rest), and only those are looked at again.
    """
    width = np.uint64(minima.size)
    for i in range(padded(count)):
        slots[i] = ((hashes[i] * multiplier >> _HALF) * width) >> _HALF
    found = np.uint64(0)
    for i in range(np.uint64(count)):
        candidates[found] = i
        found += np.uint64(minima[np.uint64(slots[i])] == _EMPTY)
    stamp = np.uint64(turn) << _VALUE_BITS
    filled = 0
    for k in range(found):
        shingle = np.uint64(candidates[k])
        slot = np.uint64(slots[shingle])
        filled += minima[slot] == _EMPTY
        minima[slot] = min(minima[slot], stamp | (hashes[shingle] * multiplier & _VALUE_MASK))
    return filled


@kernel
def _count_empty(minima):
    empty = 0
    for value in minima:
        empty += value == _EMPTY
    return empty


@kernel
def _fss_further_rounds(hashes, count, constants, minima, slots, scratch):
    """Random rounds from the second on, then a minimum of its own for each slot that is left.

    `hashes` are those of round 0; `slots` and `scratch` are int32 and uint32 of at least ``padded(count)``.
    """
    multipliers, slot_multipliers, slot_increments = constants
    empty = _count_empty(minima)
    turn = 1
    while turn < RANDOM_ROUNDS and empty:
        empty -= _fss_round(hashes, count, turn, multipliers[turn], minima, slots, scratch)
        turn += 1
    if not empty:
        return
    room = padded(count)
    for i in range(room):
        scratch[i] = np.uint32(hashes[i])
    for i in range(count, room):
        scratch[i] = scratch[0]
    stamp = np.uint64(RANDOM_ROUNDS) << _VALUE_BITS
    for slot in range(minima.size):
        if minima[slot] == _EMPTY:
            multiplier = slot_multipliers[slot]
            increment = slot_increments[slot]
            best = np.uint32(0xFFFFFFFF)
            for i in range(room):
                best = min(best, np.uint32(scratch[i] * multiplier + increment))
            minima[slot] = stamp | np.uint64(best)


@kernel
def fss_constants(key, slots):
    """What the rounds after the first are made of.

    Returns
    -------
    multipliers : uint64[RANDOM_ROUNDS]
        Odd; the hash of a round is that of round 0 times the round's (the first is not used).
    slot_multipliers, slot_increments : uint32[slots]
        The affine permutation of each slot that the rounds leave empty.
    """
    multipliers = np.empty(RANDOM_ROUNDS, np.uint64)
    for turn in range(RANDOM_ROUNDS):
        multipliers[turn] = finish(key + np.uint64(turn) * _GOLDEN) | np.uint64(1)
    slot_multipliers = np.empty(slots, np.uint32)
    slot_increments = np.empty(slots, np.uint32)
    for slot in range(slots):
        value = finish(key + np.uint64(RANDOM_ROUNDS + slot) * _GOLDEN)
        slot_multipliers[slot] = np.uint32(value >> _HALF) | np.uint32(1)
        slot_increments[slot] = np.uint32(value)
    return multipliers, slot_multipliers, slot_increments


@kernel
def sketch_fss(data, offsets, ignored, n, key, out):
    """Fill `out` (uint64[texts, slots], slots <= 32767) with each text's fast similarity sketch.

    The hash of a shingle is ``finish(sum ^ key)``. A slot holds the round in its upper 16 bits and 48 bits
    of the round's hash below (32 where a minimum of its own filled it). A text without shingles has
    2**64 - 1 in every slot.
    """
    state = np.empty(2, np.int64)
    codes = np.empty(ROOM, np.int32)
    mixed = np.empty(ROOM, np.uint64)
    sums = np.empty(ROOM, np.uint64)
    scratch = np.empty(ROOM, np.uint32)
    constants = fss_constants(key, out.shape[1])
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
            _finish_all(sums, filled, key, mixed)
            _fss_first_round(mixed, filled, minima)
            total += filled
            blocks += filled > 0
        if total == 0 or not _count_empty(minima):
            continue
        if blocks == 1:
            _fss_further_rounds(mixed, total, constants, minima, codes, scratch)
        else:
            # A long text that leaves slots empty repeats itself: few distinct shingles are left.
            hashes, count = _distinct_sums(data, offsets[text], stop, ignored, n)
            _finish_all(hashes, count, key, hashes)
            room = hashes.size
            _fss_further_rounds(
                hashes, count, constants, minima, np.empty(room, np.int32), np.empty(room, np.uint32)
            )


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
