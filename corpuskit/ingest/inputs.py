"""From what the user names (files, directories, patterns) to input files and slices of them.

The list is sorted, and a file's id-bearing relative path depends on its root alone, so
neither the order of the arguments nor that of the file system changes a result.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from corpuskit.errors import InputError
from corpuskit.files import is_temporary
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.chunks import ReadOptions
from corpuskit.ingest.formats import FORMATS, base_name, compression_of, format_of, require_format
from corpuskit.ingest.remote import RemoteFile, find_remote, is_url, local_path
from corpuskit.ingest.streams import open_file
from corpuskit.jobs import Slice, group_slices

_TEMPORARY_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")


COMPRESSED_SUFFIXES = (".gz", ".zst", ".lz4", ".parquet")


@dataclass(frozen=True)
class InputFile:
    """One file to read.

    Attributes
    ----------
    path : str
        Absolute path, or URL.
    relative_path : str
        Below the input root, with ``/``; document ids are made from it.
    format : str
        One of `corpuskit.ingest.formats.FORMATS`.
    bytes : int
        Size on disk (0 where a server does not say).
    identity : str or None
        Of a remote file: what its ledger key is made from.
    """

    path: str
    relative_path: str
    format: str
    bytes: int
    identity: str | None = None

    def as_slice(self, start: int = 0, stop: int | None = None) -> Slice:
        """The file, or a byte range of it."""
        size = None if self.identity is None else self.bytes
        return Slice(self.path, start, stop, self.relative_path, self.identity, size)

    @property
    def content_bytes(self) -> int:
        """About how much it decompresses to: 5 times its size where its name says compressed.

        Chinese JSON Lines shrink 3.4 to 6.7 times in zstd, web pages 3 to 5 times in gzip.
        """
        return self.bytes * (5 if base_name(self.path).endswith(COMPRESSED_SUFFIXES) else 1)


@dataclass(frozen=True)
class Inputs:
    """The files of a run.

    Attributes
    ----------
    files : tuple of InputFile
        Sorted by format, then path.
    ignored : tuple of str
        Files found in a directory or by a pattern whose names tell no format.
    root : str
        The directory that relative paths are below.
    """

    files: tuple[InputFile, ...]
    ignored: tuple[str, ...]
    root: str

    def __iter__(self) -> Iterator[InputFile]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def bytes(self) -> int:
        """Size of all files on disk."""
        return sum(file.bytes for file in self.files)

    def warn_ignored(self) -> None:
        """One `UserWarning` that names files which were not taken, if there are any."""
        if self.ignored:
            some = ", ".join(self.ignored[:5]) + (" …" if len(self.ignored) > 5 else "")
            message = f"{len(self.ignored)} files were ignored because their names tell no format: {some}"
            warnings.warn(message, UserWarning, stacklevel=3)


def expand_inputs(
    paths: Sequence[str | os.PathLike], root: str | None = None, format: str = "auto"
) -> Inputs:
    """Find the files that paths, directories and glob patterns name.

    Parameters
    ----------
    paths : sequence of path-like
        Files, directories (searched recursively; hidden and temporary files are passed over), or
        patterns with ``*``, ``?``, ``[…]`` and ``**``; or URLs of any of these that fsspec reads
        (``s3://bucket/crawl/*.warc.gz``).
    root : str, optional
        What relative paths are below; by default the common parent of the directories, of the
        patterns' fixed beginnings and of the files' directories. Where inputs lie in several places
        (local and remote, or on two servers) there is none, and relative paths are whole ones.
    format : str
        ``auto`` takes the format from the name; another format is taken for every file.

    Raises
    ------
    InputError
        If a path does not exist or cannot be read, a pattern matches nothing, a file is named
        whose name tells no format, a file is outside `root`, or there is nothing to read.
    """
    found: set[str] = set()
    remote: dict[str, RemoteFile] = {}
    ignored: set[str] = set()
    anchors: list[str] = []
    remote_anchors: list[str] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        if is_url(str(path)):
            local = local_path(str(path))
            if local is None:
                _find_remote(str(path), format, remote, remote_anchors, ignored)
                continue
            path = local
        # Not resolve(): following links would change relative paths, and so ids.
        text = os.path.abspath(path)  # noqa: PTH100
        if Path(text).is_dir():
            anchors.append(text)
            candidates = _files_below(text)
            chosen = {file for file in candidates if format != "auto" or format_of(file)}
            ignored |= set(candidates) - chosen
        elif os.path.lexists(text):
            anchors.append(str(Path(text).parent))
            require_format(text, format)
            chosen = {text}
        elif glob.has_magic(text):
            anchors.append(_fixed_beginning(text))
            chosen = _matches(text, format, ignored)
        else:
            raise InputError("no such file or directory", where=str(path), hint="check the path")
        found |= chosen
    if not found and not remote:
        raise InputError(
            "no input files" + (f" ({len(ignored)} with unknown extensions)" if ignored else ""),
            where=", ".join(map(str, [*anchors, *map(redact, remote_anchors)])) or "inputs",
            hint="name files of a known format, or give format=",
        )
    base = _root(root, anchors, remote_anchors)
    # Files of a format together: their batches have the same columns and join into larger ones.
    unsorted = [_input_file(path, base, format) for path in found]
    unsorted += [_remote_input(file, base, format) for file in remote.values()]
    files = tuple(sorted(unsorted, key=lambda file: (FORMATS.index(file.format), file.path)))
    _check_unique(files)
    if not any(file.bytes for file in files) and all(file.size_bytes == 0 for file in remote.values()):
        raise InputError(
            f"all {len(files)} input files are empty",
            where=redact(files[0].path),
            hint="check what wrote them",
        )
    return Inputs(files, tuple(sorted(ignored - found)), base)


def _find_remote(
    url: str, format: str, remote: dict[str, RemoteFile], anchors: list[str], ignored: set[str]
) -> None:
    """Add the files of a URL to `remote`, and where their relative paths begin to `anchors`."""
    anchor, files, named = find_remote(url)
    anchors.append(anchor)
    for file in files:
        name = base_name(file.url)
        if not named and (not name or _is_passed_over(name)):
            continue
        if named:
            require_format(file.url, format)
        elif format == "auto" and format_of(file.url) is None:
            ignored.add(redact(file.url))
            continue
        remote[file.url] = file


def _root(root: str | None, anchors: list[str], remote_anchors: list[str]) -> str:
    """What relative paths are below; empty where the inputs have no place in common."""
    if root is not None:
        local = local_path(root) if is_url(root) else root
        return root.rstrip("/") if local is None else os.path.abspath(local)  # noqa: PTH100
    if not remote_anchors:
        return os.path.commonpath(anchors)
    if anchors:
        return ""
    chains = {anchor.partition("::")[2] for anchor in remote_anchors}
    if len(chains) > 1:
        return ""
    (chain,) = chains
    parts = [anchor.partition("::")[0].split("/") for anchor in remote_anchors]
    common: list[str] = []
    for level in zip(*parts):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    # Two servers have "https:" and "" in common, which is no place; the inside of an archive is one.
    if len(common) < (2 if chain else 3):
        return ""
    return "/".join(common) + (f"::{chain}" if chain else "")


def _remote_input(file: RemoteFile, root: str, format: str) -> InputFile:
    head, _, chain = redact(file.url).partition("::")
    root_head, _, root_chain = root.partition("::")
    if not root:
        relative = "/".join(part.replace("://", "/") for part in [*([chain] if chain else []), head])
    elif chain == root_chain and head.startswith(f"{root_head.rstrip('/')}/"):
        relative = head[len(root_head.rstrip("/")) :]
    else:
        raise InputError(
            f"it is outside the root {redact(root)}",
            where=redact(file.url),
            hint="choose a root above all inputs",
        )
    relative = relative.strip("/")
    return InputFile(
        file.url, relative, require_format(file.url, format), file.size_bytes or 0, file.identity
    )


def _check_unique(files: Sequence[InputFile]) -> None:
    """Two files of one relative path would give documents of the same ids."""
    seen: dict[str, str] = {}
    for file in files:
        other = seen.setdefault(file.relative_path, file.path)
        if other != file.path:
            raise InputError(
                f"it has the same relative path as {redact(other)}: {file.relative_path}",
                where=redact(file.path),
                hint="ids are made from relative paths; read them in two runs, or give a root",
            )


def plan_slices(
    files: Sequence[InputFile], target_bytes: int, options: ReadOptions | None = None
) -> list[tuple[Slice, ...]]:
    """Cut and group files into tasks of about `target_bytes`.

    Uncompressed JSON Lines, and text whose documents are lines, are cut into byte ranges (readers
    take the lines that begin in them); small files share a task. Depends on the files alone.
    """
    options = options or ReadOptions()
    slices: list[Slice] = []
    sizes: list[int] = []
    for file in files:
        pieces = 1
        if file.bytes > target_bytes and _is_splittable(file, options):
            pieces = -(-file.bytes // target_bytes)
        bounds = [file.bytes * index // pieces for index in range(pieces + 1)]
        for start, stop in pairwise(bounds):
            slices.append(file.as_slice(start, stop if pieces > 1 else None))
            sizes.append(file.content_bytes // pieces)
    return group_slices(slices, sizes, target_bytes)


def _is_splittable(file: InputFile, options: ReadOptions) -> bool:
    if file.format == "jsonl" or (file.format == "text" and options.text_unit == "line"):
        with open_file(file.path) as handle:
            return compression_of(handle) is None
    return False


def _input_file(path: str, root: str, format: str) -> InputFile:
    file = Path(path)
    if not file.is_file():
        what = "a broken link" if file.is_symlink() and not file.exists() else "not a regular file"
        raise InputError(f"it is {what}", where=path, hint="name files, directories or patterns")
    if not os.access(path, os.R_OK):
        raise InputError("no permission to read it", where=path, hint="change its permissions")
    relative = os.path.relpath(path, root or os.sep)
    if is_url(root) or relative.startswith(os.pardir + os.sep):
        raise InputError(f"it is outside the root {root}", where=path, hint="choose a root above all inputs")
    return InputFile(path, relative.replace(os.sep, "/"), require_format(path, format), file.stat().st_size)


def _matches(pattern: str, format: str, ignored: set[str]) -> set[str]:
    chosen: set[str] = set()
    matched = glob.glob(pattern, recursive=True)  # noqa: PTH207  (absolute patterns)
    for path in matched:
        if Path(path).is_dir() or _is_passed_over(Path(path).name):
            continue
        if format != "auto" or format_of(path):
            chosen.add(path)
        else:
            ignored.add(path)
    if not matched:
        raise InputError(
            "the pattern matches nothing", where=pattern, hint="quote it, and check the directory"
        )
    return chosen


def _files_below(directory: str) -> list[str]:
    """Files in a directory and its subdirectories; links to directories are followed, once each."""
    files: list[str] = []
    seen: set[str] = set()
    waiting = [directory]
    while waiting:
        current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(
                f"the directory cannot be listed: {error.strerror}",
                where=current,
                hint="check its permissions",
            ) from error
        subdirectories = []
        for entry in entries:
            if _is_passed_over(entry.name):
                continue
            if entry.is_dir():
                subdirectories.append(entry.path)
            elif entry.is_file():
                files.append(entry.path)
        waiting.extend(reversed(subdirectories))
    return files


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or is_temporary(name) or name.endswith(_TEMPORARY_SUFFIXES)


def _fixed_beginning(pattern: str) -> str:
    """The directory above the first part of a pattern that has a wildcard."""
    fixed = []
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return str(Path(*fixed))
