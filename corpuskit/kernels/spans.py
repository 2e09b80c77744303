"""Repeated spans of characters: anchors that two copies must share, and the spans themselves.

*Winnowing* (Schleimer, Wilkerson and Aiken 2003, SIGMOD, "Winnowing: local algorithms for document
fingerprinting") takes the smallest hash of k characters in every window of n characters as the window's
anchor. Equal windows have equal anchors, so a window whose anchor occurs once in the corpus cannot be
repeated, and is never looked at again; one character in about (n - k + 2) / 2 is an anchor. Where several
hashes tie the anchor stays where it was, so that a text of one character has few.

Hashes propose, characters decide: `local_repeats` compares every character of every span it returns.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import BASE, MIX_ADD, MIX_MULTIPLY, MIX_SHIFT, contains, finish, insert
from corpuskit.kernels.utf8 import decode

SPAN_COLUMNS = 5
"""Document, start, stop, source document, source start."""


@kernel
def _power(exponent):
    result = np.uint64(1)
    for _ in range(exponent):
        result *= BASE
    return result


@kernel
def roll(codes, start, stop, width, out):
    """Write the hash of each `width` characters of ``codes[start:stop]`` to `out`; return how many.

    The hash is ``finish(sum mix(ci) * BASE**(width - i))`` modulo 2**64.
    """
    leaving = _power(width)
    total = np.uint64(0)
    for i in range(start, stop):
        mixed = (np.uint64(codes[i]) + MIX_ADD) * MIX_MULTIPLY
        total = total * BASE + (mixed ^ (mixed >> MIX_SHIFT))
        if i - start >= width:
            mixed = (np.uint64(codes[i - width]) + MIX_ADD) * MIX_MULTIPLY
            total -= (mixed ^ (mixed >> MIX_SHIFT)) * leaving
        if i - start >= width - 1:
            out[i - start - width + 1] = finish(total)
    return max(0, stop - start - width + 1)


@kernel
def winnow(hashes, count, window, minima, anchors):
    """The anchor of every window of `window` consecutive hashes.

    Parameters
    ----------
    hashes : uint64[:]
        The first `count` are used.
    count, window : int64
    minima : uint64[:]
        Filled: the smallest hash of each window; ``count - window + 1`` of them.
    anchors : uint64[:]
        Filled, unless it is empty: the smallest hash once for each place where it lies.

    Returns
    -------
    int
        How many such places there are.
    """
    found = 0
    best = np.int64(0)
    last = np.int64(-1)
    for i in range(count):
        if best <= i - window:
            best = np.int64(i - window + 1)
            for j in range(best + 1, i + 1):
                if hashes[j] <= hashes[best]:
                    best = np.int64(j)
        elif hashes[i] < hashes[best]:
            best = np.int64(i)
        if i >= window - 1:
            minima[i - window + 1] = hashes[best]
            if best != last:
                if anchors.size:
                    anchors[found] = hashes[best]
                found += 1
                last = best
    return found


@kernel
def anchor_hashes(data, offsets, characters, n, k, out):
    """Anchors of every window of n characters of all texts.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    characters : int64[:]
        Of each text.
    n, k : int64
        Characters per window and per hash; ``k <= n``.
    out : uint64[:]
        Filled; room for every character.

    Returns
    -------
    int
        How many there are.
    """
    room = np.int64(0)
    for text in range(characters.size):
        room = max(room, characters[text])
    codes = np.empty(room, np.int32)
    hashes = np.empty(room, np.uint64)
    minima = np.empty(room, np.uint64)
    total = 0
    for text in range(characters.size):
        if characters[text] >= n:
            count = decode(data, offsets[text], offsets[text + 1], codes)
            count = roll(codes, 0, count, k, hashes)
            total += winnow(hashes, count, n - k + 1, minima, out[total:])
    return total


@kernel
def make_set(values):
    """An open-addressing set of hashes, at most half full."""
    size = 2
    while size < 2 * values.size:
        size *= 2
    table = np.zeros(size, np.uint64)
    for value in values:
        insert(table, value)
    return table


@kernel
def with_room(rows):
    """Rows (int64[:, :]) with as many free ones behind them.

    Element by element here and below: numba takes four seconds to compile an assignment to a slice.
    """
    larger = np.empty((2 * rows.shape[0], rows.shape[1]), np.int64)
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            larger[i, j] = rows[i, j]
    return larger


@kernel
def _longer(values):
    """An array twice as long that begins with `values`."""
    larger = np.empty(2 * values.size, values.dtype)
    for i in range(values.size):
        larger[i] = values[i]
    return larger


@kernel
def _free(size):
    positions = np.empty(size, np.int32)
    for i in range(size):
        positions[i] = -1
    return positions


@kernel
def _last_at_or_before(starts, place):
    """The last index of the ascending `starts` whose value is at most `place`."""
    low, high = 0, starts.size
    while low < high:
        middle = (low + high) // 2
        if starts[middle] <= place:
            low = middle + 1
        else:
            high = middle
    return low - 1


@kernel
def _place(keys, positions, value):
    """The slot of `value`, or the free one where it belongs."""
    mask = np.uint64(keys.size - 1)
    slot = value & mask
    while positions[slot] >= 0 and keys[slot] != value:
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def _grown(keys, positions):
    more_keys = np.empty(4 * keys.size, np.uint64)
    more_positions = _free(4 * keys.size)
    for i in range(keys.size):
        if positions[i] >= 0:
            slot = _place(more_keys, more_positions, keys[i])
            more_keys[slot] = keys[i]
            more_positions[slot] = positions[i]
    return more_keys, more_positions


@kernel
def _equal(codes, one, other, length):
    same = 0
    while same < length and codes[one + same] == codes[other + same]:
        same += 1
    return same == length


@kernel
def local_repeats(data, offsets, characters, order, n, k, repeated):
    """Windows of n characters that occur earlier among these texts, and those that may elsewhere.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    characters : int64[:]
        Of each text.
    order : int64[:]
        All text numbers, earliest first. All texts together have fewer than 2**31 characters.
    n, k : int64
        As for `anchor_hashes`.
    repeated : uint64[power of two]
        Set of the anchors that occur more than once in the corpus (`make_set`); an empty array stands for
        all.

    Returns
    -------
    spans : int64[:, SPAN_COLUMNS]
        Maximal spans whose every window of n characters also begins at the same distance in the source:
        an earlier text, or an earlier place of the same one at least n characters before.
    hashes, texts, places : uint64[:], int32[:], int32[:]
        The windows that may be repeated and are not covered by `spans`: hash, text and character.
    """
    starts = np.empty(characters.size + 1, np.int64)
    starts[0] = 0
    longest = np.int64(0)
    for i in range(order.size):
        starts[i + 1] = starts[i] + characters[order[i]]
        longest = max(longest, characters[order[i]])
    codes = np.empty(starts[order.size], np.int32)
    hashes = np.empty(longest, np.uint64)
    minima = np.empty(longest, np.uint64)
    no_anchors = np.empty(0, np.uint64)
    keys = np.empty(1024, np.uint64)
    positions = _free(1024)
    filled = 0
    spans = np.empty((64, SPAN_COLUMNS), np.int64)
    num_spans = 0
    row_hashes = np.empty(1024, np.uint64)
    row_texts = np.empty(1024, np.int32)
    row_places = np.empty(1024, np.int32)
    num_rows = 0
    for i in range(order.size):
        text = order[i]
        base, stop = starts[i], starts[i + 1]
        decode(data, offsets[text], offsets[text + 1], codes[base:stop])
        if stop - base < n:
            continue
        count = roll(codes, base, stop, k, hashes)
        winnow(hashes, count, n - k + 1, minima, no_anchors)
        count = roll(codes, base, stop, n, hashes)  # those of the anchors are not needed any more
        source = np.int64(-1)  # where the window before this one was found
        source_stop = np.int64(0)
        for q in range(count):
            here = base + q
            if source >= 0:
                source += 1
                if source + n <= source_stop and codes[source + n - 1] == codes[here + n - 1]:
                    spans[num_spans - 1, 2] += 1
                    continue
                source = np.int64(-1)
            if repeated.size and not contains(repeated, minima[q]):
                continue
            slot = _place(keys, positions, hashes[q])
            first = np.int64(positions[slot])
            if first >= 0 and (first < base or here - first >= n) and _equal(codes, first, here, n):
                owner = _last_at_or_before(starts, first)
                source, source_stop = first, starts[owner + 1]
                if num_spans == len(spans):
                    spans = with_room(spans)
                spans[num_spans, 0] = text
                spans[num_spans, 1] = q
                spans[num_spans, 2] = q + n
                spans[num_spans, 3] = order[owner]
                spans[num_spans, 4] = first - starts[owner]
                num_spans += 1
                continue
            if first < 0:
                keys[slot] = hashes[q]
                positions[slot] = here
                filled += 1
                if 2 * filled > keys.size:
                    keys, positions = _grown(keys, positions)
            if num_rows == row_hashes.size:
                row_hashes = _longer(row_hashes)
                row_texts = _longer(row_texts)
                row_places = _longer(row_places)
            row_hashes[num_rows] = hashes[q]
            row_texts[num_rows] = text
            row_places[num_rows] = q
            num_rows += 1
    return spans[:num_spans], row_hashes[:num_rows], row_texts[:num_rows], row_places[:num_rows]


@kernel
def later_windows(hashes, order, priority, ordinal, place, n, out):
    """Of the windows that share a hash, every one but the first, with the first.

    Parameters
    ----------
    hashes : uint64[:]
    order : int64[:]
        Sorts `hashes`.
    priority, ordinal, place : uint64[:], uint64[:], uint32[:]
        The earliest window of a hash is the one with the smallest (priority, ordinal, place).
    n : int64
        A window of the same document that begins less than n characters behind the first is not a copy.
    out : int64[:, 2]
        Filled: rows of the later window and of the first; room for every row.

    Returns
    -------
    int
        How many there are.
    """
    found = 0
    start = 0
    while start < order.size:
        stop = start + 1
        while stop < order.size and hashes[order[stop]] == hashes[order[start]]:
            stop += 1
        first = order[start]
        for i in range(start + 1, stop):
            row = order[i]
            if priority[row] != priority[first]:
                if priority[row] < priority[first]:
                    first = row
            elif ordinal[row] != ordinal[first]:
                if ordinal[row] < ordinal[first]:
                    first = row
            elif place[row] < place[first]:
                first = row
        for i in range(start, stop):
            row = order[i]
            if row == first:
                continue
            if ordinal[row] == ordinal[first] and np.int64(place[row]) - np.int64(place[first]) < n:
                continue
            out[found, 0] = row
            out[found, 1] = first
            found += 1
        start = stop
    return found


@kernel
def beyond_cap(target, start, stop, source, characters, max_fraction, drop, beyond):
    """Which documents are repeated for more than `max_fraction` of their characters, or wholly.

    A span whose source is in a document that is dropped does not count: it is what stays of the passage.

    Parameters
    ----------
    target, start, stop, source : int64[:]
        Spans in the order of their documents, then by `start`. Documents are numbered by that order;
        a source that is no target itself is -1.
    characters : int64[:]
        Of each document.
    max_fraction : float64
    drop : bool
        Whether documents beyond are dropped.
    beyond : bool[:]
        Filled, by document.
    """
    i = 0
    while i < target.size:
        document = target[i]
        covered = np.int64(0)
        end = np.int64(0)
        while i < target.size and target[i] == document:
            if not (drop and source[i] >= 0 and beyond[source[i]]):
                covered += max(np.int64(0), stop[i] - max(start[i], end))
                end = max(end, stop[i])
            i += 1
        beyond[document] = covered > max_fraction * characters[document] or covered == characters[document]
