"""The last phase of every deduplication: copy what stays, record what goes.

A removed document leaves a dropped row with its similarity to the document kept, and in the row's
columns `duplicate_of` (id of the document kept, which also names the cluster), `duplicate_kind`
and `cluster_size`. `duplicate_kind` is ``direct`` where the document itself was found to be a
duplicate of the one kept, and ``transitive`` where only a chain of duplicates joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.dedup.clusters import DECISIONS
from corpuskit.dedup.partitions import ordinals, read_part, read_table, rows_in_part
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
    """

    reason: str
    threshold: float | None
    num_decisions: int
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES


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
    decided = read_decisions(task.inputs[1 : 1 + config.num_decisions], task.index)
    for piece in task.inputs[1 + config.num_decisions :]:
        measured = read_table(piece)
        decided = with_similarities(decided, pairs_from(measured), measured.column("similarity").to_numpy())
    with DocumentSink(workspace, config.part_bytes, config.dropped_text) as sink:
        next_batch, first_row = sink.position or (0, 0)
        for index, batch in read_part(task.inputs[0], workspace, skip=next_batch):
            result = split(batch, ordinals(task.index, first_row, batch.num_rows), decided, config)
            first_row += batch.num_rows
            sink.write(result.kept, [result.dropped], [], batch.num_rows, [index + 1, first_row])
        return sink.close()


def read_decisions(files: Iterable[Slice], part: int) -> pa.Table:
    """The decisions for one part, sorted by ordinal."""
    tables = [DECISIONS.empty_table()]
    for piece in files:
        table = read_table(piece)
        rows = rows_in_part(table.column("ordinal").to_numpy(), part)
        tables.append(table.slice(rows.start, rows.stop - rows.start))
    return pa.concat_tables(tables).sort_by("ordinal")


def split(batch: DocumentBatch, ordinal: np.ndarray, decisions: pa.Table, config: ApplyConfig) -> StepResult:
    """Kept and dropped rows of one batch, given decisions sorted by ordinal."""
    decided = decisions.column("ordinal").to_numpy()
    start, stop = (
        np.searchsorted(decided, [ordinal[0], ordinal[-1] + np.uint64(1)]) if len(ordinal) else (0, 0)
    )
    if start == stop:
        return StepResult(batch, None)
    here = decisions.slice(start, stop - start).combine_chunks()
    rows = (decided[start:stop] - ordinal[0]).astype(np.int64)
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


def _with_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """`batch` with a column added, or replaced where an earlier deduplication left one."""
    index = batch.schema.get_field_index(name)
    return batch.append_column(name, values) if index < 0 else batch.set_column(index, name, values)
