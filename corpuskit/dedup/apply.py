"""The last phase of every deduplication: copy what stays, record what goes.

A removed document leaves a dropped row with its similarity to the document kept, and in the row's
columns `duplicate_of` (id of the document kept), `duplicate_kind`, `cluster_id` (the same id: a cluster
is named by the document that stays) and `cluster_size`. `duplicate_kind` is ``direct`` where the
document itself was found to be a duplicate of the one kept, and ``transitive`` where only a chain of
duplicates joins them. On request kept documents carry `cluster_id` and `cluster_size` too: their own
id, and 1 for a document without duplicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.dedup.clusters import DECISIONS
from corpuskit.dedup.partitions import ordinals, part_of, read_part, read_table, rows_in_part
from corpuskit.dedup.verify import pairs_from, with_similarities
from corpuskit.documents import DocumentBatch, DroppedText, StepResult, dropped_rows
from corpuskit.jobs import Outcome, Output, Slice, Task, Workspace
from corpuskit.parts import DEFAULT_PART_BYTES, DocumentSink


@dataclass(frozen=True)
class ApplyConfig:
    """How decisions become kept and dropped rows.

    Attributes
    ----------
    reason : str
        ``dedup/…``.
    threshold : float or None
        The similarity from which documents count as duplicates.
    num_decisions : int
        How many of the task's inputs after the first are decisions; the rest are similarities.
    cluster_columns : bool
        Give kept documents the columns `cluster_id` and `cluster_size`.
    first_part : int
        Number of the first document part, where an index holds parts before it.
    """

    reason: str
    threshold: float | None
    num_decisions: int
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES
    cluster_columns: bool = False
    first_part: int = 0


class Decided(NamedTuple):
    """What becomes of the documents of a part (or of everything).

    Attributes
    ----------
    removed : pyarrow.Table
        `DECISIONS` rows, sorted by ordinal.
    kept, sizes : numpy.ndarray
        Ordinals (uint64, sorted) of the documents that stay from clusters of two or more, and the
        documents in each cluster (int64).
    """

    removed: pa.Table
    kept: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, decisions: pa.Table) -> Decided:
        """Of a whole corpus."""
        kept, first = np.unique(decisions.column("kept_ordinal").to_numpy(), return_index=True)
        return cls(decisions.sort_by("ordinal"), kept, decisions.column("cluster_size").to_numpy()[first])


@dataclass(frozen=True)
class Deduplicated:
    """What an in-memory deduplication returns.

    Attributes
    ----------
    kept : list of pyarrow.RecordBatch
        The batches that came in, without the removed documents.
    dropped : list of pyarrow.RecordBatch
        Rows as `corpuskit.documents.dropped_rows` makes them.
    metrics : dict
        Counts of buckets and pairs.
    """

    kept: list[DocumentBatch]
    dropped: list[pa.RecordBatch]
    metrics: dict = field(default_factory=dict)


def plan_apply(
    inputs: Sequence[Slice], decisions: Sequence[Output], similarities: Sequence[Output], config: ApplyConfig
) -> list[Task]:
    """One task per document part."""
    further = tuple(output.as_slice() for output in (*decisions, *similarities))
    return [Task(part, apply_task, (piece, *further), config) for part, piece in enumerate(inputs)]


def apply_task(task: Task, workspace: Workspace) -> Outcome:
    """Split one document part into kept and dropped."""
    config: ApplyConfig = task.config
    part = config.first_part + task.index
    decided = read_decisions(task.inputs[1 : 1 + config.num_decisions], part)
    for piece in task.inputs[1 + config.num_decisions :]:
        measured = read_table(piece)
        similarity = measured.column("similarity").to_numpy()
        removed = with_similarities(decided.removed, pairs_from(measured), similarity)
        decided = decided._replace(removed=removed)
    with DocumentSink(workspace, config.part_bytes, config.dropped_text) as sink:
        next_batch, first_row = sink.position or (0, 0)
        for index, batch in read_part(task.inputs[0], workspace, skip=next_batch):
            result = split(batch, ordinals(part, first_row, batch.num_rows), decided, config)
            first_row += batch.num_rows
            sink.write(result.kept, [result.dropped], [], batch.num_rows, [index + 1, first_row])
        return sink.close()


def read_decisions(files: Iterable[Slice], part: int) -> Decided:
    """The decisions that concern one part."""
    removed, kept, sizes = [DECISIONS.empty_table()], [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for piece in files:
        table = read_table(piece)
        rows = rows_in_part(table.column("ordinal").to_numpy(), part)
        removed.append(table.slice(rows.start, rows.stop - rows.start))
        stays = table.column("kept_ordinal").to_numpy()
        here = part_of(stays) == part
        kept.append(stays[here])
        sizes.append(table.column("cluster_size").to_numpy()[here])
    ordinal, first = np.unique(np.concatenate(kept), return_index=True)
    return Decided(pa.concat_tables(removed).sort_by("ordinal"), ordinal, np.concatenate(sizes)[first])


def split(batch: DocumentBatch, ordinal: np.ndarray, decided: Decided, config: ApplyConfig) -> StepResult:
    """Kept and dropped rows of one batch, given the (consecutive) ordinals of its documents."""
    if config.cluster_columns:
        batch = _with_clusters(batch, ordinal, decided)
    decisions = decided.removed
    removed_ordinals = decisions.column("ordinal").to_numpy()
    start, stop = (
        np.searchsorted(removed_ordinals, [ordinal[0], ordinal[-1] + np.uint64(1)])
        if len(ordinal)
        else (0, 0)
    )
    if start == stop:
        return StepResult(batch, None)
    here = decisions.slice(start, stop - start).combine_chunks()
    rows = (removed_ordinals[start:stop] - ordinal[0]).astype(np.int64)
    keep = np.ones(batch.num_rows, bool)
    keep[rows] = False
    similarity = here.column("similarity")
    direct = here.column("direct")
    if config.threshold is not None:
        direct = pc.or_(direct, pc.fill_null(pc.greater_equal(similarity, config.threshold), False))
    removed = batch.take(pa.array(rows))
    for name, values in (
        ("duplicate_of", here.column("duplicate_of")),
        ("duplicate_kind", pc.if_else(direct, "direct", "transitive")),
        ("cluster_id", here.column("duplicate_of")),
        ("cluster_size", here.column("cluster_size")),
    ):
        removed = _with_column(removed, name, pa.concat_arrays(values.chunks))
    dropped = dropped_rows(
        removed,
        [config.reason] * len(rows),
        pa.concat_arrays(similarity.chunks),
        [config.threshold] * len(rows),
    )
    return StepResult(batch.filter(pa.array(keep)), dropped)


def _with_clusters(batch: DocumentBatch, ordinal: np.ndarray, decided: Decided) -> DocumentBatch:
    sizes = np.ones(batch.num_rows, np.int64)
    if len(ordinal):
        start, stop = np.searchsorted(decided.kept, [ordinal[0], ordinal[-1] + np.uint64(1)])
        sizes[(decided.kept[start:stop] - ordinal[0]).astype(np.int64)] = decided.sizes[start:stop]
    batch = _with_column(batch, "cluster_id", batch.column("id"))
    return _with_column(batch, "cluster_size", pa.array(sizes))


def _with_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """`batch` with a column added, or replaced where an earlier deduplication left one."""
    index = batch.schema.get_field_index(name)
    return batch.append_column(name, values) if index < 0 else batch.set_column(index, name, values)
