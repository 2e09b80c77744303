"""Files of a run in an object store (``s3://bucket/prefix`` and the like), through `pyarrow.fs`.

An object store has no rename and no locks, and it answers 500, 503 or half an answer now and then (S3 asks
its clients to try again). So here every request is tried up to `ObjectStore.attempts` times with growing,
random pauses; what was read is compared with its checksum and what was written with its size; and nothing
relies on replacing an object that holds a result: each attempt of a task writes under keys of its own, and
only what the ledger names belongs to the run.

Credentials, region and endpoint come from where the field's tools take them (``AWS_ACCESS_KEY_ID``,
``AWS_PROFILE``, instance roles, ``AWS_ENDPOINT_URL`` …); a URL that holds some is refused, and no message
quotes them.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import xxhash

from corpuskit.errors import ArtifactError, ConfigError, InputError, MissingExtra, ResourceError
from corpuskit.files import s3_file_system

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CHUNK_BYTES = 8 << 20
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0
_THREADS = 8
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

Result = TypeVar("Result")


def is_store_url(path: str | os.PathLike) -> bool:
    """Whether an output is an object store's, rather than a directory."""
    return isinstance(path, str) and _URL.match(path) is not None


@dataclass(frozen=True)
class ObjectStore:
    """A prefix of an object store, and the local scratch of the machines that work on it.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``; also ``gs://``, ``abfs://`` and what fsspec knows, if its package is there.
    scratch : str, optional
        Directory on each node's own disk for inputs and outputs of running tasks; by default one of the
        system's temporary directory. Variables in it (``$SLURM_TMPDIR``) are those of each node.
    scratch_bytes : int
        Inputs that a node keeps for later tasks; the files of running tasks come on top.
    attempts : int
        Of each request. Eight last about half a minute.
    endpoint, region : str, optional
        Of an S3-compatible store; by default those of this process's environment (``AWS_ENDPOINT_URL``,
        ``AWS_REGION``). They go with the tasks, so that no node writes elsewhere; credentials do not.

    Raises
    ------
    ConfigError
        If `url` is no such URL, or holds credentials.
    """

    url: str
    scratch: str | None = None
    scratch_bytes: int = 16 << 30
    attempts: int = 8
    endpoint: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                "a URL with credentials or options is refused: it would be printed and stored",
                where=f"{parts.scheme}://{parts.hostname or ''}{parts.path}",
                hint="give credentials in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, …)",
            )
        if not is_store_url(self.url) or not (parts.netloc or parts.path.strip("/")):
            raise ConfigError(
                "not the URL of an object store", where=self.url, hint="for example s3://bucket/prefix"
            )
        if parts.scheme.lower() in ("http", "https"):
            raise ConfigError(
                "a web server cannot be written to",
                where=self.url,
                hint="s3://bucket/prefix; the address of an S3-compatible server goes into AWS_ENDPOINT_URL",
            )
        if self.attempts < 1:
            raise ConfigError(f"must be at least 1, not {self.attempts}", where="attempts")
        set_field = partial(object.__setattr__, self)
        set_field("url", self.url.rstrip("/"))
        if parts.scheme in ("s3", "s3a"):
            known = os.environ.get
            set_field("endpoint", self.endpoint or known("AWS_ENDPOINT_URL_S3") or known("AWS_ENDPOINT_URL"))
            set_field("region", self.region or known("AWS_REGION") or known("AWS_DEFAULT_REGION"))
            if self.endpoint and "@" in self.endpoint:
                raise ConfigError("an address with credentials is refused", where="endpoint")

    @property
    def scratch_path(self) -> Path:
        """This node's scratch directory for this store."""
        name = f"corpuskit-scratch-{os.getuid()}"
        root = Path(_expanded(self.scratch)) if self.scratch else Path(tempfile.gettempdir()) / name
        return root / xxhash.xxh3_64_hexdigest(self.url.encode())

    def holds(self, path: str) -> bool:
        """Whether `path` is a URL below this store's."""
        return path.startswith(self.url + "/")

    def key(self, url: str) -> str:
        """The key, relative to the store's URL, of a URL below it."""
        return url.removeprefix(self.url + "/")

    def url_of(self, key: str) -> str:
        return f"{self.url}/{key}"

    def read(self, key: str) -> bytes | None:
        """A small object, or None where there is none."""

        def action() -> bytes | None:
            system, path = self._at(key)
            try:
                with system.open_input_stream(path) as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

        return self._retry(action, key)

    def write(self, key: str, content: bytes) -> None:
        """Write a small object, whole or not at all."""

        def action() -> None:
            # Not through pyarrow's eight threads for files, which would bound how many are written.
            system, path = self._at(key, background_writes=False)
            with system.open_output_stream(path) as stream:
                stream.write(content)

        self._retry(action, key)

    def upload(self, path: Path, key: str) -> None:
        """Write a file (in parts where it is large); its size is compared afterwards."""

        def action() -> None:
            system, target = self._at(key)
            with open(path, "rb") as source, system.open_output_stream(target) as stream:
                while chunk := source.read(_CHUNK_BYTES):
                    stream.write(chunk)
            size, expected = system.get_file_info(target).size, path.stat().st_size
            if size != expected:
                raise OSError(f"{size} of {expected} bytes arrived")

        self._retry(action, key)

    def download(self, key: str, path: Path, checksum: str | None = None) -> None:
        """Read an object into a file; what does not have the `checksum` is read again.

        Raises
        ------
        ArtifactError
            If the object is missing, or every attempt gave other bytes.
        """

        def action() -> None:
            system, source = self._at(key)
            state, size = xxhash.xxh3_128(), 0
            with system.open_input_file(source) as stream, open(path, "wb") as target:
                expected = stream.size()
                while chunk := stream.read(_CHUNK_BYTES):
                    state.update(chunk)
                    target.write(chunk)
                    size += len(chunk)
            if size != expected:
                raise OSError(f"{size} of {expected} bytes were sent")
            if checksum is not None and state.hexdigest() != checksum:
                raise _Damaged(f"its checksum is {state.hexdigest()}, not {checksum}")

        self._retry_present(action, key)

    def read_range(self, key: str, start: int, length: int, check: Callable[[bytes], Result]) -> Result:
        """What `check` makes of `length` bytes of an object; bytes that it refuses are read again.

        Parameters
        ----------
        check : callable
            Raises ValueError where the bytes are not those that were written.

        Raises
        ------
        ArtifactError
            If the object is missing, or every attempt gave other bytes.
        """

        def action() -> Result:
            system, source = self._at(key)
            with system.open_input_file(source) as stream:
                content = stream.read_at(length, start)
            if len(content) != length:
                raise OSError(f"{len(content)} of {length} bytes were sent")
            try:
                return check(content)
            except ValueError as error:
                raise _Damaged(str(error)) from error

        return self._retry_present(action, key)

    def checksum(self, key: str) -> str:
        """XXH3-128 of an object."""

        def action() -> str:
            system, source = self._at(key)
            state = xxhash.xxh3_128()
            with system.open_input_stream(source) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    state.update(chunk)
            return state.hexdigest()

        return self._retry(action, key)

    def size(self, key: str) -> int | None:
        """Bytes of an object, or None where there is none."""

        def action() -> int | None:
            system, path = self._at(key)
            info = system.get_file_info(path)
            return info.size if info.is_file else None

        return self._retry(action, key)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Size of every object below `prefix`, by key."""
        return {key: info.size for key, info in self._listed(prefix).items()}

    def modified(self, prefix: str) -> dict[str, float | None]:
        """When every object below `prefix` was written, by the store's clock (seconds), where it says so."""
        found = self._listed(prefix)
        return {k: None if info.mtime_ns is None else info.mtime_ns / 1e9 for k, info in found.items()}

    def _listed(self, prefix: str) -> dict[str, Any]:
        def action() -> dict[str, Any]:
            from pyarrow.fs import FileSelector

            system, path = self._at(prefix)
            root = self._at("")[1].rstrip("/") + "/"
            selector = FileSelector(path, recursive=True, allow_not_found=True)
            found = system.get_file_info(selector)
            return {info.path.removeprefix(root): info for info in found if info.is_file}

        return self._retry(action, prefix)

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store."""

        def action() -> None:
            system, path = self._at(source)
            system.copy_file(path, self._at(target)[1])

        self._retry(action, target)

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""

        def action() -> None:
            system, path = self._at(key)
            try:
                system.delete_file(path)
            except FileNotFoundError:
                return
            except OSError:
                # pyarrow also writes an empty object for the directory, which a store may refuse.
                if system.get_file_info(path).is_file:
                    raise

        self._retry(action, key)

    def each(
        self, function: Callable[[Any], Result], items: list, at_once: int = _THREADS
    ) -> Iterator[Result]:
        """`function` of every item, in order, some requests at a time."""
        if len(items) < 2:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(min(at_once, len(items))) as threads:
            yield from threads.map(function, items)

    def _at(self, key: str, *, background_writes: bool = True) -> tuple[Any, str]:
        system, root = _file_system(self.url, self.endpoint, self.region, background_writes)
        return system, f"{root}/{key}" if key else root

    def _retry_present(self, action: Callable[[], Result], key: str) -> Result:
        try:
            return self._retry(action, key)
        except FileNotFoundError as error:
            raise ArtifactError(
                "an object of the run is missing", where=self.url_of(key), hint="run again: it is made anew"
            ) from error

    def _retry(self, action: Callable[[], Result], key: str) -> Result:
        pause = _FIRST_PAUSE_S
        for attempt in range(1, self.attempts + 1):
            try:
                return action()
            except (FileNotFoundError, ImportError):
                raise
            except (OSError, ValueError) as error:
                said = _redacted(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
                if _is_refused(error):
                    raise InputError(
                        f"the object store refuses access: {said}",
                        where=self.url_of(key),
                        hint="check the credentials in the environment and the rights on the bucket",
                    ) from None
                if attempt == self.attempts:
                    if isinstance(error, _Damaged):
                        raise ArtifactError(
                            f"the object is not as it was written: {said}",
                            where=self.url_of(key),
                            hint="run again with --verify: it is made anew",
                        ) from None
                    raise ResourceError(
                        f"the object store failed {attempt} times: {said}",
                        where=self.url_of(key),
                        hint="finished tasks are kept; the same command resumes",
                    ) from None
                time.sleep(random.uniform(0.5, 1.0) * pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise ConfigError("must be at least 1", where="attempts")


class _Damaged(OSError):
    pass


def _expanded(directory: str) -> str:
    expanded = os.path.expandvars(directory)
    if unknown := re.search(r"\$\{?(\w+)", expanded):
        raise ConfigError(
            f"the variable {unknown[1]} is not set on this node",
            where=f"scratch {directory}",
            hint="set it where the node is started, or name a directory",
        )
    return expanded


def _is_refused(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, PermissionError) or "HTTP status 403" in text or "ACCESS_DENIED" in text


def _redacted(text: str) -> str:
    for name in _SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "***")
    return re.sub(r"(?i)(x-amz-(?:credential|signature|security-token)=)[^&\s]+", r"\1***", text)


@lru_cache(maxsize=8)
def _file_system(
    url: str, endpoint: str | None, region: str | None, background_writes: bool
) -> tuple[Any, str]:
    """The file system of a URL and the path inside it, once a process."""
    from pyarrow import fs

    parts = urlsplit(url)
    root = f"{parts.netloc}{parts.path}".rstrip("/")
    if parts.scheme in ("s3", "s3a"):
        return s3_file_system(endpoint, region, background_writes=background_writes), root
    try:
        system, path = fs.FileSystem.from_uri(url)
        return system, path.rstrip("/")
    except (ValueError, NotImplementedError):
        pass
    try:
        import fsspec

        # A listing must show what other processes have written since the last one.
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtra(
            f"the protocol {parts.scheme}:// needs a package: {error}",
            where=url,
            hint="install it on every node",
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"the protocol {parts.scheme}:// is not known", where=url, hint="s3://bucket/prefix, for example"
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path.rstrip("/")
