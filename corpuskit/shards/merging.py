"""Several datasets as one, shard by shard: nothing is encoded or rewritten.

Whole shards are hard-linked (copied where links are not possible) and keep their checksums, so a merge
takes no space and no damage can hide in it. Ids that occur twice are counted in bounded memory: their
hashes are spread over files by the leading bits, and each file is sorted by itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from corpuskit.errors import ConfigError, MismatchError
from corpuskit.files import checksum
from corpuskit.shards.directories import (
    TOKENIZER_NAME,
    copy_tokenizer,
    full_disk_hint,
    link_or_copy,
    lock_directory,
    make_directory,
    remove_temporaries_here,
    require_local,
    require_no_dataset,
)
from corpuskit.shards.manifest import (
    MANIFEST_NAME,
    Manifest,
    Operation,
    ShardEntry,
    load_manifest,
    shard_name,
)
from corpuskit.shards.shardfile import Verify, damaged, map_shard, open_shard
from corpuskit.shards.storage import id_hashes

# Hashes that are sorted at a time: 128 MiB.
_HASHES_A_FILE = 1 << 24
_EXAMPLES = 10


@dataclass(frozen=True)
class MergeResult:
    """What `merge` made.

    Attributes
    ----------
    manifest : Manifest
    repeated_documents : int
        Documents whose id an earlier one has already. They are all in the dataset. Ids are compared by
        64 bits of XXH3: among 10^9 different ones, a false repetition is expected 0.03 times.
    examples : tuple of str
        Some of the ids that occur more than once.
    """

    manifest: Manifest
    repeated_documents: int
    examples: tuple[str, ...]


def merge(
    datasets: Sequence[str | os.PathLike], out: str | os.PathLike, *, verify: Verify = "fast"
) -> MergeResult:
    """Make one dataset of several of the same tokenizer, policy and parallel columns.

    Its shards are theirs, in the order given. Interrupted, it says that it is incomplete, and the same call
    goes on; a finished one is not done again.

    Parameters
    ----------
    datasets : sequence of path-like
    out : path-like
        Directory of the new dataset.
    verify : {"fast", "full", "none"}
        How each shard is checked first; see `corpuskit.shards.open`.

    Returns
    -------
    MergeResult

    Raises
    ------
    ConfigError
        If `datasets` is empty, or `out` is one of them.
    MismatchError
        If a tokenizer, policy or column differs, or `out` holds a merge of others.
    ArtifactError
        If a dataset is incomplete or damaged, or `out` holds a dataset already.
    ResourceError
        If the disk is full.
    """
    sources = [require_local(path) for path in datasets]
    directory = require_local(out)
    if not sources:
        raise ConfigError("there is nothing to merge", where="datasets")
    if any(source.resolve() == directory.resolve() for source in sources):
        raise ConfigError(f"{directory} is one of the datasets", where="out")
    manifests = [load_manifest(source) for source in sources]
    for source, manifest in zip(sources, manifests):
        manifests[0].require_same_layout(manifest, str(source))
    planned = _planned(manifests)
    make_directory(directory)
    lock = lock_directory(directory)
    try:
        with full_disk_hint("run the same merge again"):
            files = [
                (source / entry.name, entry) for source, m in zip(sources, manifests) for entry in m.shards
            ]
            if not _is_done(directory, planned):
                _build(files, manifests, sources, directory, planned, verify)
            repeated, examples = repeated_ids([directory / entry.name for entry in planned.shards])
    finally:
        if lock is not None:
            os.close(lock)
    return MergeResult(planned, repeated, examples)


def _planned(manifests: Sequence[Manifest]) -> Manifest:
    entries = [entry for manifest in manifests for entry in manifest.shards]
    return Manifest(
        manifests[0].tokenizer,
        manifests[0].end_of_document,
        tuple(replace(entry, name=shard_name(index)) for index, entry in enumerate(entries)),
        manifests[0].columns,
        {
            "merged": [
                {
                    "fingerprint": manifest.fingerprint,
                    "documents": manifest.num_documents,
                    "tokens": manifest.num_tokens,
                    "provenance": dict(manifest.provenance),
                }
                for manifest in manifests
            ]
        },
        complete=True,
        operation=Operation("merge", {"datasets": [m.fingerprint for m in manifests]}, finished=True),
    )


def _is_done(directory: Path, planned: Manifest) -> bool:
    """Whether `directory` holds the merged dataset; raise if it holds something else."""
    if not (directory / MANIFEST_NAME).exists():
        require_no_dataset(directory)
        return False
    stored = load_manifest(directory, allow_incomplete=True)
    mine, theirs = planned.operation, stored.operation
    if stored.complete and not (mine and theirs and theirs.is_same(mine)):
        require_no_dataset(directory)
    if mine is None or theirs is None or not theirs.is_same(mine):
        detail = "another call" if mine is None or theirs is None else theirs.difference(mine)
        raise MismatchError(
            f"the directory holds an unfinished dataset of another call: {detail}",
            where=str(directory),
            hint="delete it, or choose another directory",
        )
    return stored.complete and stored.fingerprint == planned.fingerprint


def _build(
    files: Sequence[tuple[Path, ShardEntry]],
    manifests: Sequence[Manifest],
    sources: Sequence[Path],
    directory: Path,
    planned: Manifest,
    verify: Verify,
) -> None:
    if planned.operation is None:
        raise ConfigError("the manifest names no operation", where="operation")
    begun = replace(planned.operation, finished=False)
    replace(planned, shards=(), complete=False, operation=begun).save(directory)
    remove_temporaries_here(directory)
    for (path, entry), target in zip(files, planned.shards, strict=True):
        open_shard(path.parent, entry, manifests[0], verify)
        placed = directory / target.name
        link_or_copy(path, placed)
        if not placed.samefile(path) and checksum(placed) != target.checksum:
            placed.unlink()
            raise damaged(path, "its copy does not have its checksum")
    for source in sources:
        if (source / TOKENIZER_NAME).is_dir():
            copy_tokenizer(source, directory, planned.tokenizer.fingerprint)
            break
    planned.save(directory)


def repeated_ids(paths: Sequence[Path], hashes_a_file: int = _HASHES_A_FILE) -> tuple[int, tuple[str, ...]]:
    """How many documents have the id of an earlier one, and some of those ids, in order of appearance.

    Parameters
    ----------
    paths : sequence of path
        Shards.
    hashes_a_file : int
        About so many documents are sorted at a time (8 bytes each); more are spread over files in the
        temporary directory first.
    """
    total = sum(len(ids) for ids in _ids(paths))
    count, some = 0, np.zeros(0, np.uint64)
    for hashes in _partitions(paths, total, hashes_a_file):
        hashes.sort()
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        count += len(again)
        some = np.concatenate([some, np.unique(again)])[: 4 * _EXAMPLES]
    return count, _examples(paths, some) if count else ()


def _partitions(paths: Sequence[Path], total: int, hashes_a_file: int) -> Iterator[np.ndarray]:
    """All hashes, so that equal ones are in the same part."""
    bits = max(0, (total // hashes_a_file).bit_length())
    if bits == 0:
        yield np.concatenate([np.zeros(0, np.uint64), *map(id_hashes, _ids(paths))])
        return
    with tempfile.TemporaryDirectory(prefix="corpuskit-ids-") as directory:
        names = [Path(directory) / f"{number}" for number in range(1 << bits)]
        for ids in _ids(paths):
            hashes = id_hashes(ids)
            part = hashes >> np.uint64(64 - bits)
            for number in np.unique(part).tolist():
                with open(names[number], "ab") as file:
                    file.write(hashes[part == number].tobytes())
        for name in names:
            if name.exists():
                yield np.fromfile(name, np.uint64)


def _examples(paths: Sequence[Path], wanted: np.ndarray) -> tuple[str, ...]:
    seen: dict[int, str] = {}
    found: list[str] = []
    for ids in _ids(paths):
        hashes = id_hashes(ids)
        for row in np.flatnonzero(np.isin(hashes, wanted)).tolist():
            key, value = int(hashes[row]), ids[row].as_py()
            if key not in seen:
                seen[key] = value
            elif seen[key] == value and value not in found:
                found.append(value)
                if len(found) == _EXAMPLES:
                    return tuple(found)
    return tuple(found)


def _ids(paths: Sequence[Path]) -> Iterator[pa.StringArray]:
    for path in paths:
        ids = map_shard(path, structure=False).ids
        for start in range(0, len(ids), 1 << 20):
            yield ids.slice(start, 1 << 20)
