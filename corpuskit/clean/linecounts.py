"""In how many documents each line of each site stands, in bounded memory.

A counting task collects (line hash, site hash) of each document once, adds equal ones up when its buffer is
full, and publishes sorted *runs*, each cut into partitions by the line's hash (`corpuskit.partitioned`). A
deciding task reads its own partition of every run and walks the hash range in steps of a bounded number of
rows. So memory depends on neither the corpus nor the number of distinct lines; 64-bit hashes of 10**9
distinct lines collide with probability 0.03 anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from corpuskit.errors import ArtifactError
from corpuskit.files import arrow_path
from corpuskit.jobs import Output, Slice, Workspace
from corpuskit.partitioned import read_batch, write_batch

_SCHEMA = pa.schema([("line", pa.uint64()), ("site", pa.uint64()), ("documents", pa.int64())])


class Counts(NamedTuple):
    """Rows of (line hash, site hash, documents): uint64, uint64, int64 arrays of one length."""

    line: np.ndarray
    site: np.ndarray
    documents: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Counts:
        return Counts(*(column[rows] for column in self))

    def table(self) -> pa.Table:
        return pa.table([pa.array(column) for column in self], schema=_SCHEMA)

    @classmethod
    def of(cls, table: pa.Table | pa.RecordBatch) -> Counts:
        return cls(*(table.column(name).to_numpy() for name in _SCHEMA.names))


def concat(parts: Sequence[Counts]) -> Counts:
    """All rows of several; of none, no rows."""
    empty = Counts(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
    return Counts(*(np.concatenate(columns) for columns in zip(empty, *parts)))


def added_up(counts: Counts) -> Counts:
    """One row for each (line, site), sorted, with the sum of its documents."""
    if not len(counts.line):
        return counts
    counts = counts.take(np.lexsort((counts.site, counts.line)))
    first = np.ones(len(counts.line), bool)
    first[1:] = (counts.line[1:] != counts.line[:-1]) | (counts.site[1:] != counts.site[:-1])
    starts = np.flatnonzero(first)
    return Counts(counts.line[starts], counts.site[starts], np.add.reduceat(counts.documents, starts))


class RunWriter:
    """Adds counts up in a buffer of at most `max_rows` rows and publishes it as sorted runs.

    Parameters
    ----------
    workspace : Workspace
    partitions : int
        Record batches a run.
    max_rows : int
        A full buffer is added up, and published where more than half of its rows remain. A row takes
        24 bytes, and some 100 while it is sorted.
    """

    def __init__(self, workspace: Workspace, partitions: int, max_rows: int) -> None:
        self._workspace = workspace
        self._partitions = partitions
        self._max_rows = max_rows
        self._parts: list[Counts] = []
        self._rows = 0
        self._runs: list[Output] = []

    def add(self, counts: Counts) -> None:
        """Take rows in; more than `max_rows` at once are cut."""
        for start in range(0, len(counts.line), self._max_rows):
            part = counts.take(slice(start, start + self._max_rows))
            if self._rows + len(part.line) > self._max_rows:
                self._parts = [added_up(concat(self._parts))]
                self._rows = len(self._parts[0].line)
                if 2 * self._rows > self._max_rows:
                    self._publish()
            self._parts.append(part)
            self._rows += len(part.line)

    def close(self) -> tuple[Output, ...]:
        """Publish what is left; all runs."""
        if self._rows:
            self._parts = [added_up(concat(self._parts))]
            self._publish()
        return tuple(self._runs)

    def _publish(self) -> None:
        (counts,) = self._parts
        bounds = np.searchsorted(counts.line, partition_starts(self._partitions))
        bounds = np.append(bounds, len(counts.line))
        with (
            self._workspace.publish("runs", len(self._runs)) as publication,
            pa.OSFile(arrow_path(publication.path), "wb") as sink,
            ipc.new_file(sink, _SCHEMA) as writer,
        ):
            for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist()):
                part = counts.take(slice(start, stop))
                write_batch(writer, pa.RecordBatch.from_arrays([pa.array(c) for c in part], schema=_SCHEMA))
            publication.rows, publication.batches = len(counts.line), self._partitions
        self._runs.append(_published(publication.output))
        self._parts, self._rows = [], 0


def partition_starts(partitions: int) -> np.ndarray:
    """The smallest hash of each partition (uint64)."""
    return np.array([(p << 64) // partitions for p in range(partitions)], np.uint64)


def in_steps(
    views: Sequence[Counts], partition: int, partitions: int, max_rows: int
) -> Iterator[list[Counts]]:
    """The rows of each run in one range of hashes after another; ranges without any are left out.

    Parameters
    ----------
    views : sequence of Counts
        One partition of each run.
    partition, partitions : int
    max_rows : int
        About as many rows of the runs are held at once; only the rows of one line (at most one a run and
        site) are never cut.
    """
    total = sum(len(view.line) for view in views)
    low, high = (partition << 64) // partitions, ((partition + 1) << 64) // partitions
    # Hashes are uniform, so equal ranges hold about equally many rows.
    steps = max(1, -(-2 * total // max_rows))
    starts = [0] * len(views)
    for step in range(1, steps + 1):
        bound = low + (high - low) * step // steps
        parts = []
        for index, view in enumerate(views):
            stop = (
                len(view.line) if step == steps else int(np.searchsorted(view.line, np.uint64(bound), "left"))
            )
            parts.append(view.take(slice(starts[index], stop)))
            starts[index] = stop
        if any(len(part.line) for part in parts):
            yield parts


def publish_counts(workspace: Workspace, kind: str, pieces: Iterator[Counts] | Sequence[Counts]) -> Output:
    """Write pieces of rows as one compressed Arrow file, each as it comes."""
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    with (
        workspace.publish(kind) as publication,
        pa.OSFile(arrow_path(publication.path), "wb") as sink,
        ipc.new_file(sink, _SCHEMA, options=options) as writer,
    ):
        for piece in pieces:
            writer.write_table(piece.table(), max_chunksize=1 << 16)
            publication.rows += len(piece.line)
    return _published(publication.output)


def read_counts(piece: Slice) -> Iterator[Counts]:
    """The batches of a file that `publish_counts` wrote."""
    try:
        with pa.memory_map(arrow_path(piece.path)) as source, ipc.open_file(source) as reader:
            for index in range(reader.num_record_batches):
                yield Counts.of(reader.get_batch(index))
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(piece.path, error) from error


def read_run(piece: Slice, partition: int) -> Counts:
    """One partition of a file, sorted; mapped into memory.

    Raises
    ------
    ArtifactError
        If it is not as it was written.
    """
    try:
        return Counts.of(read_batch(piece.path, partition))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(piece.path, error) from error


def _published(output: Output | None) -> Output:
    if output is None:
        raise ArtifactError("the output was not published")
    return output


def _damaged(path: str, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"not a whole Arrow file: {error}", where=path, hint="run again with --verify to rebuild it"
    )
