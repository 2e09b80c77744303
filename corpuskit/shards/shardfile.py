"""One shard: an Arrow IPC *file*, uncompressed, with one record batch.

One record batch makes the tokens of a shard one contiguous buffer, so a window is a slice of the
mapped file (a chunked `take` is some 200 times slower). A file rather than a stream is what
Polars and DuckDB open; Hugging Face needs the adapter in `interop`.

The schema's metadata repeats tokenizer, policy and format, so a shard that was moved away from
its dataset still says what it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import xxhash
from pyarrow import ipc

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.files import arrow_path, checksum
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.manifest import FORMAT_VERSION, PARALLEL_TYPES, Manifest, ShardEntry

Verify = Literal["fast", "full", "none"]

_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16


@dataclass(frozen=True)
class Shard:
    """An open shard: views of the mapped file.

    Attributes
    ----------
    ids : pyarrow.StringArray, length n
    offsets : numpy.ndarray[int64], length n + 1
    tokens : numpy.ndarray[uint16 or uint32]
        Read-only view of the file.
    columns : Mapping[str, numpy.ndarray]
        Parallel columns.
    size : int
        Bytes of the file.
    structure : str
        XXH3-128 of the file without the values of `tokens` and `columns`; empty if not computed.
    metadata : Mapping[str, str]
        What the shard says about itself.
    """

    ids: pa.StringArray
    offsets: np.ndarray
    tokens: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    size: int = 0
    structure: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def shard_schema(manifest: Manifest) -> pa.Schema:
    """The columns of every shard of a dataset."""
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("tokens", pa.large_list(pa.from_numpy_dtype(manifest.dtype)), nullable=False),
    ]
    for name in sorted(manifest.columns):
        kind = pa.large_list(PARALLEL_TYPES[manifest.columns[name]])
        fields.append(pa.field(name, kind, nullable=False))
    return pa.schema(fields, _metadata(manifest))


def write_shard(path: str | os.PathLike, schema: pa.Schema, parts: list[EncodedDocuments]) -> str:
    """Write `parts`, in order, as one record batch to `path` (not atomically: that is the caller's).

    Parameters
    ----------
    path : path-like
    schema : pyarrow.Schema
        Of `shard_schema`.
    parts : list of EncodedDocuments
        Emptied, so that a part's memory is free as soon as it is copied.

    Returns
    -------
    str
        XXH3-128 of the file, made of what was handed to the system, without reading it back.
    """
    rows = sum(len(part) for part in parts)
    total = sum(part.num_tokens for part in parts)
    names = schema.names[1:]
    values = {name: np.empty(total, schema.field(name).type.value_type.to_pandas_dtype()) for name in names}
    offsets = np.zeros(rows + 1, np.int64)
    ids, row, first = [], 0, 0
    parts.reverse()
    while parts:
        part = parts.pop()
        ids.append(part.ids)
        offsets[row + 1 : row + len(part) + 1] = part.shard_offsets[1:] + first
        stop = first + part.num_tokens
        for name in names:
            part.copy_into(values[name][first:stop], name)
        row, first = row + len(part), stop
    lists = [pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values[name])) for name in names]
    batch = pa.RecordBatch.from_arrays([pa.concat_arrays(ids), *lists], schema=schema)
    with HashingFile(path) as sink:
        with ipc.new_file(sink, schema) as writer:
            writer.write_batch(batch)
        sink.write_small()
        return sink.checksum


class HashingFile(io.RawIOBase):
    """A file that knows the XXH3-128 of what was written to it.

    Hashing a block while it is in the processor's cache costs little beside writing it, where reading
    the file back would cost as much again. Small pieces (a header, padding) go out together.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__()
        self._state = xxhash.xxh3_128()
        self._position = 0
        self._small = bytearray()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    @property
    def checksum(self) -> str:
        """Of everything written so far."""
        return self._state.hexdigest()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        """Take all of `data`."""
        view = memoryview(data).cast("B")
        if len(view) < _SMALL_BYTES:
            self._state.update(view)
            self._small += view
            if len(self._small) >= _SMALL_BYTES:
                self.write_small()
        else:
            self.write_small()
            for start in range(0, len(view), _BLOCK_BYTES):
                block = view[start : start + _BLOCK_BYTES]
                self._state.update(block)
                self._write_all(block)
        self._position += len(view)
        return len(view)

    def write_small(self) -> None:
        """Hand over what was kept back; without it, closing drops that."""
        small, self._small = self._small, bytearray()
        if small:
            self._write_all(memoryview(small))

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _write_all(self, block: memoryview) -> None:
        while len(block):
            block = block[os.write(self._descriptor, block) :]


def describe_shard(path: str | os.PathLike, name: str, file_checksum: str | None = None) -> ShardEntry:
    """The manifest's entry for a shard file, read from the file itself.

    Parameters
    ----------
    path : path-like
    name : str
        The name the shard has in its dataset.
    file_checksum : str, optional
        XXH3-128 of the file where it is known already.
    """
    shard = map_shard(path, structure=True)
    return ShardEntry(
        name=name,
        rows=len(shard.ids),
        tokens=len(shard.tokens),
        bytes=shard.size,
        checksum=file_checksum or checksum(path),
        structure=shard.structure,
    )


def open_shard(directory: str | os.PathLike, entry: ShardEntry, manifest: Manifest, verify: Verify) -> Shard:
    """Map one shard of a dataset, checked as `verify` asks.

    Parameters
    ----------
    verify : {"fast", "full", "none"}
        ``fast``: size, footer, schema, tokenizer, offsets (start at 0, never fall, end at the
        number of tokens), row and token counts, and the checksum of the structure.
        ``full``: that, the checksum of the whole file, and every id below the vocabulary's size.
        ``none``: only what mapping needs.

    Raises
    ------
    ArtifactError
        Naming the shard and what is wrong.
    InputError
        If it may not be read.
    """
    require_choice("verify", verify, get_args(Verify))
    path = Path(directory) / entry.name
    if verify != "none":
        check_size(path, entry)
    shard = map_shard(path, structure=verify != "none")
    check_schema(path, shard, manifest)
    if verify != "none":
        check_counts(path, shard, entry)
        if shard.structure != entry.structure:
            raise damaged(path, "the checksum of its structure (header, ids, offsets, footer) does not match")
    if verify == "full":
        if checksum(path) != entry.checksum:
            raise damaged(path, "its checksum does not match")
        check_vocabulary(path, shard, manifest)
    return shard


def map_shard(path: str | os.PathLike, *, structure: bool) -> Shard:
    """Map a shard file and view its columns; with `structure`, check offsets and hash the structure."""
    try:
        # Closing gives the descriptor back; the mapping lives as long as a view of it.
        with pa.memory_map(arrow_path(path)) as source:
            file = source.read_buffer()
        with ipc.open_file(file) as reader:
            if reader.num_record_batches != 1:
                raise damaged(path, f"it has {reader.num_record_batches} record batches instead of one")
            batch = reader.get_batch(0)
        batch.validate()
        names = batch.schema.names
    except FileNotFoundError:
        raise ArtifactError(
            "a shard is missing", where=str(path), hint="restore it from a copy, or write the dataset again"
        ) from None
    except PermissionError as error:
        raise unreadable(path) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, f"not a whole Arrow file: {error}") from error
    metadata = _decode_metadata(path, batch.schema.metadata)
    if names[:2] != ["id", "tokens"] or len(set(names)) < len(names) or batch.column(0).type != pa.string():
        raise damaged(path, f"its columns are {names}, expected id (string), tokens and parallel columns")
    views = {name: _list_view(path, batch, name, file) for name in names[1:]}
    offsets, tokens, _ = views["tokens"]
    ids = batch.column("id")
    digest = ""
    if structure:
        _check_offsets(path, ids, {name: view[:2] for name, view in views.items()})
        digest = _hash_outside(file, [view[2] for view in views.values()])
    columns = {name: view[1] for name, view in views.items() if name != "tokens"}
    return Shard(ids, offsets, tokens, columns, file.size, digest, metadata)


