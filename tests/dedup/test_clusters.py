"""Candidate pairs, clusters and the pair lookup against plain Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.dedup.clusters import Pairs, candidate_pairs, components, decide, lookup_pairs, unique_pairs

U64 = st.integers(0, 2**64 - 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=30), st.integers(2, 6))
def test_buckets_yield_a_star_and_neighbours_and_giant_ones_only_the_star(rows, max_bucket):
    hashes = np.array([r[0] for r in rows], np.uint64)
    priority = np.array([r[1] for r in rows], np.uint64)
    ordinal = np.arange(len(rows), dtype=np.uint64) + np.uint64(2**40)
    pairs, counts = candidate_pairs(hashes, priority, ordinal, max_bucket)
    buckets = {}
    for h, _, o in sorted(zip(hashes.tolist(), priority.tolist(), ordinal.tolist())):
        buckets.setdefault(h, []).append(o)
    expected = set()
    for bucket in buckets.values():
        expected |= {(bucket[0], other) for other in bucket[1:]}
        if len(bucket) <= max_bucket:
            expected |= set(pairwise(bucket[1:]))
    assert list(zip(pairs.left.tolist(), pairs.right.tolist())) == sorted(expected)
    sizes = [len(b) for b in buckets.values() if len(b) > 1]
    assert (counts.buckets, counts.bucket_documents) == (len(sizes), sum(sizes))
    assert counts.giant_buckets == sum(s > max_bucket for s in sizes)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=30),
    st.integers(2, 6),
    st.integers(0, 30),
)
def test_old_documents_come_first_and_have_no_edges_with_each_other(rows, max_bucket, num_old):
    hashes = np.array([r[0] for r in rows], np.uint64)
    priority = np.array([r[1] for r in rows], np.uint64)
    ordinal = np.arange(len(rows), dtype=np.uint64)
    pairs, counts = candidate_pairs(hashes, priority, ordinal, max_bucket, new_from=num_old)
    # As if one corpus had been put in this order: old before new, then by priority.
    order = np.lexsort((ordinal, priority, ordinal >= num_old))
    rank = np.empty(len(rows), np.uint64)
    rank[order] = np.arange(len(rows))
    together, _ = candidate_pairs(hashes, rank, ordinal, max_bucket)
    wanted = [(a, b) for a, b in zip(together.left.tolist(), together.right.tolist()) if max(a, b) >= num_old]
    assert list(zip(pairs.left.tolist(), pairs.right.tolist())) == wanted
    new_keys = set(hashes[num_old:].tolist())
    sizes = [n for key, n in zip(*np.unique(hashes, return_counts=True)) if n > 1 and int(key) in new_keys]
    assert (counts.buckets, counts.bucket_documents) == (len(sizes), sum(sizes))


def test_from_a_cluster_with_old_documents_only_new_ones_go():
    documents = pa.table(
        {
            "ordinal": np.array([0, 1, 10, 11, 12], np.uint64),
            "id": ["o1", "o0", "n0", "n1", "n2"],
            "characters": [5, 6, 9, 8, 7],
            "date": pa.nulls(5, pa.string()),
            "quality": pa.nulls(5, pa.float64()),
        }
    )
    decided = decide(np.array([0, 0, 0, 1, 1]), documents, "longest", new_from=10)
    assert decided.column("id").to_pylist() == ["n0", "n2"]
    assert decided.column("duplicate_of").to_pylist() == ["o0", "n1"]
    assert decided.column("cluster_size").to_pylist() == [3, 2]


@given(st.lists(st.tuples(U64, U64, st.floats(0, 1)), max_size=20), st.lists(st.tuples(U64, U64), max_size=5))
def test_lookup_finds_pairs_in_either_orientation(known, absent):
    known = list({frozenset(k[:2]): k for k in known}.values())
    table = {frozenset(k[:2]): k[2] for k in known}
    pairs = Pairs(*(np.array([k[i] for k in known], np.uint64) for i in (0, 1)))
    asked = [k[:2] for k in known] + [k[1::-1] for k in known] + absent
    left, right = (np.array([a[i] for a in asked], np.uint64) for i in (0, 1))
    found = lookup_pairs(pairs, np.array([k[2] for k in known], float), left, right)
    expected = [table.get(frozenset(a), np.nan) for a in asked]
    np.testing.assert_array_equal(found, np.array(expected, float))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=25), st.randoms())
def test_components_do_not_depend_on_the_order_of_the_pairs(edges, rng):
    def run(edges):
        pairs = Pairs(*(np.array([e[i] for e in edges], np.uint64) << np.uint64(33) for i in (0, 1)))
        nodes, roots = components(pairs)
        return nodes.tolist(), roots.tolist()

    expected = run(edges)
    rng.shuffle(edges)
    assert run(edges) == expected


def test_pairs_become_unique_and_sorted():
    a = Pairs(np.array([5, 1], np.uint64), np.array([6, 2], np.uint64))
    b = Pairs(np.array([1, 1], np.uint64), np.array([2, 9], np.uint64))
    left, right = unique_pairs([a, b])
    assert list(zip(left.tolist(), right.tolist())) == [(1, 2), (1, 9), (5, 6)]
