"""What an objective takes and what it makes: plain arrays, no torch.

An objective is a frozen dataclass whose call is a pure function of a sample and a seed. So the
same position of a run gives the same masks on any machine, whatever was sampled before, which is
what makes a resumed run equal to an uninterrupted one; and the next epoch, having other
positions, gives new masks (RoBERTa's dynamic masking, Liu et al. 2019, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np

from corpuskit.errors import ConfigError
from corpuskit.shards.samples import IGNORED_LABEL

Family = Literal["causal", "seq2seq", "masked"]
Sequences = Literal["windows", "packed", "documents"]

_DOUBLE = 2.0**-53
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1


@dataclass(frozen=True)
class Sample:
    """A row of a token dataset, without padding.

    Attributes
    ----------
    tokens : numpy.ndarray[int64], shape (n,)
    starts : numpy.ndarray[int64], shape (k,)
        Where its documents begin, ascending, the first 0. A window over the stream counts as one
        document.
    columns : Mapping[str, numpy.ndarray], each of shape (n,)
        Parallel columns, such as ``loss_mask`` and ``word_starts``.
    """

    tokens: np.ndarray
    starts: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def documents(self) -> Iterator[Sample]:
        """Its documents, each as a sample of its own."""
        borders = [*self.starts.tolist(), len(self.tokens)]
        for begin, end in pairwise(borders):
            columns = {name: values[begin:end] for name, values in self.columns.items()}
            yield Sample(self.tokens[begin:end], columns=columns)


class Example(NamedTuple):
    """What a model is trained on: one row, without padding.

    Attributes
    ----------
    input_ids : numpy.ndarray[int64], shape (n,)
    labels : numpy.ndarray[int64], shape (m,)
        The wanted tokens; -100 where nothing is wanted. Causal and masked models: m = n, the label
        of a position is the token *at* it (a causal model predicts it from those before).
        Encoder-decoder models: the decoder's output, whose input is the same shifted by one.
    segments : numpy.ndarray[int32], shape (n,)
        1, 2, … for the documents of the row: no token attends to another segment.
    target_segments : numpy.ndarray[int32], shape (m,)
        The same for the labels.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    segments: np.ndarray
    target_segments: np.ndarray


@dataclass(frozen=True)
class SpecialTokens:
    """Ids with a meaning of their own; the others below `vocab_size` are text.

    Attributes
    ----------
    vocab_size : int
        Ids of the tokenizer.
    end_of_text : int or None
        Ends inputs and targets of encoder-decoder models, as T5's ``</s>``.
    pad : int
        Fills rows up; never attended to by a token, never in the loss.
    mask : int or None
        ``[MASK]`` of masked language models.
    sentinels : tuple of int
        ``<extra_id_0>``, ``<extra_id_1>``, … of span corruption.
    decoder_start : int or None
        What a decoder reads first; None: `pad`, as T5's.
    first, last : int or None
        What encoders expect around a text: ``[CLS]`` and ``[SEP]``, or ``<s>`` and ``</s>``. Both or none.
    """

    vocab_size: int
    end_of_text: int | None = None
    pad: int = 0
    mask: int | None = None
    sentinels: tuple[int, ...] = ()
    decoder_start: int | None = None
    first: int | None = None
    last: int | None = None

    @property
    def num_ids(self) -> int:
        """Ids that a model must know: the tokenizer's, and those that lie above them."""
        above = [self.vocab_size - 1, self.pad, *self.sentinels]
        return 1 + max(above if self.mask is None else [*above, self.mask])


class Objective(Protocol):
    """A frozen dataclass of settings; calling it makes an `Example` of a `Sample`.

    Attributes
    ----------
    family : {"causal", "seq2seq", "masked"}
        The kind of model it trains.
    sequences : {"windows", "packed", "documents"}
        The kind of sample it is made for.
    """

    family: ClassVar[Family]
    sequences: ClassVar[Sequences]

    @property
    def columns(self) -> tuple[str, ...]:
        """Parallel columns that it needs."""
        ...

    def raw_length(self, sequence_length: int) -> int:
        """Tokens of a sample that fill a model's input of `sequence_length`."""
        ...

    def target_length(self, sequence_length: int) -> int:
        """Length of the labels that go with it."""
        ...

    def __call__(self, sample: Sample, seed: int, special: SpecialTokens) -> Example: ...


def random_bits(seed: int, count: int) -> np.ndarray:
    """`count` random 64-bit words of `seed`: SplitMix64 (Steele, Lea and Flood 2014), all at once.

    Its n-th word is a function of ``seed + n * golden``, so whole arrays are made without a loop (a
    microsecond and some nanoseconds a word, where constructing a NumPy bit generator takes 30), and the
    words are fixed by the algorithm, whereas NumPy's `Generator` may change with its version (NEP 19).
    """
    state = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN + np.uint64(seed & _MASK)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_MIX_1)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_MIX_2)
    return state ^ (state >> np.uint64(31))


def uniform(seed: int, count: int) -> np.ndarray:
    """`count` numbers uniform in [0, 1), the upper 53 bits of `random_bits`."""
    return (random_bits(seed, count) >> np.uint64(11)) * _DOUBLE


def derive_part(seed: int, part: int) -> int:
    """An independent seed for part `part` of what `seed` decides.

    SplitMix64's finaliser once more than `random_bits`, so that no part's words are the seed's own.
    """
    value = (_mixed(seed & _MASK) + (part + 1) * int(_GOLDEN)) & _MASK
    return _mixed(value)


def _mixed(value: int) -> int:
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def concatenate(examples: list[Example]) -> Example:
    """One row of the examples of several documents, in order, each a segment of its own."""
    if len(examples) == 1:
        return examples[0]
    number = range(1, len(examples) + 1)
    return Example(
        np.concatenate([e.input_ids for e in examples]),
        np.concatenate([e.labels for e in examples]),
        np.concatenate([np.full(len(e.input_ids), i, np.int32) for i, e in zip(number, examples)]),
        np.concatenate([np.full(len(e.labels), i, np.int32) for i, e in zip(number, examples)]),
    )


def pair(inputs: np.ndarray, targets: np.ndarray) -> Example:
    """An encoder-decoder example of one document."""
    return Example(inputs, targets, np.ones(len(inputs), np.int32), np.ones(len(targets), np.int32))


def aligned(sample: Sample, input_ids: np.ndarray, labels: np.ndarray) -> Example:
    """An example whose labels stand at the places of their tokens."""
    lengths = np.diff(sample.starts, append=len(sample.tokens))
    segments = np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), lengths)
    return Example(input_ids, labels, segments, segments)


def with_end(tokens: np.ndarray, special: SpecialTokens) -> np.ndarray:
    """`tokens` and the end-of-text id, unless it is there already or there is none."""
    end = special.end_of_text
    if end is None or (len(tokens) and tokens[-1] == end):
        return tokens
    return np.append(tokens, end)


def require_share(where: str, value: float) -> None:
    """Raise `ConfigError` unless `value` lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise ConfigError(f"must lie between 0 and 1, not {value}", where=where)


__all__ = [
    "IGNORED_LABEL",
    "Example",
    "Family",
    "Objective",
    "Sample",
    "Sequences",
    "SpecialTokens",
    "aligned",
    "concatenate",
    "derive_part",
    "pair",
    "random_bits",
    "require_share",
    "uniform",
    "with_end",
]
