"""A dictionary trie in flat arrays: built in a second, memory-mapped, and open to new words.

What a lookup costs is cache misses, so each array holds what is often read close together:

``ranks``   uint16[65536]: for each code point its rank, 0 if it is never part of a word. Digits, letters and
            the signs jieba joins come first, then the ideographs in the order of the dictionary's
            frequencies; so what text is made of has small ranks, and arrays indexed by rank have a hot
            beginning. Later changes of the dictionary leave ranks alone.
``pairs``   uint8[FOLD * ROW]: one bit for each pair of ranks: whether any word begins with it. Six of ten
            pairs of neighbours in text begin none, and this tells them by one load from a corner of
            the table that stays in the cache. Ranks from FOLD - 1 share their bits. A row has one cache line
            more than its bits need, lest the hot beginnings of rows compete for few sets of the L1 cache.
``slots``   uint64[2**k]: the transitions, hashed by (node, rank), linear probing, 0 where empty:
            bits 0-23 the child, 24-38 the rank, 39-62 the node, 63 whether a transition that belongs in this
            slot lies further on. The builder adds frequent words first, so these lie in their home slots
            (96 of 100 of the pairs found in news).
``nodes``   uint64[2 * nodes]: for each node the logarithm of its frequency (the bits of a float64, minus
            infinity for what is only a prefix) and a filter: bit ``rank & 63``, or bit 1 for ranks that
            are multiples of 64, is set if there may be such a child. Bit 0 is `FORCED`.
``header``  int64[HEADER]: see `NODES` and its neighbours.

The node of a single character is its rank, and others are numbered as they are added. A double array
would need one load less where a pair exists, but has to move nodes when a user adds a word, and finds
six of ten pairs absent only by a load from all over a table of 8 MB.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corpuskit.kernels.compiler import kernel

FORMAT = 4
SYMBOLS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.%+#&_-"
"""The ASCII characters of words; their ranks are 1, 2, … in this order."""

LAST_DIGIT, LAST_ALPHANUMERIC, DOT, PERCENT = 10, 62, 63, 64
FIRST_HAN, LAST_HAN = 0x4E00, 0x9FD5  # the ideographs jieba joins into words
FIRST_HAN_RANK = len(SYMBOLS) + 1
RANKS = FIRST_HAN_RANK + LAST_HAN - FIRST_HAN + 1
MAX_NODES = 1 << 24
FOLD = 4096
ROW = FOLD // 8 + 64
FORCED = 1
"""In a node's filter: a word that the hidden Markov model may not build."""

HEADER = 8
NODES, LONGEST, USED, FORCED_WORDS = range(4)  # nodes so far, characters of the longest word, slots used

ZERO, ONE, TWO, THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LAST_FOLD = np.uint64(FOLD - 1)
_ROW = np.uint64(ROW)
_DISPLACED = np.uint64(1 << 63)
_RANK_BITS = np.uint64(15)
_CHILD_BITS = np.uint64(24)
_CHILD = np.uint64(MAX_NODES - 1)
_SEVEN, _SIXTY_THREE = np.uint64(7), np.uint64(63)


class Trie(NamedTuple):
    """The arrays, as the kernels take them."""

    ranks: np.ndarray
    pairs: np.ndarray
    slots: np.ndarray
    nodes: np.ndarray
    header: np.ndarray


def rank_table(ideographs: np.ndarray) -> np.ndarray:
    """The ranks of all code points, for the ideographs in the given order: uint16[65536]."""
    table = np.zeros(1 << 16, np.uint16)
    for rank, symbol in enumerate(SYMBOLS, 1):
        table[ord(symbol)] = rank
    table[ideographs] = np.arange(FIRST_HAN_RANK, RANKS)
    return table


def new_trie(ranks: np.ndarray, slots: int, nodes: int) -> Trie:
    """An empty trie with a power of two of `slots`, and room for `nodes` nodes besides single characters."""
    filters = np.zeros(2 * (RANKS + nodes), np.uint64)
    filters.view(np.float64)[0::2] = -np.inf
    header = np.zeros(HEADER, np.int64)
    header[NODES] = RANKS
    return Trie(ranks, np.zeros(FOLD * ROW, np.uint8), np.zeros(slots, np.uint64), filters, header)


# Indices are unsigned in all loops that matter: numba looks after each signed one whether it is below zero.


@kernel
def hash_shift(slots):
    """How far a hash is shifted to index `slots`."""
    shift = np.uint64(64)
    size = np.uint64(slots.size)
    while size > ONE:
        size >>= ONE
        shift -= ONE
    return shift


