"""The pairs of a merge training: counted, stored with their positions, changed by a merge.

See `corpuskit.kernels.bpe_merging` for what units, positions and the threshold are.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.bpe_tables import (
    BLOCK,
    BORDERS,
    COUNT,
    EMPTY,
    FILLED,
    FIRST,
    GAIN,
    KEY,
    LAST,
    LOSS,
    MADE,
    NODE,
    SEEN,
    STEP,
    WEIGHT,
    ZERO,
    add_count,
    combine,
    empty_keys,
    find,
    grow_rows,
    grow_table,
    inner_kernel,
    next_slot,
    pair_key,
    previous_slot,
    range_of,
    sift_down,
    sift_up,
)


@inner_kernel
def count_pairs(units, bounds, range_weights, inner, inner_used, inner_unit, table, size):
    """Weighted count of every adjacent pair of tokens, as an open-addressing table."""
    keys = empty_keys(np.int64(1 << 12))
    sums = np.empty(1 << 12, np.int64)
    filled = ZERO
    r = ZERO
    left = np.int64(-1)
    position = ZERO
    while position + 1 < units.size:
        unit = np.int64(units[position])
        if unit >= 0:
            r = range_of(bounds, r, position)
            if left >= 0:
                right = unit if unit < size else table[unit - size, FIRST]
                filled = add_count(keys, sums, filled, pair_key(left, right), range_weights[r])
                if filled * 2 > keys.size:
                    keys, sums = grow_table(keys, sums)
            left = unit if unit < size else table[unit - size, LAST]
        else:
            left = np.int64(-1)
        position = next_slot(units, position)
    left = np.int64(-1)
    position = ZERO
    while position + 1 < inner_used:
        token = np.int64(inner[position])
        if token >= 0 and left >= 0 and table[inner_unit[position], WEIGHT] > 0:
            weight = table[inner_unit[position], WEIGHT]
            filled = add_count(keys, sums, filled, pair_key(left, token), weight)
            if filled * 2 > keys.size:
                keys, sums = grow_table(keys, sums)
        left = token
        position = next_slot(inner, position)
    return keys, sums


@inner_kernel
def possible(left, right, constrained, structure, lengths, max_length):
    """Whether a pair may be merged at all."""
    if lengths[left] + lengths[right] > max_length:
        return False
    return not constrained or combine(structure[0], structure[1], structure[2], left, right)[0]


@inner_kernel
def keep_pairs(all_keys, all_sums, threshold, constrained, structure, lengths, max_length):
    """The pairs that may be merged and reach the threshold: their lookup, their table, their number."""
    num_pairs = 0
    for slot in range(all_keys.size):
        num_pairs += all_keys[slot] != EMPTY and all_sums[slot] >= threshold
    pairs = np.empty((num_pairs * 2 + 1024, 6), np.int64)
    num_slots = 1 << 12
    while num_slots < num_pairs * 4:
        num_slots *= 2
    keys = empty_keys(np.int64(num_slots))
    values = np.empty(num_slots, np.int32)
    num_pairs = 0
    for slot in range(all_keys.size):
        key = all_keys[slot]
        if key == EMPTY or all_sums[slot] < threshold:
            continue
        if possible(key >> 32, key & 0x7FFFFFFF, constrained, structure, lengths, max_length):
            at = find(keys, key)
            keys[at] = key
            values[at] = num_pairs
            pairs[num_pairs, KEY] = key
            pairs[num_pairs, COUNT] = all_sums[slot]
            pairs[num_pairs, SEEN] = all_sums[slot]
            pairs[num_pairs, FILLED] = 0
            pairs[num_pairs, NODE] = -1
            num_pairs += 1
    return keys, values, pairs, num_pairs


@inner_kernel
def store_positions(units, size, keys, values, pairs, num_pairs):
    """The pool with one block of positions for each pair of plain units, and how much is used."""
    used = ZERO
    pool = np.empty(0, np.int32)
    for turn in range(2):
        p = ZERO
        while p + 1 < units.size:
            q = next_slot(units, p)
            left, right = units[p], units[q]
            if 0 <= left < size and 0 <= right < size:
                at = find(keys, pair_key(np.int64(left), np.int64(right)))
                if keys[at] != EMPTY:
                    pair = values[at]
                    if turn == 1:
                        pool[pairs[pair, BLOCK] + pairs[pair, FILLED]] = p
                    pairs[pair, FILLED] += 1
            p = q
        if turn == 0:
            for pair in range(num_pairs):
                pairs[pair, BLOCK] = used
                used += pairs[pair, FILLED]
                pairs[pair, FILLED] = 0
            pool = np.empty(used + (used >> 2) + 1024, np.int32)
    return pool, used


@inner_kernel
def lay_pairs(
    units, bounds, range_weights, inner, inner_used, inner_unit, table, size,
    threshold, constrained, structure, lengths, max_length,
):  # fmt: skip
    """Count all pairs; lay out those that may be merged and reach the threshold, and a heap of them.

    Returns
    -------
    keys, values, pairs, num_pairs, pool, used, nodes, num_nodes, heap
    """
    all_keys, all_sums = count_pairs(
        units, bounds, range_weights, inner, inner_used, inner_unit, table, size
    )  # fmt: skip
    keys, values, pairs, num_pairs = keep_pairs(
        all_keys, all_sums, threshold, constrained, structure, lengths, max_length
    )
    all_keys, all_sums = np.empty(0, np.int64), np.empty(0, np.int64)
    pool, used = store_positions(units, size, keys, values, pairs, num_pairs)
    nodes = np.empty((inner_used + 4096, 2), np.int64)
    num_nodes = store_nodes(inner, ZERO, inner_used, inner_unit, table, keys, values, pairs, nodes, ZERO)
    heap = np.empty(num_pairs + 1024, np.int32)
    for pair in range(num_pairs):
        heap[pair] = pair
    for node in range(num_pairs // 2 - 1, -1, -1):
        sift_down(heap, num_pairs, pairs, node)
    return keys, values, pairs, num_pairs, pool, used, nodes, num_nodes, heap


@inner_kernel
def compact(pool, pairs, num_pairs, threshold):
    """Move the blocks of live pairs to the front of the pool; blocks lie in order of pair number."""
    write = np.int64(0)
    for pair in range(num_pairs):
        if pairs[pair, COUNT] < threshold:
            pairs[pair, FILLED] = 0
            continue
        begin = pairs[pair, BLOCK]
        pairs[pair, BLOCK] = write
        for i in range(pairs[pair, FILLED]):
            pool[write + i] = pool[begin + i]
        write += pairs[pair, FILLED]
    return write


@inner_kernel
def add_node(pairs, nodes, used, pair, position):
    """Put a position inside a composite unit into the list of its pair."""
    nodes[used, 0] = position
    nodes[used, 1] = pairs[pair, NODE]
    pairs[pair, NODE] = used
    return used + 1


@inner_kernel
def store_nodes(inner, begin, end, inner_unit, table, keys, values, pairs, nodes, used):
    """Put all pairs inside the composite units between two slots into the lists."""
    p = np.int64(begin)
    while p + 1 < end:
        q = next_slot(inner, p)
        if inner[p] >= 0 and inner[q] >= 0 and table[inner_unit[p], WEIGHT] > 0:
            at = find(keys, pair_key(np.int64(inner[p]), np.int64(inner[q])))
            if keys[at] != EMPTY:
                used = add_node(pairs, nodes, used, np.int64(values[at]), p)
        p = q
    return used


@inner_kernel
def changed(side, token, old, new, weight, border, step, tally, touched, num_touched):
    """A pair has changed: (token, old) to (token, new) on side 0, (old, token) to (new, token) on 1.

    `border` is 1 where it lies across units, else 0. The pair (new, new) is kept on side 0.
    """
    if token == new:
        # It was made in this very step, with the old token in the place of the second new one.
        tally[1 - side, old, GAIN] -= weight
        tally[1 - side, old, BORDERS] -= border
        side = 0
    else:
        tally[side, token, LOSS] += weight
    tally[side, token, GAIN] += weight
    tally[side, token, BORDERS] += border
    if tally[side, token, STEP] != step:
        tally[side, token, STEP] = step
        touched[side, num_touched[side]] = token
        num_touched[side] += 1


@inner_kernel
def take_away(x, y, threshold, keys, values, pairs, tally, touched, num_touched):
    """Lower the counts of the pairs that broke up; room that the new ones need for positions."""
    needed = np.int64(0)
    for side in range(2):
        for i in range(num_touched[side]):
            token = np.int64(touched[side, i])
            loss = tally[side, token, LOSS]
            if loss > 0:
                slot = find(keys, pair_key(token, x) if side == 0 else pair_key(y, token))
                if keys[slot] != EMPTY:
                    pairs[values[slot], COUNT] -= loss
                tally[side, token, LOSS] = 0
            if tally[side, token, GAIN] >= threshold:
                needed += tally[side, token, BORDERS]
    return needed


@inner_kernel
def make_pairs(
    new, threshold, constrained, structure, lengths, max_length,
    keys, values, pairs, num_pairs, heap, heap_size, used, tally, touched, num_touched,
):  # fmt: skip
    """Make the pairs with the new token that reach the threshold; there is room for all."""
    for side in range(2):
        for i in range(num_touched[side]):
            token = np.int64(touched[side, i])
            count, borders = tally[side, token, GAIN], tally[side, token, BORDERS]
            tally[side, token, GAIN] = 0
            tally[side, token, BORDERS] = 0
            left, right = (token, np.int64(new)) if side == 0 else (np.int64(new), token)
            if count < threshold or not possible(left, right, constrained, structure, lengths, max_length):
                continue
            key = pair_key(left, right)
            slot = find(keys, key)
            keys[slot] = key
            values[slot] = num_pairs
            pairs[num_pairs, KEY] = key
            pairs[num_pairs, COUNT] = count
            pairs[num_pairs, SEEN] = count
            pairs[num_pairs, BLOCK] = used
            pairs[num_pairs, FILLED] = 0
            pairs[num_pairs, NODE] = -1
            used += borders
            tally[side, token, MADE] = num_pairs
            heap[heap_size] = num_pairs
            sift_up(heap, pairs, heap_size)
            heap_size += 1
            num_pairs += 1
    return num_pairs, heap_size, used


@inner_kernel
def fill_positions(units, size, new, where, begin, end, tally, pairs, pool):
    """Store the positions of the pairs that were made, at plain units that are the new token."""
    for j in range(begin, end):
        p = np.int64(where[j])
        if units[p] != new:
            continue
        q = previous_slot(units, p)
        token = units[q]
        if 0 <= token < size and tally[0, token, MADE] >= 0:
            pair = tally[0, token, MADE]
            pool[pairs[pair, BLOCK] + pairs[pair, FILLED]] = q
            pairs[pair, FILLED] += 1
        token = units[next_slot(units, p)]
        if 0 <= token < size and token != new and tally[1, token, MADE] >= 0:
            pair = tally[1, token, MADE]
            pool[pairs[pair, BLOCK] + pairs[pair, FILLED]] = p
            pairs[pair, FILLED] += 1


@inner_kernel
def fill_nodes(inner, inside, num_joined, before, new, tally, pairs, nodes, used):
    """The same inside composite units that are older than slot `before`."""
    if used + 2 * num_joined > nodes.shape[0]:
        nodes = grow_rows(nodes, (used + 2 * num_joined) * 3 // 2)
    for i in range(num_joined):
        p = np.int64(inside[i])
        if p >= before:
            continue
        q = previous_slot(inner, p)
        if inner[q] >= 0 and tally[0, inner[q], MADE] >= 0:
            used = add_node(pairs, nodes, used, tally[0, inner[q], MADE], q)
        token = inner[next_slot(inner, p)]
        if token >= 0 and token != new and tally[1, token, MADE] >= 0:
            used = add_node(pairs, nodes, used, tally[1, token, MADE], p)
    return nodes, used
