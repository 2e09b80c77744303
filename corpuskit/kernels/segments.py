"""Distinct segments of a token stream, with their counts: what byte-pair merging works on.

A segment is a run of tokens inside which merges may happen. Chinese repeats few pre-tokens, but what
it repeats need be stored once; an open-addressing table over the stored segments finds them again.
The layout is that of `corpuskit.kernels.bpe_merging`: one int32 array, each segment between separators.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.bpe_tables import EMPTY, HASH_MIX, HASH_SHIFT, SEPARATOR
from corpuskit.kernels.compiler import kernel


@kernel
def collect_segments(tokens, words, barrier, table, store, starts, counts, hashes, num_stored, num_segments):
    """Cut a token stream into segments and count each distinct one.

    Parameters
    ----------
    tokens, words : int32[n]
        Token ids and the number of the pre-token each lies in.
    barrier : bool[vocab]
        Tokens that can be part of no merge; segments end at them.
    table : int64[power of two]
        Open-addressing table of segment numbers, -1 where empty; at most half full afterwards.
    store : int32[capacity]
        Segments, each after a separator; the caller leaves room for ``2 * n + 2`` more slots.
    starts, counts, hashes : int64, int64, uint64 [capacity]
        First slot, number of occurrences and hash of every segment.
    num_stored, num_segments : int
        Slots and segments used so far.

    Returns
    -------
    (int, int)
        Slots and segments used now. Segments of one token are skipped: they hold no pair.
    """
    n = tokens.size
    mask = table.size - 1
    begin = 0
    while begin < n:
        if barrier[tokens[begin]]:
            begin += 1
            continue
        end = begin + 1
        while end < n and words[end] == words[begin] and not barrier[tokens[end]]:
            end += 1
        if end - begin >= 2:
            value = np.uint64(end - begin)
            for i in range(begin, end):
                value = (value ^ np.uint64(tokens[i] + 1)) * HASH_MIX
                value ^= value >> HASH_SHIFT
            slot = np.int64(value & np.uint64(mask))
            found = -1
            while table[slot] != EMPTY:
                candidate = table[slot]
                if hashes[candidate] == value:
                    first = starts[candidate]
                    same = store[first + end - begin] == SEPARATOR
                    i = 0
                    while same and i < end - begin:
                        same = store[first + i] == tokens[begin + i]
                        i += 1
                    if same:
                        found = candidate
                        break
                slot = (slot + 1) & mask
            if found < 0:
                table[slot] = num_segments
                starts[num_segments] = num_stored + 1
                counts[num_segments] = 1
                hashes[num_segments] = value
                num_segments += 1
                store[num_stored] = SEPARATOR
                for i in range(end - begin):
                    store[num_stored + 1 + i] = tokens[begin + i]
                num_stored += 1 + end - begin
                store[num_stored] = SEPARATOR
            else:
                counts[found] += 1
        begin = end
    return num_stored, num_segments


@kernel
def rebuild_segment_table(table, hashes, num_segments):
    """Fill a larger, empty `table` with the segments known so far."""
    mask = table.size - 1
    for segment in range(num_segments):
        slot = np.int64(hashes[segment] & np.uint64(mask))
        while table[slot] != EMPTY:
            slot = (slot + 1) & mask
        table[slot] = segment


@kernel
def lay_segments(store, starts, order):
    """The segments in another order, in the same layout; `starts` has the slot of each one's first token."""
    size = 1
    for segment in order:
        i = starts[segment]
        while store[i] != SEPARATOR:
            i += 1
        size += i + 1 - starts[segment]
    units = np.empty(size, np.int32)
    units[0] = SEPARATOR
    used = 1
    for segment in order:
        i = starts[segment]
        while store[i] != SEPARATOR:
            units[used] = store[i]
            used += 1
            i += 1
        units[used] = SEPARATOR
        used += 1
    return units
