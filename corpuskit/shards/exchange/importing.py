"""Token ids that others made, as a token dataset: from nanoGPT, llm.c, Megatron or Parquet files.

The tokenizer that made the ids must be at hand: its vocabulary bounds them, its end-of-text id is
where a bare stream is cut, and its fingerprint is what every later reader checks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from corpuskit.errors import ConfigError, InputError
from corpuskit.shards.directories import full_disk_hint, lock_directory
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.exchange.common import IncomingDocuments, IncomingFiles
from corpuskit.shards.exchange.megatron import MegatronFiles
from corpuskit.shards.exchange.nanogpt import TokenStreams
from corpuskit.shards.exchange.parquet import ParquetFiles
from corpuskit.shards.manifest import (
    MANIFEST_NAME,
    EndOfDocument,
    Manifest,
    TokenizerLike,
    load_manifest,
)
from corpuskit.shards.publishing import DEFAULT_SHARD_TOKENS
from corpuskit.shards.shardfile import require_choice
from corpuskit.shards.writer import Writer

_SUFFIXES = {"nanogpt": (".bin",), "llm.c": (".bin",), "megatron": (".idx",), "parquet": (".parquet",)}
IMPORT_FORMATS = tuple(_SUFFIXES)


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes
    ----------
    manifest : Manifest
        Of the dataset.
    files : tuple of Path
        That were read, in order.
    ends_added : int
        Documents that came without an end-of-text id and were given one.
    lost : tuple of str
        What is in the files and not in the dataset.
    """

    manifest: Manifest
    files: tuple[Path, ...]
    ends_added: int
    lost: tuple[str, ...]


