"""What a job, a phase and a task are, as plain data.

A *step* maps one batch and lives in the rooms. A *job* is what needs more than a batch: a frozen
description whose `plan` turns the outcome of its earlier phases into the tasks of the next. A
*task* is a module-level function, slices of input files and a configuration. Rooms describe;
`corpuskit.engine` runs tasks, checks their accounts and commits them to the ledger.

A task function writes only through its `Workspace`, so that every file appears whole and under a
name that depends on nothing but the task.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from corpuskit.documents import Tally
from corpuskit.files import atomic_path, checksum, write_json

# ``field(metadata={IN_KEY: False})`` keeps a field out of ledger keys: a directory whose content is
# identified by another field, say, so that a run can be moved.
IN_KEY = "in_ledger_key"

# Not .json: a directory's entries are its .json files.
VERDICTS_SUFFIX = ".verdicts"


@dataclass(frozen=True)
class Slice:
    """A file, or a byte range of one.

    Attributes
    ----------
    path : str
        Absolute path, or URL.
    start, stop : int, int or None
        Byte range. A reader of a splittable format takes the records that *begin* in it.
    relative_path : str
        Path below the input root; what document ids are made from.
    identity : str or None
        Checksum of a file that this run made itself, or what a remote file system says of one (size
        and entity tag or modification time); None for the user's local files, which are identified
        by size and modification time.
    size_bytes : int or None
        Size of a remote file or of one that the run made; None for the user's local files, which are
        asked when it is needed.
    batches : int
        Record batches of a partitioned file (`corpuskit.partitioned`), of which a task with a `partition`
        reads only one; 0 of any other file, which is read whole.
    """

    path: str
    start: int = 0
    stop: int | None = None
    relative_path: str = ""
    identity: str | None = None
    size_bytes: int | None = None
    batches: int = 0


@dataclass(frozen=True)
class Output:
    """A file that a task has published.

    Attributes
    ----------
    kind : str
        What it holds: ``kept``, ``dropped``, ``quarantine``, ``bands`` ….
    path : str
        Absolute path, or URL in a stored run; the ledger stores it relative to the job's directory.
    rows, bytes : int
        Rows inside and size on disk.
    checksum : str
        XXH3-128 of the file.
    batches : int
        See `Slice`.
    """

    kind: str
    path: str
    rows: int
    bytes: int
    checksum: str
    batches: int = 0

    def as_slice(self) -> Slice:
        return Slice(
            self.path, relative_path=Path(self.path).name, identity=self.checksum, size_bytes=self.bytes,
            batches=self.batches,
        )  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One unit of work: a pure function of its slices and configuration.

    Attributes
    ----------
    index : int
        Position in its phase; part of every output's name.
    function : callable
        Module-level ``function(task, workspace) -> Outcome``.
    inputs : tuple of Slice
    config : object
        A frozen dataclass (or None); part of the ledger key.
    memory_bytes : int
        Estimated peak memory, for engines that schedule by it.
    partition : int or None
        The record batch that the task reads of each partitioned input (`Slice.batches`): from an object
        store nothing else of those is fetched. It stands here once, not in every slice, so that all
        tasks of a phase can share one tuple of slices: with 8,000 files and 448 partitions slices of
        their own would take the driver a gigabyte. None reads whole files.
    """

    index: int
    function: Callable[[Task, Workspace], Outcome]
    inputs: tuple[Slice, ...]
    config: Any = None
    memory_bytes: int = 1 << 30
    partition: int | None = None

    @property
    def name(self) -> str:
        return f"{self.index:05d}"

    @property
    def input_bytes(self) -> int:
        """Bytes this task reads (0 for files that do not exist yet); of partitioned files about."""
        total = 0
        for piece in self.inputs:
            stop = piece.stop if piece.stop is not None else piece.size_bytes
            if stop is None:
                path = Path(piece.path)
                stop = path.stat().st_size if path.exists() else 0
            parts = piece.batches if piece.batches and self.partition is not None else 1
            total += max(0, stop - piece.start) // parts
        return total


