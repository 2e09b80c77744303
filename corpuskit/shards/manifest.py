"""`dataset.json`: what a token dataset is, which tokenizer made it, and whether it is whole.

The manifest is the commit point of a dataset. It says ``"complete": false`` from the first moment
of writing until everything is in place, so a killed writer leaves a dataset that says so itself.
Every shard carries two checksums: one of the whole file, and one of its *structure* (all bytes
but the token values). The structure is some 5 % of a shard, so opening can afford to check it;
the token values are checked on request.

`operation` says what last wrote the dataset, with its options, and whether that is finished: the
same call can then go on where it was interrupted, another one is refused, and a finished one is not
done twice. An append keeps the whole shards it has made there until it is finished, so that readers see
the dataset as it was before.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import pyarrow as pa
import xxhash

from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError
from corpuskit.files import write_json
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import is_url, local_path
from corpuskit.shards.records import Operation, ShardEntry, TokenizerLike, TokenizerRecord, short

FORMAT_VERSION = 1
MANIFEST_NAME = "dataset.json"
WORK_NAME, CALL_NAME = ".work", "call.json"
"""Where `corpuskit shards write` and `append` keep what they have not published yet, and what it is for."""

EndOfDocument = Literal["end_of_text", "none"]

_SHARD_NAME = re.compile(r"shard-\d{5,}\.arrow")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Manifest:
    """The contents of `dataset.json`.

    Attributes
    ----------
    tokenizer : TokenizerRecord
    end_of_document : {"end_of_text", "none"}
        Whether every document ends with the tokenizer's end-of-text id.
    shards : tuple of ShardEntry
        In stream order.
    columns : Mapping[str, str]
        Parallel columns (one value per token) and their Arrow value types.
    provenance : Mapping[str, Any]
        Free JSON: where the documents came from and how they were made.
    complete : bool
        False while the dataset is being written, and for ever if the writer died.
    operation : Operation, optional
        What last wrote it.
    """

    tokenizer: TokenizerRecord
    end_of_document: EndOfDocument = "end_of_text"
    shards: tuple[ShardEntry, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False
    operation: Operation | None = None

    @property
    def dtype(self) -> np.dtype:
        """``uint16`` where the vocabulary fits (65,536 ids), else ``uint32``."""
        return token_dtype(self.tokenizer.vocab_size)

    @property
    def num_documents(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def num_tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """XXH3-128 over everything that defines the content: not names, provenance or location."""
        content = [
            FORMAT_VERSION,
            asdict(self.tokenizer),
            self.end_of_document,
            sorted(self.columns.items()),
            [[shard.rows, shard.tokens, shard.bytes, shard.checksum] for shard in self.shards],
        ]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return xxhash.xxh3_128_hexdigest(text.encode())

    @property
    def is_appending(self) -> bool:
        """Whether an append to the complete dataset was begun and is not finished."""
        return self.complete and self.operation is not None and not self.operation.finished

    @property
    def next_shard_name(self) -> str:
        """The name of a further shard: after the highest number, as some may have been dropped."""
        waiting = () if self.operation is None else self.operation.waiting
        numbers = [int(shard.name[len("shard-") : -len(".arrow")]) for shard in (*self.shards, *waiting)]
        return shard_name(max(numbers, default=-1) + 1)

    def with_shard(self, shard: ShardEntry) -> Manifest:
        """With one more shard: at the end, or, while appending, among those that wait."""
        if self.operation is not None and self.is_appending:
            waiting = (*self.operation.waiting, shard)
            return replace(self, operation=replace(self.operation, waiting=waiting))
        return replace(self, shards=(*self.shards, shard))

    def finish(self) -> Manifest:
        """Complete, with its operation finished and all shards in their place."""
        if self.operation is None:
            return replace(self, complete=True)
        shards = (*self.shards, *self.operation.waiting)
        finished = replace(self.operation, finished=True, waiting=())
        return replace(self, shards=shards, complete=True, operation=finished)

    def require_same_layout(self, other: Manifest, where: str) -> None:
        """Raise `MismatchError` unless the shards of both may stand in one dataset."""
        for what, mine, theirs in [
            ("tokenizer", self.tokenizer, other.tokenizer),
            ("end_of_document", self.end_of_document, other.end_of_document),
            ("parallel columns", dict(self.columns), dict(other.columns)),
        ]:
            if mine != theirs:
                raise MismatchError(
                    f"the {what} {_named(mine)} and {_named(theirs)} differ",
                    where=where,
                    hint="write the documents again with the same tokenizer and options",
                )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the totals and the fingerprint spelt out."""
        return {
            "format_version": FORMAT_VERSION,
            "complete": self.complete,
            "tokenizer": asdict(self.tokenizer),
            "end_of_document": self.end_of_document,
            "dtype": self.dtype.name,
            "columns": dict(self.columns),
            "documents": self.num_documents,
            "tokens": self.num_tokens,
            "bytes": self.num_bytes,
            "shards": [asdict(shard) for shard in self.shards],
            "provenance": dict(self.provenance),
            "operation": None if self.operation is None else self.operation.to_dict(),
            "fingerprint": self.fingerprint,
        }

    def save(self, directory: str | os.PathLike) -> None:
        """Write `dataset.json` atomically."""
        try:
            write_json(Path(directory) / MANIFEST_NAME, self.to_dict())
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"provenance is not plain JSON: {error}",
                where="provenance",
                hint="use strings, finite numbers, booleans, lists and dictionaries",
            ) from error

    def require_tokenizer(self, tokenizer: TokenizerLike, where: str) -> None:
        """Raise `MismatchError` unless `tokenizer` is the one that made these ids."""
        if tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise MismatchError(
                f"the shards were written with tokenizer {self.tokenizer.fingerprint}, "
                f"not with {tokenizer.fingerprint}",
                where=where,
                hint="load the tokenizer that stands beside the shards, or write the shards again",
            )


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest dtype a token dataset may use for ids below `vocab_size`."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


