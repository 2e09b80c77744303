"""Verify a token dataset: every problem by name, none of them an exception.

`open` stops at the first problem because a trainer must not start; `verify` goes on, because
whoever repairs a dataset wants the whole list.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa

from corpuskit.errors import ArtifactError, MismatchError
from corpuskit.files import checksum
from corpuskit.ingest.remote import is_url, local_path
from corpuskit.shards.directories import TOKENIZER_NAME, require_own_tokenizer
from corpuskit.shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, load_manifest
from corpuskit.shards.shardfile import (
    Shard,
    check_counts,
    check_schema,
    check_size,
    check_vocabulary,
    damaged,
    map_shard,
    unreadable,
)

ProblemKind = Literal[
    "manifest", "incomplete", "missing", "size", "format", "schema", "counts", "structure", "checksum",
    "vocabulary", "unlisted", "tokenizer",
]  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        ``manifest`` (dataset.json is damaged), ``incomplete`` (its writer, or an append to it, did
        not finish), ``missing`` or ``size`` (a shard file), ``format`` (not a whole Arrow file,
        inconsistent offsets, or ids that are not UTF-8), ``schema`` (columns, dtype, tokenizer or
        policy differ),
        ``counts`` (documents or tokens), ``structure`` or ``checksum`` (bytes changed),
        ``vocabulary`` (an id outside it), ``unlisted`` (a shard file that dataset.json does not know),
        ``tokenizer`` (what lies beside the shards is damaged or another).
    file : str
    detail : str
    """

    kind: ProblemKind
    file: str
    detail: str


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes
    ----------
    directory : str
    shards, documents, tokens : int
        What was read; a shard that cannot be mapped counts nothing.
    problems : tuple of Problem
    """

    directory: str
    shards: int
    documents: int
    tokens: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise `ArtifactError` naming the first problem and how many there are."""
        if self.problems:
            first = self.problems[0]
            how = "copy the directory to this machine: there " if is_url(self.directory) else ""
            raise ArtifactError(
                f"{len(self.problems)} problem(s); the first is {first.kind}: {first.detail}",
                where=f"{self.directory}/{first.file}",
                hint=f"{how}`corpuskit shards repair` restores from a copy, or drops and says what is lost",
            )


Found = tuple[tuple[int, int] | None, list[Problem]]
"""Of one shard: its documents and tokens, if it can be mapped, and everything that is wrong with it."""


def verify(directory: str | os.PathLike) -> Report:
    """Read a whole dataset and list what is wrong with it.

    Checks the manifest, and of every shard: presence, size, Arrow structure, offsets, columns,
    tokenizer, counts, both checksums, and that every id lies in the vocabulary; and the tokenizer that
    lies beside them. A dataset behind a URL is fetched for it, one shard at a time, into the system's
    temporary directory; what else lies there (kind ``unlisted``) is not asked of web servers, which
    need not list.

    Parameters
    ----------
    directory : path-like
        Or a URL.

    Raises
    ------
    ArtifactError
        Only if `directory` holds no dataset at all.
    InputError
        If a file may not be read, or a server cannot be reached.
    ResourceError
        If the temporary directory has no room for a shard.
    """
    dataset = suspect(str(directory))
    manifest = dataset.manifest()
    found = [] if isinstance(manifest, Problem) else [dataset.shard(e, manifest) for e in manifest.shards]
    return report(dataset, manifest, found)


class Suspect(Protocol):
    """A dataset to verify, wherever it lies."""

    name: str

    def manifest(self) -> Manifest | Problem:
        """`dataset.json`, or what is wrong with it; `ArtifactError` if there is none."""
        ...

    def shard(self, entry: ShardEntry, manifest: Manifest) -> Found:
        """What is found of a shard."""
        ...

    def shard_names(self) -> list[str]:
        """Shard files that are there, listed or not, as far as that can be known."""
        ...

    def tokenizer_problems(self, manifest: Manifest) -> list[Problem]:
        """What is wrong with the tokenizer beside the shards."""
        ...


def suspect(address: str) -> Suspect:
    """The dataset in a directory or behind a URL."""
    if not is_url(address):
        return _Directory(Path(address))
    plain = local_path(address)
    if plain is not None:
        return _Directory(Path(plain))
    from corpuskit.shards.remote_verification import RemoteSuspect

    return RemoteSuspect(address)


