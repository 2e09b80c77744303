"""What a character n-gram model of Kneser–Ney's kind thinks a text costs, in bits.

Characters become ids below `base` ≤ 2**(64 / order), so an n-gram is one exact 64-bit number, its
digits in that base, and rolls along the text with one multiplication. Per order 2 to N one
open-addressing table holds what `corpuskit.clean.kneser_ney` computed; a slot is 8 bytes: 32 bits
of the key's hash, the cost of the n-gram's last character given the others, and the cost of
backing off from the n-gram as a context, both in 1/1024 bit. With the slot's place the check is
longer than 48 bits: a wrong hit has odds below one in 10**10.

A model has some hundred megabytes, so nearly every look-up misses the caches. They are therefore
made for a block of characters at a time, all of one order in a loop in which no load waits for
another, so that the processor has many under way at once; what they found is put together after.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import finish
from corpuskit.kernels.utf8 import next_code_point

COST_STEPS_PER_BIT = 1024
"""Costs are stored in this fraction of a bit; 16 bits reach to 63.999."""

SKIPPED_ID = np.uint16(0xFFFF)
UNKNOWN_ID = np.uint16(0)

MAX_ORDER = 6
_BLOCK = 512

_HIGH = np.uint64(32)
_COST = np.uint64(16)
_MASK_16 = np.uint64(0xFFFF)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@kernel
def encode(data, offsets, table, ids, id_offsets):
    """Write the ids of every text's characters one after the other.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    table : uint16[0x110000]
        Id of each code point; 0xFFFF leaves it out.
    ids : uint16[:]
        At least as many as there are bytes.
    id_offsets : int64[:]
        As long as `offsets`; filled.
    """
    written = 0
    id_offsets[0] = 0
    for text in range(offsets.size - 1):
        position = offsets[text]
        stop = offsets[text + 1]
        while position < stop:
            code, position = next_code_point(data, position, stop)
            identity = table[code] if code < table.size else UNKNOWN_ID
            if identity != SKIPPED_ID:
                ids[written] = identity
                written += 1
        id_offsets[text + 1] = written


@kernel
def count_codes(data, folding, counts):
    """Add to `counts` (int64[0x110000]) how often each folded character occurs in `data`."""
    position = 0
    while position < data.size:
        code, position = next_code_point(data, position, data.size)
        if code < folding.size:
            folded = folding[code]
            if folded == np.uint32(0xFFFFFFFF):
                continue
            code = np.int64(folded)
        if code < counts.size:
            counts[code] += 1


@kernel
def ngram_keys(ids, id_offsets, base, order, keys):
    """Write the key of every n-gram of `order` ids that lies within a text; return how many."""
    leaving = _ONE
    for _ in range(order):
        leaving *= np.uint64(base)
    written = 0
    for text in range(id_offsets.size - 1):
        key = _ZERO
        start = id_offsets[text]
        for i in range(start, id_offsets[text + 1]):
            key = key * np.uint64(base) + np.uint64(ids[i])
            if i - start >= order:
                key -= np.uint64(ids[i - order]) * leaving
            if i - start >= order - 1:
                keys[written] = key
                written += 1
    return written


@kernel
def insert(slots, key, cost, backoff):
    """Put an n-gram into an open-addressing table (uint64[power of two], 0 = free)."""
    hashed = finish(key)
    mark = max(hashed >> _HIGH, _ONE)
    mask = np.uint64(slots.size - 1)
    place = hashed & mask
    while slots[place] != _ZERO:
        place = (place + _ONE) & mask
    slots[place] = (mark << _HIGH) | (np.uint64(cost) << _COST) | np.uint64(backoff)


@kernel
def insert_all(slots, keys, costs, backoffs):
    """Put the n-grams of one order into their table; costs in steps (uint16[:])."""
    for i in range(keys.size):
        insert(slots, keys[i], costs[i], backoffs[i])


@kernel
def _find(slots, start, mask, hashed):
    """The slot of a key whose first place did not hold it: 0 where it is not in the table."""
    mark = max(hashed >> _HIGH, _ONE)
    place = hashed & mask
    while True:
        slot = slots[start + np.int64(place)]
        if slot == _ZERO or slot >> _HIGH == mark:
            return slot
        place = (place + _ONE) & mask


@kernel
def costs(ids, id_offsets, base, order, unigram_costs, unigram_backoffs, slots, starts, unknown_cost, out):
    """The cost of every text in bits: minus log2 of its probability.

    Parameters
    ----------
    ids, id_offsets : uint16[:], int64[:]
        As `encode` writes them.
    base, order : int64
    unigram_costs, unigram_backoffs : float32[base]
        In bits.
    slots : uint64[:]
        The tables of orders 2 to `order`, one after the other.
    starts : int64[order]
        Where the table of order ``n + 2`` begins in `slots`, and where the last one ends.
    unknown_cost : float64
        Bits that tell which of the unknown characters it was.
    out : float64[:]
        Filled.
    """
    scale = np.float32(1.0 / COST_STEPS_PER_BIT)
    found = np.empty((MAX_ORDER + 1, _BLOCK), np.uint64)
    hashes = np.empty((MAX_ORDER + 1, _BLOCK), np.uint64)
    keys = np.empty(MAX_ORDER + 1, np.uint64)
    leaving = np.empty(MAX_ORDER + 1, np.uint64)
    leaving[0] = _ONE
    for n in range(1, MAX_ORDER + 1):
        leaving[n] = leaving[n - 1] * np.uint64(base)
    # Costs of backing off from the contexts of 1 to order - 1 characters before this one.
    backing = np.zeros(MAX_ORDER + 1, np.float32)
    for text in range(id_offsets.size - 1):
        start = id_offsets[text]
        length = id_offsets[text + 1] - start
        total = 0.0
        keys[:] = _ZERO
        for block in range(0, length, _BLOCK):
            size = min(_BLOCK, length - block)
            first = start + block
            for n in range(2, order + 1):
                key = keys[n]
                table = starts[n - 2]
                mask = np.uint64(starts[n - 1] - table - 1)
                for i in range(size):
                    key = key * np.uint64(base) + np.uint64(ids[first + i])
                    if block + i >= n:
                        key -= np.uint64(ids[first + i - n]) * leaving[n]
                    hashed = finish(key)
                    hashes[n, i] = hashed
                    found[n, i] = slots[table + np.int64(hashed & mask)]
                keys[n] = key
            for i in range(size):
                seen = block + i
                identity = ids[first + i]
                cost = unigram_costs[identity]
                matched = 1
                known = min(order, seen + 1)
                backoff = unigram_backoffs[identity]
                penalty = np.float32(0.0)
                # From short to long: every n-gram in a table has its suffix and its prefix there.
                n = 2
                while n <= known:
                    slot = found[n, i]
                    if slot != _ZERO and slot >> _HIGH != max(hashes[n, i] >> _HIGH, _ONE):
                        slot = _find(
                            slots,
                            starts[n - 2],
                            np.uint64(starts[n - 1] - starts[n - 2] - 1),
                            hashes[n, i],
                        )
                    if slot == _ZERO:
                        break
                    cost = np.float32((slot >> _COST) & _MASK_16) * scale
                    matched = n
                    following = np.float32(slot & _MASK_16) * scale
                    # The context one shorter is done with: what it costs is no longer asked for.
                    backing[n - 1] = backoff
                    backoff = following
                    n += 1
                # backing[matched:known] still belong to the contexts that end before this character.
                for m in range(matched, known):
                    penalty += backing[m]
                backing[matched] = backoff
                for m in range(matched + 1, order):
                    backing[m] = np.float32(0.0)
                total += cost + penalty
                if identity == UNKNOWN_ID:
                    total += unknown_cost
        out[text] = total
