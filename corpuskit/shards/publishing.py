"""Encoded documents into the whole shards of a dataset: what `Writer`, `split` and `reshard` have in common.

A shard is buffered until the next document would take it past `shard_tokens` (2^27 by default:
256 MiB of `uint16`), then written under a temporary name, synced, renamed, and only then listed
in `dataset.json`. That happens in a thread, one shard at a time, so the disk works while the next
shard is encoded. Where shards end depends on nothing but the sequence of documents; so one that was
interrupted goes on after its last whole shard, given the same documents, with the same bytes.

A new dataset says it is incomplete until it is closed. While a complete one is appended to, it opens
as it was before: the new shards wait in the manifest's operation, and the last write lists them all.
"""

from __future__ import annotations

import os
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.files import atomic_path
from corpuskit.shards.directories import (
    full_disk_hint,
    lock_directory,
    make_directory,
    remove_stale_sidecars,
    remove_temporaries_here,
    require_no_dataset,
)
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.manifest import MANIFEST_NAME, Manifest, load_manifest
from corpuskit.shards.resuming import KnownDocuments
from corpuskit.shards.shardfile import describe_shard, shard_schema, write_shard

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
        offsets = documents.shard_offsets
        fit = int(np.searchsorted(offsets, free, side="right")) - 1 if free >= 0 else 0
        id_ends = _id_offsets(documents.ids)
        fit_ids = int(np.searchsorted(id_ends, _MAX_ID_BYTES - self._id_bytes, side="right")) - 1
        taken = min(fit, fit_ids, len(documents))
        if taken == 0 and self._rows == 0:
            taken = 1
        if taken:
            self._parts.append(documents.slice(0, taken))
            self._rows += taken
            self._tokens += int(offsets[taken])
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


