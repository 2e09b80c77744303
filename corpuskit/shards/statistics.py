"""What a token dataset is made of: lengths of documents, what a sequence length crops, which ids occur.

One pass over the mapped shards. Lengths are kept exactly, as a count for each length that occurs:
documents of n different lengths hold n²/2 tokens or more, so 10^12 tokens have at most 1.5 million
different lengths, and quantiles need no sampling. Ids are counted in pieces that stay in the cache
(64 Ki ids: 526 Mtok/s where one `numpy.bincount` over everything made 212).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.shards.exchange.common import TokenSource
from corpuskit.shards.previews import tokenizer_of
from corpuskit.shards.reader import TokenDataset, open_dataset

DEFAULT_SEQUENCE_LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_SAMPLED_DOCUMENTS = 64
_SAMPLED_TOKENS = 2048


@dataclass(frozen=True)
class LengthBin:
    """Documents of `low` to `high` tokens (both included): how many, and their tokens."""

    low: int
    high: int
    documents: int
    tokens: int


@dataclass(frozen=True)
class SequenceLengthShare:
    """What a sequence length would crop, if every document were a sequence.

    Attributes
    ----------
    sequence_length : int
    longer_documents : float
        Share of documents with more tokens.
    tokens_beyond : float
        Share of all tokens that come after the first `sequence_length` of their document.
    """

    sequence_length: int
    longer_documents: float
    tokens_beyond: float


@dataclass(frozen=True)
class TokenCount:
    """An id, how often it occurs, and its text where there is a tokenizer."""

    id: int
    count: int
    text: str | None = None


@dataclass(frozen=True)
class TokenStatistics:
    """The statistics of a token dataset. Lengths count the end-of-text id where documents have it.

    Attributes
    ----------
    documents, tokens : int
    mean_length : float
    shortest, longest : int
    quantiles : dict of float to int
        For q the smallest length that a share q of the documents does not exceed.
    histogram : tuple of LengthBin
        By powers of two, from the shortest to the longest.
    sequence_lengths : tuple of SequenceLengthShare
    vocab_size, unused_ids : int
        Ids that the vocabulary has, and those of them that never occur.
    top_tokens : tuple of TokenCount
        The most frequent, the lower id first among equals.
    column_means : dict of str to float
        Of the parallel columns: a share, for those of 0 and 1.
    characters_per_token : float or None
        Estimated from the beginnings of `sampled_documents` documents, evenly spaced; None without a
        tokenizer.
    sampled_documents : int
    """

    documents: int
    tokens: int
    mean_length: float
    shortest: int
    longest: int
    quantiles: dict[float, int]
    histogram: tuple[LengthBin, ...]
    sequence_lengths: tuple[SequenceLengthShare, ...]
    vocab_size: int
    unused_ids: int
    top_tokens: tuple[TokenCount, ...]
    column_means: dict[str, float]
    characters_per_token: float | None
    sampled_documents: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "quantiles": {str(q): length for q, length in self.quantiles.items()}}


def token_statistics(
    dataset: TokenDataset | str | os.PathLike,
    *,
    sequence_lengths: Sequence[int] = DEFAULT_SEQUENCE_LENGTHS,
    num_top_tokens: int = 20,
    tokenizer: Any = None,
    progress: Callable[[int], None] | None = None,
) -> TokenStatistics:
    """Measure a token dataset in one pass.

    Parameters
    ----------
    dataset : TokenDataset or path-like
        Or a URL.
    sequence_lengths : sequence of int
        For which to say what they would crop.
    num_top_tokens : int
    tokenizer : corpuskit.vocab.Tokenizer, optional
        By default the one in the dataset's ``tokenizer/``, if there is one.
    progress : callable, optional
        Called with the bytes of tokens dealt with since the last call.

    Raises
    ------
    ConfigError
        If a sequence length is not positive.
    ArtifactError
        If the dataset is damaged.
    MismatchError
        If `tokenizer` is another one.
    """
    for length in sequence_lengths:
        if length < 1:
            raise ConfigError(f"{length} is no sequence length", where="sequence_lengths")
    data = dataset if isinstance(dataset, TokenDataset) else open_dataset(dataset)
    tokenizer = tokenizer_of(data, tokenizer)
    vocab_size = data.manifest.tokenizer.vocab_size
    counts = np.zeros(vocab_size, np.int64)
    lengths = Counted()
    sums = dict.fromkeys(data.manifest.columns, 0.0)
    for run in TokenSource(data, tuple(sums), "none", progress).runs():
        lengths.add(np.diff(run.offsets))
        count_ids(run.tokens, counts)
        for name, values in run.columns.items():
            sums[name] += float(values.sum(dtype=np.float64))
    documents, tokens = int(lengths.counts.sum()), int((lengths.values * lengths.counts).sum())
    characters, sampled = _characters_per_token(data, tokenizer)
    return TokenStatistics(
        documents=documents,
        tokens=tokens,
        mean_length=tokens / documents if documents else 0.0,
        shortest=int(lengths.values[0]) if documents else 0,
        longest=int(lengths.values[-1]) if documents else 0,
        quantiles={q: lengths.quantile(q) for q in QUANTILES} if documents else {},
        histogram=tuple(_bins(lengths)),
        sequence_lengths=tuple(_share(lengths, length) for length in sequence_lengths) if tokens else (),
        vocab_size=vocab_size,
        unused_ids=int(np.count_nonzero(counts == 0)),
        top_tokens=_top(counts, num_top_tokens, tokenizer),
        column_means={name: total / tokens for name, total in sums.items()} if tokens else {},
        characters_per_token=characters,
        sampled_documents=sampled,
    )


class Counted:
    """How often each value occurred.

    Attributes
    ----------
    values, counts : numpy.ndarray[int64]
        The values in rising order, and their counts.
    """

    def __init__(self) -> None:
        self.values = self.counts = np.empty(0, np.int64)

    def add(self, values: np.ndarray) -> None:
        found, times = np.unique(values, return_counts=True)
        self.values, where = np.unique(np.concatenate([self.values, found]), return_inverse=True)
        merged = np.zeros(len(self.values), np.int64)
        np.add.at(merged, where, np.concatenate([self.counts, times]))
        self.counts = merged

    def quantile(self, share: float) -> int:
        """The smallest value that at least `share` of all do not exceed."""
        below = np.cumsum(self.counts)
        return int(self.values[np.searchsorted(below, share * below[-1], side="left")])


def count_ids(tokens: np.ndarray, counts: np.ndarray) -> None:
    """Add how often each id occurs in `tokens` to `counts` (int64[vocab_size]).

    Raises
    ------
    ArtifactError
        If an id is outside the vocabulary.
    """
    piece = max(1 << 16, 4 * len(counts))
    for start in range(0, len(tokens), piece):
        found = np.bincount(tokens[start : start + piece], minlength=len(counts))
        if len(found) > len(counts):
            raise ArtifactError(
                f"token id {len(found) - 1} is outside the vocabulary of {len(counts)}",
                where="tokens",
                hint="list every problem with `corpuskit shards verify`",
            )
        counts += found


def _bins(lengths: Counted) -> list[LengthBin]:
    """Powers of two; empty ones between filled ones are there too."""
    if not len(lengths.values):
        return []
    first, last = int(lengths.values[0]).bit_length(), int(lengths.values[-1]).bit_length()
    bins = []
    for bits in range(first, last + 1):
        low, high = (1 << bits) >> 1, (1 << bits) - 1
        start, stop = np.searchsorted(lengths.values, [low, high + 1])
        values, counts = lengths.values[start:stop], lengths.counts[start:stop]
        bins.append(LengthBin(low, high, int(counts.sum()), int((values * counts).sum())))
    return bins


def _share(lengths: Counted, limit: int) -> SequenceLengthShare:
    start = int(np.searchsorted(lengths.values, limit, side="right"))
    values, counts = lengths.values[start:], lengths.counts[start:]
    tokens = int((lengths.values * lengths.counts).sum())
    beyond = int(((values - limit) * counts).sum())
    return SequenceLengthShare(limit, int(counts.sum()) / int(lengths.counts.sum()), beyond / tokens)


def _top(counts: np.ndarray, number: int, tokenizer: Any) -> tuple[TokenCount, ...]:
    order = np.argsort(-counts, kind="stable")[: max(0, number)]
    return tuple(
        TokenCount(int(i), int(counts[i]), None if tokenizer is None else tokenizer.decode([int(i)]))
        for i in order
        if counts[i]
    )


def _characters_per_token(data: TokenDataset, tokenizer: Any) -> tuple[float | None, int]:
    if tokenizer is None or not data.num_tokens:
        return None, 0
    characters = tokens = 0
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _SAMPLED_DOCUMENTS)).astype(np.int64))
    end = data.manifest.tokenizer.end_of_text_id
    for row in rows:
        document = data[int(row)].tokens[:_SAMPLED_TOKENS]
        document = document if end is None else document[document != end]
        characters += len(tokenizer.decode(document))
        tokens += len(document)
    return (characters / tokens if tokens else None), len(rows)
