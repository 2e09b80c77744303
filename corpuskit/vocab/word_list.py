"""Giving a vocabulary a token for every word of a list, for people who have one.

The popular way, `add_tokens`, matches words before the vocabulary's own merges, leftmost and longest: new
borders fall inside old tokens, a word with ASCII letters cuts English, and where one word of the list
begins inside another the first wins. On GPT-2, 10,000 jieba words gave 4.09 bytes a token so, 4.25 in the
way of this module (as far as 10,000 tokens go), and continued BPE 4.54 with as many (bench_extension.py).

Here the list is what BPE goes on learning from (`corpuskit.vocab.continuation`) until every word is one
token. The promises of `corpuskit.vocab.extend` hold, as new merges rank after all old ones. The price is
tokens on the way: a byte-level base needs some for parts of words, shared between words as far as possible.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from corpuskit.errors import ConfigError, InputError
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.continuation import Continuation
from corpuskit.vocab.extension import append_merges, cut_when_alone
from corpuskit.vocab.formats import load
from corpuskit.vocab.model_proto import read_model, with_pieces, without_dummy_prefix
from corpuskit.vocab.piece_extension import (
    add_encoded,
    continue_pieces,
    cut_pieces,
    new_pieces,
    require_merging_kind,
    scores_below,
)
from corpuskit.vocab.pieces import SentencePieceModel
from corpuskit.vocab.tokenizer import Tokenizer

ProblemPolicy = Literal["refuse", "skip"]

ASCII = "holds ASCII, so as a token it would change how English is cut"
CUT = "is cut by the base's pattern or holds a space or user-defined piece"
REWRITTEN = "is rewritten by the base's normaliser"
UNMERGEABLE = "is cut by the base inside a character, so that no merges lead to it"

_SHOWN = 5
_COUNT_DIGITS = 13  # of 2**40, the largest count


def add_words(
    base: Tokenizer | str | os.PathLike,
    words: Iterable[str] | Mapping[str, int],
    *,
    problems: ProblemPolicy = "refuse",
) -> Tokenizer:
    """Give every word a token of its own.

    Parameters
    ----------
    base : Tokenizer, path-like or "gpt2"
        What `corpuskit.vocab.load` reads: a byte-level or SentencePiece BPE.
    words : iterable of str, or mapping of str to int
        The list; order does not matter. With counts, parts of frequent words are made first, so that
        they get the lower ids and win where words overlap.
    problems : {"refuse", "skip"}
        What to do if words cannot be tokens, or should not: they hold ASCII, the base's pattern cuts
        them, its normaliser rewrites them, or an old token lies across their characters.

    Returns
    -------
    Tokenizer
        Old ids, bytes and special tokens unchanged. ``provenance["word_list"]`` says how many words
        there were (``words``), were tokens already (``known``) and became one (``made``), how many
        tokens it took beside them (``parts``), and which were left out (``skipped``: word to reason).
        `corpuskit.vocab.cost.extension_cost` measures what it buys.

    Raises
    ------
    ConfigError
        With ``refuse``, if there are such words; or the base is a SentencePiece unigram model.
    InputError
        If the list is empty, or nothing of it is left to make.
    ArtifactError
        If the base has no merges.
    """
    if problems not in get_args(ProblemPolicy):
        raise ConfigError(f"unknown policy {problems!r}", where="problems", hint="refuse or skip")
    loaded = base if isinstance(base, Tokenizer) else load(base)
    weights = _weights(words)
    old = loaded.vocabulary
    maker: _PieceMaker | _ByteMaker = (
        _PieceMaker(old) if isinstance(old, SentencePieceModel) else _ByteMaker(old)
    )
    sorted_words = sorted(weights)
    skipped: dict[str, str] = {}
    known = 0
    wanted: list[tuple[str, list[int]]] = []
    for word, encoded in zip(sorted_words, maker.encode(sorted_words)):
        reason = ASCII if min(word) < "\x80" else maker.problem(word, encoded)
        if reason is not None:
            skipped[word] = reason
        elif len(encoded.ids) == 1:
            known += 1
        else:
            wanted.append((word, encoded.ids))
    _refuse(skipped, problems)
    if not wanted:
        raise InputError(
            f"none of {len(weights)} words is left to make: {known} are tokens already, "
            f"{len(skipped)} cannot be",
            where="words",
        )
    continuation = maker.continuation()
    add_encoded(continuation, [ids for _, ids in wanted])
    continuation.weigh([weights[word] for word, _ in wanted])
    vocabulary = maker.extended(continuation, sum(len(ids) - 1 for _, ids in wanted))
    makeable = [word for word, _ in wanted]
    for word, ids in zip(makeable, maker.alone(vocabulary, makeable)):
        if len(ids) != 1:
            skipped[word] = UNMERGEABLE
    _refuse(skipped, problems)
    made = len(weights) - known - len(skipped)
    facts = {
        "words": len(weights),
        "known": known,
        "made": made,
        "parts": vocabulary.vocab_size - loaded.vocab_size - made,
        "skipped": skipped,
    }
    return Tokenizer(
        vocabulary,
        {
            "algorithm": "add_words",
            "base_fingerprint": loaded.fingerprint,
            "base_provenance": loaded.provenance,
            "word_list": facts,
        },
    )


def read_words(path: str | os.PathLike) -> dict[str, int]:
    """A list from a UTF-8 text file: one word a line, where wanted with a tab and a count.

    Empty lines do not count; a word that occurs twice has the sum of its counts.

    Raises
    ------
    InputError
        If the file is missing or not UTF-8, or a count is no positive number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"unreadable: {error}", where=str(path)) from error
    weights: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        word, _, count = line.strip().partition("\t")
        if not word:
            continue
        word, count = word.strip(), count.strip()
        if count and not (count.isdecimal() and len(count) <= _COUNT_DIGITS and int(count) > 0):
            raise InputError(
                f"{count!r} is no count",
                where=f"{path}, line {number}",
                hint="one word a line, or a word, a tab and a positive number",
            )
        weights[word] = weights.get(word, 0) + int(count or 1)
    return weights


