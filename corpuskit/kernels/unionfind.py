"""Connected components of a graph given as two arrays of end points."""

from __future__ import annotations

from corpuskit.kernels.compiler import kernel


@kernel
def find(parents, node):
    """The root of `node`; halves the path on the way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@kernel
def connect(parents, left, right):
    """Join the components of all edges; afterwards ``parents[i]`` is the smallest node of i's.

    Parameters
    ----------
    parents : int64[nodes]
        ``arange(nodes)`` on entry.
    left, right : int64[edges]
    """
    for edge in range(left.size):
        a = find(parents, left[edge])
        b = find(parents, right[edge])
        # The smaller root wins, so the result does not depend on the order of the edges.
        if a < b:
            parents[b] = a
        elif b < a:
            parents[a] = b
    for node in range(parents.size):
        parents[node] = find(parents, node)
