"""Causal language modelling, and its form for answers: supervised fine-tuning.

Both predict every token from those before it. `CausalLM` learns all of them. `SupervisedFineTuning`
learns only the tokens that the dataset's ``loss_mask`` marks, which are the responses: loss on the
prompt teaches a model to write questions. The first token of a response is predicted from the last
one of its prompt, so it is learned like any other; two well-known trainers of Chinese T5 models
shift the labels once too often and never learn it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from corpuskit.train.objectives.sample import (
    IGNORED_LABEL,
    Example,
    Family,
    Sample,
    Sequences,
    SpecialTokens,
    aligned,
)


@dataclass(frozen=True)
class CausalLM:
    """Predict every token. In packed samples the first of a document has nothing to be predicted from."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    family: ClassVar[Family] = "causal"
    sequences: ClassVar[Sequences] = "windows"

    name: Literal["causal"] = "causal"

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    def raw_length(self, sequence_length: int) -> int:
        return sequence_length

    def target_length(self, sequence_length: int) -> int:
        return sequence_length

    def __call__(self, sample: Sample, seed: int, special: SpecialTokens) -> Example:
        labels = sample.tokens.copy()
        labels[sample.starts] = IGNORED_LABEL
        return aligned(sample, sample.tokens, labels)


@dataclass(frozen=True)
class SupervisedFineTuning:
    """Predict the tokens whose ``loss_mask`` is not 0."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    family: ClassVar[Family] = "causal"
    sequences: ClassVar[Sequences] = "packed"

    name: Literal["sft"] = "sft"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("loss_mask",)

    def raw_length(self, sequence_length: int) -> int:
        return sequence_length

    def target_length(self, sequence_length: int) -> int:
        return sequence_length

    def __call__(self, sample: Sample, seed: int, special: SpecialTokens) -> Example:
        labels = np.where(sample.columns["loss_mask"] != 0, sample.tokens, IGNORED_LABEL)
        labels[sample.starts] = IGNORED_LABEL
        return aligned(sample, sample.tokens, labels)
