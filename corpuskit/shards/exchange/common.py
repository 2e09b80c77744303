"""What the formats of other trainers have in common: documents on their way out and in, and whole outputs.

One module holds each format: what it looks like, how it is written and, for some, how it is read.
They all take documents from a `TokenSource`, in one pass of runs of some 8 MB, and every shard is
hashed before its documents leave: an export of a flipped bit would carry no checksum that tells.

A file appears by a rename when it is whole; where a format is several files, either one of them is
the file without which nothing opens and it comes last, or the whole directory appears by a rename.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import xxhash

from corpuskit.documents import document_id
from corpuskit.errors import ArtifactError, InputError, MismatchError
from corpuskit.files import checksum, disk_full, is_disk_full, sync_directory, write_json
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.manifest import EndOfDocument, Manifest, TokenizerLike
from corpuskit.shards.reader import TokenDataset
from corpuskit.shards.shardfile import Shard, Verify, open_shard

# Tokens handled at a time, beyond the one document that may be longer.
RUN_TOKENS = 1 << 22
_RUN_ROWS = 1 << 18

BOUNDARIES = "boundaries"
DOCUMENT_IDS = "document ids"
NOTE_SUFFIX = ".corpuskit.json"


class ExportFormat(Protocol):
    """One format to export to; its fields are the choices that the format leaves open."""

    @property
    def format_name(self) -> str:
        """As the command line calls it."""
        ...

    @property
    def loses(self) -> tuple[str, ...]:
        """What the format has no room for: `DOCUMENT_IDS`, `BOUNDARIES`."""
        ...

    def has_room_for(self, column: str, kind: str) -> bool:
        """Whether a parallel column of this name and value type can be kept."""
        ...

    def write(self, source: TokenSource, directory: Path) -> tuple[Path, ...]:
        """Write everything, whole or not at all; return the files."""
        ...


class TokenSource:
    """The documents of a dataset as an export takes them: in order, in runs, checked.

    Parameters
    ----------
    data : TokenDataset
    columns : sequence of str
        The parallel columns that are exported.
    verify : {"full", "fast", "none"}
        What is checked of each local shard when its turn comes; remote ones are checked on arrival.
    progress : callable, optional
        Called with the bytes of tokens that have been dealt with since the last call.
    count_ends : bool
        Count the end-of-text ids: more of them than documents cut some document in a bare stream.
    """

    def __init__(
        self,
        data: TokenDataset,
        columns: Sequence[str] = (),
        verify: Verify = "full",
        progress: Callable[[int], None] | None = None,
        *,
        count_ends: bool = False,
    ) -> None:
        self.data = data
        self.columns = tuple(columns)
        self.num_end_ids = 0  # of what `runs` has given, where they are counted
        self._counts_ends = count_ends
        self._verify: Verify = verify
        self._progress = progress

    @property
    def manifest(self) -> Manifest:
        return self.data.manifest

    @property
    def end_of_text_id(self) -> int | None:
        return self.manifest.tokenizer.end_of_text_id

    @property
    def ends_are_marked(self) -> bool:
        """Whether every document ends with the end-of-text id already."""
        return self.manifest.end_of_document == "end_of_text"

    def runs(self, max_tokens: int = RUN_TOKENS) -> Iterator[EncodedDocuments]:
        """Consecutive documents with at most `max_tokens` tokens together, or one longer document.

        Views of the mapped shards: they take no memory of their own.
        """
        for number in range(len(self.manifest.shards)):
            shard = self._shard(number)
            columns = {name: shard.columns[name] for name in self.columns}
            documents = EncodedDocuments(shard.ids, shard.offsets, shard.tokens, columns)
            start = 0
            while start < len(documents):
                limit = shard.offsets[start] + max_tokens
                stop = int(np.searchsorted(shard.offsets, limit, side="right")) - 1
                stop = min(max(stop, start + 1), start + _RUN_ROWS)
                run = documents.slice(start, stop)
                if self._counts_ends and self.end_of_text_id is not None:
                    self.num_end_ids += int(np.count_nonzero(run.tokens == self.end_of_text_id))
                yield run
                if self._progress is not None:
                    self._progress(run.tokens.nbytes)
                start = stop

    def _shard(self, number: int) -> Shard:
        if self.data.remote is not None:
            return self.data.remote[number]
        entry = self.manifest.shards[number]
        return open_shard(self.data.directory, entry, self.manifest, self._verify)


@dataclass(frozen=True)
class IncomingDocuments:
    """Documents read from another format.

    Attributes
    ----------
    path : Path
        The file they begin in.
    first : int
        Ordinal of the first of them in the file.
    documents : EncodedDocuments
        Of whatever integer dtype the file has.
    """

    path: Path
    first: int
    documents: EncodedDocuments


class IncomingFiles(Protocol):
    """An input of the import: what a format's reader found when it opened the files."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Parallel columns that are read, with their value types."""
        ...

    @property
    def lost(self) -> tuple[str, ...]:
        """What is in the files and is not read."""
        ...

    @property
    def end_of_document(self) -> EndOfDocument | None:
        """The policy of the dataset that was exported, where the files tell."""
        ...

    def __iter__(self) -> Iterator[IncomingDocuments]: ...


