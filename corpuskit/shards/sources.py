"""Documents of any library that speaks Arrow, as batches with `id` and `text`.

The Arrow C stream protocol (``__arrow_c_stream__``) covers pyarrow, Polars frames, DuckDB relations and
`datasets.Dataset`. Four kinds have a better way, which streams where the protocol would first make
everything: pyarrow datasets (`to_batches`), Polars lazy frames (`collect_batches`), and the two classes
of Hugging Face (``with_format("arrow")``, which also follows their selections and shuffles).
They are known by their methods, so that nothing is imported that the caller does not use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from corpuskit.documents import document_id
from corpuskit.errors import InputError

# A batch of this many bytes of text or rows is encoded at a time; larger ones are cut.
_BATCH_BYTES = 32 << 20
_BATCH_ROWS = 16_384

_WANTED = (
    "give a pyarrow Table, RecordBatchReader or Dataset, a Hugging Face dataset, a Polars frame, a DuckDB "
    "relation, or an iterable of such tables; lists of dictionaries become one with pyarrow.Table.from_pylist"
)


def document_batches(
    documents: Any, *, text: str = "text", id: str | None = None, source: str = "documents"
) -> Iterator[pa.RecordBatch]:
    """Batches with the columns `id` and `text`.

    Parameters
    ----------
    documents
        See `corpuskit.shards.write`.
    text, id : str
        Names of the columns; without `id`, the column ``id`` where there is one.
    source : str
        Where there are no ids, they are ``document_id(source, number)``, counted from 0.

    Raises
    ------
    InputError
        If `documents` is of a kind that cannot be read, or a column is missing.
    """
    number = 0
    for batch in _batches(documents):
        texts = _column(batch, text)
        name = "id" if id is None and "id" in batch.schema.names else id
        if name is not None:
            ids = _column(batch, name)
        else:
            made = [document_id(source, number + row) for row in range(batch.num_rows)]
            ids = pa.array(made, pa.string())
        number += batch.num_rows
        yield from _cut(pa.RecordBatch.from_arrays([ids, texts], names=["id", "text"]))


def _batches(documents: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(documents, (str, bytes, Mapping)):
        raise _wrong(documents)
    if isinstance(documents, pa.RecordBatch):
        yield documents
    elif isinstance(documents, pa.Table):
        yield from documents.to_batches(max_chunksize=_BATCH_ROWS)
    elif hasattr(documents, "with_format") and hasattr(documents, "features"):
        for table in documents.with_format("arrow").iter(batch_size=1024):
            yield from table.to_batches()
    elif hasattr(documents, "collect_schema") and hasattr(documents, "collect_batches"):
        for frame in documents.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
            yield from _stream(frame)
    elif hasattr(documents, "collect_schema") and hasattr(documents, "collect"):
        frame = documents.collect()
        yield from _stream(frame if hasattr(frame, "__arrow_c_stream__") else documents)
    elif hasattr(documents, "to_batches") and hasattr(documents, "scanner"):
        yield from documents.to_batches(batch_size=_BATCH_ROWS)
    elif hasattr(documents, "__arrow_c_stream__"):
        yield from _stream(documents)
    elif hasattr(documents, "__arrow_c_array__"):
        try:
            yield pa.record_batch(documents)
        except (pa.ArrowException, TypeError) as error:
            raise _wrong(documents) from error
    elif isinstance(documents, Iterable):
        for part in documents:
            if isinstance(part, (str, bytes, Mapping)) or not _is_table(part):
                raise _wrong(part, "an iterable that yields ")
            yield from _batches(part)
    else:
        raise _wrong(documents)


def _is_table(value: Any) -> bool:
    return any(hasattr(value, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "to_batches"))


def _stream(documents: Any) -> Iterator[pa.RecordBatch]:
    try:
        reader = pa.RecordBatchReader.from_stream(documents)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            f"its Arrow stream cannot be read: {error}", where=type(documents).__name__
        ) from error
    yield from reader


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        raise InputError(
            f"the documents have no column {name!r}",
            where="documents",
            hint=f"they have {', '.join(batch.schema.names)}; name the text column with text=, ids with id=",
        )
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        values = column.dictionary
        if pa.types.is_string_view(values.type):  # which cannot be taken from
            values = values.cast(pa.large_string())
        column = pa.DictionaryArray.from_arrays(column.indices, values).dictionary_decode()
    return column


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Slices of about `_BATCH_BYTES`, so that what is encoded at once stays bounded."""
    if not batch.num_rows:
        return
    rows = max(1, min(_BATCH_ROWS, batch.num_rows * _BATCH_BYTES // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _wrong(documents: Any, prefix: str = "") -> InputError:
    kind = type(documents)
    return InputError(
        f"{prefix}{kind.__module__}.{kind.__qualname__} is nothing that documents can be read from",
        where="documents",
        hint=_WANTED,
    )
