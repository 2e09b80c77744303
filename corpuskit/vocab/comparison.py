"""What is measured of a vocabulary on a text: pure functions over arrays of ids and byte positions.

Every measure takes the same plain arrays, so one tokenizer's library is as good as another's, and each
can be checked by hand. A token is a span of UTF-8 bytes of the original text; a boundary inside a
character is a boundary like any other, which is what makes byte-level vocabularies comparable with
those that know whole characters.

Compression alone misleads: a tokenizer that answers ``<unk>`` looks better the less it knows (on
Chinese, T5 reaches 15 bytes a token). So what became unknown is measured beside it, and bytes a token
once more without it (`Compression.known_bytes_per_token`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from corpuskit.clean.characters import CharacterClass, tables
from corpuskit.errors import InputError

RENYI_ALPHA = 2.5
"""Order of the Rényi entropy for which Zouhar et al. (2023, "Tokenization and the Noiseless Channel",
aclanthology.org/2023.acl-long.284) report the best agreement with the quality of translation."""

LENGTH_BINS = ("part", "1", "2", "3", "4+")
"""Of `han_lengths`: part of a character, then number of Han characters."""


class Role(IntEnum):
    """What an id is for."""

    ORDINARY = 0
    SPECIAL = 1
    """Control symbols and placeholders, which text never produces."""
    BYTE = 2
    """One byte of a character that the vocabulary lacks (byte fallback)."""
    UNKNOWN = 3
    """Stands for any text that the vocabulary lacks; that text is lost."""


@dataclass(frozen=True)
class Text:
    """Documents and what boundaries are judged by.

    Attributes
    ----------
    data : uint8[n]
        UTF-8 of all documents, one behind the other.
    rows : int64[documents + 1]
        Bounds of the documents in `data`.
    character_starts : int64[characters + 1]
        Where each character begins, and n.
    han, space : bool[n]
        Of each byte: part of a Han character; of a white-space character.
    """

    data: np.ndarray
    rows: np.ndarray
    character_starts: np.ndarray
    han: np.ndarray
    space: np.ndarray

    @property
    def num_bytes(self) -> int:
        return int(self.rows[-1])

    @property
    def num_characters(self) -> int:
        return self.character_starts.size - 1


def describe_text(texts: Sequence[str]) -> Text:
    """The arrays of some documents.

    Raises
    ------
    InputError
        If a document holds lone surrogates, or there is no text.
    """
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise InputError("text holds a lone surrogate, which has no UTF-8 form") from error
    rows = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(row) for row in encoded], out=rows[1:])
    if rows[-1] == 0:
        raise InputError("there is no text to compare on", hint="give documents that are not empty")
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    widths = utf8_widths(codes)
    starts = np.zeros(codes.size + 1, np.int64)
    np.cumsum(widths, out=starts[1:])
    han = tables().classes[codes] == CharacterClass.HAN
    space = np.array([chr(code).isspace() for code in range(0x3001)])
    white = space[np.minimum(codes, space.size - 1)] & (codes < space.size)
    return Text(
        np.frombuffer(b"".join(encoded), np.uint8),
        rows,
        starts,
        np.repeat(han, widths),
        np.repeat(white, widths),
    )


def utf8_widths(codes: np.ndarray) -> np.ndarray:
    """Bytes of each code point in UTF-8: int64."""
    return 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF) + (codes > 0xFFFF)


@dataclass(frozen=True)
class Encoding:
    """A text in tokens.

    Attributes
    ----------
    ids : int64[t]
    begins, ends : int64[t]
        Each token's bytes in `Text.data`; a token that stands for nothing in the text (the space that
        SentencePiece puts first) is empty. What lies in no token was thrown away.
    changed : bool[t]
        Whether the token says something else than the text there (white space at its ends left out):
        lower case, NFKC.
    """

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    changed: np.ndarray

    @property
    def num_tokens(self) -> int:
        return self.ids.size


@dataclass(frozen=True)
class Compression:
    """How short a text becomes, and what of it is lost or spelt in bytes.

    Attributes
    ----------
    tokens : int
    bytes_per_token, characters_per_token : float
        Of the whole text: what unknown text hides is counted as if it had been encoded.
    known_bytes_per_token : float
        The same over known tokens and the bytes in them; 0 where nothing is known.
    unknown_tokens : float
        Share of tokens that are ``<unk>``.
    unknown_characters : float
        Share of the characters that are not white space in such a token: lost.
    dropped_characters : float
        Share of the characters that are not white space in no token at all: lost without a trace.
    changed_characters : float
        Share of the characters that are not white space in tokens that say something else than the text
        (lower case, NFKC): they do not come back.
    partial_tokens : float
        Share of tokens that are part of a character: byte fallback, or bytes of a byte-level BPE.
    split_characters : float
        Share of the characters beyond ASCII that are cut into several tokens.
    """

    tokens: int
    bytes_per_token: float
    characters_per_token: float
    known_bytes_per_token: float
    unknown_tokens: float
    unknown_characters: float
    dropped_characters: float
    changed_characters: float
    partial_tokens: float
    split_characters: float


def compression(text: Text, encoding: Encoding, roles: np.ndarray) -> Compression:
    """Length of the encoding; `roles` (uint8[vocabulary size]) are of `Role`."""
    count = max(1, encoding.num_tokens)
    unknown = roles[encoding.ids] == Role.UNKNOWN
    starts, visible = text.character_starts, ~text.space[text.character_starts[:-1]]
    seen = max(1, int(visible.sum()))
    covered = _covered(text, encoding.begins, encoding.ends)[starts[:-1]]
    lost = _covered(text, encoding.begins[unknown], encoding.ends[unknown])[starts[:-1]]
    changed = _covered(text, encoding.begins[encoding.changed], encoding.ends[encoding.changed])[starts[:-1]]
    is_start = np.zeros(text.num_bytes + 1, bool)
    is_start[starts] = True
    filled = encoding.ends > encoding.begins
    partial = filled & ~(is_start[encoding.begins] & is_start[encoding.ends])
    inside = np.zeros(text.num_bytes + 1, np.int64)
    inside[boundaries(text, encoding)] = 1
    inside[is_start] = 0
    split = np.add.reduceat(inside[:-1], starts[:-1]) > 0
    wide = np.diff(starts) > 1
    known = int((~unknown).sum())
    lost_bytes = int((encoding.ends - encoding.begins)[unknown].sum())
    return Compression(
        tokens=encoding.num_tokens,
        bytes_per_token=text.num_bytes / count,
        characters_per_token=text.num_characters / count,
        known_bytes_per_token=(text.num_bytes - lost_bytes) / known if known else 0.0,
        unknown_tokens=float(unknown.sum()) / count,
        unknown_characters=float((lost & visible).sum()) / seen,
        dropped_characters=float((~covered & visible).sum()) / seen,
        changed_characters=float((changed & visible).sum()) / seen,
        partial_tokens=float(partial.sum()) / count,
        split_characters=float((split & wide).sum()) / max(1, int(wide.sum())),
    )


def _covered(text: Text, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Of each byte, whether one of the spans holds it."""
    change = np.bincount(begins, minlength=text.num_bytes + 1) - np.bincount(
        ends, minlength=text.num_bytes + 1
    )
    return np.cumsum(change)[:-1] > 0


