"""Files of segmented text: words with separators, JSON Lines, or Arrow.

JSON and separators are made by kernels over the words' bytes, so that writing is not what costs.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, cast

import numpy as np
import pyarrow as pa
import zstandard
from pyarrow import ipc

from corpuskit.errors import ConfigError, InputError
from corpuskit.files import arrow_path, atomic_path, is_replaceable
from corpuskit.kernels import wordtext

OutputFormat = Literal["text", "jsonl", "arrow"]
Columns = Sequence[tuple[str, pa.Array]]

_SUFFIXES: dict[str, OutputFormat] = {
    ".txt": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".arrow": "arrow", ".feather": "arrow",
}  # fmt: skip
_COMPRESSED = (".gz", ".zst")
_TABLE_SUFFIXES = (".tsv", ".jsonl", ".parquet", ".arrow")
_FOREIGN = (".parquet", ".csv", ".tsv", ".json", ".html", ".bz2", ".xz", ".lz4", ".zip")


class Batch(NamedTuple):
    """Texts to cut: documents with further columns, or lines.

    Attributes
    ----------
    columns : sequence of (str, pyarrow.Array)
    texts : pyarrow.LargeStringArray
    ends : numpy.ndarray[uint8]
        What ends each row in a text file; see `corpuskit.kernels.wordtext.join_rows`.
    """

    columns: Columns
    texts: pa.LargeStringArray
    ends: np.ndarray


class WordFile(Protocol):
    """An open output."""

    def write_words(self, columns: Columns, words: pa.LargeListArray, ends: np.ndarray) -> None:
        """Append rows of words; `ends` is what ends them in a text file."""

    def write_ends(self, columns: Columns, ends: pa.ListArray, unit: str) -> None:
        """Append rows of word ends, which count `unit`."""


def format_of_name(path: str | os.PathLike | None) -> OutputFormat | None:
    """The format that an output's name says, or None.

    Raises
    ------
    ConfigError
        If it says a format that is not written.
    """
    if path is None:
        return None
    name = Path(path).name.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    suffix = Path(name).suffix
    if suffix in _FOREIGN:
        raise ConfigError(
            f"{suffix} is not written",
            where=os.fspath(path),
            hint=f"end the name in one of {', '.join(_SUFFIXES)} (text and JSON Lines also .gz, .zst)",
        )
    return _SUFFIXES.get(suffix)


@contextmanager
def open_words(
    path: str | os.PathLike | None, output_format: OutputFormat, separator: str
) -> Iterator[WordFile]:
    """An output that appears whole or not at all; standard output where `path` is None.

    Devices and pipes are written in place.
    """
    with ExitStack() as stack:
        if path is None:
            file: BinaryIO = sys.stdout.buffer
            if output_format == "arrow" and sys.stdout.isatty():
                raise InputError(
                    "Arrow data is not for a terminal", where="standard output", hint="give --output FILE"
                )
        else:
            target = Path(path)
            if target.is_dir():
                raise InputError("it is a directory", where=str(target), hint="name a file to write")
            if is_replaceable(target):
                try:
                    target = stack.enter_context(atomic_path(target))
                    file = stack.enter_context(open(target, "wb"))
                except OSError as error:
                    raise InputError(
                        f"cannot be written: {error.strerror}", where=os.fspath(path),
                        hint="choose a directory that can be written",
                    ) from error  # fmt: skip
            else:
                # Not "w": what the shell has written to the file that /dev/stdout leads to stays.
                file = stack.enter_context(open(target, "ab"))
            file = _compressed(file, Path(path).name.lower(), output_format, stack)
        if output_format == "arrow":
            yield stack.enter_context(_ArrowWords(file, path is None))
        elif output_format == "jsonl":
            yield _JsonLines(file)
        else:
            yield _Text(file, separator)
        if path is None:
            file.flush()


def _compressed(file: BinaryIO, name: str, output_format: str, stack: ExitStack) -> BinaryIO:
    if output_format != "arrow" and name.endswith(".gz"):
        # No name and no time in the header: equal words give equal bytes.
        return cast("BinaryIO", stack.enter_context(gzip.GzipFile("", "wb", 6, file, 0)))
    if output_format != "arrow" and name.endswith(".zst"):
        return stack.enter_context(zstandard.ZstdCompressor(3).stream_writer(file, closefd=False))
    return file


class _Text:
    def __init__(self, file: BinaryIO, separator: str) -> None:
        self._file = file
        self._separator = np.frombuffer(separator.encode(), np.uint8)
        self._drop_blank = separator.isspace()

    def write_words(self, columns: Columns, words: pa.LargeListArray, ends: np.ndarray) -> None:
        data, bounds, rows = _word_buffers(words)
        size = int(bounds[-1] - bounds[0]) + (len(bounds) - 1) * self._separator.size + 2 * len(words)
        out, out_rows = np.empty(size, np.uint8), np.empty(len(words) + 1, np.int64)
        n = wordtext.join_rows(data, bounds, rows, self._separator, self._drop_blank, ends, out, out_rows)
        self._file.write(out[:n].data)

    def write_ends(self, columns: Columns, ends: pa.ListArray, unit: str) -> None:
        raise NotImplementedError("text holds words")  # SegmentOptions refuses it


class _JsonLines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write_words(self, columns: Columns, words: pa.LargeListArray, ends: np.ndarray) -> None:
        data, bounds, rows = _word_buffers(words)
        size = 6 * int(bounds[-1] - bounds[0]) + 4 * (len(bounds) - 1) + 2 * len(words)
        out, out_rows = np.empty(size, np.uint8), np.empty(len(words) + 1, np.int64)
        n = wordtext.json_rows(data, bounds, rows, out, out_rows)
        content = out[:n].tobytes()
        places = out_rows.tolist()
        arrays = (content[a:b] for a, b in pairwise(places))
        self._write(columns, "words", arrays, len(words))

    def write_ends(self, columns: Columns, ends: pa.ListArray, unit: str) -> None:
        self._write(columns, "word_ends", (str(row).encode() for row in ends.to_pylist()), len(ends))

    def _write(self, columns: Columns, name: str, arrays: Iterator[bytes], rows: int) -> None:
        buffer = io.BytesIO()
        lead = f'"{name}": '.encode()
        for row, array in zip(_objects(_renamed(columns, name), rows), arrays):
            buffer.write(row + lead + array + b"}\n")
        self._file.write(buffer.getbuffer())


def _objects(columns: Columns, rows: int) -> Iterator[bytes]:
    """The beginning of each row's JSON object: its columns, without those that are null."""
    if not columns:
        for _ in range(rows):
            yield b"{"
        return
    names = [name for name, _ in columns]
    values = [column.to_pylist() for _, column in columns]
    for row in zip(*values):
        fields = {name: value for name, value in zip(names, row) if value is not None}
        try:
            text = json.dumps(fields, ensure_ascii=False, default=_plain, allow_nan=False)
        except ValueError:
            text = json.dumps(_finite(fields), ensure_ascii=False, default=_plain)
        yield (text[:-1] + (", " if fields else "")).encode("utf-8", "replace")


