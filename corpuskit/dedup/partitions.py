"""Intermediate files of a deduplication: keys grouped by partition, and plain tables.

One task writes one partitioned file (`corpuskit.partitioned`): its record batch number p holds the rows of
partition p, so that a later task reads just its own partition of every file. Hashes do not compress, so the
file is uncompressed unless asked. The schema carries the tag of whatever made the keys; reading with another
tag is refused.

What is decided on documents is partitioned by `corpuskit.partitioned.Groups` of document parts, so that the
task that applies it to a part reads what concerns the part, not what was decided on the whole corpus.

What is read is checked: each partition against a checksum that lies beside it, everything else
against the checksum that the ledger names. A file that fails is moved aside (``.….damaged``), so that
the next run of the same command finds it missing and makes it again; files that this run did not
make (an index) are only named. XXH3 reads 10 GB/s, a hundredth of the time that the rest takes.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from corpuskit.documents import DocumentBatch
from corpuskit.errors import ArtifactError, MismatchError
from corpuskit.files import arrow_path, checksum
from corpuskit.jobs import Output, Slice, Workspace
from corpuskit.partitioned import read_batch, write_batch

_TAG = b"corpuskit.keys"
_ROW_BITS = np.uint64(32)
_ROW_MASK = np.uint64((1 << 32) - 1)

STORED = "stored:"
"""Prefix of the identity of a file that an earlier run left for later ones; the checksum follows."""


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


def publish_partitions(
    workspace: Workspace,
    kind: str,
    partitions: Iterable[pa.Table],
    tag: str,
    compression: str | None = None,
) -> Output:
    """Write one record batch per partition (at least one; all of the same columns), each as it comes."""
    remaining = iter(partitions)
    first = next(remaining)
    schema = first.schema.with_metadata({_TAG: tag.encode()})
    codec = None if compression is None else pa.Codec(compression, compression_level=1)
    options = ipc.IpcWriteOptions(compression=codec)
    with (
        workspace.publish(kind) as publication,
        pa.OSFile(arrow_path(publication.path), "wb") as sink,
        ipc.new_file(sink, schema, options=options) as writer,
    ):
        for table in itertools.chain([first], remaining):
            batches = table.replace_schema_metadata(schema.metadata).combine_chunks().to_batches()
            write_batch(writer, batches[0] if batches else _empty(schema))
            publication.rows += table.num_rows
            publication.batches += 1
    return published(publication.output)


def read_partition(files: Sequence[Slice], partition: int, tag: str) -> pa.Table:
    """The rows of one partition of all files.

    Raises
    ------
    MismatchError
        If a file's keys were made with another configuration.
    ArtifactError
        If a file is not as it was written.
    """
    tables = []
    for piece in files:

        def accept(schema: pa.Schema, piece: Slice = piece) -> None:
            found = (schema.metadata or {}).get(_TAG, b"").decode()
            if found != tag:
                require_whole(piece)
                raise MismatchError(
                    f"keys made by {found!r} cannot be compared with {tag!r}", where=piece.path
                )

        try:
            tables.append(pa.Table.from_batches([read_batch(piece.path, partition, accept)]))
        except (pa.ArrowException, OSError) as error:
            raise damaged(piece, str(error)) from error
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
    """Read what `publish_table` wrote, or all partitions of a file.

    Raises
    ------
    ArtifactError
        If the file is not as it was written.
    """
    require_whole(piece)
    try:
        with pa.memory_map(arrow_path(piece.path)) as source, ipc.open_file(source) as reader:
            return reader.read_all().replace_schema_metadata(None)
    except (pa.ArrowException, OSError) as error:
        raise damaged(piece, str(error)) from error


def read_part(
    piece: Slice, workspace: Workspace, columns: Sequence[str] | None = None, skip: int = 0
) -> Iterator[tuple[int, DocumentBatch]]:
    """The batches of a document part from number `skip` on, numbered, with progress in bytes.

    Raises
    ------
    ArtifactError
        If the file is not as it was written.
    """
    reported = 0
    require_whole(piece)
    try:
        with pa.memory_map(arrow_path(piece.path)) as source:
            size = source.size()
            with ipc.open_file(source) as reader:
                names = reader.schema.names
            options = ipc.IpcReadOptions(
                included_fields=None if columns is None else [names.index(name) for name in columns]
            )
            with ipc.open_file(source, options=options) as reader:
                num_batches = reader.num_record_batches
                for index in range(skip, num_batches):
                    yield index, reader.get_batch(index)
                    done = size * (index + 1) // num_batches
                    workspace.report_progress(done - reported)
                    reported = done
    except (pa.ArrowException, OSError) as error:
        raise damaged(piece, str(error)) from error


def require_whole(piece: Slice) -> None:
    """Raise `ArtifactError` where a file's checksum is known and is another one.

    The user's own files have none (`corpuskit.jobs.Slice`).
    """
    known = (piece.identity or "").removeprefix(STORED)
    if not re.fullmatch("[0-9a-f]{32}", known):
        return
    try:
        found = checksum(piece.path)
    except OSError as error:
        raise damaged(piece, str(error)) from error
    if found != known:
        raise damaged(piece, f"its checksum is {found}, not {known}")


def damaged(piece: Slice, detail: str) -> ArtifactError:
    """The error for a file that is not as it was written, moved aside where the run can make it again."""
    path = Path(piece.path)
    hint = "bring it back from a backup, or make it again from the documents"
    if piece.identity is not None and not piece.identity.startswith(STORED):
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f".{path.name}.damaged"))
        hint = "run the same command again: it makes this file anew and goes on"
    return ArtifactError(f"damaged or not a whole Arrow file: {detail}", where=piece.path, hint=hint)


def published(output: Output | None) -> Output:
    """The output of a finished `Workspace.publish` block."""
    if output is None:
        raise ArtifactError("the output was not published")
    return output


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
