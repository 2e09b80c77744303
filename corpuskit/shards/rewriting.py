"""The documents of a dataset in other shards: other sizes, or a part held out for validation.

Tokens are copied, not encoded again, a few million at a time, and every shard is checked whole before it
is read. One process does it: the work is reading and writing, some hundred MB/s, so more would wait
for the same disk; and what comes out depends on nothing but the documents and the options.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpuskit.errors import ConfigError
from corpuskit.shards.directories import copy_tokenizer, full_disk_hint, require_local
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.manifest import Manifest, Operation, load_manifest
from corpuskit.shards.publishing import DEFAULT_SHARD_TOKENS, ShardPublisher, require_shard_tokens
from corpuskit.shards.storage import id_hashes, stored_documents


@dataclass(frozen=True)
class SplitResult:
    """What `split` made.

    Attributes
    ----------
    train, validation : Manifest
    """

    train: Manifest
    validation: Manifest


def reshard(
    dataset: str | os.PathLike, out: str | os.PathLike, *, shard_tokens: int = DEFAULT_SHARD_TOKENS
) -> Manifest:
    """Write a dataset again with shards of another size.

    The documents, their order and everything else stay; the bytes are those that `Writer` would have
    written with this `shard_tokens`. Interrupted, the same call goes on after the last whole shard; finished,
    it is not done again.

    Parameters
    ----------
    dataset, out : path-like
    shard_tokens : int
        Target size of a shard in tokens.

    Returns
    -------
    Manifest
        Of `out`.

    Raises
    ------
    ArtifactError
        If the dataset is incomplete or damaged, or `out` holds another dataset.
    MismatchError
        If `out` was begun from another dataset or with other options.
    ConfigError
        If a parameter is impossible.
    ResourceError
        If the disk is full.
    """
    require_shard_tokens(shard_tokens)
    source, target = _places(dataset, out)
    manifest = load_manifest(source)
    options = {"dataset": manifest.fingerprint, "shard_tokens": shard_tokens}
    publisher = _publisher(target, manifest, "reshard", options, shard_tokens)
    with ExitStack() as stack:
        stack.enter_context(full_disk_hint("run the same reshard again"))
        stack.callback(publisher.abort)
        for documents in stored_documents(source, manifest):
            publisher.add(documents)
        copy_tokenizer(source, target, manifest.tokenizer.fingerprint)
        return publisher.close()


def split(
    dataset: str | os.PathLike,
    out: str | os.PathLike,
    *,
    validation: float = 0.01,
    seed: int = 0,
    shard_tokens: int = DEFAULT_SHARD_TOKENS,
) -> SplitResult:
    """Split a dataset into ``out/train`` and ``out/validation`` by a hash of each document's id.

    A document is for validation if the XXH3-64, with `seed`, of its id's UTF-8 bytes is below
    ``validation * 2**64``. So it stays on its side whatever is appended, dropped, merged or put in
    another order, and a larger share only moves documents from train to validation. The share of documents
    is `validation` within sampling error (sqrt(p (1 - p) / n)); that of tokens varies with their lengths.

    Parameters
    ----------
    dataset, out : path-like
    validation : float
        Share of the documents for validation, between 0 and 1.
    seed : int
        Another seed is another split; 0 to 2^64 - 1.
    shard_tokens : int
        Target size of a shard in tokens.

    Returns
    -------
    SplitResult

    Raises
    ------
    CorpuskitError
        As for `reshard`.
    """
    require_shard_tokens(shard_tokens)
    if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 < validation < 1:
        raise ConfigError(f"{validation!r} is not between 0 and 1", where="validation")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise ConfigError(f"{seed!r} is not a whole number from 0 to 2^64 - 1", where="seed")
    source, target = _places(dataset, out)
    manifest = load_manifest(source)
    options = {
        "dataset": manifest.fingerprint,
        "validation": float(validation),
        "seed": seed,
        "shard_tokens": shard_tokens,
    }
    threshold = np.uint64(int(float(validation) * 2.0**64))
    parts = ("train", "validation")
    with ExitStack() as stack:
        stack.enter_context(full_disk_hint("run the same split again"))
        publishers = []
        for part in parts:
            publisher = _publisher(target / part, manifest, "split", {**options, "part": part}, shard_tokens)
            stack.callback(publisher.abort)
            publishers.append(publisher)
        for documents in stored_documents(source, manifest):
            held_out = id_hashes(documents.ids, seed) < threshold
            for publisher, chosen in zip(publishers, (~held_out, held_out)):
                _add_chosen(publisher, documents, chosen)
        for part in parts:
            copy_tokenizer(source, target / part, manifest.tokenizer.fingerprint)
        train, held = (publisher.close() for publisher in publishers)
    return SplitResult(train, held)


def _add_chosen(publisher: ShardPublisher, documents: EncodedDocuments, chosen: np.ndarray) -> None:
    """Add some of `documents`; where all of those are in already, their tokens are not touched."""
    rows = np.flatnonzero(chosen)
    if publisher.may_know:
        passed = publisher.pass_over(documents.ids.take(rows))
        chosen = chosen.copy()
        chosen[rows[:passed]] = False
        rows = rows[passed:]
    if len(rows):
        publisher.add(documents if len(rows) == len(documents) else documents.select(chosen))


def _publisher(
    target: Path, manifest: Manifest, name: str, options: dict[str, object], shard_tokens: int
) -> ShardPublisher:
    wanted = Manifest(
        manifest.tokenizer,
        manifest.end_of_document,
        columns=manifest.columns,
        provenance={**manifest.provenance, name: options},
        operation=Operation(name, options),
    )
    return ShardPublisher(
        target, wanted, shard_tokens=shard_tokens, resume=True, again=f"run the same {name} again"
    )


def _places(dataset: str | os.PathLike, out: str | os.PathLike) -> tuple[Path, Path]:
    source, target = require_local(dataset), require_local(out)
    if source.resolve() == target.resolve():
        raise ConfigError(f"{out} is the dataset itself", where="out", hint="choose another directory")
    return source, target
