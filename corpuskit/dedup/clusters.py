"""From equal keys to clusters, and what is removed from each.

Documents that share a band hash lie in one bucket. A bucket of m documents yields edges from its
first document to each other one and between neighbours: at most 2m - 3, never m². "First" is by an
intrinsic priority (not the place in the input), so the edges, and with them the clusters, do not
depend on the order of the input files. Above `max_bucket` documents only the star is kept: giant
buckets are boilerplate or copies, and their centre is as good a witness as any neighbour.

Documents of an index are old: they come first in every bucket and cluster, whatever the keep rule, and
are never removed, because what was published stays published. A bucket yields the edges that it would
yield if old and new were one corpus in this order, except those between two old documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.dedup.keep import Keep, keep_order
from corpuskit.kernels import unionfind

DECISIONS = pa.schema(
    [
        ("ordinal", pa.uint64()),
        ("id", pa.string()),
        ("kept_ordinal", pa.uint64()),
        ("duplicate_of", pa.string()),
        ("cluster_size", pa.int64()),
        ("similarity", pa.float64()),
        ("direct", pa.bool_()),
    ]
)
"""One row per removed document, sorted by `ordinal`; `duplicate_of` also names the cluster.

`similarity` is null until it has been measured; `direct` tells whether the document itself was
found to be a duplicate of the one kept, not only through others.
"""


@dataclass(frozen=True)
class BucketCounts:
    """How the keys of one partition fell into buckets of two or more documents."""

    buckets: int = 0
    bucket_documents: int = 0
    largest_bucket: int = 0
    giant_buckets: int = 0
    giant_bucket_documents: int = 0

    def __add__(self, other: BucketCounts) -> BucketCounts:
        return BucketCounts(
            self.buckets + other.buckets,
            self.bucket_documents + other.bucket_documents,
            max(self.largest_bucket, other.largest_bucket),
            self.giant_buckets + other.giant_buckets,
            self.giant_bucket_documents + other.giant_bucket_documents,
        )


class Pairs(NamedTuple):
    """Pairs of documents by ordinal (uint64 arrays of equal length)."""

    left: np.ndarray
    right: np.ndarray


def candidate_pairs(
    hashes: np.ndarray, priority: np.ndarray, ordinal: np.ndarray, max_bucket: int, new_from: int = 0
) -> tuple[Pairs, BucketCounts]:
    """Edges between the documents that share a key.

    Parameters
    ----------
    hashes, priority, ordinal : uint64 arrays
        One row per document of one partition.
    max_bucket : int
        Larger buckets yield only their star.
    new_from : int
        Documents with a smaller ordinal are old.

    Returns
    -------
    Pairs
        The document with the smaller priority on the left (an old one before a new one).
    BucketCounts
        Of the buckets with a new document.
    """
    new = ordinal >= np.uint64(new_from)
    if not new.all():
        met = np.isin(hashes, hashes[new])
        hashes, priority, ordinal, new = hashes[met], priority[met], ordinal[met], new[met]
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    shared = np.zeros(len(hashes), bool)
    shared[1:] |= same
    shared[:-1] |= same
    rows = order[shared]
    if not len(rows):
        return Pairs(ordinal[:0], ordinal[:0]), BucketCounts()
    rows = rows[np.lexsort((ordinal[rows], priority[rows], new[rows], hashes[rows]))]
    keys, documents = hashes[rows], ordinal[rows]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    sizes = np.diff(np.append(starts, len(rows)))
    first = np.repeat(starts, sizes)
    size_of = np.repeat(sizes, sizes)
    position = np.arange(len(rows)) - first
    star = (position >= 1) & new[rows]
    neighbours = (position >= 2) & (size_of <= max_bucket) & new[rows]
    left = np.concatenate((documents[first[star]], documents[np.flatnonzero(neighbours) - 1]))
    right = np.concatenate((documents[star], documents[neighbours]))
    giant = sizes > max_bucket
    counts = BucketCounts(
        len(sizes), int(sizes.sum()), int(sizes.max()), int(giant.sum()), int(sizes[giant].sum())
    )
    return unique_pairs([Pairs(left, right)]), counts


def concat_pairs(pieces: list[Pairs]) -> Pairs:
    """All pairs one after the other."""
    none = np.empty(0, np.uint64)
    return Pairs(
        np.concatenate([none, *(p.left for p in pieces)]), np.concatenate([none, *(p.right for p in pieces)])
    )


def unique_pairs(pieces: list[Pairs]) -> Pairs:
    """All pairs once, sorted by left and right ordinal."""
    left, right = concat_pairs(pieces)
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    fresh = np.ones(len(left), bool)
    fresh[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return Pairs(left[fresh], right[fresh])


def components(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Connected components.

    Returns
    -------
    nodes : uint64 array
        The ordinals that occur in a pair, sorted.
    roots : int64 array
        For each node the position in `nodes` of its component's smallest ordinal.
    """
    nodes = np.unique(np.concatenate(pairs))
    parents = np.arange(len(nodes), dtype=np.int64)
    unionfind.connect(parents, np.searchsorted(nodes, pairs.left), np.searchsorted(nodes, pairs.right))
    return nodes, parents


