"""Sketches of a text's shingle set, in one pass from its UTF-8 bytes.

Two families:

* *affine*: classic MinHash with ``a * h + b`` modulo 2**32 or 2**64, the permutations of
  datasketch 2 (`affine32`, `affine64`), value for value. Every shingle updates every slot; the
  slots are the inner loop, which vectorises.
* *fss*: Fast Similarity Sketching (Dahlgaard, Knudsen, Thorup 2017, arXiv:1704.04370). In round i
  a shingle updates one slot; rounds go on until no slot is empty. A text with many more shingles
  than slots needs one round, so the cost per shingle does not depend on the number of slots, and
  the estimate's variance is below MinHash's on short texts.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import (
    BLOCK_HASHES,
    distinct_shingles,
    finish,
    power_of_base,
    roll,
    start_rolling,
)

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_VALUE_BITS = np.uint64(48)
_VALUE_MASK = np.uint64((1 << 48) - 1)
_HALF = np.uint64(32)


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
    state = np.empty(2 + n, np.uint64)
    block = np.empty(BLOCK_HASHES, np.uint64)
    leaving = power_of_base(n)
    for text in range(offsets.size - 1):
        minima = out[text]
        minima[:] = _EMPTY
        start_rolling(state)
        position = offsets[text]
        stop = offsets[text + 1]
        while position < stop:
            position, filled = roll(data, position, stop, ignored, leaving, state, block)
            for i in range(filled):
                _minimum_affine(finish(block[i]), multipliers, increments, minima)


@kernel
def sketch_affine32(data, offsets, ignored, n, multipliers, increments, out):
    """Fill `out` (uint32[texts, slots]) with datasketch's `affine32` values of each text."""
    state = np.empty(2 + n, np.uint64)
    block = np.empty(BLOCK_HASHES, np.uint64)
    leaving = power_of_base(n)
    for text in range(offsets.size - 1):
        minima = out[text]
        minima[:] = np.uint32(0xFFFFFFFF)
        start_rolling(state)
        position = offsets[text]
        stop = offsets[text + 1]
        while position < stop:
            position, filled = roll(data, position, stop, ignored, leaving, state, block)
            for i in range(filled):
                value = finish32(block[i])
                for slot in range(minima.size):
                    candidate = np.uint32(multipliers[slot] * value + increments[slot])
                    minima[slot] = min(minima[slot], candidate)


@kernel
def fss_hash(value, key, turn):
    """The hash of a shingle in round `turn` under `key`."""
    return finish(value ^ (key + np.uint64(turn) * _GOLDEN))


@kernel
def _fss_round(hashes, count, key, turn, slots, minima):
    """One of the first `slots` rounds: each shingle goes to the slot its hash names."""
    stamp = np.uint64(turn) << _VALUE_BITS
    salt = key + np.uint64(turn) * _GOLDEN
    width = np.uint64(slots)
    for i in range(count):
        mixed = finish(hashes[i] ^ salt)
        slot = ((mixed >> _HALF) * width) >> _HALF
        minima[slot] = min(minima[slot], stamp | (mixed & _VALUE_MASK))


@kernel
def _has_empty(minima):
    for value in minima:  # noqa: SIM110 - numba has no any() over a generator
        if value == _EMPTY:
            return True
    return False


@kernel
def _fss_further_rounds(hashes, count, key, minima):
    """Rounds from the second on, until every slot is filled."""
    slots = minima.size
    turn = 1
    while turn < slots and _has_empty(minima):
        _fss_round(hashes, count, key, turn, slots, minima)
        turn += 1
    for slot in range(slots):
        # In round slots + j every shingle goes to slot j: an earlier value is smaller, so only
        # slots that are still empty can change.
        if minima[slot] == _EMPTY:
            turn = slots + slot
            stamp = np.uint64(turn) << _VALUE_BITS
            best = _EMPTY
            for i in range(count):
                best = min(best, stamp | (fss_hash(hashes[i], key, turn) & _VALUE_MASK))
            minima[slot] = best


@kernel
def sketch_fss(data, offsets, ignored, n, key, out):
    """Fill `out` (uint64[texts, slots], slots <= 32767) with each text's fast similarity sketch.

    A slot holds the round in its upper 16 bits and 48 bits of the shingle's hash below. A text
    without shingles has 2**64 - 1 in every slot.
    """
    state = np.empty(2 + n, np.uint64)
    block = np.empty(BLOCK_HASHES, np.uint64)
    leaving = power_of_base(n)
    slots = out.shape[1]
    for text in range(offsets.size - 1):
        minima = out[text]
        minima[:] = _EMPTY
        start_rolling(state)
        position = offsets[text]
        stop = offsets[text + 1]
        blocks = 0
        filled = 0
        total = 0
        while position < stop:
            position, filled = roll(data, position, stop, ignored, leaving, state, block)
            _fss_round(block, filled, key, 0, slots, minima)
            total += filled
            blocks += 1
        if total == 0 or not _has_empty(minima):
            continue
        if blocks == 1:
            _fss_further_rounds(block, filled, key, minima)
        else:
            # A long text that leaves slots empty repeats itself: few distinct shingles are left.
            table, size = distinct_shingles(data, offsets[text], stop, ignored, n)
            distinct = np.empty(size, np.uint64)
            count = 0
            for value in table:
                if value != np.uint64(0):
                    distinct[count] = value
                    count += 1
            _fss_further_rounds(distinct, count, key, minima)


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
