"""Runs a job: plan a phase, skip what the ledger holds, run the rest, check, commit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from corpuskit.documents import Tally
from corpuskit.engine.commits import Commits
from corpuskit.engine.ledger import input_checksums
from corpuskit.engine.local import Local
from corpuskit.engine.objects import ObjectStore, is_store_url
from corpuskit.engine.places import Directory, Place, Stored
from corpuskit.engine.protocol import Call, Engine, Observer, Session
from corpuskit.engine.shard import ShardOf
from corpuskit.errors import CorpuskitError, TaskError
from corpuskit.jobs import Entry, Job, Output, Task, outputs_of


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
    output_dir: str | os.PathLike | Place,
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
    output_dir : path-like, or URL of an object store
        Where the job's files (``<job>/<phase>/<kind>/``) and the ledger go. In an object store
        (``s3://bucket/prefix``) the outputs' paths are URLs.
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
    ResourceError
        If the object store fails again and again; what was finished is kept.
    """
    place = _place(output_dir)
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
                committed = _run_phase(place, label, tasks, session, shard, verify, observer)
            except TaskError as error:
                _keep_traceback(error, place)
                raise
            done[phase] = committed.entries
            num_run += committed.num_run
            num_skipped += committed.num_skipped
    return JobResult(job.name, done, num_run, num_skipped)


def _place(output_dir: str | os.PathLike | Place) -> Place:
    if isinstance(output_dir, (Directory, Stored)):
        return output_dir
    if is_store_url(output_dir):  # type: ignore[arg-type]
        return Stored(ObjectStore(str(output_dir)))
    return Directory(Path(output_dir).absolute())  # type: ignore[arg-type]


def _keep_traceback(error: TaskError, place: Place) -> None:
    """Append what an unexpected failure said to ``errors.log``; users are shown one line."""
    notes = getattr(error, "__notes__", [])
    if notes:
        place.keep_traceback(f"{error.where}\n" + "\n".join(notes) + "\n")


@dataclass(frozen=True)
class _Committed:
    entries: tuple[Entry, ...]
    num_run: int
    num_skipped: int


def _run_phase(
    place: Place,
    label: str,
    tasks: Sequence[Task],
    session: Session,
    shard: ShardOf,
    verify: bool,
    observer: Observer,
) -> _Committed:
    calls = [place.call(task, label) for task in tasks]
    inputs = {call.label: input_checksums(call.task) if verify else None for call in calls}
    entries = place.load(calls, label, inputs)
    skipped = [call for call in calls if call.task.index in entries]
    if verify:
        with Commits(place, label, lambda call, entry: None) as commits:
            for call in skipped:
                commits.add(call, entries[call.task.index], inputs[call.label])
    to_run = [
        call
        for call in calls
        if call.task.index not in entries and call.task.index % shard.count == shard.number
    ]
    input_bytes = sum(call.task.input_bytes for call in to_run)
    observer.phase_started(label, len(to_run), len(skipped), input_bytes)

    def committed(call: Call, entry: Entry) -> None:
        entries[call.task.index] = entry
        observer.task_finished(entry)

    def progress(more_bytes: int) -> None:
        observer.progress(more_bytes)
        commits.notice()

    # Closing ends the tasks that run, at once and not when the error's traceback is forgotten.
    with Commits(place, label, committed) as commits, closing(session.run(to_run, progress)) as finished:
        for call, outcome in finished:
            if outcome.tally is not None:
                outcome.tally.check(call.label)
            commits.add(call, Entry(call.task.name, call.key, outcome), inputs[call.label])
    if len(entries) < len(calls):
        raise PendingShards(
            f"{len(calls) - len(entries)} of {len(calls)} tasks belong to other slices and are not done",
            where=label,
            hint=f"slice {shard.number}/{shard.count} has finished its part; run it again when "
            "the others have too",
        )
    if shard.count == 1:
        place.finish(entries.values(), label)
    observer.phase_finished(label)
    return _Committed(tuple(entries[task.index] for task in tasks), len(to_run), len(skipped))


def remove_work(output_dir: str | os.PathLike, job_name: str) -> None:
    """Forget a job: its files and its ledger."""
    root = Path(output_dir).absolute()
    shutil.rmtree(root / job_name, ignore_errors=True)
    shutil.rmtree(root / "ledger" / job_name, ignore_errors=True)
