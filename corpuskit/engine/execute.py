"""Runs a job: plan a phase, skip what the ledger holds, run the rest, check, commit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from corpuskit.documents import Tally
from corpuskit.engine.ledger import input_checksums, load_entry, save_entry, task_key
from corpuskit.engine.local import Local
from corpuskit.engine.protocol import Call, Engine, Observer, Session
from corpuskit.errors import ConfigError, CorpuskitError, InputError, LedgerError, TaskError
from corpuskit.files import remove_temporaries
from corpuskit.jobs import VERDICTS_SUFFIX, Entry, Job, Output, Task, outputs_of


@dataclass(frozen=True)
class ShardOf:
    """One slice of a run, for Slurm arrays and the like: tasks with ``index % count == number``.

    Attributes
    ----------
    number, count : int
        ``--shard number/count`` with 0 <= number < count.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise ConfigError(
                f"{self.number}/{self.count} is not a slice", where="shard", hint="use 0/N to (N-1)/N"
            )

    @classmethod
    def parse(cls, text: str) -> ShardOf:
        """Read ``i/N``."""
        number, separator, count = text.partition("/")
        if not (separator and number.isdecimal() and count.isdecimal()):
            raise ConfigError(f"{text!r} is not of the form i/N", where="shard", hint="for example 0/4")
        return cls(int(number), int(count))


class PendingShards(CorpuskitError):
    """This slice has done its tasks of a phase; other slices have not, so the next cannot start."""


@dataclass(frozen=True)
class JobResult:
    """What a job made.

    Attributes
    ----------
    name : str
    entries : Mapping[str, tuple of Entry]
        The committed tasks of each phase, in task order.
    tasks_run, tasks_skipped : int
    """

    name: str
    entries: Mapping[str, tuple[Entry, ...]]
    tasks_run: int
    tasks_skipped: int

    @property
    def tally(self) -> Tally:
        """The accounts of the job: the sum over its tasks that account for documents."""
        tallies = [e.outcome.tally for phase in self.entries.values() for e in phase]
        return sum((tally for tally in tallies if tally is not None), Tally())

    @property
    def counts(self) -> dict[str, int]:
        """What tasks counted beside their accounts (metric ``counts``), added up by name."""
        total: dict[str, int] = {}
        for entries in self.entries.values():
            for entry in entries:
                for name, count in entry.outcome.metrics.get("counts", {}).items():
                    total[name] = total.get(name, 0) + count
        return dict(sorted(total.items()))

    @property
    def verdicts(self) -> list[dict]:
        """Records that ended the process which worked on them (metric ``verdicts``), in task order."""
        return [
            verdict
            for entries in self.entries.values()
            for entry in entries
            for verdict in entry.outcome.metrics.get("verdicts", ())
        ]

    def outputs(self, kind: str) -> list[Output]:
        """Files of `kind` over all phases, in order."""
        return [output for entries in self.entries.values() for output in outputs_of(entries, kind)]


def run(
    job: Job,
    output_dir: str | os.PathLike,
    *,
    workers: int = 1,
    engine: Engine | None = None,
    shard: ShardOf | None = None,
    verify: bool = False,
    observer: Observer | None = None,
) -> JobResult:
    """Run a job to its end, or resume it.

    Parameters
    ----------
    job : Job
        What to do.
    output_dir : path-like
        Where the job's files (``<job>/<phase>/<kind>/``) and the ledger go.
    workers : int
        Worker processes of the local engine; 1 runs in this process. The result does not depend
        on it.
    engine : Engine, optional
        Another engine than the local one.
    shard : ShardOf, optional
        Run only this slice of each phase's tasks.
    verify : bool
        Compare checksums of inputs and of files made before, instead of size and time.
    observer : Observer, optional
        Receives progress.

    Returns
    -------
    JobResult

    Raises
    ------
    PendingShards
        If a phase waits for the tasks of other slices.
    LedgerError
        If a task's documents do not add up, or another run holds `output_dir`.
    TaskError
        If a task fails; what was finished is kept.
    """
    root = Path(output_dir).absolute()
    shard = shard or ShardOf()
    observer = observer or Observer()
    engine = engine or Local(workers)
    done: dict[str, tuple[Entry, ...]] = {}
    num_run = num_skipped = 0
    with engine.session() as session:
        for phase in job.phases:
            label = f"{job.name}/{phase}"
            tasks = job.plan(phase, done)
            try:
                committed = _Phase(root, label).run(tasks, session, shard, verify, observer)
            except TaskError as error:
                _keep_traceback(error, root)
                raise
            done[phase] = committed.entries
            num_run += committed.num_run
            num_skipped += committed.num_skipped
    return JobResult(job.name, done, num_run, num_skipped)