def boundaries(text: Text, encoding: Encoding) -> np.ndarray:
    """Positions inside documents where a token begins or ends: int64, rising, each once."""
    edge = np.zeros(text.num_bytes + 1, bool)
    filled = encoding.ends > encoding.begins
    edge[encoding.begins[filled]] = True
    edge[encoding.ends[filled]] = True
    edge[text.rows] = False
    return np.flatnonzero(edge)


@dataclass(frozen=True)
class WordAgreement:
    """Tokens beside the words of a segmenter.

    Attributes
    ----------
    fertility : float
        Tokens a word that is not white space (Ács 2019; Rust et al. 2021, §3.2).
    boundary_precision : float
        Share of token boundaries that are word boundaries.
    boundary_recall : float
        Share of word boundaries that are token boundaries.
    cross_word : float
        Share of tokens that have a word boundary inside them.

    Notes
    -----
    Boundaries count where a Han character is on at least one side and no white space on either: what
    separates words there is the segmenter's judgement, and where tokens put a space is their convention.
    """

    fertility: float
    boundary_precision: float
    boundary_recall: float
    cross_word: float


def word_agreement(text: Text, encoding: Encoding, word_ends: np.ndarray) -> WordAgreement:
    """Compare with words whose exclusive ends in `Text.data` are `word_ends` (int64, rising)."""
    judged = np.zeros(text.num_bytes + 1, bool)
    before, after = slice(None, -1), slice(1, None)
    judged[1:-1] = (text.han[before] | text.han[after]) & ~text.space[before] & ~text.space[after]
    judged[text.rows] = False
    word_edge = np.zeros(text.num_bytes + 1, bool)
    word_edge[word_ends] = True
    word_edge &= judged
    token_edges = boundaries(text, encoding)
    token_edges = token_edges[judged[token_edges]]
    agreed = int(word_edge[token_edges].sum())
    before_edge = np.cumsum(word_edge)
    filled = encoding.ends > encoding.begins
    begins, ends = encoding.begins[filled], encoding.ends[filled]
    crossing = before_edge[ends - 1] > before_edge[begins]
    word_begins = np.concatenate([[0], word_ends[:-1]])
    blank = np.concatenate([[0], np.cumsum(text.space)])
    visible = blank[word_ends] - blank[word_begins] < word_ends - word_begins
    return WordAgreement(
        fertility=encoding.num_tokens / max(1, int(visible.sum())),
        boundary_precision=agreed / max(1, token_edges.size),
        boundary_recall=agreed / max(1, int(word_edge.sum())),
        cross_word=float(crossing.sum()) / max(1, encoding.num_tokens),
    )


