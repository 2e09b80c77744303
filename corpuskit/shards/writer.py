"""Writing a token dataset: documents in, whole shards out.

A shard is buffered until the next document would take it past `shard_tokens` (2^27 by default:
256 MiB of `uint16`), then written under a temporary name, synced, renamed, and only then listed
in `dataset.json`. The manifest says ``complete`` only after `close`, so an exception or a kill
leaves a dataset that says it is incomplete and lists nothing but whole shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.files import atomic_path
from corpuskit.shards.encoding import EncodedDocuments, appended_id, encode, from_tokens
from corpuskit.shards.manifest import (
    MANIFEST_NAME,
    PARALLEL_TYPES,
    EndOfDocument,
    Manifest,
    TokenizerLike,
    TokenizerRecord,
    shard_name,
)
from corpuskit.shards.shardfile import describe_shard, require_choice, shard_schema, write_shard
from corpuskit.shards.word_starts import COLUMN, COLUMN_TYPE, WordCutter

DEFAULT_SHARD_TOKENS = 1 << 27

# `id` has 32-bit offsets, as every reader of Arrow strings expects; 1 GiB of ids stays clear of them.
_MAX_ID_BYTES = 1 << 30


class ShardBuffer:
    """Collects documents until a shard is full.

    A document goes into the current shard if it fits below `shard_tokens` or the shard is empty;
    so a shard is larger than the target only if a single document is, and shard borders depend on
    nothing but the sequence of documents.
    """

    def __init__(self, shard_tokens: int) -> None:
        self._shard_tokens = shard_tokens
        self._clear()

    def __len__(self) -> int:
        return self._rows

    def add(self, documents: EncodedDocuments) -> int:
        """Take as many leading documents as fit; return how many (0 if the shard is full)."""
        if not len(documents):
            return 0
        free = self._shard_tokens - self._tokens
        fit = int(np.searchsorted(documents.offsets, free, side="right")) - 1 if free >= 0 else 0
        id_ends = _id_offsets(documents.ids)
        fit_ids = int(np.searchsorted(id_ends, _MAX_ID_BYTES - self._id_bytes, side="right")) - 1
        taken = min(fit, fit_ids, len(documents))
        if taken == 0 and self._rows == 0:
            taken = 1
        if taken:
            self._parts.append(documents.slice(0, taken))
            self._rows += taken
            self._tokens += int(documents.offsets[taken])
            self._id_bytes += int(id_ends[taken])
        return taken

    def take(self) -> list[EncodedDocuments]:
        """The shard's documents; the buffer is empty afterwards."""
        parts = self._parts
        self._clear()
        return parts

    def _clear(self) -> None:
        self._parts: list[EncodedDocuments] = []
        self._rows = self._tokens = self._id_bytes = 0


