"""A dataset's directory: making it, holding it against other writers, full disks, links and leftovers."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpuskit.errors import ArtifactError, ConfigError, InputError, LedgerError, MismatchError, ResourceError
from corpuskit.files import atomic_path, checksum, disk_full, is_disk_full, is_temporary
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import is_url, local_path
from corpuskit.shards.manifest import MANIFEST_NAME
from corpuskit.vocab import Tokenizer
from corpuskit.vocab.artifact import METADATA

TOKENIZER_NAME = "tokenizer"


def require_local(path: str | os.PathLike) -> Path:
    """`path` as a path of this machine; `ConfigError` for a URL."""
    address = str(path)
    if is_url(address):
        local = local_path(address)
        if local is None:
            raise ConfigError(
                "only datasets on this machine's file systems can be changed or made",
                where=redact(address),
                hint="copy the directory here first, and back afterwards",
            )
        return Path(local)
    return Path(path)


@contextmanager
def full_disk_hint(how: str) -> Iterator[None]:
    """Says in a full disk's error how the interrupted call goes on.

    What is forbidden is an `InputError` of its path: permissions are the caller's to give.
    """
    try:
        yield
    except (ResourceError, OSError) as error:
        if isinstance(error, OSError):
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise InputError(
                    f"cannot be used: {error.strerror}",
                    where=str(error.filename or "the output directory"),
                    hint="check its permissions, or choose another directory",
                ) from error
            if not is_disk_full(error):
                raise
            full = disk_full(error.filename or "the output directory")
        else:
            full = error
        raise ResourceError(full.what, where=full.where, hint=f"free some space, then {how}") from error


def require_no_dataset(directory: Path) -> None:
    """Raise `ArtifactError` if `directory` holds a dataset, or shards of one."""
    if (directory / MANIFEST_NAME).exists() or any(directory.glob("shard-*.arrow")):
        raise ArtifactError(
            "the directory already holds a token dataset",
            where=str(directory),
            hint="choose another directory, delete this one first, go on with resume=True, or append",
        )


def make_directory(directory: Path) -> None:
    """Create an output directory.

    Raises
    ------
    InputError
        If that is not possible.
    ResourceError
        If the disk is full.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(directory) from error
        raise InputError(
            f"cannot be used as output directory: {error.strerror}",
            where=str(directory),
            hint="choose a directory that can be written",
        ) from error


def lock_directory(directory: Path) -> int | None:
    """Hold a directory against other writers until the descriptor is closed or the process ends.

    Raises
    ------
    LedgerError
        If it is held already.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise LedgerError(
            "another writer holds this dataset",
            where=str(directory),
            hint="wait for it, or close the Writer that this process left open; or choose another directory",
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def remove_temporaries_here(
    directory: Path, prefixes: tuple[str, ...] = (".shard-", ".dataset.json.")
) -> None:
    """Delete what interrupted writes of such files left in `directory` itself.

    A packing count may be on its way there at this moment, by a reader; it is left alone.
    """
    for path in directory.glob(".*.tmp"):
        if is_temporary(path) and path.name.startswith(prefixes):
            path.unlink(missing_ok=True)


def remove_stale_sidecars(directory: Path, fingerprint: str) -> None:
    """Delete packing counts that are of another content than `fingerprint`.

    They are keyed by it and would never be used; this only tidies up.
    """
    for path in directory.glob("packing-*.json"):
        try:
            stale = fingerprint not in path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            stale = True
        if stale:
            path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` the name `target` too, atomically; a copy where links are not possible."""
    # Renaming one hard link of a file over another is a no-op that leaves both names.
    if target.exists() and target.samefile(source):
        return
    with atomic_path(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError as error:
            if is_disk_full(error):
                raise
            shutil.copyfile(source, temporary)


def require_own_tokenizer(directory: Path, fingerprint: str) -> None:
    """Check that the tokenizer beside a dataset's shards, if one of ours is there, is the one that made them.

    Raises
    ------
    MismatchError
        If it is another.
    ArtifactError
        If its files are damaged.
    """
    beside = directory / TOKENIZER_NAME
    if not (beside / METADATA).exists():
        return
    found = Tokenizer.load(beside).fingerprint
    if found != fingerprint:
        raise MismatchError(
            f"tokenizer {found} lies beside shards of tokenizer {fingerprint}",
            where=str(beside),
            hint="put the tokenizer there that the shards were written with",
        )


def copy_tokenizer(source: Path, target: Path, fingerprint: str) -> None:
    """Copy the tokenizer's directory that lies beside a dataset's shards, if there is one.

    Raises
    ------
    MismatchError, ArtifactError
        As `require_own_tokenizer`.
    """
    require_own_tokenizer(source, fingerprint)
    copy_files(source / TOKENIZER_NAME, target / TOKENIZER_NAME)


def copy_files(source: Path, target: Path) -> None:
    """Copy the files of a small directory, each whole or not at all; those that are the same stay."""
    remove_temporaries_here(target, (".",))
    for path in sorted(source.glob("*")):
        copy = target / path.name
        if path.is_file() and not (copy.exists() and checksum(copy) == checksum(path)):
            with atomic_path(copy) as temporary:
                shutil.copyfile(path, temporary)
