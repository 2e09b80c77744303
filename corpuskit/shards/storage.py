"""Documents of a stored dataset in bounded memory, and their ids as hashes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.manifest import Manifest
from corpuskit.shards.shardfile import open_shard

_CHUNK_TOKENS = 1 << 22
_CHUNK_ROWS = 1 << 18


def stored_documents(
    directory: Path, manifest: Manifest, chunk_tokens: int = _CHUNK_TOKENS
) -> Iterator[EncodedDocuments]:
    """The documents of a dataset, in order, some at a time; views of the mapped shards.

    Every shard is checked whole first: what is written again gets a new checksum, behind which damage
    would hide.
    """
    for entry in manifest.shards:
        shard = open_shard(directory, entry, manifest, "full")
        rows, row = len(shard.ids), 0
        while row < rows:
            stop = int(np.searchsorted(shard.offsets, shard.offsets[row] + chunk_tokens, side="right")) - 1
            stop = min(max(stop, row + 1), row + _CHUNK_ROWS, rows)
            first, last = int(shard.offsets[row]), int(shard.offsets[stop])
            yield EncodedDocuments(
                shard.ids.slice(row, stop - row),
                shard.offsets[row : stop + 1] - first,
                shard.tokens[first:last],
                {name: values[first:last] for name, values in shard.columns.items()},
            )
            row = stop


def id_hashes(ids: pa.StringArray, seed: int = 0) -> np.ndarray:
    """XXH3-64 with `seed` of the UTF-8 bytes of each id, uint64[n]."""
    if not len(ids):
        return np.zeros(0, np.uint64)
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1].tolist()
    data = memoryview(ids.buffers()[2] or b"")
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter(
        (digest(data[start:stop], seed) for start, stop in pairwise(offsets)), np.uint64, len(ids)
    )
