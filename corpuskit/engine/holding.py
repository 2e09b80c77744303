"""Holding an output for one run, so that a second run started by mistake refuses and says who holds it.

On a disk the system's file locks do it, and let go when a process dies. An object store has no locks, so a
run writes a *lease*: an object that names the holder and that the run renews every 15 s; after 60 s without
renewal anyone may take it, and at once when the holder was a process of the same machine that has ended.

What the lease cannot do: `pyarrow.fs` writes unconditionally, so two runs that start within the same two
seconds may both write it; each then reads it again after a pause, and the one that was overwritten gives up.
A run that could not renew its lease for 45 s (a stopped process, a cut network) commits nothing more.
Machines' clocks must agree within some 10 s. Should two drivers commit in spite of all this, they commit the
same: a task's result does not depend on who runs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from corpuskit.engine.objects import ObjectStore
from corpuskit.engine.shard import ShardOf
from corpuskit.errors import CorpuskitError, InputError, LedgerError
from corpuskit.files import remove_temporaries

RENEW_S, EXPIRE_S, SAFE_S = 15.0, 60.0, 45.0
SETTLE_S = 2.0
_LEASES = "leases"


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
    handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    handle.flush()


@contextlib.contextmanager
def hold_store(
    store: ObjectStore, shard: ShardOf | None = None, *, settle_s: float = SETTLE_S
) -> Iterator[Callable[[], None]]:
    """Hold an object store's prefix for one run, as `hold` does a directory.

    Yields
    ------
    callable
        To be called before each commit; raises `LedgerError` if the lease was lost.

    Raises
    ------
    LedgerError
        If another living run holds it; the message says which.
    """
    lease = _Lease(store, shard or ShardOf())
    lease.take(settle_s)
    stop = threading.Event()
    thread = threading.Thread(target=lease.keep, args=(stop,), daemon=True)
    thread.start()
    try:
        yield lease.require
    finally:
        stop.set()
        thread.join()
        lease.give_back()


@dataclass
class _Lease:
    store: ObjectStore
    shard: ShardOf
    token: str = field(default_factory=lambda: os.urandom(8).hex())
    renewed: float = 0.0
    lost_to: str | None = None

    @property
    def key(self) -> str:
        return f"{_LEASES}/run-{self.shard.number}-of-{self.shard.count}.json"

    def take(self, settle_s: float) -> None:
        self._require_free()
        self._write()
        time.sleep(settle_s)
        self._require_free()
        self._require_mine()

    def keep(self, stop: threading.Event) -> None:
        while not stop.wait(RENEW_S):
            with contextlib.suppress(CorpuskitError):  # `require` says so when it lasts
                holder = self._read(self.key)
                if holder is not None and holder["token"] != self.token:
                    self.lost_to = _describe(holder)
                    return
                self._write()

    def require(self) -> None:
        if self.lost_to is not None:
            raise self._held(self.lost_to)
        if time.monotonic() - self.renewed > SAFE_S:
            self._require_mine()
            self._write()

    def give_back(self) -> None:
        with contextlib.suppress(CorpuskitError):
            if self.lost_to is None:
                holder = self._read(self.key)
                if holder is not None and holder["token"] == self.token:
                    self.store.delete(self.key)

    def _write(self) -> None:
        started = time.monotonic()
        content = {
            "token": self.token,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "expires": time.time() + EXPIRE_S,
        }
        self.store.write(self.key, json.dumps(content).encode())
        self.renewed = started

    def _read(self, key: str) -> dict | None:
        try:
            stored = json.loads(self.store.read(key) or b"")
            _ = stored["token"], stored["host"], stored["process"], stored["expires"]
            return stored
        except (ValueError, KeyError, TypeError):
            return None

    def _require_mine(self) -> None:
        holder = self._read(self.key)
        if holder is not None and holder["token"] != self.token:
            self.lost_to = _describe(holder)
            raise self._held(self.lost_to)

    def _require_free(self) -> None:
        for key in self.store.sizes(_LEASES):
            others = key != self.key and self.shard.count > 1 and not key.endswith("-of-1.json")
            holder = None if others else self._read(key)
            if holder is not None and holder["token"] != self.token and _is_alive(holder):
                raise self._held(_describe(holder))

    def _held(self, who: str) -> LedgerError:
        return LedgerError(
            f"another run holds this output ({who})",
            where=self.store.url,
            hint="wait for it, or choose another output; a run that was killed lets go after "
            f"{EXPIRE_S:.0f} s",
        )


def _is_alive(holder: dict) -> bool:
    if holder["host"] == socket.gethostname() and not _process_exists(int(holder["process"])):
        return False
    return time.time() < float(holder["expires"])


def _process_exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _describe(holder: dict) -> str:
    return f"process {holder['process']} on {holder['host']}"
