"""Masked language modelling with whole words: BERT's objective on words of our own segmentation.

Definition: Devlin et al. 2019, section 3.1 and appendix A.1: 15 % of the tokens are chosen; of
those 80 % become ``[MASK]``, 10 % a random token, 10 % stay, and the model predicts all of the
chosen. Chinese BERT sees characters, and a character is often plain from its neighbours in the same
word, so all tokens of a word are chosen together (Cui et al. 2021, *Pre-Training with Whole Word
Masking for Chinese BERT*). As there, each chosen token is replaced by a draw of its own.

Words are taken in random order until the share is met, as BERT's ``create_masked_lm_predictions``
does: a word that would take the count above the target is passed over, so a longer word does not
raise the share.

Where the tokenizer has ``[CLS]`` and ``[SEP]``, or ``<s>`` and ``</s>``, every document of a sample stands
between them, because fine-tuning and classification read the first one: BERT's inputs begin with ``[CLS]``
and end with ``[SEP]`` (Devlin et al. 2019, section 3), RoBERTa's FULL-SENTENCES are ``<s> … </s>``, with one
more separator between documents (Liu et al. 2019, section 4.2; here the end-of-text token of the shards is
that). A window over the stream counts as one document.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from corpuskit.errors import ConfigError
from corpuskit.train.objectives.sample import (
    IGNORED_LABEL,
    Example,
    Family,
    Sample,
    Sequences,
    SpecialTokens,
    aligned,
    derive_part,
    random_bits,
    require_share,
    uniform,
)


@dataclass(frozen=True)
class MaskedLM:
    """Hide words and predict them.

    Attributes
    ----------
    rate : float
        Share of the tokens that are predicted.
    mask_share, random_share : float
        Of those: how many become the mask token, and how many a random one; the rest stays.
    whole_words : bool
        Choose whole words; needs the column ``word_starts``.
    frame : bool or None
        Put the tokenizer's first and last token around every document; they are never hidden, and a document
        that ends with the last one gets no second. None: where the tokenizer has them. A packed row is
        longer than the run's ``sequence_length`` by two for each document but the first.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    family: ClassVar[Family] = "masked"
    sequences: ClassVar[Sequences] = "windows"

    name: Literal["masked"] = "masked"
    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    whole_words: bool = True
    frame: bool | None = None

    def __post_init__(self) -> None:
        require_share("train.objective.rate", self.rate)
        if not (self.mask_share >= 0 <= self.random_share and self.mask_share + self.random_share <= 1):
            raise ConfigError(
                f"mask_share {self.mask_share} and random_share {self.random_share} are not shares of 1",
                where="train.objective",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return ("word_starts",) if self.whole_words else ()

    def raw_length(self, sequence_length: int) -> int:
        return max(1, sequence_length - 2) if self.frame else sequence_length

    def for_tokens(self, special: SpecialTokens) -> MaskedLM:
        """The objective with `frame` decided by what the tokenizer has.

        Raises
        ------
        ConfigError
            If `frame` is wanted and there are no such tokens.
        """
        has_both = special.first is not None and special.last is not None
        if self.frame and not has_both:
            raise ConfigError(
                "the tokenizer has neither [CLS] and [SEP] nor <s> and </s>",
                where="train.objective.frame",
                hint="leave frame out, or train the vocabulary with --special-token '[CLS]' "
                "--special-token '[SEP]'",
            )
        return self if self.frame is not None else replace(self, frame=has_both)

    def target_length(self, sequence_length: int) -> int:
        return sequence_length

    def __call__(self, sample: Sample, seed: int, special: SpecialTokens) -> Example:
        tokens = sample.tokens
        if special.mask is None:
            raise ConfigError("there is no mask token", where="train.objective")
        first = sample.columns["word_starts"] != 0 if self.whole_words else np.ones(len(tokens), np.bool_)
        first[sample.starts] = True
        marks = [mark for mark in (special.end_of_text, special.first, special.last) if mark is not None]
        ordinary = np.isin(tokens, marks, invert=True)
        chosen = choose_words(first, ordinary, self.rate, derive_part(seed, 0))
        labels = np.where(chosen, tokens, IGNORED_LABEL)
        draw = uniform(derive_part(seed, 1), len(tokens))
        others = random_bits(derive_part(seed, 2), len(tokens)) % np.uint64(special.vocab_size)
        ids = tokens.copy()
        ids[chosen & (draw < self.mask_share)] = special.mask
        swapped = chosen & (draw >= self.mask_share) & (draw < self.mask_share + self.random_share)
        ids[swapped] = others[swapped]
        example = aligned(sample, ids, labels)
        return framed(example, sample, special.first, special.last) if self.frame else example


def framed(example: Example, sample: Sample, first: int | None, last: int | None) -> Example:
    """`example` of `sample` with `first` before and `last` behind each of its documents."""
    ends = np.append(sample.starts[1:], len(sample.tokens))
    count = len(ends)
    # In the order in which they come to stand; of equal places numpy keeps the order.
    places = np.stack([sample.starts, ends], 1).ravel()
    marks = np.tile(np.array([first, last], np.int64), count)
    numbers = np.repeat(np.arange(1, count + 1, dtype=np.int32), 2)
    kept = np.ones(2 * count, np.bool_)
    kept[1::2] = sample.tokens[ends - 1] != last
    segments = np.insert(example.segments, places[kept], numbers[kept])
    return Example(
        np.insert(example.input_ids, places[kept], marks[kept]),
        np.insert(example.labels, places[kept], IGNORED_LABEL),
        segments,
        segments,
    )


def choose_words(first: np.ndarray, allowed: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Whole words, in random order, as long as the tokens chosen stay within ``round(rate * n)``.

    Parameters
    ----------
    first : numpy.ndarray[bool], shape (n,)
        Tokens that begin a word; the first does.
    allowed : numpy.ndarray[bool], shape (n,)
        Words with a token that is not are left alone.
    rate : float
        Share of the allowed tokens; at least one word is chosen if there is any of a token or two.
    seed : int

    Returns
    -------
    numpy.ndarray[bool], shape (n,)
    """
    words = np.cumsum(first) - 1
    lengths = np.bincount(words)
    lengths[words[~allowed]] = len(first) + 1  # longer than any budget
    budget = max(1, round(rate * int(np.count_nonzero(allowed))))
    order = np.argsort(random_bits(seed, len(lengths)), kind="stable")
    taken = np.zeros(len(lengths), np.bool_)
    # Passing over what does not fit is sequential; after each pass all that is left fits or never will.
    while len(order) and budget:
        order = order[lengths[order] <= budget]
        fits = np.cumsum(lengths[order]) <= budget
        stop = len(fits) if fits.all() else int(np.argmin(fits))
        taken[order[:stop]] = True
        budget -= int(lengths[order[:stop]].sum())
        order = order[stop + 1 :]
    return taken[words]