class Writer:
    """Write documents as a token dataset.

    Parameters
    ----------
    directory : path-like
        Created; it must not hold a dataset already.
    tokenizer : corpuskit.vocab.Tokenizer
        Encodes the documents; its fingerprint is recorded and checked by readers.
    shard_tokens : int
        Target size of a shard in tokens.
    end_of_document : {"end_of_text", "none"}
        Append the tokenizer's end-of-text id to every document (default), or nothing.
    columns : Mapping[str, str], optional
        Parallel columns with one value per token, e.g. ``{"loss_mask": "uint8"}``; only
        `write_tokens` can fill them.
    segmenter : corpuskit.segment.Segmenter or PerceptronSegmenter, optional
        Marks the tokens that begin a word in the column ``word_starts`` of what `write` encodes.
    provenance : Mapping, optional
        Free JSON that is kept in `dataset.json`.

    Raises
    ------
    ArtifactError
        If the directory already holds a dataset.
    ConfigError
        If a parameter is impossible, or the tokenizer lacks the end-of-text id that is asked for.

    Examples
    --------
    >>> with Writer("out/", tokenizer=tokenizer) as writer:  # doctest: +SKIP
    ...     for batch in batches:
    ...         writer.write(batch)
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        tokenizer: TokenizerLike,
        shard_tokens: int = DEFAULT_SHARD_TOKENS,
        end_of_document: EndOfDocument = "end_of_text",
        columns: Mapping[str, str] | None = None,
        segmenter: WordCutter | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        columns = dict(columns or {}) | ({} if segmenter is None else {COLUMN: COLUMN_TYPE})
        require_shard_tokens(shard_tokens)
        require_choice("end_of_document", end_of_document, get_args(EndOfDocument))
        appended_id(tokenizer, end_of_document)
        _require_columns(columns)
        self.directory = Path(directory)
        _require_no_dataset(self.directory)
        self._tokenizer = tokenizer
        self._segmenter = segmenter
        self._buffer = ShardBuffer(shard_tokens)
        self._open = True
        self._manifest = Manifest(
            TokenizerRecord.of(tokenizer),
            end_of_document,
            columns=columns,
            provenance=dict(provenance or {}),
        )
        self._schema = shard_schema(self._manifest)
        self._manifest.save(self.directory)

    @property
    def manifest(self) -> Manifest:
        """What has been published so far."""
        return self._manifest

    def write(self, documents: pa.RecordBatch | pa.Table) -> None:
        """Encode and append documents (`id` and `text`; other columns are not stored)."""
        self._require_open()
        if set(self._manifest.columns) - (set() if self._segmenter is None else {COLUMN}):
            raise ConfigError(
                "parallel columns cannot be made from text",
                where="columns",
                hint="encode the documents yourself and use write_tokens",
            )
        for batch in _batches(documents):
            self._append(encode(batch, self._tokenizer, self._manifest.end_of_document, self._segmenter))

    def write_tokens(self, documents: pa.RecordBatch | pa.Table) -> None:
        """Append documents that are encoded already: `id`, `tokens`, and the parallel columns.

        `tokens` holds lists of integers without an end-of-text id: the policy adds it here too,
        with the value 1 in every parallel column.
        """
        self._require_open()
        for batch in _batches(documents):
            policy = self._manifest.end_of_document
            self._append(from_tokens(batch, self._tokenizer, policy, self._manifest.columns))

    def close(self) -> Manifest:
        """Publish the last shard and mark the dataset complete."""
        self._require_open()
        if len(self._buffer):
            self._publish()
        self._manifest = replace(self._manifest, complete=True)
        self._manifest.save(self.directory)
        self._open = False
        return self._manifest

    def abort(self) -> None:
        """Stop without marking the dataset complete; documents of the unfinished shard are lost."""
        self._buffer.take()
        self._open = False

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._open:
            self.close()

    def _append(self, documents: EncodedDocuments) -> None:
        while len(documents):
            taken = self._buffer.add(documents)
            if taken < len(documents):
                self._publish()
            documents = documents.slice(taken, len(documents))

    def _publish(self) -> None:
        name = shard_name(len(self._manifest.shards))
        path = self.directory / name
        try:
            with atomic_path(path) as temporary:
                write_shard(temporary, self._schema, self._buffer.take())
            self._manifest = self._manifest.with_shard(describe_shard(path, name))
            self._manifest.save(self.directory)
        except BaseException:
            self.abort()  # the shard's documents are gone: going on would lose them in silence
            raise

    def _require_open(self) -> None:
        if not self._open:
            raise ConfigError("the writer is closed", where=str(self.directory))


def require_shard_tokens(shard_tokens: int) -> None:
    """Raise `ConfigError` unless `shard_tokens` is a positive integer."""
    if isinstance(shard_tokens, bool) or not isinstance(shard_tokens, int) or shard_tokens < 1:
        raise ConfigError(f"{shard_tokens!r} is not a positive whole number", where="shard_tokens")


def _require_columns(columns: Mapping[str, str]) -> None:
    for name, kind in columns.items():
        if name in ("id", "tokens") or kind not in PARALLEL_TYPES:
            raise ConfigError(
                f"parallel column {name!r} of type {kind!r} is not possible",
                where="columns",
                hint=f"types are {', '.join(PARALLEL_TYPES)}; 'id' and 'tokens' are taken",
            )


def _require_no_dataset(directory: Path) -> None:
    if (directory / MANIFEST_NAME).exists() or any(directory.glob("shard-*.arrow")):
        raise ArtifactError(
            "the directory already holds a token dataset",
            where=str(directory),
            hint="choose another directory, or delete this one first",
        )


def _batches(documents: pa.RecordBatch | pa.Table) -> Iterator[pa.RecordBatch]:
    if isinstance(documents, pa.Table):
        yield from documents.to_batches()
    else:
        yield documents


def _id_offsets(ids: pa.StringArray) -> np.ndarray:
    """Where each id ends, in bytes from the start of this (possibly sliced) array; first 0."""
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    return offsets - offsets[0]