class _Directory:
    def __init__(self, root: Path) -> None:
        self._root, self.name = root, str(root)

    def manifest(self) -> Manifest | Problem:
        if not (self._root / MANIFEST_NAME).exists():
            load_manifest(self._root)  # says what is there instead
        return read_manifest(self._root)

    def shard(self, entry: ShardEntry, manifest: Manifest) -> Found:
        return verify_shard(self._root / entry.name, entry, manifest)

    def shard_names(self) -> list[str]:
        return [path.name for path in sorted(self._root.glob("shard-*.arrow"))]

    def tokenizer_problems(self, manifest: Manifest) -> list[Problem]:
        return tokenizer_problems(self._root, manifest)


def read_manifest(directory: Path) -> Manifest | Problem:
    """The `dataset.json` that is there, or what is wrong with it."""
    try:
        return load_manifest(directory, allow_incomplete=True)
    except ArtifactError as error:
        return Problem("manifest", MANIFEST_NAME, error.what)


def report(dataset: Suspect, manifest: Manifest | Problem, found: Sequence[Found]) -> Report:
    """What was found, put together.

    Parameters
    ----------
    dataset : Suspect
    manifest : Manifest or Problem
        As `dataset` gives it.
    found : sequence of Found
        Of each shard of the manifest, in order.
    """
    if isinstance(manifest, Problem):
        return Report(dataset.name, 0, 0, 0, (manifest,))
    problems: list[Problem] = []
    if not manifest.complete:
        problems.append(Problem("incomplete", MANIFEST_NAME, "the writer did not finish"))
    operation = manifest.operation
    waiting = () if operation is None else operation.waiting
    if manifest.is_appending:
        detail = f"an append did not finish; {len(waiting)} whole shards of it wait and are not read"
        problems.append(Problem("incomplete", MANIFEST_NAME, detail))
    problems.extend(problem for _, of_shard in found for problem in of_shard)
    listed = {entry.name for entry in (*manifest.shards, *waiting)}
    problems.extend(
        Problem("unlisted", name, "dataset.json does not know this shard")
        for name in dataset.shard_names()
        if name not in listed
    )
    counts = [count for count, _ in found if count is not None]
    documents, tokens = sum(count[0] for count in counts), sum(count[1] for count in counts)
    problems.extend(dataset.tokenizer_problems(manifest))
    return Report(dataset.name, len(counts), documents, tokens, tuple(problems))


def tokenizer_problems(directory: Path, manifest: Manifest) -> list[Problem]:
    """What is wrong with the tokenizer that lies beside shards."""
    try:
        require_own_tokenizer(directory, manifest.tokenizer.fingerprint)
    except (ArtifactError, MismatchError) as error:
        return [Problem("tokenizer", TOKENIZER_NAME, error.what)]
    return []


def verify_shard(path: Path, entry: ShardEntry, manifest: Manifest) -> Found:
    """What is found of the shard in a file."""
    problems: list[Problem] = []

    def attempt(kind: ProblemKind, check, *arguments) -> None:
        try:
            check(*arguments)
        except ArtifactError as error:
            problems.append(Problem(kind, path.name, error.what))

    if not path.exists():
        return None, [Problem("missing", path.name, "there is no such file")]
    attempt("size", check_size, path, entry)
    attempt("checksum", _check_checksum, path, entry)
    try:
        shard = map_shard(path, structure=True)
    except ArtifactError as error:
        return None, [*problems, Problem("format", path.name, error.what)]
    attempt("schema", check_schema, path, shard, manifest)
    attempt("counts", check_counts, path, shard, entry)
    attempt("structure", _check_structure, path, shard, entry)
    attempt("vocabulary", check_vocabulary, path, shard, manifest)
    attempt("format", check_ids, path, shard)
    return (len(shard.ids), len(shard.tokens)), problems


def _check_checksum(path: Path, entry: ShardEntry) -> None:
    try:
        found = checksum(path)
    except PermissionError as error:
        raise unreadable(path) from error
    except OSError as error:
        raise damaged(path, f"it cannot be read: {error.strerror}") from error
    if found != entry.checksum:
        raise damaged(path, f"XXH3-128 {found} instead of {entry.checksum}")


def _check_structure(path: Path, shard: Shard, entry: ShardEntry) -> None:
    if shard.structure != entry.structure:
        raise damaged(path, "header, ids, offsets or footer have changed")


def check_ids(path: Path, shard: Shard) -> None:
    """Raise unless every id is UTF-8."""
    try:
        shard.ids.validate(full=True)
    except pa.ArrowInvalid as error:
        raise damaged(path, f"an id is not UTF-8: {error}") from error
