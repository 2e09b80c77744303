"""Byte-level BPE of a pre-token of any length, in linear time.

Van Antwerpen and Neubeck, "So many tokens, so little time", 2024 (the crate rust-gems/bpe): the longest
token that is compatible with the one before it, going back where none is. A position is given up at most
once and tries the prefixes of one token, so the time is O(bytes * longest token) at most and linear in the
text; the memory beside the output is one bit a byte.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.encode_lookup import NONE, find_pair
from corpuskit.kernels.pretokenize_runs import U32, U64

_GOLDEN = U64(0x9E3779B97F4A7C15)
_0, _1, _3, _7, _8, _32 = U64(0), U64(1), U64(3), U64(7), U64(8), U64(32)


class Trie(NamedTuple):
    """All tokens by prefix, for backtracking; arrays of size 1 where it has not been built.

    Attributes
    ----------
    children : uint64[power of two]
        Open addressing; node << 40 | byte << 32 | child; 0 where empty. Node 0 is the root.
    shift : uint64
    tokens : uint32[nodes]
        Token that ends at each node, or NONE.
    prefixes : uint32[tokens]
        Longest token that is a proper prefix of each token, or NONE.
    """

    children: np.ndarray
    shift: np.uint64
    tokens: np.ndarray
    prefixes: np.ndarray


@kernel(forceinline=True)
def _compatible(left, right, pairs, split_left, split_right):
    """Whether plain BPE on the bytes of two tokens gives these two tokens.

    The merges are undone from the last one back; if on the way two pieces meet at the border that
    would have merged before what was undone there, it would not.
    """
    limit = NONE
    while True:
        made = find_pair(left, right, pairs)
        if made < limit:
            return False
        if left > right:
            limit = left
            left = split_right[left]
            if left == limit:
                limit = right + U32(1)
                right = split_left[right]
                if right + U32(1) == limit:
                    return True
        else:
            limit = right + U32(1)
            right = split_left[right]
            if right + U32(1) == limit:
                limit = left
                left = split_right[left]
                if left == limit:
                    return True


@kernel(forceinline=True)
def find_child(children, shift, node, byte):
    """The child of `node` by `byte`, or 0."""
    key = (U64(node) << _8) | U64(byte)
    mask = U64(children.size - 1)
    slot = (key * _GOLDEN) >> shift
    while True:
        entry = children[slot]
        if entry >> _32 == key or entry == _0:
            return U32(entry)
        slot = (slot + _1) & mask


@kernel
def fill_trie(children, shift, tokens, prefixes, token_bytes, token_starts):
    """Fill `children` (zeros), `tokens` and `prefixes` (both NONE); return the number of nodes."""
    nodes = 1
    mask = U64(children.size - 1)
    for token in range(token_starts.size - 1):
        node = U32(0)
        for i in range(token_starts[token], token_starts[token + 1]):
            byte = token_bytes[U64(i)]
            child = find_child(children, shift, node, byte)
            if child == U32(0):
                child = U32(nodes)
                nodes += 1
                key = (U64(node) << _8) | U64(byte)
                slot = (key * _GOLDEN) >> shift
                while children[slot] != _0:
                    slot = (slot + _1) & mask
                children[slot] = (key << _32) | U64(child)
            node = child
        if node != U32(0):
            tokens[node] = token
    for token in range(token_starts.size - 1):
        node = U32(0)
        for i in range(token_starts[token], token_starts[token + 1] - 1):
            node = find_child(children, shift, node, token_bytes[U64(i)])
            if tokens[node] != NONE:
                prefixes[token] = tokens[node]
    return nodes


@kernel(forceinline=True)
def _longest_match(data, position, stop, trie):
    node, found = U32(0), NONE
    while position < stop:
        node = find_child(trie.children, trie.shift, node, data[position])
        if node == U32(0):
            break
        if trie.tokens[node] != NONE:
            found = trie.tokens[node]
        position += _1
    return found


@kernel
def backtrack(data, position, stop, out, written, pairs, split_left, split_right, starts, trie):
    """Encode a pre-token of any length; where the output ends."""
    dead = np.zeros(((stop - position) >> _3) + _1, np.uint8)
    at, base = position, written
    token = _longest_match(data, at, stop, trie)
    while at < stop:
        end = at + U64(starts[U64(token) + _1] - starts[token])
        offset = end - position
        alive = (dead[offset >> _3] >> (offset & _7)) & 1 == 0
        if alive and (
            written == base or _compatible(U32(out[written - _1]), token, pairs, split_left, split_right)
        ):
            out[written] = token
            written += _1
            at = end
            if at < stop:
                token = _longest_match(data, at, stop, trie)
        elif trie.prefixes[token] != NONE:
            token = trie.prefixes[token]
        else:
            offset = at - position
            dead[offset >> _3] |= np.uint8(1) << (offset & _7)
            written -= _1
            token = U32(out[written])
            at -= U64(starts[U64(token) + _1] - starts[token])
    return written
