"""Datasets behind URLs: shards fetched whole when they are needed, or a little before.

`corpuskit.shards.open("s3://bucket/data")` reads `dataset.json` and nothing else. A shard is fetched
when the first of its tokens is asked for: in ranges of at most 8 MiB, a broken range tried again
with growing pauses (`ingest.remote`), its checksum compared while it arrives, so data from
afar is checked to the last bit. What a shard-wise order (`ShardOrder`) or the stored order will
use next is fetched by a thread meanwhile. `RemoteShards.statistics` says how long reads waited.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corpuskit.errors import ArtifactError, CorpuskitError, InputError
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import open_remote
from corpuskit.shards.cache import CacheConfig, ShardCache, read_chunks
from corpuskit.shards.manifest import MANIFEST_NAME, Manifest, load_manifest
from corpuskit.shards.shardfile import Shard, open_shard

_FETCH_ATTEMPTS = 3


@dataclass
class RemoteStatistics:
    """What reading from afar has cost this process so far.

    Attributes
    ----------
    fetched_shards, fetched_bytes : int
    refetched : int
        Fetches that were repeated because what came was not the shard.
    waits : int
        Reads that had to wait for a shard.
    wait_s : float
        Seconds they waited.
    """

    fetched_shards: int = 0
    fetched_bytes: int = 0
    refetched: int = 0
    waits: int = 0
    wait_s: float = 0.0


def load_remote_manifest(url: str, *, allow_incomplete: bool = False) -> Manifest:
    """`dataset.json` of a dataset behind a URL.

    Raises
    ------
    ArtifactError, InputError
        As `load_manifest`, and if the server cannot be reached.
    """
    with tempfile.TemporaryDirectory() as directory:
        fetch_manifest(url, Path(directory))
        try:
            return load_manifest(directory, allow_incomplete=allow_incomplete)
        except ArtifactError as error:
            where = redact(f"{url.rstrip('/')}/{MANIFEST_NAME}")
            raise type(error)(error.what, where=where, hint=error.hint) from error


def fetch_manifest(url: str, directory: Path) -> None:
    """Put `dataset.json` of a dataset behind a URL into `directory`; `ArtifactError` if there is none."""
    try:
        fetch_file(f"{url.rstrip('/')}/{MANIFEST_NAME}", directory / MANIFEST_NAME)
    except InputError as error:
        if error.what != "no such file":
            raise
        raise ArtifactError(
            f"not a token dataset: there is no {MANIFEST_NAME}",
            where=redact(url),
            hint="give the address of the directory that holds it",
        ) from error


def fetch_file(address: str, path: Path) -> None:
    """Copy a file behind a URL to `path`, as it is."""
    with open_remote(address) as source, open(path, "wb") as target:
        for chunk in read_chunks(source):
            target.write(chunk)


class RemoteShards:
    """The shards of a dataset behind a URL, mapped from the cache; ``shards[i]`` fetches if it must.

    Parameters
    ----------
    url : str
    manifest : Manifest
    config : CacheConfig

    Raises
    ------
    ConfigError
        If the cache cannot hold two shards.
    """

    def __init__(self, url: str, manifest: Manifest, config: CacheConfig) -> None:
        self.url, self.manifest, self.config = url.rstrip("/"), manifest, config
        self.cache = ShardCache(config)
        self.cache.require_room_for(max((entry.bytes for entry in manifest.shards), default=0))
        self.statistics = RemoteStatistics()
        self._open: OrderedDict[int, tuple[Shard, int]] = OrderedDict()
        self._own_locks()

    def _own_locks(self) -> None:
        """Locks and thread of this process; a forked child must not wait for those of its parent."""
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._wanted: list[int] = []
        self._wake = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self.manifest.shards)

    def __getitem__(self, number: int) -> Shard:
        if self._process != os.getpid():
            self._own_locks()
        with self._lock:
            found = self._open.get(number)
            if found is not None:
                self._open.move_to_end(number)
                return found[0]
        shard = self._try_open(number)
        if shard is not None:
            return shard
        started = time.perf_counter()
        try:
            for _ in range(_FETCH_ATTEMPTS):
                self._fetch(number)
                shard = self._try_open(number)
                if shard is not None:
                    return shard
        finally:
            with self._lock:
                self.statistics.waits += 1
                self.statistics.wait_s += time.perf_counter() - started
        raise ArtifactError(
            f"the shard was evicted or damaged {_FETCH_ATTEMPTS} times before it could be read",
            where=str(self.cache.path_of(self.manifest.shards[number])),
            hint="raise max_bytes of the cache, or check the disk",
        )

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Fetch `numbers` in this order in the background, as many as half the cache holds."""
        if self._process != os.getpid():
            self._own_locks()
        room, wanted = self.config.max_bytes // 2, []
        for number in numbers:
            if not 0 <= number < len(self):
                continue
            room -= self.manifest.shards[number].bytes
            if room < 0:
                break
            wanted.append(int(number))
        with self._lock:
            self._wanted = wanted
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._fetch_ahead, daemon=True, name="corpuskit-prefetch"
                )
                self._thread.start()
            self._wake.notify_all()

    def read_sidecar(self, name: str) -> bytes | None:
        """A small file that lies beside the shards; None if it is not there."""
        try:
            with open_remote(f"{self.url}/{name}") as file:
                return file.read()
        except InputError as error:
            if error.what == "no such file":
                return None
            raise

    def close(self) -> None:
        """Let go of all shards, so that they can be evicted."""
        with self._lock:
            self._wanted = []
            while self._release_one():
                pass

    def __del__(self) -> None:
        if self.__dict__.get("_process") == os.getpid():
            self.close()

    def _try_open(self, number: int) -> Shard | None:
        """Map a shard from the cache; None if it is not there (a damaged one is removed)."""
        entry = self.manifest.shards[number]
        with self.cache.opened(entry) as descriptor:
            if descriptor is None:
                return None
            try:
                cached = replace(entry, name=self.cache.path_of(entry).name)
                shard = open_shard(self.cache.directory, cached, self.manifest, "fast")
            except ArtifactError:
                os.close(descriptor)
                self.cache.discard(entry)
                return None
            except BaseException:
                os.close(descriptor)
                raise
        with self._lock:
            if number in self._open:
                os.close(descriptor)
            else:
                self._open[number] = shard, descriptor
            # What is mapped cannot be evicted: hold at most half of the cache.
            while self._held_bytes() > self.config.max_bytes // 2 and len(self._open) > 1:
                self._release_one()
            return shard

    def _held_bytes(self) -> int:
        return sum(self.manifest.shards[number].bytes for number in self._open)

    def _release_one(self) -> bool:
        with self._lock:
            if not self._open:
                return False
            _, (_, descriptor) = self._open.popitem(last=False)
            os.close(descriptor)
            return True

    def _fetch(self, number: int, *, ahead: bool = False) -> None:
        """Fetch a shard; what arrives damaged is fetched again, then given up.

        Fetching ahead takes no space from what is in use, and does not wait for any.
        """
        options: dict[str, Any] = {"patience_s": 0.0} if ahead else {}
        release = _nothing if ahead else self._release_one
        entry = self.manifest.shards[number]
        address = f"{self.url}/{entry.name}"
        for attempt in range(1, _FETCH_ATTEMPTS + 1):
            try:
                self.cache.fetch(
                    entry, lambda: self._chunks(address), release, where=redact(address), **options
                )
            except InputError as error:
                if error.what != "no such file":
                    raise
                raise ArtifactError(
                    "a shard is missing", where=redact(address), hint="copy the dataset there again"
                ) from error
            except ArtifactError:
                if attempt == _FETCH_ATTEMPTS:
                    raise
                with self._lock:
                    self.statistics.refetched += 1
            else:
                return

    def _chunks(self, address: str) -> Iterator[bytes]:
        with self._lock:
            self.statistics.fetched_shards += 1
        with open_remote(address) as file:
            for chunk in read_chunks(file):
                with self._lock:
                    self.statistics.fetched_bytes += len(chunk)
                yield chunk

    def _fetch_ahead(self) -> None:
        """The prefetching thread; it ends after a minute without work."""
        while True:
            with self._lock:
                if not self._wanted and not self._wake.wait_for(lambda: bool(self._wanted), timeout=60):
                    self._thread = None
                    return
                number = self._wanted.pop(0)
                here = number in self._open
            try:
                entry = self.manifest.shards[number]
                if here or self.cache.path_of(entry).exists():
                    continue
                self._fetch(number, ahead=True)
            except CorpuskitError:
                # Whoever reads the shard meets the error himself; until then nothing is lost.
                continue


def _nothing() -> bool:
    return False
