"""Batches: the loader's samples, made into examples by their objectives and padded to one shape.

The random choices of an example depend on the run's seed and on its position in the run, which the
loader knows: so they are the same for any number of ranks and workers and after any resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from corpuskit.models.seeds import derive
from corpuskit.shards.mixture import Mixture, Stages
from corpuskit.shards.samples import IGNORED_LABEL
from corpuskit.shards.schedule import Step
from corpuskit.shards.torch import TorchLoader
from corpuskit.train.data import Source
from corpuskit.train.objectives import Example, Objective, SpecialTokens

_ROUND = 8  # lengths of a batch are multiples of it: tensor cores work on tiles


class ObjectiveLoader(TorchLoader):
    """Batches of examples, ready for `corpuskit.train.losses.TokenLoss`.

    Parameters
    ----------
    samples : Source, Mixture or Stages of sources
    batch_size : int
        Of this rank.
    special : SpecialTokens
    name : str
        Whose random choices: those of training and of evaluation differ.
    fixed_lengths : bool
        Pad to the longest possible length, so that a compiled model sees one shape.
    **options
        As for `TorchLoader`.
    """

    def __init__(
        self,
        samples: Any,
        batch_size: int,
        special: SpecialTokens,
        name: str,
        fixed_lengths: bool = False,
        **options: Any,
    ) -> None:
        self._special, self._name, self._fixed = special, name, fixed_lengths
        self._batch_size = batch_size
        self._rank, self._world_size = options.get("rank", 0), options.get("world_size", 1)
        super().__init__(samples, batch_size, **options)

    def _make(self, step: Step) -> dict[str, Any]:
        count = len(step.indices)
        # Only one rank gets batches that are not whole (evaluation).
        others = self._batch_size * (self._world_size - self._rank - 1)
        first = step.consumed - count - others
        examples: list[Any] = [None] * count
        longest = [0, 0]
        for source, rows, places in _by_source(self._samples, step.indices):
            seeds = [derive(self._seed, f"{self._name} {first + row}") for row in rows.tolist()]
            objective = source.objective
            for row, sample, seed in zip(rows.tolist(), source.samples(places), seeds):
                examples[row] = objective(sample, seed, self._special)
            if self._fixed:
                lengths = source.sequence_length, objective.target_length(source.sequence_length)
                longest = [max(pair) for pair in zip(longest, lengths)]
        family = _first_source(self._samples).objective.family
        special = self._special
        start = special.pad if special.decoder_start is None else special.decoder_start
        return collate(examples, special.pad, family == "seq2seq", family == "causal", longest, start)


def collate(
    examples: Sequence[Example],
    pad: int,
    seq2seq: bool,
    causal: bool,
    least: Sequence[int] = (0, 0),
    start: int = 0,
) -> dict[str, np.ndarray]:
    """Examples as one batch.

    Parameters
    ----------
    examples : sequence of Example
    pad : int
        Fills up rows.
    seq2seq, causal : bool
        The kind of model.
    least : (int, int)
        Least length of inputs and of targets.
    start : int
        What a decoder reads before the first token of each target.

    Returns
    -------
    dict
        ``input_ids`` [B, T]; ``segment_ids`` [B, T] unless every row is one document without padding;
        with `seq2seq` ``decoder_input_ids`` and ``target_segment_ids`` [B, U]. ``places`` [n] are the
        positions in the flattened rows of hidden states from which the wanted tokens ``targets`` [n]
        are predicted; a causal model predicts a token one place before it.
    """
    ids = _padded([e.input_ids for e in examples], pad, np.int64, least[0])
    labels = _padded([e.labels for e in examples], IGNORED_LABEL, np.int64, least[1 if seq2seq else 0])
    segments = _padded([e.segments for e in examples], 0, np.int32, least[0])
    batch = {"input_ids": ids}
    if seq2seq or segments.min(initial=1) != 1 or segments.max(initial=1) != 1:
        batch["segment_ids"] = segments
    if seq2seq:
        targets = _padded([e.target_segments for e in examples], 0, np.int32, least[1])
        batch["target_segment_ids"] = targets
        batch["decoder_input_ids"] = shifted(labels, targets, start)
    wanted = labels[:, 1:] if causal else labels
    rows, columns = np.nonzero(wanted != IGNORED_LABEL)
    batch["places"] = rows * labels.shape[1] + columns
    batch["targets"] = wanted[rows, columns]
    return batch


def shifted(labels: np.ndarray, segments: np.ndarray, start_id: int) -> np.ndarray:
    """What a decoder reads: labels moved right by one in each segment, which begins with `start_id`."""
    moved = np.full_like(labels, start_id)
    goes_on = (segments[:, 1:] == segments[:, :-1]) & (labels[:, :-1] != IGNORED_LABEL)
    moved[:, 1:][goes_on] = labels[:, :-1][goes_on]
    return moved


def held_out_batches(
    sources: Sequence[Source], batch_size: int, sequences: int, special: SpecialTokens, seed: int, fixed: bool
) -> Iterator[dict[str, torch.Tensor]]:
    """One pass over `sequences` samples of each source, spread over all of it, in stored order."""
    for source in sources:
        few = source.spread(sequences)
        if len(few):
            size = min(batch_size, len(few))
            options: dict[str, Any] = {"shuffle": False, "epochs": 1, "drop_last": False, "seed": seed}
            yield from ObjectiveLoader(few, size, special, "held out", fixed, **options)


def _padded(rows: Sequence[np.ndarray], fill: int, dtype: Any, least: int) -> np.ndarray:
    longest = max([least, *(len(row) for row in rows)])
    if any(len(row) != longest for row in rows):
        longest = -(-longest // _ROUND) * _ROUND
    result = np.full((len(rows), longest), fill, dtype)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return result


def _by_source(samples: Any, indices: np.ndarray) -> list[tuple[Source, np.ndarray, np.ndarray]]:
    """The sources that `indices` touch, the rows of the batch, and the sources' own indices."""
    if not isinstance(samples, (Mixture, Stages)):
        return [(samples, np.arange(len(indices)), np.asarray(indices))]
    numbers = np.searchsorted(samples.first_samples, indices, side="right") - 1
    places = np.asarray(indices) - samples.first_samples[numbers]
    chosen = [(number, np.flatnonzero(numbers == number)) for number in np.unique(numbers).tolist()]
    return [(samples.leaves[number], rows, places[rows]) for number, rows in chosen]


def _first_source(samples: Any) -> Source:
    source: Source = samples.leaves[0] if isinstance(samples, (Mixture, Stages)) else samples
    return source


__all__ = ["Objective", "ObjectiveLoader", "collate", "held_out_batches", "shifted"]
