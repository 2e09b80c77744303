"""Byte-level BPE of Arrow text into token arrays.

A pre-token that is a token is found by one probe of a hash table of all tokens (English mostly ends
here). Any other is merged pair by pair, lowest id first, in a scratch array that stays in the first
cache, not from its bytes but from its characters' own encodings: in Chinese nine of ten merges lie
inside characters, and beginning after them is four times faster. That gives the ids of plain BPE unless a
merge joins *part* of a character to a neighbour first. Those merges are few (43 in GPT-2, 254 in
o200k), so `corpuskit.kernels.encode_tables.characters` works out exactly which neighbours one of them
could touch (0.1 to 0.4% of the neighbours in Chinese text); a pre-token with such neighbours begins
with its bytes.

Pre-tokens of more than `SHORT` bytes or tokens, where merging in rounds is quadratic, are encoded by
backtracking (van Antwerpen and Neubeck, "So many tokens, so little time", 2024; the crate rust-gems/bpe):
the longest token that is compatible with the one before it, going back where none is. A position is
given up at most once and tries the prefixes of one token, so the time is O(bytes * longest token) at
most and linear in the text; the memory beside the output is one bit a byte.

Both need what `corpuskit.vocab.encoder` checks: ids rise with rank, and every token encodes to itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.pretokenize import U32, U64, cut, load8

SHORT = 128
MAX_TOKENS = (1 << 21) - 1
"""Ids must lie below: a pair and the token it makes share 64 bits."""

NONE = U32(0xFFFFFFFF)
NEEDS_TRIE = -1

_ID_BITS = U64(21)
_VALUE_BITS = U64(22)
_VALUE = U64((1 << 22) - 1)
_GOLDEN = U64(0x9E3779B97F4A7C15)
_FILTER_SHIFT = U64(44)
FILTER_WORDS = 1 << (64 - 44 - 6)
_POSITION_BITS, _POSITION = U32(7), U32(127)
_BLOCK = 512  # pre-tokens cut before they are encoded
_WIDTH = 16  # keys compared at a time
_0, _1, _3, _7, _8, _32 = U64(0), U64(1), U64(3), U64(7), U64(8), U64(32)


class Tables(NamedTuple):
    """What the encoder reads; made by `corpuskit.vocab.encoder`.

    Attributes
    ----------
    index, blocks
        Character classes; see `corpuskit.kernels.pretokenize.cut`.
    byte_ids : uint32[256]
    byte_pairs : uint32[65536]
        Token made of two bytes (first byte high), or NONE.
    pairs : uint64[power of two + FILTER_WORDS]
        Open addressing; bits 43-63 left id, 22-42 right id, 0-21 the token made; 0 where empty.
        Then a filter: one bit for each hash of 20 bits, 0 where no pair has it.
    pair_shift : uint64
        64 minus the logarithm of the power of two.
    words : uint64[2 * power of two]
        Open addressing; first eight bytes of a token, then length << 32 | id + 1.
    word_shift : uint64
    token_bytes : uint8[:]
        All tokens, and eight more bytes.
    token_starts : int64[tokens + 1]
    longest : uint64
        Bytes of the longest token.
    characters : uint32[4 * 65536]
        Of each code point: its own encoding (three ids, NONE where fewer), then its class as the
        left neighbour << 8 | its class as the right one.
    unsafe : bool[65536]
        Whether left class << 8 | right class could be joined by part of a character.
    split_left, split_right : uint32[tokens]
        The merge that makes a token; the token itself for bytes.
    """

    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index
    blocks: np.ndarray
    byte_ids: np.ndarray
    byte_pairs: np.ndarray
    pairs: np.ndarray
    pair_shift: np.uint64
    words: np.ndarray
    word_shift: np.uint64
    token_bytes: np.ndarray
    token_starts: np.ndarray
    longest: np.uint64
    characters: np.ndarray
    unsafe: np.ndarray
    split_left: np.ndarray
    split_right: np.ndarray


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
def find_pair(left, right, pairs, shift):
    """The token that two tokens make, or NONE.

    Most pairs make none, and the filter, which fits into the second cache, says so for five of six
    of them: a fifth less time than going to the table each time.
    """
    key = (U64(left) << _ID_BITS) | U64(right)
    value = key * _GOLDEN
    bit = value >> _FILTER_SHIFT
    mask = ~_0 >> shift
    if (pairs[mask + _1 + (bit >> U64(6))] >> (bit & U64(63))) & _1 == _0:
        return NONE
    slot = value >> shift
    while True:
        entry = pairs[slot]
        if entry == _0:
            return NONE
        if entry >> _VALUE_BITS == key:
            return U32(entry & _VALUE)
        slot = (slot + _1) & mask


@kernel
def insert_pairs(pairs, shift, left, right, made):
    """Fill `pairs` (zeros) with merges given as int64 arrays."""
    mask = ~_0 >> shift
    for i in range(left.size):
        key = (U64(left[i]) << _ID_BITS) | U64(right[i])
        value = key * _GOLDEN
        bit = value >> _FILTER_SHIFT
        pairs[mask + _1 + (bit >> U64(6))] |= _1 << (bit & U64(63))
        slot = value >> shift
        while pairs[slot] != _0:
            slot = (slot + _1) & mask
        pairs[slot] = (key << _VALUE_BITS) | U64(made[i])


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
def _find_word(data, position, stop, size, words, shift, token_bytes, token_starts):
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


@kernel(forceinline=True)
def _key(made, position):
    return NONE if made == NONE else (made << _POSITION_BITS) | U32(position)


@kernel(forceinline=True)
def _from_bytes(data, position, stop, byte_ids, byte_pairs, tokens, keys):
    """Begin with the bytes of a pre-token; how many they are."""
    before = U32(data[position])
    tokens[_0] = byte_ids[before]
    for i in range(_1, stop - position):
        byte = U32(data[position + U64(i)])
        tokens[U64(i)] = byte_ids[byte]
        keys[U64(i) - _1] = _key(byte_pairs[(before << U32(8)) | byte], U64(i) - _1)
        before = byte
    return stop - position


@kernel(forceinline=True)
def _from_characters(data, position, stop, characters, unsafe, pairs, shift, tokens, keys):
    """Begin with the encodings of the characters; 0 where that could give other ids or has no room.

    Inside a character nothing more can merge, so only pairs across characters are looked up.
    """
    count = _0
    before = U32(0)
    while position < stop:
        lead = U32(data[position])
        if lead < U32(0x80):
            code = lead
            position += _1
        elif lead < U32(0xE0):
            code = ((lead & U32(31)) << U32(6)) | (U32(data[position + _1]) & U32(63))
            position += U64(2)
        elif lead < U32(0xF0):
            high = ((lead & U32(15)) << U32(12)) | ((U32(data[position + _1]) & U32(63)) << U32(6))
            code = high | (U32(data[position + U64(2)]) & U32(63))
            position += _3
        else:
            return _0
        at = code << U32(2)
        first, second = characters[at], characters[at | U32(1)]
        neighbours = characters[at | U32(3)]
        if count > _0:
            if unsafe[(before & U32(0xFF00)) | (neighbours & U32(0xFF))] or count > U64(SHORT - 4):
                return _0
            made = find_pair(tokens[count - _1], first, pairs, shift)
            keys[count - _1] = _key(made, count - _1)
        before = neighbours
        tokens[count] = first
        count += _1
        if second != NONE:
            keys[count - _1] = NONE
            tokens[count] = second
            count += _1
            third = characters[at | U32(2)]
            if third != NONE:
                keys[count - _1] = NONE
                tokens[count] = third
                count += _1
    return count


@kernel(forceinline=True)
def _merge(count, out, written, pairs, shift, tokens, keys, following, preceding):
    """Merge until nothing does, lowest id first, leftmost among equals; where the output ends.

    ``keys[i]`` holds the token that `i` and its right neighbour make, and `i`.
    """
    padded = (count + U64(_WIDTH - 1)) & ~U64(_WIDTH - 1)
    for i in range(count - _1, padded):
        keys[U64(i)] = NONE
    merged = False
    while True:
        best = NONE
        for block in range(_0, padded, U64(_WIDTH)):
            part = keys[U64(block) : U64(block) + U64(_WIDTH)]
            for i in range(_WIDTH):
                best = min(best, part[i])
        if best == NONE:
            break
        if not merged:
            merged = True
            for i in range(count):
                following[U64(i)] = np.uint8(U64(i) + _1)
                preceding[U64(i) + _1] = np.uint8(i)
        made = best >> _POSITION_BITS
        here = U64(best & _POSITION)
        gone = U64(following[here])
        right = U64(following[gone])
        following[here] = np.uint8(right)
        preceding[right] = np.uint8(here)
        tokens[here] = made
        tokens[gone] = NONE
        keys[gone] = NONE
        keys[here] = NONE
        if right < count:
            keys[here] = _key(find_pair(made, tokens[right], pairs, shift), here)
        if here > _0:
            left = U64(preceding[here])
            keys[left] = _key(find_pair(tokens[left], made, pairs, shift), left)
    for i in range(count):
        out[written] = tokens[U64(i)]
        written += U64(tokens[U64(i)] != NONE)
    return written


@kernel(forceinline=True)
def _compatible(left, right, pairs, shift, split_left, split_right):
    """Whether plain BPE on the bytes of two tokens gives these two tokens.

    The merges are undone from the last one back; if on the way two pieces meet at the border that
    would have merged before what was undone there, it would not.
    """
    limit = NONE
    while True:
        made = find_pair(left, right, pairs, shift)
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
def _backtrack(data, position, stop, out, written, pairs, shift, split_left, split_right, starts, trie):
    """Encode a pre-token of any length; where the output ends."""
    dead = np.zeros(((stop - position) >> _3) + _1, np.uint8)
    at, base = position, written
    token = _longest_match(data, at, stop, trie)
    while at < stop:
        end = at + U64(starts[U64(token) + _1] - starts[token])
        offset = end - position
        alive = (dead[offset >> _3] >> (offset & _7)) & 1 == 0
        if alive and (
            written == base
            or _compatible(U32(out[written - _1]), token, pairs, shift, split_left, split_right)
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


@kernel
def encode_rows(family, digits, whole_end, data, offsets, tables, trie, out, out_offsets):
    """Encode texts one after another.

    Parameters
    ----------
    family, digits, whole_end
        The pattern; see `corpuskit.kernels.pretokenize.cut`.
    data : uint8[:]
        Valid UTF-8.
    offsets : int64[n + 1]
        Text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
    tables : Tables
    trie : Trie
    out : uint16[:] or uint32[:]
        At least as many as the texts have bytes.
    out_offsets : int64[n + 1]
        Filled: where the tokens of each text begin and end.

    Returns
    -------
    int64
        Tokens written, or NEEDS_TRIE if there is a long pre-token and no trie.
    """
    tokens = np.empty(SHORT + 4, np.uint32)
    keys = np.empty(SHORT + _WIDTH, np.uint32)
    following = np.empty(SHORT + 4, np.uint8)
    preceding = np.empty(SHORT + 4, np.uint8)
    ends = np.empty(_BLOCK, np.uint64)
    size = U64(data.size)
    pairs, shift = tables.pairs, tables.pair_shift
    written = _0
    out_offsets[0] = 0
    for row in range(offsets.size - 1):
        position, stop = U64(offsets[row]), U64(offsets[row + 1])
        while position < stop:
            count = cut(
                family, digits, whole_end, data, position, stop, tables.index, tables.blocks, ends
            )  # fmt: skip
            for i in range(count):
                end = ends[i]
                length = end - position
                if length == _1:
                    out[written] = tables.byte_ids[data[position]]
                    written += _1
                    position = end
                    continue
                if length <= tables.longest:
                    token = _find_word(
                        data, position, end, size, tables.words, tables.word_shift,
                        tables.token_bytes, tables.token_starts,
                    )  # fmt: skip
                    if token != NONE:
                        out[written] = token
                        written += _1
                        position = end
                        continue
                begun = _0
                # The second byte too: the first one of " café" or " 中" is a space.
                if data[position] >= 0x80 or data[position + _1] >= 0x80:
                    begun = _from_characters(
                        data, position, end, tables.characters, tables.unsafe, pairs, shift, tokens, keys
                    )
                if begun == _0 and length <= U64(SHORT):
                    begun = _from_bytes(data, position, end, tables.byte_ids, tables.byte_pairs, tokens, keys)
                if begun != _0:
                    written = _merge(begun, out, written, pairs, shift, tokens, keys, following, preceding)
                elif trie.children.size == 1:
                    return NEEDS_TRIE
                else:
                    written = _backtrack(
                        data, position, end, out, written, pairs, shift,
                        tables.split_left, tables.split_right, tables.token_starts, trie,
                    )  # fmt: skip
                position = end
        out_offsets[row + 1] = np.int64(written)
    return np.int64(written)