def check_size(path: Path, entry: ShardEntry) -> None:
    """Raise unless the file has the size that the manifest records."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ArtifactError(
            "a shard is missing", where=str(path), hint="restore it from a copy, or write the dataset again"
        ) from None
    if size != entry.bytes:
        kind = "truncated" if size < entry.bytes else "longer than it was written"
        raise damaged(path, f"it is {kind}: {size} bytes instead of {entry.bytes}")


def check_schema(path: Path, shard: Shard, manifest: Manifest) -> None:
    """Raise unless dtype, columns, tokenizer and policy are the dataset's."""
    expected = {name: kind for name, kind in manifest.columns.items()}
    found = {name: str(pa.from_numpy_dtype(values.dtype)) for name, values in shard.columns.items()}
    if shard.tokens.dtype != manifest.dtype or found != expected:
        raise damaged(path, f"it holds {shard.tokens.dtype} tokens and the columns {found}, expected "
                            f"{manifest.dtype} and {expected}")  # fmt: skip
    version = shard.metadata.get("corpuskit.format_version", "")
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise damaged(path, f"it has format version {version}; this corpuskit reads up to {FORMAT_VERSION}")
    if dict(shard.metadata) != _metadata(manifest):
        raise damaged(path, "it was written with another tokenizer or policy than its dataset")


