"""What an engine is: it takes calls and yields outcomes, and knows nothing else.

The local engine and a cluster engine run the same task functions; planning, skipping, accounting
and committing happen in `corpuskit.engine.execute`, once, for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corpuskit.engine.objects import ObjectStore
from corpuskit.engine.staging import execute_staged
from corpuskit.jobs import Entry, Outcome, Task, Workspace


@dataclass(frozen=True)
class Call:
    """A task together with where it writes; everything in it pickles.

    Attributes
    ----------
    task : Task
    label : str
        ``job/phase/index``, for messages.
    key : str
        The ledger key.
    directory, checkpoint_path : str
        See `corpuskit.jobs.Workspace`; keys of `store` where there is one.
    store : ObjectStore, optional
        Where inputs and outputs of the run lie, if not on a disk that every process sees.
    directories : tuple of (str, str)
        The driver's paths, as inputs and configurations name them, and the keys of their copies in `store`.
    """

    task: Task
    label: str
    key: str
    directory: str
    checkpoint_path: str
    store: ObjectStore | None = None
    directories: tuple[tuple[str, str], ...] = ()

    def execute(self, report_progress: Callable[[int], None]) -> Outcome:
        """Run the task function in this process."""
        if self.store is not None:
            return execute_staged(self, self.store, report_progress)
        workspace = Workspace(
            Path(self.directory), Path(self.checkpoint_path), self.key, self.task.name, report_progress
        )
        return self.task.function(self.task, workspace)


class Session(Protocol):
    """Runs calls in any order and yields each with its outcome as it finishes.

    Closing the generator ends what runs.
    """

    def run(
        self, calls: Sequence[Call], report_progress: Callable[[int], None]
    ) -> Generator[tuple[Call, Outcome], None, None]: ...


class Engine(Protocol):
    """Opens sessions; what a session needs (processes, connections) lives as long as it does."""

    def session(self) -> AbstractContextManager[Session]: ...


@dataclass(frozen=True)
class Opened:
    """An engine whose session is open already, and stays open: for several jobs one after another."""

    opened: Session

    @contextmanager
    def session(self) -> Iterator[Session]:
        """The session, without ending it."""
        yield self.opened


class Observer:
    """Receives what a run does, for progress displays; every method may be left as it is."""

    def phase_started(self, label: str, tasks: int, skipped: int, input_bytes: int) -> None:
        """`tasks` are to run (`input_bytes` in all); `skipped` were done before."""

    def progress(self, input_bytes: int) -> None:
        """More input bytes are finished."""

    def task_finished(self, entry: Entry) -> None:
        """A task was committed."""

    def phase_finished(self, label: str) -> None:
        """Every task of the phase is committed."""
