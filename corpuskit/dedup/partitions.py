"""Intermediate files of a deduplication: keys grouped by partition, and plain tables.

One task writes one partitioned file: an uncompressed Arrow file whose record batch number p holds
the rows of partition p, so that a later task memory-maps just its own partition of every file
(hashes do not compress, and one file per task and partition would be a million files). The schema
carries the tag of whatever made the keys; reading with another tag is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from corpuskit.documents import DocumentBatch
from corpuskit.errors import ArtifactError, MismatchError
from corpuskit.files import arrow_path
from corpuskit.jobs import Output, Slice, Workspace
from corpuskit.parts import read_documents

_TAG = b"corpuskit.keys"
_ROW_BITS = np.uint64(32)
_ROW_MASK = np.uint64((1 << 32) - 1)


def ordinals(part: int, first_row: int, num_rows: int) -> np.ndarray:
    """Document numbers of one job: part in the upper 32 bits, row below (uint64)."""
    start = (part << 32) + first_row
    return np.arange(start, start + num_rows, dtype=np.uint64)


def part_of(documents: np.ndarray) -> np.ndarray:
    """The part number of each ordinal (int64)."""
    return (documents >> _ROW_BITS).astype(np.int64)


def row_of(documents: np.ndarray) -> np.ndarray:
    """The row within its part of each ordinal (int64)."""
    return (documents & _ROW_MASK).astype(np.int64)


def rows_in_part(documents: np.ndarray, part: int) -> slice:
    """Where the ordinals of one part lie in a sorted array of ordinals."""
    bounds = np.array([part << 32, (part + 1) << 32], np.uint64)
    start, stop = np.searchsorted(documents, bounds)
    return slice(int(start), int(stop))


def partition_of(hashes: np.ndarray, partitions: int) -> np.ndarray:
    """The partition of each 64-bit hash, by its upper half (int64)."""
    half = np.uint64(32)
    return (((hashes >> half) * np.uint64(partitions)) >> half).astype(np.int64)


def publish_partitions(workspace: Workspace, kind: str, partitions: Sequence[pa.Table], tag: str) -> Output:
    """Write one record batch per partition (all of the same columns)."""
    schema = partitions[0].schema.with_metadata({_TAG: tag.encode()})
    with (
        workspace.publish(kind) as publication,
        pa.OSFile(arrow_path(publication.path), "wb") as sink,
        ipc.new_file(sink, schema) as writer,
    ):
        for table in partitions:
            batches = table.replace_schema_metadata(schema.metadata).combine_chunks().to_batches()
            writer.write_batch(batches[0] if batches else _empty(schema))
            publication.rows += table.num_rows
    return published(publication.output)


def read_partition(files: Sequence[Slice], partition: int, tag: str) -> pa.Table:
    """The rows of one partition of all files.

    Raises
    ------
    MismatchError
        If a file's keys were made with another configuration.
    ArtifactError
        If a file is not whole.
    """
    tables = []
    for piece in files:
        try:
            with pa.memory_map(arrow_path(piece.path)) as source, ipc.open_file(source) as reader:
                found = (reader.schema.metadata or {}).get(_TAG, b"").decode()
                if found != tag:
                    raise MismatchError(
                        f"keys made by {found!r} cannot be compared with {tag!r}", where=piece.path
                    )
                tables.append(pa.Table.from_batches([reader.get_batch(partition)]))
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(piece.path, error) from error
    return pa.concat_tables(tables)


def publish_table(workspace: Workspace, kind: str, table: pa.Table, part: int = 0) -> Output:
    """Write a table as a compressed Arrow file."""
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    with (
        workspace.publish(kind, part) as publication,
        pa.OSFile(arrow_path(publication.path), "wb") as sink,
        ipc.new_file(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table, max_chunksize=1 << 16)
        publication.rows = table.num_rows
    return published(publication.output)


def read_table(piece: Slice) -> pa.Table:
    """Read what `publish_table` wrote."""
    try:
        with pa.memory_map(arrow_path(piece.path)) as source, ipc.open_file(source) as reader:
            return reader.read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(piece.path, error) from error


def read_part(
    piece: Slice, workspace: Workspace, columns: Sequence[str] | None = None, skip: int = 0
) -> Iterator[tuple[int, DocumentBatch]]:
    """The batches of a document part from number `skip` on, numbered, with progress in bytes."""
    reported = 0
    try:
        with pa.memory_map(arrow_path(piece.path)) as source, ipc.open_file(source) as reader:
            num_batches, size = reader.num_record_batches, source.size()
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(piece.path, error) from error
    for index, batch in enumerate(read_documents(piece.path, columns)):
        if index >= skip:
            yield index, batch
        done = size * (index + 1) // num_batches
        workspace.report_progress(done - reported)
        reported = done


def published(output: Output | None) -> Output:
    """The output of a finished `Workspace.publish` block."""
    if output is None:
        raise ArtifactError("the output was not published")
    return output


def _damaged(path: str, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"not a whole Arrow file: {error}", where=path, hint="run again with --verify to rebuild it"
    )


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