def _weights(words: Iterable[str] | Mapping[str, int]) -> dict[str, int]:
    if isinstance(words, str):
        raise ConfigError("one text, not a list of words", where="words", hint="pass [word, …]")
    weights = dict(words) if isinstance(words, Mapping) else dict.fromkeys(words, 1)
    for word, weight in weights.items():
        try:
            empty = not word.encode()
        except (UnicodeEncodeError, AttributeError) as error:
            raise InputError(f"{word!r} is no text: {error}", where="words") from error
        if empty:
            raise InputError("an empty word", where="words")
        if not 1 <= weight < 1 << 40:
            raise ConfigError(f"the count {weight} of {word!r} is outside 1 to 2**40", where="words")
    if not weights:
        raise InputError("the list has no words", where="words")
    return weights


def _refuse(skipped: Mapping[str, str], problems: ProblemPolicy) -> None:
    if problems == "refuse" and skipped:
        shown = "; ".join(f"{word!r} {reason}" for word, reason in list(skipped.items())[:_SHOWN])
        raise ConfigError(
            f"{len(skipped)} words cannot be tokens: {shown}",
            where="words",
            hint="take them out of the list, or pass problems='skip' (--skip) to leave them out",
        )


@dataclass(frozen=True)
class _Encoded:
    ids: list[int]
    in_one: bool  # whether nothing in it keeps the base from ever joining it


class _ByteMaker:
    """Makes tokens of a byte-level base."""

    def __init__(self, old: ByteLevelBPE) -> None:
        self._old = old
        self._empty = Continuation(old.tokens, None)

    def encode(self, words: Sequence[str]) -> list[_Encoded]:
        encodings = self._old.backend().encode_batch(list(words), add_special_tokens=False)
        return [_Encoded(e.ids, len(set(e.word_ids)) == 1) for e in encodings]

    def problem(self, word: str, encoded: _Encoded) -> str | None:
        if b"".join(self._old.tokens[i] or b"" for i in encoded.ids) != word.encode():
            return REWRITTEN
        if not encoded.in_one:
            return CUT
        return None if self._empty.can_merge(encoded.ids) or len(encoded.ids) == 1 else UNMERGEABLE

    def continuation(self) -> Continuation:
        return Continuation(self._old.tokens, None)

    def extended(self, continuation: Continuation, most: int) -> ByteLevelBPE:
        banned: set[bytes] = set()
        while True:
            merges = continuation.merges(most, 1, banned)
            extended = append_merges(self._old, merges, continuation.joined(merges))
            unreached = cut_when_alone(extended, len(self._old.tokens))
            if not unreached:
                return extended
            banned |= unreached

    def alone(self, vocabulary: Any, words: Sequence[str]) -> list[list[int]]:
        encodings = vocabulary.backend().encode_batch_fast(list(words), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


class _PieceMaker:
    """Makes pieces of a SentencePiece BPE base."""

    def __init__(self, old: SentencePieceModel) -> None:
        require_merging_kind(old)
        self._old = old
        self._described = read_model(old.model)
        self._empty = continue_pieces(self._described, None)

    def encode(self, words: Sequence[str]) -> list[_Encoded]:
        encoded = self.alone(self._old, words)
        return [_Encoded(ids, len(ids) == 1 or self._empty.can_merge(ids)) for ids in encoded]

    def problem(self, word: str, encoded: _Encoded) -> str | None:
        if self._empty.bytes_of(encoded.ids) != word.encode():
            return REWRITTEN
        return None if encoded.in_one else CUT

    def continuation(self) -> Continuation:
        return continue_pieces(self._described, None)

    def extended(self, continuation: Continuation, most: int) -> SentencePieceModel:
        banned = {piece.text.encode() for piece in self._described.pieces}
        while True:
            made = new_pieces(continuation, most, 1, banned)
            model = with_pieces(self._old.model, list(zip(made, scores_below(self._described, len(made)))))
            unreached = cut_pieces(model, len(self._described.pieces), made)
            if not unreached:
                return SentencePieceModel(self._old.kind, model, self._old.special_tokens)
            banned |= unreached

    def alone(self, vocabulary: Any, words: Sequence[str]) -> list[list[int]]:
        bare = SentencePieceModel(
            vocabulary.kind, without_dummy_prefix(vocabulary.model), vocabulary.special_tokens
        )
        return bare.encode_batch(words)
