"""Files that appear whole or not at all, checksums, free space, and the client of S3.

Every room that writes uses this one mechanism: write under a temporary name in the target's own
directory, sync the file, rename it, sync the directory. A process killed at any point leaves
either the old file, the new file, or a stray temporary that `is_temporary` recognises.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xxhash

from corpuskit.errors import InputError, ResourceError

_TEMPORARY_SUFFIX = ".tmp"
_STREAMS = frozenset({"/dev", "/dev/fd", "/proc/self/fd"})
"""Where names are of open files: /dev/stdout leads to one that the shell holds open."""
_CONNECT_S, _REQUEST_S = 10.0, 60.0


def is_temporary(path: str | os.PathLike) -> bool:
    """Whether `path` is a leftover of an interrupted `atomic_path`."""
    name = Path(path).name
    return name.startswith(".") and name.endswith(_TEMPORARY_SUFFIX)


def sync_directory(directory: str | os.PathLike) -> None:
    """Make renames in `directory` survive a power cut (no-op where directories cannot be opened)."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse; the rename itself is still atomic
        pass
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The final name. Its parent directory is created. Where it is a symbolic link, the file it points to is
        written.

    Raises
    ------
    InputError
        If something is there that is no file: a rename would remove a device or a pipe.
    ResourceError
        If the disk is full; the temporary file is removed.
    """
    final = _target(Path(path))
    # Processes of several machines may write the same file on a shared disk: a task that was given up for
    # lost, and its repetition. Process numbers are not enough to tell them apart.
    temporary = final.with_name(f".{final.name}.{os.getpid()}-{os.urandom(4).hex()}{_TEMPORARY_SUFFIX}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(final)
        sync_directory(final.parent)
    except BaseException as error:
        with suppress(OSError):  # there is no directory to look in, say
            temporary.unlink(missing_ok=True)
        if is_disk_full(error):
            raise disk_full(final) from error
        raise


def is_replaceable(path: str | os.PathLike) -> bool:
    """Whether a file may take this name: not that of a device, a pipe or a stream."""
    path = Path(path)
    if str(path.absolute().parent) in _STREAMS:
        return False
    return not path.exists() or path.is_file() or path.is_dir()


def require_writable(*paths: str | os.PathLike, option: str = "--output") -> None:
    """Refuse a target that cannot be written, before the work rather than after.

    Permissions do not tell (root may write anywhere, save in /proc and on read-only disks), so a file
    is made, where the target or the first directory above it that exists is.

    Parameters
    ----------
    *paths : path-like
    option : str
        What the user calls them.

    Raises
    ------
    InputError
    """
    for path in paths:
        target = Path(path).absolute()
        existing = next(parent for parent in target.parents if parent.exists())
        problem = "it is a directory" if target.is_dir() else None
        if problem is None and not is_replaceable(target):
            problem = "it is a device or a pipe, and the file is to appear whole or not at all"
        if problem is None:
            try:
                with tempfile.NamedTemporaryFile(dir=existing, prefix=".", suffix=_TEMPORARY_SUFFIX):
                    pass
            except OSError as error:
                problem = f"no file can be made in {existing} ({error.strerror})"
        if problem is not None:
            raise InputError(
                f"the file cannot be written: {problem}",
                where=str(path),
                hint=f"give {option} a file in a directory that can be written",
            )


def _target(path: Path) -> Path:
    """What is to be replaced by a file of this name."""
    if not is_replaceable(path):
        raise InputError(
            "cannot appear whole: it is a device or a pipe",
            where=str(path),
            hint="name a file; what should go elsewhere can be copied from there",
        )
    return path.resolve() if path.is_symlink() else path


def is_disk_full(error: BaseException) -> bool:
    """Whether the system refused a write for want of space: a disk, a quota or a limit of a file's size."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_full(path: str | os.PathLike) -> ResourceError:
    """The error for a write that found no space left."""
    return ResourceError(
        "no space left on the disk; nothing incomplete was published",
        where=str(path),
        hint="free some space or choose another output directory, then run the same command again",
    )


def arrow_path(path: str | os.PathLike) -> bytes:
    """`path` as pyarrow must be given it: as the bytes the system knows it by.

    pyarrow encodes a str as UTF-8, which fails for names that are not UTF-8 and for all non-ASCII
    names on a C locale.
    """
    return os.fsencode(path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as readable, deterministic JSON (sorted keys) to `path` atomically."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """`value` as readable, deterministic JSON (sorted keys), with a newline at its end."""
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n"


def checksum(path: str | os.PathLike, chunk_bytes: int = 1 << 22) -> str:
    """XXH3-128 of a file's bytes, as 32 hexadecimal digits."""
    state = xxhash.xxh3_128()
    with open(path, "rb") as handle:
        while chunk := handle.read(chunk_bytes):
            state.update(chunk)
    return state.hexdigest()


def content_of(path: str | os.PathLike) -> str:
    """What a run remembers of a user's file or directory: the checksum of its content.

    Raises
    ------
    InputError
        If it is missing or unreadable.
    """
    root = Path(path)
    try:
        if not root.is_dir():
            return checksum(root)
        state = xxhash.xxh3_128()
        for file in sorted(file for file in root.rglob("*") if file.is_file()):
            state.update(f"{file.relative_to(root).as_posix()}\x00{checksum(file)}\n".encode())
        return state.hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), hint="check the path and its permissions"
        ) from error


def s3_file_system(
    endpoint: str | None = None, region: str | None = None, *, background_writes: bool = True
) -> Any:
    """`pyarrow`'s file system of an S3-compatible store.

    Parameters
    ----------
    endpoint, region : str, optional
        By default those of the environment (``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, ``AWS_REGION``,
        ``AWS_DEFAULT_REGION``). Credentials come from where AWS's tools take them.
    background_writes : bool
        Let pyarrow's threads send what is written; they are eight for the whole process.
    """
    from pyarrow import fs

    known = os.environ.get
    endpoint = endpoint or known("AWS_ENDPOINT_URL_S3") or known("AWS_ENDPOINT_URL")
    region = region or known("AWS_REGION") or known("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "request_timeout": _REQUEST_S,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=3),
        "allow_delayed_open": True,  # a small object is one request, not the three of a multipart upload
        "background_writes": background_writes,
    }
    if endpoint:
        scheme, _, host = endpoint.rstrip("/").rpartition("://")
        options |= {"endpoint_override": host, "scheme": scheme or "https"}
    if region or endpoint:
        options["region"] = region or "us-east-1"
    return fs.S3FileSystem(**options)


def remove_temporaries(directory: str | os.PathLike) -> int:
    """Delete the leftovers of interrupted writes below `directory`; return how many there were."""
    removed = 0
    for path in Path(directory).rglob(f".*{_TEMPORARY_SUFFIX}"):
        if path.is_file():
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def require_free_space(directory: str | os.PathLike, needed_bytes: int) -> None:
    """Raise `ResourceError` unless `directory`'s disk has `needed_bytes` free."""
    existing = Path(directory).absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise ResourceError(
            f"the run needs about {needed_bytes / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free",
            where=str(directory),
            hint="free some space, choose another output directory, or skip the check with --no-disk-check",
        )
