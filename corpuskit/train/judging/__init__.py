"""Judging a model: how likely it finds a text, how near its answers are, and what it learned by heart.

Only `likelihood` and `recovery` need torch. BLEU and ROUGE come from sacrebleu and rouge-score (extra
``judge``).
"""

from __future__ import annotations

from corpuskit.train.judging.answers import bleu, distinct_ngrams, exact_match, f1, lcs_f1, rouge
from corpuskit.train.judging.likelihood import Likelihood, likelihood
from corpuskit.train.judging.memorisation import Memorised, memorisation
from corpuskit.train.judging.pclue import PclueScore, score_pclue
from corpuskit.train.judging.recovery import Recovery, recovery

__all__ = [
    "Likelihood",
    "Memorised",
    "PclueScore",
    "Recovery",
    "bleu",
    "distinct_ngrams",
    "exact_match",
    "f1",
    "lcs_f1",
    "likelihood",
    "memorisation",
    "recovery",
    "rouge",
    "score_pclue",
]
