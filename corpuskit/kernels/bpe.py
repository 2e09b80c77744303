"""Byte-pair merging over flat token arrays, with incremental pair counts.

No library continues training from existing merges, so this trainer starts from any tokens. Text
lies in one int32 array as *segments* (runs of tokens inside which merges may happen), each between
two separators. A merged-away slot stays where it is and holds minus the length of its token, at the
token's second and last slot, so neighbours are found in constant time without linked lists.

Two facts keep it small. All occurrences of a pair come into being in the one step that makes the
younger of its two tokens, so a pair's positions are one block of a pool, written once; and a
pair's count only falls afterwards, so a pair rarer than `min_count` at birth is never stored and
a heap with lazily refreshed counts yields the true maximum.

The rule of choice: highest count, then smallest left id, then smallest right id. A count is the
weighted number of adjacent positions (``aaa`` holds ``aa`` twice); counts are int64.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel

SEPARATOR = -1
_DEAD = -2
_EMPTY = -1
HASH_MIX = np.uint64(0x9E3779B97F4A7C15)
HASH_SHIFT = np.uint64(29)


@kernel
def _find(keys, key):
    """Slot of `key` in an open-addressing table, or the empty slot where it belongs."""
    mask = keys.size - 1
    slot = np.int64((np.uint64(key) * HASH_MIX) >> HASH_SHIFT) & mask
    while keys[slot] != _EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def _grow(array, size):
    larger = np.empty(size, array.dtype)
    larger[: array.size] = array
    return larger


@kernel
def _grow_table(keys, values):
    new_keys = np.full(keys.size * 2, _EMPTY, np.int64)
    new_values = np.empty(keys.size * 2, np.int32)
    for i in range(keys.size):
        if keys[i] != _EMPTY:
            slot = _find(new_keys, keys[i])
            new_keys[slot] = keys[i]
            new_values[slot] = values[i]
    return new_keys, new_values


@kernel
def add_known(known, value):
    """Insert a non-zero hash; False if it was there."""
    mask = known.size - 1
    slot = np.int64((value * HASH_MIX) >> HASH_SHIFT) & mask
    while known[slot] != 0:
        if known[slot] == value:
            return False
        slot = (slot + 1) & mask
    known[slot] = value
    return True


@kernel
def _combine(lead, whole, missing, left, right):
    """Character structure of left + right: (allowed, lead, whole, missing).

    A token is `lead` continuation bytes, then whole characters or none, then a prefix of a
    character with `missing` bytes to come. Allowed are whole characters, or a prefix of one.
    """
    if missing[left] == 0:
        if lead[right] != 0:
            return False, 0, 0, 0
        new_whole, new_missing = whole[left] | whole[right], missing[right]
    elif lead[right] == missing[left]:
        new_whole, new_missing = 1, missing[right]
    elif lead[right] == 0 or lead[right] > missing[left] or whole[right] != 0 or missing[right] != 0:
        return False, 0, 0, 0
    else:
        new_whole, new_missing = whole[left], missing[left] - lead[right]
    allowed = lead[left] == 0 and (new_missing == 0 or new_whole == 0)
    return allowed, lead[left], new_whole, new_missing


@kernel
def _before(seen, pair_keys, one, other):
    if seen[one] != seen[other]:
        return seen[one] > seen[other]
    return pair_keys[one] < pair_keys[other]


@kernel
def _sift_down(heap, size, seen, pair_keys, node):
    item = heap[node]
    while True:
        child = 2 * node + 1
        if child >= size:
            break
        if child + 1 < size and _before(seen, pair_keys, heap[child + 1], heap[child]):
            child += 1
        if not _before(seen, pair_keys, heap[child], item):
            break
        heap[node] = heap[child]
        node = child
    heap[node] = item


@kernel
def _sift_up(heap, seen, pair_keys, node):
    item = heap[node]
    while node > 0:
        parent = (node - 1) >> 1
        if not _before(seen, pair_keys, item, heap[parent]):
            break
        heap[node] = heap[parent]
        node = parent
    heap[node] = item


@kernel
def _next(symbols, position):
    following = symbols[position + 1]
    return position - following if following <= _DEAD else position + 1


@kernel
def _previous(symbols, position):
    before = symbols[position - 1]
    return position + before if before <= _DEAD else position - 1


@kernel
def _compact(pool, used, starts, lengths, counts, num_pairs, min_count):
    """Move the blocks of live pairs to the front of the pool; blocks lie in order of pair number."""
    write = 0
    for pair in range(num_pairs):
        if counts[pair] < min_count:
            lengths[pair] = 0
            continue
        first = starts[pair]
        starts[pair] = write
        for i in range(lengths[pair]):
            pool[write + i] = pool[first + i]
        write += lengths[pair]
    return write


@kernel
def continue_merges(
    symbols, weights, lead, whole, missing, hashes, powers, known, first_new, num_new, min_count
):
    """Learn up to `num_new` merges on counted segments.

    Parameters
    ----------
    symbols : int32[n]
        Segments between separators, one separator first and one last; overwritten.
    weights : int64[segments]
        How often each segment occurs, in the order in which they lie in `symbols`.
    lead, whole, missing : int8[first_new + num_new]
        Character structure of each token (see `_combine`); the new tokens' are filled in.
    hashes, powers : uint64[first_new + num_new]
        Polynomial hash of each token's bytes and the base to the power of their number; the hash
        of a concatenation is ``hash(left) * power(right) + hash(right)``.
    known : uint64[power of two]
        Open-addressing set of the (non-zero) hashes that no new token may have, 0 where empty,
        less than half full with `num_new` more.
    first_new : int
        Id of the first new token.
    num_new : int
        How many to make.
    min_count : int
        Pairs rarer than this are not merged.

    Returns
    -------
    merges : int32[made, 2]
        The pairs, in order; `made` < `num_new` where the segments hold no more.
    merge_counts : int64[made]
        The weighted count of each pair when it was chosen.
    """
    n = symbols.size
    segment_of = np.empty(n, np.int32)
    segment = -1
    for p in range(n):
        segment_of[p] = segment
        if symbols[p] == SEPARATOR:
            segment += 1

    # Count the allowed pairs, then lay out one block of positions for each.
    keys = np.full(1 << 16, _EMPTY, np.int64)
    values = np.empty(1 << 16, np.int32)
    pair_keys = np.empty(1 << 15, np.int64)
    counts = np.zeros(1 << 15, np.int64)
    lengths = np.zeros(1 << 15, np.int64)
    num_pairs = 0
    for p in range(n - 1):
        left, right = symbols[p], symbols[p + 1]
        if left < 0 or right < 0 or not _combine(lead, whole, missing, left, right)[0]:
            continue
        key = (np.int64(left) << 32) | np.int64(right)
        slot = _find(keys, key)
        if keys[slot] == _EMPTY:
            keys[slot] = key
            values[slot] = num_pairs
            if num_pairs == pair_keys.size:
                pair_keys = _grow(pair_keys, num_pairs * 2)
                counts = _grow(counts, num_pairs * 2)
                lengths = _grow(lengths, num_pairs * 2)
            pair_keys[num_pairs] = key
            counts[num_pairs] = 0
            lengths[num_pairs] = 0
            num_pairs += 1
            if num_pairs * 2 > keys.size:
                keys, values = _grow_table(keys, values)
                slot = _find(keys, key)
        pair = values[slot]
        counts[pair] += weights[segment_of[p]]
        lengths[pair] += 1
    starts = np.empty(pair_keys.size, np.int64)
    used = 0
    for pair in range(num_pairs):
        starts[pair] = used
        if counts[pair] >= min_count:
            used += lengths[pair]
        lengths[pair] = 0
    pool = np.empty(max(used + (used >> 2), 1024), np.int32)
    for p in range(n - 1):
        left, right = symbols[p], symbols[p + 1]
        if left < 0 or right < 0:
            continue
        slot = _find(keys, (np.int64(left) << 32) | np.int64(right))
        if keys[slot] != _EMPTY and counts[values[slot]] >= min_count:
            pair = values[slot]
            pool[starts[pair] + lengths[pair]] = p
            lengths[pair] += 1

    seen = counts.copy()
    heap = np.empty(max(num_pairs, 1), np.int32)
    heap_size = 0
    for pair in range(num_pairs):
        if counts[pair] >= min_count:
            heap[heap_size] = pair
            heap_size += 1
    for node in range(heap_size // 2 - 1, -1, -1):
        _sift_down(heap, heap_size, seen, pair_keys, node)

    merges = np.empty((num_new, 2), np.int32)
    merge_counts = np.empty(num_new, np.int64)
    vocabulary = first_new + num_new
    left_weight = np.zeros(vocabulary, np.int64)  # of the pairs (token, new) and (new, token)
    right_weight = np.zeros(vocabulary, np.int64)
    left_length = np.zeros(vocabulary, np.int64)
    right_length = np.zeros(vocabulary, np.int64)
    left_pair = np.full(vocabulary, -1, np.int64)
    right_pair = np.full(vocabulary, -1, np.int64)
    made = 0
    while made < num_new and heap_size > 0:
        top = heap[0]
        if seen[top] != counts[top] and counts[top] >= min_count:
            seen[top] = counts[top]
            _sift_down(heap, heap_size, seen, pair_keys, 0)
            continue
        heap_size -= 1
        heap[0] = heap[heap_size]
        if heap_size > 0:
            _sift_down(heap, heap_size, seen, pair_keys, 0)
        if counts[top] < min_count:
            continue
        left = np.int32(pair_keys[top] >> 32)
        right = np.int32(pair_keys[top] & 0x7FFFFFFF)
        value = hashes[left] * powers[right] + hashes[right]
        if value == 0:
            value = np.uint64(1)
        if not add_known(known, value):
            counts[top] = 0
            continue
        new = np.int32(first_new + made)
        hashes[new] = value
        powers[new] = powers[left] * powers[right]
        _, lead[new], whole[new], missing[new] = _combine(lead, whole, missing, left, right)
        merges[made, 0] = left
        merges[made, 1] = right
        merge_counts[made] = counts[top]
        made += 1

        # First pass: merge left to right, and take away the pairs that the merge breaks up.
        positions = np.empty(lengths[top], np.int32)
        num_positions = 0
        for i in range(starts[top], starts[top] + lengths[top]):
            p = int(pool[i])
            if symbols[p] != left:
                continue
            q = _next(symbols, p)
            if symbols[q] != right:
                continue
            before = symbols[_previous(symbols, p)]
            end = _next(symbols, q)
            after = symbols[end]
            weight = weights[segment_of[p]]
            if before >= 0 and before != new:  # a pair with a new token was taken away already
                slot = _find(keys, (np.int64(before) << 32) | np.int64(left))
                if keys[slot] != _EMPTY:
                    counts[values[slot]] -= weight
            if after >= 0:
                slot = _find(keys, (np.int64(right) << 32) | np.int64(after))
                if keys[slot] != _EMPTY:
                    counts[values[slot]] -= weight
            symbols[p] = new
            symbols[q] = _DEAD
            symbols[p + 1] = p - end
            symbols[end - 1] = p - end
            positions[num_positions] = p
            num_positions += 1
        counts[top] = 0

        # Second pass: count the pairs that the new token forms.
        left_tokens = np.empty(num_positions, np.int32)
        right_tokens = np.empty(num_positions, np.int32)
        num_left = 0
        num_right = 0
        for i in range(num_positions):
            p = int(positions[i])
            weight = weights[segment_of[p]]
            before = symbols[_previous(symbols, p)]
            if before >= 0 and _combine(lead, whole, missing, before, new)[0]:
                if left_length[before] == 0:
                    left_tokens[num_left] = before
                    num_left += 1
                left_length[before] += 1
                left_weight[before] += weight
            after = symbols[_next(symbols, p)]
            if after >= 0 and after != new and _combine(lead, whole, missing, new, after)[0]:
                if right_length[after] == 0:
                    right_tokens[num_right] = after
                    num_right += 1
                right_length[after] += 1
                right_weight[after] += weight

        # Make those that are frequent enough, each with its block of positions.
        needed = np.int64(0)
        for i in range(num_left):
            needed += left_length[left_tokens[i]]
        for i in range(num_right):
            needed += right_length[right_tokens[i]]
        if used + needed > pool.size:
            used = _compact(pool, used, starts, lengths, counts, num_pairs, min_count)
            if used + needed > pool.size - (pool.size >> 3):
                pool = _grow(pool, max(pool.size + (pool.size >> 3), used + needed + (used >> 1)))
        while num_pairs + num_left + num_right > pair_keys.size:
            pair_keys = _grow(pair_keys, pair_keys.size * 2)
            counts = _grow(counts, pair_keys.size)
            seen = _grow(seen, pair_keys.size)
            lengths = _grow(lengths, pair_keys.size)
            starts = _grow(starts, pair_keys.size)
        while (num_pairs + num_left + num_right) * 2 > keys.size:
            keys, values = _grow_table(keys, values)
        while heap_size + num_left + num_right > heap.size:
            heap = _grow(heap, heap.size * 2)
        for i in range(num_left + num_right):
            is_left = i < num_left
            if is_left:
                other = left_tokens[i]
                count, length = left_weight[other], left_length[other]
                key = (np.int64(other) << 32) | np.int64(new)
                left_weight[other] = 0
                left_length[other] = 0
                left_pair[other] = -1
            else:
                other = right_tokens[i - num_left]
                count, length = right_weight[other], right_length[other]
                key = (np.int64(new) << 32) | np.int64(other)
                right_weight[other] = 0
                right_length[other] = 0
                right_pair[other] = -1
            if count < min_count:
                continue
            slot = _find(keys, key)
            keys[slot] = key
            values[slot] = num_pairs
            pair_keys[num_pairs] = key
            counts[num_pairs] = count
            seen[num_pairs] = count
            starts[num_pairs] = used
            lengths[num_pairs] = 0
            used += length
            if is_left:
                left_pair[other] = num_pairs
            else:
                right_pair[other] = num_pairs
            heap[heap_size] = num_pairs
            _sift_up(heap, seen, pair_keys, heap_size)
            heap_size += 1
            num_pairs += 1
        for i in range(num_positions):
            p = int(positions[i])
            at = _previous(symbols, p)
            before = symbols[at]
            if before >= 0 and left_pair[before] >= 0:
                pair = left_pair[before]
                pool[starts[pair] + lengths[pair]] = at
                lengths[pair] += 1
            after = symbols[_next(symbols, p)]
            if after >= 0 and after != new and right_pair[after] >= 0:
                pair = right_pair[after]
                pool[starts[pair] + lengths[pair]] = p
                lengths[pair] += 1
        for i in range(num_left):
            left_pair[left_tokens[i]] = -1
        for i in range(num_right):
            right_pair[right_tokens[i]] = -1
    return merges[:made].copy(), merge_counts[:made].copy()
