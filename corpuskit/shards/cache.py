"""A bounded directory of whole shards, shared by the processes of a machine, without a daemon.

A shard lies under the name of its checksum, so datasets that share shards (appended, merged, at
two addresses) share files, and a changed file can never be taken for the old one. All agreement
between processes is by locks of the operating system, which a killed process cannot leave behind:

- ``<checksum>.lock`` is held by the process that fetches it; the others wait and find it there.
- the shard file itself is held shared by every process that has it mapped; eviction passes over it.
- ``.cache.lock`` is held while space is counted and freed.

Eviction removes the least recently used file first (by modification time, which opening sets).
A file being fetched has its full size from the start, so it counts, and a full disk shows before
the transfer instead of after it. It is renamed into place only when its checksum is right.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

from corpuskit.errors import ArtifactError, ConfigError, ResourceError
from corpuskit.files import disk_full, is_disk_full, sync_directory
from corpuskit.shards.manifest import ShardEntry

_CHUNK_BYTES = 4 << 20
_POLL_S = 0.05
_PATIENCE_S = 60.0


def default_cache_directory() -> Path:
    """``$XDG_CACHE_HOME/corpuskit/shards``, by default below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corpuskit" / "shards"


@dataclass(frozen=True)
class CacheConfig:
    """Where remote shards are kept, and how many bytes of them.

    Attributes
    ----------
    directory : str
        On a local disk. Empty: `default_cache_directory`.
    max_bytes : int
        Limit for everything in it. It must hold two shards at least; better two shuffle windows.
    """

    directory: str = ""
    max_bytes: int = 64 << 30

    @property
    def path(self) -> Path:
        return Path(self.directory) if self.directory else default_cache_directory()


