"""Holding an output for one run, so that a second run started by mistake refuses and says who holds it.

On a disk the system's file locks do it, and let go when a process dies. They hold among the processes of one
machine on any file system, and among machines where the file system passes them on (NFSv4, CephFS, GPFS,
Lustre mounted with ``-o flock``; not NFS mounted with ``local_lock``). In an object store `leases` does it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from corpuskit.engine.leases import Lease
from corpuskit.engine.objects import ObjectStore
from corpuskit.engine.shard import ShardOf
from corpuskit.errors import InputError, LedgerError
from corpuskit.files import remove_temporaries


@contextlib.contextmanager
def hold(output_dir: str | os.PathLike, shard: ShardOf | None = None) -> Iterator[Path]:
    """Hold an output directory for one run, so that a second run started by mistake refuses.

    A plain run holds it alone; slices share it with each other, each slice once.

    Raises
    ------
    LedgerError
        If another living process holds it; the message says which.
    InputError
        If it cannot be made, or its file system has no locks.
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
        if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            raise InputError(
                f"its file system has no locks: {error.strerror}",
                where=str(root),
                hint="mount it with locks (Lustre: -o flock), or write to another directory or object store",
            ) from error
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
def hold_store(store: ObjectStore, shard: ShardOf | None = None) -> Iterator[Callable[[], None]]:
    """Hold an object store's prefix for one run, as `hold` does a directory.

    Yields
    ------
    callable
        To be called before each commit, from any thread; raises `LedgerError` if another run has taken the
        output over.

    Raises
    ------
    LedgerError
        If another living run holds it, or is starting; the message says which.
    ResourceError
        If the store does not show what was written, or is too slow to hold anything in.
    """
    lease = Lease(store, shard or ShardOf())
    lease.take()
    stop = threading.Event()
    thread = threading.Thread(target=lease.keep, args=(stop,), daemon=True)
    thread.start()
    try:
        yield lease.require
    finally:
        stop.set()
        thread.join()
        lease.give_back()
