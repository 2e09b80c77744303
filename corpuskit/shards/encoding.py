"""Documents as token ids: flat arrays with offsets, ids checked, the end-of-document policy with them.

Everything between text and a shard file works on `EncodedDocuments`, so the writer and the job
share one path and the values never become Python integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from corpuskit.errors import ConfigError, InputError
from corpuskit.shards.manifest import PARALLEL_TYPES, EndOfDocument, TokenizerLike, token_dtype
from corpuskit.shards.word_starts import COLUMN, WordCutter, word_starts


@dataclass(frozen=True)
class EncodedDocuments:
    """A run of documents.

    Attributes
    ----------
    ids : pyarrow.StringArray, length n
    offsets : numpy.ndarray[int64], length n + 1
        Document i holds tokens ``offsets[i]:offsets[i + 1]``; the first offset is 0.
    tokens : numpy.ndarray[uint16 or uint32]
    columns : Mapping[str, numpy.ndarray]
        Parallel columns, each as long as `tokens`.
    end : int, optional
        An id that is still to follow each document, with 1 in the parallel columns. `copy_into` puts it there
        on the way into a shard: inserting it first cost a pass over all tokens, 5 % of encoding them.
    """

    ids: pa.StringArray
    offsets: np.ndarray
    tokens: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    end: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_tokens(self) -> int:
        """Tokens in a shard, with those that are to follow."""
        return len(self.tokens) + (0 if self.end is None else len(self))

    @property
    def shard_offsets(self) -> np.ndarray:
        """As `offsets`, of what `copy_into` makes."""
        return self.offsets if self.end is None else self.offsets + np.arange(len(self.offsets))

    def copy_into(self, out: np.ndarray, name: str = "tokens") -> None:
        """Copy the tokens, or the values of a parallel column, to `out` of length `num_tokens`.

        Document by document, which beats `numpy.insert` (that goes through a mask) from some 500 tokens on.
        """
        values = self.tokens if name == "tokens" else self.columns[name]
        if self.end is None:
            out[:] = values
            return
        end = self.end if name == "tokens" else 1
        if len(values) < 500 * len(self):
            out[:] = np.insert(values, self.offsets[1:], end)
            return
        for row, (start, stop) in enumerate(pairwise(self.offsets.tolist())):
            out[start + row : stop + row] = values[start:stop]
            out[stop + row] = end

    def slice(self, start: int, stop: int) -> EncodedDocuments:
        """Documents `start` to `stop`, sharing memory."""
        first, last = self.offsets[start], self.offsets[stop]
        return EncodedDocuments(
            self.ids.slice(start, stop - start),
            self.offsets[start : stop + 1] - first,
            self.tokens[first:last],
            {name: values[first:last] for name, values in self.columns.items()},
            self.end,
        )

    def select(self, chosen: np.ndarray) -> EncodedDocuments:
        """The documents where `chosen` (bool[n]) is true, copied."""
        lengths = np.diff(self.offsets)
        kept = np.repeat(chosen, lengths)
        offsets = np.zeros(int(chosen.sum()) + 1, np.int64)
        np.cumsum(lengths[chosen], out=offsets[1:])
        columns = {name: values[kept] for name, values in self.columns.items()}
        ids = self.ids.filter(pa.array(chosen))
        return EncodedDocuments(ids, offsets, self.tokens[kept], columns, self.end)


def encode(
    batch: pa.RecordBatch,
    tokenizer: TokenizerLike,
    end_of_document: EndOfDocument,
    segmenter: WordCutter | None = None,
    *,
    threads: int = 1,
) -> EncodedDocuments:
    """Encode the `text` column of a batch of documents; a segmenter adds the column ``word_starts``.

    Raises
    ------
    InputError
        If `id` or `text` is missing or null, or the tokenizer yields an id outside its vocabulary.
    """
    texts = _column(batch, "text")
    if texts.type != pa.large_string():
        texts = _cast(texts, pa.large_string(), "text")
    encode_batch: Any = tokenizer.encode_batch  # need not know threads unless they are asked for
    encoded = encode_batch(texts, threads=threads) if threads > 1 else encode_batch(texts)
    if len(encoded) != batch.num_rows:
        raise InputError(f"the tokenizer returned {len(encoded)} documents for {batch.num_rows} texts")
    columns = {}
    if segmenter is not None:
        columns[COLUMN] = _flat(word_starts(texts, encoded, tokenizer, segmenter))
    return _assemble(ids_of(batch), encoded, columns, tokenizer, end_of_document)


def from_tokens(
    batch: pa.RecordBatch,
    tokenizer: TokenizerLike,
    end_of_document: EndOfDocument,
    columns: Mapping[str, str],
) -> EncodedDocuments:
    """Take documents that are encoded already.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        `id`, `tokens` (list of integers, without an end-of-text id) and the parallel `columns`.
    columns : Mapping[str, str]
        Parallel columns and their Arrow value types. Where the policy appends an end-of-text id,
        its value in every parallel column is 1: it counts in the loss and starts a word.
    """
    lists = {name: _lists(_column(batch, name), name) for name in columns}
    return _assemble(ids_of(batch), _lists(_column(batch, "tokens"), "tokens"), {
        name: _aligned(name, values, PARALLEL_TYPES[columns[name]]) for name, values in lists.items()
    }, tokenizer, end_of_document)  # fmt: skip


def appended_id(tokenizer: TokenizerLike, end_of_document: EndOfDocument) -> int | None:
    """The id that the policy appends to every document, or None.

    Raises
    ------
    ConfigError
        If the policy needs an end-of-text id and the tokenizer has none.
    """
    if end_of_document == "none":
        return None
    if tokenizer.end_of_text_id is None:
        raise ConfigError(
            "the tokenizer has no end-of-text id to put between documents",
            where="end_of_document",
            hint='choose end_of_document="none", or a tokenizer with an end-of-text token',
        )
    return tokenizer.end_of_text_id


def _assemble(
    ids: pa.StringArray,
    lists: pa.LargeListArray,
    columns: Mapping[str, tuple[np.ndarray, np.ndarray]],
    tokenizer: TokenizerLike,
    end_of_document: EndOfDocument,
) -> EncodedDocuments:
    offsets, tokens = _flat(lists)
    if not np.issubdtype(tokens.dtype, np.integer):  # a cast would cut 1.5 to 1 in silence
        raise InputError(f"token ids must be integers, not {lists.type.value_type}")
    _check_vocabulary(ids, offsets, tokens, tokenizer.vocab_size)
    tokens = tokens.astype(token_dtype(tokenizer.vocab_size), copy=False)
    flat: dict[str, np.ndarray] = {}
    for name, (column_offsets, values) in columns.items():
        different = np.flatnonzero(column_offsets != offsets)
        if len(different):
            raise InputError(
                f"parallel column {name!r} has not one value per token",
                where=f"document {ids[max(0, int(different[0]) - 1)].as_py()}",
            )
        flat[name] = values
    return EncodedDocuments(ids, offsets, tokens, flat, appended_id(tokenizer, end_of_document))


def _check_vocabulary(ids: pa.StringArray, offsets: np.ndarray, tokens: np.ndarray, vocab_size: int) -> None:
    if not len(tokens) or (tokens.max() < vocab_size and tokens.min() >= 0):
        return
    first = int(np.argmax((tokens >= vocab_size) | (tokens < 0)))
    row = int(np.searchsorted(offsets, first, side="right")) - 1
    raise InputError(
        f"token id {tokens[first]} is outside the vocabulary of {vocab_size}",
        where=f"document {ids[row].as_py()}",
        hint="encode the documents with the tokenizer that is given to the writer",
    )


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        raise InputError(f"the batch has no column {name!r}", hint=f"it has {batch.schema.names}")
    column = batch.column(name)
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InputError(f"column {name!r} is null", where=f"row {row} of the batch")
    return column


def _cast(column: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"column {name!r} of type {column.type} does not fit {kind}: {error}") from error


def ids_of(batch: pa.RecordBatch) -> pa.StringArray:
    """The `id` column as strings; `InputError` if it is missing, null or of another kind."""
    ids = _column(batch, "id")
    return ids if ids.type == pa.string() else _cast(ids, pa.string(), "id")


def _lists(column: pa.Array, name: str) -> pa.LargeListArray:
    kind = column.type
    # Not list views: pyarrow 26.0.1 casts a slice of them to garbage.
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise InputError(f"column {name!r} must hold lists, not {kind}")
    return column if pa.types.is_large_list(kind) else _cast(column, pa.large_list(kind.value_type), name)


def _aligned(name: str, lists: pa.LargeListArray, kind: pa.DataType) -> tuple[np.ndarray, np.ndarray]:
    if pa.types.is_boolean(lists.type.value_type):  # one byte a token: bits cannot be mapped as an array
        lists = _cast(lists, pa.large_list(pa.uint8()), name)
    if lists.type.value_type != kind:
        lists = _cast(lists, pa.large_list(kind), name)
    return _flat(lists)


def _flat(lists: pa.LargeListArray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets from 0 and the values they cover, whatever slice of a larger array `lists` is."""
    offsets = lists.offsets.to_numpy().astype(np.int64, copy=False)
    values = lists.values
    if values.null_count:
        raise InputError("a document holds a null token")
    if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
        raise InputError(f"token ids must be integers, not {values.type}")
    return offsets - offsets[0], values.to_numpy()[offsets[0] : offsets[-1]]
