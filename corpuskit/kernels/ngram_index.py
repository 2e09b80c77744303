"""The distinct character n-grams of evaluation items, and in which items each lies.

The hash of characters c1 … cn is ``finish((rotate(mix(c1), 11 * (n - 1)) ^ … ^ mix(cn)) ^ n * BASE)``, the
shingles' sum with the length mixed in, because short items are indexed whole. Two n-grams with one hash
are told apart by their characters.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import BASE, MIX_ADD, MIX_MULTIPLY, MIX_SHIFT, finish
from corpuskit.kernels.utf8 import next_code_point

LEFT_OUT = np.uint32(0xFFFFFFFF)

_WORD = np.uint64(64)
_ONE = np.uint64(1)
_SIX = np.uint64(6)
_LOW = np.uint64(63)
_HALF = np.uint64(32)


@kernel
def mix(code):
    value = (np.uint64(code) + MIX_ADD) * MIX_MULTIPLY
    return value ^ (value >> MIX_SHIFT)


@kernel
def rotate(value, turn):
    return value if turn == np.uint64(0) else (value << turn) | (value >> (_WORD - turn))


@kernel
def fold_texts(data, offsets, fold, codes, out_offsets):
    """Folded characters of every text, each text followed by -1.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    fold : uint32[0x110000]
        What each code point becomes; 0xFFFFFFFF leaves it out.
    codes : int32[:]
        Filled; room for every byte and one more for each text.
    out_offsets : int64[:]
        As long as `offsets`; filled. Text i is ``codes[out_offsets[i]:out_offsets[i + 1] - 1]``.
    """
    written = 0
    out_offsets[0] = 0
    for text in range(offsets.size - 1):
        position, stop = offsets[text], offsets[text + 1]
        while position < stop:
            code, position = next_code_point(data, position, stop)
            folded = fold[code] if code < fold.size else LEFT_OUT
            if folded != LEFT_OUT:
                codes[written] = folded
                written += 1
        codes[written] = -1
        written += 1
        out_offsets[text + 1] = written


@kernel
def _equal(codes, one, other, length):
    same = 0
    while same < length and codes[one + same] == codes[other + same]:
        same += 1
    return same == length


@kernel
def _distinct(codes, place, length, enough):
    """Whether ``codes[place:place + length]`` has `enough` different characters."""
    found = 0
    for i in range(length):
        new = True
        for j in range(i):
            if codes[place + j] == codes[place + i]:
                new = False
                break
        found += new
        if found >= enough:
            return True
    return False


@kernel
def _hash_at(codes, place, length):
    total = np.uint64(0)
    for i in range(length):
        total = rotate(total, np.uint64(11)) ^ mix(codes[place + i])
    return finish(total ^ np.uint64(length) * BASE)


@kernel
def _slot(codes, place, width, value, slots, hashes, places, lengths):
    """Where the table holds the n-gram at `place`, compared by character, or the free slot it would take."""
    mask = np.uint64(slots.size - 1)
    slot = (value >> _HALF) & mask
    while slots[slot] >= 0:
        gram = slots[slot]
        if hashes[gram] == value and lengths[gram] == width and _equal(codes, places[gram], place, width):
            break
        slot = (slot + _ONE) & mask
    return slot


@kernel
def index_ngrams(
    codes, starts, stops, owners, n, min_distinct, slots, hashes, places, lengths, frequency, common
):
    """Collect the distinct n-grams of all passages, and in how many items each occurs.

    Parameters
    ----------
    codes : int32[:]
        Folded passages, as `fold_texts` writes them.
    starts, stops, owners : int64[:]
        Passages in order of their items; one shorter than n is one whole piece.
    n, min_distinct : int64
        N-grams with fewer different characters are marked common.
    slots : int32[power of two]
        Filled with -1; at least twice as many as there can be n-grams.
    hashes, places, lengths, frequency, common : uint64[:], int64[:], int32[:], int32[:], uint8[:]
        Filled, an entry per distinct n-gram: its hash, where in `codes` it is, its length, the number of
        items, and 1 where it has too few different characters.

    Returns
    -------
    int
        Distinct n-grams.
    """
    size = np.int64(0)
    last_owner = np.full(hashes.size, -1, np.int64)
    for passage in range(starts.size):
        width = min(n, stops[passage] - starts[passage])
        for place in range(starts[passage], stops[passage] - width + 1):
            value = _hash_at(codes, place, width)
            slot = _slot(codes, place, width, value, slots, hashes, places, lengths)
            gram = np.int64(slots[slot])
            if gram < 0:
                gram = size
                size += 1
                slots[slot] = gram
                hashes[gram] = value
                places[gram] = place
                lengths[gram] = width
                frequency[gram] = 0
                common[gram] = not _distinct(codes, place, width, min_distinct)
            if last_owner[gram] != owners[passage]:
                last_owner[gram] = owners[passage]
                frequency[gram] += 1
    return size


@kernel
def build_table(hashes, chosen, slots, bits):
    """Fill a table for `scan` with the chosen n-grams.

    Parameters
    ----------
    hashes : uint64[:]
    chosen : bool[:]
    slots : int32[power of two]
        Filled with -1; at least twice as many as are chosen.
    bits : uint64[power of two]
        Zeros; a filter that most characters of a document do not pass.
    """
    mask = np.uint64(slots.size - 1)
    bit_mask = np.uint64(bits.size - 1)
    for gram in range(hashes.size):
        if chosen[gram]:
            value = hashes[gram]
            slot = (value >> _HALF) & mask
            while slots[slot] >= 0:
                slot = (slot + _ONE) & mask
            slots[slot] = gram
            bits[(value >> _SIX) & bit_mask] |= _ONE << (value & _LOW)


@kernel
def post_ngrams(
    codes, starts, stops, owners, n, slots, hashes, places, lengths, offsets, units, posted, longest
):
    """For each chosen n-gram the units that have it and where, and each unit's longest chosen stretch.

    Parameters
    ----------
    codes, starts, stops, owners, n
        As for `index_ngrams`; the owners are units here, in order.
    slots, hashes, places, lengths
        The table of `build_table`.
    offsets : int64[n-grams + 1]
        Where the postings of each n-gram begin.
    units, posted : int32[:], int64[:]
        Filled: unit, and the place in `codes` of the n-gram's first occurrence in it. Empty arrays: only
        count.
    longest : int64[units]
        Filled: most consecutive characters of a passage whose n-grams are all chosen.

    Returns
    -------
    int64[n-grams]
        Postings of each n-gram.
    """
    filled = np.zeros(offsets.size - 1, np.int64)
    last_owner = np.full(offsets.size - 1, -1, np.int64)
    for passage in range(starts.size):
        width = min(n, stops[passage] - starts[passage])
        run = np.int64(0)
        for place in range(starts[passage], stops[passage] - width + 1):
            value = _hash_at(codes, place, width)
            slot = _slot(codes, place, width, value, slots, hashes, places, lengths)
            gram = np.int64(slots[slot])
            if gram < 0:
                run = np.int64(0)
                continue
            run = run + 1 if run else np.int64(width)
            owner = owners[passage]
            longest[owner] = max(longest[owner], run)
            if last_owner[gram] != owner:
                last_owner[gram] = owner
                if units.size:
                    end = offsets[gram] + filled[gram]
                    units[end] = owner
                    posted[end] = place
                filled[gram] += 1
    return filled
