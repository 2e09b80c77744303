"""A run as one file: to keep it, and to move it to another machine, by any path that fsspec knows.

The archive is a plain tar whose first member lists the size and the XXH3-128 of every other. Reading
compares them while it extracts, takes nothing that the list does not name, and publishes the directory
whole or not at all. It holds the model, the metrics and the checkpoints, from which training goes on to
the same losses; the token shards stay, because `finetune` makes the same ones of the same texts.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import xxhash

from corpuskit.errors import ArtifactError, ConfigError, InputError, MissingExtra
from corpuskit.files import atomic_path, checksum, is_temporary, json_text
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import is_url, open_remote
from corpuskit.models.staging import staged_directory

FORMAT_VERSION = 1
_LIST = "corpuskit-run.json"
_LAST = "config.json"
_LEFT_OUT = frozenset({"tokens"})
_LARGEST_LIST = 1 << 26
_CHUNK_BYTES = 1 << 22


def export_run(run: str | os.PathLike, destination: str | os.PathLike, *, checkpoints: bool = True) -> str:
    """Write a run's directory as one ``.tar``.

    Parameters
    ----------
    run : path-like
        What `fit` or `finetune` wrote.
    destination : path-like or URL
        Of the file, for example ``s3://bucket/run1.tar``. A file of that name is replaced.
    checkpoints : bool
        Whether the checkpoints go in, without which training cannot go on.

    Returns
    -------
    str
        `destination`.

    Raises
    ------
    InputError
        If there is no run, or the destination cannot be written.
    MissingExtra
        If the protocol needs a package that is not installed.
    ResourceError
        If the disk is full.
    """
    directory = Path(run)
    members = _members(directory, _LEFT_OUT if checkpoints else _LEFT_OUT | {"checkpoints"})
    if not members:
        raise InputError("no run here", where=str(run), hint="give a directory that fit or finetune wrote")
    url = os.fspath(destination)
    listed: dict[str, Any] = {
        name: {"bytes": path.stat().st_size, "xxh3_128": checksum(path)} for name, path in members.items()
    }
    text = json_text({"format": FORMAT_VERSION, "files": listed}).encode()
    with (
        _uploaded(url) if is_url(url) else atomic_path(url) as part,
        tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive,
    ):
        archive.addfile(_member(_LIST, len(text)), io.BytesIO(text))
        for name, path in members.items():
            with open(path, "rb") as file:
                archive.addfile(_member(name, listed[name]["bytes"]), file)
    return url


def import_run(source: str | os.PathLike, run: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Make a run's directory of an archive that `export_run` wrote.

    Parameters
    ----------
    source : path-like or URL
    run : path-like
        The directory.
    overwrite : bool
        Delete what it holds, once the archive has turned out whole.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    ConfigError
        If the directory exists and may not be overwritten.
    InputError
        If the archive cannot be read.
    ArtifactError
        If it is damaged or cut, or no archive of a run.
    ResourceError
        If the disk is full.
    """
    directory = Path(run)
    if directory.exists() and not overwrite:
        raise ConfigError(
            "it exists already", where=str(directory), hint="give another name, or overwrite=True"
        )
    where = redact(os.fspath(source))
    try:
        with _opened(os.fspath(source)) as file, staged_directory(directory, last=_LAST) as stage:
            with tarfile.open(fileobj=file, mode="r|") as archive:
                _extract(archive, stage, where)
            if directory.exists():
                shutil.rmtree(directory)
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(f"not a whole archive: {error}", where) from error
    return directory


def _members(directory: Path, left_out: frozenset[str]) -> dict[str, Path]:
    """The files by their names in the archive, sorted."""
    found = {}
    for path in sorted(directory.rglob("*")):
        parts = path.relative_to(directory).parts
        unfinished = any(part.startswith(".") and part.endswith(".partial") for part in parts)
        if path.is_file() and parts[0] not in left_out and not unfinished and not is_temporary(path):
            found["/".join(parts)] = path
    return found


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _extract(archive: tarfile.TarFile, stage: Path, where: str) -> None:
    members = iter(archive)
    listed = _listed(archive, next(members, None), where)
    for member in members:
        wanted = listed.pop(member.name, None)
        content = archive.extractfile(member) if member.isreg() else None
        if wanted is None or content is None:
            raise _damaged(f"unexpected member {member.name!r}", where)
        path = stage / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if _copied(content, path) != (wanted["bytes"], wanted["xxh3_128"]):
            raise _damaged(f"{member.name} is damaged", where)
    if listed:
        raise _damaged(f"{len(listed)} files are missing, {next(iter(listed))} among them", where)


def _listed(archive: tarfile.TarFile, first: tarfile.TarInfo | None, where: str) -> dict[str, Any]:
    content = None
    if first is not None and first.name == _LIST and first.isreg() and first.size <= _LARGEST_LIST:
        content = archive.extractfile(first)
    if content is None:
        raise ArtifactError(
            "not an archive of a run", where=where, hint="give one that corpuskit.train.export_run wrote"
        )
    try:
        found = json.loads(content.read())
        version, files = found["format"], dict(found["files"])
        if version != FORMAT_VERSION:
            raise ArtifactError(f"format {version} is not {FORMAT_VERSION}", where=where)
        if not all({"bytes", "xxh3_128"} <= set(entry) for entry in files.values()):
            raise ValueError("an entry lacks its size or checksum")
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(f"its list of files is damaged: {error}", where) from error
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name or ":" in name:
            raise _damaged(f"a file is called {name!r}", where)
    return files


def _copied(content: IO[bytes], path: Path) -> tuple[int, str]:
    """Write a file; its size and checksum."""
    state, size = xxhash.xxh3_128(), 0
    with open(path, "xb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            state.update(chunk)
            size += len(chunk)
            file.write(chunk)
    return size, state.hexdigest()


def _damaged(what: str, where: str) -> ArtifactError:
    return ArtifactError(what, where=where, hint="copy the archive again; nothing was written")


@contextmanager
def _opened(source: str) -> Iterator[Any]:
    if is_url(source):
        with open_remote(source) as file:
            yield file
        return
    if not Path(source).is_file():
        raise InputError("cannot be read: no such file", where=source, hint="check the path")
    with open(source, "rb") as file:
        yield file


@contextmanager
def _uploaded(url: str) -> Iterator[Path]:
    """A local file that is at `url` when the block ends without an error.

    Object stores show what is put there in one piece only when all of it has arrived.
    """
    import fsspec

    where = redact(url)
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtra(
            "writing there needs a package that is not installed", where=where, hint=str(error)
        ) from error
    except ValueError as error:
        raise InputError(
            "no protocol that can be written", where=where, hint="for example s3://, gs:// or a local path"
        ) from error
    with tempfile.TemporaryDirectory() as directory:
        part = Path(directory) / "run.tar"
        yield part
        try:
            parent = path.rpartition("/")[0]
            if parent:
                system.makedirs(parent, exist_ok=True)
            system.put_file(os.fspath(part), path)
        # every file system raises its own library's errors
        except Exception as error:
            raise InputError(
                f"cannot be written: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
                where=where,
                hint="check the address and the permissions",
            ) from error
