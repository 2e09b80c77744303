"""What a loader draws from: samples that are a pure function of their index, and their documents.

Every kind of sequence (`windows`, `packing`) and every combination of them (`mixture`) is a
`SampleSource`. Beyond its ids a sample can say where its documents begin, which is all that is
needed to keep attention and loss inside documents:

``cu_seqlens``
    int32, the borders of all documents in the batch read as one row of B*T tokens, from 0 to B*T;
    what variable-length attention takes (``flash_attn_varlen_func``, torch's ``varlen_attn``).
    Padding counts as a document of its own, so that every token is covered.
``position_ids``
    int64 [B, T], counted from 0 in every document.
``segment_ids``
    int32 [B, T], 1, 2, … for the documents of a row, 0 for padding.
``labels``
    int64 [B, T], the ids, with -100 (what torch and Hugging Face leave out of the loss) at
    padding and at the first token of every document, which nothing before it should predict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import xxhash

from corpuskit.errors import ConfigError

BOUNDARY_FIELDS = ("cu_seqlens", "position_ids", "segment_ids", "labels")
IGNORED_LABEL = -100


class Boundaries(NamedTuple):
    """Where documents begin in a batch.

    Attributes
    ----------
    starts : numpy.ndarray[int64]
        Ascending positions in the batch read as one row of B*T tokens at which a document, a
        part of one, or padding begins. Every row begins one.
    filled : numpy.ndarray[int64], length B
        Tokens of each row that are no padding.
    """

    starts: np.ndarray
    filled: np.ndarray


class SampleSource(Protocol):
    """Equally long samples that are a pure function of their index."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def policy(self) -> str: ...

    @property
    def sequence_length(self) -> int: ...

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None: ...


@runtime_checkable
class RichSource(Protocol):
    """A source that knows its documents, its parallel columns and its shards."""

    def __len__(self) -> int: ...

    def boundaries(self, indices: np.ndarray) -> Boundaries: ...

    def column_dtype(self, name: str) -> np.dtype: ...

    def gather_column(self, name: str, indices: np.ndarray, out: np.ndarray) -> None: ...

    @property
    def shard_starts(self) -> np.ndarray: ...

    def prefetch(self, shards: Sequence[int]) -> None: ...


class TokenStreams(Protocol):
    """What samples are cut from: the tokens of each shard, in order, possibly fetched when asked for."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def lengths(self) -> Sequence[int]: ...

    @property
    def streams(self) -> Sequence[np.ndarray]: ...

    @property
    def offsets(self) -> Sequence[np.ndarray]: ...

    @property
    def column_types(self) -> Mapping[str, np.dtype]: ...

    def column(self, name: str) -> Sequence[np.ndarray]: ...

    def prefetch(self, shards: Sequence[int]) -> None: ...


class MapStyle:
    """``samples[i]``, ``len(samples)`` and iteration, for anything that takes a map-style dataset.

    `__getitems__` is what torch's `DataLoader` calls with all indices of a batch: one gather.
    """

    fingerprint: str
    policy: str
    sequence_length: int
    dtype: np.dtype
    _length: int

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> np.ndarray:
        """Sample `index` as an array of `sequence_length` values that owns its memory."""
        if not -self._length <= index < self._length:
            raise IndexError(f"sample {index} of {self._length}")
        out = np.empty((1, self.sequence_length), self.dtype)
        self.gather(np.array([index % self._length]), out)
        return out[0]

    def __getitems__(self, indices: Sequence[int]) -> list[np.ndarray]:
        positions = np.asarray(indices, np.int64)
        if positions.size and not (-self._length <= positions.min() and positions.max() < self._length):
            raise IndexError(f"samples {indices} of {self._length}")
        out = np.empty((len(positions), self.sequence_length), self.dtype)
        self.gather(positions % self._length, out)
        return list(out)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(self._length))

    def loader(self, batch_size: int, *, framework: str = "torch", **options: Any) -> Any:
        """Batches of these samples; `options` as for `corpuskit.shards.Loader`."""
        from corpuskit.shards.loader import make_loader

        return make_loader(self, batch_size, framework=framework, **options)


def require_fields(source: SampleSource, fields: Sequence[str]) -> None:
    """Raise `ConfigError` unless `source` can give `fields` (boundary fields or parallel columns)."""
    if isinstance(fields, str):
        raise ConfigError(f"{fields!r} is not a list of names", where="fields", hint=f'write ("{fields}",)')
    if fields and not isinstance(source, RichSource):
        raise ConfigError(f"{type(source).__name__} has ids only", where="fields")
    for name in fields:
        if name not in BOUNDARY_FIELDS:
            source.column_dtype(name)  # type: ignore[attr-defined]


def make_fields(
    source: Any, indices: np.ndarray, ids: np.ndarray, fields: Sequence[str], cu_seqlens_size: int | None
) -> dict[str, np.ndarray]:
    """The arrays that `fields` name, for the batch `ids` (shape [B, T]) of samples `indices`.

    Raises
    ------
    ConfigError
        If the batch has more documents than `cu_seqlens_size` allows.
    """
    result: dict[str, np.ndarray] = {}
    if any(name in BOUNDARY_FIELDS for name in fields):
        starts, filled = source.boundaries(indices)
        spans = np.diff(starts, append=ids.size)
    for name in fields:
        if name == "cu_seqlens":
            result[name] = _cu_seqlens(starts, ids.size, cu_seqlens_size)
        elif name == "position_ids":
            flat = np.arange(ids.size, dtype=np.int64) - np.repeat(starts, spans)
            result[name] = flat.reshape(ids.shape)
        elif name == "segment_ids":
            result[name] = _segment_ids(starts, spans, filled, ids.shape)
        elif name == "labels":
            labels = ids.astype(np.int64)
            labels.reshape(-1)[starts] = IGNORED_LABEL
            labels[np.arange(ids.shape[1]) >= filled[:, None]] = IGNORED_LABEL
            result[name] = labels
        else:
            result[name] = np.empty(ids.shape, source.column_dtype(name))
            source.gather_column(name, indices, result[name])
    return result


def _cu_seqlens(starts: np.ndarray, total: int, size: int | None) -> np.ndarray:
    if size is not None and len(starts) + 1 > size:
        raise ConfigError(
            f"{size} places are too few for the {len(starts)} documents of a batch",
            where="cu_seqlens_size",
            hint=f"choose at least {len(starts) + 1}; {total + 1} is always enough",
        )
    borders = np.full(len(starts) + 1 if size is None else size, total, np.int32)
    borders[: len(starts)] = starts
    return borders


def _segment_ids(
    starts: np.ndarray, spans: np.ndarray, filled: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    length = shape[1]
    rows = starts // length
    first_of_row = np.searchsorted(starts, np.arange(shape[0]) * length)
    numbers = np.arange(1, len(starts) + 1) - first_of_row[rows]
    numbers[starts - rows * length >= filled[rows]] = 0
    return np.repeat(numbers.astype(np.int32), spans).reshape(shape)


def digest(*parts: Any) -> str:
    """XXH3-128 of the JSON of `parts`: the fingerprint of something made of fingerprints."""
    return xxhash.xxh3_128_hexdigest(json.dumps(parts, separators=(",", ":")).encode())


def require_sequence_length(value: object) -> int:
    """`value` as an int, or `ConfigError` unless it is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"{value!r} is not a positive whole number", where="sequence_length")
    return int(value)