@dataclass(frozen=True)
class Outcome:
    """What a task function returns: its published files, its accounts, and free measurements."""

    outputs: tuple[Output, ...]
    tally: Tally | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A committed task: the outcome under the key it was computed for."""

    task: str
    key: str
    outcome: Outcome

    def outputs(self, kind: str) -> list[Output]:
        return [output for output in self.outcome.outputs if output.kind == kind]


def outputs_of(entries: Sequence[Entry], kind: str) -> list[Output]:
    """Every output of `kind`, in task and part order."""
    return [output for entry in entries for output in entry.outputs(kind)]


class Job(Protocol):
    """A pure description of work in one or more phases.

    Implementations are frozen dataclasses. `plan` must return the same tasks whatever the number
    of workers; it sees the entries of the job's earlier phases, by phase name.
    """

    @property
    def name(self) -> str: ...

    @property
    def phases(self) -> tuple[str, ...]: ...

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]: ...


def usable_cores() -> int:
    """How many cores this process may use; fewer than the machine has in a container or a Slurm task."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def group_slices(slices: Sequence[Slice], sizes: Sequence[int], target_bytes: int) -> list[tuple[Slice, ...]]:
    """Pack consecutive slices into groups of about `target_bytes`, so tiny files share a task.

    Order is kept and a slice is never split here; a group closes as soon as it reaches the target.
    """
    groups: list[tuple[Slice, ...]] = []
    current: list[Slice] = []
    total = 0
    for piece, size in zip(slices, sizes, strict=True):
        current.append(piece)
        total += size
        if total >= target_bytes:
            groups.append(tuple(current))
            current, total = [], 0
    if current:
        groups.append(tuple(current))
    return groups


def one_task_per_output(
    outputs: Sequence[Output], function: Callable[[Task, Workspace], Outcome], config: Any
) -> list[Task]:
    """The commonest plan: each file of an earlier phase is one task."""
    return [Task(i, function, (output.as_slice(),), config) for i, output in enumerate(outputs)]


@dataclass
class Workspace:
    """Where a task publishes files, reports progress and keeps checkpoints of long inputs.

    Attributes
    ----------
    directory : Path
        The phase's directory; outputs go to ``directory/kind/task-part.suffix``.
    checkpoint_path : Path
        File that remembers the published parts of an unfinished task.
    key : str
        The ledger key of the task; a checkpoint with another key is ignored.
    report_progress : callable
        Receives input bytes finished since the last call.
    """

    directory: Path
    checkpoint_path: Path
    key: str
    task_name: str
    report_progress: Callable[[int], None] = lambda _: None

    @contextmanager
    def publish(self, kind: str, part: int = 0, suffix: str = ".arrow") -> Iterator[Publication]:
        """Write one output: the block writes to ``publication.path`` and sets ``rows``."""
        final = self.directory / kind / f"{self.task_name}-{part:04d}{suffix}"
        with atomic_path(final) as temporary:
            publication = Publication(kind, temporary)
            yield publication
        publication.output = Output(
            kind, str(final), publication.rows, final.stat().st_size, checksum(final), publication.batches
        )

    def load_checkpoint(self) -> list[dict]:
        """The parts already published by an interrupted run of this task, in order.

        A part counts only if all its files are there with the size that was recorded.
        """
        try:
            stored = json.loads(self.checkpoint_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        if stored.get("key") != self.key:
            return []
        parts = []
        for part in stored["parts"]:
            outputs = [Output(**{**o, "path": str(self.directory / o["path"])}) for o in part["outputs"]]
            if not all(_has_size(o.path, o.bytes) for o in outputs):
                break
            parts.append({**part, "outputs": outputs})
        return parts

    def save_checkpoint(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Remember published parts: dicts with ``outputs``, ``tally`` (dict) and ``position``."""
        plain = [
            {**part, "outputs": [self._relative(output) for output in part["outputs"]]} for part in parts
        ]
        write_json(self.checkpoint_path, {"key": self.key, "parts": plain})

    @property
    def verdicts_path(self) -> Path:
        """Beside the checkpoint, but it stays when the task is committed: a task that is run again
        under the same key must come to the same result."""
        return self.checkpoint_path.with_name(f"{self.task_name}{VERDICTS_SUFFIX}")

    def load_verdicts(self) -> dict[str, dict[str, Any]]:
        """Records that ended the process which worked on them, by id, from any earlier run of this task."""
        try:
            stored = json.loads(self.verdicts_path.read_text(encoding="utf-8"))
            return dict(stored["verdicts"]) if stored["key"] == self.key else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def save_verdicts(self, verdicts: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember `verdicts` before anything that relies on them is published."""
        write_json(self.verdicts_path, {"key": self.key, "verdicts": verdicts})

    def _relative(self, output: Output) -> dict:
        return {**output.__dict__, "path": str(Path(output.path).relative_to(self.directory))}


@dataclass
class Publication:
    """An output being written; `output` is set once the block has ended."""

    kind: str
    path: Path
    rows: int = 0
    batches: int = 0
    output: Output | None = None


def _has_size(path: str, size: int) -> bool:
    try:
        return Path(path).stat().st_size == size
    except OSError:
        return False
