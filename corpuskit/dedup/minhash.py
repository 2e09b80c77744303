"""Near-duplicate documents by signatures, band hashes and clusters.

Phases of the job: `signatures` (a task per document part), `candidates` (a task per band and
partition: equal band hashes become pairs), `pairs` (every pair once, cut into chunks), `texts` (what
each chunk needs of each document part), `verify` (exact Jaccard similarity of the pairs), `clusters`
(connected components, keep rule), `more-texts` and `compare` (similarity of each removed document with
the one kept, where `verify` has not measured it) and `apply`; with an index, `append` adds the documents
to it. Only band hashes are stored: 336 bytes a document at 14 bands, not the signature.

With 14 bands of 8 rows a pair of similarity 0.8 is found with probability 0.92, of 0.9 with
0.9996; two unrelated documents meet in a band with probability 2**-64 or so. Documents without a
single counting character have no shingles and are never near-duplicates.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import xxhash

from corpuskit.clean.line_memory import stored_bytes
from corpuskit.dedup.apply import ApplyConfig, Decided, Deduplicated, plan_apply, split
from corpuskit.dedup.clusters import BucketCounts, unique_pairs
from corpuskit.dedup.index import IndexState
from corpuskit.dedup.keep import QUALITY_COLUMN, Keep, check_keep, has_quality, require_quality
from corpuskit.dedup.memory import (
    bucket_memory,
    cluster_memory,
    measure_memory,
    most_rows,
    pair_memory,
    removal_memory,
    rows_of,
    text_memory,
    with_memory,
)
from corpuskit.dedup.minhash_tasks import (
    REASON,
    AppendConfig,
    Clustering,
    Context,
    append_task,
    candidates_of,
    candidates_task,
    clusters_task,
    decide_pairs,
    keys_of,
    pairs_task,
    partitions_of,
    signatures_task,
)
from corpuskit.dedup.partitions import ordinals
from corpuskit.dedup.shingles import Ignore
from corpuskit.dedup.signatures import Scheme, Sketcher, band_hashes, require_range
from corpuskit.dedup.verify import (
    MeasureConfig,
    measure,
    plan_measure,
    plan_texts,
    with_similarities,
)
from corpuskit.documents import DocumentBatch, DroppedText
from corpuskit.jobs import Entry, Output, Slice, Task, outputs_of
from corpuskit.partitioned import Groups
from corpuskit.parts import DEFAULT_PART_BYTES

BAND_ROW_BYTES = 24
"""Hash, priority and ordinal of a document in one band."""

_PROBE = "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。\u3000Ａ1 é 𠀀"
"""Any text; its hashes name the way in which this version of the package hashes."""


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
    keep : {"longest", "newest", "best-quality", "first"}
        Which document of a cluster stays; ties go to the smallest id.
    quality_column : str
        The numeric column that ``best-quality`` compares.
    cluster_columns : bool
        Give kept documents the columns `cluster_id` and `cluster_size`; removed ones always have them.
    verify_threshold : float or None
        Exact Jaccard similarity that a pair of documents must reach (0 to 1). None accepts every
        pair that shares a band.
    max_bucket : int
        Buckets with more documents yield only the pairs with their first document.
    band_partitions : int
        Partitions per band. A `candidates` task needs up to 250 bytes for each document of its
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
    quality_column: str = QUALITY_COLUMN
    cluster_columns: bool = False
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
        index: str | os.PathLike | None = None,
    ) -> MinHashJob:
        """The work for document parts as `DocumentSink` writes them, one slice each.

        Parameters
        ----------
        index : path-like, optional
            Directory of an index (`corpuskit.dedup.index`; made where it does not exist). Documents
            that duplicate one of it are removed whatever the keep rule says, and at the end all documents
            of `inputs` are added.

        Raises
        ------
        MismatchError
            If the index was made with another configuration.
        """
        state = None if index is None else IndexState.open(index, self._index_settings, inputs)
        return MinHashJob(self, tuple(inputs), name, dropped_text, part_bytes, state)

    @property
    def _index_settings(self) -> dict[str, Any]:
        """What documents of different runs must agree in; `hashes` tells versions that hash differently."""
        names = ("ngram", "bands", "rows", "scheme", "seed", "ignore", "keep", "verify_threshold")
        hashes = band_hashes(self.signatures(pa.array([_PROBE])), self.bands, self.rows, self.sketcher.key)
        settings = {name: getattr(self, name) for name in (*names, "max_bucket", "band_partitions")}
        return {**settings, "hashes": xxhash.xxh3_64_hexdigest(hashes.tobytes())}

    def deduplicate(self, batches: Iterable[DocumentBatch]) -> Deduplicated:
        """Deduplicate batches in memory.

        The same decisions as the job takes on the same documents, each batch as one part.
        """
        held = list(batches)
        keys = [keys_of(self, part, 0, batch) for part, batch in enumerate(held)]
        if not keys:
            return Deduplicated([], [])
        documents = pa.concat_tables([table for table, _ in keys])
        require_quality(self.keep, self.quality_column, documents.num_rows, has_quality(documents))
        banded = pa.concat_tables([table for _, table in keys])
        counts, pieces = BucketCounts(), []
        for partition in partitions_of(self, banded):
            pairs, found = candidates_of(self, partition)
            counts += found
            pieces.append(pairs)
        pairs = unique_pairs(pieces)
        texts = pa.concat_arrays([batch.column("text").cast(pa.large_string()) for batch in held])
        ordinal = documents.column("ordinal").to_numpy()
        similarity = None
        if self.verify_threshold is not None:
            similarity = measure(pairs, ordinal, texts, self.ngram, self.ignore)
        nodes = np.searchsorted(ordinal, np.unique(np.concatenate(pairs)))
        removed, open_pairs = decide_pairs(self, pairs, similarity, documents.take(pa.array(nodes)))
        measured = measure(open_pairs, ordinal, texts, self.ngram, self.ignore)
        decided = Decided.of(with_similarities(removed, open_pairs, measured))
        config = ApplyConfig(REASON, self.verify_threshold, 1, cluster_columns=self.cluster_columns)
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
    index: IndexState | None = None

    @property
    def phases(self) -> tuple[str, ...]:
        """`append` only with an index."""
        always = ("signatures", "candidates", "pairs", "texts", "verify", "clusters", "more-texts", "compare")
        return (*always, "apply") if self.index is None else (*always, "apply", "append")

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks of a phase, given the entries of the earlier ones."""
        if not self.inputs:
            return []
        config = self.deduplicator
        old = () if self.index is None else self.index.parts
        context = Context(config, len(old), self.index is not None)
        if phase == "signatures":
            return [Task(i, signatures_task, (piece,), context) for i, piece in enumerate(self.inputs)]
        if phase == "candidates":
            self._require_quality(done["signatures"])
            keys = (*(part.bands for part in old), *_slices(done["signatures"], "bands"))
            partitions = config.bands * config.band_partitions
            new_rows = rows_of(outputs_of(done["signatures"], "bands"))
            old_rows = sum(stored_bytes(part.bands) for part in old) // BAND_ROW_BYTES
            memory = bucket_memory(-(-new_rows // partitions), -(-old_rows // partitions))
            return [Task(i, candidates_task, keys, context, memory, i) for i in range(partitions)]
        documents = (*(part.documents for part in old), *_slices(done["signatures"], "documents"))
        if phase == "pairs":
            clustering = Clustering(config, len(old), len(documents))
            candidates = outputs_of(done["candidates"], "candidates")
            memory = pair_memory(rows_of(candidates), *self._documents(done["signatures"]))
            files = (*documents, *(output.as_slice() for output in candidates))
            return [Task(0, pairs_task, files, clustering, memory)]
        if phase in ("texts", "verify"):
            if config.verify_threshold is None:
                return []
            return self._texts(done["pairs"]) if phase == "texts" else self._measure(done, "pairs", "texts")
        if phase == "clusters":
            removed = () if self.index is None else self.index.decisions
            pairs = (
                outputs_of(done["pairs"], "pairs")
                if config.verify_threshold is None
                else outputs_of(done["verify"], "similarities")
            )
            clustering = Clustering(config, len(old), len(documents), len(removed))
            memory = cluster_memory(rows_of(pairs), *self._documents(done["signatures"]))
            files = (*documents, *removed, *(output.as_slice() for output in pairs))
            return [Task(0, clusters_task, files, clustering, memory)]
        if phase == "more-texts":
            return self._texts(done["clusters"])
        if phase == "compare":
            return self._measure(done, "clusters", "more-texts", self._groups)
        decisions = outputs_of(done["clusters"], "decisions")
        if phase == "append":
            return self._append(done["signatures"], decisions)
        apply_config = ApplyConfig(
            REASON, config.verify_threshold, 0, self.dropped_text, self.part_bytes, config.cluster_columns,
            len(old),
        )  # fmt: skip
        gone, measured = rows_of(decisions), rows_of(outputs_of(done["compare"], "similarities"))
        documents_of = [output.rows for output in outputs_of(done["signatures"], "documents")]
        memory_bytes = [
            removal_memory(min(gone, rows), min(measured, rows))
            for rows in self._groups.rows_of(documents_of)
        ]
        return plan_apply(self.inputs, done["clusters"], done["compare"], apply_config, memory_bytes)

    @property
    def _groups(self) -> Groups:
        """Of the parts of the run."""
        return Groups(len(self.inputs), 0 if self.index is None else len(self.index.parts))

    def _documents(self, entries: Sequence[Entry]) -> tuple[int, int]:
        """Documents of the run and of the index, and of the longest part."""
        new = outputs_of(entries, "documents")
        old = (
            []
            if self.index is None
            else [_band_rows(part.bands, self.deduplicator) for part in self.index.parts]
        )
        return rows_of(new) + sum(old), max([most_rows(new), *old])

    def _require_quality(self, entries: Sequence[Entry]) -> None:
        metrics = [entry.outcome.metrics for entry in entries]
        documents = sum(m["documents"] for m in metrics)
        config = self.deduplicator
        found = any(m["with_quality"] for m in metrics)
        require_quality(config.keep, config.quality_column, documents, found)

    def _texts(self, entries: Sequence[Entry]) -> list[Task]:
        old = () if self.index is None else self.index.parts
        parts = [*(part.texts for part in old), *self.inputs]
        (entry,) = entries
        (needed,) = outputs_of(entries, "needed")
        numbers, rows = entry.outcome.metrics["parts_needed"], [0] * len(parts)
        for part, count in zip(numbers, entry.outcome.metrics["rows_needed"]):
            rows[part] = count
        rows = Groups(len(parts)).rows_of(rows)
        return [
            replace(task, memory_bytes=text_memory(stored_bytes(task.inputs[0]), rows[part]))
            for part, task in zip(
                numbers, plan_texts(parts, needed, len(outputs_of(entries, "pairs")), numbers)
            )
        ]

    def _measure(
        self, done: Mapping[str, Sequence[Entry]], pairs: str, texts: str, groups: Groups | None = None
    ) -> list[Task]:
        config = self.deduplicator
        chunks, files = outputs_of(done[pairs], "pairs"), outputs_of(done[texts], "texts")
        texts_bytes = sum(output.bytes for output in files)
        memory = measure_memory(config.chunk_characters, texts_bytes, most_rows(chunks))
        tasks = plan_measure(chunks, files, MeasureConfig(config.ngram, config.ignore, groups))
        return with_memory(tasks, memory)

    def _append(self, entries: Sequence[Entry], decisions: Sequence[Output]) -> list[Task]:
        if self.index is None:
            return []
        files = [output for entry in entries for output in entry.outcome.outputs]
        inputs = (self.index.manifest, *(output.as_slice() for output in (*files, *decisions)))
        config = AppendConfig(
            self.index.directory,
            self.index.run,
            self.index.segments,
            tuple(tuple(output.kind for output in entry.outcome.outputs) for entry in entries),
            sum(output.rows for output in files if output.kind == "documents"),
            sum(output.rows for output in decisions),
        )
        return [Task(0, append_task, inputs, config)]


def _band_rows(bands: Slice, config: MinHashDeduplicator) -> int:
    """Documents of a part of an index, from the size of its file of band hashes."""
    return -(-stored_bytes(bands) // (BAND_ROW_BYTES * config.bands))


def _slices(entries: Sequence[Entry], kind: str) -> tuple[Slice, ...]:
    return tuple(output.as_slice() for output in outputs_of(entries, kind))