def import_tokens(
    inputs: str | os.PathLike | Sequence[str | os.PathLike],
    directory: str | os.PathLike,
    format: str,
    *,
    tokenizer: TokenizerLike,
    end_of_document: str | None = None,
    separator_id: int | None = None,
    dtype: str | None = None,
    tokens_column: str | None = None,
    columns: Sequence[str] | None = None,
    shard_tokens: int = DEFAULT_SHARD_TOKENS,
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Make a token dataset of files that hold token ids.

    Interrupted or refused, it leaves an incomplete dataset, which the next import into `directory` replaces.
    Documents keep their ids where the files have them; otherwise an id is made of the file's path
    (below what the inputs have in common) and the document's number in it.

    Parameters
    ----------
    inputs : path-like or sequence of path-like
        Files, in the order of the stream; a directory stands for its files of the format, by name.
        For Megatron the ``.idx``, the ``.bin`` or the path without a suffix.
    directory : path-like
        Of the new dataset.
    format : {"nanogpt", "llm.c", "megatron", "parquet"}
        ``nanogpt`` and ``llm.c`` are read alike: a header is recognised.
    tokenizer : corpuskit.vocab.Tokenizer
        The one that made the ids.
    end_of_document : {"end_of_text", "none"}, optional
        Whether every document of the dataset ends with the end-of-text id. By default as the dataset
        was that the files were exported from, else ``end_of_text``. A document that ends with it
        already gets no second one.
    separator_id : int, optional
        Where nanoGPT and llm.c streams are cut; by default the tokenizer's end-of-text id.
    dtype : {"uint16", "uint32"}, optional
        Of raw nanoGPT files; by default as an export recorded it, else as the vocabulary needs.
    tokens_column : str, optional
        The Parquet column of ids; by default ``tokens``, ``input_ids``, ``token_ids`` or ``ids``.
    columns : sequence of str, optional
        Parquet columns to keep as parallel columns; by default those that an export put there.
    shard_tokens : int
        Target size of a shard in tokens.
    progress : callable, optional
        Called with the bytes of tokens dealt with since the last call.

    Returns
    -------
    Imported

    Raises
    ------
    InputError
        If a file is missing, truncated, damaged or of another format, or an id is outside the vocabulary.
    MismatchError
        If the files say that another tokenizer made their ids.
    ConfigError
        If a parameter is impossible or does not belong to the format.
    ArtifactError
        If `directory` holds a dataset already.
    ResourceError
        If the disk is full.
    """
    require_choice("format", format, IMPORT_FORMATS)
    if end_of_document is not None:
        require_choice("end_of_document", end_of_document, get_args(EndOfDocument))
    if dtype is not None:
        require_choice("dtype", dtype, ("uint16", "uint32"))
    _require_fitting(format, tokenizer.vocab_size, separator_id, dtype, tokens_column, columns)
    files = find_files(inputs, format)
    source: IncomingFiles
    try:
        if format == "parquet":
            source = ParquetFiles(files, tokenizer, tokens_column, columns)
        elif format == "megatron":
            source = MegatronFiles(files, tokenizer)
        else:
            source = TokenStreams(files, tokenizer, separator_id, dtype)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}",
            where=str(error.filename or files[0][0]),
            hint="check the file and its permissions",
        ) from error
    policy: Any = end_of_document or source.end_of_document or "end_of_text"
    provenance = {"imported": {"format": format, "files": [relative for _, relative in files]}}
    added = 0
    changed: set[str] = set()
    _clear_unfinished(Path(directory))
    with (
        full_disk_hint("run the same import again"),
        Writer(
            directory,
            tokenizer=tokenizer,
            shard_tokens=shard_tokens,
            end_of_document=policy,
            columns=source.columns,
            provenance=provenance,
        ) as writer,
    ):
        empty = True
        for incoming in source:
            _require_in_vocabulary(incoming, tokenizer.vocab_size)
            documents = incoming.documents
            if policy == "end_of_text" and isinstance(source, (MegatronFiles, ParquetFiles)):
                ending = np.flatnonzero(_ends_with(documents, tokenizer.end_of_text_id))
                added += len(documents) - len(ending)
                marks = documents.offsets[1:][ending] - 1
                changed |= {name for name, v in documents.columns.items() if (v[marks] != 1).any()}
                documents = _without_last(documents, ending)
            writer.write_tokens(_batch(documents))
            empty = False
            if progress is not None:
                progress(incoming.documents.tokens.nbytes)
        if empty:
            raise InputError("the files hold no documents", where=str(files[0][0]))
        manifest = writer.close()
    # The writer adds the id again, with 1 in every parallel column.
    set_to_one = [f"values other than 1 of {name} at the end-of-text id" for name in sorted(changed)]
    return Imported(manifest, tuple(path for path, _ in files), added, (*source.lost, *set_to_one))


def _clear_unfinished(directory: Path) -> None:
    """Remove what an import that did not finish left, so that it can be run again, rightly this time.

    Its shards are no use: whether the files and options were the same is not known.
    """
    if not (directory / MANIFEST_NAME).exists():
        return
    lock = lock_directory(directory)
    try:
        stored = load_manifest(directory, allow_incomplete=True)
        if stored.complete or "imported" not in stored.provenance:
            return
        for path in directory.glob("shard-*.arrow"):
            path.unlink()
        (directory / MANIFEST_NAME).unlink()
    finally:
        if lock is not None:
            os.close(lock)


def find_files(
    inputs: str | os.PathLike | Sequence[str | os.PathLike], format: str
) -> list[tuple[Path, str]]:
    """The files of an import, each with its path below what the inputs have in common.

    Raises
    ------
    InputError
        If there is no such file, or a directory has none of the format.
    """
    require_choice("format", format, IMPORT_FORMATS)
    paths: list[Path] = []
    for given in [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs:
        path = Path(os.path.abspath(given))  # noqa: PTH100 (a link stays the name it is)
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES[format] and p.is_file())
            if format == "nanogpt" and len(found) > 1:
                raise InputError(
                    f"the directory holds {len(found)} streams: {', '.join(p.name for p in found)}",
                    where=str(given),
                    hint="name the files that make one dataset; train and validation are two",
                )
            if not found:
                raise InputError(
                    f"the directory has no {' or '.join(_SUFFIXES[format])} files",
                    where=str(given),
                    hint="give the directory that holds them, or the files themselves",
                )
            paths += [p.with_suffix(".bin") for p in found] if format == "megatron" else found
        elif format == "megatron":
            name = path.stem if path.suffix in (".idx", ".bin") else path.name
            paths.append(path.with_name(f"{name}.bin"))
        elif path.is_file():
            paths.append(path)
        else:
            raise InputError("no such file or directory", where=str(given), hint="check the path")
    if not paths:
        raise InputError("no input files", where="inputs")
    root = os.path.commonpath([str(path.parent) for path in paths])
    return [(path, path.relative_to(root).as_posix()) for path in paths]


def _require_fitting(
    format: str,
    vocab_size: int,
    separator_id: int | None,
    dtype: str | None,
    tokens_column: str | None,
    columns: Sequence[str] | None,
) -> None:
    is_stream = format in ("nanogpt", "llm.c")
    for name, value, fits in [
        ("separator_id", separator_id, is_stream),
        ("dtype", dtype, is_stream),
        ("tokens_column", tokens_column, format == "parquet"),
        ("columns", columns or None, format == "parquet"),
    ]:
        if value is not None and not fits:
            raise ConfigError(f"{name} is not for files of {format}", where=name)
    if separator_id is not None and not 0 <= separator_id < vocab_size:
        raise ConfigError(f"{separator_id} is not in the vocabulary of {vocab_size}", where="separator_id")


def _require_in_vocabulary(incoming: IncomingDocuments, vocab_size: int) -> None:
    tokens = incoming.documents.tokens
    if not len(tokens) or (tokens.max() < vocab_size and tokens.min() >= 0):
        return
    first = int(np.argmax((tokens >= vocab_size) | (tokens < 0)))
    row = int(np.searchsorted(incoming.documents.offsets, first, side="right")) - 1
    position = first - int(incoming.documents.offsets[row])
    raise InputError(
        f"token id {tokens[first]} is outside the vocabulary of {vocab_size}",
        where=f"{incoming.path}: document {incoming.first + row}, token {position}",
        hint="give the tokenizer that made the ids; if it is the right one, the file has another dtype "
        "or is damaged",
    )


def _ends_with(documents: EncodedDocuments, end: int | None) -> np.ndarray:
    """For each document whether its last id is `end`."""
    filled = np.diff(documents.offsets) > 0
    last = np.zeros(len(documents), np.bool_)
    last[filled] = documents.tokens[documents.offsets[1:][filled] - 1] == end
    return last


def _without_last(documents: EncodedDocuments, rows: np.ndarray) -> EncodedDocuments:
    """`documents` with the last id of each of these rows taken off."""
    if not len(rows):
        return documents
    keep = np.ones(len(documents.tokens), np.bool_)
    keep[documents.offsets[1:][rows] - 1] = False
    shortened = np.zeros(len(documents) + 1, np.int64)
    shortened[rows + 1] = 1
    return replace(
        documents,
        offsets=documents.offsets - np.cumsum(shortened),
        tokens=documents.tokens[keep],
        columns={name: values[keep] for name, values in documents.columns.items()},
    )


def _batch(documents: EncodedDocuments) -> pa.RecordBatch:
    offsets = pa.array(documents.offsets, pa.int64())
    arrays = {"id": documents.ids, "tokens": documents.tokens, **documents.columns}
    return pa.RecordBatch.from_pydict({
        name: values if name == "id" else pa.LargeListArray.from_arrays(offsets, pa.array(values))
        for name, values in arrays.items()
    })  # fmt: skip
