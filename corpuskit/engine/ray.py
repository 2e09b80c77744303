"""Runs tasks as Ray core tasks, on one machine or on a cluster.

Tasks carry paths, never documents: in NeMo Curator's nightly gates the same near-duplicate job makes
2.0 million documents a second where tasks carry paths and 0.8 where Ray Data hands documents on. So
Ray's object store holds nothing but outcomes (a few kilobytes each), and a cluster can run with 100 MB of it.

What Ray does: it places tasks by processors and memory, and runs a task again whose worker or machine was
lost. What it does not do here: it keeps no state that a run needs. The ledger says what is done, so a
cluster that is lost as a whole costs the tasks in flight.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from corpuskit.engine.ledger import code_version
from corpuskit.engine.local import result_of, unexpected
from corpuskit.engine.protocol import Call, Session
from corpuskit.errors import (
    ConfigError,
    CorpuskitError,
    MismatchError,
    MissingExtra,
    ResourceError,
    TaskError,
)
from corpuskit.jobs import Outcome

_POLL_S = 0.5
_NODES_S, _ANSWER_S, _QUESTIONS = 5.0, 20.0, 3
_REPORT_S = 1.0
_CANCEL_S = 20.0
_OBJECT_STORE_BYTES = 100 << 20  # Ray's smallest is 75 MB


@dataclass(frozen=True)
class Ray:
    """Run tasks on a Ray cluster.

    Every node needs this version of corpuskit, and the inputs and outputs under the same names: a shared
    file system, or an object store (`corpuskit.engine.ObjectStore`).

    Parameters
    ----------
    address : str, optional
        Of a running cluster: ``auto``, ``host:6379`` or ``ray://host:10001``. None starts Ray on this
        machine, and ends it with the session; where the program is connected to Ray already, that
        connection is used.
    workers : int, optional
        Processors of the Ray that is started here; by default all that this process may use.
    in_flight : int, optional
        Tasks handed to Ray at once; by default twice the processors of the cluster, counted again as nodes
        come and go.
    retries : int
        How often Ray runs a task again whose worker died or was killed for memory, or whose node was lost.
        A task that fails with an error is not run again.

    Raises
    ------
    MissingExtra
        On first use, if Ray is not installed.
    ConfigError
        If no cluster answers at `address`.
    """

    address: str | None = None
    workers: int | None = None
    in_flight: int | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        for name in ("workers", "in_flight"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"must be at least 1, not {value}", where=name)
        if self.retries < 0:
            raise ConfigError(f"must not be negative, not {self.retries}", where="retries")
        if self.address is not None and self.workers is not None:
            raise ConfigError(
                "a running cluster has the processors it has",
                where="workers",
                hint="leave out one of the two",
            )

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Connects to Ray, or uses the connection there is."""
        # How often Ray repeats a task that its memory monitor killed; its own default is for ever. Read
        # by Ray's library in this process when it is first loaded.
        os.environ.setdefault("RAY_task_oom_retries", str(self.retries))
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtra(
                "the Ray engine needs Ray", where="engine", hint="pip install 'corpuskit[ray]'"
            ) from error
        ours = not ray.is_initialized()
        if ours:
            self._connect(ray)
        session = _Session(ray, self)
        try:
            yield session
        finally:
            session.close()
            if ours:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            ray.init(
                address="local",
                num_cpus=self.workers,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
            return
        try:
            ray.init(address=self.address, **quiet)
        except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"no Ray cluster can be joined there: {str(error).strip().splitlines()[0]}",
                where=f"address {self.address}",
                hint="start one with `ray start --head`, or leave the address out to use this machine",
            ) from error


class _Nodes:
    """What the living nodes offer, asked for every few seconds.

    Ray's question to its head waits without end where the answer is lost; that was seen, on a cluster that
    was well. Then what was known before stands.
    """

    def __init__(self, ask: Callable[[], list[dict[str, Any]]]) -> None:
        self._ask = ask
        self._known: list[dict[str, float]] | None = None
        self._asked_at = 0.0

    def forget(self) -> None:
        """Ask again at the next occasion."""
        self._known = None

    def alive(self) -> list[dict[str, float]]:
        """Resources by name, of each node.

        Raises
        ------
        ResourceError
            If Ray does not answer, and never has.
        """
        if self._known is not None and time.monotonic() - self._asked_at < _NODES_S:
            return self._known
        answers: list[list[dict[str, Any]]] = []
        for _ in range(_QUESTIONS):
            thread = threading.Thread(target=lambda: answers.append(self._ask()), daemon=True)
            thread.start()
            thread.join(_ANSWER_S)
            if answers or self._known is not None:
                break
        if answers:
            self._known = [node["Resources"] for node in answers[0] if node["Alive"]]
        if self._known is None:
            raise ResourceError(
                "Ray's head does not say which nodes there are", where="engine", hint="run again: it resumes"
            )
        self._asked_at = time.monotonic()
        return self._known


