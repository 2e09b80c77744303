"""The last phase of every deduplication: copy what stays, record what goes.

A removed document leaves a dropped row with its similarity to the document kept, and in the row's
columns `duplicate_of` (id of the document kept), `duplicate_kind`, `cluster_id` (the same id: a cluster
is named by the document that stays) and `cluster_size`. `duplicate_kind` is ``direct`` where the
document itself was found to be a duplicate of the one kept, and ``transitive`` where only a chain of
duplicates joins them. On request kept documents carry `cluster_id` and `cluster_size` too: their own
id, and 1 for a document without duplicates.

Decisions, clusters and similarities are partitioned by group of document parts, so that all tasks together
read each of them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.dedup.clusters import DECISIONS
from corpuskit.dedup.partitions import (
    ordinals,
    part_of,
    publish_partitions,
    read_part,
    read_partition,
    rows_in_part,
)
from corpuskit.dedup.verify import DECIDED_TAG, pairs_from, with_similarities
from corpuskit.documents import DocumentBatch, DroppedText, StepResult, dropped_rows
from corpuskit.jobs import Entry, Outcome, Output, Slice, Task, Workspace, outputs_of
from corpuskit.partitioned import Groups
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
    num_decisions, num_clusters : int
        How many of the task's inputs after the first are decisions, and how many after those are clusters;
        the rest are similarities.
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
    num_clusters: int = 0


class Decided(NamedTuple):
    """What becomes of the documents of a part (or of everything).

    Attributes
    ----------
    removed : pyarrow.Table
        `DECISIONS` rows, sorted by ordinal.
    kept, sizes : numpy.ndarray
        Ordinals (uint64, sorted) of the documents that stay from clusters of two or more, and the
        documents in each cluster (int64); empty where nobody asked for them.
    """

    removed: pa.Table
    kept: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, decisions: pa.Table) -> Decided:
        """Of a whole corpus."""
        return cls(decisions.sort_by("ordinal"), *_clusters(decisions))


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


def publish_decisions(
    workspace: Workspace, decisions: pa.Table, groups: Groups, cluster_columns: bool
) -> tuple[Output, ...]:
    """Write ``decisions``, and where kept documents are to carry them ``clusters``, for the apply tasks.

    Parameters
    ----------
    decisions : pyarrow.Table
        `DECISIONS` rows, sorted by ordinal.
    """
    parts = part_of(decisions.column("ordinal").to_numpy())
    split_up = groups.split(decisions, parts)
    outputs = [publish_partitions(workspace, "decisions", split_up, DECIDED_TAG, "zstd")]
    if cluster_columns:
        kept, sizes = _clusters(decisions)
        table = pa.table({"ordinal": kept, "cluster_size": sizes})
        split_up = groups.split(table, part_of(kept))
        outputs.append(publish_partitions(workspace, "clusters", split_up, DECIDED_TAG, "zstd"))
    return tuple(outputs)


def plan_apply(
    inputs: Sequence[Slice],
    decided: Sequence[Entry],
    compared: Sequence[Entry],
    config: ApplyConfig,
    memory_bytes: Sequence[int],
) -> list[Task]:
    """One task per document part.

    Parameters
    ----------
    decided : sequence of Entry
        Tasks that used `publish_decisions`.
    compared : sequence of Entry
        Tasks whose ``similarities`` are partitioned likewise.
    config : ApplyConfig
        Its numbers of files are set here.
    memory_bytes : sequence of int
        Of each task.
    """
    decisions, clusters = outputs_of(decided, "decisions"), outputs_of(decided, "clusters")
    similarities = outputs_of(compared, "similarities")
    further = tuple(output.as_slice() for output in (*decisions, *clusters, *similarities))
    config = replace(config, num_decisions=len(decisions), num_clusters=len(clusters))
    groups = Groups(len(inputs), config.first_part)
    return [
        Task(
            index, apply_task, (piece, *further), config, memory_bytes[index],
            groups.of(config.first_part + index),
        )
        for index, piece in enumerate(inputs)
    ]  # fmt: skip


def apply_task(task: Task, workspace: Workspace) -> Outcome:
    """Split one document part into kept and dropped."""
    config: ApplyConfig = task.config
    part = config.first_part + task.index
    decided = read_decisions(task, part)
    with DocumentSink(workspace, config.part_bytes, config.dropped_text) as sink:
        next_batch, first_row = sink.position or (0, 0)
        for index, batch in read_part(task.inputs[0], workspace, skip=next_batch):
            result = split(batch, ordinals(part, first_row, batch.num_rows), decided, config)
            first_row += batch.num_rows
            sink.write(result.kept, [result.dropped], [], batch.num_rows, [index + 1, first_row])
        return sink.close()


def read_decisions(task: Task, part: int) -> Decided:
    """The decisions that concern one part."""
    config: ApplyConfig = task.config
    first_cluster = 1 + config.num_decisions
    first_similarity = first_cluster + config.num_clusters

    def here(files: Sequence[Slice]) -> pa.Table:
        pieces = []
        for piece in files:
            table = read_partition([piece], task.partition or 0, DECIDED_TAG)
            rows = rows_in_part(table.column("ordinal").to_numpy(), part)
            pieces.append(table.slice(rows.start, rows.stop - rows.start))
        return pa.concat_tables(pieces)

    removed = DECISIONS.empty_table()
    if config.num_decisions:
        removed = here(task.inputs[1:first_cluster]).sort_by("ordinal")
    if similarities := task.inputs[first_similarity:]:
        measured = read_partition(similarities, task.partition or 0, DECIDED_TAG)
        similarity = measured.column("similarity").to_numpy()
        removed = with_similarities(removed, pairs_from(measured), similarity)
    if not config.num_clusters:
        return Decided(removed, np.empty(0, np.uint64), np.empty(0, np.int64))
    # A cluster of exact duplicates lies in one partition of the hashes, so that none comes twice.
    clusters = here(task.inputs[first_cluster:first_similarity]).sort_by("ordinal")
    return Decided(removed, clusters.column("ordinal").to_numpy(), clusters.column("cluster_size").to_numpy())


def _clusters(decisions: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The documents that stay from clusters of two or more (sorted ordinals), and their sizes."""
    kept, first = np.unique(decisions.column("kept_ordinal").to_numpy(), return_index=True)
    return kept, decisions.column("cluster_size").to_numpy()[first]


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
