"""A SentencePiece model as `tokenizer.json`, so that transformers loads what we save.

Only a model that changes no text can be written so: the identity normaliser, no space put before a text, no
white space removed. That is what `train` makes; a LLaMA model cuts runs of spaces differently in the
two libraries, and is left as it is.

What remains different: text that holds the name of a byte piece (``<0x41>``, six characters) is that byte
here and six characters in SentencePiece; and a Unigram path that ties with another within the rounding of 32
bits (1 of 7,200 texts). The name of the unknown piece in a text is that piece there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from corpuskit.vocab.model_proto import Normalization, Piece, PieceType, read_model

_SPACE = "\u2581"
PLAIN = Normalization("identity", False, False, True)


def to_huggingface(model: bytes) -> dict[str, Any] | None:
    """The content of `tokenizer.json`, or None for a model that changes the text."""
    read = read_model(model)
    if read.normalization != PLAIN or read.model_type not in ("unigram", "bpe"):
        return None
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
            "ignore_merges": False, "vocab": ids, "merges": merges,
        }  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(number, piece)
            for number, piece in enumerate(read.pieces)
            if piece.type in (PieceType.CONTROL, PieceType.UNKNOWN, PieceType.USER_DEFINED)
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": parts,
    }


def to_json(model: bytes) -> str | None:
    """`to_huggingface` as text that is the same for the same model."""
    content = to_huggingface(model)
    return None if content is None else json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _added(number: int, piece: Piece) -> dict[str, Any]:
    return {
        "id": number,
        "content": piece.text.replace(_SPACE, " "),
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": piece.type != PieceType.USER_DEFINED,
    }


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
