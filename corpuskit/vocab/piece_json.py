"""A SentencePiece model as `tokenizer.json`, so that transformers loads what we save.

Only a model that leaves the text as it is can be written so: the identity normaliser, no white space
removed. That is what `train` makes, and LLaMA's. The space that LLaMA's kind puts before a text goes before
each stretch between special tokens, as in ``encode(text, allow_special=True)``. SentencePiece merges the
leftmost of the pairs with the highest score, the library the pair of lowest rank; so a BPE model in which
pieces have one score between them (as merged models give theirs) is not written either, but for runs of one
character, where both can be compared.

What remains different: text that holds the name of a special or the unknown piece (``</s>``) is that piece
there; for a BPE model transformers takes ``split_special_tokens=True`` to make text of it. In a unigram model
it remains so, as does the name of a byte piece (``<0x41>``, six characters in SentencePiece); and a path that
ties with another within the rounding of 32 bits may be the other (1 of 7,200 texts).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sentencepiece
import tokenizers

from corpuskit.vocab.model_proto import Normalization, Piece, PieceType, read_model, without_dummy_prefix

_SPACE = "\u2581"
_PLAIN = Normalization("identity", False, False, True)


def to_huggingface(model: bytes) -> dict[str, Any] | None:
    """The content of `tokenizer.json`, or None for a model whose ids it would change."""
    read = read_model(model)
    prefixed = read.normalization.add_dummy_prefix
    if replace(read.normalization, add_dummy_prefix=False) != _PLAIN:
        return None
    runs = _tied_runs(read.pieces) if read.model_type == "bpe" else {}
    if read.model_type not in ("unigram", "bpe") or runs is None:
        return None
    # Taken out of the text first (added tokens), symbols would be sought where spaces are spaces still, and
    # what follows them would get the space that goes before a text.
    symbols = [piece.text for piece in read.pieces if piece.type == PieceType.USER_DEFINED]
    is_split = bool(symbols) and (prefixed or any({_SPACE, " "} & set(symbol) for symbol in symbols))
    if is_split and read.model_type == "bpe" and not _all_reachable(model, read.pieces):
        return None
    added_types = {PieceType.CONTROL, PieceType.UNKNOWN} | (set() if is_split else {PieceType.USER_DEFINED})
    normalizers: list[dict[str, Any]] = [{"type": "Prepend", "prepend": _SPACE}] if prefixed else []
    normalizers.append({"type": "Replace", "pattern": {"String": " "}, "content": _SPACE})
    ids = {piece.text: number for number, piece in enumerate(read.pieces)}
    unknown = next((piece.text for piece in read.pieces if piece.type == PieceType.UNKNOWN), None)
    byte_fallback = any(piece.type == PieceType.BYTE for piece in read.pieces)
    parts: dict[str, Any]
    if read.model_type == "unigram":
        vocabulary = [[piece.text, piece.score] for piece in read.pieces]
        unknown_id = None if unknown is None else ids[unknown]
        parts = {"type": "Unigram", "unk_id": unknown_id, "vocab": vocabulary, "byte_fallback": byte_fallback}
    else:
        merges = [list(pair) for pair in _merges(read.pieces, ids)]
        parts = {
            "type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": byte_fallback,
            "ignore_merges": is_split, "vocab": ids, "merges": merges,
        }  # fmt: skip
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(number, piece) for number, piece in enumerate(read.pieces) if piece.type in added_types
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers} if prefixed else normalizers[0],
        "pre_tokenizer": _split_at(symbols) if is_split else None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefixed else []),
            ],
        },
        "model": parts,
    }
    return content if not runs or _agree_on_runs(model, content, runs) else None


def to_json(model: bytes) -> str | None:
    """`to_huggingface` as text that is the same for the same model."""
    content = to_huggingface(model)
    return None if content is None else json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _added(number: int, piece: Piece) -> dict[str, Any]:
    return {
        "id": number,
        "content": piece.text,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": piece.type != PieceType.USER_DEFINED,
    }


def _split_at(symbols: list[str]) -> dict[str, Any]:
    """Cut text before and behind each symbol, the longest that is there; the model takes it whole."""
    pattern = "|".join(re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True))
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _all_reachable(model: bytes, pieces: tuple[Piece, ...]) -> bool:
    """Whether each ordinary piece, as a text, is itself: then taking it whole changes nothing."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=without_dummy_prefix(model))
    ordinary = [i for i, piece in enumerate(pieces) if piece.type == PieceType.NORMAL]
    texts = [pieces[i].text.replace(_SPACE, " ") for i in ordinary]
    return all(ids == [i] for i, ids in zip(ordinary, processor.encode(texts, num_threads=1)))


def _tied_runs(pieces: tuple[Piece, ...]) -> dict[str, int] | None:
    """Characters whose runs (``aa``, ``aaa``) share a score, and the longest run; None for other ties.

    LLaMA's runs of spaces have. That is harmless if no other piece holds two of the character: every run is
    then merged by itself, and whether both libraries do it alike can be tried out.
    """
    merged = [piece for piece in pieces if piece.type == PieceType.NORMAL and len(piece.text) > 1]
    times = Counter(piece.score for piece in merged)
    runs: dict[str, int] = {}
    for piece in merged:
        if times[piece.score] > 1:
            if len(set(piece.text)) > 1:
                return None
            runs[piece.text[0]] = max(len(piece.text), runs.get(piece.text[0], 0))
    for piece in merged:
        if len(set(piece.text)) > 1 and any(2 * character in piece.text for character in runs):
            return None
    return runs


def _agree_on_runs(model: bytes, content: dict[str, Any], runs: dict[str, int]) -> bool:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    built = tokenizers.Tokenizer.from_str(json.dumps(content))
    texts = [
        character.replace(_SPACE, " ") * times
        for character, longest in runs.items()
        for times in range(1, 4 * longest + 1)
    ]
    theirs = built.encode_batch(texts, add_special_tokens=False)
    return processor.encode(texts, num_threads=1) == [encoding.ids for encoding in theirs]


def _merges(pieces: tuple[Piece, ...], ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Every pair that forms a piece, best piece first: that is what SentencePiece merges next."""
    best_first = sorted(
        (piece for piece in pieces if piece.type == PieceType.NORMAL and len(piece.text) > 1),
        key=lambda piece: (-piece.score, ids[piece.text]),
    )
    for piece in best_first:
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in ids and right in ids:
                yield left, right
