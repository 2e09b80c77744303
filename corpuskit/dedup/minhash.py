"""Near-duplicate documents by signatures, band hashes and clusters.

Phases of the job: `signatures` (a task per document part), `candidates` (a task per band and
partition: equal band hashes become pairs), `pairs` (every pair once, cut into chunks), `verify`
(exact Jaccard similarity of the pairs), `clusters` (connected components, keep rule), `compare`
(similarity of each removed document with the one kept, where `verify` has not measured it) and
`apply`. Only band hashes are stored: 112 bytes a document at 14 bands, not the signature.

With 14 bands of 8 rows a pair of similarity 0.8 is found with probability 0.92, of 0.9 with
0.9996; two unrelated documents meet in a band with probability 2**-64 or so. Documents without a
single counting character have no shingles and are never near-duplicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpuskit.dedup.apply import ApplyConfig, Deduplicated, plan_apply, split
from corpuskit.dedup.clusters import (
    BucketCounts,
    Keep,
    Pairs,
    candidate_pairs,
    check_keep,
    components,
    concat_pairs,
    decide,
    document_columns,
    lookup_pairs,
    priorities,
    unique_pairs,
)
from corpuskit.dedup.partitions import (
    ordinals,
    partition_of,
    publish_partitions,
    publish_table,
    read_part,
    read_partition,
    read_table,
)
from corpuskit.dedup.shingles import Ignore, character_counts
from corpuskit.dedup.signatures import Scheme, Sketcher, band_hashes, require_range
from corpuskit.dedup.verify import (
    MeasureConfig,
    characters_of,
    measure,
    measure_task,
    pairs_from,
    publish_chunks,
    read_document_rows,
    with_similarities,
)
from corpuskit.documents import DocumentBatch, DroppedText, document_batch
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace, one_task_per_output, outputs_of
from corpuskit.parts import DEFAULT_PART_BYTES

REASON = "dedup/near-duplicate"


@dataclass(frozen=True)
class MinHashDeduplicator:
    """Finds near-duplicates and keeps one document of each cluster.

    Parameters
    ----------
    ngram : int
        Characters per shingle.
    bands, rows : int
        A pair of Jaccard similarity s is found with probability ``1 - (1 - s**rows)**bands``; a
        signature has ``bands * rows`` slots.
    scheme : {"fss", "affine32", "affine64"}
        See `corpuskit.dedup.signatures`.
    seed : int
    ignore : {"nothing", "space", "space-punctuation"}
        Characters that do not count.
    keep : {"longest", "newest", "first"}
        Which document of a cluster stays; ties go to the smallest id.
    verify_threshold : float or None
        Exact Jaccard similarity that a pair of documents must reach (0 to 1). None accepts every
        pair that shares a band.
    max_bucket : int
        Buckets with more documents yield only the pairs with their first document.
    band_partitions : int
        Partitions per band. A `candidates` task needs about 60 bytes for each document of its
        partition.
    chunk_characters : int
        Characters of text that a `verify` task holds at most (more only for one longer pair).
    """

    ngram: int = 5
    bands: int = 14
    rows: int = 8
    scheme: Scheme = "fss"
    seed: int = 1
    ignore: Ignore = "space"
    keep: Keep = "longest"
    verify_threshold: float | None = 0.7
    max_bucket: int = 1000
    band_partitions: int = 1
    chunk_characters: int = 1 << 26

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        require_range("bands", self.bands, 1, 10_000)
        require_range("rows", self.rows, 1, 1000)
        require_range("bands * rows", self.bands * self.rows, 1, 32767)
        require_range("max_bucket", self.max_bucket, 2, 1 << 62)
        require_range("band_partitions", self.band_partitions, 1, 1 << 20)
        require_range("chunk_characters", self.chunk_characters, 1, 1 << 40)
        if self.verify_threshold is not None:
            require_range("verify_threshold", self.verify_threshold, 0, 1)
        check_keep(self.keep)
        _ = self.sketcher

    @property
    def sketcher(self) -> Sketcher:
        """What makes this configuration's signatures."""
        return Sketcher(self.bands * self.rows, self.ngram, self.ignore, self.scheme, self.seed)

    @property
    def tag(self) -> str:
        """Everything the band hashes depend on, as text."""
        return f"{self.sketcher.tag}:bands{self.bands}x{self.rows}:keep-{self.keep}"

    def signatures(self, texts: pa.Array) -> np.ndarray:
        """Signatures of a string array, of shape (len(texts), bands * rows)."""
        return self.sketcher(texts)

    def job(
        self,
        inputs: Sequence[Slice],
        *,
        name: str = "near-duplicates",
        dropped_text: DroppedText = "full",
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> MinHashJob:
        """The work for document parts as `DocumentSink` writes them, one slice each."""
        return MinHashJob(self, tuple(inputs), name, dropped_text, part_bytes)

    def deduplicate(self, batches: Iterable[DocumentBatch]) -> Deduplicated:
        """Deduplicate batches in memory.

        The same decisions as the job takes on the same documents, each batch as one part.
        """
        held = list(batches)
        keys = [_keys_of(self, part, 0, batch) for part, batch in enumerate(held)]
        if not keys:
            return Deduplicated([], [])
        documents = pa.concat_tables([table for table, _ in keys])
        banded = pa.concat_tables([table for _, table in keys])
        counts, pieces = BucketCounts(), []
        for partition in _partitions(self, banded):
            pairs, found = _candidates(self, partition)
            counts += found
            pieces.append(pairs)
        pairs = unique_pairs(pieces)
        texts = pa.concat_arrays([batch.column("text").cast(pa.large_string()) for batch in held])
        ordinal = documents.column("ordinal").to_numpy()
        similarity = None
        if self.verify_threshold is not None:
            similarity = measure(pairs, ordinal, texts, self.ngram, self.ignore)
        nodes = np.searchsorted(ordinal, np.unique(np.concatenate(pairs)))
        decided, open_pairs = _decide(self, pairs, similarity, documents.take(pa.array(nodes)))
        measured = measure(open_pairs, ordinal, texts, self.ngram, self.ignore)
        decided = with_similarities(decided, open_pairs, measured)
        config = ApplyConfig(REASON, self.verify_threshold, 1)
        results = [
            split(batch, ordinals(part, 0, batch.num_rows), decided, config)
            for part, batch in enumerate(held)
        ]
        return Deduplicated(
            [result.kept for result in results],
            [result.dropped for result in results if result.dropped is not None],
            {**asdict(counts), "pairs": len(pairs.left)},
        )


@dataclass(frozen=True)
class MinHashJob:
    """A `MinHashDeduplicator` bound to its inputs; implements `corpuskit.jobs.Job`."""

    deduplicator: MinHashDeduplicator
    inputs: tuple[Slice, ...]
    name: str = "near-duplicates"
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES

    phases: ClassVar[tuple[str, ...]] = (
        "signatures",
        "candidates",
        "pairs",
        "verify",
        "clusters",
        "compare",
        "apply",
    )

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks of a phase, given the entries of the earlier ones."""
        config = self.deduplicator
        if not self.inputs:
            return []
        if phase == "signatures":
            return [Task(i, signatures_task, (piece,), config) for i, piece in enumerate(self.inputs)]
        documents = [output.as_slice() for output in outputs_of(done["signatures"], "documents")]
        if phase == "candidates":
            keys = tuple(output.as_slice() for output in outputs_of(done["signatures"], "bands"))
            return [
                Task(i, candidates_task, keys, config) for i in range(config.bands * config.band_partitions)
            ]
        if phase == "pairs":
            found = [output.as_slice() for output in outputs_of(done["candidates"], "candidates")]
            return [Task(0, pairs_task, (*documents, *found), _Clustering(config, len(documents)))]
        if phase == "verify":
            if config.verify_threshold is None:
                return []
            return self._measure(done["pairs"])
        if phase == "clusters":
            if config.verify_threshold is None:
                pairs = outputs_of(done["pairs"], "pairs")
            else:
                pairs = outputs_of(done["verify"], "similarities")
            inputs = (*documents, *(output.as_slice() for output in pairs))
            return [Task(0, clusters_task, inputs, _Clustering(config, len(documents)))]
        if phase == "compare":
            return self._measure(done["clusters"])
        decisions = outputs_of(done["clusters"], "decisions")
        similarities = outputs_of(done["compare"], "similarities")
        apply_config = ApplyConfig(
            REASON, config.verify_threshold, len(decisions), self.dropped_text, self.part_bytes
        )
        return plan_apply(self.inputs, decisions, similarities, apply_config)

    def _measure(self, entries: Sequence[Entry]) -> list[Task]:
        config = MeasureConfig(self.deduplicator.ngram, self.deduplicator.ignore)
        tasks = one_task_per_output(outputs_of(entries, "pairs"), measure_task, config)
        return [Task(t.index, t.function, (*t.inputs, *self.inputs), t.config) for t in tasks]


@dataclass(frozen=True)
class _Clustering:
    """A task over all ``documents`` tables (the first inputs) and files of pairs (the rest)."""

    deduplicator: MinHashDeduplicator
    num_documents: int


def signatures_task(task: Task, workspace: Workspace) -> Outcome:
    """Band hashes of one document part, and what the keep rule needs to know of its documents."""
    config: MinHashDeduplicator = task.config
    described: list[pa.Table] = []
    banded: list[pa.Table] = []
    first_row = 0
    for _, batch in read_part(task.inputs[0], workspace):
        documents, keys = _keys_of(config, task.index, first_row, batch)
        described.append(documents)
        banded.append(keys)
        first_row += batch.num_rows
    if not described:
        documents, keys = _keys_of(config, task.index, 0, document_batch([], []))
        described, banded = [documents], [keys]
    partitions = _partitions(config, pa.concat_tables(banded))
    outputs = (
        publish_partitions(workspace, "bands", partitions, config.tag),
        publish_table(workspace, "documents", pa.concat_tables(described)),
    )
    return Outcome(
        outputs,
        metrics={"documents": first_row, "without_shingles": first_row - sum(t.num_rows for t in banded)},
    )


def candidates_task(task: Task, workspace: Workspace) -> Outcome:
    """Pairs of documents that share a band hash of one partition."""
    config: MinHashDeduplicator = task.config
    pairs, counts = _candidates(config, read_partition(task.inputs, task.index, config.tag))
    table = pa.table({"left": pairs.left, "right": pairs.right})
    return Outcome((publish_table(workspace, "candidates", table),), metrics=asdict(counts))


def pairs_task(task: Task, workspace: Workspace) -> Outcome:
    """Every candidate pair once, in chunks of bounded text."""
    config: _Clustering = task.config
    files = task.inputs[config.num_documents :]
    pairs = unique_pairs([pairs_from(read_table(piece)) for piece in files])
    nodes = np.unique(np.concatenate(pairs))
    documents = read_document_rows(task.inputs[: config.num_documents], nodes)
    sizes = characters_of(pairs, documents)
    outputs = publish_chunks(workspace, pairs, sizes, config.deduplicator.chunk_characters)
    return Outcome(tuple(outputs), metrics={"pairs": len(pairs.left)})


def clusters_task(task: Task, workspace: Workspace) -> Outcome:
    """Clusters of the accepted pairs, what is removed from each, and what is left to measure."""
    config: _Clustering = task.config
    tables = [read_table(piece) for piece in task.inputs[config.num_documents :]]
    pairs = concat_pairs([pairs_from(table) for table in tables])
    similarity = None
    if config.deduplicator.verify_threshold is not None:
        values = [table.column("similarity").to_numpy() for table in tables]
        similarity = np.concatenate(values) if values else np.empty(0)
    nodes = np.unique(np.concatenate(pairs))
    documents = read_document_rows(task.inputs[: config.num_documents], nodes)
    decided, open_pairs = _decide(config.deduplicator, pairs, similarity, documents)
    outputs = [publish_table(workspace, "decisions", decided)]
    sizes = characters_of(open_pairs, documents)
    outputs += publish_chunks(workspace, open_pairs, sizes, config.deduplicator.chunk_characters)
    sizes_of = decided.column("cluster_size").to_numpy()
    metrics = {
        "removed": decided.num_rows,
        "clusters": len(np.unique(decided.column("kept_ordinal").to_numpy())),
        "largest_cluster": int(sizes_of.max()) if len(sizes_of) else 0,
    }
    return Outcome(tuple(outputs), metrics=metrics)


def _keys_of(
    config: MinHashDeduplicator, part: int, first_row: int, batch: DocumentBatch
) -> tuple[pa.Table, pa.Table]:
    """The ``documents`` rows of a batch, and the band hashes of those that have shingles."""
    texts = batch.column("text")
    documents = document_columns(ordinals(part, first_row, batch.num_rows), batch, character_counts(texts))
    signatures = config.signatures(texts)
    with_shingles = (signatures != np.iinfo(signatures.dtype).max).any(axis=1)
    documents_banded = documents.filter(pa.array(with_shingles))
    hashes = band_hashes(signatures[with_shingles], config.bands, config.rows, config.sketcher.key)
    columns = {
        "ordinal": documents_banded.column("ordinal"),
        "priority": pa.array(priorities(documents_banded, config.keep)),
    }
    for band in range(config.bands):
        columns[f"band{band}"] = pa.array(np.ascontiguousarray(hashes[:, band]))
    return documents, pa.table(columns)


def _partitions(config: MinHashDeduplicator, banded: pa.Table) -> list[pa.Table]:
    """The rows (hash, priority, ordinal) of each band and partition, band by band."""
    tables = []
    for band in range(config.bands):
        hashes = banded.column(f"band{band}")
        table = pa.table(
            {"hash": hashes, "priority": banded.column("priority"), "ordinal": banded.column("ordinal")}
        )
        if config.band_partitions == 1:
            tables.append(table)
            continue
        partition = partition_of(hashes.to_numpy(), config.band_partitions)
        tables += [table.filter(pa.array(partition == p)) for p in range(config.band_partitions)]
    return tables


def _candidates(config: MinHashDeduplicator, rows: pa.Table) -> tuple[Pairs, BucketCounts]:
    hashes, priority, ordinal = (rows.column(name).to_numpy() for name in ("hash", "priority", "ordinal"))
    return candidate_pairs(hashes, priority, ordinal, config.max_bucket)


def _decide(
    config: MinHashDeduplicator, pairs: Pairs, similarity: np.ndarray | None, documents: pa.Table
) -> tuple[pa.Table, Pairs]:
    """Decisions, and the pairs (removed, kept) whose similarity is still unknown.

    `documents` holds the sorted rows of every document of `pairs`; `similarity` is None where
    pairs are accepted unmeasured.
    """
    accepted = pairs
    if similarity is not None and config.verify_threshold is not None:
        good = similarity >= config.verify_threshold
        accepted = Pairs(pairs.left[good], pairs.right[good])
    nodes, groups = components(accepted)
    rows = np.searchsorted(documents.column("ordinal").to_numpy(), nodes)
    decided = decide(groups, documents.take(pa.array(rows)), config.keep)
    removed = decided.column("ordinal").to_numpy()
    kept = decided.column("kept_ordinal").to_numpy()
    edges = lookup_pairs(accepted, np.ones(len(accepted.left)), removed, kept)
    direct = pa.array(np.isfinite(edges))
    decided = decided.set_column(decided.schema.get_field_index("direct"), "direct", direct)
    if similarity is None:
        return decided, Pairs(removed, kept)
    decided = with_similarities(decided, pairs, similarity)
    unknown = decided.column("similarity").is_null().to_numpy()
    return decided, Pairs(removed[unknown], kept[unknown])
