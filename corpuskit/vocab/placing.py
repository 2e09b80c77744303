"""Where in a text each token lies, whatever its library says of it.

Joined, a lossless tokenizer's tokens *are* the text (with, in SentencePiece, a space before it), and their
lengths give every position exactly, inside characters too. Only for documents where that fails
(lower-casing, NFKC, ``<unk>``, dropped white space) are the library's offsets used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from corpuskit.vocab.comparison import Encoding, Role

if TYPE_CHECKING:
    from corpuskit.vocab.subjects import Subject


def place(subject: Subject, texts: Sequence[str], rows: np.ndarray) -> Encoding:
    """Encode documents whose bounds, laid end to end, are `rows` (int64[documents + 1])."""
    pieces = [token or b"" for token in subject.tokens]
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    unknown = subject.roles == Role.UNKNOWN
    all_ids, all_begins, all_ends, all_changed = [], [], [], []
    for row, (text, ids) in enumerate(zip(texts, subject.ids(texts))):
        data = text.encode()
        joined = b"".join([pieces[i] for i in ids.tolist()])
        prefix = joined != data and joined == b" " + data
        changed = np.zeros(ids.size, bool)
        if joined == data or prefix:
            ends = np.cumsum(lengths[ids])
            begins = ends - lengths[ids]
            if prefix:
                begins, ends = np.maximum(begins - 1, 0), ends - 1
        else:
            ids, begins, ends = subject.spans(text)
            begins, ends = _untangle(begins, ends, [pieces[i] for i in ids.tolist()], data)
            for at in np.flatnonzero(~unknown[ids]).tolist():
                token, span = pieces[ids[at]], data[begins[at] : ends[at]]
                changed[at] = (
                    token != span and token.strip() != span.decode(errors="replace").strip().encode()
                )
        all_ids.append(ids)
        all_begins.append(begins + rows[row])
        all_ends.append(ends + rows[row])
        all_changed.append(changed)
    return Encoding(*(np.concatenate(parts) for parts in (all_ids, all_begins, all_ends, all_changed)))


def _untangle(
    begins: np.ndarray, ends: np.ndarray, tokens: Sequence[bytes], data: bytes
) -> tuple[np.ndarray, np.ndarray]:
    """Give tokens that share the place of one character a part of it each.

    Libraries count in characters, so the tokens of a character's bytes all have its place (Hugging Face)
    or all but the last are empty before it (SentencePiece). A space before the text shares the place of
    what follows it and is empty here.
    """
    begins, ends = begins.copy(), np.maximum.accumulate(ends)
    tied = (begins[1:] == begins[:-1]) & ((ends[1:] == ends[:-1]) | (ends[:-1] == begins[:-1]))
    followers = np.flatnonzero(tied) + 1
    for run in np.split(followers, np.flatnonzero(np.diff(followers) > 1) + 1):
        if run.size:
            first, last = int(run[0]) - 1, int(run[-1]) + 1
            low, high = int(begins[first]), int(ends[last - 1])
            if tokens[first] == b" " and not data[low:high].decode(errors="replace")[:1].isspace():
                ends[first] = low
                first += 1
            edges = _edges(low, high, [len(token) for token in tokens[first:last]])
            begins[first:last], ends[first:last] = edges[:-1], edges[1:]
    return begins, ends


def _edges(low: int, high: int, lengths: Sequence[int]) -> np.ndarray:
    """Bounds of tokens that fill `low` to `high`: by their lengths if these add up, else even ones."""
    if sum(lengths) == high - low:
        return low + np.concatenate([[0], np.cumsum(lengths)])
    return np.linspace(low, high, len(lengths) + 1).astype(np.int64)
