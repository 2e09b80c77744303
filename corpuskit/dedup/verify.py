"""Measuring pairs of documents from their texts.

Pairs are cut into chunks by the characters they involve, so that a task holds a bounded amount of
text however long the documents are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.dedup.clusters import Pairs, lookup_pairs
from corpuskit.dedup.partitions import publish_table, read_table, row_of, rows_in_part
from corpuskit.dedup.shingles import Ignore, jaccard
from corpuskit.documents import DocumentBatch
from corpuskit.jobs import Outcome, Output, Slice, Task, Workspace
from corpuskit.parts import read_documents


@dataclass(frozen=True)
class MeasureConfig:
    """What `measure_task` needs: the shingles of the signatures."""

    ngram: int
    ignore: Ignore


def measure_task(task: Task, workspace: Workspace) -> Outcome:
    """Exact Jaccard similarity of a chunk of pairs.

    Inputs are the chunk and every document part; the output ``similarities`` has the columns
    `left`, `right` (ordinals) and `similarity`.
    """
    config: MeasureConfig = task.config
    pairs = pairs_from(read_table(task.inputs[0]))
    needed = np.unique(np.concatenate(pairs))
    texts = []
    for part, piece in enumerate(task.inputs[1:]):
        rows = row_of(needed[rows_in_part(needed, part)])
        if len(rows):
            texts.append(take_texts(read_documents(piece.path, ["text"]), rows))
    similarity = measure(pairs, needed, pa.concat_arrays(texts), config.ngram, config.ignore)
    return Outcome((publish_table(workspace, "similarities", similarities_table(pairs, similarity)),))


def measure(pairs: Pairs, ordinals: np.ndarray, texts: pa.Array, ngram: int, ignore: Ignore) -> np.ndarray:
    """Similarity of each pair, given the texts of the (sorted) `ordinals`."""
    left, right = np.searchsorted(ordinals, pairs.left), np.searchsorted(ordinals, pairs.right)
    return jaccard(texts, left, right, ngram, ignore)


def take_texts(batches: Iterable[DocumentBatch], rows: np.ndarray) -> pa.Array:
    """The texts of the given rows (sorted, counted over all batches)."""
    taken = [pa.array([], pa.large_string())]
    first = 0
    for batch in batches:
        start, stop = np.searchsorted(rows, [first, first + batch.num_rows])
        if start < stop:
            taken.append(batch.column("text").take(pa.array(rows[start:stop] - first)))
        first += batch.num_rows
    return pa.concat_arrays(taken)


def similarities_table(pairs: Pairs, similarity: np.ndarray) -> pa.Table:
    """Pairs and what was measured, as a table."""
    return pa.table({"left": pairs.left, "right": pairs.right, "similarity": similarity})


def pairs_from(table: pa.Table) -> Pairs:
    """The pairs of a table with the columns `left` and `right`."""
    return Pairs(table.column("left").to_numpy(), table.column("right").to_numpy())


def publish_chunks(
    workspace: Workspace, pairs: Pairs, characters: np.ndarray, chunk_characters: int
) -> list[Output]:
    """Publish pairs as ``pairs`` files of about `chunk_characters` each.

    Parameters
    ----------
    characters : int64 array
        Characters of both documents of each pair together.
    """
    chunk = np.cumsum(characters) // chunk_characters
    cuts = np.flatnonzero(chunk[1:] != chunk[:-1]) + 1
    bounds = [0, *cuts.tolist(), len(chunk)]
    outputs = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        if start < stop:
            table = pa.table({"left": pairs.left[start:stop], "right": pairs.right[start:stop]})
            outputs.append(publish_table(workspace, "pairs", table, number))
    return outputs


def read_document_rows(tables: Sequence[Slice], wanted: np.ndarray) -> pa.Table:
    """Rows of the ``documents`` tables (one per part) for sorted ordinals."""
    rows: list[pa.Table] = []
    for part, piece in enumerate(tables):
        here = row_of(wanted[rows_in_part(wanted, part)])
        if len(here) or not rows:
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
