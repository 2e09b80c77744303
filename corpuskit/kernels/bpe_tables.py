"""What byte-pair merging stands on: tables of pairs, a heap, and sequences that shrink in place.

A merged-away slot of a sequence stays where it is and holds minus the length of its token, at the
token's second and last slot, so neighbours are found in constant time without linked lists.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel

SEPARATOR = -1
_DEAD = -2
EMPTY = -1

ZERO, ONE = np.int64(0), np.int64(1)

# Columns of the table of pairs, int64[pairs, 6]: the pair, its count, the count the heap knows, its
# block of the pool of positions, how much of that is filled, its first node inside composite units.
KEY, COUNT, SEEN, BLOCK, FILLED, NODE = range(6)

# Columns of the table of composite units, int64[units, 7]: where their tokens begin, the first and last
# of them, how often the unit occurs, its block of occurrences, how many those are, which ends changed.
START, FIRST, LAST, WEIGHT, PLACES, NUM_PLACES, CHANGED = map(np.int64, range(7))

# Columns of the tally of one merge, int64[2, tokens, 5], by side (0: pairs (token, new), 1: (new, token))
# and token: weight gained by the pair with the new token, lost by the one before it, places across
# units, the last step to touch this, and the number of the pair made (-1: none).
GAIN, LOSS, BORDERS, STEP, MADE = range(5)

HASH_MIX = np.uint64(0x9E3779B97F4A7C15)
HASH_SHIFT = np.uint64(29)

# For kernels that only kernels call: no wrappers to call them from Python. numba compiles one anew for each
# literal argument and each width of integer, so callers pass variables or np.int64.
inner_kernel = kernel(no_cpython_wrapper=True, no_cfunc_wrapper=True)


@inner_kernel
def pair_key(left, right):
    """Two ids in one number."""
    return (np.int64(left) << 32) | np.int64(right)


@inner_kernel
def find(keys, key):
    """Slot of `key` in an open-addressing table, or the empty slot where it belongs."""
    mask = keys.size - 1
    slot = np.int64((np.uint64(key) * HASH_MIX) >> HASH_SHIFT) & mask
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@inner_kernel
def grow(array, size):
    """A copy with room for `size` items."""
    larger = np.empty(size, array.dtype)
    for i in range(array.size):  # assigning a slice compiles two seconds of code for its error message
        larger[i] = array[i]
    return larger


@inner_kernel
def grow_rows(array, rows):
    """A copy with room for `rows` rows, those added zero."""
    larger = np.zeros((rows, array.shape[1]), array.dtype)
    for i in range(array.shape[0]):
        for j in range(array.shape[1]):
            larger[i, j] = array[i, j]
    return larger


@inner_kernel
def empty_keys(size):
    """The keys of an open-addressing table with nothing in it."""
    keys = np.empty(size, np.int64)
    for i in range(size):
        keys[i] = EMPTY
    return keys


@inner_kernel
def grow_table(keys, values):
    """The same table with twice the slots."""
    new_keys = empty_keys(keys.size * 2)
    new_values = np.empty(keys.size * 2, values.dtype)
    for i in range(keys.size):
        if keys[i] != EMPTY:
            slot = find(new_keys, keys[i])
            new_keys[slot] = keys[i]
            new_values[slot] = values[i]
    return new_keys, new_values


@inner_kernel
def add_count(keys, sums, filled, key, weight):
    """Add to a sum in a table; the number of keys afterwards."""
    slot = find(keys, key)
    if keys[slot] == EMPTY:
        keys[slot] = key
        sums[slot] = 0
        filled += 1
    sums[slot] += weight
    return filled


@kernel
def find_known(known, value):
    """Slot of a non-zero hash in an open-addressing set, or the empty (0) slot where it belongs."""
    mask = known.size - 1
    slot = np.int64((value * HASH_MIX) >> HASH_SHIFT) & mask
    while known[slot] != 0 and known[slot] != value:
        slot = (slot + 1) & mask
    return slot


@inner_kernel
def next_slot(symbols, position):
    """Where the symbol after the one at `position` begins."""
    following = symbols[position + 1]
    return position - following if following <= _DEAD else position + 1


@inner_kernel
def previous_slot(symbols, position):
    """Where the symbol before the one at `position` begins."""
    before = symbols[position - 1]
    return position + before if before <= _DEAD else position - 1


@inner_kernel
def join(symbols, p, q, end, new):
    """Put `new` in place of the symbols at p and q; the next begins at `end`."""
    symbols[p] = new
    symbols[q] = _DEAD
    symbols[p + 1] = p - end
    symbols[end - 1] = p - end


@inner_kernel
def range_of(bounds, current, position):
    """The range (bounds[i] to bounds[i + 1]) that holds a position, tried first near `current`."""
    if position >= bounds[current]:
        if position < bounds[current + 1]:
            return current
        if position < bounds[current + 2]:
            return current + 1
    low, high = 0, bounds.size - 2
    while high - low > 1:
        middle = (low + high) >> 1
        if position < bounds[middle]:
            high = middle
        else:
            low = middle
    return low


@inner_kernel
def clear_tally(tally):
    """Nothing gained, lost or made."""
    for side in range(2):
        for token in range(tally.shape[1]):
            for column in range(tally.shape[2]):
                tally[side, token, column] = 0
            tally[side, token, MADE] = -1


@inner_kernel
def _before(pairs, one, other):
    if pairs[one, SEEN] != pairs[other, SEEN]:
        return pairs[one, SEEN] > pairs[other, SEEN]
    return pairs[one, KEY] < pairs[other, KEY]


@inner_kernel
def sift_down(heap, size, pairs, node):
    """Restore the heap below a node whose count fell."""
    item = heap[node]
    while True:
        child = 2 * node + 1
        if child >= size:
            break
        if child + 1 < size and _before(pairs, heap[child + 1], heap[child]):
            child += 1
        if not _before(pairs, heap[child], item):
            break
        heap[node] = heap[child]
        node = child
    heap[node] = item


@inner_kernel
def sift_up(heap, pairs, node):
    """Restore the heap above a new node."""
    item = heap[node]
    while node > 0:
        parent = (node - 1) >> 1
        if not _before(pairs, item, heap[parent]):
            break
        heap[node] = heap[parent]
        node = parent
    heap[node] = item


@inner_kernel
def combine(lead, whole, missing, left, right):
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


@inner_kernel
def sort_first(values, count):
    """Sort the first `count` numbers in place (heapsort: a tenth of the code of numpy's sort)."""
    node = count // 2
    end = count
    while end > 1:
        if node > 0:
            node -= 1
        else:
            end -= 1
            values[0], values[end] = values[end], values[0]
        at = node
        item = values[at]
        while 2 * at + 1 < end:
            child = 2 * at + 1
            if child + 1 < end and values[child + 1] > values[child]:
                child += 1
            if values[child] <= item:
                break
            values[at] = values[child]
            at = child
        values[at] = item
