"""Continued BPE for SentencePiece models (LLaMA's, Gemma's, Mistral's): the promise of `extension`.

SentencePiece's encoder joins, again and again, the adjacent pair whose joined text is the piece with the
highest score. New pieces get scores below all old ones, so a text is first cut exactly as before and then
joined further. That is where the popular recipe goes wrong: it gives every new piece the score 0, above
all old ones, and left 194 old tokens and 345 new ones unreachable, English words among them.

Three things differ from a byte-level base:

- The encoder's symbols are characters. One that the base lacks is written as its bytes *after* merging, so
  a character enters as one piece. Learning joins its bytes as for a byte-level base, but the prefixes made
  on the way get no piece and cost none.
- The encoder has no pattern. Learning is cut where the script changes and around punctuation
  (`corpuskit.vocab.character_runs`); else ``。我`` would be a piece.
- A piece never holds ASCII or U+2581, which stands for a space.

A unigram model cannot be extended so: it chooses the cut of the whole text with the highest probability,
so any new piece moves cuts in old text.
"""

from __future__ import annotations

import re

import numpy as np
import sentencepiece

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.vocab.continuation import (
    Borders,
    Continuation,
    character_structure,
    require_merges,
    require_segments,
)
from corpuskit.vocab.model_proto import (
    ModelFile,
    Piece,
    PieceType,
    read_model,
    with_pieces,
    without_dummy_prefix,
)
from corpuskit.vocab.pieces import SentencePieceModel
from corpuskit.vocab.sampling import Sample

SPACE = "\u2581"

_FIRST_PREFIXES = 512  # Han characters have 384 prefixes of two bytes; doubled while too few
_TEXTS_A_CALL = 256


def extend_pieces(
    old: SentencePieceModel, sample: Sample, num_new_tokens: int, min_count: int
) -> SentencePieceModel:
    """The model with `num_new_tokens` pieces more; see `corpuskit.vocab.extend`.

    Raises
    ------
    ConfigError
        If the model is unigram, or the sample holds fewer pairs.
    InputError
        If the sample holds no character outside ASCII.
    """
    require_merging_kind(old)
    described = read_model(old.model)
    continuation = _collect(old, described, sample)
    require_segments(continuation, sample)
    banned = {piece.text.encode() for piece in described.pieces}
    while True:
        made = new_pieces(continuation, num_new_tokens, min_count, banned)
        require_merges(len(made), num_new_tokens, min_count, sample)
        model = with_pieces(old.model, list(zip(made, scores_below(described, num_new_tokens))))
        unreached = cut_pieces(model, len(described.pieces), made)
        if not unreached:
            return SentencePieceModel(old.kind, model, old.special_tokens)
        banned |= unreached  # the normaliser rewrites these


def require_merging_kind(old: SentencePieceModel) -> None:
    """Refuse a model that does not work by merges."""
    if old.kind != "sentencepiece-bpe":
        raise ConfigError(
            f"a {old.kind} model cannot be extended without changing how it cuts old text",
            where="base",
            hint="unigram pieces compete by probability, so each new one moves old cuts; extend a BPE "
            "model, or train a new one",
        )


def scores_below(described: ModelFile, count: int) -> list[float]:
    """Scores below every old one, falling, all different as 32-bit floats (which the file holds)."""
    score = np.float32(min(piece.score for piece in described.pieces))
    scores = []
    with np.errstate(over="ignore"):
        for _ in range(count):
            score = min(np.float32(score - 1), np.nextafter(score, np.float32(-np.inf)))
            scores.append(float(score))
    if not np.isfinite(score):
        raise ArtifactError(
            "the model's lowest score leaves no room below it in 32 bits",
            where="base",
            hint="write ordinary scores into the model; only their order matters",
        )
    return scores


def _bytes_of(piece: Piece) -> bytes | None:
    """What a piece stands for in encoded text; a NUL, which merges with nothing, for the unknown one."""
    if piece.type == PieceType.BYTE:
        digits = re.fullmatch(r"<0x([0-9A-F]{2})>", piece.text)
        return bytes([int(digits[1], 16)]) if digits else None
    if piece.type == PieceType.UNKNOWN:
        return b"\0"
    return None if piece.type in (PieceType.CONTROL, PieceType.UNUSED) else piece.text.encode()


def _collect(old: SentencePieceModel, described: ModelFile, sample: Sample) -> Continuation:
    continuation = continue_pieces(described, "classes")
    for first in range(0, len(sample.texts), _TEXTS_A_CALL):
        add_encoded(continuation, old.encode_batch(sample.texts[first : first + _TEXTS_A_CALL]))
    return continuation


def continue_pieces(described: ModelFile, borders: Borders | None) -> Continuation:
    """Nothing counted yet; pieces with a space and user-defined ones are part of no merge."""
    pieces = described.pieces
    continuation = Continuation(
        [_bytes_of(piece) for piece in pieces], borders, split_digits=described.split_digits
    )
    continuation.forbid_merging(
        i for i, piece in enumerate(pieces) if SPACE in piece.text or piece.type == PieceType.USER_DEFINED
    )
    return continuation


def add_encoded(continuation: Continuation, encoded: list[list[int]]) -> None:
    """Count documents that were encoded; nothing merges from one into the next."""
    documents = np.repeat(np.arange(len(encoded), dtype=np.int32), [len(ids) for ids in encoded])
    if documents.size:
        continuation.add(np.concatenate([np.array(ids, np.int32) for ids in encoded]), documents)


def new_pieces(continuation: Continuation, num_new: int, min_count: int, banned: set[bytes]) -> list[str]:
    """The next pieces of whole characters, in order; fewer if the corpus holds no more."""
    prefixes = _FIRST_PREFIXES
    while True:
        merges = continuation.merges(num_new + prefixes, min_count, banned)
        made = [
            token.decode()
            for token in continuation.joined(merges)
            if (character_structure(token) or (0, 0, 1))[2] == 0
        ]
        if len(made) >= num_new or len(merges) < num_new + prefixes:
            return made[:num_new]
        prefixes *= 2


def cut_pieces(model: bytes, first_new: int, made: list[str]) -> set[bytes]:
    """New pieces that, as texts of their own, do not encode to themselves."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=without_dummy_prefix(model))
    encoded = processor.encode(made, num_threads=1)
    return {piece.encode() for i, (piece, ids) in enumerate(zip(made, encoded), first_new) if ids != [i]}
