"""Arrow files (Feather v2) and Arrow streams, a record batch at a time.

Read, not memory-mapped: a user's file that is cut while it is mapped kills the process. Every
batch is validated, because a damaged offset buffer would be read out of bounds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyarrow import ipc

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

_FILE_MAGIC = b"ARROW1"


def read(piece: Slice, options: ReadOptions, skip: int) -> Iterator[Chunk]:
    """Read the documents of an Arrow IPC file or stream; ids are made from row numbers.

    A file that cannot be opened, or has no text column, is one quarantined record; so is the rest
    of a file from a damaged batch on.
    """
    return after(_read(piece, options), skip)


def _read(piece: Slice, options: ReadOptions) -> Iterator[Chunk]:
    position = 0
    try:
        with open_table(piece.path) as (source, size):
            is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            source.seek(0)
            reader = ipc.open_file(source) if is_file else ipc.open_stream(source)
            problem = text_problem(reader.schema, options)
            if problem is not None:
                yield quarantine_file(piece, 0, "ingest/missing-text", problem, 0)
                return
            for batch in _batches(reader, options):
                for part in split_batch(batch, options):
                    consumed = min(size, source.tell())
                    yield chunk_of(part, position, position, piece, options, consumed)
                    position += part.num_rows
    except DAMAGE as error:
        detail = f"damaged from row {position} on: {error}"
        yield quarantine_file(piece, position, "ingest/damaged-file", detail, position)


def _batches(reader, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, ipc.RecordBatchFileReader):
        batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        batches = iter(reader)
    text_types = (pa.string(), pa.large_string())
    for batch in batches:
        batch.validate()
        # The full check of a text column would refuse the batch for one text that is not UTF-8,
        # which `chunk_of` quarantines by itself; its bytes are checked as binary.
        for column in batch.columns:
            if column.type in text_types:
                column = column.view(pa.binary() if column.type == pa.string() else pa.large_binary())
            column.validate(full=True)
        yield batch
