"""What ends a run from outside: a signal to stop, and memory that is full."""

from __future__ import annotations

import signal
import threading
from typing import Any

import torch


class StopSignal:
    """While entered, SIGTERM is only remembered, so that the update in progress ends and is saved.

    Schedulers send it before they take a machine away. In a thread that is not the main one, where
    signals cannot be handled, it stays what it was.
    """

    status = 128 + signal.SIGTERM

    def __init__(self) -> None:
        self.received = False
        self._before: Any = None

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _remember(self, *_: object) -> None:
        self.received = True


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full: CUDA's, Python's, or that of torch's CPU allocator."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "DefaultCPUAllocator" in str(error) or "can't allocate memory" in str(error)
