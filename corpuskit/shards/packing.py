"""Sequences made of whole documents: several packed into one, or one each, with padding.

Windows cut documents wherever T tokens are full. Packing does not: documents longer than T are
split into pieces of T (or cropped), and pieces are packed by best-fit decreasing, which leaves
documents whole that fit (Ding et al., *Fewer Truncations Improve Language Modeling*, ICML 2024).
A packer with a small buffer must crop to fill its rows (nanochat states some 35 % of tokens); with
4,096 documents at hand nothing is cropped and padding is below 0.1 % for lengths as of web pages.

Packing works within fixed blocks of rows of one shard, so a sequence depends on its block alone: any
one can be made at once, by packing its block (under a millisecond) or from the few hundred blocks
that are remembered. What must be known of the others is how many sequences each has. Those counts
are one pass over the offsets; they are kept beside the shards in ``packing-<key>.json``, keyed
by fingerprint, length and policy. A sidecar that is damaged or of other data is made again.
"""

from __future__ import annotations

import json
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from corpuskit.errors import ConfigError, InputError, ResourceError
from corpuskit.files import write_json
from corpuskit.shards.samples import Boundaries, MapStyle, TokenStreams, digest, require_sequence_length
from corpuskit.shards.shardfile import require_choice
from corpuskit.shards.windows import column_dtype

Method = Literal["best_fit", "one_document"]
Overflow = Literal["split", "crop"]

_SIDECAR_VERSION = 1
_REMEMBERED_BYTES = 64 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackingStatistics:
    """What packing does to a dataset's tokens.

    Attributes
    ----------
    sequences, tokens : int
        Sequences, and tokens of the dataset.
    cropped_tokens : int
        Tokens in no sequence: those beyond the first T of a document, with ``overflow="crop"``.
    padding_tokens : int
    """

    sequences: int
    tokens: int
    cropped_tokens: int
    padding_tokens: int

    @property
    def crop_rate(self) -> float:
        """Share of the dataset's tokens that no sequence holds."""
        return self.cropped_tokens / self.tokens if self.tokens else 0.0

    @property
    def padding_rate(self) -> float:
        """Share of the sequences' places that hold padding."""
        places = self.tokens - self.cropped_tokens + self.padding_tokens
        return self.padding_tokens / places if places else 0.0

    def __str__(self) -> str:
        return (
            f"{self.sequences:,} sequences of {self.tokens:,} tokens; cropped {self.crop_rate:.2%}, "
            f"padding {self.padding_rate:.2%}"
        )


class _Block(NamedTuple):
    """A packed block: pieces (first token in the shard, tokens), ordered by sequence."""

    shard: int
    begins: np.ndarray
    lengths: np.ndarray
    sequence_starts: np.ndarray


