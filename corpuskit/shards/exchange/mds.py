"""MDS, the shards of mosaicml-streaming: ``index.json`` and ``shard.00000.mds …``, a sample a document.

The layout is that of ``streaming.base.format.mds.writer``, version 2, and the bytes are those its
`MDSWriter` gives for the same samples (a test holds them side by side): the number of samples and
their offsets (uint32, from the beginning of the file), the configuration as JSON, then the samples.
A sample is the sizes of its columns that have no fixed size (uint32), then the columns in the order
of their names: `id` as UTF-8, the others as NumPy arrays behind a byte for the width of their shape.

Samples are put together by Arrow from whole columns, some 4 GB/s, instead of one by one in Python.
Their encoder refuses an empty array; an empty document is written as an array of shape 0, which their
reader gives back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
import zstandard

from corpuskit.errors import ConfigError, InputError
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.exchange.common import NOTE_SUFFIX, ExportNote, TokenSource, atomic_directory
from corpuskit.shards.manifest import PARALLEL_TYPES
from corpuskit.shards.shardfile import require_choice

Compression = Literal["none", "zstd"]
HASHES = ("md5", "sha1", "sha256", "sha512", "xxh128", "xxh3_128", "xxh3_64", "xxh32", "xxh64")

# What their reader's arrays can be; float32 columns of ours are `float` in Arrow's words.
_SUPPORTED = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32")


@dataclass(frozen=True)
class MDS:
    """A directory that `streaming.StreamingDataset` takes as `local` or `remote`.

    Attributes
    ----------
    file_bytes : int
        Size limit of a shard before compression, below 2^32; streaming's own default is 64 MiB.
    compression : {"none", "zstd"}
    compression_level : int
    hashes : tuple of str
        Checksums in ``index.json``, of `HASHES`; streaming checks them after downloads that ask for it.
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    format_name: ClassVar[str] = "mds"
    loses: ClassVar[tuple[str, ...]] = ()

    file_bytes: int = 1 << 26
    compression: Compression = "none"
    compression_level: int = 3
    hashes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        require_choice("compression", self.compression, get_args(Compression))
        if not 1 <= self.file_bytes < 1 << 32:
            raise ConfigError(f"{self.file_bytes} is not 1 to 2^32 - 1", where="file_bytes")
        if not 1 <= self.compression_level <= 22:
            raise ConfigError(f"{self.compression_level} is not 1 to 22", where="compression_level")
        for name in self.hashes:
            require_choice("hashes", name, HASHES)
        if len(set(self.hashes)) < len(self.hashes):
            raise ConfigError("a hash is named twice", where="hashes")

    def has_room_for(self, column: str, kind: str) -> bool:
        return PARALLEL_TYPES[kind].to_pandas_dtype().__name__ in _SUPPORTED

    def write(self, source: TokenSource, directory: Path) -> tuple[Path, ...]:
        columns = _columns(source)
        config = self._config(columns)
        text = json.dumps(config, sort_keys=True).encode()
        shards: list[dict[str, Any]] = []
        names: list[str] = []
        with atomic_directory(directory) as staging:
            for samples in self._shards(source, columns, len(text)):
                info, name = self._write_shard(staging, samples, text, len(shards))
                shards.append(info | config)
                names.append(name)
            index = json.dumps({"version": 2, "shards": shards}, sort_keys=True)
            (staging / "index.json").write_text(index, encoding="utf-8")
            note = f"mds{NOTE_SUFFIX}"
            ExportNote.of(source, self.format_name, source.manifest.dtype, {}).save(staging / note)
        return tuple(directory / name for name in [*names, "index.json", note])

    @property
    def _compression(self) -> str | None:
        return None if self.compression == "none" else f"zstd:{self.compression_level}"

    def _config(self, columns: dict[str, str]) -> dict[str, Any]:
        return {
            "version": 2,
            "format": "mds",
            "compression": self._compression,
            "hashes": sorted(self.hashes),
            "size_limit": self.file_bytes,
            "column_names": list(columns),
            "column_encodings": list(columns.values()),
            "column_sizes": [None] * len(columns),
        }

    def _shards(
        self, source: TokenSource, columns: dict[str, str], config_bytes: int
    ) -> Iterator[list[pa.LargeBinaryArray]]:
        """The samples of each shard: as many as fit below the limit, one at least."""
        fixed = 8 + config_bytes
        pending: list[pa.LargeBinaryArray] = []
        used = fixed
        for run in source.runs(max(1, min(self.file_bytes, 8 << 20) // 2)):
            _require_short(run)
            samples = _samples(run, columns)
            while len(samples):
                offsets = np.frombuffer(samples.buffers()[1], np.int64)
                offsets = offsets[samples.offset : samples.offset + len(samples) + 1]
                sizes = offsets[1:] - offsets[0] + 4 * np.arange(1, len(samples) + 1)
                fit = int(np.searchsorted(sizes, self.file_bytes - used, side="right"))
                if not fit and pending:
                    yield pending
                    pending, used = [], fixed
                    continue
                fit = max(fit, 1)
                pending.append(samples.slice(0, fit))
                used += int(sizes[fit - 1])
                samples = samples.slice(fit)
        if pending:
            yield pending

    def _write_shard(
        self, staging: Path, samples: list[pa.LargeBinaryArray], config: bytes, number: int
    ) -> tuple[dict[str, Any], str]:
        pieces: list[Any] = []
        lengths = []
        for array in samples:
            offsets = np.frombuffer(array.buffers()[1], np.int64)[
                array.offset : array.offset + len(array) + 1
            ]
            lengths.append(np.diff(offsets))
            pieces.append(memoryview(array.buffers()[2])[int(offsets[0]) : int(offsets[-1])])
        sizes = np.concatenate(lengths)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        offsets += 4 + 4 * len(offsets) + len(config)
        head = np.array([len(sizes)], "<u4").tobytes() + offsets.astype("<u4").tobytes() + config
        raw_name = f"shard.{number:05d}.mds"
        raw: list[Any] = [head, *pieces]
        info = {"samples": len(sizes), "raw_data": self._info(raw, raw_name), "zip_data": None}
        if self.compression == "none":
            name, data = raw_name, raw
        else:
            name = f"{raw_name}.zstd"
            compressor = zstandard.ZstdCompressor(level=self.compression_level)
            data = [compressor.compress(b"".join(raw))]
            info["zip_data"] = self._info(data, name)
        with open(staging / name, "wb") as file:
            for piece in data:
                file.write(piece)
        return info, name

    def _info(self, data: list[Any], name: str) -> dict[str, Any]:
        hashes = {}
        for algorithm in sorted(self.hashes):
            state = getattr(xxhash if algorithm.startswith("xxh") else hashlib, algorithm)()
            for piece in data:
                state.update(piece)
            hashes[algorithm] = state.hexdigest()
        return {"basename": name, "bytes": sum(map(len, data)), "hashes": hashes}


def _require_short(run: EncodedDocuments) -> None:
    """Raise unless every sample can be addressed in a shard of its own, whatever else it holds."""
    width = sum(values.itemsize for values in (run.tokens, *run.columns.values()))
    sizes = np.diff(run.offsets) * width + pc.binary_length(run.ids).to_numpy()
    longest = int(np.argmax(sizes))
    if sizes[longest] >= (1 << 32) - (1 << 20):
        raise InputError(
            f"a document takes {sizes[longest]} bytes, and a shard of MDS has less than 2^32",
            where=str(run.ids[longest].as_py()),
            hint="export to parquet",
        )


def _columns(source: TokenSource) -> dict[str, str]:
    """Columns and their MDS encodings, in the order of their names."""
    manifest = source.manifest
    kinds = {"id": "str", "tokens": f"ndarray:{manifest.dtype.name}"}
    for name in source.columns:
        kinds[name] = f"ndarray:{np.dtype(PARALLEL_TYPES[manifest.columns[name]].to_pandas_dtype()).name}"
    return dict(sorted(kinds.items()))


def _samples(run: EncodedDocuments, columns: dict[str, str]) -> pa.LargeBinaryArray:
    """The samples of a run of documents: sizes, then for each column its bytes."""
    count = len(run)
    lengths = np.diff(run.offsets)
    shape, shape_sizes = _shapes(lengths)
    parts: list[pa.Array] = []
    sizes = np.empty((count, len(columns)), "<u4")
    for number, (name, encoding) in enumerate(columns.items()):
        if encoding == "str":
            ids = run.ids.cast(pa.large_binary())
            sizes[:, number] = pc.binary_length(ids).to_numpy()
            parts.append(ids)
        else:
            values = run.tokens if name == "tokens" else run.columns[name]
            itemsize = values.dtype.itemsize
            sizes[:, number] = shape_sizes + lengths * itemsize
            parts += [shape, _binary(run.offsets * itemsize, values)]
    table = _binary(np.arange(count + 1) * sizes.itemsize * len(columns), sizes)
    return pc.binary_join_element_wise(table, *parts, pa.scalar(b"", pa.large_binary()))


def _shapes(lengths: np.ndarray) -> tuple[pa.LargeBinaryArray, np.ndarray]:
    """What stands before an array of one dimension: ``1 << 2 | log2(width)``, its length in `width` bytes."""
    width = np.digitize(lengths, [1 << 8, 1 << 16, 1 << 32])
    table = np.zeros((len(lengths), 9), np.uint8)
    table[:, 0] = 1 << 2 | width
    table[:, 1:] = lengths.astype("<u8").view(np.uint8).reshape(-1, 8)
    sizes = 1 + (1 << width)
    flat = table[np.arange(9) < sizes[:, None]]
    return _binary(np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), flat), sizes


def _binary(offsets: np.ndarray, values: np.ndarray) -> pa.LargeBinaryArray:
    """Bytes of `values`, cut at `offsets`; nothing is copied."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(values)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
