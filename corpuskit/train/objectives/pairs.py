"""Input and target for an encoder-decoder model, from documents with a ``loss_mask``.

A document is its input followed by its target; the mask is 1 on the target. Everything before the
last run of 1 is the encoder's input (in a dialogue the history, earlier answers included), that run
is what the decoder writes, its first token included: the decoder starts from the pad token, as T5's.
A document that is too long loses the beginning of its input; in packed samples, its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from corpuskit.errors import ConfigError
from corpuskit.train.objectives.sample import (
    Example,
    Family,
    Sample,
    Sequences,
    SpecialTokens,
    concatenate,
    pair,
    with_end,
)


@dataclass(frozen=True)
class Pairs:
    """Predict the target of an input.

    Attributes
    ----------
    target_tokens : int or None
        Longest target, with its end-of-text token; None: as long as the input. Longer ones lose their end.
    input_tokens : int or None
        Longest input; None: the run's ``sequence_length``. Longer ones lose their beginning.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    family: ClassVar[Family] = "seq2seq"
    sequences: ClassVar[Sequences] = "documents"

    name: Literal["pairs"] = "pairs"
    target_tokens: int | None = None
    input_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("target_tokens", "input_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"must be at least 1, not {value}", where=f"train.objective.{name}")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("loss_mask",)

    def raw_length(self, sequence_length: int) -> int:
        return (self.input_tokens or sequence_length) + self.target_length(sequence_length)

    def target_length(self, sequence_length: int) -> int:
        return self.target_tokens or sequence_length

    def __call__(self, sample: Sample, seed: int, special: SpecialTokens) -> Example:
        return concatenate([self._cropped(split_at_target(one, special)) for one in sample.documents()])

    def _cropped(self, example: Example) -> Example:
        inputs, targets = example.input_ids, example.labels
        if self.input_tokens is not None:
            inputs = inputs[max(0, len(inputs) - self.input_tokens) :]
        return pair(inputs, targets if self.target_tokens is None else targets[: self.target_tokens])


def split_at_target(document: Sample, special: SpecialTokens) -> Example:
    """The input before the last run of ``loss_mask`` 1, and that run; both end with end-of-text."""
    marked = np.flatnonzero(document.columns["loss_mask"])
    if not len(marked):
        return pair(with_end(document.tokens, special), np.empty(0, np.int64))
    breaks = np.flatnonzero(np.diff(marked) > 1)
    begin = int(marked[breaks[-1] + 1] if len(breaks) else marked[0])
    end = int(marked[-1]) + 1
    return pair(with_end(document.tokens[:begin], special), with_end(document.tokens[begin:end], special))