class ShardCache:
    """The cache directory, as one process sees it.

    Parameters
    ----------
    config : CacheConfig

    Raises
    ------
    ResourceError
        If the directory cannot be made.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.directory = config.path
        self.evictions = 0
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"the cache directory cannot be made: {error.strerror}",
                where=str(self.directory),
                hint="choose another with CacheConfig(directory=…)",
            ) from error

    def require_room_for(self, largest_bytes: int) -> None:
        """Raise `ConfigError` unless two shards of that size fit."""
        if self.config.max_bytes < 2 * largest_bytes:
            raise ConfigError(
                f"{self.config.max_bytes} bytes hold less than two shards of {largest_bytes} bytes",
                where="max_bytes",
                hint=f"choose at least {2 * largest_bytes}",
            )

    def path_of(self, entry: ShardEntry) -> Path:
        """Where a shard lies when it is here."""
        return self.directory / f"{entry.checksum}.arrow"

    @contextmanager
    def opened(self, entry: ShardEntry) -> Iterator[int | None]:
        """A descriptor that keeps the shard from being evicted until it is closed; None if it is not here."""
        path = self.path_of(entry)
        descriptor = None
        try:
            descriptor = os.open(path, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # Evicted between opening and locking, or cut short by a crash of the machine.
            if not _is_file(descriptor, path) or os.fstat(descriptor).st_size != entry.bytes:
                os.close(descriptor)
                descriptor = None
            else:
                os.utime(path)
        except FileNotFoundError:
            pass
        yield descriptor

    def fetch(
        self,
        entry: ShardEntry,
        read: Callable[[], Iterator[bytes]],
        release: Callable[[], bool],
        where: str,
        patience_s: float | None = None,
    ) -> None:
        """Have the shard in the cache when this returns; one process fetches, others wait for it.

        Parameters
        ----------
        entry : ShardEntry
        read : callable
            Gives the chunks of the file from its beginning.
        release : callable
            Lets go of a file that this process holds; False if there is none to let go.
        where : str
            The address, for messages.
        patience_s : float, optional
            How long to wait for space that others hold; by default a minute.

        Raises
        ------
        ArtifactError
            If what is read is not the shard (size or checksum).
        ResourceError
            If the disk is full, or other processes hold the whole cache.
        """
        patience = _PATIENCE_S if patience_s is None else patience_s
        with self._locked(f"{entry.checksum}.lock"):
            path = self.path_of(entry)
            if path.exists() and path.stat().st_size == entry.bytes:
                return
            temporary = self.directory / f".{entry.checksum}.tmp"
            with self._reserved(entry, temporary, release, patience) as file:
                self._copy(entry, read, file, where)
                os.fsync(file.fileno())
                temporary.replace(path)
                sync_directory(self.directory)

    def discard(self, entry: ShardEntry) -> None:
        """Remove a shard that turned out damaged."""
        self.path_of(entry).unlink(missing_ok=True)

    def used_bytes(self) -> int:
        """Bytes of all shards, whole and being fetched."""
        return sum(size for _, _, size in self._files())

    def _copy(
        self, entry: ShardEntry, read: Callable[[], Iterator[bytes]], file: BinaryIO, where: str
    ) -> None:
        state, size = xxhash.xxh3_128(), 0
        for chunk in read():
            size += len(chunk)
            if size > entry.bytes:
                break
            state.update(chunk)
            file.write(chunk)
        file.flush()
        if size != entry.bytes or state.hexdigest() != entry.checksum:
            what = f"{size} bytes came" if size != entry.bytes else f"its checksum is {state.hexdigest()}"
            raise ArtifactError(
                f"the shard is not what its dataset says: {what}, expected {entry.bytes} bytes with "
                f"checksum {entry.checksum}",
                where=where,
                hint="the remote copy is damaged or was replaced; copy the dataset there again",
            )

    @contextmanager
    def _reserved(
        self, entry: ShardEntry, temporary: Path, release: Callable[[], bool], patience_s: float
    ) -> Iterator[BinaryIO]:
        """A temporary file of the shard's size, locked, for which space was made."""
        deadline = time.monotonic() + patience_s
        while True:
            with self._locked(".cache.lock"):
                if self._make_room(entry.bytes, keep=temporary.name):
                    file = self._allocate(temporary, entry.bytes)
                    break
            if release():
                continue
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"the cache of {self.config.max_bytes} bytes is full of shards that are in use",
                    where=str(self.directory),
                    hint="raise max_bytes, or choose a smaller shuffle_window",
                )
            time.sleep(_POLL_S)
        try:
            with file:
                yield file
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if is_disk_full(error):
                raise disk_full(temporary) from error
            raise

    def _allocate(self, temporary: Path, size: int) -> BinaryIO:
        file = open(temporary, "w+b")  # noqa: SIM115  (the caller closes it)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            while True:
                try:
                    _take_space(file.fileno(), size)
                    return file
                except OSError as error:
                    if not is_disk_full(error):
                        raise
                    if not self._evict_one(keep=temporary.name):
                        raise disk_full(temporary) from error
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise

    def _make_room(self, wanted: int, keep: str) -> bool:
        """Evict until `wanted` bytes fit; False if what is left is in use."""
        while sum(size for path, _, size in self._files() if path.name != keep) + wanted > (
            self.config.max_bytes
        ):
            if not self._evict_one(keep):
                return False
        return True

    def _evict_one(self, keep: str) -> bool:
        """Remove the least recently used file that nobody holds."""
        for path, _, _ in sorted(self._files(), key=lambda found: found[1]):
            if path.name == keep:
                continue
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_file(descriptor, path):
                    path.unlink(missing_ok=True)
                    self.evictions += 1
                    return True
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
        return False

    def _files(self) -> list[tuple[Path, int, int]]:
        """Path, time of last use and size of every shard, whole or being fetched (or left by a crash)."""
        found = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith((".arrow", ".tmp")):
                    try:
                        status = entry.stat()
                    except FileNotFoundError:
                        continue
                    found.append((Path(entry.path), status.st_mtime_ns, status.st_size))
        return found

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold a lock file exclusively; lock files are empty and stay."""
        descriptor = os.open(self.directory / name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _take_space(descriptor: int, size: int) -> None:
    """Give a file its size, with blocks on the disk where the file system can."""
    if size == 0:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        os.ftruncate(descriptor, size)


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """A file in chunks of 4 MiB."""
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
