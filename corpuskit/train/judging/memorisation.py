"""What a model learned by heart: how much of its texts stands in the data it was trained on.

A small model trained long on little data repeats it, and its samples look better than it is. For each
text: the share of its distinct character n-grams that occur anywhere in the training documents, and the
longest run of characters it has in common with one of them. Text is folded first, as for decontamination
(`corpuskit.dedup.folding`: width, case, white space, punctuation and script do not count); thirteen
characters, the n-gram of `corpuskit.dedup.Decontaminator`, are more than a name or a set phrase has.

The texts are indexed and the training data streams past, so its size costs time only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from corpuskit.dedup.evaluation import EvaluationItem
from corpuskit.dedup.evaluation_index import EvaluationIndex, Matching
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ConfigError, InputError
from corpuskit.shards import TokenDataset
from corpuskit.vocab import Tokenizer

_BATCH_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Memorised:
    """What one text has in common with the training data.

    Attributes
    ----------
    share : float or None
        Of the text's distinct n-grams, those that occur in training; None for a text shorter than one.
    longest : int
        Folded characters of the longest common run; 0 if it is shorter than an n-gram.
    passage : str
        The training document's own characters there.
    document : str
        Its id.
    """

    share: float | None
    longest: int
    passage: str
    document: str


def memorisation(
    texts: Sequence[str],
    training: Iterable[DocumentBatch] | TokenDataset,
    tokenizer: Tokenizer | None = None,
    *,
    ngram: int = 13,
) -> list[Memorised]:
    """Compare texts, generated ones say, with training documents.

    Parameters
    ----------
    texts : sequence of str
    training : iterable of RecordBatch, or TokenDataset
        Documents with `id` and `text`, or the shards a model was trained on.
    tokenizer : Tokenizer, optional
        Decodes shards; needed for a dataset only.
    ngram : int
        Characters of an n-gram, 2 to 64.

    Raises
    ------
    ConfigError
        If `ngram` is out of range, or a dataset comes without its tokenizer.
    MismatchError
        If the tokenizer is not the one the dataset was written with.
    InputError
        If there is no text.
    """
    if not texts:
        raise InputError("there is no text to compare", where="texts")
    # Every n-gram counts, however common, and a region of matches is one common run.
    matching = Matching(
        ngram=ngram, min_share=1.0, min_run=ngram, long_run=ngram, max_gap=1, min_characters=ngram,
        min_passage=1 << 30, min_distinct=1, max_item_frequency=1 << 30,
    )  # fmt: skip
    index = EvaluationIndex.build(
        matching, [EvaluationItem("texts", str(i), (text,)) for i, text in enumerate(texts)]
    )
    seen = index.unseen()
    best: list[tuple[int, str, str]] = [(0, "", "")] * len(texts)
    for batch in _documents(training, tokenizer):
        index.mark(batch, seen)
        for found in index.find(batch).to_pylist():
            item = int(found["item"])
            if found["run"] > best[item][0]:
                text = batch.column("text")[found["row"]].as_py()
                passage = text[found["start"] : found["stop"]]
                best[item] = (found["run"], passage, str(batch.column("id")[found["row"]].as_py()))
    shares = index.shares(seen)
    return [
        Memorised(None if np.isnan(share) else float(share), *longest)
        for share, longest in zip(shares, best, strict=True)
    ]


def _documents(
    training: Iterable[DocumentBatch] | TokenDataset, tokenizer: Tokenizer | None
) -> Iterable[DocumentBatch]:
    if not isinstance(training, TokenDataset):
        yield from training
        return
    if tokenizer is None:
        raise ConfigError("a token dataset needs its tokenizer to be read as text", where="tokenizer")
    training.manifest.require_tokenizer(tokenizer, str(training.directory))
    ids: list[str] = []
    texts: list[str] = []
    size = 0
    end = -1 if training.manifest.end_of_document == "end_of_text" else None
    for document in training:
        ids.append(document.id)
        texts.append(tokenizer.decode(document.tokens[:end]))
        size += len(texts[-1])
        if size >= _BATCH_CHARACTERS:
            yield _batch(ids, texts)
            ids, texts, size = [], [], 0
    if ids:
        yield _batch(ids, texts)


def _batch(ids: list[str], texts: list[str]) -> DocumentBatch:
    return pa.record_batch({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.large_string())})
