"""Which samples the batches of a run hold: a function of how many samples went before.

It joins an order (`order`, `mixture`) with batch size, ranks and an end. Global batch b holds
the samples at the next ``batch_size * world_size`` global indices, rank r takes the r-th slice of
`batch_size`. Only where the order ends, or where the sequence length changes (`Stages`), is there
less than a whole global batch; `drop_last` says what becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from corpuskit.errors import ConfigError
from corpuskit.shards.mixture import MixedOrder, Mixture, Stages
from corpuskit.shards.order import SampleOrder, ShardOrder
from corpuskit.shards.samples import RichSource, SampleSource

# Samples whose order is computed at once: the permutation costs some 100 numpy calls however few. After
# a start or a jump it begins small, so that the first batch comes soon.
_FIRST_AHEAD, _AHEAD = 256, 4096


class Step(NamedTuple):
    """One batch of one rank.

    Attributes
    ----------
    indices : numpy.ndarray[int64]
        Samples of the source.
    sequence_length : int
    consumed : int
        Samples handed out on all ranks after this batch.
    """

    indices: np.ndarray
    sequence_length: int
    consumed: int


@dataclass(frozen=True)
class Batching:
    """How samples are dealt to batches and ranks."""

    batch_size: int
    rank: int
    world_size: int
    drop_last: bool

    @property
    def global_batch(self) -> int:
        return self.batch_size * self.world_size


class Schedule:
    """The steps of a run on one rank.

    Parameters
    ----------
    samples : SampleSource
    batching : Batching
    seed : int
    shuffle : bool
    shuffle_window : int or None
        Shards whose samples are mixed; None mixes all.
    epochs : int or None

    Raises
    ------
    ConfigError
        If the parameters do not fit the samples.
    """

    def __init__(
        self,
        samples: SampleSource,
        batching: Batching,
        seed: int,
        shuffle: bool,
        shuffle_window: int | None,
        epochs: int | None,
    ) -> None:
        if shuffle_window is not None and not shuffle:
            raise ConfigError("it says how to shuffle, but shuffle is False", where="shuffle_window")
        self._batching = batching
        mode = "stored" if not shuffle else f"shards{shuffle_window}" if shuffle_window else "shuffled"
        self.fingerprint, self.policy = samples.fingerprint, f"{samples.policy}/{mode}"
        leaves = samples.leaves if isinstance(samples, (Mixture, Stages)) else (samples,)
        self._leaves = leaves
        self._orders = [_leaf_order(leaf, seed, shuffle, shuffle_window, mode) for leaf in leaves]
        self._mixed: MixedOrder | None = None
        self._changes: list[tuple[int, int]] = []  # where another length begins, and the length before it
        if isinstance(samples, (Mixture, Stages)):
            self._mixed = MixedOrder(samples, self._orders, seed, shuffle)
            if epochs is not None and self._mixed.end is None:
                raise ConfigError(
                    "a mixture has no epochs: its sources end at different times",
                    where="epochs",
                    hint="give the number of samples: Stages([(mixture, num_samples)])",
                )
            if epochs not in (None, 1):
                raise ConfigError(f"{epochs} passes over stages are not possible", where="epochs")
            self.end = self._mixed.end
            self._changes = _length_changes(samples)
        else:
            self.end = None if epochs is None else epochs * len(samples)
        self._last_length = leaves[samples.parts[-1].leaves[0] if self._mixed else 0].sequence_length  # type: ignore[attr-defined]
        if self.end is not None and batching.drop_last and batching.global_batch > self.end:
            raise ConfigError(
                f"a global batch of {batching.global_batch} samples is more than all {self.end}",
                where="batch_size",
                hint="choose a smaller batch, more epochs, or drop_last=False",
            )
        self._ahead = np.empty((0, batching.batch_size), np.int64)
        self._ahead_start = 0
        self._ahead_size = _FIRST_AHEAD

    def step(self, consumed: int) -> Step | None:
        """The batch after `consumed` samples; None at the end (of this rank)."""
        batching = self._batching
        while True:
            limit, length = self._stretch(consumed)
            if limit is None or consumed + batching.global_batch <= limit:
                return Step(self._whole(consumed, limit), length, consumed + batching.global_batch)
            first = consumed + batching.rank * batching.batch_size
            last = min(first + batching.batch_size, limit)
            if not batching.drop_last and first < last:
                return Step(self._order(np.arange(first, last)), length, limit)
            if limit == self.end:
                return None
            consumed = limit

    def prefetch(self, consumed: int) -> None:
        """Ask the sources to fetch what a shard-wise order will use next."""
        places = [(0, consumed)] if self._mixed is None else self._mixed.upcoming(consumed)
        for leaf, position in places:
            order, source = self._orders[leaf], self._leaves[leaf]
            if not isinstance(source, RichSource):
                continue
            if isinstance(order, ShardOrder):
                source.prefetch(order.upcoming_shards(position))
            elif not order.shuffle:
                place = np.int64(position % len(source))
                shard = int(np.searchsorted(source.shard_starts, place, side="right")) - 1
                source.prefetch([shard, shard + 1])

    def _stretch(self, consumed: int) -> tuple[int | None, int]:
        """The end of the stretch of one sequence length at `consumed`, and that length."""
        for place, length in self._changes:
            if consumed < place:
                return place, length
        return self.end, self._last_length

    def _whole(self, consumed: int, limit: int | None) -> np.ndarray:
        batching = self._batching
        number, misfit = divmod(consumed - self._ahead_start, batching.global_batch)
        if misfit or not 0 <= number < len(self._ahead):
            goes_on = not misfit and number == len(self._ahead)
            self._ahead_size = min(4 * self._ahead_size, _AHEAD) if goes_on else _FIRST_AHEAD
            count = max(1, self._ahead_size // batching.batch_size)
            if limit is not None:
                count = min(count, (limit - consumed) // batching.global_batch)
            firsts = consumed + np.arange(count) * batching.global_batch + batching.rank * batching.batch_size
            self._ahead = self._order(firsts[:, None] + np.arange(batching.batch_size))
            self._ahead_start, number = consumed, 0
            self.prefetch(consumed)
        return self._ahead[number]

    def _order(self, global_indices: np.ndarray) -> np.ndarray:
        return (self._mixed or self._orders[0])(global_indices)


def _leaf_order(leaf: SampleSource, seed: int, shuffle: bool, window: int | None, mode: str) -> Any:
    if window is None:
        return SampleOrder(leaf.fingerprint, f"{leaf.policy}/{mode}", seed, len(leaf), shuffle)
    if not isinstance(leaf, RichSource):
        raise ConfigError(f"{type(leaf).__name__} does not know its shards", where="shuffle_window")
    starts = tuple(int(start) for start in leaf.shard_starts)
    return ShardOrder(leaf.fingerprint, f"{leaf.policy}/{mode}", seed, starts, window)


def _length_changes(samples: Mixture | Stages) -> list[tuple[int, int]]:
    """Where stages of another sequence length begin, and the length before."""
    lengths = [samples.leaves[part.leaves[0]].sequence_length for part in samples.parts]
    changes, place = [], 0
    for part, length, following in zip(samples.parts, lengths, lengths[1:]):
        place += part.num_samples or 0
        if following != length:
            changes.append((place, length))
    return changes