class _Session:
    def __init__(self, ray: Any, engine: Ray) -> None:
        self._ray = ray
        self._engine = engine
        self._nodes = _Nodes(ray.nodes)
        self._remote = ray.remote(max_calls=0)(_execute)
        # On the driver's node and without a processor: it only adds numbers.
        self._counter = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)(_Counter).remote()

    def run(
        self, calls: Sequence[Call], report_progress: Callable[[int], None]
    ) -> Generator[tuple[Call, Outcome], None, None]:
        """Yield each call with its outcome, in the order they finish."""
        # The longest first, so that the last task to start is a short one.
        waiting = deque(sorted(calls, key=lambda call: -call.task.input_bytes))
        running: dict[Any, Call] = {}
        progress = _Progress(self._ray, self._counter, report_progress)
        try:
            while waiting or running:
                limit = self._limit()
                while waiting and len(running) < limit:
                    call = waiting.popleft()
                    running[self._submit(call)] = call
                ready, _ = self._ray.wait(list(running), num_returns=1, timeout=_POLL_S)
                progress.poll()
                for ref in ready:
                    call = running.pop(ref)
                    kind, value, reported = self._receive(call, ref)
                    outcome = result_of(call, (kind, value))
                    progress.finished(call.label, reported)
                    yield call, outcome
        finally:
            self._cancel(list(running))

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(self._counter)

    def _limit(self) -> int:
        if self._engine.in_flight is not None:
            return self._engine.in_flight
        return max(2, 2 * int(sum(node.get("CPU", 0) for node in self._nodes.alive())))

    def _submit(self, call: Call) -> Any:
        options = {
            "num_cpus": 1,
            "memory": min(call.task.memory_bytes, self._largest_memory(call)),
            "max_retries": self._engine.retries,
            "name": call.label,
        }
        return self._remote.options(**options).remote(call, code_version(), self._counter)

    def _largest_memory(self, call: Call) -> int:
        """Of any node: a task that asks for more would wait for ever, where it may run alone."""
        able = [int(node.get("memory", 0)) for node in self._nodes.alive() if node.get("CPU", 0) >= 1]
        if not able:
            self._nodes.forget()
            able = [int(node.get("memory", 0)) for node in self._nodes.alive() if node.get("CPU", 0) >= 1]
        if not able:
            raise ResourceError(
                "the cluster has no node with a processor for tasks",
                where=call.label,
                hint="add worker nodes, or start the head with --num-cpus",
            )
        return max(able)

    def _receive(self, call: Call, ref: Any) -> tuple[str, Any, int]:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.OutOfMemoryError as error:
            raise ResourceError(
                f"Ray ended the task {self._engine.retries + 1} times because its node ran out of memory",
                where=call.label,
                hint="use nodes with more memory, or fewer processors a node. Finished tasks are kept; the "
                "same command resumes",
            ) from error
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError) as error:
            raise TaskError(
                f"its worker or node was lost {self._engine.retries + 1} times: "
                f"{str(error).strip().splitlines()[0]}",
                where=call.label,
                hint="if other tasks ran well, this one may use more memory than there is. Finished tasks "
                "are kept; the same command resumes",
            ) from error
        except errors.RayTaskError as error:
            raise unexpected(call, str(error)) from error
        except errors.RayError as error:
            raise TaskError(
                f"Ray could not run it: {str(error).strip().splitlines()[0]}",
                where=call.label,
                hint="look at the state of the cluster (`ray status`). Finished tasks are kept; the same "
                "command resumes",
            ) from error

    def _cancel(self, refs: list[Any]) -> None:
        """End the tasks whose results are not wanted, and wait: none may write beside what comes next."""
        if not refs:
            return
        for ref in refs:
            with contextlib.suppress(Exception):
                self._ray.cancel(ref, force=True)
        with contextlib.suppress(Exception):
            self._ray.wait(refs, num_returns=len(refs), timeout=_CANCEL_S)


class _Counter:
    """An actor that holds how far each running task has come."""

    def __init__(self) -> None:
        self._reported: dict[str, int] = {}

    def put(self, label: str, total: int) -> None:
        self._reported[label] = max(total, self._reported.get(label, 0))

    def take(self) -> dict[str, int]:
        reported, self._reported = self._reported, {}
        return reported


class _Progress:
    """Progress as the driver sees it; a task that is run again is not counted twice."""

    def __init__(self, ray: Any, counter: Any, report: Callable[[int], None]) -> None:
        self._ray = ray
        self._counter = counter
        self._report = report
        self._seen: dict[str, int] = {}
        self._asked: Any = None
        self._next = 0.0

    def poll(self) -> None:
        """Ask the counter, and take its answer a later time: the driver never waits for it."""
        if self._asked is not None:
            done, _ = self._ray.wait([self._asked], timeout=0)
            if not done:
                return
            asked, self._asked = self._asked, None
            with contextlib.suppress(self._ray.exceptions.RayError):
                for label, total in self._ray.get(asked).items():
                    self._advance(label, total)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _REPORT_S
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._asked = self._counter.take.remote()

    def finished(self, label: str, total: int) -> None:
        self._advance(label, total)
        self._seen[label] = max(total, self._seen.get(label, 0))

    def _advance(self, label: str, total: int) -> None:
        more = total - self._seen.get(label, 0)
        if more > 0:
            self._seen[label] = total
            self._report(more)


def _execute(call: Call, expected_version: str, counter: Any) -> tuple[str, Any, int]:
    """Runs on a worker: what came of a call, as the local engine's workers say it, and its progress."""
    found = code_version()
    if found != expected_version:
        error = MismatchError(
            f"the node {socket.gethostname()} has version {found} of corpuskit and its libraries, the "
            f"driver has {expected_version}",
            where=call.label,
            hint="install the same packages on every node; the results could differ otherwise",
        )
        return "error", error, 0
    progress = _Reporter(call.label, counter)
    try:
        outcome = call.execute(progress)
    except CorpuskitError as error:
        return "error", error, progress.total
    except Exception:
        return "unexpected", traceback.format_exc(), progress.total
    return "done", outcome, progress.total


class _Reporter:
    """Counts a task's progress and tells it about once a second."""

    def __init__(self, label: str, counter: Any) -> None:
        self.total = 0
        self._label = label
        self._counter = counter
        self._next = time.monotonic() + _REPORT_S
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self.total += count
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _REPORT_S
        with contextlib.suppress(Exception):  # progress is for display; it must not end a task
            self._counter.put.remote(self._label, self.total)
