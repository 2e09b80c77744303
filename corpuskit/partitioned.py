"""Partitioned files: Arrow files of which a task reads one record batch.

A task before a shuffle writes one file, whose record batch number p holds what the task for partition p
will read: one file for each pair of tasks would be a million files. On a disk the reader maps the file and
touches its batch alone. From an object store a node fetches the file's *footer*, which says where each batch
lies, once, and then a *range* of bytes for each task, so that a shuffle moves its size once, however
many nodes there are.

Why the footer, and not offsets in the ledger: a footer has 24 bytes for each batch. With 8,000 files of 448
batches (1 TB, 14 bands in 32 partitions each) that is 86 MB on each node, 1.4 GB for 16 nodes beside 110 GB
of hashes; the driver, which plans every task, would hold 3.6 million offsets and as many slices, a gigabyte.
Fetching the footer for every range instead would be 40 GB.

Each batch carries a checksum of its content, so that one that was cut short or changed is noticed wherever it
is read.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash
from pyarrow import ipc

from corpuskit.files import arrow_path

_CHECKSUM = b"xxh3"
_MAGIC = b"ARROW1"
_FIRST = b"ARROW1\x00\x00"
_END_BYTES = 8
"""Of the marker after the last batch (0xFFFFFFFF and a length of 0)."""

_BLOCK = np.dtype([("offset", "<i8"), ("metadata", "<i4"), ("padding", "<i4"), ("body", "<i8")])
_SCHEMA_BYTES = 2048
"""What a footer has beside 24 bytes a batch, as a rule: about 100 bytes a column."""

_RECORD_BATCHES = 3
"""Number of the field in the table ``Footer`` (Arrow's ``File.fbs``)."""


MAX_GROUPS = 8192
"""Of document parts. A batch of decisions has about a kilobyte of its own and 24 bytes in the footer: 8 MB
and 200 kB a file. Beyond that a task reads what concerns its neighbours, too: 7 parts of 50,000 together."""


@dataclass(frozen=True)
class Groups:
    """Consecutive document parts whose decisions lie in one record batch.

    Attributes
    ----------
    parts : int
        Document parts.
    first_part : int
        Number of the first, where an index holds parts before it.
    most : int
        Groups at most.
    """

    parts: int
    first_part: int = 0
    most: int = MAX_GROUPS

    @property
    def parts_each(self) -> int:
        """Parts in a group (fewer in the last)."""
        return max(1, -(-self.parts // self.most))

    @property
    def count(self) -> int:
        """How many groups there are; at least one."""
        return max(1, -(-self.parts // self.parts_each))

    def of(self, part: int) -> int:
        """The group of a part."""
        return (part - self.first_part) // self.parts_each

    def rows_of(self, rows: Sequence[int]) -> list[int]:
        """For each part the sum of its group's `rows`, which are given for each part."""
        each = self.parts_each
        sums = [sum(rows[start : start + each]) for start in range(0, len(rows), each)]
        return [sums[part // each] for part in range(len(rows))]

    def bounds(self, parts: np.ndarray) -> np.ndarray:
        """Where each group begins, and the last ends, in a sorted array of part numbers."""
        begins = self.first_part + self.parts_each * np.arange(self.count)
        return np.append(np.searchsorted(parts, begins), np.searchsorted(parts, self.first_part + self.parts))

    def split(self, table: pa.Table, parts: np.ndarray) -> Iterator[pa.Table]:
        """The rows of each group of a table that is sorted by part; rows of other parts are left out."""
        for start, stop in itertools.pairwise(self.bounds(parts).tolist()):
            yield table.slice(start, stop - start)


def write_batch(writer: Any, batch: pa.RecordBatch) -> None:
    """Write the next partition, with its checksum, to an open `pyarrow.ipc` file writer."""
    writer.write_batch(batch, custom_metadata={_CHECKSUM: _digest(batch)})


def read_batch(
    path: str | os.PathLike, number: int, accept: Callable[[pa.Schema], None] = lambda _: None
) -> pa.RecordBatch:
    """A record batch of a partitioned file, mapped into memory.

    Parameters
    ----------
    path : path-like
        A partitioned file, or what `staged_batch` made of this one batch.
    number : int
    accept : callable
        Called with the file's schema before anything is read; may raise.

    Raises
    ------
    pyarrow.ArrowException, OSError
        If the file is not whole, or the batch is not as it was written.
    """
    with pa.memory_map(arrow_path(path)) as source:
        if source.read(len(_MAGIC)) == _MAGIC:
            with ipc.open_file(source) as reader:
                accept(reader.schema)
                one = reader.get_batch_with_custom_metadata(number)
        else:
            source.seek(0)
            with ipc.open_stream(source) as reader:
                accept(reader.schema)
                one = reader.read_next_batch_with_custom_metadata()
    _require_intact(one, number)
    return one.batch


class Footer(NamedTuple):
    """Where the batches of a file lie.

    Attributes
    ----------
    schema : pyarrow.Schema
    blocks : numpy.ndarray
        For each batch `offset`, `metadata` and `body`: where it begins, and the bytes of both.
    """

    schema: pa.Schema
    blocks: np.ndarray

    def range(self, number: int) -> tuple[int, int]:
        """Where a batch begins, and its bytes."""
        block = self.blocks[number]
        return int(block["offset"]), int(block["metadata"]) + int(block["body"])


def footer_bytes(batches: int, size: int) -> int:
    """The bytes at the end of a file of `size` bytes that, as a rule, have its footer."""
    return min(size, 24 * batches + _SCHEMA_BYTES)


def missing_footer_bytes(tail: bytes) -> int:
    """How many bytes before `tail`, the end of a file, its footer begins; 0 where `tail` has all of it.

    Raises
    ------
    ValueError
        If it is not the end of an Arrow file.
    """
    return max(0, _footer_length(tail) + _END_BYTES + 10 - len(tail))


def parse_footer(tail: Any, size: int) -> Footer:
    """The footer of a file of `size` bytes, given (at least) its last bytes; see `missing_footer_bytes`.

    Raises
    ------
    ValueError
        If the batches do not lie one behind the other up to the footer: some byte of it is wrong.
    """
    view = memoryview(tail)
    length = _footer_length(view)
    begin = len(view) - 10 - length
    if length <= 0 or begin < 0:
        raise ValueError("the footer is not whole")
    table = view[begin : begin + length]
    try:
        schema = ipc.open_file(pa.py_buffer(_FIRST + bytes(view[begin:]))).schema
        blocks = _blocks(table)
    except (pa.ArrowException, OSError, struct.error, ValueError) as error:
        raise ValueError(f"the footer cannot be read: {error}") from error
    ends = blocks["offset"] + blocks["metadata"] + blocks["body"]
    starts = np.append(blocks["offset"], size - 10 - length - _END_BYTES)
    if len(blocks) and not (
        np.array_equal(ends, starts[1:]) and (blocks["metadata"] > 0).all() and (blocks["body"] >= 0).all()
    ):
        raise ValueError("the footer does not describe the file")
    return Footer(schema, blocks)


def staged_batch(schema: pa.Schema, content: bytes, number: int) -> bytes:
    """A range of a file as a file of its own, an Arrow stream, that `read_batch` reads.

    Raises
    ------
    ValueError
        If the batch is not as it was written.
    """
    staged = schema.serialize().to_pybytes() + content
    try:
        with ipc.open_stream(pa.py_buffer(staged)) as reader:
            one = reader.read_next_batch_with_custom_metadata()
        _require_intact(one, number)
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise ValueError(str(error)) from error
    return staged


def _blocks(table: memoryview) -> np.ndarray:
    """The vector `recordBatches` of a ``Footer``, a flatbuffer: a table of offsets, structs in a vector."""
    (root,) = struct.unpack_from("<I", table, 0)
    (below,) = struct.unpack_from("<i", table, root)
    fields = root - below
    (known,) = struct.unpack_from("<H", table, fields)
    place = 4 + 2 * _RECORD_BATCHES
    offset = struct.unpack_from("<H", table, fields + place)[0] if place < known else 0
    if not offset:
        return np.empty(0, _BLOCK)
    (to_vector,) = struct.unpack_from("<I", table, root + offset)
    vector = root + offset + to_vector
    (count,) = struct.unpack_from("<I", table, vector)
    return np.frombuffer(table, _BLOCK, count, vector + 4)


def _footer_length(tail: Any) -> int:
    if len(tail) < 10 or bytes(tail[-len(_MAGIC) :]) != _MAGIC:
        raise ValueError("not the end of an Arrow file")
    return struct.unpack("<i", bytes(tail[-10:-6]))[0]


def _require_intact(one: Any, number: int) -> None:
    if one.batch is None or (one.custom_metadata or {}).get(_CHECKSUM) != _digest(one.batch):
        raise pa.ArrowInvalid(f"partition {number} has changed")


def _digest(batch: pa.RecordBatch) -> bytes:
    """A checksum of a record batch as Arrow lays it out, without compression, and of its columns' names."""
    state = xxhash.xxh3_128(str(batch.schema.remove_metadata()).encode())
    state.update(memoryview(batch.serialize()))
    return state.hexdigest().encode()
