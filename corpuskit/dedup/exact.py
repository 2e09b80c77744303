"""Exact duplicate documents by a 128-bit hash of the normalised text.

Two documents are exact duplicates when their texts agree after normalisation: Unicode form NFC
(so that composed and decomposed characters agree; `unicode_form` may choose NFKC, which also folds
full-width forms, or None), then without the characters that `ignore` names (white space and
invisible characters by default). XXH3-128 of the result decides; among 10**10 documents the
probability of one false match is below 10**-18. Documents that are empty after normalisation are
duplicates of each other.

Phases: `hashes` (a task per document part), `decide` (a task per hash partition), `apply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpuskit.dedup.apply import (
    ApplyConfig,
    Decided,
    Deduplicated,
    plan_apply,
    publish_decisions,
    split,
)
from corpuskit.dedup.clusters import decide
from corpuskit.dedup.keep import (
    QUALITY_COLUMN,
    Keep,
    check_keep,
    document_columns,
    has_quality,
    require_quality,
)
from corpuskit.dedup.memory import hash_memory, removal_memory, rows_of
from corpuskit.dedup.partitions import (
    ordinals,
    partition_of,
    publish_partitions,
    read_part,
    read_partition,
)
from corpuskit.dedup.shingles import Ignore, character_counts, check_ignore, ignored_table, text_buffers
from corpuskit.dedup.signatures import require_range
from corpuskit.documents import DocumentBatch, DroppedText, document_batch
from corpuskit.errors import ConfigError
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace, outputs_of
from corpuskit.kernels import utf8
from corpuskit.partitioned import Groups
from corpuskit.parts import DEFAULT_PART_BYTES

REASON = "dedup/exact-duplicate"


@dataclass(frozen=True)
class ExactDeduplicator:
    """Finds documents whose normalised texts are equal and keeps one of them.

    Parameters
    ----------
    unicode_form : {"NFC", "NFKC"} or None
        Unicode normalisation before hashing; the documents themselves are not changed.
    ignore : {"nothing", "space", "space-punctuation"}
        Characters that do not count.
    keep : {"longest", "newest", "best-quality", "first"}
        Which document stays (``longest`` counts all characters); ties go to the smallest id.
    quality_column : str
        The numeric column that ``best-quality`` compares.
    cluster_columns : bool
        Give kept documents the columns `cluster_id` and `cluster_size`; removed ones always have them.
    partitions : int
        A `decide` task holds the ids and hashes of one in `partitions` documents: 90 bytes each, up to 600
        where all have copies.
    """

    unicode_form: Literal["NFC", "NFKC"] | None = "NFC"
    ignore: Ignore = "space"
    keep: Keep = "longest"
    quality_column: str = QUALITY_COLUMN
    cluster_columns: bool = False
    partitions: int = 4

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.unicode_form not in ("NFC", "NFKC", None):
            raise ConfigError(f"{self.unicode_form!r} is not one of NFC, NFKC, null", where="unicode_form")
        check_ignore(self.ignore)
        check_keep(self.keep)
        require_range("partitions", self.partitions, 1, 1 << 20)

    @property
    def tag(self) -> str:
        """Everything the hashes depend on, as text."""
        return f"xxh3-128:{self.unicode_form}:{self.ignore}"

    def hashes(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The upper and the lower half (uint64) of each text's hash."""
        if self.unicode_form is not None:
            texts = pc.utf8_normalize(texts, form=self.unicode_form)
        data, offsets = text_buffers(texts)
        out = np.empty(max(1, int(offsets[-1] - offsets[0])), np.uint8)
        bounds = np.empty_like(offsets)
        utf8.remove_characters(data, offsets, ignored_table(self.ignore), out, bounds)
        view = memoryview(out.data)
        digests = b"".join(
            xxhash.xxh3_128_digest(view[start:stop]) for start, stop in pairwise(bounds.tolist())
        )
        halves = np.frombuffer(digests, ">u8").astype(np.uint64)
        return halves[0::2], halves[1::2]

    def job(
        self,
        inputs: Sequence[Slice],
        *,
        name: str = "exact-duplicates",
        dropped_text: DroppedText = "full",
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> ExactJob:
        """The work for document parts as `DocumentSink` writes them, one slice each."""
        return ExactJob(self, tuple(inputs), name, dropped_text, part_bytes)

    def deduplicate(self, batches: Iterable[DocumentBatch]) -> Deduplicated:
        """Deduplicate batches in memory; the same decisions as the job takes."""
        held = list(batches)
        if not held:
            return Deduplicated([], [])
        keys = [_keys_of(self, part, 0, batch) for part, batch in enumerate(held)]
        table = pa.concat_tables(keys)
        require_quality(self.keep, self.quality_column, table.num_rows, has_quality(table))
        decided = Decided.of(_decide(self, table))
        config = ApplyConfig(REASON, 1.0, 1, cluster_columns=self.cluster_columns)
        results = [
            split(batch, ordinals(part, 0, batch.num_rows), decided, config)
            for part, batch in enumerate(held)
        ]
        return Deduplicated(
            [result.kept for result in results],
            [result.dropped for result in results if result.dropped is not None],
        )


@dataclass(frozen=True)
class ExactJob:
    """An `ExactDeduplicator` bound to its inputs; implements `corpuskit.jobs.Job`."""

    deduplicator: ExactDeduplicator
    inputs: tuple[Slice, ...]
    name: str = "exact-duplicates"
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES

    phases: ClassVar[tuple[str, ...]] = ("hashes", "decide", "apply")

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks of a phase, given the entries of the earlier ones."""
        if not self.inputs:
            return []
        config = self.deduplicator
        if phase == "hashes":
            return [Task(i, hashes_task, (piece,), config) for i, piece in enumerate(self.inputs)]
        if phase == "decide":
            metrics = [entry.outcome.metrics for entry in done["hashes"]]
            documents = sum(m["documents"] for m in metrics)
            found = any(m["with_quality"] for m in metrics)
            require_quality(config.keep, config.quality_column, documents, found)
            keys = tuple(output.as_slice() for output in outputs_of(done["hashes"], "hashes"))
            memory = hash_memory(documents, config.partitions)
            decide = DecideConfig(config, len(self.inputs))
            return [Task(i, decide_task, keys, decide, memory, i) for i in range(config.partitions)]
        apply_config = ApplyConfig(REASON, 1.0, 0, self.dropped_text, self.part_bytes, config.cluster_columns)
        documents_of = [entry.outcome.metrics["documents"] for entry in done["hashes"]]
        removed = rows_of(outputs_of(done["decide"], "decisions"))
        memory_bytes = [
            removal_memory(min(removed, rows)) for rows in Groups(len(self.inputs)).rows_of(documents_of)
        ]
        return plan_apply(self.inputs, done["decide"], (), apply_config, memory_bytes)


@dataclass(frozen=True)
class DecideConfig:
    """What `decide_task` needs: the configuration, and the number of document parts."""

    deduplicator: ExactDeduplicator
    parts: int


def hashes_task(task: Task, workspace: Workspace) -> Outcome:
    """Hashes of one document part, by partition."""
    config: ExactDeduplicator = task.config
    tables = [_keys_of(config, task.index, 0, document_batch([], []))]
    first_row = 0
    for _, batch in read_part(task.inputs[0], workspace):
        tables.append(_keys_of(config, task.index, first_row, batch))
        first_row += batch.num_rows
    table = pa.concat_tables(tables)
    partition = partition_of(table.column("high").to_numpy(), config.partitions)
    partitions = [table.filter(pa.array(partition == p)) for p in range(config.partitions)]
    output = publish_partitions(workspace, "hashes", partitions, config.tag)
    return Outcome((output,), metrics={"documents": first_row, "with_quality": has_quality(table)})


def decide_task(task: Task, workspace: Workspace) -> Outcome:
    """What is removed among the documents of one partition."""
    config: ExactDeduplicator = task.config.deduplicator
    decided = _decide(config, read_partition(task.inputs, task.index, config.tag))
    outputs = publish_decisions(workspace, decided, Groups(task.config.parts), config.cluster_columns)
    return Outcome(outputs, metrics={"removed": decided.num_rows})


def _keys_of(config: ExactDeduplicator, part: int, first_row: int, batch: DocumentBatch) -> pa.Table:
    """A row per document: what the keep rule needs, and both halves of the hash."""
    texts = batch.column("text")
    high, low = config.hashes(texts)
    numbers = ordinals(part, first_row, batch.num_rows)
    table = document_columns(numbers, batch, character_counts(texts), config.quality_column)
    return table.append_column("high", pa.array(high)).append_column("low", pa.array(low))


def _decide(config: ExactDeduplicator, table: pa.Table) -> pa.Table:
    high, low = table.column("high").to_numpy(), table.column("low").to_numpy()
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    group = np.cumsum(begins) - 1
    sizes = np.bincount(group) if len(group) else group
    repeated = sizes[group] > 1
    documents = table.drop_columns(["high", "low"]).take(pa.array(order[repeated]))
    decided = decide(group[repeated], documents, config.keep)
    for name, values in (
        ("similarity", np.ones(decided.num_rows)),
        ("direct", np.ones(decided.num_rows, bool)),
    ):
        decided = decided.set_column(decided.schema.get_field_index(name), name, pa.array(values))
    return decided
