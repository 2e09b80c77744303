"""Several sources in one order: by weight, or one after the other, exact like a single one.

A `Mixture` fills blocks of `block_samples` (4,096) samples. How many of a block come from each source
is fixed by the largest-remainder method (Hamilton's), so proportions hold in every block and not
only on average; where in a block they stand is a keyed permutation. Before sample g a source has
given exactly the first k of its own shuffled order, k a function of g, and wraps into its next
epoch when it is used up. So within an epoch of a source nothing is missing and nothing doubled,
whatever its weight, and a run's place is still one integer.

Weights are given, or follow from the sizes as T5's do: ``min(n * scale, cap) ** (1 / temperature)``
(Raffel et al. 2020, section 3.5.2; `mixing_rate_num_examples` in seqio/utils.py). Temperature 1
is proportional to size, a large one makes sources equal.

`Stages` uses one source (or mixture) up to a sample, then the next: BERT's 128 and then 512 tokens, or other
weights for the end of training. A source that occurs in two stages goes on where it stopped.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from corpuskit.errors import ConfigError
from corpuskit.shards.order import derive_key, permute
from corpuskit.shards.samples import Boundaries, MapStyle, SampleSource, digest

_BLOCK_SAMPLES = 4096
_REMEMBERED_BLOCKS = 8


def mixture_rates(
    sizes: Mapping[str, float], *, temperature: float = 1.0, cap: float | None = None, scale: float = 1.0
) -> dict[str, float]:
    """T5's mixing rates: ``min(n * scale, cap) ** (1 / temperature)``, as shares of 1.

    Parameters
    ----------
    sizes : Mapping[str, number]
        Examples (or tokens) of each source.
    temperature : float
        At least 1; T5's multilingual recipe uses 2 and more.
    cap : float, optional
        Artificial limit on a source's size (T5: 2^19 to 2^21).
    scale : float

    Raises
    ------
    ConfigError
        If a parameter is impossible.
    """
    for name, value in [("temperature", temperature), ("scale", scale), ("cap", cap)]:
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{value!r} is not a positive number", where=name)
    rates = {}
    for name, size in sizes.items():
        limited = size * scale if cap is None else min(size * scale, cap)
        rates[name] = limited ** (1.0 / temperature)
    total = sum(rates.values())
    if not total > 0:
        raise ConfigError("every source is empty", where="sizes")
    return {name: rate / total for name, rate in rates.items()}


def largest_remainder(weights: Sequence[float], seats: int) -> list[int]:
    """Whole numbers that sum to `seats` in the proportion of `weights` (Hamilton's method).

    Exact in the given floats; equal remainders go to the earlier source.
    """
    exact = [Fraction(weight) for weight in weights]
    total = sum(exact)
    shares = [weight * seats / total for weight in exact]
    quotas = [int(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (quotas[i] - shares[i], i))
    for index in by_remainder[: seats - sum(quotas)]:
        quotas[index] += 1
    return quotas


@dataclass(frozen=True)
class Part:
    """A stretch of the order: the leaves it draws from, by number, and how many of a block each gives.

    Attributes
    ----------
    leaves, quotas : tuple of int
    num_samples : int or None
        None: for ever.
    """

    leaves: tuple[int, ...]
    quotas: tuple[int, ...]
    num_samples: int | None = None

    @property
    def block(self) -> int:
        """Samples of a block."""
        return sum(self.quotas)


class _Collection(MapStyle):
    """Sources one after the other under one numbering; the base of `Mixture` and `Stages`."""

    def __init__(self, leaves: Sequence[Any], parts: Sequence[Part]) -> None:
        self.leaves = tuple(leaves)
        self.parts = tuple(parts)
        self.first_samples = np.cumsum([0, *(len(leaf) for leaf in self.leaves)])
        self._length = int(self.first_samples[-1])
        self.dtype = np.dtype(np.int64)
        self.fingerprint = digest("collection", [leaf.fingerprint for leaf in self.leaves])
        self.sequence_length = self.leaves[0].sequence_length

    def __getitem__(self, index: int) -> np.ndarray:
        """Sample `index` of all sources, one after the other."""
        if not -self._length <= index < self._length:
            raise IndexError(f"sample {index} of {self._length}")
        number, place = self._locate(np.array([index % self._length]))
        return self.leaves[int(number[0])][int(place[0])]

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy samples `indices` (all of the same length) into the rows of `out`."""
        for leaf, rows, places in self._by_leaf(indices):
            if len(rows) == len(out):
                leaf.gather(places, out)
            else:
                part = np.empty((len(rows), out.shape[1]), out.dtype)
                leaf.gather(places, part)
                out[rows] = part

    def column_dtype(self, name: str) -> np.dtype:
        """The common dtype of a parallel column of all sources."""
        return np.result_type(*(leaf.column_dtype(name) for leaf in self.leaves))

    def gather_column(self, name: str, indices: np.ndarray, out: np.ndarray) -> None:
        """As `gather`, the values of a parallel column."""
        for leaf, rows, places in self._by_leaf(indices):
            part = np.empty((len(rows), out.shape[1]), out.dtype)
            leaf.gather_column(name, places, part)
            out[rows] = part

    def boundaries(self, indices: np.ndarray) -> Boundaries:
        """Where documents begin in samples `indices` (all of the same length)."""
        filled = np.empty(len(indices), np.int64)
        found = [np.empty(0, np.int64)]
        for leaf, rows, places in self._by_leaf(indices):
            starts, filled[rows] = leaf.boundaries(places)
            length = leaf.sequence_length
            found.append(rows[starts // length] * length + starts % length)
        return Boundaries(np.sort(np.concatenate(found)), filled)

    @property
    def shard_starts(self) -> np.ndarray:
        """The first sample of each shard of each source, and the number of samples."""
        pieces = [leaf.shard_starts[:-1] + first for leaf, first in zip(self.leaves, self.first_samples)]
        return np.concatenate([*pieces, self.first_samples[-1:]])

    def prefetch(self, shards: Sequence[int]) -> None:
        """Not used: a loader asks the sources."""

    def _locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.searchsorted(self.first_samples, indices, side="right") - 1
        return numbers, indices - self.first_samples[numbers]

    def _by_leaf(self, indices: np.ndarray) -> list[tuple[Any, np.ndarray, np.ndarray]]:
        """The sources that `indices` touch, the positions in `indices`, and the sources' own indices."""
        numbers, places = self._locate(np.asarray(indices))
        chosen = [(number, np.flatnonzero(numbers == number)) for number in np.unique(numbers).tolist()]
        return [(self.leaves[number], rows, places[rows]) for number, rows in chosen]


class Mixture(_Collection):
    """Sources in fixed proportions.

    Parameters
    ----------
    sources : Mapping[str, SampleSource]
        Windows or packed sequences of one length, by name.
    weights : Mapping[str, float], optional
        Any positive scale. Default: from the numbers of samples, by `temperature`, `cap`, `scale`.
    temperature, cap, scale
        As for `mixture_rates`; not with `weights`.
    block_samples : int
        Samples after which the proportions are met exactly.

    Attributes
    ----------
    rates : dict of str to float
        The proportions that hold, in multiples of 1 / block_samples.

    Raises
    ------
    ConfigError
        If names, weights or lengths do not fit, or a weight is too small to give one sample a block.
    """

    def __init__(
        self,
        sources: Mapping[str, SampleSource],
        weights: Mapping[str, float] | None = None,
        *,
        temperature: float = 1.0,
        cap: float | None = None,
        scale: float = 1.0,
        block_samples: int = _BLOCK_SAMPLES,
    ) -> None:
        if not sources:
            raise ConfigError("a mixture needs a source", where="sources")
        if weights is not None and (temperature, cap, scale) != (1.0, None, 1.0):
            raise ConfigError("give weights, or temperature, cap and scale", where="weights")
        if weights is None:
            sizes = {name: len(source) for name, source in sources.items()}
            weights = mixture_rates(sizes, temperature=temperature, cap=cap, scale=scale)
        _check_weights(sources, weights)
        if block_samples < len(sources):
            raise ConfigError(f"{block_samples} is below the number of sources", where="block_samples")
        names = list(sources)
        quotas = largest_remainder([weights[name] for name in names], block_samples)
        for name, quota in zip(names, quotas):
            if quota == 0:
                raise ConfigError(
                    f"weight {weights[name]} of {name!r} gives no sample in {block_samples}",
                    where="weights",
                    hint="choose a larger block_samples, or leave the source out",
                )
        leaves = [sources[name] for name in names]
        super().__init__(leaves, [Part(tuple(range(len(leaves))), tuple(quotas))])
        self.rates = {name: quota / sum(quotas) for name, quota in zip(names, quotas)}
        parts = ",".join(f"{quota}x{leaf.policy}" for quota, leaf in zip(quotas, leaves))
        self.policy = f"mixture[{parts}]"


class Stages(_Collection):
    """One source (or mixture) up to a sample, then the next.

    Parameters
    ----------
    stages : sequence of (source, num_samples)
        `num_samples` counts samples over all ranks; None, allowed in the last stage, is for ever.

    Notes
    -----
    Where the length changes, a batch cannot go on from one stage into the next: what is left of a
    stage after its last whole global batch is treated as at the end of the last epoch (`drop_last`).

    Raises
    ------
    ConfigError
        If there is no stage, or a number of samples is impossible.
    """

    def __init__(self, stages: Sequence[tuple[SampleSource, int | None]]) -> None:
        if not stages:
            raise ConfigError("there is no stage", where="stages")
        leaves: dict[tuple[str, str], SampleSource] = {}
        parts = []
        for number, (source, num_samples) in enumerate(stages):
            last = number == len(stages) - 1
            whole = isinstance(num_samples, (int, np.integer)) and not isinstance(num_samples, bool)
            if not (last and num_samples is None) and not (whole and num_samples > 0):  # type: ignore[operator]
                raise ConfigError(
                    f"stage {number} has {num_samples!r} samples",
                    where="stages",
                    hint="give a positive whole number; None is for the last stage",
                )
            inner = source.leaves if isinstance(source, _Collection) else (source,)
            if isinstance(source, Stages):
                raise ConfigError(f"stage {number} is made of stages", where="stages", hint="list them all")
            quotas = source.parts[0].quotas if isinstance(source, _Collection) else (_BLOCK_SAMPLES,)
            keys = [(leaf.fingerprint, leaf.policy) for leaf in inner]
            for key, leaf in zip(keys, inner):
                leaves.setdefault(key, leaf)
            ordered = list(leaves)
            count = None if num_samples is None else int(num_samples)
            parts.append(Part(tuple(ordered.index(key) for key in keys), tuple(quotas), count))
        super().__init__(list(leaves.values()), parts)
        names = [f"{part.num_samples}:{source.policy}" for part, (source, _) in zip(parts, stages)]
        self.policy = f"stages[{';'.join(names)}]"


def _check_weights(sources: Mapping[str, SampleSource], weights: Mapping[str, float]) -> None:
    if set(weights) != set(sources):
        raise ConfigError(
            f"the names {sorted(weights)} are not those of the sources, {sorted(sources)}", where="weights"
        )
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise ConfigError(f"{weight!r} of {name!r} is not a positive number", where="weights")
    lengths = {name: source.sequence_length for name, source in sources.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(
            f"the sequence lengths differ: {lengths}",
            where="sources",
            hint="use one length; Stages may change it",
        )
    seen: set[tuple[str, str]] = set()
    for name, source in sources.items():
        if isinstance(source, _Collection):
            raise ConfigError(
                f"{name!r} is itself a mixture", where="sources", hint="give its sources instead"
            )
        key = (source.fingerprint, source.policy)
        if key in seen:
            raise ConfigError(f"{name!r} is a source that is there already", where="sources")
        seen.add(key)


class MixedOrder:
    """Which sample stands at a global index of a mixture or of stages.

    Parameters
    ----------
    collection : Mixture or Stages
    orders : sequence of callables
        The order of each leaf.
    seed : int
    shuffle : bool
        If False, sources alternate as evenly as their quotas allow, and each comes in its order.
    """

    def __init__(self, collection: _Collection, orders: Sequence[Any], seed: int, shuffle: bool) -> None:
        self._parts, self._orders = collection.parts, list(orders)
        self._first_samples = collection.first_samples
        self._names = (collection.fingerprint, collection.policy, seed)
        self._shuffle = shuffle
        self._blocks: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._starts = [0]
        self._used = [np.zeros(len(self._orders), np.int64)]
        for number, part in enumerate(self._parts):
            if part.num_samples is None:
                break
            self._starts.append(self._starts[-1] + part.num_samples)
            self._used.append(self._used[-1] + self._counts(number, part.num_samples))

    @property
    def end(self) -> int | None:
        """Samples of all stages together; None if the last goes on for ever."""
        return self._starts[-1] if self._parts[-1].num_samples is not None else None

    def __call__(self, global_indices: np.ndarray) -> np.ndarray:
        """Sample indices of the collection at `global_indices`."""
        indices = np.asarray(global_indices, np.int64)
        flat = indices.reshape(-1)
        leaves, ranks = self.locate(flat)
        result = np.empty_like(flat)
        for leaf in np.unique(leaves).tolist():
            chosen = np.flatnonzero(leaves == leaf)
            result[chosen] = self._orders[leaf](ranks[chosen]) + self._first_samples[leaf]
        return result.reshape(indices.shape)

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The leaf at each global index, and the position in the leaf's own endless order."""
        stages = np.searchsorted(self._starts[: len(self._parts)], indices, side="right") - 1
        leaves, ranks = np.empty_like(indices), np.empty_like(indices)
        for stage in np.unique(stages).tolist():
            part = self._parts[stage]
            in_stage = np.flatnonzero(stages == stage)
            numbers, places = np.divmod(indices[in_stage] - self._starts[stage], part.block)
            quotas = np.asarray(part.quotas)
            for number in np.unique(numbers).tolist():
                here = np.flatnonzero(numbers == number)
                slots, slot_ranks = self._block(stage, number)
                slot = slots[places[here]]
                leaf = np.asarray(part.leaves)[slot]
                leaves[in_stage[here]] = leaf
                ranks[in_stage[here]] = (
                    self._used[stage][leaf] + number * quotas[slot] + slot_ranks[places[here]]
                )
        return leaves, ranks

    def upcoming(self, global_index: int) -> list[tuple[int, int]]:
        """The leaves of the stage at `global_index`, each with the position it has come to."""
        limit = self.end
        index = global_index if limit is None else min(global_index, limit - 1)
        stage = int(np.searchsorted(self._starts[: len(self._parts)], index, side="right")) - 1
        used = self._used[stage] + self._counts(stage, index - self._starts[stage])
        return [(leaf, int(used[leaf])) for leaf in self._parts[stage].leaves]

    def _counts(self, stage: int, num_samples: int) -> np.ndarray:
        """Samples that each leaf gives to the first `num_samples` of a stage."""
        part = self._parts[stage]
        whole, rest = divmod(num_samples, part.block)
        slots, _ = self._block(stage, whole)
        inside = np.bincount(slots[:rest], minlength=len(part.leaves)) + whole * np.asarray(part.quotas)
        counts = np.zeros(len(self._orders), np.int64)
        counts[list(part.leaves)] = inside
        return counts

    def _block(self, stage: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each place of a block: which of the stage's sources, and its how-manieth of the block."""
        key = (stage, number if self._shuffle else 0)
        if key not in self._blocks:
            part = self._parts[stage]
            # The even interleaving: the i-th of q samples wants the place (i + 1/2) / q.
            wanted = [(np.arange(quota) + 0.5) / quota for quota in part.quotas]
            sources = np.repeat(np.arange(len(part.quotas)), part.quotas)
            slots = sources[np.argsort(np.concatenate(wanted), kind="stable")]
            if self._shuffle and len(part.quotas) > 1:
                block_key = derive_key("mixture", *self._names, stage, number)
                slots = slots[permute(np.arange(len(slots)), len(slots), block_key)]
            ranks = np.empty(len(slots), np.int64)
            for source, quota in enumerate(part.quotas):
                ranks[slots == source] = np.arange(quota)
            self._blocks[key] = slots, ranks
            if len(self._blocks) > _REMEMBERED_BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[key]
