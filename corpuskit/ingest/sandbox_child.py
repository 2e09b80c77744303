"""The child side of `corpuskit.ingest.sandbox`: limits itself, then works on pages until the pipe closes.

The limits end the process by signals whose default action is the kernel's, so they work inside
native code that never returns to the interpreter, and also when the parent has been killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from corpuskit.ingest.http import BodyError
from corpuskit.ingest.sandbox import OUT_OF_MEMORY, WALL_FACTOR, write_whole
from corpuskit.ingest.web import PageLimits, PageRequest

_PR_SET_PDEATHSIG = 1
_WARM_UP = "<html><head><title>页</title></head><body><p>{}</p></body></html>".format(
    "我们的正文，很好。" * 20
)


def main(descriptors: tuple[int, int, int], function_name: str, memory_bytes: int) -> None:
    """Serve pages; see `corpuskit.ingest.sandbox.Sandbox`.

    Parameters
    ----------
    descriptors : tuple of int
        The pipe of requests, the pipe for results, and the file in memory with the bodies.
    function_name : str
        ``module:name``.
    memory_bytes : int
        Address space that may be added to what is used once everything is loaded.
    """
    requests, results, bodies = descriptors
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's affair
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    module, _, name = function_name.partition(":")
    function = getattr(importlib.import_module(module), name)
    # Loads and compiles everything, so that no page is charged for it.
    with contextlib.suppress(BodyError):
        function(PageRequest(_WARM_UP.encode(), "text/html"), PageLimits(1 << 20, 100, 1.0, 60.0))
    _limit_memory(memory_bytes)
    gc.freeze()
    _send(results, "ready")
    while (message := _receive(requests)) is not None:
        limits, pages = message
        offset = 0
        for size, *others in pages:
            _set_timers(limits.max_seconds)
            try:
                body = os.pread(bodies, size, offset)
                offset += size
                result = ("page", *function(PageRequest(body, *others), limits))
            except BodyError as error:
                result = ("error", error.reason, error.detail)
            except MemoryError:
                os._exit(OUT_OF_MEMORY)
            _set_timers(0)
            _send(results, result)


def _send(pipe: int, message: Any) -> None:
    data = pickle.dumps(message)
    write_whole(pipe, len(data).to_bytes(8, "little") + data)


def _receive(pipe: int) -> Any:
    """The next message, or None at the end."""
    size = int.from_bytes(_read(pipe, 8), "little")
    return pickle.loads(_read(pipe, size)) if size else None


def _read(pipe: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := os.read(pipe, size - len(data))):
        data += piece
    return data


def _set_timers(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL_FACTOR * seconds)


def _limit_memory(memory_bytes: int) -> None:
    """Cap the address space, and let the kernel take this process first when memory runs out."""
    with contextlib.suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = used + memory_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
