"""Byte-pair merging with incremental pair counts, from single bytes or from existing merges.

A text is segments of *units*: a plain unit is one token, a composite unit several, such as the three
bytes of a Chinese character. What merges inside a composite unit is done once for the unit, not once
for each of its occurrences: on Chinese four merges of five happen inside characters, and 100 MB hold
some 6,400 different ones. Which units a text is cut into changes the time, never the result.

Across units a plain pair has its positions stored. All of them come into being in the one step that
makes the younger of its two tokens, so they are one block of a pool, written once. A pair with a
composite unit has none; where such a pair is the next to merge (one in a hundred), the occurrences of
those units are searched. Two units joined so become a new composite unit.

Counts are int64 and exact for every pair that reaches a threshold; as a count only falls after
the pair's birth, rarer pairs need not be stored, and a heap with lazily refreshed counts yields the
true maximum. When it falls below the threshold, the threshold is lowered and all pairs are counted
anew. The rule of choice: highest count, then smallest left id, then smallest right id (that of
Hugging Face's trainer). A count is the weighted number of adjacent positions (``aaa`` holds ``aa``
twice); merging goes from left to right.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.bpe_pairs import (
    compact,
    fill_nodes,
    fill_positions,
    lay_pairs,
    make_pairs,
    store_nodes,
    take_away,
)
from corpuskit.kernels.bpe_tables import (
    BLOCK,
    COUNT,
    FILLED,
    KEY,
    MADE,
    NODE,
    NUM_PLACES,
    PLACES,
    SEEN,
    ZERO,
    clear_tally,
    combine,
    empty_keys,
    find_known,
    grow,
    grow_rows,
    grow_table,
    sift_down,
)
from corpuskit.kernels.bpe_units import describe_units, ends_changed, find_pair, join_across, join_inside
from corpuskit.kernels.compiler import kernel


def weight_ranges(units, weights):
    """Ranges of `units` whose segments have the same weight: their bounds, one more, and the weights."""
    begins = np.flatnonzero(units < 0)[: weights.size]
    first = np.ones(begins.size, bool)
    first[1:] = weights[1:] != weights[:-1]
    bounds = np.concatenate([begins[first], [units.size, units.size + 1]])
    return bounds, np.append(weights[first], 0)


def train_merges(
    units,
    weights,
    inner,
    unit_starts,
    constrained,
    structure,
    lengths,
    max_length,
    hashes,
    powers,
    known,
    known_ids,
    reuse,
    first_new,
    num_new,
    min_count,
    threshold,
):
    """Learn merges that make `num_new` new tokens.

    Parameters
    ----------
    units : int32[n]
        Segments of units between separators, one separator first and one last; overwritten. A plain
        unit is a token's id; composite unit u is ``first_new + num_new + u``.
    weights : int64[segments]
        How often each segment occurs, in the order in which they lie in `units`. Any order is right;
        it is fastest where they fall.
    inner : int32[m]
        The tokens of the composite units, at least two each, between separators, one of them first
        and one last.
    unit_starts : int64[composite units]
        First slot of each in `inner`.
    constrained : bool
        Only whole characters and prefixes of one may be made (see `combine`).
    structure : int8[3, first_new + num_new]
        Lead, whole and missing of each token, used where `constrained`; the new tokens' are filled in.
    lengths : int32[first_new + num_new]
        Bytes of each token; the new tokens' are filled in.
    max_length : int
        No longer token is made.
    hashes, powers : uint64[first_new + num_new]
        Polynomial hash of each token's bytes and the base to the power of their number; the hash
        of a concatenation is ``hash(left) * power(right) + hash(right)``.
    known : uint64[power of two]
        Open-addressing set of (non-zero) hashes, 0 where empty, less than half full with `num_new` more.
    known_ids : int32[power of two]
        Id of the token with that hash, -1 for bytes that no token may have.
    reuse : bool
        What to do with a pair whose bytes are a token already: merge it into that token, which makes no new
        one (Hugging Face's trainer), or never merge it.
    first_new, num_new : int
        Id of the first new token, and how many to make.
    min_count : int
        Pairs rarer than this are not merged.
    threshold : int
        Where to start, `min_count` or more; too high costs time, too low memory, neither changes the result.

    Returns
    -------
    merges : int64[k, 3]
        Left, right and resulting id, in order. Fewer new tokens than asked for where the segments hold
        no more.
    merge_counts : int64[k]
        The weighted count of each pair when it was chosen.
    """
    bounds, range_weights = weight_ranges(units, weights)
    merges, merge_counts, num_merges = _merge(
        units, bounds, range_weights, inner, unit_starts, constrained, structure, lengths, max_length,
        hashes, powers, known, known_ids, reuse, first_new, num_new, min_count, threshold,
    )  # fmt: skip
    return merges[:num_merges], merge_counts[:num_merges]


@kernel
def _merge(
    units, bounds, range_weights, inner, unit_starts, constrained, structure, lengths, max_length,
    hashes, powers, known, known_ids, reuse, first_new, num_new, min_count, threshold,
):  # fmt: skip
    size = first_new + num_new
    table, num_units, inner, inner_used, inner_unit, occurrences = describe_units(
        units, bounds, range_weights, inner, unit_starts, size
    )
    merges = np.empty((num_new + 16, 3), np.int64)
    merge_counts = np.empty(num_new + 16, np.int64)
    num_merges = ZERO
    made = ZERO
    tally = np.empty((2, size, 5), np.int64)
    touched = np.empty((2, size), np.int32)
    num_touched = np.empty(2, np.int64)
    fused_keys = empty_keys(np.int64(1 << 12))
    fused_units = np.empty(1 << 12, np.int32)

    while made < num_new:
        keys, values, pairs, num_pairs, pool, used, nodes, num_nodes, heap = lay_pairs(
            units, bounds, range_weights, inner, inner_used, inner_unit, table, size,
            threshold, constrained, structure, lengths, max_length,
        )  # fmt: skip
        heap_size = num_pairs
        clear_tally(tally)
        recount = False
        while made < num_new and heap_size > 0 and not recount:
            top = heap[0]
            if pairs[top, SEEN] != pairs[top, COUNT] and pairs[top, COUNT] >= threshold:
                pairs[top, SEEN] = pairs[top, COUNT]
                sift_down(heap, heap_size, pairs, ZERO)
                continue
            heap_size -= 1
            heap[0] = heap[heap_size]
            if heap_size > 0:
                sift_down(heap, heap_size, pairs, ZERO)
            if pairs[top, COUNT] < threshold:
                continue
            x, y = pairs[top, KEY] >> 32, pairs[top, KEY] & 0x7FFFFFFF
            value = hashes[x] * powers[y] + hashes[y]
            if value == 0:
                value = np.uint64(1)
            slot = find_known(known, value)
            if known[slot] != 0:
                if not reuse or known_ids[slot] < 0:
                    pairs[top, COUNT] = 0
                    continue
                new = np.int64(known_ids[slot])
                recount = True  # the pairs of a token that was there already are not born in one step
            else:
                new = np.int64(first_new + made)
                made += 1
                known[slot] = value
                known_ids[slot] = new
                hashes[new] = value
                powers[new] = powers[x] * powers[y]
                lengths[new] = lengths[x] + lengths[y]
                if constrained:
                    _, structure[0, new], structure[1, new], structure[2, new] = combine(
                        structure[0], structure[1], structure[2], x, y
                    )
            if num_merges == merge_counts.size:
                merges = grow_rows(merges, num_merges * 2)
                merge_counts = grow(merge_counts, num_merges * 2)
            merges[num_merges, 0] = x
            merges[num_merges, 1] = y
            merges[num_merges, 2] = new
            merge_counts[num_merges] = pairs[top, COUNT]
            num_merges += 1
            num_touched[0] = 0
            num_touched[1] = 0

            across, num_across, inside, num_inside = find_pair(
                x, y, pairs[top, COUNT], units, size, bounds, range_weights,
                inner, inner_unit, table, num_units, occurrences,
                nodes, pairs[top, NODE], pool, pairs[top, BLOCK], pairs[top, FILLED],
            )  # fmt: skip
            units_before, inner_before = num_units, inner_used
            (
                num_joined, table, num_units, inner, inner_used, inner_unit,
                fused_keys, fused_units, occurrences,
            ) = join_across(
                x, y, new, num_merges, across, num_across, units, size, bounds, range_weights,
                table, num_units, inner, inner_used, inner_unit, fused_keys, fused_units, occurrences,
                tally, touched, num_touched,
            )  # fmt: skip
            inside, num_inner, altered, num_altered = join_inside(
                x, y, new, num_merges, inside, num_inside, inner, inner_before, inner_used, inner_unit, table,
                tally, touched, num_touched,
            )  # fmt: skip
            for i in range(num_altered):
                plain = ends_changed(
                    altered[i], x, y, new, num_merges, units, size, bounds, range_weights, inner, table,
                    occurrences, tally, touched, num_touched,
                )  # fmt: skip
                if not plain:
                    altered[i] = -1

            needed = take_away(x, y, threshold, keys, values, pairs, tally, touched, num_touched)
            pairs[top, COUNT] = 0
            if recount:
                break
            if used + needed > pool.size:
                used = compact(pool, pairs, num_pairs, threshold)
                if used + needed > pool.size - (pool.size >> 3):
                    # Compacting may have freed most of the pool: the need alone can be below its size.
                    pool = grow(pool, max(pool.size + (pool.size >> 3), used + needed + (used >> 2)))
            room = num_touched[0] + num_touched[1]
            if num_pairs + room > pairs.shape[0]:
                pairs = grow_rows(pairs, (num_pairs + room) * 3 // 2)
            while (num_pairs + room) * 2 > keys.size:
                keys, values = grow_table(keys, values)
            if heap_size + room > heap.size:
                heap = grow(heap, (heap_size + room) * 3 // 2)
            num_pairs, heap_size, used = make_pairs(
                new, threshold, constrained, structure, lengths, max_length,
                keys, values, pairs, num_pairs, heap, heap_size, used, tally, touched, num_touched,
            )  # fmt: skip
            fill_positions(units, size, new, across, ZERO, num_joined, tally, pairs, pool)
            for i in range(num_altered):
                u = altered[i]
                if u >= 0:
                    begin = table[u, PLACES]
                    end = begin + table[u, NUM_PLACES]
                    fill_positions(units, size, new, occurrences, begin, end, tally, pairs, pool)
            nodes, num_nodes = fill_nodes(
                inner, inside, num_inner, inner_before, new, tally, pairs, nodes, num_nodes
            )
            if num_units > units_before:
                if num_nodes + inner_used - inner_before > nodes.shape[0]:
                    nodes = grow_rows(nodes, (num_nodes + inner_used - inner_before) * 3 // 2)
                num_nodes = store_nodes(
                    inner, inner_before, inner_used, inner_unit, table, keys, values, pairs, nodes, num_nodes
                )
            for side in range(2):
                for i in range(num_touched[side]):
                    tally[side, touched[side, i], MADE] = -1
        if not recount:
            if threshold <= min_count:
                break
            threshold = max(min_count, threshold // 4)
    return merges, merge_counts, num_merges
