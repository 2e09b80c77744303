"""Tables an encoder looks merges and tokens up in.

The merges are placed by a perfect hash (hash and displace: Belazzougui, Botelho and Dietzfelbinger,
2009): the key's hash chooses a group of about four keys, the group's seed their slots, and a slot holds one
pair at most. So a lookup is two loads and no branch: a fifth less time to encode Chinese than by open
addressing with a filter before it, where the processor guessed wrong whether a pair makes a token.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.pretokenize_runs import U32, U64, load8

MAX_TOKENS = (1 << 21) - 1
"""Ids must lie below: a pair and the token it makes share 64 bits."""

NONE = U32(0xFFFFFFFF)
MAX_SEED = 65_535
EMPTY = U64(MAX_TOKENS << 43)
"""A slot without a pair: no left id is as large. (0 would be the pair of ids 0 and 0.)"""

_ID_BITS = U64(21)
_VALUE_BITS = U64(22)
_VALUE = U64((1 << 22) - 1)
_GOLDEN = U64(0x9E3779B97F4A7C15)
_DISPLACE = U64(0xBF58476D1CE4E5B9)
_SCATTER = U64(0xD6E8FEB86659FD93)
_0, _1, _3, _8, _32 = U64(0), U64(1), U64(3), U64(8), U64(32)


class Pairs(NamedTuple):
    """Which token two tokens make.

    Attributes
    ----------
    slots : uint64[power of two]
        Bits 43-63 left id, 22-42 right id, 0-21 the token made; EMPTY where there is none.
    seeds : uint16[power of two]
        Of each group of keys.
    slot_shift, seed_shift : uint64
        64 minus the logarithms of the powers of two.
    """

    slots: np.ndarray
    seeds: np.ndarray
    slot_shift: np.uint64
    seed_shift: np.uint64


@kernel(forceinline=True)
def _pair_key(left, right):
    return (left << _ID_BITS) | right


@kernel(forceinline=True)
def _slot(value, seed, shift):
    return ((value ^ (seed * _DISPLACE)) * _SCATTER) >> shift


@kernel(forceinline=True)
def find_pair(left, right, pairs):
    """The token that two tokens make, or NONE; NONE too if one of them is NONE."""
    key = _pair_key(U64(left), U64(right))
    value = key * _GOLDEN
    entry = pairs.slots[_slot(value, U64(pairs.seeds[value >> pairs.seed_shift]), pairs.slot_shift)]
    return U32(entry & _VALUE) if entry >> _VALUE_BITS == key else NONE


@kernel
def pair_groups(left, right, shift):
    """The group of each pair, int64[n]."""
    groups = np.empty(left.size, np.int64)
    for i in range(left.size):
        groups[i] = (_pair_key(U64(left[i]), U64(right[i])) * _GOLDEN) >> shift
    return groups


@kernel
def place_pairs(pairs, left, right, made, groups):
    """Give each pair a slot of `pairs` (all EMPTY).

    Parameters
    ----------
    pairs : Pairs
    left, right, made, groups : int64[n]
        Distinct merges with their groups, those of a group together; large groups first, while there is
        most room.

    Returns
    -------
    bool
        Whether there were seeds that fit; if not, more slots will do.
    """
    begin = 0
    while begin < left.size:
        end = begin
        seed = U64(0)
        while end < left.size and groups[end] == groups[begin]:
            # Place one after the other; where one does not fit, take all back and try the next seed.
            value = _pair_key(U64(left[end]), U64(right[end])) * _GOLDEN
            slot = _slot(value, seed, pairs.slot_shift)
            if pairs.slots[slot] == EMPTY:
                pairs.slots[slot] = (_pair_key(U64(left[end]), U64(right[end])) << _VALUE_BITS) | U64(
                    made[end]
                )
                end += 1
                continue
            while end > begin:
                end -= 1
                value = _pair_key(U64(left[end]), U64(right[end])) * _GOLDEN
                pairs.slots[_slot(value, seed, pairs.slot_shift)] = EMPTY
            seed += _1
            if seed > U64(MAX_SEED):
                return False
        pairs.seeds[groups[begin]] = seed
        begin = end
    return True


@kernel(forceinline=True)
def _word(data, position, length, size):
    """The next up to eight bytes, zeros after `length`; reads nothing from `size` on."""
    if position + _8 <= size:
        word = load8(data, position)
        if length < _8:
            word &= (_1 << (length << _3)) - _1
        return word
    word = _0
    for i in range(min(length, _8)):
        word |= U64(data[position + U64(i)]) << (U64(i) << _3)
    return word


@kernel(forceinline=True)
def _hash(data, position, stop, size):
    """The first eight bytes, and a hash of all."""
    first = _word(data, position, stop - position, size)
    value = (first ^ ((stop - position) << U64(56))) * _GOLDEN
    value ^= value >> _32
    position += _8
    while position < stop:
        value = (value ^ _word(data, position, stop - position, size)) * _GOLDEN
        value ^= value >> _32
        position += _8
    return first, value * _GOLDEN


@kernel(forceinline=True)
def find_word(data, position, stop, size, words, shift, token_bytes, token_starts):
    """The token whose bytes are ``data[position:stop]``, or NONE."""
    length = stop - position
    first, value = _hash(data, position, stop, size)
    mask = U64((words.size >> 1) - 1)
    slot = value >> shift
    while True:
        entry = words[(slot << _1) | _1]
        if entry == _0:
            return NONE
        if words[slot << _1] == first and entry >> _32 == length:
            token = U32(entry) - U32(1)
            if length <= _8:
                return token
            theirs = U64(token_starts[token]) + _8
            ours = position + _8
            while ours < stop and token_bytes[theirs] == data[ours]:
                ours += _1
                theirs += _1
            if ours == stop:
                return token
        slot = (slot + _1) & mask


@kernel
def insert_words(words, shift, token_bytes, token_starts):
    """Fill `words` (zeros) with every token that has bytes."""
    mask = U64((words.size >> 1) - 1)
    size = U64(token_bytes.size)
    for token in range(token_starts.size - 1):
        start, stop = U64(token_starts[token]), U64(token_starts[token + 1])
        if start == stop:
            continue
        first, value = _hash(token_bytes, start, stop, size)
        slot = value >> shift
        while words[(slot << _1) | _1] != _0:
            slot = (slot + _1) & mask
        words[slot << _1] = first
        words[(slot << _1) | _1] = ((stop - start) << _32) | U64(token + 1)