def check_counts(path: Path, shard: Shard, entry: ShardEntry) -> None:
    """Raise unless rows and tokens are as many as the manifest records."""
    for what, found, expected in [
        ("documents", len(shard.ids), entry.rows),
        ("tokens", len(shard.tokens), entry.tokens),
    ]:
        if found != expected:
            raise damaged(path, f"it holds {found} {what} instead of {expected}")


def check_vocabulary(path: Path, shard: Shard, manifest: Manifest) -> None:
    """Raise unless every token id is below the vocabulary's size."""
    vocab_size = manifest.tokenizer.vocab_size
    if len(shard.tokens) and (largest := int(shard.tokens.max())) >= vocab_size:
        position = int((shard.tokens >= vocab_size).argmax())
        row = int(np.searchsorted(shard.offsets, position, side="right")) - 1
        raise damaged(path, f"token {position} (in document {row}) is {shard.tokens[position]}, the largest "
                            f"{largest}, and the vocabulary has {vocab_size}")  # fmt: skip


def require_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ConfigError(f"{value!r} is not one of {', '.join(allowed)}", where=name)


def damaged(path: str | os.PathLike, detail: str) -> ArtifactError:
    """The error for a shard that is not what its dataset says."""
    return ArtifactError(
        f"the shard is damaged: {detail}",
        where=str(path),
        hint="`corpuskit shards verify` lists every problem; `corpuskit shards repair` restores from a copy, "
        "or drops",
    )


def unreadable(path: str | os.PathLike) -> InputError:
    """The error for a file that may not be read: not damage, and no reason to drop it."""
    return InputError(
        "cannot be read: permission denied", where=str(path), hint="check the permissions of the dataset"
    )


def _metadata(manifest: Manifest) -> dict[str, str]:
    return {
        "corpuskit.format_version": str(FORMAT_VERSION),
        "corpuskit.tokenizer": manifest.tokenizer.fingerprint,
        "corpuskit.end_of_document": manifest.end_of_document,
    }


def _decode_metadata(path: str | os.PathLike, metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    try:
        return {key.decode(): value.decode() for key, value in (metadata or {}).items()}
    except UnicodeDecodeError as error:
        raise damaged(path, f"its metadata is not UTF-8: {error}") from error


def _list_view(
    path: str | os.PathLike, batch: pa.RecordBatch, name: str, file: pa.Buffer
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Offsets and values of a list column as views, and the byte range of the values in the file."""
    column = batch.column(name)
    if not pa.types.is_large_list(column.type) or str(column.type.value_type) not in PARALLEL_TYPES:
        raise damaged(path, f"column {name!r} has type {column.type}, expected large_list of a fixed width")
    values = column.values
    if column.null_count or values.null_count or column.offset or values.offset:
        raise damaged(path, f"column {name!r} has nulls or is a slice")
    view = values.to_numpy()
    start = view.__array_interface__["data"][0] - file.address if len(view) else 0
    if start < 0 or start + view.nbytes > file.size:
        raise damaged(path, f"column {name!r} does not lie in the file as it is (compressed?)")
    return column.offsets.to_numpy(), view, (start, start + view.nbytes)


def _check_offsets(
    path: str | os.PathLike, ids: pa.StringArray, lists: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    buffer = ids.buffers()[1]
    if ids.null_count or ids.offset:
        raise damaged(path, "column 'id' has nulls or is a slice")
    if len(ids):
        id_offsets = np.frombuffer(buffer, np.int32, len(ids) + 1)
        data = ids.buffers()[2]
        _require_monotone(path, "id", id_offsets, 0 if data is None else data.size, exact=False)
    for name, (offsets, values) in lists.items():
        _require_monotone(path, name, offsets, len(values), exact=True)
    reference = lists["tokens"][0]
    for name, (offsets, _) in lists.items():
        if not np.array_equal(offsets, reference):
            raise damaged(path, f"parallel column {name!r} has not one value per token")


def _require_monotone(
    path: str | os.PathLike, name: str, offsets: np.ndarray, length: int, *, exact: bool
) -> None:
    falls = len(offsets) > 1 and bool((offsets[1:] < offsets[:-1]).any())
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, length)
    if falls or first != 0 or last > length or (exact and last != length):
        raise damaged(path, f"the offsets of column {name!r} are inconsistent")


def _hash_outside(file: pa.Buffer, ranges: list[tuple[int, int]]) -> str:
    state = xxhash.xxh3_128()
    view = memoryview(file)
    position = 0
    for start, stop in sorted(ranges):
        state.update(view[position:start])
        position = max(position, stop)
    state.update(view[position:])
    return state.hexdigest()