def decide(groups: np.ndarray, documents: pa.Table, keep: Keep, new_from: int = 0) -> pa.Table:
    """Which documents go, given the group (cluster) of each.

    Parameters
    ----------
    groups : int64 array
        Equal for documents of one cluster.
    documents : pyarrow.Table
        As `document_columns` makes it, one row per group entry.
    keep : Keep
    new_from : int
        Documents with a smaller ordinal are old: one of them stays before any new one.

    Returns
    -------
    pyarrow.Table
        `DECISIONS` rows with `similarity` null and `direct` false.
    """
    new = documents.column("ordinal").to_numpy() >= np.uint64(new_from)
    table = documents.append_column("group", pa.array(groups)).append_column("new", pa.array(new))
    keys = [("group", "ascending"), ("new", "ascending"), *keep_order(keep)]
    order = pc.sort_indices(table, sort_keys=keys)
    table = table.take(order)
    new = new[order.to_numpy()]
    group = table.column("group").to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1]))) if len(group) else group
    sizes = np.diff(np.append(starts, len(group)))
    kept = np.repeat(starts, sizes)
    removed = np.flatnonzero((np.arange(len(group)) != kept) & new)
    ordinal, ids = table.column("ordinal"), table.column("id")
    kept_rows = pa.array(kept[removed])
    decisions = pa.Table.from_arrays(
        [
            ordinal.take(pa.array(removed)),
            ids.take(pa.array(removed)),
            ordinal.take(kept_rows),
            ids.take(kept_rows),
            pa.array(np.repeat(sizes, sizes)[removed].astype(np.int64)),
            pa.nulls(len(removed), pa.float64()),
            pa.array(np.zeros(len(removed), bool)),
        ],
        schema=DECISIONS,
    )
    return decisions.sort_by("ordinal")


def lookup_pairs(known: Pairs, values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The value of each pair (in either orientation) among known ones; NaN where unknown."""
    both = Pairs(np.concatenate((known.left, known.right)), np.concatenate((known.right, known.left)))
    twice = np.concatenate((values, values))
    order = np.lexsort((both.right, both.left))
    dtype = np.dtype([("left", ">u8"), ("right", ">u8")])
    # Big-endian pairs viewed as bytes compare like the pair itself, so one binary search finds both.
    table = _as_bytes(both.left[order], both.right[order], dtype)
    wanted = _as_bytes(left, right, dtype)
    found = np.full(len(wanted), np.nan)
    if len(table):
        place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
        hit = table[place] == wanted
        found[hit] = twice[order][place[hit]]
    return found


def _as_bytes(left: np.ndarray, right: np.ndarray, dtype: np.dtype) -> np.ndarray:
    rows = np.empty(len(left), dtype)
    rows["left"], rows["right"] = left, right
    return rows.view("V16")