class PackedSequences(MapStyle):
    """A map-style view of documents packed into sequences; made by `TokenDataset.packed`.

    Parameters
    ----------
    data : TokenStreams
        A `TokenDataset`.
    sequence_length : int
    method : {"best_fit", "one_document"}
        ``one_document``: every document (or piece of one) is a sequence of its own.
    overflow : {"split", "crop"}
        Documents longer than `sequence_length`: several pieces, or only the first.
    block_rows : int
        Documents that are packed together.
    pad_id : int
        What fills a sequence after its documents.
    sidecar_directory : path-like, optional
        Where the counts are kept; without it nothing is kept.
    sidecar_source : callable, optional
        Gives the bytes of a sidecar of that name from elsewhere, or None.
    dtype : numpy dtype
        Of the arrays that indexing returns.

    Raises
    ------
    InputError
        If there are no tokens.
    ConfigError
        If a parameter is impossible.
    """

    def __init__(
        self,
        data: TokenStreams,
        sequence_length: int,
        *,
        method: Method = "best_fit",
        overflow: Overflow = "split",
        block_rows: int = 4096,
        pad_id: int = 0,
        sidecar_directory: str | os.PathLike | None = None,
        sidecar_source: Callable[[str], bytes | None] | None = None,
        dtype: Any = np.int64,
    ) -> None:
        require_choice("method", method, get_args(Method))
        require_choice("overflow", overflow, get_args(Overflow))
        self.sequence_length = require_sequence_length(sequence_length)
        if isinstance(block_rows, bool) or not isinstance(block_rows, int) or block_rows < 1:
            raise ConfigError(f"{block_rows!r} is not a positive whole number", where="block_rows")
        if sum(data.lengths) == 0:
            raise InputError("the dataset holds no tokens", hint="check what the earlier steps kept")
        self._data = data
        self._split, self._best_fit = overflow == "split", method == "best_fit"
        self._block_rows = block_rows
        self.pad_id = int(pad_id)
        self.dtype = np.dtype(dtype)
        self.fingerprint = data.fingerprint
        self.policy = f"packed/{self.sequence_length}/{method}/{overflow}/block{block_rows}/pad{self.pad_id}"
        self._forget()
        counts, self.statistics = self._counts(sidecar_directory, sidecar_source)
        self._block_shards = np.repeat(np.arange(len(counts)), [len(of_shard) for of_shard in counts])
        self._first_blocks = np.cumsum([0, *(len(of_shard) for of_shard in counts)])
        every = np.concatenate([np.asarray(of_shard, np.int64) for of_shard in counts])
        self._first_sequences = np.concatenate([np.zeros(1, np.int64), np.cumsum(every)])
        self._length = int(self._first_sequences[-1])
        _log.info("%s: %s", self.policy, self.statistics)

    def __repr__(self) -> str:
        return f"PackedSequences({self.policy}: {self.statistics})"

    @property
    def shard_starts(self) -> np.ndarray:
        """The first sequence of each shard, and their number."""
        return self._first_sequences[self._first_blocks]

    def prefetch(self, shards: Sequence[int]) -> None:
        """Have the data fetch `shards`, in this order, ahead of their use."""
        self._data.prefetch(shards)

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy sequences `indices` into the rows of `out`, padded with `pad_id`."""
        self._copy(self._data.streams, indices, out, self.pad_id)

    def column_dtype(self, name: str) -> np.dtype:
        """The dtype of a parallel column; `ConfigError` if the dataset has none of that name."""
        return column_dtype(self._data, name)

    def gather_column(self, name: str, indices: np.ndarray, out: np.ndarray) -> None:
        """As `gather`, the values of a parallel column; 0 at padding."""
        self._copy(self._data.column(name), indices, out, 0)

    def boundaries(self, indices: np.ndarray) -> Boundaries:
        """Where documents, pieces of them and padding begin in sequences `indices`."""
        length = self.sequence_length
        found, filled = [], []
        for row, (_, _, lengths) in enumerate(self._pieces(indices)):
            starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
            filled.append(int(starts[-1]))
            found.append(starts[starts < length] + row * length)
        together = np.concatenate(found) if found else np.empty(0, np.int64)
        return Boundaries(together, np.array(filled, np.int64))

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_lock", "_remembered", "_held")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._lock = Lock()
        self._remembered: OrderedDict[int, _Block] = OrderedDict()
        self._held = 0

    def _copy(
        self, streams: Sequence[np.ndarray], indices: np.ndarray, out: np.ndarray, padding: int
    ) -> None:
        for row, (shard, begins, lengths) in zip(out, self._pieces(indices)):
            stream, place = streams[shard], 0
            for begin, size in zip(begins.tolist(), lengths.tolist()):
                row[place : place + size] = stream[begin : begin + size]
                place += size
            row[place:] = padding

    def _pieces(self, indices: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Shard, first tokens and lengths of the pieces of each sequence."""
        indices = np.asarray(indices)
        blocks = np.searchsorted(self._first_sequences, indices, side="right") - 1
        result = []
        for number, sequence in zip(blocks.tolist(), (indices - self._first_sequences[blocks]).tolist()):
            block = self._block(number)
            pieces = slice(*block.sequence_starts[sequence : sequence + 2].tolist())
            result.append((block.shard, block.begins[pieces], block.lengths[pieces]))
        return result

    def _block(self, number: int) -> _Block:
        with self._lock:
            block = self._remembered.get(number)
            if block is not None:
                self._remembered.move_to_end(number)
                return block
        shard = int(self._block_shards[number])
        block = self._pack(shard, number - int(self._first_blocks[shard]))
        with self._lock:
            if number not in self._remembered:
                self._remembered[number] = block
                self._held += _size(block)
            while self._held > _REMEMBERED_BYTES and len(self._remembered) > 1:
                self._held -= _size(self._remembered.popitem(last=False)[1])
        return block

    def _pack(self, shard: int, number: int) -> _Block:
        from corpuskit.kernels.packing import pack_block

        rows = self._data.offsets[shard][number * self._block_rows : (number + 1) * self._block_rows + 1]
        offsets = np.array(rows, np.int64)
        packed = pack_block(offsets, self.sequence_length, self._split, self._best_fit)
        return _Block(shard, *packed)

    def _counts(
        self, directory: str | os.PathLike | None, source: Callable[[str], bytes | None] | None
    ) -> tuple[list[list[int]], PackingStatistics]:
        """Sequences of each block of each shard: from the sidecar, or by packing every block once."""
        name = f"packing-{digest(self.fingerprint, self.policy)[:16]}.json"
        path = None if directory is None else Path(directory) / name
        for read in (_bytes_at(path), None if source is None else partial(source, name)):
            if read is not None and (stored := self._load(name, read)) is not None:
                return stored
        counts: list[list[int]] = []
        sequences = kept = 0
        for shard in range(len(self._data.lengths)):
            rows = len(self._data.offsets[shard]) - 1
            blocks = [self._pack(shard, number) for number in range(-(-rows // self._block_rows))]
            counts.append([len(block.sequence_starts) - 1 for block in blocks])
            sequences += sum(counts[-1])
            kept += sum(int(block.lengths.sum()) for block in blocks)
        tokens = int(sum(self._data.lengths))
        statistics = PackingStatistics(
            sequences, tokens, tokens - kept, sequences * self.sequence_length - kept
        )
        if path is not None:
            self._save(path, counts, statistics)
        return counts, statistics

    def _load(
        self, name: str, read: Callable[[], bytes | None]
    ) -> tuple[list[list[int]], PackingStatistics] | None:
        try:
            content = read()
            if content is None:
                return None
            stored = json.loads(content)
            if stored["digest"] != self._digest(stored["counts"], stored["statistics"]):
                raise ValueError("its digest does not match")
            return stored["counts"], PackingStatistics(**stored["statistics"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s is made again: %s", name, error)
            return None

    def _save(self, path: Path, counts: list[list[int]], statistics: PackingStatistics) -> None:
        content = {
            "fingerprint": self.fingerprint,
            "policy": self.policy,
            "counts": counts,
            "statistics": asdict(statistics),
            "digest": self._digest(counts, asdict(statistics)),
        }
        try:
            write_json(path, content)
        except (OSError, ResourceError) as error:
            # A dataset may lie on a read-only or full disk; the counts are then made at every start.
            _log.warning("%s is not kept: %s", path, error)

    def _digest(self, counts: Any, statistics: Any) -> str:
        return digest(_SIDECAR_VERSION, self.fingerprint, self.policy, counts, sorted(statistics.items()))


def _bytes_at(path: Path | None) -> Callable[[], bytes | None] | None:
    return None if path is None else path.read_bytes


def _size(block: _Block) -> int:
    return block.begins.nbytes + block.lengths.nbytes + block.sequence_starts.nbytes
