"""Peak memory of the tasks that count lines and decide on them, for engines that place tasks by memory.

An estimate is the default of `corpuskit.jobs.Task`, which a process with its kernels and one batch fits in,
and what grows with the data. It knows sizes and row counts of files, not their content, so it takes
what is usual for the first (`TEXT_BYTES_PER_STORED_BYTE`) and the worst case of the second.

Not counted are pages of memory-mapped files, which the system takes back when it needs them.
"""

from __future__ import annotations

from pathlib import Path

from corpuskit.jobs import Slice, Task

TEXT_BYTES_PER_STORED_BYTE = 4
"""Of document parts: zstd makes about a third of Chinese web text, somewhat less of repetitive text."""

_CHARACTER_BYTES = 3
"""In UTF-8, of nearly all Chinese characters."""

_SORTED_ROW_BYTES = 110
"""A row of counts is 24 bytes, 48 while the parts of the buffer become one, and while those are sorted 8
more for the order and 24 for the sorted copy: 80, and the next batch. Measured with a million: 89."""


_DECIDED_ROW_BYTES = 250
"""A row in a `decide` task, and what was decided on it."""


def task_memory(growth: float) -> int:
    """`Task.memory_bytes` of a task that needs `growth` bytes beside the process and one batch."""
    return Task.memory_bytes + int(growth)


def stored_bytes(piece: Slice) -> int:
    """Size of a file on disk, or of one in a store; 0 where it is not known before it is read."""
    if piece.size_bytes is not None:
        return piece.size_bytes
    path = Path(piece.path)
    return path.stat().st_size if path.exists() else 0


def lines_of(part_bytes: int, min_characters: int) -> int:
    """The most lines of `min_characters` and a newline that a part of `part_bytes` on disk has."""
    return TEXT_BYTES_PER_STORED_BYTE * part_bytes // (_CHARACTER_BYTES * min_characters + 1)


def count_memory(part_bytes: int, min_characters: int, memory_lines: int) -> int:
    """Of a `count` task: its buffer of rows, full at `memory_lines` or when the part is read.

    Each 110 bytes: 24 of the buffer, 24 of the buffer as one, 8 of the order, 24 of the sorted copy and the
    rest for the arrays of the batch at hand.
    """
    return task_memory(_SORTED_ROW_BYTES * min(memory_lines, lines_of(part_bytes, min_characters)))


def decide_memory(run_rows: int, partitions: int, memory_lines: int, sites: int = 0) -> int:
    """Of a `decide` task: one step through its partition, what it has decided, and every site.

    Hashes are uniform, so a partition has ``run_rows / partitions`` rows; a step takes `memory_lines` of them
    at most, 110 bytes each (see `count_memory`). What was decided on them, for each part that has the line,
    is held until it is as many rows: 32 bytes with the group, the same joined, 8 of the order and 24 in
    order; both together measured: 234, taken: 250. A site is 24 bytes, and at most three times that while
    the counts of one more part are added: 80.

    Parameters
    ----------
    run_rows : int
        Of all runs.
    sites : int
        Rows of all files of site counts.
    """
    rows = -(-run_rows // partitions)
    return task_memory(_DECIDED_ROW_BYTES * min(memory_lines, rows) + 80 * sites)


def apply_memory(group_bytes: int, min_characters: int, decided_lines: int) -> int:
    """Of an `apply` task: the decisions on the lines of its part, or of its group of parts.

    At most one a line: 24 bytes as read, 24 joined, 8 of the order, 24 in order, and as keys 8, sorted and
    distinct. Measured: 170; taken: 180.

    Parameters
    ----------
    group_bytes : int
        Of the parts of the group, on disk.
    decided_lines : int
        Rows of all files of decisions.
    """
    return task_memory(180 * min(lines_of(group_bytes, min_characters), decided_lines))
