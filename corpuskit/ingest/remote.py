"""Inputs behind URLs (``s3://``, ``http://``, ``zip://…::…``, anything fsspec knows), read in ranges.

Readers seek and sniff, so a remote file is a seekable file here: blocks are fetched by range
requests, small at first (format and compression are told by a few bytes), up to 8 MiB when reading
goes on, so memory stays bounded whatever the file's size. A connection that breaks is tried again
with growing pauses, and every answer is measured: a server that keeps sending less than it promised
ends the task with an error. That is no quarantine, because nothing is wrong with the content; the
run resumes. Servers that cannot serve ranges are copied to a temporary file first.

``s3://`` is read through pyarrow where s3fs is not installed; other stores need their fsspec package.
Credentials come from where each file system's own library takes them (environment, configuration
files); a URL that holds some is refused, because URLs are printed and stored.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from corpuskit.errors import CorpuskitError, InputError, MissingExtra
from corpuskit.ingest.attempts import cause_of, explained, redact, retry

_FIRST_BLOCK_BYTES = 64 << 10
_MAX_BLOCK_BYTES = 8 << 20
_BUFFER_BYTES = 256 << 10

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "abfss": "adlfs", "adl": "adlfs", "oss": "ossfs", "http": "aiohttp", "https": "aiohttp",
    "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "hf": "huggingface_hub",
    "webdav": "webdav4", "webhdfs": "requests", "github": "requests", "dropbox": "dropboxdrivefs",
}  # fmt: skip
_IDENTITY_KEYS = ("ETag", "etag", "md5", "md5Hash", "Content-MD5", "Digest", "LastModified", "Last-Modified",
                  "last_modified", "mtime", "updated", "modified", "created", "CRC", "date_time")  # fmt: skip


@dataclass(frozen=True)
class RemoteFile:
    """A file behind a URL.

    Attributes
    ----------
    url : str
    size_bytes : int or None
        None where the server does not say.
    identity : str
        Size with entity tag or modification time, for the ledger.
    """

    url: str
    size_bytes: int | None
    identity: str


def is_url(path: str) -> bool:
    """Whether a path names something behind a protocol."""
    return _URL.match(path) is not None


def local_path(url: str) -> str | None:
    """The path that a plain ``file://`` or ``local://`` URL names."""
    scheme, _, rest = url.partition("://")
    return rest if scheme.lower() in ("file", "local") and "::" not in rest else None


def find_remote(url: str) -> tuple[str, list[RemoteFile], bool]:
    """The files that a URL names: a file, a directory (all below it), or a pattern.

    Returns
    -------
    anchor : str
        The URL that relative paths begin below: the directory, the file's directory, or the
        pattern's fixed beginning.
    files : list of RemoteFile
        Sorted by URL.
    named : bool
        Whether `url` names one file.

    Raises
    ------
    InputError
        If the protocol is unknown, nothing is there, or the server refuses.
    MissingExtra
        If the protocol needs a package that is not installed.
    """
    url = _lower_schemes(url)
    head, _, chain = url.partition("::")
    scheme = head.partition("://")[0]
    web = scheme in ("http", "https")
    system, path = _filesystem(url)
    if any(character in head for character in ("*[" if web else "*?[")):
        found = retry(lambda: system.glob(path, detail=True), url)
        anchor = _fixed_beginning(head)
        files = {name: info for name, info in found.items() if _is_file(info)}
        named = False
        if not files:
            hint = "quote it, and check the address"
            raise InputError("the pattern matches nothing", where=redact(url), hint=hint)
    else:
        if web:  # every address of the web is a page; only its form says that one is a directory
            info = {"type": "directory"} if head.endswith("/") else retry(lambda: system.info(path), url)
        else:
            info = _info_of(system, path, url)
        named = _is_file(info)
        if named:
            files, anchor = {path: info}, _parent(head)
        else:
            # fsspec passes over what it cannot list; of a server that is down that would be everything.
            strict = {"on_error": _raise_unless_missing} if web else {}
            found = retry(lambda: system.find(path, detail=True, **strict), url)
            files, anchor = {name: more for name, more in found.items() if _is_file(more)}, head.rstrip("/")
    suffix = f"::{chain}" if chain else ""
    result = []
    for name in sorted(files):
        info = files[name]
        if info.get("size") is None and not named:
            info = retry(lambda name=name: system.info(name), url)  # type: ignore[misc]
        full = head if named else _with_protocol(scheme, name)
        result.append(RemoteFile(full + suffix, info.get("size"), _identity(info)))
    return anchor + suffix, result, named


def _info_of(system: Any, path: str, url: str) -> dict:
    try:
        return retry(lambda: system.info(path), url)
    except InputError:
        if retry(lambda: system.isdir(path), url):  # some stores know directories only by their files
            return {"type": "directory"}
        raise


def _raise_unless_missing(error: Exception) -> None:
    if not isinstance(cause_of(error), FileNotFoundError):
        raise error


def _is_file(info: dict) -> bool:
    return info.get("type", "file") == "file"


def _identity(info: dict) -> str:
    known = next((info[key] for key in _IDENTITY_KEYS if info.get(key)), None)
    return f"{info.get('size')}-{known}"


def _with_protocol(scheme: str, name: str) -> str:
    return name if is_url(name) else f"{scheme}://{name.lstrip('/') if scheme == 'memory' else name}"


def _parent(url: str) -> str:
    return url.partition("?")[0].rstrip("/").rpartition("/")[0]


