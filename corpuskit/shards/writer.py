"""Writing a token dataset: documents in, whole shards out.

`Writer` encodes what it is given and hands it to a `ShardPublisher`, which says when a shard is full, how
an interrupted dataset goes on, and why nothing that is not whole ever looks so. `write` and `append`
take the documents from any library that speaks Arrow (`sources`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import pyarrow as pa

from corpuskit.errors import ConfigError
from corpuskit.shards.encoding import EncodedDocuments, appended_id, encode, from_tokens, ids_of
from corpuskit.shards.manifest import (
    PARALLEL_TYPES,
    EndOfDocument,
    Manifest,
    Operation,
    TokenizerLike,
    TokenizerRecord,
    load_manifest,
)
from corpuskit.shards.publishing import DEFAULT_SHARD_TOKENS, ShardPublisher, require_shard_tokens
from corpuskit.shards.shardfile import require_choice
from corpuskit.shards.sources import document_batches
from corpuskit.shards.word_starts import COLUMN, COLUMN_TYPE, WordCutter


class Writer:
    """Write documents as a token dataset, new or at the end of one.

    Parameters
    ----------
    directory : path-like
        Created; it must not hold a dataset already, unless `append` or `resume` is given.
    tokenizer : corpuskit.vocab.Tokenizer
        Encodes the documents; its fingerprint is recorded and checked by readers.
    shard_tokens : int
        Target size of a shard in tokens.
    end_of_document : {"end_of_text", "none"}, optional
        Append the tokenizer's end-of-text id to every document (default), or nothing. Default for
        `append`: what the dataset has.
    columns : Mapping[str, str], optional
        Parallel columns with one value per token, e.g. ``{"loss_mask": "uint8"}``; only
        `write_tokens` can fill them. Default for `append`: those of the dataset.
    segmenter : corpuskit.segment.Segmenter or PerceptronSegmenter, optional
        Marks the tokens that begin a word in the column ``word_starts`` of what `write` encodes.
    provenance : Mapping, optional
        Free JSON that is kept in `dataset.json`; with `append`, added to what is there.
    append : bool
        Add to a complete dataset of the same tokenizer. New shards come after the old ones. Until
        `close` it opens as it was before; then all new shards are in it at once.
    resume : bool
        Go on with what was interrupted, or begin. Give the same documents from the first one: those that
        are in already (`num_known` of them) are passed over unread, and their ids compared. What was
        finished is not done again. `skip` says that the caller leaves them out himself.
    threads : int
        Threads that encode; the dataset does not depend on it.

    Raises
    ------
    ArtifactError
        If the directory already holds a dataset, or none that can be appended to.
    MismatchError
        If the dataset was written with another tokenizer, policy, columns or `shard_tokens`, or other
        documents than before are given.
    ConfigError
        If a parameter is impossible, or the tokenizer lacks the end-of-text id that is asked for.
    ResourceError
        If the disk is full.
    LedgerError
        If another process is writing the dataset.

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
        end_of_document: EndOfDocument | None = None,
        columns: Mapping[str, str] | None = None,
        segmenter: WordCutter | None = None,
        provenance: Mapping[str, Any] | None = None,
        append: bool = False,
        resume: bool = False,
        threads: int = 1,
    ) -> None:
        self.directory = Path(directory)
        provenance = dict(provenance or {})
        if append:
            present = load_manifest(self.directory)
            present.require_tokenizer(tokenizer, str(self.directory))
            end_of_document = end_of_document or present.end_of_document
            columns = present.columns if columns is None else columns
            provenance = {**present.provenance, **provenance}
        end_of_document = end_of_document or "end_of_text"
        columns = dict(columns or {}) | ({} if segmenter is None else {COLUMN: COLUMN_TYPE})
        require_shard_tokens(shard_tokens)
        require_choice("end_of_document", end_of_document, get_args(EndOfDocument))
        appended_id(tokenizer, end_of_document)
        _require_columns(columns)
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ConfigError(f"{threads!r} is not a positive whole number", where="threads")
        self._tokenizer = tokenizer
        self._segmenter = segmenter
        self._threads = threads
        wanted = Manifest(
            TokenizerRecord.of(tokenizer),
            end_of_document,
            columns=columns,
            provenance=provenance,
            operation=Operation("append" if append else "write", {"shard_tokens": shard_tokens}),
        )
        self._publisher = ShardPublisher(
            self.directory, wanted, shard_tokens=shard_tokens, append=append, resume=resume
        )

    @property
    def manifest(self) -> Manifest:
        """What has been published so far."""
        return self._publisher.manifest

    @property
    def num_known(self) -> int:
        """With `resume`: how many of the documents to come are in already."""
        return self._publisher.num_known

    def skip(self, count: int) -> None:
        """Say that the first `count` of the documents that are in already will not be given again.

        Raises
        ------
        ConfigError
            If fewer than `count` are in.
        """
        self._publisher.skip(count)

    def write(self, documents: pa.RecordBatch | pa.Table) -> None:
        """Encode and append documents (`id` and `text`; other columns are not stored)."""
        self._require_open()
        if set(self.manifest.columns) - (set() if self._segmenter is None else {COLUMN}):
            raise ConfigError(
                "parallel columns cannot be made from text",
                where="columns",
                hint="encode the documents yourself and use write_tokens, or give the segmenter",
            )
        for batch in _batches(documents):
            self._append(batch, self._encode)

    def write_tokens(self, documents: pa.RecordBatch | pa.Table) -> None:
        """Append documents that are encoded already: `id`, `tokens`, and the parallel columns.

        `tokens` holds lists of integers without an end-of-text id: the policy adds it here too,
        with the value 1 in every parallel column.
        """
        self._require_open()
        for batch in _batches(documents):
            self._append(batch, self._take_tokens)

    def close(self) -> Manifest:
        """Publish the last shard and mark the dataset complete."""
        self._require_open()
        return self._publisher.close()

    def abort(self) -> None:
        """Stop without marking the dataset complete; documents of the unfinished shard are lost."""
        self._publisher.abort()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._publisher.is_open:
            self.close()

    def _append(self, batch: pa.RecordBatch, encoded: Any) -> None:
        if self._publisher.may_know:
            batch = batch.slice(self._publisher.pass_over(ids_of(batch)))
        if batch.num_rows:
            self._publisher.add(encoded(batch))

    def _encode(self, batch: pa.RecordBatch) -> EncodedDocuments:
        policy = self.manifest.end_of_document
        return encode(batch, self._tokenizer, policy, self._segmenter, threads=self._threads)

    def _take_tokens(self, batch: pa.RecordBatch) -> EncodedDocuments:
        return from_tokens(batch, self._tokenizer, self.manifest.end_of_document, self.manifest.columns)

    def _require_open(self) -> None:
        if not self._publisher.is_open:
            raise ConfigError("the writer is closed", where=str(self.directory))


