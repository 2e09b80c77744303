"""The default engine: this process, or worker processes by spawn.

Workers are plain processes with a pipe each, rather than an executor, because a run must know
*which* task a dying worker held: it is tried once more on a new worker (an out-of-memory kill is
often bad luck), and a second death names the task.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any

from corpuskit.engine.protocol import Call, Session
from corpuskit.errors import ConfigError, CorpuskitError, TaskError
from corpuskit.jobs import Outcome

_ATTEMPTS = 2


@dataclass(frozen=True)
class Local:
    """Run tasks on this machine.

    Parameters
    ----------
    workers : int
        Number of processes; 1 runs every task in this process.
    """

    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"must be at least 1, not {self.workers}", where="workers")

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Runs the calls of one phase after another; workers start when needed and stay to the end.

        Starting one costs a second of processor time (imports, kernels), which a job of ten short phases
        would pay ten times.
        """
        if self.workers == 1:
            yield _InProcess()
            return
        pool = _Pool(self.workers)
        try:
            yield pool
        finally:
            pool.stop()


class _InProcess:
    def run(
        self, calls: Sequence[Call], report_progress: Callable[[int], None]
    ) -> Generator[tuple[Call, Outcome], None, None]:
        for call in calls:
            yield call, _execute(call, report_progress)


def _execute(call: Call, report_progress: Callable[[int], None]) -> Outcome:
    try:
        return call.execute(report_progress)
    except CorpuskitError:
        raise
    except Exception as error:
        raise unexpected(call, traceback.format_exc()) from error


def unexpected(call: Call, trace: str) -> TaskError:
    """The error for a task that raised something that is not a `CorpuskitError`."""
    last_line = trace.strip().splitlines()[-1]
    error = TaskError(
        f"a task failed unexpectedly: {last_line}",
        where=call.label,
        hint="this is a bug in a step or in corpuskit; the traceback is in errors.log beside the "
        "ledger. Finished tasks are kept: the same command resumes",
    )
    error.add_note(trace)
    return error


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection
    call: Call | None = None


class _Pool:
    def __init__(self, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._size = workers
        self._workers: list[_Worker] = []

    def run(
        self, calls: Sequence[Call], report_progress: Callable[[int], None]
    ) -> Generator[tuple[Call, Outcome], None, None]:
        """Yield each call with its outcome, in the order they finish; a single call runs in this process."""
        if len(calls) <= 1:
            yield from _InProcess().run(calls, report_progress)
            return
        # The longest first, so that the last task to start is a short one.
        waiting = deque(sorted(calls, key=lambda call: -call.task.input_bytes))
        attempts: dict[str, int] = {}
        try:
            while waiting or any(worker.call for worker in self._workers):
                self._assign(waiting, attempts)
                for worker in self._ready():
                    message = self._receive(worker)
                    if message is None:
                        call = self._bury(worker)
                        if attempts[call.label] >= _ATTEMPTS:
                            raise _worker_died(call, worker.process.exitcode)
                        waiting.appendleft(call)
                    elif message[0] == "progress":
                        report_progress(message[1])
                    else:
                        finished, worker.call = worker.call, None
                        if finished is not None:
                            yield finished, result_of(finished, message)
        finally:
            self.stop(only_busy=True)

    def _assign(self, waiting: deque[Call], attempts: dict[str, int]) -> None:
        while len(self._workers) < min(self._size, len(waiting) + self._num_busy()):
            self._workers.append(self._start())
        for worker in self._workers:
            if worker.call is None and waiting:
                worker.call = waiting.popleft()
                attempts[worker.call.label] = attempts.get(worker.call.label, 0) + 1
                try:
                    worker.pipe.send(worker.call)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it died while idle; `_ready` reports it and the task is tried again

    def _num_busy(self) -> int:
        return sum(worker.call is not None for worker in self._workers)

    def _ready(self) -> list[_Worker]:
        pipes = {worker.pipe: worker for worker in self._workers if worker.call}
        return [pipes[pipe] for pipe in connection.wait(list(pipes))]  # type: ignore[index]

    def _receive(self, worker: _Worker) -> tuple[str, Any] | None:
        try:
            return worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            return None

    def _bury(self, worker: _Worker) -> Call:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        call = worker.call
        if call is None:
            raise TaskError("an idle worker process ended unexpectedly", where="local engine")
        return call

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def stop(self, *, only_busy: bool = False) -> None:
        """End the workers: the busy ones at once (their results are not wanted), idle ones by themselves."""
        leaving = [worker for worker in self._workers if worker.call is not None or not only_busy]
        for worker in leaving:
            if worker.call is not None:
                worker.process.terminate()
            worker.pipe.close()
        for worker in leaving:
            worker.process.join()
            self._workers.remove(worker)


def _serve(pipe: connection.Connection) -> None:
    """A worker's main loop: one call at a time until the pipe closes."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    while True:
        try:
            call: Call = pipe.recv()
        except EOFError:
            return
        try:
            outcome = call.execute(lambda count: pipe.send(("progress", count)))
            pipe.send(("done", outcome))
        except CorpuskitError as error:
            pipe.send(("error", error))
        except Exception:
            pipe.send(("unexpected", traceback.format_exc()))


def _exit_with_parent() -> None:
    """A killed driver must not leave workers that write beside the run that resumes it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def result_of(call: Call, message: tuple[str, Any]) -> Outcome:
    """The outcome that a worker sent, or the error it sent, raised."""
    kind, value = message
    if kind == "error":
        raise value
    if kind == "unexpected":
        raise unexpected(call, value)
    return value


def _worker_died(call: Call, exit_code: int | None) -> TaskError:
    return TaskError(
        f"the worker process died twice on this task (exit code {exit_code})",
        where=call.label,
        hint="exit code -9 usually means out of memory: use fewer workers. Finished tasks are kept; "
        "the same command resumes",
    )