def _renamed(columns: Columns, own: str) -> Columns:
    """A document's own column of the name that is written becomes ``original_…``."""
    return [(f"original_{name}" if name == own else name, column) for name, column in columns]


def _plain(value: object) -> str:
    """What JSON has no form for: bytes in base64, everything else (times, decimals) as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    """The value with null for NaN and infinities, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


class _ArrowWords:
    """One schema a file; record batches compressed with zstd."""

    def __init__(self, file: BinaryIO, stream: bool) -> None:
        self._file = file
        self._stream = stream
        self._writer: Any = None

    def __enter__(self) -> _ArrowWords:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._writer is None and kind is None:
            self._open(pa.schema([("words", pa.large_list(pa.large_string()))]))
        if self._writer is not None:
            self._writer.close()

    def write_words(self, columns: Columns, words: pa.LargeListArray, ends: np.ndarray) -> None:
        self._write([*columns, ("words", words)], None)

    def write_ends(self, columns: Columns, ends: pa.ListArray, unit: str) -> None:
        self._write([*columns, ("word_ends", ends)], unit)

    def _write(self, columns: Columns, unit: str | None) -> None:
        own = columns[-1]
        columns = [*_renamed(columns[:-1], own[0]), own]
        names, arrays = zip(*columns)
        fields = [pa.field(name, array.type) for name, array in columns]
        if unit is not None:
            fields[-1] = fields[-1].with_metadata({"unit": unit})
        schema = pa.schema(fields)
        if self._writer is None:
            self._open(schema)
        elif not schema.equals(self._schema):
            raise InputError(
                f"documents with the columns {list(names)} cannot follow those with {self._schema.names} in "
                "one Arrow file",
                where="output",
                hint="segment the files one by one, or write JSON Lines",
            )
        self._writer.write_batch(pa.RecordBatch.from_arrays(list(arrays), schema=schema))

    def _open(self, schema: pa.Schema) -> None:
        self._schema = schema
        make = ipc.new_stream if self._stream else ipc.new_file
        self._writer = make(self._file, schema, options=ipc.IpcWriteOptions(compression="zstd"))


def _word_buffers(words: pa.LargeListArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, bounds of the words, and bounds of the rows in them."""
    values = words.values
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    if not len(values):
        bounds = np.zeros(1, np.int64)
    view = np.frombuffer(data if data is not None and data.size else b"", np.uint8)
    rows = words.offsets.to_numpy()
    return view, np.ascontiguousarray(bounds), rows


def require_table_name(path: str | os.PathLike) -> None:
    """Refuse a name that `write_table` would refuse, before the work."""
    if Path(path).suffix.lower() not in _TABLE_SUFFIXES:
        raise InputError(
            "its name tells no format that a table can be written in",
            where=os.fspath(path),
            hint=f"end it in one of {', '.join(_TABLE_SUFFIXES)}",
        )


def write_table(table: pa.Table, path: str | os.PathLike) -> None:
    """Write a table of scores as its name says: .tsv, .jsonl, .parquet or .arrow.

    Raises
    ------
    InputError
        For another name.
    """
    require_table_name(path)
    writers = dict(
        zip(_TABLE_SUFFIXES, (_write_tsv, _write_jsonl, _write_parquet, _write_arrow), strict=True)
    )
    with atomic_path(path) as temporary:
        writers[Path(path).suffix.lower()](table, temporary)


def _write_tsv(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(table.schema.names) + "\n")
        for row in table.to_pylist():
            cells = (f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values())
            file.write("\t".join(cells) + "\n")


def _write_jsonl(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())


def _write_parquet(table: pa.Table, path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(table, path)


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(arrow_path(path), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
