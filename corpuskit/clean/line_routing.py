"""What was decided on lines, sent to the document parts that have them.

A task that decides on a partition of the hashes has the rows of every run before it, and each run is of one
document part: so it can say which parts have a line. What it decides is written by group of parts
(`corpuskit.partitioned.Groups`), and a task that applies it reads the lines of its own part. The rows of all
parts are at most those of the runs; if every part read every decision, that would be parts times decisions.
The few lines that the report shows lie in a file beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from corpuskit.clean.linecounts import Counts, concat, publish_counts
from corpuskit.clean.site_lines import most_common
from corpuskit.errors import ArtifactError
from corpuskit.files import arrow_path
from corpuskit.jobs import Entry, Output, Workspace
from corpuskit.partitioned import Groups, write_batch


class RoutedWriter:
    """Publishes decisions (kind ``decisions``, partitioned by group) and the most common (``common``).

    Parameters
    ----------
    workspace : Workspace
    groups : Groups
        Of the document parts.
    parts : sequence of int
        The document part of each run, in the order of the runs.
    max_rows : int
        About as many rows are held before they are written, some 100 bytes each.
    report_lines : int
        How many of the most common lines are published.
    """

    def __init__(
        self, workspace: Workspace, groups: Groups, parts: Sequence[int], max_rows: int, report_lines: int
    ) -> None:
        self._workspace = workspace
        self._groups = groups
        self._group_of_run = np.array([groups.of(part) for part in parts], np.int64)
        self._max_rows = max_rows
        self._report_lines = report_lines
        self._common = concat([])
        self._group: list[np.ndarray] = []
        self._rows: list[Counts] = []
        self._held = 0
        self._files: list[Output] = []

    def groups_of(self, views: Sequence[Counts]) -> np.ndarray:
        """The group of every row of the runs, one run behind the other."""
        return np.repeat(self._group_of_run, [len(view.line) for view in views])

    def add(self, decided: Counts, group: np.ndarray, rows: np.ndarray) -> None:
        """Send rows of `decided` to groups.

        Parameters
        ----------
        decided : Counts
            No row comes twice, nor in a later call.
        group, rows : int64 arrays
            For each row of the runs that something was decided on: its group, and the number of the decision.
        """
        self._common = most_common([self._common, decided], self._report_lines)
        if not len(rows):
            return
        chosen = np.unique(group * len(decided.line) + rows)
        if self._held and self._held + len(chosen) > self._max_rows:
            self._publish()
        self._group.append(chosen // len(decided.line))
        self._rows.append(decided.take(chosen % len(decided.line)))
        self._held += len(chosen)

    def close(self) -> tuple[Output, ...]:
        """Publish what is left; all files."""
        if self._held:
            self._publish()
        return (*self._files, publish_counts(self._workspace, "common", [self._common]))

    def _publish(self) -> None:
        group, counts = np.concatenate(self._group), concat(self._rows)
        self._group, self._rows, self._held = [], [], 0
        order = np.lexsort((counts.site, counts.line, group))
        counts = counts.take(order)
        bounds = np.searchsorted(group[order], np.arange(self._groups.count + 1)).tolist()
        schema = counts.table().schema
        options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
        with (
            self._workspace.publish("decisions", len(self._files)) as publication,
            pa.OSFile(arrow_path(publication.path), "wb") as sink,
            ipc.new_file(sink, schema, options=options) as writer,
        ):
            for start, stop in pairwise(bounds):
                part = [pa.array(column) for column in counts.take(slice(start, stop))]
                write_batch(writer, pa.RecordBatch.from_arrays(part, schema=schema))
            publication.rows, publication.batches = len(order), self._groups.count
        if publication.output is None:
            raise ArtifactError("the output was not published")
        self._files.append(publication.output)


def parts_of_runs(counted: Sequence[Entry]) -> tuple[int, ...]:
    """The document part of each run of the `count` tasks, in the order of the runs."""
    return tuple(part for part, entry in enumerate(counted) for _ in entry.outputs("runs"))


def sorted_lines(pieces: Iterable[Counts]) -> Counts:
    """The rows of one partition of several files, sorted by line and site."""
    counts = concat(list(pieces))
    return counts.take(np.lexsort((counts.site, counts.line)))
