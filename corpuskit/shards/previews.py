"""The first documents of a token dataset as a reader can check them: decoded, cut, columns shown.

Words that `word_starts` marks are parted by ``/``, and what `loss_mask` leaves out of the loss stands
between ``⟦`` and ``⟧``: a mask that is off by one token is seen at a glance.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from corpuskit.errors import ConfigError, MismatchError
from corpuskit.shards.manifest import Manifest
from corpuskit.shards.reader import Document, TokenDataset, open_dataset
from corpuskit.shards.word_starts import COLUMN as WORD_STARTS

LOSS_MASK = "loss_mask"
TOKENIZER_DIRECTORY = "tokenizer"


@dataclass(frozen=True)
class DocumentPreview:
    """The beginning of a document.

    Attributes
    ----------
    id : str
    num_tokens : int
    text : str
        Decoded; the ids themselves where there is no tokenizer.
    is_cut : bool
        Whether the document goes on.
    is_decoded : bool
        False where there was no tokenizer.
    """

    id: str
    num_tokens: int
    text: str
    is_cut: bool
    is_decoded: bool


def preview(
    dataset: TokenDataset | str | os.PathLike,
    count: int = 5,
    *,
    tokenizer: Any = None,
    max_characters: int = 200,
) -> Iterator[DocumentPreview]:
    """The first `count` documents, decoded.

    Parameters
    ----------
    dataset : TokenDataset or path-like
        Or a URL.
    count : int
    tokenizer : corpuskit.vocab.Tokenizer, optional
        By default the one in the dataset's ``tokenizer/``; without one, ids are shown.
    max_characters : int
        About where a text is cut.

    Raises
    ------
    ConfigError
        If a number is negative.
    MismatchError
        If `tokenizer` is another one than the dataset's.
    ArtifactError
        As for `corpuskit.shards.open`.
    """
    for name, value in (("count", count), ("max_characters", max_characters)):
        if value < 0:
            raise ConfigError(f"{value} is negative", where=name)
    data = dataset if isinstance(dataset, TokenDataset) else open_dataset(dataset)
    tokenizer = tokenizer_of(data, tokenizer)
    return (_preview(data[row], tokenizer, max_characters) for row in range(min(count, len(data))))


def tokenizer_of(data: TokenDataset, tokenizer: Any = None) -> Any:
    """`tokenizer` if it is the dataset's; else the one beside the shards; else None.

    Raises
    ------
    MismatchError
        If it is not the one that made the ids.
    ArtifactError
        If what lies beside the shards is damaged.
    """
    if tokenizer is None:
        if data.remote is not None:
            return None
        beside = Path(data.directory) / TOKENIZER_DIRECTORY
        if not beside.is_dir():
            return None
        from corpuskit.vocab import Tokenizer

        tokenizer = Tokenizer.load(beside)
        if tokenizer.fingerprint != data.manifest.tokenizer.fingerprint:
            raise MismatchError(
                f"the tokenizer inside the dataset is {tokenizer.fingerprint}; its shards were written with "
                f"{data.manifest.tokenizer.fingerprint}",
                where=str(beside),
                hint="put the tokenizer that wrote the shards there, or name it",
            )
    manifest: Manifest = data.manifest
    manifest.require_tokenizer(tokenizer, str(data.directory))
    return tokenizer


def _preview(document: Document, tokenizer: Any, max_characters: int) -> DocumentPreview:
    # A character takes four tokens at most where they are bytes.
    shown = document.tokens[: 4 * max_characters + 4]
    starts = document.columns.get(WORD_STARTS)
    mask = document.columns.get(LOSS_MASK)
    text = "".join(_pieces(shown, starts, mask, tokenizer))
    is_cut = len(shown) < len(document.tokens) or len(text) > max_characters
    is_decoded = tokenizer is not None
    return DocumentPreview(document.id, len(document.tokens), text[:max_characters], is_cut, is_decoded)


def _pieces(
    tokens: np.ndarray, starts: np.ndarray | None, mask: np.ndarray | None, tokenizer: Any
) -> Iterator[str]:
    """The text, a piece for each run of tokens between marks, with the marks."""
    is_border = np.zeros(len(tokens), np.bool_)
    words = np.zeros(len(tokens), np.bool_) if starts is None else starts[: len(tokens)] == 1
    masked = np.zeros(len(tokens), np.bool_) if mask is None else mask[: len(tokens)] == 0
    is_border |= words
    is_border[1:] |= masked[1:] != masked[:-1]
    is_border[:1] = True
    borders = np.append(np.flatnonzero(is_border), len(tokens))
    inside = False
    for start, stop in pairwise(borders.tolist()):
        if inside and not masked[start]:
            yield "⟧"
        if start and words[start]:
            yield "/"
        if masked[start] and not inside:
            yield "⟦"
        inside = bool(masked[start])
        piece = tokens[start:stop]
        yield tokenizer.decode(piece) if tokenizer is not None else " ".join(map(str, piece.tolist())) + " "
    if inside:
        yield "⟧"
