"""Best-fit-decreasing bin packing of one block of documents.

Pieces go longest first into the fullest bin that still holds them. Remaining space is a small
integer, so bins with equal space are a linked list and the spaces that have a bin are a bit set:
one placement looks at sequence_length / 64 words at most instead of at every open bin.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel


@kernel
def pack_block(offsets, capacity, split, best_fit):
    """Pack the rows of a block into bins of `capacity` tokens.

    Parameters
    ----------
    offsets : int64[:], length n + 1
        Row i is tokens ``offsets[i]`` to ``offsets[i + 1]``.
    capacity : int64
        Tokens a bin holds.
    split : bool
        Rows longer than a bin become several pieces; else their first `capacity` tokens are kept.
    best_fit : bool
        Else every piece is a bin of its own.

    Returns
    -------
    begins : int64[:]
        First token of each piece, ordered by bin, within one by position.
    lengths : int64[:]
        Tokens of each piece.
    bin_starts : int64[:]
        Bin j holds pieces ``bin_starts[j]`` to ``bin_starts[j + 1]``. Bins are numbered by their
        first piece's position.
    """
    count = 0
    for row in range(len(offsets) - 1):
        size = offsets[row + 1] - offsets[row]
        if size > 0:
            count += (size + capacity - 1) // capacity if split else 1
    begins = np.empty(count, np.int64)
    lengths = np.empty(count, np.int64)
    piece = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        if not split:
            end = min(end, begin + capacity)
        while begin < end:
            begins[piece] = begin
            lengths[piece] = min(capacity, end - begin)
            begin += capacity
            piece += 1
    if not best_fit:
        return begins, lengths, np.arange(count + 1)
    bins, num_bins = _best_fit(lengths, capacity)
    return _by_bin(begins, lengths, bins, num_bins)


@kernel
def _best_fit(lengths, capacity):
    """The bin of each piece; bins are numbered in the order of their creation."""
    count = len(lengths)
    order = _longest_first(lengths, capacity)
    bins = np.empty(count, np.int64)
    head = np.full(capacity + 1, -1, np.int64)  # a bin with this much space, and the next one with as much
    following = np.empty(count, np.int64)
    words = np.zeros(capacity // 64 + 1, np.uint64)
    num_bins = 0
    for position in range(count):
        piece = order[position]
        size = lengths[piece]
        space = _next_space(words, size)
        if space < 0:
            chosen = num_bins
            num_bins += 1
            space = capacity
        else:
            chosen = head[space]
            head[space] = following[chosen]
            if head[space] < 0:
                words[space >> 6] &= ~(np.uint64(1) << np.uint64(space & 63))
        bins[piece] = chosen
        rest = space - size
        if rest > 0:
            following[chosen] = head[rest]
            head[rest] = chosen
            words[rest >> 6] |= np.uint64(1) << np.uint64(rest & 63)
    return bins, num_bins


@kernel
def _next_space(words, size):
    """The smallest space of at least `size` that a bin has; -1 if none."""
    index = size >> 6
    word = words[index] & (~np.uint64(0) << np.uint64(size & 63))
    while word == 0:
        index += 1
        if index == len(words):
            return -1
        word = words[index]
    bit = 0
    while not word & np.uint64(0xFF):
        word >>= np.uint64(8)
        bit += 8
    while not word & np.uint64(1):
        word >>= np.uint64(1)
        bit += 1
    return (index << 6) + bit


@kernel
def _longest_first(lengths, capacity):
    """Pieces by falling length, equal ones by position: a counting sort."""
    places = np.zeros(capacity + 2, np.int64)
    for piece in range(len(lengths)):
        places[capacity - lengths[piece] + 1] += 1
    for value in range(capacity + 1):
        places[value + 1] += places[value]
    order = np.empty(len(lengths), np.int64)
    for piece in range(len(lengths)):
        key = capacity - lengths[piece]
        order[places[key]] = piece
        places[key] += 1
    return order


@kernel
def _by_bin(begins, lengths, bins, num_bins):
    number = np.full(num_bins, -1, np.int64)
    found = 0
    sizes = np.zeros(num_bins + 1, np.int64)
    for piece in range(len(bins)):
        if number[bins[piece]] < 0:
            number[bins[piece]] = found
            found += 1
        sizes[number[bins[piece]] + 1] += 1
    bin_starts = np.cumsum(sizes)
    fill = bin_starts[:-1].copy()
    sorted_begins = np.empty_like(begins)
    sorted_lengths = np.empty_like(lengths)
    for piece in range(len(bins)):
        target = number[bins[piece]]
        sorted_begins[fill[target]] = begins[piece]
        sorted_lengths[fill[target]] = lengths[piece]
        fill[target] += 1
    return sorted_begins, sorted_lengths, bin_starts
