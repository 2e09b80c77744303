"""Ledger entries of one phase, written some at a time.

Writing an entry to an object store takes a request's time, 20 to 40 ms, in which the driver would do nothing
else: 30 tasks a second at most, however large the cluster. Side by side, 16 at a time, it writes some 300 a
second where a request takes 30 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType

from corpuskit.engine.places import Place
from corpuskit.engine.protocol import Call
from corpuskit.jobs import Entry

_WAITING_PER_THREAD = 2


class Commits:
    """Commits what is added, and says in the order of adding what is committed.

    Every entry is written whole by `Place.save`, after its files are in place and if this run still holds the
    output. What was added is written before the end, also of a run that fails or is interrupted; but once an
    entry could not be written, those that are not begun are left.

    Parameters
    ----------
    place : Place
    label : str
        ``job/phase``.
    committed : callable
        Called for each call and entry, in the thread that adds.
    """

    def __init__(self, place: Place, label: str, committed: Callable[[Call, Entry], None]) -> None:
        self._place, self._label, self._committed = place, label, committed
        self._threads = ThreadPoolExecutor(place.commits_at_once) if place.commits_at_once > 1 else None
        self._most_waiting = _WAITING_PER_THREAD * place.commits_at_once
        self._waiting: deque[tuple[Call, Entry, Future[None]]] = deque()

    def __enter__(self) -> Commits:
        return self

    def add(self, call: Call, entry: Entry, verified: Sequence[str] | None) -> None:
        """Commit a finished task, now or soon.

        Raises
        ------
        CorpuskitError
            If this entry, or one that was added before, could not be written.
        """
        if self._threads is None:
            self._place.save(entry, call, self._label, verified)
            self._committed(call, entry)
            return
        future = self._threads.submit(self._place.save, entry, call, self._label, verified)
        self._waiting.append((call, entry, future))
        self.notice()
        while len(self._waiting) > self._most_waiting or any(_has_failed(f) for _, _, f in self._waiting):
            self._take_first()

    def notice(self) -> None:
        """Say what has been committed meanwhile, without waiting and without raising."""
        while self._waiting and self._waiting[0][2].done() and not _has_failed(self._waiting[0][2]):
            self._take_first()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads is None:
            return
        try:
            if kind is None:
                while self._waiting:
                    self._take_first()
            else:
                wait([future for _, _, future in self._waiting], return_when=FIRST_EXCEPTION)
        finally:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def _take_first(self) -> None:
        call, entry, future = self._waiting[0]
        future.result()
        self._waiting.popleft()
        self._committed(call, entry)


def _has_failed(future: Future[None]) -> bool:
    return future.done() and future.exception() is not None