@kernel
def transition(node, rank):
    """What a slot holds of a transition, apart from the child."""
    return (node << _RANK_BITS) | rank


@kernel
def home(key, shift):
    """The slot where the transition `key` belongs."""
    return (key * _GOLDEN) >> shift


@kernel
def child_in(entry, key):
    """The child in a slot's `entry`; 0 if it is not the transition `key`."""
    return (entry & _CHILD) if (entry & ~_DISPLACED) >> _CHILD_BITS == key else ZERO


@kernel
def lies_elsewhere(entry):
    """Whether a transition that belongs in the slot of `entry` lies further on."""
    return entry >= _DISPLACED


@kernel
def find(slots, shift, node, rank):
    """The child of `node` by `rank`, or 0."""
    key = transition(node, rank)
    at = home(key, shift)
    entry = slots[at]
    child = child_in(entry, key)
    if child == ZERO and lies_elsewhere(entry):
        last = np.uint64(slots.size) - ONE
        while child == ZERO and entry != ZERO:
            at = (at + ONE) & last
            entry = slots[at]
            child = child_in(entry, key)
    return child


@kernel
def child_bit(rank):
    """The bit of a node's filter for children by `rank`; 0, which is never set for a child, for rank 0."""
    return (rank & _SIXTY_THREE) | np.uint64(rank != ZERO)


@kernel
def begins_word(pairs, first, second):
    """1 if words may begin with two characters of these ranks, 0 if none does."""
    row, column = min(first, _LAST_FOLD), min(second, _LAST_FOLD)
    return (np.uint64(pairs[row * _ROW + (column >> THREE)]) >> (column & _SEVEN)) & ONE


@kernel
def lookup(slots, ranks, begin, end):
    """The node of the word or prefix ``ranks[begin:end]``, at least one character, or 0."""
    shift = hash_shift(slots)
    at, stop = np.uint64(begin), np.uint64(end)
    node = np.uint64(ranks[at])
    at += ONE
    while at < stop and node != ZERO:
        node = find(slots, shift, node, np.uint64(ranks[at]))
        at += ONE
    return node


@kernel
def is_word(nodes, node):
    """Whether a node has a frequency."""
    return nodes.view(np.float64)[node + node] > -np.inf


@kernel
def has_room(slots, nodes, header, length):
    """Whether a word of `length` characters can be added without growing (at most 0.6 of the slots used)."""
    return 10 * (header[USED] + length) <= 6 * slots.size and 2 * (header[NODES] + length) <= nodes.size


@kernel
def _put(slots, shift, entry):
    at = home(entry >> _CHILD_BITS, shift)
    if slots[at] != ZERO:
        slots[at] |= _DISPLACED
        last = np.uint64(slots.size) - ONE
        while slots[at] != ZERO:
            at = (at + ONE) & last
    slots[at] = entry


@kernel
def insert(pairs, slots, nodes, header, ranks, begin, end):
    """Add the word ``ranks[begin:end]`` and its prefixes, where there `has_room`; return its node."""
    shift = hash_shift(slots)
    node = np.uint64(ranks[begin])
    for i in range(begin + 1, end):
        rank = np.uint64(ranks[i])
        child = find(slots, shift, node, rank)
        if child == ZERO:
            child = np.uint64(header[NODES])
            header[NODES] += 1
            header[USED] += 1
            _put(slots, shift, (transition(node, rank) << _CHILD_BITS) | child)
            nodes[node + node + ONE] |= ONE << child_bit(rank)
            if i == begin + 1:
                row, column = min(node, _LAST_FOLD), min(rank, _LAST_FOLD)
                pairs[row * _ROW + (column >> THREE)] |= np.uint8(ONE << (column & _SEVEN))
        node = child
    header[LONGEST] = max(header[LONGEST], end - begin)
    return node


@kernel
def insert_many(pairs, slots, nodes, header, ranks, offsets, begin, out):
    """Insert words ``begin…`` and write their nodes to `out`, until done or full; return the next word.

    Word `i` is ``ranks[offsets[i]:offsets[i + 1]]``.
    """
    for i in range(begin, offsets.size - 1):
        length = offsets[i + 1] - offsets[i]
        if not has_room(slots, nodes, header, length):
            return i
        out[i] = insert(pairs, slots, nodes, header, ranks, offsets[i], offsets[i + 1])
    return offsets.size - 1


@kernel
def rehash(slots, larger):
    """Copy every transition into an empty table with more slots."""
    shift = hash_shift(larger)
    for entry in slots:
        if entry != ZERO:
            _put(larger, shift, entry & ~_DISPLACED)
