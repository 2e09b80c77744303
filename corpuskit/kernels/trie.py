"""A dictionary trie in one flat int64 array: built in a second, memory-mapped, and open to new words.

A transition is a record of two int64. It is found by hashing (parent node, character), so that a user's
word is added in microseconds; a double array would have to move nodes or be rebuilt for that (12 s in a
measured probe of 498,113 nodes). Records of the first character of a word lie in a table indexed by
code point, which is what is read at every position.

It takes words of any characters, and is what the trained segmenter looks words up in. The dictionary of the
exact segmenter, which is read three times as fast, is `corpuskit.kernels.ranked_trie`.

Layout of the array ``trie``::

    [0:HEADER]               header: format, log2 of the slots, nodes, longest word, hashed records
    [HEADER:SLOTS]           first-character records, two int64 for each code point below FIRST
    [SLOTS:]                 hashed records, linear probing, two int64 each, 0 where empty

    record[0]   bits 0-20 code point, 21-44 parent node, 45-60 filter over the children's code points,
                62 a record that hashes here lies further on
    record[1]   bits 0-31 weight (index into the caller's table of frequencies, 0: only a prefix),
                32-55 node number

The filter and bit 62 answer nearly every failing lookup at once: what costs time here is not the cache
but branches the processor cannot predict. ``trie[NOTHING]`` is a record that is no word and has no
children, for callers that would otherwise branch on "not found".
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel

FORMAT = 2
HEADER = 16
FIRST = 0x9FD6  # one past U+9FD5, the last ideograph jieba joins into words
SLOTS = HEADER + 2 * FIRST
ROOT = 1
MAX_NODES = 1 << 24

NOTHING = 14
AT_FORMAT, AT_BITS, AT_NODES, AT_LONGEST, AT_HASHED = 0, 1, 2, 3, 4

KEY = (1 << 45) - 1
_FILTER = 45
DISPLACED = 1 << 62
WEIGHT = (1 << 32) - 1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def new_trie(bits: int) -> np.ndarray:
    """An empty trie with ``2**bits`` slots for hashed records: int64 array."""
    trie = np.zeros(SLOTS + (2 << bits), np.int64)
    trie[AT_FORMAT] = FORMAT
    trie[AT_BITS] = bits
    trie[AT_NODES] = ROOT + 1
    return trie


@kernel
def slot(trie, key):
    """Index of the slot where the record of `key` belongs."""
    shift = np.uint64(64 - trie[AT_BITS])
    return SLOTS + 2 * np.int64((np.uint64(key) * GOLDEN) >> shift)


@kernel
def find(trie, node, code):
    """Index of the record of the transition from `node` by `code`, or -1."""
    if node == ROOT and code < FIRST:
        at = HEADER + 2 * code
        return at if trie[at] != 0 else -1
    key = (node << 21) | code
    at = slot(trie, key)
    if trie[at] & KEY == key:
        return at
    if trie[at] & DISPLACED == 0:
        return -1
    while trie[at] != 0:
        if trie[at] & KEY == key:
            return at
        at += 2
        if at == trie.size:
            at = SLOTS
    return -1


@kernel
def _free_slot(trie, key):
    """Index of the free slot for a new record, leaving a mark where it would have belonged."""
    at = slot(trie, key)
    if trie[at] != 0:
        trie[at] |= DISPLACED
    while trie[at] != 0:
        at += 2
        if at == trie.size:
            at = SLOTS
    return at


@kernel
def may_have_child(record, code):
    """Whether the node of `record` (its first int64) can have a child `code`; False is certain."""
    return (record >> (_FILTER + (code & 15))) & 1


@kernel
def lookup(trie, codes, begin, end):
    """Index of the record of the word ``codes[begin:end]`` (a word or a prefix of one), or -1."""
    node = np.int64(ROOT)
    at = -1
    for i in range(begin, end):
        at = find(trie, node, np.int64(codes[i]))
        if at < 0:
            return -1
        node = trie[at + 1] >> 32
    return at


@kernel
def has_room(trie, length):
    """Whether a word of `length` characters can be inserted without growing (load at most 0.6)."""
    return 10 * (trie[AT_HASHED] + length) <= 6 * (np.int64(1) << trie[AT_BITS])


@kernel
def insert(trie, codes, begin, end):
    """Add the word ``codes[begin:end]`` and its prefixes; return its record's index.

    The caller has seen that it `has_room` and that nodes stay below `MAX_NODES`.
    """
    node = np.int64(ROOT)
    parent = np.int64(-1)
    at = np.int64(-1)
    for i in range(begin, end):
        code = np.int64(codes[i])
        at = find(trie, node, code)
        if at < 0:
            key = (node << 21) | code
            if node == ROOT and code < FIRST:
                at = HEADER + 2 * code
            else:
                at = _free_slot(trie, key)
                trie[AT_HASHED] += 1
            trie[at] = key
            trie[at + 1] = trie[AT_NODES] << 32
            trie[AT_NODES] += 1
            if parent >= 0:
                trie[parent] |= np.int64(1) << (_FILTER + (code & 15))
        parent = at
        node = trie[at + 1] >> 32
    trie[AT_LONGEST] = max(trie[AT_LONGEST], end - begin)
    return at


@kernel
def insert_many(trie, codes, offsets, weights, begin):
    """Insert words ``begin…`` with their weights until done or full; return the next word's index.

    Word `i` is ``codes[offsets[i]:offsets[i + 1]]``; the last of equal words wins.
    """
    for i in range(begin, weights.size):
        length = offsets[i + 1] - offsets[i]
        if not has_room(trie, length) or trie[AT_NODES] + length > MAX_NODES:
            return i
        at = insert(trie, codes, offsets[i], offsets[i + 1])
        trie[at + 1] = (trie[at + 1] & ~WEIGHT) | weights[i]
    return weights.size


@kernel
def grow(old, new):
    """Copy every record of `old` into `new`, an empty trie with more slots."""
    for i in range(AT_NODES, SLOTS):
        new[i] = old[i]
    for i in range(SLOTS, old.size, 2):
        if old[i] != 0:
            at = _free_slot(new, old[i] & KEY)
            new[at] = old[i] & ~DISPLACED
            new[at + 1] = old[i + 1]
