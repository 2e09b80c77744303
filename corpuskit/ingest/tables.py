"""What Parquet and Arrow readers share: a table's batches to chunks of documents.

The user's columns go through as they are; only the text is cast (to large_string), and what Arrow
does not check by itself is checked: null texts, and bytes in a string column that are not UTF-8.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.documents import ID, OPTIONAL_FIELDS, TEXT, Quarantined, document_id
from corpuskit.files import arrow_path
from corpuskit.ingest.chunks import Chunk, ReadOptions
from corpuskit.ingest.columns import column_names
from corpuskit.ingest.remote import is_url
from corpuskit.ingest.streams import open_file
from corpuskit.jobs import Slice

# ValueError: a damaged schema's names may not be UTF-8, which pyarrow reports as Python does.
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError)


@contextmanager
def open_table(path: str) -> Iterator[tuple[pa.NativeFile, int]]:
    """A user's file for pyarrow, with its size; read, not mapped, and by ranges where it is remote.

    Raises
    ------
    InputError
        If it cannot be opened: a file that may not be read is an error, not a damaged one.
    """
    with open_file(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        source = pa.PythonFile(file, "r") if is_url(path) else pa.OSFile(arrow_path(path), "rb")
        with source:
            yield source, size


def text_problem(schema: pa.Schema, options: ReadOptions) -> str | None:
    """Why a table of this schema holds no documents, or None."""
    _read_names(schema)
    if schema.names.count(options.text_column) != 1:
        columns = ", ".join(schema.names)
        return f"the file has no single column {options.text_column!r}; its columns are: {columns}"
    kind = schema.field(options.text_column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return None if is_text else f"column {options.text_column!r} is {kind}, not text"


def _read_names(fields: Iterable[pa.Field]) -> None:
    """Raise ValueError for a name that is not UTF-8, at any depth, before a row is taken."""
    for field in fields:
        if field.name is not None:
            _read_names(field.type.field(index) for index in range(field.type.num_fields))


def split_batch(batch: pa.RecordBatch, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    """Consecutive pieces of a batch within `batch_rows` and `batch_bytes` of text."""
    column = _plain_text(batch.column(options.text_column))
    sizes = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(sizes, dtype=np.int64)
    start = 0
    while start < batch.num_rows:
        before = ends[start - 1] if start else 0
        # The piece ends with the row that reaches the bytes.
        stop = int(np.searchsorted(ends, before + options.batch_bytes)) + 1
        stop = min(stop, start + options.batch_rows, batch.num_rows)
        yield batch.slice(start, stop - start)
        start = stop


def chunk_of(
    batch: pa.RecordBatch,
    first_row: int,
    position: int,
    piece: Slice,
    options: ReadOptions,
    consumed_bytes: int,
) -> Chunk:
    """Documents and quarantined rows of one piece of a table.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    first_row : int
        Row number of the batch's first row in the file; ids are made from it.
    position : int
        Records of the slice before this batch.
    """
    texts, problems = _check_texts(batch.column(options.text_column), options)
    for name, column in zip(batch.schema.names, batch.columns):
        if name != options.text_column:
            for row, detail in _invalid_rows(column):
                problems.setdefault(row, ("ingest/bad-utf8", f"column {name!r}: {detail}"))
    quarantined = [
        Quarantined(piece.path, first_row + row, reason, detail)
        for row, (reason, detail) in sorted(problems.items())
    ]
    keep = [row for row in range(batch.num_rows) if row not in problems]
    documents = None
    if keep:
        ids = [document_id(piece.relative_path, first_row + row) for row in keep]
        chosen = batch if not problems else batch.take(pa.array(keep, pa.int64()))
        documents = _documents(
            chosen, ids, texts if not problems else texts.take(pa.array(keep)), piece, options
        )
    return Chunk(documents, quarantined, batch.num_rows, position + batch.num_rows, consumed_bytes)


def quarantine_file(piece: Slice, offset: int, reason: str, detail: str, position: int) -> Chunk:
    """A chunk for a file, or a stretch of one, that cannot be read: one record."""
    return Chunk(None, [Quarantined(piece.path, offset, reason, detail)], 1, position + 1, 0)


def after(chunks: Iterator[Chunk], skip: int) -> Iterator[Chunk]:
    """The chunks that begin after `skip` records."""
    return (chunk for chunk in chunks if chunk.position > skip)


def _documents(
    batch: pa.RecordBatch, ids: list[str], texts: pa.Array, piece: Slice, options: ReadOptions
) -> pa.RecordBatch:
    names = column_names(batch.schema.names, options.text_column)
    arrays: list[pa.Array] = [pa.array(ids, ID.type), texts]
    fields: list[pa.Field] = [ID, TEXT]
    for field, column in zip(batch.schema, batch.columns):
        if field.name == options.text_column:
            continue
        name = names[field.name]
        if name in OPTIONAL_FIELDS:
            column = _as_string(column)
        arrays.append(column)
        fields.append(field.with_name(name).with_type(column.type))
    if "source" not in names.values():
        arrays.append(pa.array([piece.relative_path] * batch.num_rows, OPTIONAL_FIELDS["source"]))
        fields.append(pa.field("source", OPTIONAL_FIELDS["source"]))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _check_texts(column: pa.Array, options: ReadOptions) -> tuple[pa.Array, dict[int, tuple[str, str]]]:
    """The text column as large_string, and by row what is wrong (those rows' texts are null)."""
    column = _plain_text(column)
    raw = column.cast(pa.large_binary())
    problems: dict[int, tuple[str, str]] = {}
    for row in np.flatnonzero(pc.is_null(raw).to_numpy(zero_copy_only=False)).tolist():
        problems[row] = ("ingest/missing-text", f"{options.text_column!r} is null")
    sizes = pc.fill_null(pc.binary_length(raw), 0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(sizes > options.max_document_bytes).tolist():
        detail = f"the text has {sizes[row]} bytes, more than {options.max_document_bytes}"
        problems[row] = ("ingest/too-large", detail)
    try:
        texts = raw.cast(TEXT.type)  # checks the UTF-8
    except pa.ArrowInvalid:
        values = raw.to_pylist()
        for row, value in enumerate(values):
            try:
                values[row] = None if value is None else value.decode("utf-8")
            except UnicodeDecodeError as error:
                problems[row] = ("ingest/bad-utf8", f"byte {error.start} of the text: {error.reason}")
                values[row] = None
        texts = pa.array(values, TEXT.type)
    return texts, problems


def _invalid_rows(column: pa.Array) -> Iterator[tuple[int, str]]:
    """Rows whose strings are not UTF-8: every later reader of the column would stop at them."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        for row in range(len(column)):
            try:
                column.take(pa.array([row])).validate(full=True)
            except pa.ArrowInvalid as error:
                yield row, str(error)


def _plain_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(TEXT.type) if pa.types.is_string_view(column.type) else column


def _as_string(column: pa.Array) -> pa.Array:
    wanted = pa.string()
    if column.type == wanted:
        return column
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values = [
            None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in column.to_pylist()
        ]
        return pa.array(values, wanted)
