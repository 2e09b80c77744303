"""T5's span corruption: random spans become sentinels, and the model writes the spans out.

Definition: Raffel et al. 2020, section 3.1.4 and 3.3.4, as in ``random_spans_noise_mask``,
``noise_span_to_unique_sentinel`` and ``nonnoise_span_to_unique_sentinel`` of
t5/data/preprocessors.py. Of n tokens ``round(0.15 n)`` are noise, in ``round(noise / 3)`` spans;
noise and the rest are each cut into that many non-empty pieces, every partition equally likely;
pieces alternate, beginning with one that stays and ending with noise::

    Thank you for inviting me to your party last week
    input   Thank you <extra_id_0> me to your party <extra_id_1> </s>
    target  <extra_id_0> for inviting <extra_id_1> last week </s>

The numbers depend on n alone, so every input and every target of a run has the same length: 568
tokens give an input of 512 and a target of 114. With ``whole_words`` spans are cut on word borders
(the column ``word_starts``): the partition is drawn over words, with as many words to a span as
have `mean_span_length` tokens, and the number of noise tokens then varies a little.
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
    derive_part,
    pair,
    random_bits,
    require_share,
    with_end,
)


@dataclass(frozen=True)
class SpanCorruption:
    """Replace spans by sentinels and predict them.

    Attributes
    ----------
    noise_density : float
        Share of the tokens that are predicted.
    mean_span_length : float
        Tokens in a span, on average; at least 1.
    whole_words : bool
        Begin and end spans where words do; needs the column ``word_starts``.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    family: ClassVar[Family] = "seq2seq"
    sequences: ClassVar[Sequences] = "windows"

    name: Literal["span_corruption"] = "span_corruption"
    noise_density: float = 0.15
    mean_span_length: float = 3.0
    whole_words: bool = False

    def __post_init__(self) -> None:
        require_share("train.objective.noise_density", self.noise_density)
        if not self.mean_span_length >= 1:
            raise ConfigError(
                f"must be at least 1, not {self.mean_span_length}", where="train.objective.mean_span_length"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return ("word_starts",) if self.whole_words else ()

    def raw_length(self, sequence_length: int) -> int:
        """The most tokens whose corrupted form fits (``random_spans_helper``)."""
        raw = max(2, sequence_length - 1)
        while self._lengths(raw + 1)[0] <= sequence_length:
            raw += 1
        return raw

    def target_length(self, sequence_length: int) -> int:
        return self._lengths(self.raw_length(sequence_length))[1]

    def num_sentinels(self, raw_length: int) -> int:
        """Spans, and so sentinels, of a sample of `raw_length` tokens in one document."""
        return noise_counts(raw_length, self.noise_density, self.mean_span_length)[1]

    def __call__(self, sample: Sample, seed: int, special: SpecialTokens) -> Example:
        documents = enumerate(sample.documents())
        return concatenate([self._corrupt(one, derive_part(seed, i), special) for i, one in documents])

    def _lengths(self, raw_length: int) -> tuple[int, int]:
        noise, spans = noise_counts(raw_length, self.noise_density, self.mean_span_length)
        return raw_length - noise + spans + 1, noise + spans + 1

    def _corrupt(self, document: Sample, seed: int, special: SpecialTokens) -> Example:
        if self.whole_words:
            mask = self._word_mask(document.columns["word_starts"], seed)
        else:
            mask = noise_mask(len(document.tokens), self.noise_density, self.mean_span_length, seed)
        inputs = replace_spans(document.tokens, mask, special.sentinels)
        targets = replace_spans(document.tokens, ~mask, special.sentinels)
        return pair(with_end(inputs, special), with_end(targets, special))

    def _word_mask(self, word_starts: np.ndarray, seed: int) -> np.ndarray:
        first = word_starts != 0
        first[:1] = True
        words = np.cumsum(first) - 1
        count = int(words[-1]) + 1
        words_a_span = max(1.0, self.mean_span_length * count / len(words))
        return noise_mask(count, self.noise_density, words_a_span, seed)[words]


def noise_counts(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """Noise tokens and spans of `length` tokens; at least one of each, and a token left for every span."""
    noise = min(max(round(length * noise_density), 1), max(length - 1, 1))
    spans = max(round(noise / mean_span_length), 1)
    return noise, max(1, min(spans, noise, length - noise))


def noise_mask(length: int, noise_density: float, mean_span_length: float, seed: int) -> np.ndarray:
    """Which of `length` items are noise.

    Every mask with the given numbers of noise items and spans, alternating from an item that is
    kept to one that is not, is equally likely. A single item is kept.

    Returns
    -------
    numpy.ndarray[bool], shape (length,)
    """
    if length < 2:
        return np.zeros(length, np.bool_)
    noise, spans = noise_counts(length, noise_density, mean_span_length)
    pieces = np.empty(2 * spans, np.int64)
    pieces[0::2] = random_partition(length - noise, spans, derive_part(seed, 0))
    pieces[1::2] = random_partition(noise, spans, derive_part(seed, 1))
    return np.repeat(np.arange(2 * spans) % 2 == 1, pieces)


def random_partition(total: int, parts: int, seed: int) -> np.ndarray:
    """`parts` positive whole numbers that sum to `total`, every choice equally likely.

    The first ``parts - 1`` of a random permutation of the ``total - 1`` places between items are cuts.
    """
    order = np.argsort(random_bits(seed, total - 1), kind="stable")
    cuts = np.sort(order[: parts - 1]) + 1
    return np.diff(cuts, prepend=0, append=total)


def replace_spans(tokens: np.ndarray, mask: np.ndarray, sentinels: tuple[int, ...]) -> np.ndarray:
    """`tokens` with every run of the masked ones replaced by the next sentinel.

    Raises
    ------
    ConfigError
        If there are more runs than sentinels.
    """
    begins = mask.copy()
    begins[1:] &= ~mask[:-1]
    count = int(np.count_nonzero(begins))
    if count > len(sentinels):
        raise ConfigError(
            f"{count} spans in one document need as many sentinels, and there are {len(sentinels)}",
            where="train.objective",
            hint="choose a shorter sequence_length, a larger mean_span_length or a tokenizer with more "
            "<extra_id_…> tokens",
        )
    result = tokens.astype(np.int64, copy=True)
    result[begins] = sentinels[:count]
    return result[begins | ~mask]
