"""Many terms found in UTF-8 text at once: a trie whose edges lie in one hash table.

An automaton over bytes would need a kibibyte a state; here an edge costs 12 bytes, so lists of a
million terms fit. A walk begins only at characters that begin a term and mostly ends after one
look-up. ASCII letters match in either case, and a term that begins or ends in an ASCII letter or
digit does not match inside a longer word.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.utf8 import next_code_point

LINK, STUB, NOTICE, SPAM, LISTED = range(5)
"""Categories of terms; a term may be of several (bits of `node_terms`)."""

NUM_CATEGORIES = 5

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)
_CODE_BITS = np.uint64(21)
_FREE = np.uint64(0)


@kernel
def fold(code):
    """ASCII capitals to small letters."""
    return code + 32 if 65 <= code <= 90 else code


@kernel
def is_word(code):
    """Whether a code point is an ASCII letter or digit."""
    return 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122


@kernel
def _slot(edge, mask):
    return np.int64(((edge * _MULTIPLIER) >> _SHIFT) & np.uint64(mask))


@kernel
def pair_slot(first, second):
    """Where two characters are looked up in `pairs`."""
    return (fold(first) * 0x9E37 ^ fold(second)) & 0xFFFF


@kernel
def insert_terms(data, offsets, categories, pairs, edges, nodes, node_terms):
    """Build the trie.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
        The terms as UTF-8.
    categories : uint8[num_terms]
        Bits of the categories of each term.
    pairs : uint8[65536]
        Zeros. Filled in: 1 where the first two characters of a term hash to, everywhere if a term
        has only one character. Spares most walks.
    edges : uint64[power of two]
        Zeros, at least twice as many as all terms have characters. Filled in: node number and code
        point of each edge, plus one.
    nodes : int32[as edges]
        Filled in: where each edge leads.
    node_terms : uint8[characters of all terms + 1]
        Zeros. Filled in: category bits of the terms that end at each node; node 0 is the root.
    """
    mask = edges.size - 1
    num_nodes = 1
    for term in range(offsets.size - 1):
        position, stop = offsets[term], offsets[term + 1]
        first, position = next_code_point(data, position, stop)
        if position < stop:
            second, _ = next_code_point(data, position, stop)
            pairs[pair_slot(first, second)] = 1
        else:
            pairs[:] = 1
        position, node = offsets[term], 0
        while position < stop:
            code, position = next_code_point(data, position, stop)
            edge = (np.uint64(node) << _CODE_BITS | np.uint64(fold(code))) + np.uint64(1)
            slot = _slot(edge, mask)
            while edges[slot] != _FREE and edges[slot] != edge:
                slot = (slot + 1) & mask
            if edges[slot] == _FREE:
                edges[slot] = edge
                nodes[slot] = num_nodes
                num_nodes += 1
            node = nodes[slot]
        node_terms[node] |= categories[term]


@kernel
def match_terms(data, start, stop, previous, edges, nodes, node_terms, ends, found_nodes):
    """The longest term of each category that begins at `start`.

    Parameters
    ----------
    data : uint8[:]
    start, stop : int64
        Where the match begins, and the end of the text.
    previous : int64
        The code point before `start`.
    edges, nodes, node_terms
        As `insert_terms` fills them.
    ends : int64[NUM_CATEGORIES]
        Filled in where a term was found: where the one of each category ends, or -1.
    found_nodes : int32[NUM_CATEGORIES]
        Filled in where `ends` is: which node the term ends at.

    Returns
    -------
    bool
        Whether any term was found.
    """
    if is_word(previous) and is_word(data[start]):
        return False
    mask = edges.size - 1
    found = False
    node = 0
    position = start
    while position < stop:
        code, position = next_code_point(data, position, stop)
        edge = (np.uint64(node) << _CODE_BITS | np.uint64(fold(code))) + np.uint64(1)
        slot = _slot(edge, mask)
        while edges[slot] != _FREE and edges[slot] != edge:
            slot = (slot + 1) & mask
        if edges[slot] == _FREE:
            break
        node = nodes[slot]
        if node_terms[node] and not (is_word(code) and position < stop and is_word(data[position])):
            if not found:
                ends[:] = -1
            found = True
            for category in range(NUM_CATEGORIES):
                if node_terms[node] >> category & 1:
                    ends[category] = position
                    found_nodes[category] = node
    return found
