"""From texts to repeated spans: chunks of documents, in order, and what a span is.

A span is a target (document, start, stop) and a source (document, start) from which the same characters
follow. `start` and `stop` count characters, documents are ordinals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpuskit.dedup.shingles import character_counts, text_buffers
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ResourceError

Order = Literal["id", "input"]

SPANS = pa.schema(
    [
        ("ordinal", pa.uint64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("source_ordinal", pa.uint64()),
        ("source_id", pa.string()),
        ("source_start", pa.int64()),
        ("priority", pa.uint64()),
        ("characters", pa.int64()),
    ]
)
"""Sorted by `ordinal`, `start`, `stop` and source. `priority` (`Chunk.priorities`) and `characters` are
those of the document."""

_MAX_CHAIN = 64
_MAX_CHARACTERS = (1 << 31) - 1


@dataclass(frozen=True)
class Chunk:
    """Documents that are searched together.

    Attributes
    ----------
    ids : pyarrow.Array
    texts : pyarrow.Array
        large_string.
    ordinals : uint64 array
    """

    ids: pa.Array
    texts: pa.Array
    ordinals: np.ndarray

    @classmethod
    def of(cls, batches: Sequence[DocumentBatch], ordinal: Sequence[np.ndarray]) -> Chunk:
        return cls(
            pa.concat_arrays([pa.array([], pa.string()), *(batch.column("id") for batch in batches)]),
            pa.concat_arrays(
                [
                    pa.array([], pa.large_string()),
                    *(batch.column("text").cast(pa.large_string()) for batch in batches),
                ]
            ),
            np.concatenate([np.empty(0, np.uint64), *ordinal]),
        )

    def priorities(self, order: Order) -> np.ndarray:
        """See `priorities`."""
        return priorities(self.ids, self.ordinals, order)


def priorities(ids: pa.Array, ordinal: np.ndarray, order: Order) -> np.ndarray:
    """The order of documents (uint64, smaller first; ties by ordinal)."""
    if order == "input":
        return ordinal
    return np.array([xxhash.xxh3_64_intdigest(i) for i in ids.cast(pa.binary()).to_pylist()], np.uint64)


def chunks(batches: Iterator[tuple[np.ndarray, DocumentBatch]], chunk_bytes: int) -> Iterator[Chunk]:
    """Consecutive documents with about `chunk_bytes` of text (more only for one longer document)."""
    held: list[DocumentBatch] = []
    ordinal: list[np.ndarray] = []
    size = 0
    for numbers, batch in batches:
        sizes = pc.binary_length(batch.column("text")).fill_null(0).to_numpy(zero_copy_only=False)
        begin = 0
        for row, more in enumerate(sizes.tolist()):
            if size and size + more > chunk_bytes:
                if row > begin:
                    held.append(batch.slice(begin, row - begin))
                    ordinal.append(numbers[begin:row])
                yield Chunk.of(held, ordinal)
                held, ordinal, size, begin = [], [], 0, row
            size += more
        if batch.num_rows > begin:
            held.append(batch.slice(begin))
            ordinal.append(numbers[begin:])
    if held:
        yield Chunk.of(held, ordinal)


class Windows(NamedTuple):
    """Windows of a chunk by row: hash (uint64), text of the chunk and character (int32)."""

    hashes: np.ndarray
    texts: np.ndarray
    places: np.ndarray


def search(chunk: Chunk, n: int, priority: np.ndarray, repeated: np.ndarray) -> tuple[pa.Table, Windows]:
    """Spans that are repeated within a chunk, and windows that may be repeated elsewhere.

    Parameters
    ----------
    chunk : Chunk
    n : int
        Characters per window.
    priority : uint64 array
        As `Chunk.priorities` gives it.
    repeated : uint64 array
        Set of the anchors that are repeated in the corpus; empty stands for all.

    Returns
    -------
    spans : pyarrow.Table
        `SPANS` rows.
    windows : Windows

    Raises
    ------
    ResourceError
        If the chunk has 2**31 characters or more.
    """
    from corpuskit.kernels import spans as kernel

    characters = character_counts(chunk.texts)
    if int(characters.sum()) > _MAX_CHARACTERS:
        raise ResourceError(
            f"{int(characters.sum()):,} characters cannot be searched at once, at most {_MAX_CHARACTERS:,}",
            hint="run the job, which takes a chunk at a time, instead of deduplicate()",
        )
    in_order = np.lexsort((chunk.ordinals, priority)).astype(np.int64)
    data, offsets = text_buffers(chunk.texts)
    found, *windows = kernel.local_repeats(data, offsets, characters, in_order, n, anchor_width(n), repeated)
    target, start, stop, source, source_start = found.T
    table = pa.table(
        {
            "ordinal": chunk.ordinals[target],
            "start": start,
            "stop": stop,
            "source_ordinal": chunk.ordinals[source],
            "source_id": chunk.ids.take(pa.array(source)),
            "source_start": source_start,
            "priority": priority[target],
            "characters": characters[target],
        },
        schema=SPANS,
    )
    return sort_spans(table), Windows(*windows)


def local_spans(chunk: Chunk, n: int, order: Order) -> pa.Table:
    """All repeated spans of a chunk that is the whole corpus."""
    spans, _ = search(chunk, n, chunk.priorities(order), np.empty(0, np.uint64))
    return first_sources(spans)


def anchor_width(n: int) -> int:
    """Characters of an anchor for windows of n: half of them, so that one character in 13 is one at 50."""
    return max(1, n // 2)


def sort_spans(table: pa.Table) -> pa.Table:
    """`SPANS` rows in their order."""
    names = ("ordinal", "start", "stop", "source_ordinal", "source_start")
    return table.sort_by([(name, "ascending") for name in names])


def first_sources(table: pa.Table) -> pa.Table:
    """`SPANS` rows with each source led back to where it comes from itself.

    A source that lies whole in a span of the table is replaced by that span's source, until none does;
    what is left is the first occurrence, except where that is in several pieces.
    """
    names = ("ordinal", "start", "stop", "source_ordinal", "source_start")
    ordinal, start, stop, source, source_start = (table.column(name).to_numpy() for name in names)
    documents, numbers = np.unique(np.concatenate((ordinal, source)), return_inverse=True)
    key = numbers[: len(ordinal)].astype(np.uint64) << np.uint64(32) | start.astype(np.uint64)
    length = stop - start
    # The row whose source each row now has; rows of the table point to rows of the table.
    at, number, owner = source_start.copy(), numbers[len(ordinal) :].copy(), np.arange(len(ordinal))
    open_rows = np.arange(len(ordinal))
    for _ in range(_MAX_CHAIN):
        wanted = number[open_rows].astype(np.uint64) << np.uint64(32) | at[open_rows].astype(np.uint64)
        before = np.searchsorted(key, wanted, side="right") - 1
        inside = (before >= 0) & (numbers[before] == number[open_rows])
        inside &= stop[before] >= at[open_rows] + length[open_rows]
        open_rows, before = open_rows[inside], before[inside]
        if not len(open_rows):
            break
        at[open_rows] += source_start[before] - start[before]
        number[open_rows] = numbers[len(ordinal) + before]
        owner[open_rows] = before
    return pa.table(
        {
            "ordinal": ordinal,
            "start": start,
            "stop": stop,
            "source_ordinal": documents[number],
            "source_id": table.column("source_id").take(pa.array(owner)),
            "source_start": at,
            "priority": table.column("priority"),
            "characters": table.column("characters"),
        },
        schema=SPANS,
    )


def merge_windows(
    n: int, ordinal: np.ndarray, place: np.ndarray, source: np.ndarray, source_place: np.ndarray
) -> dict[str, np.ndarray]:
    """Repeated windows as spans: those that follow each other in target and source are one.

    Returns
    -------
    dict of arrays
        `ordinal`, `start`, `stop`, `source_ordinal`, `source_start`.
    """
    order = np.lexsort((place, ordinal))
    ordinal, place = ordinal[order], place[order].astype(np.int64)
    source, source_place = source[order], source_place[order].astype(np.int64)
    begins = np.ones(len(order), bool)
    begins[1:] = (
        (ordinal[1:] != ordinal[:-1])
        | (place[1:] != place[:-1] + 1)
        | (source[1:] != source[:-1])
        | (source_place[1:] != source_place[:-1] + 1)
    )
    first = np.flatnonzero(begins)
    length = np.diff(np.append(first, len(order)))
    return {
        "ordinal": ordinal[first],
        "start": place[first],
        "stop": place[first] + length + n - 1,
        "source_ordinal": source[first],
        "source_start": source_place[first],
    }


def equal_stretches(one: str, other: str, n: int) -> list[tuple[int, int]]:
    """The stretches of at least n characters in which two texts of one length agree."""
    if one == other:
        return [(0, len(one))] if len(one) >= n else []
    same = np.array([a == b for a, b in zip(one, other)], bool)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist())
    return [(start, stop) for start, stop in pairs if stop - start >= n]