def shard_name(index: int) -> str:
    """``shard-00000.arrow`` for 0, and so on."""
    return f"shard-{index:05d}.arrow"


def load_manifest(directory: str | os.PathLike, *, allow_incomplete: bool = False) -> Manifest:
    """Read and validate `dataset.json`.

    Parameters
    ----------
    directory : path-like
    allow_incomplete : bool
        Accept a dataset whose writer did not finish; it lists the shards that are whole.

    Raises
    ------
    ArtifactError
        If there is no dataset, or it is damaged, of a newer format, or incomplete.
    InputError
        If it may not be read.
    """
    path = Path(directory) / MANIFEST_NAME
    try:
        stored = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        begun = unfinished_call(directory)
        if begun is not None:
            raise ArtifactError(
                f"`corpuskit shards {begun}` has begun a token dataset here and not finished it; nothing can "
                "be read yet",
                where=str(directory),
                hint="if it does not run any more, the same command goes on where it was interrupted; delete "
                f"{Path(directory) / WORK_NAME} to give it up",
            ) from None
        raise ArtifactError(
            f"not a token dataset: there is no {MANIFEST_NAME}",
            where=str(directory),
            hint="give the directory that `corpuskit shards write` or `shards.Writer` made",
        ) from None
    except PermissionError as error:
        raise InputError(
            "cannot be read: permission denied",
            where=str(path),
            hint="check the permissions of the dataset",
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    manifest = _parse(stored, path)
    if not manifest.complete and not allow_incomplete:
        raise ArtifactError(
            f"the dataset is incomplete: its writer did not finish ({len(manifest.shards)} whole shards, "
            f"{manifest.num_documents} documents, {manifest.num_tokens} tokens)",
            where=str(directory),
            hint="run what wrote it again (Writer with resume=True), or open the whole shards with "
            "allow_incomplete=True",
        )
    return manifest


def info(directory: str | os.PathLike) -> dict[str, Any]:
    """What `dataset.json` says about a dataset, complete or not, without opening its shards.

    Parameters
    ----------
    directory : path-like
        Or a URL.

    Returns
    -------
    dict
        The manifest's fields, with ``num_shards``, ``mean_document_tokens`` and ``begun`` added: the command
        (``write`` or ``append``) of the command line that has begun something there and not published it.

    Raises
    ------
    ArtifactError
        If there is no dataset, or it is damaged or of a newer format.
    InputError
        If it may not be read, or a server cannot be reached.
    """
    address = str(directory)
    begun = None
    if is_url(address) and local_path(address) is None:
        from corpuskit.shards.remote import load_remote_manifest

        manifest, address = load_remote_manifest(address, allow_incomplete=True), redact(address)
    else:
        address = local_path(address) or address
        manifest, begun = load_manifest(address, allow_incomplete=True), unfinished_call(address)
    mean = manifest.num_tokens / manifest.num_documents if manifest.num_documents else 0.0
    return {
        "directory": address,
        **manifest.to_dict(),
        "num_shards": len(manifest.shards),
        "mean_document_tokens": mean,
        "begun": begun,
    }


def unfinished_call(directory: str | os.PathLike) -> str | None:
    """The command of the command line (``write``, ``append``) whose unpublished work lies in `directory`."""
    work = Path(directory) / WORK_NAME
    try:
        return str(json.loads((work / CALL_NAME).read_bytes())["operation"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return "write" if work.is_dir() else None


def _parse(stored: Any, path: Path) -> Manifest:
    if not isinstance(stored, dict):
        raise _damaged(path, "not a JSON object")
    version = _take(stored, "format_version", int, path)
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"the dataset has format version {version}; this corpuskit reads up to {FORMAT_VERSION}",
            where=str(path),
            hint="upgrade corpuskit",
        )
    if version < 1:
        raise _damaged(path, f"format_version {version} does not exist")
    end_of_document = _take(stored, "end_of_document", str, path)
    if end_of_document not in get_args(EndOfDocument):
        raise _damaged(path, f"end_of_document {end_of_document!r} is not one of {get_args(EndOfDocument)}")
    manifest = Manifest(
        tokenizer=_parse_tokenizer(_take(stored, "tokenizer", dict, path), path),
        end_of_document=end_of_document,  # type: ignore[arg-type]
        shards=tuple(_parse_shard(entry, path) for entry in _take(stored, "shards", list, path)),
        columns=_parse_columns(_take(stored, "columns", dict, path), path),
        provenance=_take(stored, "provenance", dict, path),
        complete=_take(stored, "complete", bool, path),
        operation=_parse_operation(stored.get("operation"), path),
    )
    waiting = () if manifest.operation is None else manifest.operation.waiting
    names = [shard.name for shard in (*manifest.shards, *waiting)]
    if len(set(names)) != len(names):
        raise _damaged(path, "a shard is listed twice")
    for key, expected in [
        ("dtype", manifest.dtype.name),
        ("documents", manifest.num_documents),
        ("tokens", manifest.num_tokens),
        ("bytes", manifest.num_bytes),
        ("fingerprint", manifest.fingerprint),
    ]:
        if _take(stored, key, type(expected), path) != expected:
            raise _damaged(path, f"{key} is {stored[key]!r} but the other fields make it {expected!r}")
    return manifest


def _parse_tokenizer(stored: dict, path: Path) -> TokenizerRecord:
    vocab_size = _take(stored, "vocab_size", int, path)
    end: int | None = None
    if stored.get("end_of_text_id", 0) is not None:
        end = _take(stored, "end_of_text_id", int, path)
    if not 0 < vocab_size <= 1 << 32 or (end is not None and not 0 <= end < vocab_size):
        raise _damaged(path, f"vocab_size {vocab_size} and end_of_text_id {end} do not fit together")
    return TokenizerRecord(_take(stored, "fingerprint", str, path), vocab_size, end)


def _parse_shard(stored: Any, path: Path) -> ShardEntry:
    if not isinstance(stored, dict):
        raise _damaged(path, "a shard entry is not an object")
    entry = ShardEntry(
        name=_take(stored, "name", str, path),
        rows=_take(stored, "rows", int, path),
        tokens=_take(stored, "tokens", int, path),
        bytes=_take(stored, "bytes", int, path),
        checksum=_take(stored, "checksum", str, path),
        structure=_take(stored, "structure", str, path),
    )
    if not _SHARD_NAME.fullmatch(entry.name) or min(entry.rows, entry.tokens, entry.bytes) < 0:
        raise _damaged(path, f"shard entry {entry} is impossible")
    return entry


def _parse_operation(stored: Any, path: Path) -> Operation | None:
    if stored is None:
        return None
    if not isinstance(stored, dict):
        raise _damaged(path, "operation is not an object")
    return Operation(
        name=_take(stored, "name", str, path),
        options=_take(stored, "options", dict, path),
        finished=_take(stored, "finished", bool, path),
        waiting=tuple(_parse_shard(entry, path) for entry in _take(stored, "waiting", list, path)),
    )


def _named(value: Any) -> str:
    return value.fingerprint if isinstance(value, TokenizerRecord) else short(value or "none")


def _parse_columns(stored: dict, path: Path) -> dict[str, str]:
    for name, kind in stored.items():
        if name in ("id", "tokens") or kind not in PARALLEL_TYPES:
            raise _damaged(path, f"parallel column {name!r} of type {kind!r} is impossible")
    return dict(stored)


PARALLEL_TYPES: Mapping[str, pa.DataType] = {
    "uint8": pa.uint8(), "int8": pa.int8(), "uint16": pa.uint16(), "int16": pa.int16(),
    "uint32": pa.uint32(), "int32": pa.int32(), "int64": pa.int64(), "float": pa.float32(),
}  # fmt: skip
"""Value types a parallel column may have: fixed width, so that it maps like the tokens do."""


def _take(stored: Mapping[str, Any], key: str, kind: type[_T], path: Path) -> _T:
    if key not in stored:
        raise _damaged(path, f"{key} is missing")
    value = stored[key]
    # bool is a subclass of int; `true` where a count belongs is damage all the same.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _damaged(path, f"{key} must be {kind.__name__}, not {value!r}")
    return value


def _damaged(path: Path, detail: str) -> ArtifactError:
    return ArtifactError(
        f"the dataset description is damaged: {detail}",
        where=str(path),
        hint="restore it from a copy, or write the dataset again",
    )
