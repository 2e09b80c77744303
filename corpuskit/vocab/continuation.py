"""Going on merging where a vocabulary's own merges end, whatever kind of vocabulary it is.

Text arrives as the base's tokens. Runs of them between which nothing may merge (`corpuskit.kernels.segments`)
are counted, and merging continues on those (`corpuskit.kernels.bpe_merging`). A token that is made is whole
characters or the prefix of one, holds no ASCII, and has bytes that no token had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from corpuskit.errors import ConfigError, InputError
from corpuskit.vocab.character_runs import breaks_before
from corpuskit.vocab.merge_training import NO_LIMIT, polynomial
from corpuskit.vocab.sampling import Sample

Borders = Literal["scripts", "classes"]


def character_structure(token: bytes | None) -> tuple[int, int, int] | None:
    """How a token's bytes lie in UTF-8 characters.

    Returns
    -------
    (int, int, int) or None
        Continuation bytes it begins with, whether whole characters follow (0 or 1), and how many
        bytes the character it ends in still lacks. None for a token that can be part of no
        merge: it holds ASCII, is special, cannot occur in UTF-8, or both begins and ends inside
        a character.
    """
    if not token or min(token) < 0x80:
        return None
    lead = 0
    while lead < len(token) and token[lead] < 0xC0:
        lead += 1
    whole, position = 0, lead
    while position < len(token):
        first = token[position]
        width = 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 0
        available = token[position + 1 : position + width]
        if not width or any(not 0x80 <= byte < 0xC0 for byte in available):
            return None
        if position + width > len(token):
            missing = position + width - len(token)
            return None if lead else (lead, whole, missing)
        whole, position = 1, position + width
    return (lead, whole, 0) if lead <= 3 else None


class Continuation:
    """Counts the runs of a corpus in a base's tokens, then merges on.

    Parameters
    ----------
    tokens : sequence of bytes or None
        Bytes of each id of the base; None where an id is part of no merge and stands for no text.
    borders : {"scripts", "classes", None}
        Where new tokens may not run across, besides the words given: between letters of different
        scripts, or between any classes of `corpuskit.vocab.character_runs`.
    split_digits : bool
        With ``classes``: at both sides of every digit too.
    """

    def __init__(
        self, tokens: Sequence[bytes | None], borders: Borders | None, *, split_digits: bool = False
    ) -> None:
        self._tokens = tokens
        self._structures = [character_structure(token) for token in tokens]
        self._barrier = np.array([structure is None for structure in self._structures])
        self._lengths = np.array([len(token or b"") for token in tokens], np.int64)
        self._borders = borders
        self._split_digits = split_digits
        self._segments = _Segments()

    def forbid_merging(self, token_ids: Iterable[int]) -> None:
        """Make tokens part of no merge."""
        for token_id in token_ids:
            self._structures[token_id] = None
            self._barrier[token_id] = True

    @property
    def num_segments(self) -> int:
        """Distinct runs of two tokens and more that may merge."""
        return self._segments.num_segments

    def add(self, ids: np.ndarray, words: np.ndarray) -> None:
        """Count a stretch of whole documents.

        Parameters
        ----------
        ids, words : int32[n]
            Token ids, whose bytes joined are valid UTF-8, and the number of the pre-token (or, where
            there are none, document) that each lies in.
        """
        if self._borders is not None:
            text = self.bytes_of(ids.tolist())
            borders = breaks_before(
                text,
                self._lengths[ids],
                letters_only=self._borders == "scripts",
                split_digits=self._split_digits,
            )
            words = words + np.cumsum(borders, dtype=np.int32)
        self._segments.add(ids, words, self._barrier)

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """The tokens joined."""
        return b"".join([self._tokens[i] or b"" for i in ids])

    def can_merge(self, ids: Sequence[int]) -> bool:
        """Whether none of the tokens is part of no merge."""
        return not self._barrier[list(ids)].any()

    def weigh(self, counts: Sequence[int]) -> None:
        """Say how often each distinct run occurs, in the order in which they were first added."""
        self._segments.counts[: self.num_segments] = counts

    def merges(self, num_new: int, min_count: int, taken: Iterable[bytes] = ()) -> list[tuple[int, int]]:
        """The next merges, in order; fewer than `num_new` if the corpus holds no more.

        Parameters
        ----------
        num_new : int
        min_count : int
            Pairs rarer than this make no token.
        taken : iterable of bytes
            What no token may be made of, besides the base's tokens.
        """
        from corpuskit.kernels import bpe_merging, bpe_tables, segments

        banned = sorted(set(taken))
        first_new = len(self._tokens)
        size = first_new + num_new
        hashes, powers = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
        lengths, structure = np.zeros(size, np.int32), np.zeros((3, size), np.int8)
        known = np.zeros(1 << (2 * (size + len(banned))).bit_length(), np.uint64)
        for token_id, token in enumerate(self._tokens):
            if token is not None:
                value, powers[token_id] = polynomial(token)
                hashes[token_id], lengths[token_id] = value, len(token)
                structure[:, token_id] = self._structures[token_id] or (0, 0, 0)
                known[bpe_tables.find_known(known, np.uint64(value or 1))] = value or 1
        for token in banned:
            value = polynomial(token)[0] or 1
            known[bpe_tables.find_known(known, np.uint64(value))] = value
        found = self._segments
        weights = found.counts[: found.num_segments]
        order = np.argsort(-weights, kind="stable")
        # Characters enter as the base cuts them, so there are no composite units.
        merges, _ = bpe_merging.train_merges(
            segments.lay_segments(found.store, found.starts, order),
            weights[order],
            np.array([bpe_tables.SEPARATOR], np.int32),
            np.empty(0, np.int64),
            True,
            structure,
            lengths,
            NO_LIMIT,
            hashes,
            powers,
            known,
            np.full(known.size, -1, np.int32),
            False,
            first_new,
            num_new,
            min_count,
            min_count,
        )
        return [(left, right) for left, right, _ in merges.tolist()]

    def joined(self, merges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes that each merge makes."""
        made: list[bytes] = []
        first = len(self._tokens)

        def token(token_id: int) -> bytes:
            return (self._tokens[token_id] or b"") if token_id < first else made[token_id - first]

        for left, right in merges:
            made.append(token(left) + token(right))
        return made


