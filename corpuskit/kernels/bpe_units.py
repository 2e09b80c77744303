"""Units of a merge training: where a pair stands in them, and joining it there.

See `corpuskit.kernels.bpe_merging` for what plain and composite units are. Composite unit u is written
``size + u`` in the sequence of units.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.bpe_pairs import changed
from corpuskit.kernels.bpe_tables import (
    CHANGED,
    EMPTY,
    FIRST,
    LAST,
    NUM_PLACES,
    ONE,
    PLACES,
    SEPARATOR,
    START,
    WEIGHT,
    ZERO,
    find,
    grow,
    grow_rows,
    grow_table,
    inner_kernel,
    join,
    next_slot,
    pair_key,
    previous_slot,
    range_of,
    sort_first,
)


@inner_kernel
def describe_units(units, bounds, range_weights, inner, unit_starts, size):
    """The table of composite units, their tokens with room for more, and where they occur."""
    num_units = unit_starts.size
    table = np.zeros((num_units + 1024, 7), np.int64)
    used = np.int64(inner.size)
    inner = grow(inner, used + 4096)
    inner_unit = np.empty(inner.size, np.int32)
    for u in range(num_units):
        p = unit_starts[u]
        table[u, START] = p
        table[u, FIRST] = inner[p]
        while inner[p] >= 0:
            inner_unit[p] = u
            table[u, LAST] = inner[p]
            p += 1
    r = ZERO
    for p in range(units.size):
        u = units[p] - size
        if u >= 0:
            r = range_of(bounds, r, np.int64(p))
            table[u, WEIGHT] += range_weights[r]
            table[u, NUM_PLACES] += 1
    places = np.int64(0)
    for u in range(num_units):
        table[u, PLACES] = places
        places += table[u, NUM_PLACES]
        table[u, NUM_PLACES] = 0
    occurrences = np.empty(places, np.int32)
    for p in range(units.size):
        u = units[p] - size
        if u >= 0:
            occurrences[table[u, PLACES] + table[u, NUM_PLACES]] = p
            table[u, NUM_PLACES] += 1
    return table, num_units, inner, used, inner_unit, occurrences


@inner_kernel
def _end_token(unit, size, table, end):
    """The first or last token (`end`) of a unit; a separator is its own."""
    return np.int64(unit) if unit < size else table[unit - size, end]


@inner_kernel
def find_pair(
    x, y, count, units, size, bounds, range_weights, inner, inner_unit, table, num_units,
    occurrences, nodes, node, pool, begin, num_stored,
):  # fmt: skip
    """Where a pair stands: slots of the left unit across units, slots inside composite units."""
    inside = np.empty(16, np.int32)
    num_inside = 0
    found = np.int64(0)
    while node >= 0:
        p = np.int64(nodes[node, 0])
        if inner[p] == x and inner[next_slot(inner, p)] == y:
            if num_inside == inside.size:
                inside = grow(inside, num_inside * 2)
            inside[num_inside] = p
            num_inside += 1
            found += table[inner_unit[p], WEIGHT]
        node = np.int64(nodes[node, 1])
    across = np.empty(num_stored, np.int32)
    num_across = 0
    r = ZERO
    for i in range(begin, begin + num_stored):
        p = np.int64(pool[i])
        if units[p] == x and units[next_slot(units, p)] == y:
            r = range_of(bounds, r, p)
            found += range_weights[r]
            across[num_across] = p
            num_across += 1
    if found != count:  # the rest is at the borders of composite units
        for u in range(num_units):
            if table[u, WEIGHT] <= 0:
                continue
            for end in (LAST, FIRST):
                if table[u, end] != (x if end == LAST else y):
                    continue
                for i in range(table[u, PLACES], table[u, PLACES] + table[u, NUM_PLACES]):
                    p = np.int64(occurrences[i])
                    if units[p] != u + size:
                        continue
                    if end == LAST:
                        met = _end_token(np.int64(units[next_slot(units, p)]), size, table, FIRST) == y
                    else:
                        p = previous_slot(units, p)
                        met = _end_token(np.int64(units[p]), size, table, LAST) == x
                    if met:
                        if num_across == across.size:
                            across = grow(across, num_across * 2 + 64)
                        across[num_across] = p
                        num_across += 1
    if x == y:
        sort_first(across, np.int64(num_across))
    return across, num_across, inside, num_inside


@inner_kernel
def _trailing_run(inner, position, token):
    """How many times `token` stands in a row at the end of the composite unit that begins at a slot."""
    run = 0
    while inner[position] >= 0:
        run = run + 1 if inner[position] == token else 0
        position = next_slot(inner, position)
    return run


@inner_kernel
def _last_but_one(inner, position):
    token = np.int64(inner[position])
    position = next_slot(inner, position)
    while inner[next_slot(inner, position)] >= 0:
        token = np.int64(inner[position])
        position = next_slot(inner, position)
    return token


@inner_kernel
def _num_slots(inner, table, size, unit):
    if unit < size:
        return np.int64(1)
    begin = table[unit - size, START]
    position = begin
    while inner[position] >= 0:
        position = next_slot(inner, position)
    return position - begin


@inner_kernel
def _fuse(inner, used, inner_unit, number, table, size, left, right, new):
    """Write the tokens of two units, joined in the middle, as composite unit `number`."""
    write = used
    if left >= size:
        position = table[left - size, START]
        following = next_slot(inner, position)
        while inner[following] >= 0:
            inner[write] = inner[position]
            write += 1
            position = following
            following = next_slot(inner, position)
    inner[write] = new
    write += 1
    if right >= size:
        position = next_slot(inner, table[right - size, START])
        while inner[position] >= 0:
            inner[write] = inner[position]
            write += 1
            position = next_slot(inner, position)
    for i in range(used, write):
        inner_unit[i] = number
    inner[write] = SEPARATOR
    table[number, START] = used
    table[number, FIRST] = inner[used]
    table[number, LAST] = inner[write - 1]
    return write + 1


@inner_kernel
def join_across(
    x, y, new, step, across, num_across, units, size, bounds, range_weights,
    table, num_units, inner, inner_used, inner_unit, fused_keys, fused_units, occurrences,
    tally, touched, num_touched,
):  # fmt: skip
    """Join a pair across units, left to right where its tokens are the same.

    `across` becomes the slots of what was made. Two plain units become the new token; others a
    composite unit, the same one for the same two units.
    """
    before = num_units
    num_joined = 0
    r = ZERO
    for i in range(num_across):
        p = np.int64(across[i])
        met = False
        while True:  # the unit that this makes may end in the pair's left token again
            a = np.int64(units[p])
            if a < 0 or _end_token(a, size, table, LAST) != x:
                break
            q = next_slot(units, p)
            b = np.int64(units[q])
            if b < 0 or _end_token(b, size, table, FIRST) != y:
                break
            if x == y and a >= size and _trailing_run(inner, table[a - size, START], x) & 1 == 0:
                break  # those merge among themselves
            r = range_of(bounds, r, p)
            weight = range_weights[r]
            end = next_slot(units, q)
            for side in range(2):
                unit = a if side == 0 else b
                border = ONE if unit < size else ZERO
                if unit >= size:
                    table[unit - size, WEIGHT] -= weight
                    if side == 0:
                        token = _last_but_one(inner, table[unit - size, START])
                    else:
                        token = np.int64(inner[next_slot(inner, table[unit - size, START])])
                elif side == 0:
                    token = _end_token(np.int64(units[previous_slot(units, p)]), size, table, LAST)
                else:
                    token = _end_token(np.int64(units[end]), size, table, FIRST)
                if token >= 0:
                    old = x if side == 0 else y
                    changed(side, token, old, new, weight, border, step, tally, touched, num_touched)
            result = new
            if a >= size or b >= size:
                key = pair_key(a, b)
                slot = find(fused_keys, key)
                if fused_keys[slot] == EMPTY:
                    if num_units == table.shape[0]:
                        table = grow_rows(table, num_units * 2)
                    needed = inner_used + _num_slots(inner, table, size, a)
                    needed += _num_slots(inner, table, size, b) + 2
                    if needed > inner.size:
                        inner = grow(inner, needed * 2)
                        inner_unit = grow(inner_unit, inner.size)
                    inner_used = _fuse(inner, inner_used, inner_unit, num_units, table, size, a, b, new)
                    fused_keys[slot] = key
                    fused_units[slot] = num_units
                    num_units += 1
                    if num_units * 2 > fused_keys.size:
                        fused_keys, fused_units = grow_table(fused_keys, fused_units)
                        slot = find(fused_keys, key)
                u = np.int64(fused_units[slot])
                table[u, WEIGHT] += weight
                table[u, NUM_PLACES] += 1
                result = u + size
            join(units, p, q, end, result)
            met = True
            if result == new:
                break
        if met:
            across[num_joined] = p
            num_joined += 1
    if num_units > before:
        places = ZERO
        if before > 0:
            places = table[before - 1, PLACES] + table[before - 1, NUM_PLACES]
        for number in range(before, num_units):
            table[number, PLACES] = places
            places += table[number, NUM_PLACES]
            table[number, NUM_PLACES] = 0
        if places > occurrences.size:
            occurrences = grow(occurrences, places + (places >> 3))
        for i in range(num_joined):
            number = units[across[i]] - size
            if number >= before:
                occurrences[table[number, PLACES] + table[number, NUM_PLACES]] = across[i]
                table[number, NUM_PLACES] += 1
    return num_joined, table, num_units, inner, inner_used, inner_unit, fused_keys, fused_units, occurrences


@inner_kernel
def join_inside(
    x, y, new, step, inside, num_inside, inner, inner_before, inner_used, inner_unit, table,
    tally, touched, num_touched,
):  # fmt: skip
    """Join a pair inside composite units, those from slot `inner_before` on among them.

    Returns the slots of what was made, how many, and the units whose ends changed, how many.
    """
    for slot in range(inner_before, inner_used - 1):
        if inner[slot] == x and inner[slot + 1] == y:
            if num_inside == inside.size:
                inside = grow(inside, num_inside * 2)
            inside[num_inside] = slot
            num_inside += 1
    if x == y:
        sort_first(inside, np.int64(num_inside))
    altered = np.empty(num_inside, np.int32)
    num_altered = 0
    num_joined = 0
    for i in range(num_inside):
        p = np.int64(inside[i])
        if inner[p] != x:
            continue
        q = next_slot(inner, p)
        if inner[q] != y:
            continue
        u = inner_unit[p]
        end = next_slot(inner, q)
        flag = 0
        for side in range(2):
            token = np.int64(inner[previous_slot(inner, p)] if side == 0 else inner[end])
            if token >= 0:
                old = x if side == 0 else y
                changed(side, token, old, new, table[u, WEIGHT], ZERO, step, tally, touched, num_touched)
            else:
                flag |= 1 << side
        join(inner, p, q, end, new)
        inside[num_joined] = p
        num_joined += 1
        if flag:
            if table[u, CHANGED] == 0:
                altered[num_altered] = u
                num_altered += 1
            table[u, CHANGED] |= flag
    return inside, num_joined, altered, num_altered


@inner_kernel
def ends_changed(
    u,
    x,
    y,
    new,
    step,
    units,
    size,
    bounds,
    range_weights,
    inner,
    table,
    occurrences,
    tally,
    touched,
    num_touched,
):
    """Change the pairs across the borders of a unit whose ends have changed.

    A unit that is one token now becomes a plain one; True is returned for it.
    """
    plain = inner[next_slot(inner, table[u, START])] < 0
    r = ZERO
    for side in (1, 0):
        if (plain and side == 1) or table[u, CHANGED] & (1 << side) == 0:
            continue
        write = table[u, PLACES]
        for i in range(table[u, PLACES], table[u, PLACES] + table[u, NUM_PLACES]):
            p = np.int64(occurrences[i])
            if units[p] != u + size:
                continue
            occurrences[write] = p
            write += 1
            r = range_of(bounds, r, p)
            if side == 1 or plain:
                token = _end_token(np.int64(units[next_slot(units, p)]), size, table, FIRST)
                if token >= 0:
                    changed(ONE, token, y, new, range_weights[r], ONE, step, tally, touched, num_touched)
            if plain:
                units[p] = new
            if side == 0:
                token = _end_token(np.int64(units[previous_slot(units, p)]), size, table, LAST)
                if token >= 0:
                    changed(ZERO, token, x, new, range_weights[r], ONE, step, tally, touched, num_touched)
        table[u, NUM_PLACES] = write - table[u, PLACES]
        table[u, FIRST if side == 0 else LAST] = new
    table[u, CHANGED] = 0
    if plain:
        table[u, WEIGHT] = 0
    return plain
