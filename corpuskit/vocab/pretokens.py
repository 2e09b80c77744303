"""The distinct pre-tokens of a sample, with their counts: what a byte-level BPE is trained on.

Patterns that `corpuskit.kernels.pretokenize` knows are cut by it; any other by Hugging Face tokenizers,
whose Unicode tables are those that the trained tokenizer is used with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import tokenizers
from tokenizers import pre_tokenizers

from corpuskit.errors import ConfigError
from corpuskit.vocab import encoder, patterns

if TYPE_CHECKING:
    from corpuskit.segment import Segmenter

_CHUNK_BYTES = 4 << 20

MAX_PRETOKEN_BYTES = 1 << 10
"""A longer pre-token (a line of dashes, a run of letters without a space) is cut between characters."""


class Pretokens:
    """Counts distinct pre-tokens.

    Attributes
    ----------
    store : numpy.ndarray[uint8]
        Their bytes, one after the other.
    starts : numpy.ndarray[int64], length num + 1
    counts : numpy.ndarray[int64]
    total : int
        Pre-tokens counted, repeated ones included.
    """

    def __init__(self, max_bytes: int = MAX_PRETOKEN_BYTES) -> None:
        self._max_bytes = max_bytes
        self._table = np.full(1 << 16, -1, np.int32)
        self._store = np.empty(1 << 20, np.uint8)
        self._starts = np.zeros(1 << 15, np.int64)
        self._counts = np.empty(1 << 15, np.int64)
        self._hashes = np.empty(1 << 15, np.uint64)
        self._num = 0

    def add(self, data: np.ndarray, begin: int, ends: np.ndarray) -> None:
        """Count those of a stretch of valid UTF-8 that begins at `begin`; `ends` is uint64."""
        from corpuskit.kernels import bpe_text

        if not ends.size:
            return
        size = int(ends[-1]) - begin
        most = self._num + ends.size + size // max(1, self._max_bytes - 3) + 1
        self._store = _room(self._store, int(self._starts[self._num]) + size)
        self._starts = _room(self._starts, most + 1)
        self._counts = _room(self._counts, most)
        self._hashes = _room(self._hashes, most)
        if most * 2 > self._table.size:
            self._table = np.full(1 << (most * 2).bit_length(), -1, np.int32)
            bpe_text.rebuild_pretoken_table(self._table, self._hashes, self._num)
        self._num = bpe_text.count_pretokens(
            data,
            begin,
            ends,
            ends.size,
            self._max_bytes,
            self._table,
            self._store,
            self._starts,
            self._counts,
            self._hashes,
            self._num,
        )

    @property
    def store(self) -> np.ndarray:
        return self._store[: self._starts[self._num]]

    @property
    def starts(self) -> np.ndarray:
        return self._starts[: self._num + 1]

    @property
    def counts(self) -> np.ndarray:
        return self._counts[: self._num]

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def release_table(self) -> None:
        """Free what only counting needs; nothing can be added afterwards."""
        self._table, self._hashes = self._table[:0].copy(), self._hashes[:0].copy()


def count_pretokens(
    texts: Iterable[str],
    pattern: str,
    segmenter: Segmenter | None = None,
    max_bytes: int = MAX_PRETOKEN_BYTES,
) -> Pretokens:
    """Pre-tokenise texts and count.

    Parameters
    ----------
    texts : iterable of str
        Without lone surrogates.
    pattern : str
        Regular expression whose matches are the pre-tokens.
    segmenter : Segmenter, optional
        Cut at the borders of its words too.
    max_bytes : int
        Limit of a pre-token.

    Raises
    ------
    ConfigError
        If the pattern is no regular expression.
    """
    counted = Pretokens(max_bytes)
    rules = patterns.PATTERNS.get(pattern)
    for chunk in _chunks(texts):
        array = pa.array(chunk, pa.large_string())
        data, offsets = encoder.buffers(array)
        word_ends = None if segmenter is None else _word_ends(segmenter, array)
        cuts = _regex_ends(pattern, chunk) if rules is None else patterns.cut_texts(rules, data, offsets)
        for first, ends in cuts:
            if word_ends is not None:
                low, high = np.searchsorted(word_ends, [first, int(ends[-1])], side="right")
                ends = np.union1d(ends, word_ends[low:high])
            counted.add(data, first, ends)
    counted.release_table()
    return counted


def split_by(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Hugging Face's pre-tokenizer for a pattern."""
    try:
        return pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    except Exception as error:  # the binding raises plain Exception
        raise ConfigError(f"not a regular expression: {error}", where="pattern") from error


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        if text:
            chunk.append(text)
            size += 3 * len(text)
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _regex_ends(pattern: str, texts: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    """As `corpuskit.vocab.patterns.cut_texts`."""
    split = split_by(pattern)
    begin = 0
    for text in texts:
        pieces = split.pre_tokenize_str(text)
        sizes = np.fromiter((len(piece.encode()) for piece, _ in pieces), np.int64, len(pieces))
        ends = begin + np.cumsum(sizes)
        yield begin, ends.astype(np.uint64)
        begin = int(ends[-1])


def _word_ends(segmenter: Segmenter, array: pa.Array) -> np.ndarray:
    """Where words end in the buffer of `array`; words of white space or none included."""
    words = segmenter.words_batch(array).flatten()
    sizes = pa.compute.binary_length(words).to_numpy(zero_copy_only=False)
    return np.cumsum(sizes).astype(np.uint64)


def _room(array: np.ndarray, size: int) -> np.ndarray:
    if size <= array.size:
        return array
    larger = np.empty(size + (size >> 2), array.dtype)
    larger[: array.size] = array
    return larger
