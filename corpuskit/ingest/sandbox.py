"""A process of its own for hostile pages, so that none of them can hang or kill the run.

What a page may cost is decided by budgets of bytes, tags and depth, which give the same answer on
any machine. But a parser may have a fault that no budget foresees. So pages are worked on in a
child process with limits of the operating system: processor time (`RLIMIT_AS` for memory, interval
timers that end the process by a signal, even inside native code, even when nobody waits for it
any more). Pages go to the child in batches (their bytes through a file in memory, which costs half of
what a pipe does) and the results come back one by one, so a child that dies names the page it died
of: the first without a result. That page is tried once
more alone in a new child, because what killed the first may have been bad luck (an operator, the
kernel short of memory); a second death is a *verdict*, which the caller must remember and replay
(`Verdicts`), because the clock may judge differently next time and a resumed run must not.

The child is a fresh interpreter, not a fork: a fork of a process with threads can deadlock, which
would look like a hostile page; and it does not import ``__main__``, so scripts need no guard. It
starts with the first page (once a process, about as long as the first import of the extractor) and
works on a batch while the parent cleans the batch before. It protects from faults, not from an
attacker who has taken over the child: what it answers is unpickled.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from corpuskit.errors import ResourceError
from corpuskit.ingest.http import BodyError
from corpuskit.ingest.web import PageLimits, PageRequest, PageText

if TYPE_CHECKING:
    from corpuskit.ingest.chunks import ReadOptions

PAGE_FUNCTION = "corpuskit.ingest.web:page_text"
"""What the child calls: ``function(request, limits)``."""

MEMORY_BYTES = 4 << 30
"""Address space that a page's work may add to the child's."""

WALL_FACTOR = 4
"""Wall seconds allowed for each second of processor time; a busy machine must not look like a hang."""

_START_SECONDS = 300  # the first start compiles the kernels
_GRACE_SECONDS = 10
_PIPE_BYTES = 1 << 20
_MAX_IDLE = 1


class Failure(Exception):
    """A page ended its process twice: the verdict's reason and detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


Result = PageText | BodyError | Failure


class Verdicts(Protocol):
    """Remembers which records ended their process.

    A verdict must be on disk when `add` returns: what is published afterwards relies on it.
    """

    def get(self, record_id: str) -> tuple[str, str] | None:
        """Reason and detail of a verdict of an earlier run of this task."""

    def add(self, record_id: str, path: str, offset: int, reason: str, detail: str) -> None:
        """Remember one."""


class NoVerdicts:
    """For readers outside a run: nothing is remembered."""

    def get(self, record_id: str) -> tuple[str, str] | None:
        return None

    def add(self, record_id: str, path: str, offset: int, reason: str, detail: str) -> None:
        pass


def limits_of(options: ReadOptions, max_bytes: int) -> PageLimits:
    """The limits of a page under `options`; `max_bytes` bounds its decoded body."""
    return PageLimits(max_bytes, options.max_ratio, options.max_error_rate, options.max_page_seconds)


