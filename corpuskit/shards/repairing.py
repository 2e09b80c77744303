"""Make a damaged dataset whole again: from a copy, from its documents, or without the bad shards.

A shard is put back only if it has the checksum that the manifest records, so a repaired dataset is the one
that was written. What cannot be put back is dropped only when that is asked for; what is lost is
returned, and recorded in `dataset.json`. A dropped shard's file is kept under another name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.files import atomic_path, checksum
from corpuskit.shards.directories import (
    full_disk_hint,
    lock_directory,
    remove_stale_sidecars,
    remove_temporaries_here,
    require_local,
)
from corpuskit.shards.encoding import EncodedDocuments, encode
from corpuskit.shards.manifest import (
    Manifest,
    Operation,
    ShardEntry,
    TokenizerLike,
    load_manifest,
)
from corpuskit.shards.shardfile import map_shard, shard_schema, write_shard
from corpuskit.shards.sources import document_batches
from corpuskit.shards.verification import check_ids, verify_shard
from corpuskit.shards.word_starts import COLUMN, WordCutter

_DROPPED_PREFIX = "dropped-"


@dataclass(frozen=True)
class LostShard:
    """A shard that is no longer part of the dataset.

    Attributes
    ----------
    name : str
    documents, tokens : int
        As the manifest recorded them.
    ids : tuple of str or None
        Of its documents, where they could be read.
    """

    name: str
    documents: int
    tokens: int
    ids: tuple[str, ...] | None


@dataclass(frozen=True)
class RepairResult:
    """What `repair` did.

    Attributes
    ----------
    manifest : Manifest
        As it is now.
    restored : tuple of str
        Shards that were put back, byte for byte.
    lost : tuple of LostShard
        Shards that were dropped, damaged ones or those of an append that was given up.
    set_aside : tuple of str
        Files that were renamed, as they are called now.
    """

    manifest: Manifest
    restored: tuple[str, ...] = ()
    lost: tuple[LostShard, ...] = ()
    set_aside: tuple[str, ...] = ()


def repair(
    dataset: str | os.PathLike,
    *,
    source: str | os.PathLike | None = None,
    documents: Any = None,
    tokenizer: TokenizerLike | None = None,
    segmenter: WordCutter | None = None,
    drop: bool = False,
    text: str = "text",
    id: str | None = None,
    id_source: str = "documents",
) -> RepairResult:
    """Put damaged shards back, or drop them.

    Interrupted, the same call goes on. A dataset without problems is left as it is.

    Parameters
    ----------
    dataset : path-like
    source : path-like, optional
        A copy of the dataset, itself perhaps damaged elsewhere, or another dataset that holds the same shards
        (such as one it was merged from): files of the recorded checksum are copied. It also gives a
        `dataset.json` that is damaged here.
    documents : optional
        The documents the dataset was written from, all of them in the same order, as for
        `corpuskit.shards.write`: those of damaged shards are encoded again.
    tokenizer : corpuskit.vocab.Tokenizer, optional
        For `documents`.
    segmenter : corpuskit.segment.Segmenter or PerceptronSegmenter, optional
        For `documents`, where there is a column ``word_starts``.
    drop : bool
        Drop what is still damaged, give up an append that did not finish, set files aside that
        the manifest does not know, and call a dataset complete that was not written to its end.
    text, id, id_source : str
        Columns of `documents`, and `source` of made ids; see `corpuskit.shards.write`.

    Returns
    -------
    RepairResult

    Raises
    ------
    ArtifactError
        If something stays damaged, naming it. What could be put back is in place.
    MismatchError
        If `documents` or `tokenizer` are not those the dataset was written from.
    ConfigError
        If parameters do not fit together.
    ResourceError
        If the disk is full.
    """
    directory = require_local(dataset)
    copy = None if source is None else require_local(source)
    if (documents is None) != (tokenizer is None):
        raise ConfigError("documents and tokenizer belong together", where="documents")
    if copy is not None and copy.resolve() == directory.resolve():
        raise ConfigError(f"{source} is the dataset itself", where="source")
    if not directory.is_dir():
        load_manifest(directory)
    lock = lock_directory(directory)
    try:
        with full_disk_hint("run the same repair again"):
            remove_temporaries_here(directory)
            manifest = _manifest(directory, copy)
            bad = _bad_shards(directory, manifest)
            restored = [] if copy is None else _from_copy(directory, bad, copy)
            bad = [entry for entry in bad if entry.name not in restored]
            if tokenizer is not None and bad:
                manifest.require_tokenizer(tokenizer, str(directory))
                batches = document_batches(documents, text=text, id=id, source=id_source)
                made = _from_documents(directory, manifest, bad, batches, tokenizer, segmenter)
                restored += made
                bad = [entry for entry in bad if entry.name not in made]
            result = RepairResult(manifest, tuple(restored))
            if drop:
                return _drop(directory, manifest, bad, result)
    finally:
        if lock is not None:
            os.close(lock)
    if bad:
        raise ArtifactError(
            f"{len(bad)} shards stay damaged, {len(restored)} were restored: "
            + ", ".join(entry.name for entry in bad[:10])
            + (" …" if len(bad) > 10 else ""),
            where=str(directory),
            hint="give a copy or the documents, or drop what cannot be restored",
        )
    if not manifest.complete:
        load_manifest(directory)  # says that it is incomplete, and what to do
    return result


def _manifest(directory: Path, copy: Path | None) -> Manifest:
    try:
        return load_manifest(directory, allow_incomplete=True)
    except ArtifactError:
        if copy is None:
            raise
    manifest = load_manifest(copy, allow_incomplete=True)
    manifest.save(directory)
    return manifest


def _bad_shards(directory: Path, manifest: Manifest) -> list[ShardEntry]:
    return [e for e in manifest.shards if verify_shard(directory / e.name, e, manifest)[1]]


def _from_copy(directory: Path, bad: Iterable[ShardEntry], copy: Path) -> list[str]:
    """Copy the shards that `copy` has whole; return their names."""
    stored = load_manifest(copy, allow_incomplete=True)
    restored = []
    for entry in bad:
        for other in stored.shards:
            path = copy / other.name
            if other.checksum != entry.checksum or not path.exists() or checksum(path) != entry.checksum:
                continue
            with atomic_path(directory / entry.name) as temporary:
                shutil.copyfile(path, temporary)
            if checksum(directory / entry.name) == entry.checksum:
                restored.append(entry.name)
                break
    return restored


def _from_documents(
    directory: Path,
    manifest: Manifest,
    bad: Iterable[ShardEntry],
    batches: Iterator[pa.RecordBatch],
    tokenizer: TokenizerLike,
    segmenter: WordCutter | None,
) -> list[str]:
    """Encode the documents of bad shards again; return the names of those that came out the same."""
    if set(manifest.columns) - (set() if segmenter is None else {COLUMN}):
        raise ConfigError(
            "the dataset has parallel columns that cannot be made from text",
            where="documents",
            hint="give the segmenter for word_starts, or a copy of the dataset",
        )
    names = {entry.name for entry in bad}
    ranges, first = [], 0
    for entry in manifest.shards:
        if entry.name in names and entry.rows:
            ranges.append((first, first + entry.rows, entry))
        first += entry.rows
    restored, parts, position = [], list[EncodedDocuments](), 0
    for batch in batches:
        while ranges and ranges[0][0] < position + batch.num_rows:
            start, stop, entry = ranges[0]
            begin = max(0, start - position)
            piece = batch.slice(begin, min(stop - position, batch.num_rows) - begin)
            parts.append(encode(piece, tokenizer, manifest.end_of_document, segmenter))
            if stop > position + batch.num_rows:
                break
            _write_same(directory / entry.name, manifest, entry, parts)
            restored.append(entry.name)
            parts = []
            ranges.pop(0)
        position += batch.num_rows
        if not ranges:
            break
    return restored


def _write_same(path: Path, manifest: Manifest, entry: ShardEntry, parts: list[EncodedDocuments]) -> None:
    with atomic_path(path) as temporary:
        if write_shard(temporary, shard_schema(manifest), parts) != entry.checksum:
            raise MismatchError(
                "the documents do not give the shard that was written: they are others, or in another order",
                where=str(path),
                hint="give all documents the dataset was written from, with the same ids and segmenter, or "
                "drop the shard",
            )


def _drop(directory: Path, manifest: Manifest, bad: list[ShardEntry], result: RepairResult) -> RepairResult:
    names = {entry.name for entry in bad}
    waiting = () if manifest.operation is None else manifest.operation.waiting
    lost = [_lost(directory, entry) for entry in (*bad, *waiting)]
    kept = tuple(entry for entry in manifest.shards if entry.name not in names)
    changed = bool(bad) or manifest.is_appending or not manifest.complete
    if changed:
        dropped = [*manifest.provenance.get("dropped", ()), *_records(manifest, bad)]
        options = {"dropped": [entry.checksum for entry in bad], "complete": manifest.complete}
        manifest = replace(
            manifest,
            shards=kept,
            provenance={**manifest.provenance, "dropped": dropped},
            complete=True,
            operation=Operation("repair", options, finished=True),
        )
        manifest.save(directory)
    aside = []
    listed = {entry.name for entry in kept}
    for path in sorted(directory.glob("shard-*.arrow")):
        if path.name not in listed:
            target = path.with_name(f"{_DROPPED_PREFIX}{path.name}")
            path.replace(target)
            aside.append(target.name)
    remove_stale_sidecars(directory, manifest.fingerprint)
    return replace(result, manifest=manifest, lost=tuple(lost), set_aside=tuple(aside))


def _records(manifest: Manifest, bad: list[ShardEntry]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [
        {"shard": e.name, "documents": e.rows, "tokens": e.tokens, "checksum": e.checksum} for e in bad
    ]
    if not manifest.complete:
        records.append({"unfinished": "what its writer had not written"})
    if manifest.is_appending:
        records.append({"unfinished": "an append"})
    return records


def _lost(directory: Path, entry: ShardEntry) -> LostShard:
    path = directory / entry.name
    ids: tuple[str, ...] | None = None
    try:
        shard = map_shard(path, structure=True)  # offsets that are wrong must not be followed
        check_ids(path, shard)
        ids = tuple(shard.ids.to_pylist())
    except ArtifactError:
        pass
    return LostShard(entry.name, entry.rows, entry.tokens, ids)
