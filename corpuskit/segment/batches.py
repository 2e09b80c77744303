"""Between Arrow columns and the segmentation kernels: buffers in, list arrays out, no Python strings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.errors import ConfigError, InputError
from corpuskit.kernels import segmentation

_MAX_BYTES = 2**31 - 1

Ends = tuple[np.ndarray, np.ndarray]
"""Bounds of each row's word ends (int64, rows + 1), and the ends (int32)."""


class CutRows(Protocol):
    """Cuts rows of a buffer, at most `characters` of them in all; `first_row` is for messages only."""

    def __call__(self, data: np.ndarray, offsets: np.ndarray, characters: int, first_row: int) -> Ends: ...


def encode(text: str) -> bytes:
    """`text` as UTF-8.

    Raises
    ------
    ConfigError
        If it is not a str.
    InputError
        If it holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise ConfigError(f"expected a str, got {type(text).__name__}", where="text")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds a lone surrogate U+{ord(text[error.start]):04X}, which is no character",
            where=f"character {error.start}",
            hint="decode the original bytes without 'surrogateescape', or replace it",
        ) from error


def words(text: str, ends: np.ndarray) -> list[str]:
    """The words of `text` that end, in characters, at `ends`."""
    begin = 0
    found = []
    for end in ends.tolist():
        found.append(text[begin:end])
        begin = end
    return found


def require_utf8(row: int, byte: int, first_row: int) -> None:
    """Raise `InputError` if a kernel, cutting rows from `first_row` on, found bytes that are not UTF-8."""
    if row >= 0:
        raise InputError(
            "the text is not UTF-8",
            where=f"row {first_row + row}, byte {byte}",
            hint="decode the bytes with the right charset first",
        )


def unit_code(unit: str) -> int:
    """The kernels' name for a unit; `ConfigError` if there is no such unit."""
    if unit not in ("bytes", "characters"):
        raise ConfigError(f"unknown unit {unit!r}", where="unit", hint="allowed: 'bytes', 'characters'")
    return segmentation.BYTES if unit == "bytes" else segmentation.CHARACTERS


def cut_column(column: pa.LargeStringArray, cut: CutRows, threads: int) -> Ends:
    """The word ends of a column, cut in pieces of about equal bytes by `threads` threads."""
    if not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"impossible number of threads {threads!r}", where="threads", hint="at least 1")
    data, offsets = buffers(column)
    cuts = balanced(offsets, threads)

    def work(i: int) -> Ends:
        part = offsets[cuts[i] : cuts[i + 1] + 1]
        return cut(data, part, count_characters(data, part), cuts[i])

    if len(cuts) == 2:
        return work(0)
    with ThreadPoolExecutor(len(cuts) - 1) as pool:
        return joined(list(pool.map(work, range(len(cuts) - 1))))


def text_column(texts: Any) -> pa.LargeStringArray:
    """`texts` as one large_string array, without a copy of the text where that is possible.

    Raises
    ------
    ConfigError
        If it is no Arrow column of strings.
    InputError
        If a document is longer than 2**31 - 1 bytes.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)
    kind = getattr(texts, "type", None)
    if not isinstance(texts, pa.Array) or not (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    ):
        raise ConfigError(
            f"expected an Arrow array of strings, got {kind or type(texts).__name__}",
            where="texts",
            hint="make one with pyarrow.array([...], pyarrow.large_string())",
        )
    column = texts.cast(pa.large_string())
    lengths = np.diff(buffers(column)[1])
    if column.null_count and lengths[pc.is_null(column).to_numpy(zero_copy_only=False)].any():
        column = _without_null_bytes(column)
        lengths = np.diff(buffers(column)[1])
    if lengths.size and lengths.max() > _MAX_BYTES:
        raise InputError(
            f"a document has {int(lengths.max())} bytes; at most {_MAX_BYTES} can be segmented",
            where=f"row {int(lengths.argmax())}",
            hint="split it",
        )
    return column


def _without_null_bytes(column: pa.LargeStringArray) -> pa.LargeStringArray:
    """`column` with no bytes below its nulls, so that the rows' words partition the buffer."""
    filled = pc.fill_null(column, "")
    _, offsets, data = filled.buffers()
    missing = pc.is_valid(column)
    if missing.offset or filled.offset:
        missing, filled = pa.concat_arrays([missing]), pa.concat_arrays([filled])
        _, offsets, data = filled.buffers()
    return pa.LargeStringArray.from_buffers(len(column), offsets, data, missing.buffers()[1])


def buffers(column: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a column (uint8) and its rows' bounds in them (int64, rows + 1), as views."""
    _, offsets, data = column.buffers()
    if len(column) == 0:
        bounds = np.frombuffer(bytes(8), np.int64)
    else:
        bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    view = np.frombuffer(data if data is not None and data.size else b"", np.uint8)
    view.flags.writeable = False
    bounds.flags.writeable = False
    return view, bounds


def balanced(offsets: np.ndarray, parts: int) -> list[int]:
    """Row bounds of at most `parts` pieces of about equal bytes."""
    rows = offsets.size - 1
    targets = offsets[0] + (offsets[-1] - offsets[0]) * np.arange(1, parts) // parts
    inner = np.searchsorted(offsets[1:], targets).tolist()
    return [0, *sorted({i for i in inner if 0 < i < rows}), rows]


def count_characters(data: np.ndarray, offsets: np.ndarray) -> int:
    """Code points in the rows: the most words they can have."""
    return segmentation.count_characters(data[offsets[0] : offsets[-1]])


def joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """One result from those of consecutive pieces."""
    bounds = [np.zeros(1, np.int64)]
    before = 0
    for rows, ends in parts:
        bounds.append(rows[1:] + before)
        before += ends.size
    return np.concatenate(bounds), np.concatenate([ends for _, ends in parts])


def word_views(column: pa.LargeStringArray, rows: np.ndarray, ends: np.ndarray) -> pa.LargeStringArray:
    """The words as strings that share the column's text buffer."""
    offsets = np.empty(ends.size + 1, np.int64)
    segmentation.word_offsets(buffers(column)[1], rows, ends, offsets)
    data = column.buffers()[2]
    return pa.LargeStringArray.from_buffers(ends.size, pa.py_buffer(offsets), data or pa.py_buffer(b""))


def list_array(rows: np.ndarray, values: pa.Array, column: pa.LargeStringArray) -> pa.LargeListArray:
    """Lists of `values`, one for each row of `column`, null where it is null."""
    mask = pc.is_null(column) if column.null_count else None
    return pa.LargeListArray.from_arrays(pa.array(rows), values, mask=mask)