class _Child:
    """The process, the pipes to and from it, and the file in memory that holds the bodies of a batch."""

    def __init__(self, function: str, memory_bytes: int) -> None:
        their_requests, self._requests = os.pipe()
        self._results, their_results = os.pipe()
        _enlarge(self._results)
        self._bodies = _memory_file()
        theirs = (their_requests, their_results, self._bodies)
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from corpuskit.ingest.sandbox_child import main; "
            f"main({theirs!r}, {function!r}, {memory_bytes})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=theirs
        )
        os.close(their_requests)
        os.close(their_results)
        self._poll = select.poll()
        self._poll.register(self._results, select.POLLIN)
        self._received = bytearray()
        self.ready = False

    def send(self, requests: Sequence[PageRequest], limits: PageLimits) -> None:
        offset = 0
        for request in requests:
            offset += write_whole(self._bodies, request.body, offset)
        os.ftruncate(self._bodies, offset)
        plain = [(len(request.body), *request[1:]) for request in requests]
        message = pickle.dumps((limits, plain))
        try:
            write_whole(self._requests, len(message).to_bytes(8, "little") + message)
        except BrokenPipeError:
            pass  # it has died; `receive` finds out, and the first page is tried again

    def receive(self, seconds: float) -> Any:
        """The next message, or None where none comes or the child has ended."""
        deadline = time.monotonic() + seconds
        while True:
            size = int.from_bytes(self._received[:8], "little")
            if len(self._received) >= 8 + size and len(self._received) >= 8:
                message = pickle.loads(memoryview(self._received)[8 : 8 + size])
                del self._received[: 8 + size]
                return message
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            data = os.read(self._results, _PIPE_BYTES)
            if not data:
                return None
            self._received += data

    def close(self) -> None:
        for descriptor in (self._requests, self._results, self._bodies):
            os.close(descriptor)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def write_whole(descriptor: int, data: bytes, offset: int | None = None) -> int:
    """Write all of `data`, at `offset` where the file has places; return how much that is."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        if offset is None:
            done += os.write(descriptor, view[done:])
        else:
            done += os.pwrite(descriptor, view[done:], offset + done)
    return done


class Sandbox:
    """Runs pages in a child process.

    Parameters
    ----------
    function : str
        ``module:name`` of what the child calls.
    memory_bytes : int
        See `MEMORY_BYTES`.

    Examples
    --------
    >>> sandbox.submit(requests, limits)      # doctest: +SKIP
    >>> results = sandbox.results()           # doctest: +SKIP
    """

    def __init__(self, function: str = PAGE_FUNCTION, memory_bytes: int = MEMORY_BYTES) -> None:
        self.function = function
        self.owner = os.getpid()
        self._memory_bytes = memory_bytes
        self._child: _Child | None = None
        self._submitted: Sequence[PageRequest] = ()
        self._limits: PageLimits | None = None

    def submit(self, requests: Sequence[PageRequest], limits: PageLimits) -> None:
        """Begin work on `requests`; the results of the batch before must have been taken."""
        self._submitted, self._limits = requests, limits
        self._send(requests)

    def results(self) -> list[Result]:
        """The results of the submitted requests, in order; waits for them."""
        requests, limits = self._submitted, self._limits
        self._submitted = ()
        results: list[Result] = []
        while limits is not None and len(results) < len(requests):
            result = self._receive(limits)
            if result is None:
                results.append(self._alone(requests[len(results)], limits))
                if len(results) < len(requests):
                    self._send(requests[len(results) :])
            else:
                results.append(result)
        return results

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.close()
            self._child = None
        self._submitted = ()

    @property
    def idle(self) -> bool:
        """Whether no results are outstanding."""
        return not self._submitted

    def _alone(self, request: PageRequest, limits: PageLimits) -> Result:
        """The result of a page that may have ended the last child, from a new one."""
        self._end()
        self._send([request])
        result = self._receive(limits)
        return self._end(limits) if result is None else result

    def _send(self, requests: Sequence[PageRequest]) -> None:
        if self._limits is not None:
            if self._child is None:
                self._child = _Child(self.function, self._memory_bytes)
            self._child.send(requests, self._limits)

    def _receive(self, limits: PageLimits) -> Result | None:
        """The next result; None where the child has died or does not answer."""
        if self._child is None:
            return None
        self._wait_until_ready(self._child)
        message = self._child.receive(WALL_FACTOR * limits.max_seconds + _GRACE_SECONDS)
        if message is None:
            return None
        kind, *values = message
        return PageText(*values) if kind == "page" else BodyError(*values)

    def _end(self, limits: PageLimits | None = None) -> Failure:
        """End a child that has failed; what it died of, as a verdict."""
        child, self._child = self._child, None
        seconds = limits.max_seconds if limits is not None else 0
        out_of_time = Failure("ingest/timed-out", f"the page took more than {seconds:g} s, twice")
        if child is None:
            return out_of_time
        try:
            code = child.process.wait(0.5)  # a child whose pipe has closed is about to end
        except subprocess.TimeoutExpired:
            code = None
        child.close()
        if code is None or -code in (signal.SIGPROF, signal.SIGALRM):
            return out_of_time
        what = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if code == OUT_OF_MEMORY:
            what = f"more than {self._memory_bytes >> 20} MiB of memory"
        return Failure("ingest/killed-worker", f"the page ended its process twice: {what}")

    def _wait_until_ready(self, child: _Child) -> None:
        if not child.ready and child.receive(_START_SECONDS) != "ready":
            self._child = None
            child.close()
            raise ResourceError(
                f"the process that extracts pages did not start (exit code {child.process.returncode})",
                where=sys.executable,
                hint="its error is above; usually memory is short, or corpuskit cannot be imported there",
            )
        child.ready = True


OUT_OF_MEMORY = 77
"""Exit code of a child that a page left without memory."""

# Idle sandboxes of this process: starting one takes as long as some hundred pages.
_idle: list[Sandbox] = []


@contextlib.contextmanager
def borrow() -> Iterator[Sandbox]:
    """A sandbox for the time of the block; its child starts with the first page."""
    sandbox = None
    while _idle and sandbox is None:
        candidate = _idle.pop()
        # A fork has its parent's list but must not write into its parent's pipe.
        if candidate.owner == os.getpid() and candidate.function == PAGE_FUNCTION:
            sandbox = candidate
    sandbox = sandbox or Sandbox(PAGE_FUNCTION)
    try:
        yield sandbox
    finally:
        if sandbox.idle and len(_idle) < _MAX_IDLE:
            _idle.append(sandbox)
        else:
            sandbox.close()


def close_idle() -> None:
    """End the idle child of this process; the next page starts another."""
    while _idle:
        sandbox = _idle.pop()
        if sandbox.owner == os.getpid():
            sandbox.close()


atexit.register(close_idle)


def _memory_file() -> int:
    """A file without a name; in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("corpuskit-pages")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _enlarge(pipe: int) -> None:
    """Let a pipe hold the results of a batch, so that the child goes on while nobody reads."""
    with contextlib.suppress(OSError, AttributeError):  # the user's quota of pipe memory; not Linux
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
