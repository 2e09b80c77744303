"""Fixed windows over the concatenated token stream: sample i is tokens [i*T, (i+1)*T).

Windows ignore document and shard borders (the end-of-text id marks the former). Of a stream of
n tokens at length T, ``n mod T`` tokens are left at the end: with ``remainder="drop"`` no window
holds them (at most T - 1 tokens of the whole dataset), with ``remainder="overlap"`` one more
window ends at the last token and repeats some of its predecessor, so no token is lost. With a
stride S below T, sample i begins at i*S instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, get_args

import numpy as np

from corpuskit.errors import ConfigError, InputError
from corpuskit.shards.shardfile import require_choice

Remainder = Literal["drop", "overlap"]


class SampleSource(Protocol):
    """What a loader draws from: equally long samples that are a pure function of their index."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def policy(self) -> str: ...

    @property
    def sequence_length(self) -> int: ...

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None: ...


class TokenStreams(Protocol):
    """What windows are cut from: the tokens of each shard, in order."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def streams(self) -> Sequence[np.ndarray]: ...


class Windows:
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
        dtype: Any = np.int64,
    ) -> None:
        require_choice("remainder", remainder, get_args(Remainder))
        if (
            isinstance(sequence_length, bool)
            or not isinstance(sequence_length, (int, np.integer))
            or sequence_length < 1
        ):
            raise ConfigError(f"{sequence_length!r} is not a positive whole number", where="sequence_length")
        if stride is not None and not 1 <= stride <= sequence_length:
            raise ConfigError(
                f"{stride!r} is not between 1 and sequence_length ({sequence_length})",
                where="stride",
                hint="a larger stride would leave tokens out",
            )
        self._data = data
        self._streams = _not_empty(data.streams)
        self._starts = np.concatenate(
            [np.zeros(1, np.int64), np.cumsum([len(stream) for stream in self._streams], dtype=np.int64)]
        )
        self._num_tokens = int(self._starts[-1])
        if self._num_tokens == 0:
            raise InputError("the dataset holds no tokens", hint="check what the earlier steps kept")
        if sequence_length > self._num_tokens:
            raise ConfigError(
                f"{sequence_length} is longer than the whole dataset of {self._num_tokens} tokens",
                where="sequence_length",
                hint=f"choose at most {self._num_tokens}, or write more documents",
            )
        self.sequence_length = int(sequence_length)
        self.fingerprint = data.fingerprint
        self.stride = int(stride or sequence_length)
        self.policy = f"windows/{self.sequence_length}/{remainder}"
        if self.stride != self.sequence_length:
            self.policy += f"/stride{self.stride}"
        self.dtype = np.dtype(dtype)
        steps, rest = divmod(self._num_tokens - self.sequence_length, self.stride)
        self._length = steps + 1 + (1 if rest and remainder == "overlap" else 0)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> np.ndarray:
        """Window `index` as an array of `sequence_length` values that owns its memory."""
        if not -self._length <= index < self._length:
            raise IndexError(f"window {index} of {self._length}")
        out = np.empty((1, self.sequence_length), self.dtype)
        self.gather(np.array([index % self._length]), out)
        return out[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_streams"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._streams = _not_empty(self._data.streams)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(self._length))

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy windows `indices` (each in [0, len)) into the rows of `out`, casting to its dtype.

        A row is one slice assignment: some 600 million tokens a second and core from
        `uint16` to `int64`, so a compiled kernel would save nothing that matters.
        """
        length = self.sequence_length
        begins = np.minimum(np.asarray(indices) * self.stride, self._num_tokens - length)
        shards = np.searchsorted(self._starts, begins, side="right") - 1
        offsets = begins - self._starts[shards]
        for row, shard, offset in zip(out, shards.tolist(), offsets.tolist()):
            stream = self._streams[shard]
            if offset + length <= len(stream):
                row[:] = stream[offset : offset + length]
            else:
                self._gather_across(row, shard, offset)

    def _gather_across(self, row: np.ndarray, shard: int, offset: int) -> None:
        filled = 0
        while filled < len(row):
            piece = self._streams[shard][offset : offset + len(row) - filled]
            row[filled : filled + len(piece)] = piece
            filled += len(piece)
            shard, offset = shard + 1, 0


def _not_empty(streams: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [stream for stream in streams if len(stream)]
