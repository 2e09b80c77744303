"""Batches for training: any number of ranks, exact resume, no state but one integer.

Global batch b holds the samples at global indices [b*B*W, (b+1)*B*W) for batch size B and W ranks;
rank r takes the r-th slice of B. Indices run on across epoch ends. So the sequence of samples is
one and the same for every number of ranks, and the number of samples consumed by all ranks says
where a run stands, also for a run that goes on with other ranks or another batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.shards.order import SampleOrder
from corpuskit.shards.windows import SampleSource

# Samples whose order is computed at once: the permutation costs some 100 numpy calls however few.
_AHEAD = 4096


class Loader:
    """Iterate over batches ``{"input_ids": int64 array [batch_size, sequence_length]}``.

    The loader is its own iterator: a second ``for`` goes on where the first stopped. Without
    `epochs` it never ends.

    Parameters
    ----------
    samples : SampleSource
        Usually `TokenDataset.windows`.
    batch_size : int
        Samples a batch on this rank.
    seed : int
        Chooses the order; every epoch has its own.
    rank, world_size : int
        This process and how many there are.
    shuffle : bool
        If False, samples come in stored order.
    epochs : int, optional
        Stop after this many passes.
    drop_last : bool
        With `epochs`: leave out the samples after the last whole global batch (the same number of
        batches on every rank), or hand them out as a shorter batch, which the last ranks may not get.
    state : Mapping, optional
        A `state_dict` to go on from.

    Raises
    ------
    ConfigError
        If a parameter is impossible.
    MismatchError
        If `state` belongs to other data, another sequence length, seed or order.
    """

    def __init__(
        self,
        samples: SampleSource,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        epochs: int | None = None,
        drop_last: bool = True,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        _require_at_least("batch_size", batch_size, 1)
        _require_at_least("world_size", world_size, 1)
        _require_at_least("rank", rank, 0)
        _require_at_least("seed", seed, 0)
        if rank >= world_size:
            raise ConfigError(f"{rank} is not below world_size {world_size}", where="rank")
        if epochs is not None:
            _require_at_least("epochs", epochs, 1)
        self._samples = samples
        self._batch_size = int(batch_size)
        self._rank = int(rank)
        self._world_size = int(world_size)
        policy = f"{samples.policy}/{'shuffled' if shuffle else 'stored'}"
        self._order = SampleOrder(samples.fingerprint, policy, int(seed), len(samples), shuffle)
        self._end = None if epochs is None else int(epochs) * len(samples)
        self._drop_last = drop_last
        if self._end is not None and drop_last and self._global_batch > self._end:
            raise ConfigError(
                f"a global batch of {self._global_batch} samples is more than all {self._end}",
                where="batch_size",
                hint="choose a smaller batch, more epochs, or drop_last=False",
            )
        self._consumed = 0
        self._ahead = np.empty((0, self._batch_size), np.int64)
        self._ahead_start = 0
        if state is not None:
            self.load_state_dict(state)

    @property
    def samples_consumed(self) -> int:
        """Samples handed out on all ranks, over all epochs."""
        return self._consumed

    @property
    def epoch(self) -> int:
        """Whole passes finished."""
        return self._consumed // len(self._samples)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        indices = self._next_indices()
        batch, buffer = self._allocate((len(indices), self._samples.sequence_length))
        self._samples.gather(indices, buffer)
        self._consumed += self._global_batch
        if self._end is not None:
            self._consumed = min(self._consumed, self._end)
        return {"input_ids": batch}

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands after the batches handed out so far: plain JSON values."""
        return {
            "samples_consumed": self._consumed,
            "fingerprint": self._order.fingerprint,
            "policy": self._order.policy,
            "seed": self._order.seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ranks and batch size may differ from when it was saved.

        Raises
        ------
        MismatchError
            If it belongs to another dataset, sequence length, order or seed.
        ArtifactError
            If it is not a loader's state.
        """
        consumed = state.get("samples_consumed")
        if isinstance(consumed, bool) or not isinstance(consumed, (int, np.integer)) or consumed < 0:
            raise ArtifactError(
                f"samples_consumed is {consumed!r}", where="loader state", hint="give a loader's state_dict()"
            )
        for field, name, expected in [
            ("fingerprint", "dataset", self._order.fingerprint),
            ("policy", "sequence policy", self._order.policy),
            ("seed", "seed", self._order.seed),
        ]:
            if state.get(field) != expected:
                raise MismatchError(
                    f"the state was saved with {name} {state.get(field)!r}; this loader has {expected!r}",
                    where="loader state",
                    hint="open the data with the same settings, or start without a state",
                )
        self._consumed = int(consumed)

    @property
    def _global_batch(self) -> int:
        return self._batch_size * self._world_size

    def _next_indices(self) -> np.ndarray:
        """Sample indices of this rank's next batch."""
        if self._end is not None and self._consumed + self._global_batch > self._end:
            first = self._consumed + self._rank * self._batch_size
            last = min(first + self._batch_size, self._end)
            if self._drop_last or first >= last:
                raise StopIteration
            return self._order(np.arange(first, last))
        step, misfit = divmod(self._consumed - self._ahead_start, self._global_batch)
        if misfit or not 0 <= step < len(self._ahead):
            steps = np.arange(max(1, _AHEAD // self._batch_size))
            firsts = self._consumed + steps * self._global_batch + self._rank * self._batch_size
            self._ahead = self._order(firsts[:, None] + np.arange(self._batch_size))
            self._ahead_start, step = self._consumed, 0
        return self._ahead[step]

    def _allocate(self, shape: tuple[int, int]) -> tuple[Any, np.ndarray]:
        """The batch to hand out, and a NumPy view of its memory to fill."""
        array = np.empty(shape, np.int64)
        return array, array


def _require_at_least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigError(f"{value!r} is not a whole number of at least {least}", where=name)
