"""Who makes the batches of a loader: the caller itself, threads, or processes.

All three take steps and give back batches in the same order, so which one it is changes no batch.
A worker process opens the dataset itself (it is pickled by its path) and sends arrays back over a
pipe as raw bytes, some 1.5 GB/s; ids travel as uint32 and are widened on arrival.
"""

from __future__ import annotations

import multiprocessing
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from corpuskit.errors import ResourceError
from corpuskit.shards.samples import make_fields
from corpuskit.shards.schedule import Step

_AHEAD_PER_WORKER = 2

Made = tuple[int, dict[str, Any]]


class InTurn:
    """No workers: a batch is made when it is taken."""

    def __init__(self, make: Callable[[Step], dict[str, Any]]) -> None:
        self._make = make
        self._step: Step | None = None

    @property
    def wants_more(self) -> bool:
        return self._step is None

    @property
    def idle(self) -> bool:
        return self._step is None

    def submit(self, step: Step) -> None:
        self._step = step

    def take(self) -> Made:
        step = self._step
        if step is None:
            raise RuntimeError("nothing was submitted")
        made = self._make(step)  # on an error the step stays, so asking again tries again
        self._step = None
        return step.consumed, made

    def discard(self) -> None:
        self._step = None

    def close(self) -> None:
        self.discard()


class WorkerThreads:
    """Batches made ahead in threads; two for each thread."""

    def __init__(self, make: Callable[[Step], dict[str, Any]], workers: int) -> None:
        self._make, self._workers = make, workers
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[tuple[Step, Future]] = deque()

    @property
    def wants_more(self) -> bool:
        return len(self._pending) < _AHEAD_PER_WORKER * self._workers

    @property
    def idle(self) -> bool:
        return not self._pending

    def submit(self, step: Step) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="corpuskit-loader")
        self._pending.append((step, self._pool.submit(self._make, step)))

    def take(self) -> Made:
        step, future = self._pending[0]
        try:
            made = future.result()
        except Exception:
            if self._pool is not None:  # so that asking again tries again
                self._pending[0] = (step, self._pool.submit(self._make, step))
            raise
        self._pending.popleft()
        return step.consumed, made

    def discard(self) -> None:
        for _, future in self._pending:
            future.cancel()
        self._pending.clear()

    def close(self) -> None:
        self.discard()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class WorkerProcesses:
    """Batches made ahead in processes; step i goes to process i mod n, so order needs no sorting."""

    def __init__(self, source: tuple[Any, tuple[str, ...], int | None], workers: int) -> None:
        self._source, self._workers = source, workers
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        self._pending: deque[tuple[int, Step]] = deque()
        self._stale = [0] * workers
        self._next = 0
        self._stop: Callable[[], object] = lambda: None

    @property
    def wants_more(self) -> bool:
        return len(self._pending) < _AHEAD_PER_WORKER * self._workers

    @property
    def idle(self) -> bool:
        return not self._pending

    def submit(self, step: Step) -> None:
        if not self._processes:
            self._start()
        worker = self._next
        self._next = (worker + 1) % self._workers
        self._pending.append((worker, step))
        self._ask(worker, step)

    def take(self) -> Made:
        worker, step = self._pending[0]
        while self._stale[worker]:
            self._receive(worker)
            self._stale[worker] -= 1
        made = self._receive(worker)
        self._pending.popleft()
        if isinstance(made, BaseException):
            raise made
        made["input_ids"] = made["input_ids"].astype(np.int64)
        return step.consumed, made

    def discard(self) -> None:
        for worker, _ in self._pending:
            self._stale[worker] += 1
        self._pending.clear()

    def close(self) -> None:
        self._stop()
        self._connections, self._processes = [], []
        self._pending.clear()
        self._stale = [0] * self._workers

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        for number in range(self._workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(theirs, *self._source), daemon=True, name=f"corpuskit-loader-{number}"
            )
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)
        self._stop = weakref.finalize(self, _stop, list(self._connections), list(self._processes))

    def _ask(self, worker: int, step: Step) -> None:
        try:
            self._connections[worker].send((step.indices, step.sequence_length))
        except OSError as error:
            raise self._died(worker) from error

    def _receive(self, worker: int) -> Any:
        connection = self._connections[worker]
        try:
            described = connection.recv()
            if isinstance(described, BaseException):
                return described
            arrays = {}
            for name, shape, dtype in described:
                arrays[name] = np.empty(shape, dtype)
                if arrays[name].nbytes:
                    connection.recv_bytes_into(_bytes_of(arrays[name]))
            return arrays
        except (EOFError, OSError) as error:
            raise self._died(worker) from error

    def _died(self, worker: int) -> ResourceError:
        process = self._processes[worker]
        process.join(1)
        self.close()
        return ResourceError(
            f"a worker process ended (exit code {process.exitcode})",
            where="loader",
            hint="an exit code of -9 mostly means that memory ran out; the loader can be asked again "
            "after load_state_dict(state_dict()), or use fewer workers",
        )


def _stop(connections: list[Connection], processes: list[Any]) -> None:
    for connection in connections:
        connection.close()
    for process in processes:
        process.terminate()
        process.join(5)


def _work(connection: Connection, samples: Any, fields: tuple[str, ...], cu_seqlens_size: int | None) -> None:
    """A worker process: for each request a list of (name, shape, dtype), then the arrays' bytes."""
    try:
        while True:
            indices, length = connection.recv()
            try:
                ids = np.empty((len(indices), length), np.uint32)
                samples.gather(indices, ids)
                arrays = {"input_ids": ids, **make_fields(samples, indices, ids, fields, cu_seqlens_size)}
            except Exception as error:  # handed to the caller, who asked for the batch
                connection.send(error)
                continue
            connection.send([(name, array.shape, array.dtype.str) for name, array in arrays.items()])
            for array in arrays.values():
                if array.nbytes:
                    connection.send_bytes(_bytes_of(np.ascontiguousarray(array)))
    except (EOFError, OSError, KeyboardInterrupt):  # the loader is gone
        return


def _bytes_of(array: np.ndarray) -> Any:
    view: Any = array
    return memoryview(view).cast("B")
