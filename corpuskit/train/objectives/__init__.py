"""Training objectives: each a frozen dataclass, a pure function of a sample and a seed.

=================  ==================  ==========  =====================================================
name               model               samples     learns
=================  ==================  ==========  =====================================================
causal             causal              windows     every token
sft                causal              packed      the tokens that ``loss_mask`` marks
span_corruption    encoder-decoder     windows     spans that sentinels stand for (T5)
prefix             encoder-decoder     windows     what follows a prefix of random length (LM adaptation)
pairs              encoder-decoder     documents   the target of an input
masked             masked              windows     words that were hidden (BERT)
=================  ==================  ==========  =====================================================
"""

from __future__ import annotations

from typing import get_args

from corpuskit.errors import ConfigError
from corpuskit.train.objectives.causal import CausalLM, SupervisedFineTuning
from corpuskit.train.objectives.masked import MaskedLM
from corpuskit.train.objectives.pairs import Pairs
from corpuskit.train.objectives.prefix import PrefixLM
from corpuskit.train.objectives.sample import Example, Objective, Sample, SpecialTokens
from corpuskit.train.objectives.span_corruption import SpanCorruption

AnyObjective = CausalLM | SupervisedFineTuning | SpanCorruption | PrefixLM | Pairs | MaskedLM

_BY_NAME = {kind.name: kind for kind in get_args(AnyObjective)}


def by_name(name: str) -> AnyObjective:
    """The objective called `name`, with its defaults.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if name not in _BY_NAME:
        raise ConfigError(
            f"no objective is called {name!r}", where="train.objective", hint=f"one of {', '.join(_BY_NAME)}"
        )
    made: AnyObjective = _BY_NAME[name]()
    return made


__all__ = [
    "AnyObjective",
    "CausalLM",
    "Example",
    "MaskedLM",
    "Objective",
    "Pairs",
    "PrefixLM",
    "Sample",
    "SpanCorruption",
    "SpecialTokens",
    "SupervisedFineTuning",
    "by_name",
]
