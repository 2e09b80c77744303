"""Parquet files, a row group at a time; a damaged row group costs itself, not the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from corpuskit.ingest.chunks import Chunk, ReadOptions
from corpuskit.ingest.tables import (
    DAMAGE,
    after,
    chunk_of,
    open_table,
    quarantine_file,
    split_batch,
    text_problem,
)
from corpuskit.jobs import Slice

if TYPE_CHECKING:
    from pyarrow import parquet


def read(piece: Slice, options: ReadOptions, skip: int) -> Iterator[Chunk]:
    """Read the documents of a Parquet file; ids are made from row numbers.

    A file that cannot be opened, or has no text column, is one quarantined record; so is a row
    group that cannot be decoded (what had been decoded before the damage is kept).
    """
    return after(_read(piece, options), skip)


def _read(piece: Slice, options: ReadOptions) -> Iterator[Chunk]:
    from pyarrow import parquet

    with open_table(piece.path) as (source, size):
        try:
            file = parquet.ParquetFile(source)
        except DAMAGE as error:
            yield quarantine_file(piece, 0, "ingest/damaged-file", f"not a whole Parquet file: {error}", 0)
            return
        with file:
            problem = text_problem(file.schema_arrow, options)
            if problem is not None:
                yield quarantine_file(piece, 0, "ingest/missing-text", problem, 0)
                return
            yield from _groups(file, size, piece, options)


def _groups(file: parquet.ParquetFile, size: int, piece: Slice, options: ReadOptions) -> Iterator[Chunk]:
    position = first_row = 0
    num_groups = file.metadata.num_row_groups
    for group in range(num_groups):
        row = first_row
        first_row += file.metadata.row_group(group).num_rows
        consumed = size * (group + 1) // num_groups
        try:
            for batch in file.iter_batches(options.batch_rows, row_groups=[group], use_threads=False):
                for part in split_batch(batch, options):
                    yield chunk_of(part, row, position, piece, options, consumed)
                    row += part.num_rows
                    position += part.num_rows
        except DAMAGE as error:
            detail = f"row group {group} is damaged from row {row} on ({first_row - row} rows): {error}"
            yield quarantine_file(piece, row, "ingest/damaged-file", detail, position)
            position += 1
