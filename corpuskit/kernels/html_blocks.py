"""Sums and marks over the tree of a page's block elements, as parents' rows come before their children's."""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel


@kernel
def inherit(parents, bits):
    """Give every block the bits of its ancestors, in place (`parents` int32[:], `bits` int32[:])."""
    for i in range(1, parents.size):
        bits[i] |= bits[parents[i]]


@kernel
def sum_up(parents, values):
    """Add every block's value to its ancestors', in place (float64[:])."""
    for i in range(parents.size - 1, 0, -1):
        values[parents[i]] += values[i]


@kernel
def weigh(parents, prose, links, other, balance, data_characters, data_link_share, data_weight):
    """Sum up prose, links, other and balance over subtrees, in place (float64[:] each).

    A block is *data* (a table or list of short items) where `other` is at least `data_characters` and
    outweighs prose, and links are less than `data_link_share` of it; its balance is then at least
    ``prose + data_weight * other``.

    Returns
    -------
    bool[:]
        Which blocks are data.
    """
    is_data = np.zeros(parents.size, np.bool_)
    for i in range(parents.size - 1, -1, -1):
        is_data[i] = (
            other[i] >= data_characters and prose[i] < other[i] and links[i] < data_link_share * other[i]
        )
        if i == 0:
            break
        if is_data[i]:
            balance[i] = max(balance[i], prose[i] + data_weight * other[i])
        parent = parents[i]
        prose[parent] += prose[i]
        links[parent] += links[i]
        other[parent] += other[i]
        balance[parent] += balance[i]
    return is_data


@kernel
def keep_below(parents, best, prose, links, other, is_data):
    """Which blocks of the subtree at `best` are kept, and which of those lie in data.

    A block goes, with all below it, where links outweigh its prose and half of its other text.
    """
    kept = np.zeros(parents.size, np.bool_)
    in_data = np.zeros(parents.size, np.bool_)
    kept[best] = True
    for i in range(best + 1, parents.size):
        if kept[parents[i]]:
            kept[i] = not (links[i] > prose[i] and links[i] > 0.5 * other[i])
            in_data[i] = kept[i] and (in_data[parents[i]] or is_data[i])
    return kept, in_data
