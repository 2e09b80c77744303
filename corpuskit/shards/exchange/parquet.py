"""Parquet: one row a document, `id`, `tokens` as a list of integers, parallel columns as lists.

What Hugging Face `datasets`, Polars, DuckDB and Spark read without an adapter. Ids have no order and
thousands of values, so a dictionary page is work for nothing; bytes of ids split into planes
(``BYTE_STREAM_SPLIT``) compress best: 16.8 M ids of a Zipf distribution over 30,000 took 1.43 bytes an
id with zstd, 1.72 with a dictionary, 1.85 plain, and were the fastest of the three to write. Row groups
of 16 MiB of ids were as small as larger ones and faster (117 MB/s on one core, 89 for 64 MiB).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpuskit.errors import ConfigError, InputError
from corpuskit.files import arrow_path
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.exchange.common import (
    IncomingDocuments,
    TokenSource,
    atomic_directory,
    make_ids,
    require_same_tokenizer,
)
from corpuskit.shards.manifest import PARALLEL_TYPES, EndOfDocument, TokenizerLike
from corpuskit.shards.shardfile import require_choice

Compression = Literal["zstd", "lz4", "snappy", "gzip", "none"]
Encoding = Literal["byte_stream_split", "plain"]

DEFAULT_FILE_BYTES = 512 << 20
DEFAULT_ROW_GROUP_BYTES = 16 << 20
_METADATA_KEY = b"corpuskit"
_MAX_LENGTH = (1 << 31) - 1
# Column names that hold token ids in datasets of others.
TOKEN_COLUMNS = ("tokens", "input_ids", "token_ids", "ids")


@dataclass(frozen=True)
class Parquet:
    """A directory of ``00000.parquet …``; `datasets.load_dataset` takes its path.

    A directory ``train`` beside a directory ``validation`` are two splits to `datasets`.

    Attributes
    ----------
    file_bytes, row_group_bytes : int
        Size of a file and of a row group, in bytes of token ids before compression.
    compression : {"zstd", "lz4", "snappy", "gzip", "none"}
    encoding : {"byte_stream_split", "plain"}
        How ids are laid out before they are compressed; the first needs a reader of 2024 or later
        (pyarrow 15, DuckDB 1.2, Polars 1.x, parquet-java 1.15), ``plain`` any reader.
    tokens_column : str
        ``input_ids`` is what trainers of transformers expect.
    threads : int, optional
        Files written at a time, each with some 200 MB of memory; by default the number of cores, 4 at
        most. The files are the same for any number.
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    format_name: ClassVar[str] = "parquet"
    loses: ClassVar[tuple[str, ...]] = ()

    file_bytes: int = DEFAULT_FILE_BYTES
    row_group_bytes: int = DEFAULT_ROW_GROUP_BYTES
    compression: Compression = "zstd"
    encoding: Encoding = "byte_stream_split"
    tokens_column: str = "tokens"
    threads: int | None = None

    def __post_init__(self) -> None:
        require_choice("compression", self.compression, get_args(Compression))
        require_choice("encoding", self.encoding, get_args(Encoding))
        if not 1 <= self.row_group_bytes <= 1 << 30:
            raise ConfigError(f"{self.row_group_bytes} is not 1 to {1 << 30}", where="row_group_bytes")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"{self.threads} is not a number of threads", where="threads")
        if self.file_bytes < 1:
            raise ConfigError(f"{self.file_bytes} is not a size", where="file_bytes")
        if not self.tokens_column or self.tokens_column == "id":
            raise ConfigError(f"{self.tokens_column!r} cannot be the column of tokens", where="tokens_column")

    def has_room_for(self, column: str, kind: str) -> bool:
        return column != self.tokens_column

    def write(self, source: TokenSource, directory: Path) -> tuple[Path, ...]:
        schema = self._schema(source)
        threads = self.threads or min(4, os.cpu_count() or 1)
        written: list[Future[str]] = []
        with atomic_directory(directory) as staging, ThreadPoolExecutor(threads) as pool:
            for number, runs in enumerate(self._files(source)):
                path = staging / f"{number:05d}.parquet"
                written.append(pool.submit(self._write_file, path, schema, runs))
                if number >= threads:  # what waits is views of shards, and errors are to be heard
                    written[number - threads].result()
            names = [future.result() for future in written]
        return tuple(directory / name for name in names)

    def _files(self, source: TokenSource) -> Iterator[list[EncodedDocuments]]:
        """For each file the documents of its row groups."""
        group_bytes = min(self.row_group_bytes, self.file_bytes)
        groups: list[EncodedDocuments] = []
        used = 0
        for run in source.runs(max(1, group_bytes // source.manifest.dtype.itemsize)):
            if groups and used + run.tokens.nbytes > self.file_bytes:
                yield groups
                groups, used = [], 0
            groups.append(run)
            used += run.tokens.nbytes
        if groups:
            yield groups

    def _write_file(self, path: Path, schema: pa.Schema, groups: list[EncodedDocuments]) -> str:
        with self._open(path, schema) as writer:
            for run in groups:
                writer.write_table(_table(run, schema, self.tokens_column), row_group_size=len(run))
        return path.name

    def _schema(self, source: TokenSource) -> pa.Schema:
        manifest = source.manifest
        kinds = {self.tokens_column: pa.from_numpy_dtype(manifest.dtype)}
        kinds |= {name: PARALLEL_TYPES[manifest.columns[name]] for name in source.columns}
        fields = [pa.field("id", pa.string(), nullable=False)]
        fields += [
            pa.field(name, pa.list_(pa.field("element", kind, nullable=False)), nullable=False)
            for name, kind in kinds.items()
        ]
        about = {
            "tokenizer": manifest.tokenizer.fingerprint,
            "vocab_size": manifest.tokenizer.vocab_size,
            "end_of_text_id": manifest.tokenizer.end_of_text_id,
            "end_of_document": manifest.end_of_document,
            "tokens": self.tokens_column,
            "columns": {name: manifest.columns[name] for name in source.columns},
            "dataset": manifest.fingerprint,
        }
        return pa.schema(fields, {_METADATA_KEY: json.dumps(about, sort_keys=True).encode()})

    def _open(self, path: Path, schema: pa.Schema) -> pq.ParquetWriter:
        split = {
            f"{field.name}.list.element": "BYTE_STREAM_SPLIT"
            for field in schema
            if field.name != "id" and field.type.value_type.bit_width > 8
        }
        if self.encoding == "plain":
            split = {}
        return pq.ParquetWriter(
            str(path),
            schema,
            compression=self.compression.upper(),
            compression_level=1 if self.compression == "zstd" else None,
            use_dictionary=False,
            column_encoding=split or None,
            write_statistics=["id"],
            # A page of the default size would cut the planes of bytes short.
            data_page_size=1 << 20,
        )


def _table(run: EncodedDocuments, schema: pa.Schema, tokens_column: str) -> pa.Table:
    if run.offsets[-1] > _MAX_LENGTH:
        raise InputError(
            f"a document has {run.offsets[-1]} tokens, and a list of Parquet counts to {_MAX_LENGTH}",
            where=str(run.ids[0].as_py()),
            hint="export to nanogpt or nanoset",
        )
    offsets = pa.array(run.offsets.astype(np.int32))
    arrays: list[pa.Array] = [run.ids]
    for field in list(schema)[1:]:
        values = run.tokens if field.name == tokens_column else run.columns[field.name]
        arrays.append(pa.ListArray.from_arrays(offsets, pa.array(values), type=field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


class ParquetFiles:
    """Rows of Parquet files as documents (for `import_tokens`).

    Parameters
    ----------
    files : sequence of (Path, str)
        In order, each with the path that ids are made from where there is no column `id`.
    tokenizer : TokenizerLike
    tokens_column : str, optional
        By default the one that the files name, or the first of `TOKEN_COLUMNS` that they have.
    columns : sequence of str, optional
        Parallel columns to keep; by default those of the dataset that was exported.

    Raises
    ------
    InputError
        If a file is truncated or no Parquet file, or its columns are not what is asked for.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, str]],
        tokenizer: TokenizerLike,
        tokens_column: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        self._files = list(files)
        schemas = [_open_file(path).schema_arrow for path, _ in files]
        about = [_about(schema) for schema in schemas]
        for (path, _), facts in zip(files, about):
            require_same_tokenizer(facts.get("tokenizer"), tokenizer, str(path))
        policies = {facts.get("end_of_document") for facts in about}
        self.end_of_document: EndOfDocument | None = policies.pop() if len(policies) == 1 else None
        first, schema = files[0][0], schemas[0]
        self._tokens = tokens_column or about[0].get("tokens") or _tokens_column(schema, first)
        wanted = list(about[0].get("columns", ())) if columns is None else list(columns)
        self._has_id = "id" in schema.names
        self.columns: Mapping[str, str] = {name: _value_type(schema, name, first) for name in sorted(wanted)}
        for (path, _), other in zip(files, schemas):
            kind = _list_type(other, self._tokens, path).value_type
            if not pa.types.is_integer(kind):
                raise InputError(f"column {self._tokens!r} holds {kind}, no token ids", where=str(path))
            for name in self.columns:
                _list_type(other, name, path)
            if ("id" in other.names) != self._has_id:
                raise InputError("some files have a column id and some have none", where=str(path))
        read = {"id", self._tokens, *self.columns}
        self.lost: tuple[str, ...] = tuple(f"column {name}" for name in schema.names if name not in read)

    def __iter__(self) -> Iterator[IncomingDocuments]:
        for path, relative in self._files:
            file = _open_file(path)
            names = [*(["id"] if self._has_id else []), self._tokens, *self.columns]
            row = 0
            try:
                for batch in file.iter_batches(_batch_rows(file, self._tokens), columns=names):
                    if batch.num_rows:
                        yield IncomingDocuments(path, row, self._documents(batch, path, relative, row))
                    row += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise _damaged(path, error) from error

    def _documents(self, batch: pa.RecordBatch, path: Path, relative: str, row: int) -> EncodedDocuments:
        offsets, tokens = _values(batch, self._tokens, path, row)
        ids = make_ids(relative, row, batch.num_rows)
        if self._has_id:
            ids = batch.column("id")
            if ids.null_count:
                raise InputError("a document has no id", where=f"{path}: rows {row} to {row + len(ids)}")
            ids = ids.cast(pa.string())
        columns = {}
        for name in self.columns:
            other, values = _values(batch, name, path, row)
            if not np.array_equal(other, offsets):
                wrong = row + max(0, int(np.flatnonzero(other != offsets)[0]) - 1)
                raise InputError(
                    f"column {name!r} has not one value per token", where=f"{path}: row {wrong}",
                    hint="leave the column out, or make its lists as long as those of the tokens",
                )  # fmt: skip
            columns[name] = values
        return EncodedDocuments(ids, offsets, tokens, columns)


def _open_file(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(pa.memory_map(arrow_path(path)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"not a whole Parquet file: {error}",
        where=str(path),
        hint="it is damaged or truncated: copy it again",
    )


def _about(schema: pa.Schema) -> dict[str, Any]:
    stored = (schema.metadata or {}).get(_METADATA_KEY)
    return {} if stored is None else json.loads(stored)


def _tokens_column(schema: pa.Schema, path: Path) -> str:
    for name in TOKEN_COLUMNS:
        if name in schema.names:
            return name
    raise InputError(
        f"no column is called {' or '.join(TOKEN_COLUMNS)}; there are {', '.join(schema.names)}",
        where=str(path),
        hint="name the column of tokens with tokens_column= (--tokens-column)",
    )


def _list_type(schema: pa.Schema, name: str, path: Path) -> pa.DataType:
    if name not in schema.names:
        raise InputError(f"there is no column {name!r}; there are {', '.join(schema.names)}", where=str(path))
    kind = schema.field(name).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list:
        raise InputError(f"column {name!r} holds {kind}, no lists", where=str(path))
    return kind


def _value_type(schema: pa.Schema, name: str, path: Path) -> str:
    kind = _list_type(schema, name, path).value_type
    kind = pa.uint8() if pa.types.is_boolean(kind) else kind
    if str(kind) not in PARALLEL_TYPES:
        raise InputError(
            f"column {name!r} holds lists of {kind}, not of {', '.join(PARALLEL_TYPES)}",
            where=str(path),
            hint="leave the column out, or cast it first",
        )
    return str(kind)


def _batch_rows(file: pq.ParquetFile, tokens: str) -> int:
    """Rows that hold some 4 M tokens, by the row groups' own counts of values."""
    metadata = file.metadata
    values = rows = 0
    for group in range(metadata.num_row_groups):
        facts = metadata.row_group(group)
        for number in range(facts.num_columns):
            column = facts.column(number)
            if column.path_in_schema.split(".")[0] == tokens:
                values, rows = values + column.num_values, rows + facts.num_rows
    return max(1, min(1 << 16, (1 << 22) * max(rows, 1) // max(values, 1)))


def _values(batch: pa.RecordBatch, name: str, path: Path, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets from 0, and the values they cover."""
    column = batch.column(name)
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if column.null_count or column.values.null_count:
        raise InputError(
            f"column {name!r} has nulls", where=f"{path}: rows {row} to {row + batch.num_rows}",
            hint="leave the rows out before the import",
        )  # fmt: skip
    values = column.values
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
        raise InputError(f"column {name!r} holds {values.type}, no numbers", where=str(path))
    offsets = column.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], values.to_numpy()[offsets[0] : offsets[-1]]
