"""The tasks of a near-duplicate job, and the arithmetic that it shares with the call in memory.

Documents of an index have the part numbers below `Context.first_part`, so that an ordinal tells old from
new and "first in the order of the inputs" means what it says over all runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from corpuskit.dedup.apply import publish_decisions
from corpuskit.dedup.clusters import (
    BucketCounts,
    Pairs,
    candidate_pairs,
    components,
    concat_pairs,
    decide,
    lookup_pairs,
    unique_pairs,
)
from corpuskit.dedup.index import append
from corpuskit.dedup.keep import document_columns, has_quality, priorities
from corpuskit.dedup.partitions import (
    ordinals,
    partition_of,
    publish_partitions,
    publish_table,
    published,
    read_part,
    read_partition,
    read_table,
    require_whole,
)
from corpuskit.dedup.shingles import character_counts
from corpuskit.dedup.signatures import band_hashes
from corpuskit.dedup.verify import (
    characters_of,
    pairs_from,
    publish_chunks,
    read_document_rows,
    with_similarities,
)
from corpuskit.documents import DocumentBatch, document_batch
from corpuskit.files import arrow_path
from corpuskit.jobs import Outcome, Output, Slice, Task, Workspace
from corpuskit.partitioned import Groups

if TYPE_CHECKING:
    from corpuskit.dedup.minhash import MinHashDeduplicator

REASON = "dedup/near-duplicate"


@dataclass(frozen=True)
class Context:
    """What tasks over keys need: the configuration, and what lies before the run.

    Attributes
    ----------
    first_part : int
        Number of the run's first document part.
    texts : bool
        Publish the texts, for an index.
    """

    deduplicator: MinHashDeduplicator
    first_part: int
    texts: bool


@dataclass(frozen=True)
class Clustering:
    """A task over all ``documents`` tables, then what was removed from an index, then files of pairs."""

    deduplicator: MinHashDeduplicator
    first_part: int
    num_documents: int
    num_removed: int = 0


@dataclass(frozen=True)
class AppendConfig:
    """What `append_task` needs; see `corpuskit.dedup.index.append`. `kinds`: the outputs of each part."""

    directory: str
    run: str
    segments: tuple[str, ...]
    kinds: tuple[tuple[str, ...], ...]
    documents: int
    removed: int


def signatures_task(task: Task, workspace: Workspace) -> Outcome:
    """Band hashes of one document part, and what the keep rule needs to know of its documents."""
    context: Context = task.config
    config = context.deduplicator
    part = context.first_part + task.index
    described: list[pa.Table] = []
    banded: list[pa.Table] = []
    first_row = 0
    for _, batch in read_part(task.inputs[0], workspace):
        documents, keys = keys_of(config, part, first_row, batch)
        described.append(documents)
        banded.append(keys)
        first_row += batch.num_rows
    if not described:
        documents, keys = keys_of(config, part, 0, document_batch([], []))
        described, banded = [documents], [keys]
    documents = pa.concat_tables(described)
    outputs = [
        publish_partitions(workspace, "bands", partitions_of(config, pa.concat_tables(banded)), config.tag),
        publish_table(workspace, "documents", documents),
    ]
    if context.texts:
        outputs.append(_publish_texts(task.inputs[0], workspace))
    metrics = {
        "documents": first_row,
        "without_shingles": first_row - sum(t.num_rows for t in banded),
        "with_quality": has_quality(documents),
    }
    return Outcome(tuple(outputs), metrics=metrics)


def _publish_texts(piece: Slice, workspace: Workspace) -> Output:
    schema = pa.schema([("text", pa.large_string())])
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    with (
        workspace.publish("texts") as publication,
        pa.OSFile(arrow_path(publication.path), "wb") as sink,
        ipc.new_file(sink, schema, options=options) as writer,
    ):
        for _, batch in read_part(piece, workspace, ["text"]):
            texts = batch.column("text").cast(pa.large_string())
            writer.write_batch(pa.RecordBatch.from_arrays([texts], schema=schema))
            publication.rows += batch.num_rows
    return published(publication.output)


def candidates_task(task: Task, workspace: Workspace) -> Outcome:
    """Pairs of documents that share a band hash of one partition."""
    context: Context = task.config
    config = context.deduplicator
    new = read_partition(task.inputs[context.first_part :], task.index, config.tag)
    hashes = np.unique(new.column("hash").to_numpy())
    rows = pa.concat_tables(
        [*(_met(piece, task.index, config.tag, hashes) for piece in task.inputs[: context.first_part]), new]
    )
    pairs, counts = candidates_of(config, rows, context.first_part << 32)
    table = pa.table({"left": pairs.left, "right": pairs.right})
    metrics = asdict(counts)
    counted = {name: metrics[name] for name in ("giant_buckets", "giant_bucket_documents")}
    return Outcome((publish_table(workspace, "candidates", table),), metrics={**metrics, "counts": counted})


def _met(piece: Slice, partition: int, tag: str, hashes: np.ndarray) -> pa.Table:
    """The rows of one part of an index whose hashes are among (sorted) `hashes`: few, of many."""
    rows = read_partition([piece], partition, tag)
    found = rows.column("hash").to_numpy()
    place = np.searchsorted(hashes, found)
    place[place == len(hashes)] = 0
    return rows.filter(pa.array(hashes[place] == found)) if len(hashes) else rows.slice(0, 0)


def pairs_task(task: Task, workspace: Workspace) -> Outcome:
    """Every candidate pair once, in chunks of bounded text."""
    config: Clustering = task.config
    files = task.inputs[config.num_documents :]
    pairs = unique_pairs([pairs_from(read_table(piece)) for piece in files])
    nodes = np.unique(np.concatenate(pairs))
    documents = read_document_rows(task.inputs[: config.num_documents], nodes)
    sizes = characters_of(pairs, documents)
    limit = config.deduplicator.chunk_characters
    outputs, needed = publish_chunks(workspace, pairs, sizes, limit, config.num_documents)
    return Outcome(tuple(outputs), metrics={"pairs": len(pairs.left), **needed})


def clusters_task(task: Task, workspace: Workspace) -> Outcome:
    """Clusters of the accepted pairs, what is removed from each, and what is left to measure."""
    config: Clustering = task.config
    described = task.inputs[: config.num_documents]
    first_pairs = config.num_documents + config.num_removed
    tables = [read_table(piece) for piece in task.inputs[first_pairs:]]
    pairs = concat_pairs([pairs_from(table) for table in tables])
    similarity = None
    if config.deduplicator.verify_threshold is not None:
        values = [table.column("similarity").to_numpy() for table in tables]
        similarity = np.concatenate(values) if values else np.empty(0)
    nodes = np.unique(np.concatenate(pairs))
    earlier = [_removed(piece, nodes) for piece in task.inputs[config.num_documents : first_pairs]]
    decided, open_pairs = decide_pairs(
        config.deduplicator,
        pairs,
        similarity,
        read_document_rows(described, nodes),
        config.first_part << 32,
        pa.concat_tables(earlier) if earlier else None,
    )
    groups = Groups(config.num_documents - config.first_part, config.first_part)
    outputs = publish_decisions(workspace, decided, groups, config.deduplicator.cluster_columns)
    sizes = characters_of(open_pairs, read_document_rows(described, np.unique(np.concatenate(open_pairs))))
    limit = config.deduplicator.chunk_characters
    chunks, needed = publish_chunks(workspace, open_pairs, sizes, limit, config.num_documents)
    sizes_of = decided.column("cluster_size").to_numpy()
    metrics = {
        "removed": decided.num_rows,
        "clusters": len(np.unique(decided.column("kept_ordinal").to_numpy())),
        "largest_cluster": int(sizes_of.max()) if len(sizes_of) else 0,
        **needed,
    }
    return Outcome((*outputs, *chunks), metrics=metrics)


def _removed(piece: Slice, nodes: np.ndarray) -> pa.Table:
    """What an earlier run decided on documents among `nodes`."""
    table = read_table(piece)
    return table.filter(pa.array(np.isin(table.column("ordinal").to_numpy(), nodes)))


def append_task(task: Task, workspace: Workspace) -> Outcome:
    """Add the documents of the run to the index."""
    config: AppendConfig = task.config
    files = list(task.inputs[1:])
    for piece in files:
        require_whole(piece)
    parts, position = [], 0
    for kinds in config.kinds:
        parts.append({kind: files[position + i].path for i, kind in enumerate(kinds)})
        position += len(kinds)
    counts = {"documents": config.documents, "removed": config.removed}
    added = append(config.directory, config.run, config.segments, parts, files[position].path, counts)
    return Outcome((), metrics={"added": added, **counts})


def keys_of(
    config: MinHashDeduplicator, part: int, first_row: int, batch: DocumentBatch
) -> tuple[pa.Table, pa.Table]:
    """The ``documents`` rows of a batch, and the band hashes of those that have shingles."""
    texts = batch.column("text")
    numbers = ordinals(part, first_row, batch.num_rows)
    documents = document_columns(numbers, batch, character_counts(texts), config.quality_column)
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


def partitions_of(config: MinHashDeduplicator, banded: pa.Table) -> list[pa.Table]:
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


def candidates_of(
    config: MinHashDeduplicator, rows: pa.Table, new_from: int = 0
) -> tuple[Pairs, BucketCounts]:
    """Pairs among the rows of one partition."""
    hashes, priority, ordinal = (rows.column(name).to_numpy() for name in ("hash", "priority", "ordinal"))
    return candidate_pairs(hashes, priority, ordinal, config.max_bucket, new_from)


def decide_pairs(
    config: MinHashDeduplicator,
    pairs: Pairs,
    similarity: np.ndarray | None,
    documents: pa.Table,
    new_from: int = 0,
    earlier: pa.Table | None = None,
) -> tuple[pa.Table, Pairs]:
    """Decisions, and the pairs (removed, kept) whose similarity is still unknown.

    Parameters
    ----------
    similarity : float64 array or None
        Of each pair; None where pairs are accepted unmeasured.
    documents : pyarrow.Table
        The sorted rows of every document of `pairs`.
    new_from : int
        Documents with a smaller ordinal lie in the index.
    earlier : pyarrow.Table, optional
        What was removed from the documents of the index, sorted by ordinal.
    """
    accepted = pairs
    if similarity is not None and config.verify_threshold is not None:
        good = similarity >= config.verify_threshold
        accepted = Pairs(pairs.left[good], pairs.right[good])
    nodes, groups = components(accepted)
    rows = np.searchsorted(documents.column("ordinal").to_numpy(), nodes)
    decided = decide(groups, documents.take(pa.array(rows)), config.keep, new_from)
    if earlier is not None:
        decided = _resolved(decided, earlier)
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


def _resolved(decided: pa.Table, earlier: pa.Table) -> pa.Table:
    """`decided` with old documents that were removed themselves replaced by those kept for them."""
    gone = earlier.column("ordinal").to_numpy()
    kept = decided.column("kept_ordinal").to_numpy()
    if not len(gone) or not len(kept):
        return decided
    place = np.minimum(np.searchsorted(gone, kept), len(gone) - 1)
    hit = gone[place] == kept
    names = earlier.column("duplicate_of").take(pa.array(place)).combine_chunks()
    ordinal = np.where(hit, earlier.column("kept_ordinal").to_numpy()[place], kept)
    duplicate_of = pc.if_else(pa.array(hit), names, decided.column("duplicate_of").combine_chunks())
    for name, values in (("kept_ordinal", pa.array(ordinal)), ("duplicate_of", duplicate_of)):
        decided = decided.set_column(decided.schema.get_field_index(name), name, values)
    return decided