class ShardPublisher:
    """Makes a dataset, or appends to one, shard by shard.

    Parameters
    ----------
    directory : path-like
    manifest : Manifest
        Tokenizer, policy, columns and provenance, without shards; `operation` says what is being done.
    shard_tokens : int
    append : bool
        Add to the complete dataset that is there; it must have the layout of `manifest`.
    resume : bool
        Go on with the same operation that was interrupted, or begin it.
    again : str
        How a call that found the disk full goes on, for the error.

    Raises
    ------
    ArtifactError
        If `directory` holds a dataset and neither `append` nor `resume` is given, or what it holds
        is not complete, for `append`.
    MismatchError
        If what was interrupted was another operation, or (`append`) the layout differs.
    LedgerError
        If another process is writing the dataset.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        manifest: Manifest,
        *,
        shard_tokens: int,
        append: bool = False,
        resume: bool = False,
        again: str = "give the same documents again with resume=True",
    ) -> None:
        if manifest.operation is None:
            raise ConfigError("the manifest names no operation", where="operation")
        self.directory = Path(directory)
        self._operation = manifest.operation
        self._provenance = manifest.provenance
        self._again = again
        self._buffer = ShardBuffer(shard_tokens)
        self._schema = shard_schema(manifest)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="corpuskit-shard")
        self._writing: Future[None] | None = None
        self._known = KnownDocuments(self.directory, manifest, ())
        self._begun = True
        make_directory(self.directory)
        lock = lock_directory(self.directory)
        # A writer that is forgotten without being closed must not hold its dataset.
        self._unlock = weakref.finalize(self, _close, lock)
        self.is_open = True
        try:
            with self._full_disk_hint():
                self._manifest = self._start(manifest, append, resume)
        except BaseException:
            self._release()
            raise

    @property
    def manifest(self) -> Manifest:
        """What has been published so far."""
        return self._manifest

    @property
    def num_known(self) -> int:
        """Documents that are in already and were not passed over yet."""
        return self._known.remaining

    @property
    def may_know(self) -> bool:
        """Whether some of the documents to come may be in already."""
        return not self._begun or self.num_known > 0

    @property
    def is_finished(self) -> bool:
        """Whether the same operation was finished before, so that there is nothing to write."""
        return self._manifest.operation is not None and self._manifest.operation.finished

    def pass_over(self, ids: pa.StringArray) -> int:
        """How many documents at the head of `ids` are in already; they are not to be added again.

        Raises
        ------
        MismatchError
            If another document stands in its place.
        """
        if not self._begun and len(ids):
            self._begin_append(ids[0].as_py())
        return self._known.pass_over(ids)

    def skip(self, count: int) -> None:
        """The caller begins `count` documents further on; they must be in already."""
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= self.num_known:
            raise ConfigError(
                f"{count!r} documents cannot be left out; {self.num_known} are in already", where="count"
            )
        self._known.skip(count)

    def add(self, documents: EncodedDocuments) -> None:
        """Append documents; those that are in already are passed over."""
        passed = self.pass_over(documents.ids)
        documents = documents.slice(passed, len(documents))
        if len(documents) and self.is_finished:
            raise ArtifactError(
                f"the dataset is complete with {self._manifest.num_documents} documents, and more are given",
                where=str(self.directory),
                hint="append them",
            )
        while len(documents):
            taken = self._buffer.add(documents)
            if taken < len(documents):
                self._publish()
            documents = documents.slice(taken, len(documents))

    def close(self) -> Manifest:
        """Publish the last shard, and make everything part of the complete dataset."""
        try:
            if self.num_known:
                raise MismatchError(
                    f"the documents ended {self.num_known} before the end of those that are in already",
                    where=str(self.directory),
                    hint="give the same documents, from the first one, as when it was interrupted",
                )
            if len(self._buffer):
                self._publish()
            self._wait()
            if not self.is_finished and self._begun:
                finished = self._manifest.finish()
                with self._full_disk_hint():
                    finished.save(self.directory)
                self._manifest = finished
                remove_stale_sidecars(self.directory, finished.fingerprint)
        except BaseException:
            self.abort()
            raise
        self._release()
        return self._manifest

    def abort(self) -> None:
        """Stop; documents of the unfinished shard are lost, whole shards stay for a resumption."""
        self._buffer.take()
        if not self.is_open:
            return
        if self._writing is not None:
            self._writing.exception()  # it ends by itself, well or not; `add` or `close` reports errors
            self._writing = None
        self._release()

    def _start(self, manifest: Manifest, append: bool, resume: bool) -> Manifest:
        operation = self._operation
        remove_temporaries_here(self.directory)
        if not (self.directory / MANIFEST_NAME).exists():
            if append:
                load_manifest(self.directory)  # says that there is no dataset
            require_no_dataset(self.directory)
            manifest.save(self.directory)
            return manifest
        stored = load_manifest(self.directory, allow_incomplete=not append)
        if append:
            stored.require_same_layout(manifest, str(self.directory))
            if not stored.is_appending:
                return self._before_append(stored, resume)
        elif not resume:
            require_no_dataset(self.directory)
        before = stored.operation
        if not resume:
            raise ArtifactError(
                f"an append did not finish ({len(before.waiting) if before else 0} whole shards wait)",
                where=str(self.directory),
                hint="give the same documents with resume=True, or drop it: `corpuskit shards repair --drop`",
            )
        if append and before is not None:  # where it began is the dataset's, not the caller's, to say
            operation = replace(operation, options={**operation.options, "from": before.options.get("from")})
        if before is None or not before.is_same(operation):
            raise MismatchError(
                "the dataset was begun in another way: "
                + ("it does not say how" if before is None else before.difference(operation)),
                where=str(self.directory),
                hint="go on with the same options, or choose another directory",
            )
        if not append:
            stored.require_same_layout(manifest, str(self.directory))
        self._operation = operation
        self._known = KnownDocuments(self.directory, stored, before.waiting if append else stored.shards)
        return stored

    def _before_append(self, stored: Manifest, resume: bool) -> Manifest:
        """A complete dataset that is to be appended to: at once, or when the first document shows whether
        this append was not finished before."""
        last = stored.operation
        if resume and last is not None and last.name == "append":
            options = {**self._operation.options, "from": last.options.get("from")}
            same = last.is_same(replace(self._operation, options=options))
            if same and isinstance(last.options.get("from"), int):
                self._begun = False
                return stored
        return self._begin(stored)

    def _begin_append(self, first_id: str) -> None:
        """Decide by the first document whether this is the append that was finished last."""
        self._begun = True
        last = self._manifest.operation
        first = len(self._manifest.shards) if last is None else last.options["from"]
        known = KnownDocuments(self.directory, self._manifest, self._manifest.shards[first:])
        if known.first_id() == first_id:
            self._known = known
        else:
            self._manifest = self._begin(self._manifest)

    def _begin(self, stored: Manifest) -> Manifest:
        options = {**self._operation.options, "from": len(stored.shards)}
        operation = replace(self._operation, options=options)
        begun = replace(stored, operation=operation, provenance=self._provenance)
        begun.save(self.directory)
        return begun

    def _publish(self) -> None:
        self._wait()
        self._writing = self._pool.submit(self._write, self._buffer.take())

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            with self._full_disk_hint():
                try:
                    writing.result()
                except BaseException:
                    self.abort()  # the shard's documents are gone: going on would lose them in silence
                    raise

    def _write(self, documents: list[EncodedDocuments]) -> None:
        name = self._manifest.next_shard_name
        path = self.directory / name
        with atomic_path(path) as temporary:
            file_checksum = write_shard(temporary, self._schema, documents)
        updated = self._manifest.with_shard(describe_shard(path, name, file_checksum))
        updated.save(self.directory)
        self._manifest = updated

    def _release(self) -> None:
        self.is_open = False
        self._pool.shutdown()
        self._unlock()

    def _full_disk_hint(self) -> AbstractContextManager[None]:
        return full_disk_hint(self._again)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def require_shard_tokens(shard_tokens: int) -> None:
    """Raise `ConfigError` unless `shard_tokens` is a positive integer."""
    if isinstance(shard_tokens, bool) or not isinstance(shard_tokens, int) or shard_tokens < 1:
        raise ConfigError(f"{shard_tokens!r} is not a positive whole number", where="shard_tokens")


def _id_offsets(ids: pa.StringArray) -> np.ndarray:
    """Where each id ends, in bytes from the start of this (possibly sliced) array; first 0."""
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    return offsets - offsets[0]
