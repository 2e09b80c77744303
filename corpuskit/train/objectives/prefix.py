"""Prefix language modelling, T5's LM adaptation: read the beginning of a text, write the rest.

Definition: ``prefix_lm`` of t5/data/preprocessors.py (Raffel et al. 2020, section 3.2.1): the
length of the prefix is uniform in 1 … n-1, the prefix goes to the encoder and the rest is the
target; both end with end-of-text (``append_eos_after_trim``). Lester et al. 2021 (section 3.1) train
T5 on it for 100,000 steps so that a model that has only ever seen sentinels goes on from a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from corpuskit.train.objectives.sample import (
    Example,
    Family,
    Sample,
    Sequences,
    SpecialTokens,
    concatenate,
    derive_part,
    pair,
    random_bits,
    with_end,
)


@dataclass(frozen=True)
class PrefixLM:
    """Predict what follows a prefix of random length."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    family: ClassVar[Family] = "seq2seq"
    sequences: ClassVar[Sequences] = "windows"

    name: Literal["prefix"] = "prefix"

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    def raw_length(self, sequence_length: int) -> int:
        return max(2, sequence_length - 1)

    def target_length(self, sequence_length: int) -> int:
        return sequence_length

    def __call__(self, sample: Sample, seed: int, special: SpecialTokens) -> Example:
        return concatenate(
            [
                _split(document, derive_part(seed, number), special)
                for number, document in enumerate(sample.documents())
            ]
        )


def _split(document: Sample, seed: int, special: SpecialTokens) -> Example:
    tokens = document.tokens
    # Below 2**-44 from uniform for texts of a million tokens. A single token has no prefix.
    prefix = 1 + int(random_bits(seed, 1)[0]) % (len(tokens) - 1) if len(tokens) > 1 else 0
    return pair(with_end(tokens[:prefix], special), with_end(tokens[prefix:], special))