def make_ids(relative_path: str, first: int, count: int) -> pa.StringArray:
    """Ids of `count` documents of a file, from its path and their ordinals."""
    return pa.array([document_id(relative_path, first + i) for i in range(count)], pa.string())


class HashedFile:
    """Arrays written one after another to a binary file, with the checksum of its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state = xxhash.xxh3_128()
        self.size = 0

    def write(self, values: np.ndarray) -> None:
        view = np.ascontiguousarray(values).view(np.uint8).data
        self._state.update(view)
        self._file.write(view)
        self.size += len(view)

    @property
    def facts(self) -> dict[str, Any]:
        """For the note beside the export."""
        return {"bytes": self.size, "checksum": self._state.hexdigest()}


@dataclass(frozen=True)
class ExportNote:
    """What a file of bare ids cannot say of itself, kept in ``NAME.corpuskit.json`` beside it.

    Trainers pass it over; `import_tokens` takes dtype, policy and checksums from it where it is there.
    """

    format: str
    dtype: str
    documents: int
    tokens: int
    end_of_document: EndOfDocument
    tokenizer: Mapping[str, Any]
    dataset: str
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, source: TokenSource, format: str, dtype: np.dtype, files: Mapping[str, Any]) -> ExportNote:
        manifest = source.manifest
        return cls(
            format,
            dtype.name,
            manifest.num_documents,
            manifest.num_tokens,
            manifest.end_of_document,
            asdict(manifest.tokenizer),
            manifest.fingerprint,
            files,
        )

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> ExportNote | None:
        """The note at `path`, or None if there is none; `ArtifactError` if it is damaged."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"the note of the export is damaged: {error}",
                where=str(path),
                hint="restore it, or delete it: then the file is read as it is",
            ) from error

    def check(self, files: Sequence[Path], tokenizer: TokenizerLike) -> None:
        """Raise unless the files have the recorded bytes and the tokenizer is the recorded one."""
        for path in files:
            facts = self.files.get(path.name)
            if facts is None:
                continue
            size = path.stat().st_size
            if size != facts["bytes"]:
                kind = "truncated" if size < facts["bytes"] else "longer than it was written"
                raise InputError(
                    f"the file is {kind}: {size} bytes instead of {facts['bytes']}",
                    where=str(path),
                    hint="copy it again, or export it again",
                )
            if checksum(path) != facts["checksum"]:
                raise InputError(
                    "the file is damaged: its checksum is not the one that the export recorded",
                    where=str(path),
                    hint="copy it again, or export it again",
                )
        require_same_tokenizer(self.tokenizer.get("fingerprint"), tokenizer, str(files[0]))


def require_same_tokenizer(fingerprint: str | None, tokenizer: TokenizerLike, where: str) -> None:
    """Raise `MismatchError` if the files say that another tokenizer made their ids."""
    if fingerprint is not None and fingerprint != tokenizer.fingerprint:
        raise MismatchError(
            f"the ids were made with tokenizer {fingerprint}, not with {tokenizer.fingerprint}",
            where=where,
            hint="give the tokenizer that encoded the documents",
        )


def prepare_files(path: Path, *others: Path) -> None:
    """Make way for an export whose last file is `path`: what killed runs left of any of them is removed.

    Raises
    ------
    ArtifactError
        If an export of this name is there already.
    """
    if path.exists():
        raise ArtifactError(
            "the export is there already",
            where=str(path),
            hint="choose another directory or name, or delete it first",
        )
    for output in (path, *others):
        _remove_leftovers(output)


@contextmanager
def atomic_directory(directory: Path) -> Iterator[Path]:
    """Yield a new directory that becomes `directory` when the block ends without an error.

    What killed runs left of the same target is removed first.

    Raises
    ------
    ArtifactError
        If `directory` exists and is not empty.
    ResourceError
        If the disk is full; nothing stays behind.
    """
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 (a link stays the name it is)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ArtifactError(
            "the directory is not empty, and an export of several files appears whole or not at all",
            where=str(directory),
            hint="choose a new directory, or delete this one first",
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(directory)
    staging = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    try:
        staging.mkdir()
        yield staging
        for path in staging.iterdir():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        sync_directory(staging)
        staging.replace(directory)
        sync_directory(directory.parent)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if is_disk_full(error):
            raise disk_full(directory) from error
        raise


def _remove_leftovers(output: Path) -> None:
    """Delete temporary files and directories of `output` whose process is gone."""
    pattern = re.compile(re.escape(f".{output.name}.") + r"(\d+)(-[0-9a-f]+)?\.tmp")
    for path in output.parent.iterdir() if output.parent.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match is None or _is_running(int(match[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