def renyi_efficiency(counts: np.ndarray, vocabulary_size: int, alpha: float = RENYI_ALPHA) -> float:
    """Rényi entropy of the token distribution over that of an even one.

    H_α(p) / log V with H_α(p) = log(Σ pᵢ^α) / (1 − α), as in Zouhar et al. (2023) and their package
    tokenization-scorer.

    Parameters
    ----------
    counts : int64[n]
        How often each token occurs; zeros do not matter.
    vocabulary_size : int
        V: all types of the vocabulary, or, as tokenization-scorer has it where it is not told, those that
        occur.
    alpha : float
        At least 0; 1 is Shannon's entropy.
    """
    used = counts[counts > 0].astype(np.float64)
    if used.size == 0 or vocabulary_size < 2:
        return 0.0
    shares = used / used.sum()
    if alpha == 1:
        entropy = float(-(shares * np.log(shares)).sum())
    else:
        entropy = float(np.log((shares**alpha).sum()) / (1 - alpha))
    return entropy / float(np.log(vocabulary_size)) + 0.0


def han_lengths(text: Text, encoding: Encoding) -> np.ndarray:
    """Tokens with Han characters in them, by length as in `LENGTH_BINS`: shares, float64[5].

    Zeros where there is no such token.
    """
    han = np.concatenate([[0], np.cumsum(text.han)])
    starts = np.zeros(text.num_bytes + 1, np.int64)
    starts[text.character_starts[:-1]] = text.han[text.character_starts[:-1]]
    first = np.concatenate([[0], np.cumsum(starts[:-1])])
    is_start = np.zeros(text.num_bytes + 1, bool)
    is_start[text.character_starts] = True
    chosen = han[encoding.ends] > han[encoding.begins]
    begins, ends = encoding.begins[chosen], encoding.ends[chosen]
    whole = is_start[begins] & is_start[ends]
    lengths = np.where(whole, np.minimum(first[ends] - first[begins], 4), 0)
    counted = np.bincount(lengths, minlength=5)
    return counted / max(1, int(counted.sum()))


def is_partial_utf8(token: bytes) -> bool:
    """Whether a token of two bytes or more is no whole characters."""
    if len(token) < 2:
        return False
    try:
        token.decode()
    except UnicodeDecodeError:
        return True
    return False


def character_sets() -> dict[str, str]:
    """Characters that a Chinese vocabulary should know, out of Python's codecs.

    ``gb2312_1`` and ``gb2312_2`` are rows 16 to 55 (3,755 common characters) and 56 to 87 (3,008) of
    GB 2312-1980; ``big5_1`` the 5,401 of Big5's first level (A440 to C67E), Taiwan's common ones.
    """
    return {
        "gb2312_1": _cells("gb2312", range(0xB0, 0xD8), (range(0xA1, 0xFF),)),
        "gb2312_2": _cells("gb2312", range(0xD8, 0xF8), (range(0xA1, 0xFF),)),
        "big5_1": _cells("big5", range(0xA4, 0xC7), (range(0x40, 0x7F), range(0xA1, 0xFF)), last=0xC67E),
    }


def _cells(codec: str, leads: range, trails: Sequence[range], last: int = 0xFFFF) -> str:
    cells = (
        bytes([lead, trail])
        for lead in leads
        for part in trails
        for trail in part
        if lead << 8 | trail <= last
    )
    return "".join(cell.decode(codec, errors="ignore") for cell in cells)