def write(
    documents: Any,
    directory: str | os.PathLike,
    *,
    tokenizer: TokenizerLike,
    text: str = "text",
    id: str | None = None,
    source: str = "documents",
    **options: Any,
) -> Manifest:
    """Write documents of any library that speaks Arrow as a token dataset.

    Parameters
    ----------
    documents
        A pyarrow Table, RecordBatch, RecordBatchReader or Dataset; a Dataset or IterableDataset of
        Hugging Face `datasets`; a Polars DataFrame or LazyFrame; a DuckDB relation; any other object
        with ``__arrow_c_stream__`` or ``__arrow_c_array__``; or an iterable of any of these.
        What streams is never held whole.
    directory : path-like
    tokenizer : corpuskit.vocab.Tokenizer
    text : str
        Name of the column with the texts.
    id : str, optional
        Name of the column with the documents' ids: strings, or what casts to them. By default the
        column ``id`` where there is one; else ids are made of `source` and the document's number from 0
        by `corpuskit.documents.document_id` (XXH3-128 of ``"source\\0number"``).
    source : str
        What the made ids are of; give different ones to what will be merged.
    **options
        Of `Writer`: `shard_tokens`, `end_of_document`, `segmenter`, `provenance`, `resume`, `threads`, …

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If `documents` is none of these, has no such column, or a text or id is null.
    CorpuskitError
        As `Writer`.
    """
    batches = document_batches(documents, text=text, id=id, source=source)
    first = next(batches, None)  # what cannot be read is refused before a directory is made
    with Writer(directory, tokenizer=tokenizer, **options) as writer:
        for batch in () if first is None else itertools.chain([first], batches):
            writer.write(batch)
    return writer.manifest


def append(
    documents: Any, directory: str | os.PathLike, *, tokenizer: TokenizerLike, **options: Any
) -> Manifest:
    """Append documents to a complete token dataset; parameters and errors as of `write`.

    Until it returns the dataset opens as it was before. An `append` that was interrupted leaves its whole
    shards waiting: the same call with ``resume=True`` goes on, and is done only once.
    Where ids are made, give another `source` than before.
    """
    return write(documents, directory, tokenizer=tokenizer, append=True, **options)


def _require_columns(columns: Mapping[str, str]) -> None:
    for name, kind in columns.items():
        if name in ("id", "tokens") or kind not in PARALLEL_TYPES:
            raise ConfigError(
                f"parallel column {name!r} of type {kind!r} is not possible",
                where="columns",
                hint=f"types are {', '.join(PARALLEL_TYPES)}; 'id' and 'tokens' are taken",
            )


def _batches(documents: pa.RecordBatch | pa.Table) -> Iterator[pa.RecordBatch]:
    if isinstance(documents, pa.Table):
        yield from documents.to_batches()
    else:
        yield documents