def require_segments(continuation: Continuation, sample: Sample) -> None:
    """Refuse a sample in which nothing outside ASCII can merge."""
    if continuation.num_segments == 0:
        raise InputError(
            "the sample has no run of characters outside ASCII, so there is nothing to add",
            where=f"{len(sample.texts)} documents",
            hint="extend on Chinese text",
        )


def require_merges(found: int, asked: int, min_count: int, sample: Sample) -> None:
    """Refuse to make fewer tokens than asked for."""
    if found < asked:
        raise ConfigError(
            f"the sample ({sample.text_bytes} bytes) holds only {found} new tokens that "
            f"occur {min_count} times or more, not {asked}",
            where="num_new_tokens",
            hint=f"ask for {found} or fewer, or give more text" if found else "give more text",
        )


class _Segments:
    """Distinct runs of tokens between which nothing can merge, with their counts."""

    def __init__(self) -> None:
        self.store = np.empty(1 << 20, np.int32)
        self.table = np.full(1 << 16, -1, np.int64)
        self.starts = np.empty(1 << 15, np.int64)
        self.counts = np.empty(1 << 15, np.int64)
        self.hashes = np.empty(1 << 15, np.uint64)
        self.num_stored = 0
        self.num_segments = 0

    def add(self, tokens: np.ndarray, words: np.ndarray, barrier: np.ndarray) -> None:
        from corpuskit.kernels import segments

        possible = self.num_segments + tokens.size // 2 + 1
        self.store = _room(self.store, self.num_stored + 2 * tokens.size + 2)
        self.starts = _room(self.starts, possible)
        self.counts = _room(self.counts, possible)
        self.hashes = _room(self.hashes, possible)
        if possible * 2 > self.table.size:
            self.table = np.full(1 << (possible * 2).bit_length(), -1, np.int64)
            segments.rebuild_segment_table(self.table, self.hashes, self.num_segments)
        self.num_stored, self.num_segments = segments.collect_segments(
            tokens,
            words,
            barrier,
            self.table,
            self.store,
            self.starts,
            self.counts,
            self.hashes,
            self.num_stored,
            self.num_segments,
        )


def _room(array: np.ndarray, size: int) -> np.ndarray:
    if size <= array.size:
        return array
    larger = np.empty(size + (size >> 1), array.dtype)
    larger[: array.size] = array
    return larger
