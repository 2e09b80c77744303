"""Which tokens begin a word: the parallel column ``word_starts``, for masking whole words.

A token begins a word if its first byte does. A word that begins inside a token (a token may join two words)
has no token of its own and belongs to the one before it; so the marked tokens cut a document into groups of
whole tokens, and none of the cuts goes through a word.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.errors import ConfigError, InputError
from corpuskit.files import checksum
from corpuskit.shards.manifest import TokenizerLike

COLUMN = "word_starts"
COLUMN_TYPE = "uint8"
JIEBA = "jieba"


class WordCutter(Protocol):
    """What `corpuskit.segment.Segmenter` and `PerceptronSegmenter` have in common."""

    def cut_batch(self, texts: Any, /, *, unit: Any = "bytes") -> pa.LargeListArray: ...


def open_segmenter(name: str) -> WordCutter:
    """The segmenter that a recipe or a command names: ``jieba``, or the file of a trained model.

    Raises
    ------
    InputError, ArtifactError
        If there is no such file, or it is no model.
    """
    from corpuskit.segment import PerceptronSegmenter, Segmenter

    return Segmenter() if name == JIEBA else PerceptronSegmenter.load(name)


def segmenter_version(name: str) -> str:
    """What decides the words of a segmenter, as text: jieba's version, or the checksum of the model."""
    if name == JIEBA:
        return f"jieba {importlib.metadata.version('jieba')}"
    try:
        return checksum(name)
    except OSError as error:
        raise InputError(
            f"the segmenter cannot be read: {error.strerror}",
            where=name,
            hint="word_starts is jieba, or a file that `corpuskit segment train` wrote",
        ) from error


def word_starts(
    texts: pa.LargeStringArray, encoded: pa.LargeListArray, tokenizer: TokenizerLike, segmenter: WordCutter
) -> pa.LargeListArray:
    """Mark the tokens that begin a word.

    Parameters
    ----------
    texts : pyarrow.LargeStringArray, length n
    encoded : pyarrow.LargeListArray, length n
        ``tokenizer.encode_batch(texts)``.
    tokenizer : corpuskit.vocab.Tokenizer
    segmenter : corpuskit.segment.Segmenter or PerceptronSegmenter

    Returns
    -------
    pyarrow.LargeListArray
        ``uint8``, 1 or 0 for every token.
    """
    lengths = _byte_lengths(tokenizer)
    if lengths is not None:
        marks = _by_bytes(texts, encoded, lengths, segmenter)
    else:
        marks = _by_spans(texts, encoded, tokenizer, segmenter)
    offsets = encoded.offsets.to_numpy()
    return pa.LargeListArray.from_arrays(pa.array(offsets - offsets[0]), pa.array(marks.astype(np.uint8)))


def _byte_lengths(tokenizer: Any) -> np.ndarray | None:
    """Bytes of each token of a byte-level BPE that encodes the text as it is, else None."""
    from corpuskit.vocab.bytelevel import ByteLevelBPE

    vocabulary = getattr(tokenizer, "vocabulary", None)
    if not isinstance(vocabulary, ByteLevelBPE) or vocabulary.normaliser != "identity":
        return None
    return np.array([len(token or b"") for token in vocabulary.tokens], np.int64)


def _by_bytes(
    texts: pa.LargeStringArray, encoded: pa.LargeListArray, lengths: np.ndarray, segmenter: WordCutter
) -> np.ndarray:
    offsets = encoded.offsets.to_numpy()
    tokens = encoded.values.to_numpy()[offsets[0] : offsets[-1]]
    begins = np.zeros(len(tokens) + 1, np.int64)
    np.cumsum(lengths[tokens], out=begins[1:])
    text_offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False), out=text_offsets[1:])
    if not np.array_equal(begins[offsets - offsets[0]], text_offsets):
        raise InputError("the tokens are not those of the texts", where="encoded")
    is_start = np.zeros(text_offsets[-1] + 1, np.bool_)
    is_start[text_offsets] = True
    words = segmenter.cut_batch(texts)
    ends = words.values.to_numpy()[words.offsets[0].as_py() : words.offsets[-1].as_py()].astype(np.int64)
    is_start[ends + np.repeat(text_offsets[:-1], np.diff(words.offsets.to_numpy()))] = True
    return is_start[begins[:-1]]


def _by_spans(
    texts: pa.LargeStringArray, encoded: pa.LargeListArray, tokenizer: Any, segmenter: WordCutter
) -> np.ndarray:
    """Text by text, from the spans that the vocabulary's own library gives."""
    if not hasattr(tokenizer, "encode_spans"):
        raise ConfigError(
            "the tokenizer does not say where its tokens lie in the text",
            where=COLUMN,
            hint="use a corpuskit.vocab.Tokenizer, or give the column to write_tokens",
        )
    marks = []
    words = segmenter.cut_batch(texts, unit="characters")
    for text, ends in zip(texts.to_pylist(), words.to_pylist(), strict=True):
        _, spans = tokenizer.encode_spans(text)
        begins = spans[:, 0]
        # Tokens that share a place (the parts of a character, a leading "▁") begin a word once.
        first = np.ones(len(begins), np.bool_)
        first[1:] = begins[1:] != begins[:-1]
        marks.append(np.isin(begins, np.array([0, *ends[:-1]])) & first)
    flat = np.concatenate(marks) if marks else np.empty(0, np.bool_)
    if len(flat) != encoded.offsets[-1].as_py() - encoded.offsets[0].as_py():
        raise InputError("the tokens are not those of the texts", where="encoded")
    return flat
