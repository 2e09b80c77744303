"""Token shards in other libraries.

Polars opens a shard with ``polars.scan_ipc``, DuckDB through ``pyarrow.dataset.dataset(files,
format="ipc")``, Hugging Face `datasets` with ``load_dataset("arrow", data_files=…,
streaming=True)``. Without streaming, `datasets` would first copy every byte into its own cache;
`to_huggingface` maps the shards where they lie.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from corpuskit.errors import MissingExtra
from corpuskit.files import arrow_path
from corpuskit.shards.manifest import load_manifest
from corpuskit.shards.reader import open_dataset
from corpuskit.shards.shardfile import Verify, shard_schema


def shard_paths(directory: str | os.PathLike) -> list[str]:
    """The shard files of a dataset, in order, for any reader of Arrow files."""
    return [str(Path(directory) / shard.name) for shard in load_manifest(directory).shards]


def to_table(directory: str | os.PathLike) -> pa.Table:
    """All shards as one Arrow table that views the mapped files."""
    manifest = load_manifest(directory)
    schema = shard_schema(manifest)
    batches = [_map_batch(path) for path in shard_paths(directory)]
    # A table of no batches has columns of no chunks, which `datasets` cannot take.
    return pa.Table.from_batches(batches, schema=schema) if batches else schema.empty_table()


def to_huggingface(directory: str | os.PathLike, *, streaming: bool = False, verify: Verify = "fast") -> Any:
    """A dataset of `datasets`, one row per document: `id`, `tokens`, parallel columns.

    Parameters
    ----------
    directory : path-like
    streaming : bool
        False: a `datasets.Dataset` that views the mapped shards without copying them.
        True: a `datasets.IterableDataset` with one of its shards per file.
    verify : {"fast", "full", "none"}
        As for `corpuskit.shards.open`.

    Raises
    ------
    MissingExtra
        If `datasets` is not installed.
    ArtifactError
        As for `corpuskit.shards.open`.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets is not installed", hint="pip install datasets") from error
    open_dataset(directory, verify)
    table = to_table(directory)
    # Hugging Face stores its own features in the schema's metadata and compares schemas by it.
    table = table.replace_schema_metadata(None)
    if not streaming:
        return datasets.Dataset(table)
    features = datasets.Features.from_arrow_schema(table.schema)
    return datasets.IterableDataset.from_generator(
        _documents, features=features, gen_kwargs={"paths": shard_paths(directory)}
    )


def _documents(paths: list[str]) -> Iterator[dict[str, Any]]:
    for path in paths:
        batch = _map_batch(path)
        for start in range(0, batch.num_rows, 256):
            yield from batch.slice(start, 256).to_pylist()


def _map_batch(path: str) -> pa.RecordBatch:
    with pa.memory_map(arrow_path(path)) as source:
        return ipc.open_file(source.read_buffer()).get_batch(0)