def _keep_traceback(error: TaskError, root: Path) -> None:
    """Append what an unexpected failure said to ``errors.log``; users are shown one line."""
    notes = getattr(error, "__notes__", [])
    if notes:
        root.mkdir(parents=True, exist_ok=True)  # a first task may fail before anything was published
        with open(root / "errors.log", "a", encoding="utf-8") as log:
            log.write(f"{error.where}\n" + "\n".join(notes) + "\n")


@dataclass(frozen=True)
class _Committed:
    entries: tuple[Entry, ...]
    num_run: int
    num_skipped: int


class _Phase:
    def __init__(self, root: Path, label: str) -> None:
        self._label = label
        self._directory = root / label
        self._ledger = root / "ledger" / label

    def run(
        self, tasks: Sequence[Task], session: Session, shard: ShardOf, verify: bool, observer: Observer
    ) -> _Committed:
        calls = [self._call(task) for task in tasks]
        inputs = {call.label: input_checksums(call.task) if verify else None for call in calls}
        entries: dict[int, Entry] = {}
        for call in calls:
            path, verified = self._entry_path(call), inputs[call.label]
            entry = load_entry(path, self._directory, call.key, verified)
            if entry is not None:
                entries[call.task.index] = entry
                if verify:
                    save_entry(entry, path, self._directory, verified)
        skipped = len(entries)
        to_run = [
            call
            for call in calls
            if call.task.index not in entries and call.task.index % shard.count == shard.number
        ]
        total = sum(call.task.input_bytes for call in to_run)
        observer.phase_started(self._label, len(to_run), skipped, total)
        for call, outcome in session.run(to_run, observer.progress):
            if outcome.tally is not None:
                outcome.tally.check(call.label)
            entry = Entry(call.task.name, call.key, outcome)
            save_entry(entry, self._entry_path(call), self._directory, inputs[call.label])
            Path(call.checkpoint_path).unlink(missing_ok=True)
            entries[call.task.index] = entry
            observer.task_finished(entry)
        if len(entries) < len(calls):
            raise PendingShards(
                f"{len(calls) - len(entries)} of {len(calls)} tasks belong to other slices and are not done",
                where=self._label,
                hint=f"slice {shard.number}/{shard.count} has finished its part; run it again when "
                "the others have too",
            )
        if shard.count == 1:
            self._remove_orphans(entries.values())
        observer.phase_finished(self._label)
        return _Committed(tuple(entries[task.index] for task in tasks), len(to_run), skipped)

    def _call(self, task: Task) -> Call:
        label = f"{self._label}/{task.name}"
        return Call(
            task,
            label,
            task_key(task, label),
            str(self._directory),
            str(self._ledger / f"{task.name}.parts.json"),
        )

    def _entry_path(self, call: Call) -> Path:
        return self._ledger / f"{call.task.name}.json"

    def _remove_orphans(self, entries: Iterable[Entry]) -> None:
        """Files of earlier configurations or interrupted writes that no entry names."""
        named = {output.path for entry in entries for output in entry.outcome.outputs}
        for path in list(self._directory.rglob("*")):
            if path.is_file() and str(path) not in named:
                path.unlink()
        live = {entry.task for entry in entries}
        for path in [*self._ledger.glob("*.json"), *self._ledger.glob(f"*{VERDICTS_SUFFIX}")]:
            if path.stem not in live:
                path.unlink()


@contextlib.contextmanager
def hold(output_dir: str | os.PathLike, shard: ShardOf | None = None) -> Iterator[Path]:
    """Hold an output directory for one run, so that a second run started by mistake refuses.

    A plain run holds it alone; slices share it with each other, each slice once.

    Raises
    ------
    LedgerError
        If another living process holds it; the message says which.
    """
    shard = shard or ShardOf()
    root = Path(output_dir).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        everyone = (root / ".run.lock").open("a+", encoding="utf-8")
        mine = (root / f".run-{shard.number}-of-{shard.count}.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be used as output directory: {error.strerror}",
            where=str(root),
            hint="choose a directory that can be written",
        ) from error
    with everyone, mine:
        _lock(everyone, fcntl.LOCK_EX if shard.count == 1 else fcntl.LOCK_SH, root)
        _lock(mine, fcntl.LOCK_EX, root)
        if shard.count == 1:
            remove_temporaries(root)
        yield root


def _lock(handle: TextIO, mode: int, root: Path) -> None:
    try:
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
    except OSError as error:
        handle.seek(0)
        raise LedgerError(
            f"another run holds this directory ({handle.read().strip() or 'unknown process'})",
            where=str(root),
            hint="wait for it, or choose another output directory",
        ) from error
    handle.truncate(0)
    handle.write(f"process {os.getpid()}\n")
    handle.flush()


def remove_work(output_dir: str | os.PathLike, job_name: str) -> None:
    """Forget a job: its files and its ledger."""
    root = Path(output_dir).absolute()
    shutil.rmtree(root / job_name, ignore_errors=True)
    shutil.rmtree(root / "ledger" / job_name, ignore_errors=True)
