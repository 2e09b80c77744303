"""Fixed windows over the concatenated token stream: sample i is tokens [i*T, (i+1)*T).

Windows ignore document and shard borders (the end-of-text id marks the former). Of a stream of
n tokens at length T, ``n mod T`` tokens are left at the end: with ``remainder="drop"`` no window
holds them (at most T - 1 tokens of the whole dataset), with ``remainder="overlap"`` one more
window ends at the last token and repeats some of its predecessor, so no token is lost. With a
stride S below T, sample i begins at i*S instead.

With ``across_shards=False`` every shard is a stream of its own, for data behind a network: else a
window that begins in one shard could ask for all of the next. That costs a remainder a shard,
at T = 1,024 below a token in 100,000 of a full one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from corpuskit.errors import ConfigError, InputError
from corpuskit.shards.samples import Boundaries, MapStyle, SampleSource, TokenStreams, require_sequence_length
from corpuskit.shards.shardfile import require_choice

__all__ = ["Remainder", "SampleSource", "TokenStreams", "Windows"]

Remainder = Literal["drop", "overlap"]


class Windows(MapStyle):
    """A map-style view of a token stream; made by `TokenDataset.windows`.

    It pickles with its dataset, not with the tokens, so it costs a loader worker nothing.

    Parameters
    ----------
    data : TokenStreams
        A `TokenDataset`.
    sequence_length : int
        Tokens in a window.
    stride : int, optional
        Tokens between the beginnings of neighbouring windows, 1 to `sequence_length` (the default:
        every token is in one window). A smaller one shows the same text at several positions.
    remainder : {"drop", "overlap"}
        What becomes of the tokens after the last whole window.
    across_shards : bool
        False: no window holds tokens of two shards, and every shard has its own remainder. Shards
        shorter than a window have none; `tokens_left_out` counts them too.
    dtype : numpy dtype
        Of the arrays that `__getitem__` returns.

    Raises
    ------
    InputError
        If there are no tokens.
    ConfigError
        If `sequence_length` is not positive or longer than all tokens, or `stride` out of range.
    """

    def __init__(
        self,
        data: TokenStreams,
        sequence_length: int,
        *,
        stride: int | None = None,
        remainder: Remainder = "drop",
        across_shards: bool = True,
        dtype: Any = np.int64,
    ) -> None:
        require_choice("remainder", remainder, get_args(Remainder))
        length = require_sequence_length(sequence_length)
        if stride is not None and not 1 <= stride <= length:
            raise ConfigError(
                f"{stride!r} is not between 1 and sequence_length ({length})",
                where="stride",
                hint="a larger stride would leave tokens out",
            )
        self._data = data
        self._streams = data.streams
        self.sequence_length = length
        self.fingerprint = data.fingerprint
        self.stride = int(stride or length)
        self.dtype = np.dtype(dtype)
        sizes = np.asarray(data.lengths, np.int64)
        _require_tokens(length, int(sizes.sum()), int(sizes.max(initial=0)), across_shards)
        # Token positions at which shards begin, and the same for the pieces that windows stay within.
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self._borders = self._starts if not across_shards else self._starts[[0, -1]]
        pieces = np.diff(self._borders)
        steps, rest = np.divmod(pieces - length, self.stride)
        counts = np.where(pieces < length, 0, steps + 1 + ((rest > 0) & (remainder == "overlap")))
        self._first_samples = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        self._length = int(self._first_samples[-1])
        covered = np.where(remainder == "overlap", pieces, (counts - 1) * self.stride + length)
        self.tokens_left_out = int((pieces - np.where(counts > 0, covered, 0)).sum())
        self.policy = f"windows/{length}/{remainder}"
        if self.stride != length:
            self.policy += f"/stride{self.stride}"
        if not across_shards:
            self.policy += "/by-shard"

    @property
    def shard_starts(self) -> np.ndarray:
        """The first sample of each shard and their number; a sample counts where it begins."""
        if len(self._borders) == len(self._starts):
            return self._first_samples
        first = -(-self._starts // self.stride)
        first[-1] = self._length
        return np.minimum(first, self._length)

    def prefetch(self, shards: Sequence[int]) -> None:
        """Have the data fetch `shards`, in this order, ahead of their use."""
        self._data.prefetch(shards)

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy windows `indices` (each in [0, len)) into the rows of `out`, casting to its dtype.

        One indexing where all rows lie in one shard (2.7 thousand million tokens a second and core
        from `uint16` to `int64`), else one concatenation of slices (1.6); assigning row by row gave 1.3.
        So a compiled kernel would save nothing that matters.
        """
        self._copy(self._streams, indices, out)

    def column_dtype(self, name: str) -> np.dtype:
        """The dtype of a parallel column; `ConfigError` if the dataset has none of that name."""
        return column_dtype(self._data, name)

    def gather_column(self, name: str, indices: np.ndarray, out: np.ndarray) -> None:
        """As `gather`, the values of a parallel column."""
        self._copy(self._data.column(name), indices, out)

    def boundaries(self, indices: np.ndarray) -> Boundaries:
        """Where documents begin in windows `indices`; a document that goes on from before begins at 0."""
        length = self.sequence_length
        shards, places = self._locate(indices)
        offsets = self._data.offsets
        found = []
        for row, (shard, place) in enumerate(zip(shards.tolist(), places.tolist())):
            starts, filled = [np.zeros(1, np.int64)], 0
            while filled < length:
                size = min(length - filled, int(self._starts[shard + 1] - self._starts[shard]) - place)
                borders = offsets[shard]
                inside = borders[
                    np.searchsorted(borders, place) : np.searchsorted(borders, place + size, side="left")
                ]
                starts.append(np.asarray(inside, np.int64) - place + filled)
                filled += size
                shard, place = shard + 1, 0
            found.append(np.unique(np.concatenate(starts)) + row * length)
        filled_rows = np.full(len(found), length, np.int64)
        return Boundaries(np.concatenate(found) if found else np.empty(0, np.int64), filled_rows)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_streams"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._streams = self._data.streams

    def _locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shards in which windows begin, and the positions in them."""
        indices = np.asarray(indices)
        if len(self._borders) == 2:  # one piece: the same in a third of the calls
            begins = np.minimum(indices * self.stride, int(self._starts[-1]) - self.sequence_length)
        else:
            pieces = np.searchsorted(self._first_samples, indices, side="right") - 1
            begins = self._borders[pieces] + (indices - self._first_samples[pieces]) * self.stride
            begins = np.minimum(begins, self._borders[pieces + 1] - self.sequence_length)
        shards = self._starts.searchsorted(begins, side="right") - 1
        return shards, begins - self._starts[shards]

    def _copy(self, streams: Sequence[np.ndarray], indices: np.ndarray, out: np.ndarray) -> None:
        shards, places = self._locate(indices)
        if len(shards) == 0:
            return
        if (shards == shards[0]).all() and places.max() + self.sequence_length <= len(streams[shards[0]]):
            out[:] = _every_window(streams[shards[0]], self.sequence_length)[places]
            return
        pieces: list[np.ndarray] = []
        for shard, place in zip(shards.tolist(), places.tolist()):
            wanted = self.sequence_length
            while wanted:
                piece = streams[shard][place : place + wanted]
                pieces.append(piece)
                wanted -= len(piece)
                shard, place = shard + 1, 0
        if out.flags.c_contiguous:
            np.concatenate(pieces, out=out.reshape(-1), casting="unsafe")
        else:
            out[:] = np.concatenate(pieces).reshape(out.shape)


def _every_window(stream: np.ndarray, length: int) -> np.ndarray:
    """Row i is tokens i to i + length: a view; `sliding_window_view` is the same, ten microseconds slower."""
    size = stream.itemsize
    buffer: Any = stream
    return np.ndarray((len(stream) - length + 1, length), stream.dtype, buffer, 0, (size, size))


def column_dtype(data: TokenStreams, name: str) -> np.dtype:
    """The dtype of a parallel column of `data`, or `ConfigError` naming those that there are."""
    if name not in data.column_types:
        raise ConfigError(
            f"the dataset has no column {name!r}",
            where="fields",
            hint=f"its columns are {', '.join(data.column_types) or 'none'}",
        )
    return np.dtype(data.column_types[name])


def _require_tokens(length: int, total: int, largest: int, across_shards: bool) -> None:
    if total == 0:
        raise InputError("the dataset holds no tokens", hint="check what the earlier steps kept")
    available = total if across_shards else largest
    if length > available:
        whole = "the whole dataset" if across_shards else "the largest shard"
        raise ConfigError(
            f"{length} is longer than {whole} of {available} tokens",
            where="sequence_length",
            hint=f"choose at most {available}, or write more documents",
        )