def _fixed_beginning(head: str) -> str:
    parts = head.split("/")
    wild = next(index for index, part in enumerate(parts) if any(c in part for c in "*?["))
    return "/".join(parts[:wild])


def _lower_schemes(url: str) -> str:
    """Schemes are the same in any case (RFC 3986, section 3.1), but not to fsspec."""
    return "::".join(_URL.sub(lambda match: match[0].lower(), part, count=1) for part in url.split("::"))


def _filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it; may connect, or open an archive."""
    url = _lower_schemes(url)
    for part in url.split("::"):
        if is_url(part) and "@" in re.split("[/?#]", part.partition("://")[2])[0]:
            raise InputError(
                "the URL holds credentials",
                where=redact(url),
                hint="give them through the environment or the configuration of the file system's library",
            )
    return retry(lambda: _connect(url), url)


def _connect(url: str) -> tuple[Any, str]:
    import fsspec

    scheme = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        if scheme in ("s3", "s3a") and "::" not in url:
            from corpuskit.ingest.s3 import ArrowS3

            return ArrowS3(), url.partition("://")[2]
        package = _PACKAGES.get(scheme)
        hint = f"pip install {package}" if package else str(error)
        raise MissingExtra(
            f"reading {scheme}:// needs a package that is not installed", where=redact(url), hint=hint
        ) from error
    except ValueError as error:
        if scheme in fsspec.available_protocols():
            raise
        raise InputError(
            f"{scheme}:// is no protocol that can be read",
            where=redact(url),
            hint="for example s3://, gs://, http://, zip://inner::outer, or a local path",
        ) from error


class _ShortAnswer(OSError):
    """A server sent fewer bytes than it promised."""


class _RangeFile(io.RawIOBase):
    """A remote file of known size, fetched in blocks."""

    def __init__(self, system: Any, path: str, url: str, size: int) -> None:
        self._system, self._path, self._url, self._size = system, path, url, size
        self._position = 0
        self._block = b""
        self._block_start = 0
        self._block_bytes = _FIRST_BLOCK_BYTES
        self._copy: BinaryIO | None = None  # where the server does not serve ranges

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        if self._copy is not None:
            self._copy.seek(self._position)
            data = self._copy.read(len(buffer))
        else:
            offset = self._position - self._block_start
            if not 0 <= offset < len(self._block):
                self._fetch()
                return self.readinto(buffer)
            data = self._block[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if self._copy is not None:
            self._copy.close()
        super().close()

    def _fetch(self) -> None:
        """Load the block at the position; larger ones as long as reading goes on from block to block."""
        goes_on = bool(self._block) and self._position == self._block_start + len(self._block)
        self._block_bytes = min(2 * self._block_bytes, _MAX_BLOCK_BYTES) if goes_on else _FIRST_BLOCK_BYTES
        start, stop = self._position, min(self._position + self._block_bytes, self._size)
        data = retry(lambda: self._range(start, stop), self._url)
        if len(data) > stop - start:
            self._copy = retry(lambda: _copied(self._system, self._path, self._size), self._url)
        else:
            self._block, self._block_start = data, start

    def _range(self, start: int, stop: int) -> bytes:
        data = self._system.cat_file(self._path, start=start, end=stop)
        if len(data) < stop - start:
            raise _ShortAnswer(f"{len(data)} bytes came of the {stop - start} at {start}")
        return data


class _HandleFile(io.RawIOBase):
    """A file inside another (an archive), read through the file system's own handle."""

    def __init__(self, handle: Any, url: str, size: int | None) -> None:
        self._handle, self._url, self._size = handle, url, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._handle.seek(offset, whence)
        except Exception as error:  # going back in an archive reads it again
            raise self._damaged(error) from error

    def tell(self) -> int:
        return self._handle.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._handle.read(len(buffer))
        except Exception as error:  # whatever the archive's library raises for a damaged one
            raise self._damaged(error) from error
        if not data and self._size is not None and self.tell() < self._size:
            what = f"it ends at byte {self.tell()} of {self._size}"
            raise InputError(what, where=redact(self._url), hint="fetch it again")
        buffer[: len(data)] = data
        return len(data)

    def _damaged(self, error: Exception) -> CorpuskitError:
        if isinstance(error, CorpuskitError):
            return error
        what = f"the archive is damaged: {type(error).__name__}{explained(error, self._url)}"
        return InputError(what, where=redact(self._url), hint="fetch it again")

    def close(self) -> None:
        self._handle.close()
        super().close()


def _copied(system: Any, path: str, size: int | None) -> BinaryIO:
    """The file in a temporary one; raises where it is shorter than promised."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    try:
        with system.open(path, "rb") as source:
            while data := source.read(1 << 20):
                copy.write(data)
        if size is not None and copy.tell() != size:
            raise _ShortAnswer(f"{copy.tell()} bytes came of {size}")
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


@contextmanager
def open_remote(url: str) -> Iterator[BinaryIO]:
    """A remote file, open for reading and seeking.

    Raises
    ------
    InputError
        If it cannot be read, here or while reading: also where it ends before the size it has.
    MissingExtra
        If the protocol needs a package that is not installed.
    """
    system, path = _filesystem(url)
    size = retry(lambda: system.info(path), url).get("size")
    raw: Any
    if "::" in url:
        raw = _HandleFile(retry(lambda: system.open(path, "rb"), url), url, size)
    elif size is None:
        raw = retry(lambda: _copied(system, path, None), url)
    else:
        raw = _RangeFile(system, path, url, size)
    with raw, io.BufferedReader(raw, _BUFFER_BYTES) as file:
        yield file
