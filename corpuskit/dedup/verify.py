"""Measuring pairs of documents from their texts.

Pairs are cut into chunks by the characters they involve, so that a task holds a bounded amount of text
however long the documents are. The texts come to the chunks, not the chunks to the texts: a task for each
document part hands out what each chunk needs of it (one record batch for each chunk, zstd), so that every
part is read once and the work grows with the pairs. Reading every part for every chunk instead made the
time grow with the square of the corpus. What a part has to hand out lies in a file of its own (``needed``,
partitioned by part), so that its task does not read every pair either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.dedup.clusters import Pairs, lookup_pairs
from corpuskit.dedup.partitions import (
    ordinals,
    part_of,
    publish_partitions,
    publish_table,
    read_part,
    read_partition,
    read_table,
    row_of,
    rows_in_part,
)
from corpuskit.dedup.shingles import Ignore, jaccard
from corpuskit.jobs import Outcome, Output, Slice, Task, Workspace
from corpuskit.partitioned import Groups

_TAG = "texts-of-pairs"
_NEEDED_TAG = "needed-of-parts"

DECIDED_TAG = "decided-1"
"""Of files for `apply` tasks, partitioned by document part."""


@dataclass(frozen=True)
class TextsConfig:
    """What `texts_task` needs: the number of its document part, and how many chunks of pairs there are."""

    part: int
    chunks: int


@dataclass(frozen=True)
class MeasureConfig:
    """What `measure_task` needs: the shingles of the signatures, and for whom it measures.

    Attributes
    ----------
    ngram : int
    ignore : {"nothing", "space", "space-punctuation"}
    groups : Groups, optional
        Partition what was measured by the part of the left document (the pairs are sorted by it); else one
        table.
    """

    ngram: int
    ignore: Ignore
    groups: Groups | None = None


def plan_texts(
    parts: Sequence[Slice], needed: Output, chunks: int, parts_needed: Sequence[int]
) -> list[Task]:
    """One task for each document part that a pair needs."""
    groups = Groups(len(parts))
    return [
        Task(
            index, texts_task, (parts[part], needed.as_slice()), TextsConfig(part, chunks),
            partition=groups.of(part),
        )
        for index, part in enumerate(parts_needed)
    ]  # fmt: skip


def plan_measure(chunks: Sequence[Output], texts: Sequence[Output], config: MeasureConfig) -> list[Task]:
    """One task for each chunk of pairs."""
    files = tuple(output.as_slice() for output in texts)
    return [
        Task(index, measure_task, (output.as_slice(), *files), config, partition=index)
        for index, output in enumerate(chunks)
    ]


def texts_task(task: Task, workspace: Workspace) -> Outcome:
    """The texts of one document part that each chunk of pairs needs.

    Inputs are the part and what is ``needed``; the output ``texts`` has a partition for each chunk, with the
    columns `ordinal` and `text`.
    """
    config: TextsConfig = task.config
    chunks = _needed(task.inputs[1], task.partition or 0, config)
    wanted = np.unique(np.concatenate(chunks))
    texts = _texts(task.inputs[0], workspace, config.part, wanted)
    output = publish_partitions(workspace, "texts", _handed_out(chunks, wanted, texts), _TAG, "zstd")
    return Outcome((output,))


def _needed(piece: Slice, group: int, config: TextsConfig) -> list[np.ndarray]:
    """The documents of a part that each chunk needs (sorted ordinals)."""
    table = read_partition([piece], group, _NEEDED_TAG)
    ordinal, chunk = table.column("ordinal").to_numpy(), table.column("chunk").to_numpy()
    here = part_of(ordinal) == config.part
    ordinal, chunk = ordinal[here], chunk[here]
    bounds = np.searchsorted(chunk, np.arange(config.chunks + 1))
    return [ordinal[start:stop] for start, stop in pairwise(bounds)]


def _texts(piece: Slice, workspace: Workspace, part: int, wanted: np.ndarray) -> pa.ChunkedArray:
    taken: list[pa.Array] = []
    first = 0
    for _, batch in read_part(piece, workspace, ["text"]):
        here = ordinals(part, first, batch.num_rows)
        start, stop = np.searchsorted(wanted, [here[0], here[-1] + np.uint64(1)]) if len(here) else (0, 0)
        if start < stop:
            rows = row_of(wanted[start:stop]) - first
            taken.append(batch.column("text").cast(pa.large_string()).take(pa.array(rows)))
        first += batch.num_rows
    return pa.chunked_array(taken, pa.large_string())


def _handed_out(chunks: list[np.ndarray], wanted: np.ndarray, texts: pa.ChunkedArray) -> Iterator[pa.Table]:
    for documents in chunks:
        rows = pa.array(np.searchsorted(wanted, documents))
        yield pa.table({"ordinal": documents, "text": texts.take(rows)})


def measure_task(task: Task, workspace: Workspace) -> Outcome:
    """Exact Jaccard similarity of a chunk of pairs.

    Inputs are the chunk and the ``texts`` of every document part; the output ``similarities`` has the
    columns `left`, `right` (ordinals) and `similarity`.
    """
    config: MeasureConfig = task.config
    pairs = pairs_from(read_table(task.inputs[0]))
    table = read_partition(task.inputs[1:], task.partition or 0, _TAG)  # the parts in order, so sorted
    texts = pa.concat_arrays(table.column("text").chunks)
    similarity = measure(pairs, table.column("ordinal").to_numpy(), texts, config.ngram, config.ignore)
    measured = similarities_table(pairs, similarity)
    if config.groups is None:
        return Outcome((publish_table(workspace, "similarities", measured),))
    split_up = config.groups.split(measured, part_of(pairs.left))
    return Outcome((publish_partitions(workspace, "similarities", split_up, DECIDED_TAG, "zstd"),))


def measure(pairs: Pairs, ordinals: np.ndarray, texts: pa.Array, ngram: int, ignore: Ignore) -> np.ndarray:
    """Similarity of each pair, given the texts of the (sorted) `ordinals`."""
    left, right = np.searchsorted(ordinals, pairs.left), np.searchsorted(ordinals, pairs.right)
    return jaccard(texts, left, right, ngram, ignore)


def similarities_table(pairs: Pairs, similarity: np.ndarray) -> pa.Table:
    """Pairs and what was measured, as a table."""
    return pa.table({"left": pairs.left, "right": pairs.right, "similarity": similarity})


def pairs_from(table: pa.Table) -> Pairs:
    """The pairs of a table with the columns `left` and `right`."""
    return Pairs(table.column("left").to_numpy(), table.column("right").to_numpy())


def publish_chunks(
    workspace: Workspace, pairs: Pairs, characters: np.ndarray, chunk_characters: int, parts: int
) -> tuple[list[Output], dict[str, list[int]]]:
    """Publish pairs as ``pairs`` files of about `chunk_characters` each, and ``needed``.

    Parameters
    ----------
    characters : int64 array
        Characters of both documents of each pair together.
    parts : int
        Document parts.

    Returns
    -------
    outputs : list of Output
    needed : dict
        ``parts_needed``: the numbers of the document parts that pairs need, and ``rows_needed``: the rows
        that ``needed`` has for each of them.
    """
    chunk = np.cumsum(characters) // chunk_characters
    cuts = np.flatnonzero(chunk[1:] != chunk[:-1]) + 1
    bounds = [0, *cuts.tolist(), len(chunk)]
    outputs, documents = [], [np.empty(0, np.uint64)]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        if start < stop:
            left, right = pairs.left[start:stop], pairs.right[start:stop]
            table = pa.table({"left": left, "right": right})
            outputs.append(publish_table(workspace, "pairs", table, number))
            documents.append(np.unique(np.concatenate((left, right))))
    ordinal = np.concatenate(documents)
    sizes = np.array([len(some) for some in documents[1:]], np.int64)
    number_of = np.repeat(np.arange(len(sizes)), sizes)
    groups = Groups(parts)
    part = part_of(ordinal)
    needed, rows = np.unique(part, return_counts=True)
    part //= groups.parts_each
    order = np.lexsort((ordinal, number_of, part))
    table = pa.table({"chunk": number_of[order].astype(np.uint32), "ordinal": ordinal[order]})
    split_up = groups.split(table, part[order] * groups.parts_each)
    outputs.append(publish_partitions(workspace, "needed", split_up, _NEEDED_TAG, "zstd"))
    return outputs, {"parts_needed": needed.tolist(), "rows_needed": rows.tolist()}


def read_document_rows(tables: Sequence[Slice], wanted: np.ndarray) -> pa.Table:
    """Rows of the ``documents`` tables (one per part) for sorted ordinals."""
    rows: list[pa.Table] = []
    for part, piece in enumerate(tables):
        here = row_of(wanted[rows_in_part(wanted, part)])
        if len(here) or (part == len(tables) - 1 and not rows):
            rows.append(read_table(piece).take(pa.array(here)))
    return pa.concat_tables(rows)


def characters_of(pairs: Pairs, documents: pa.Table) -> np.ndarray:
    """Characters of both documents of each pair, given the sorted rows of all of them."""
    ordinal = documents.column("ordinal").to_numpy()
    characters = documents.column("characters").to_numpy()
    left, right = np.searchsorted(ordinal, pairs.left), np.searchsorted(ordinal, pairs.right)
    return characters[left] + characters[right]


def with_similarities(decisions: pa.Table, pairs: Pairs, similarity: np.ndarray) -> pa.Table:
    """`decisions` with the similarity filled in where (removed, kept) is among the measured pairs."""
    removed = decisions.column("ordinal").to_numpy()
    kept = decisions.column("kept_ordinal").to_numpy()
    found = lookup_pairs(pairs, similarity, removed, kept)
    filled = pc.coalesce(decisions.column("similarity"), pa.array(found, from_pandas=True))
    return decisions.set_column(decisions.schema.get_field_index("similarity"), "similarity", filled)
