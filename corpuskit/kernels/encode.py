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
backtracking (`corpuskit.kernels.encode_backtrack`).

Both need what `corpuskit.vocab.encoder` checks: ids rise with rank, and every token encodes to itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.encode_backtrack import backtrack
from corpuskit.kernels.encode_lookup import NONE, Pairs, find_pair, find_word
from corpuskit.kernels.pretokenize_runs import U32, U64

SHORT = 128
NEEDS_TRIE = -1

_POSITION_BITS, _POSITION = U32(8), U32(255)
_WIDTH = 8  # keys compared at a time
_0, _1, _3 = U64(0), U64(1), U64(3)


class Tables(NamedTuple):
    """What the encoder reads; made by `corpuskit.vocab.encoder`.

    Attributes
    ----------
    byte_ids : uint32[256]
    byte_pairs : uint32[65536]
        Token made of two bytes (first byte high), or NONE.
    pairs : Pairs
    words : uint64[2 * power of two]
        Open addressing; first eight bytes of a token, then length << 32 | id + 1.
    word_shift : uint64
        64 minus the logarithm of the power of two.
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

    byte_ids: np.ndarray
    byte_pairs: np.ndarray
    pairs: Pairs
    words: np.ndarray
    word_shift: np.uint64
    token_bytes: np.ndarray
    token_starts: np.ndarray
    longest: np.uint64
    characters: np.ndarray
    unsafe: np.ndarray
    split_left: np.ndarray
    split_right: np.ndarray


@kernel(forceinline=True)
def _key(made, position):
    return NONE if made == NONE else (made << _POSITION_BITS) | U32(position)


@kernel(forceinline=True)
def _from_bytes(data, position, stop, byte_ids, byte_pairs, tokens, keys):
    """Begin with the bytes of a pre-token; how many they are."""
    before = U32(data[position])
    tokens[_1] = byte_ids[before]
    for i in range(_1, stop - position):
        byte = U32(data[position + U64(i)])
        tokens[U64(i) + _1] = byte_ids[byte]
        keys[U64(i)] = _key(byte_pairs[(before << U32(8)) | byte], U64(i))
        before = byte
    return stop - position


@kernel(forceinline=True)
def _from_characters(data, position, stop, characters, unsafe, pairs, tokens, keys):
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
            made = find_pair(tokens[count], first, pairs)
            keys[count] = _key(made, count)
        before = neighbours
        count += _1
        tokens[count] = first
        if second != NONE:
            keys[count] = NONE
            count += _1
            tokens[count] = second
            third = characters[at | U32(2)]
            if third != NONE:
                keys[count] = NONE
                count += _1
                tokens[count] = third
    return count


@kernel(forceinline=True)
def _merge(count, out, written, pairs, tokens, keys, following, preceding):
    """Merge until nothing does, lowest id first, leftmost among equals; where the output ends.

    The pre-token is ``tokens[1 : count + 1]``; the NONE before and behind it, which no pair has, spare a
    branch at each end. ``keys[i]`` holds the token that `i` and its right neighbour make, and `i`.
    """
    padded = (count + U64(_WIDTH)) & ~U64(_WIDTH - 1)
    keys[_0] = NONE
    for i in range(count, padded):
        keys[U64(i)] = NONE
    tokens[_0] = NONE
    tokens[count + _1] = NONE
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
            for i in range(_1, count + _1):
                following[U64(i)] = np.uint8(U64(i) + _1)
                preceding[U64(i) + _1] = np.uint8(i)
            preceding[_1] = np.uint8(0)
        made = U32(best >> _POSITION_BITS)  # numba widens what is shifted
        here = U64(best & _POSITION)
        gone = U64(following[here])
        right = U64(following[gone])
        left = U64(preceding[here])
        following[here] = np.uint8(right)
        preceding[right] = np.uint8(here)
        after, before = tokens[right], tokens[left]
        tokens[here] = made
        tokens[gone] = NONE
        keys[gone] = NONE
        keys[here] = _key(find_pair(made, after, pairs), here)
        keys[left] = _key(find_pair(before, made, pairs), left)
    for i in range(_1, count + _1):
        out[written] = tokens[U64(i)]
        written += U64(tokens[U64(i)] != NONE)
    return written


@kernel
def encode_pretokens(data, position, ends, offsets, row, tables, trie, out, written, out_offsets):
    """Encode consecutive pre-tokens of one or more texts.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8.
    position : uint64
        Where the first begins.
    ends : uint64[:]
        Where each ends and the next one begins.
    offsets : int64[n + 1]
        Text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
    row : int64
        The text in which `position` lies, or an empty one before it.
    tables : Tables
    trie : Trie
    out : uint16[:] or uint32[:]
        At least as many as the texts have bytes.
    written : int64
        Tokens in it so far.
    out_offsets : int64[n + 1]
        Filled: where the tokens of each text that ends here end.

    Returns
    -------
    (int64, int64)
        Tokens written so far, or NEEDS_TRIE if there is a long pre-token and no trie; and the text in which
        what follows lies.
    """
    tokens = np.empty(SHORT + 8, np.uint32)
    keys = np.empty(SHORT + 2 * _WIDTH, np.uint32)
    following = np.empty(SHORT + 8, np.uint8)
    preceding = np.empty(SHORT + 8, np.uint8)
    size = U64(data.size)
    pairs = tables.pairs
    at = U64(written)
    row_end = U64(offsets[row + 1])
    for i in range(ends.size):
        end = ends[i]
        length = end - position
        while row_end <= position:
            row += 1
            out_offsets[row] = at
            row_end = U64(offsets[row + 1])
        if length == _1:
            out[at] = tables.byte_ids[data[position]]
            at += _1
            position = end
            continue
        if length <= tables.longest:
            token = find_word(
                data, position, end, size, tables.words, tables.word_shift,
                tables.token_bytes, tables.token_starts,
            )  # fmt: skip
            if token != NONE:
                out[at] = token
                at += _1
                position = end
                continue
        begun = _0
        # The second byte too: the first one of " café" or " 中" is a space.
        if data[position] >= 0x80 or data[position + _1] >= 0x80:
            begun = _from_characters(
                data, position, end, tables.characters, tables.unsafe, pairs, tokens, keys
            )  # fmt: skip
        if begun == _0 and length <= U64(SHORT):
            begun = _from_bytes(data, position, end, tables.byte_ids, tables.byte_pairs, tokens, keys)
        if begun != _0:
            at = _merge(begun, out, at, pairs, tokens, keys, following, preceding)
        elif trie.children.size == 1:
            return np.int64(NEEDS_TRIE), row
        else:
            at = backtrack(
                data, position, end, out, at, pairs,
                tables.split_left, tables.split_right, tables.token_starts, trie,
            )  # fmt: skip
        position = end
    return np.int64(at), row
