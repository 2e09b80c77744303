"""A SentencePiece model, the library's own bytes around what the tokenizer object needs.

The model file is the truth: ids come from the `sentencepiece` library. Special tokens are control
symbols, which the library never produces from text. One loss is the library's own: it writes a
space as U+2581, so that character itself decodes as a space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast, get_args

import sentencepiece
import xxhash

from corpuskit.errors import ArtifactError
from corpuskit.vocab.model_proto import PieceType, read_model

PieceKind = Literal["sentencepiece-unigram", "sentencepiece-bpe"]


@dataclass(frozen=True)
class SentencePieceModel:
    """A trained model and the ids of its special tokens.

    Attributes
    ----------
    kind : {"sentencepiece-unigram", "sentencepiece-bpe"}
    model : bytes
        The content of `spiece.model`.
    special_tokens : mapping of str to int
        Control symbols.
    """

    kind: PieceKind
    model: bytes
    special_tokens: Mapping[str, int]

    def __post_init__(self) -> None:
        processor = self.processor
        for name, token_id in self.special_tokens.items():
            if not 0 <= token_id < processor.vocab_size() or processor.id_to_piece(token_id) != name:
                raise ArtifactError(
                    f"the model has no special token {name!r} with id {token_id}", where="special_tokens"
                )

    @classmethod
    def from_bytes(cls, model: bytes) -> SentencePieceModel:
        """The model in a file's content, whoever trained it; its control symbols are special.

        Raises
        ------
        ArtifactError
            If it is no SentencePiece model, or a word or character model.
        """
        described = read_model(model)
        kind = f"sentencepiece-{described.model_type}"
        if kind not in get_args(PieceKind):
            raise ArtifactError(
                f"a SentencePiece {described.model_type} model",
                where="model file",
                hint="corpuskit reads unigram and bpe models",
            )
        special = {
            piece.text: i for i, piece in enumerate(described.pieces) if piece.type == PieceType.CONTROL
        }
        return cls(cast(PieceKind, kind), model, special)

    @cached_property
    def processor(self) -> sentencepiece.SentencePieceProcessor:
        try:
            return sentencepiece.SentencePieceProcessor(model_proto=self.model)
        except RuntimeError as error:
            raise ArtifactError(f"not a SentencePiece model: {error}", where="spiece.model") from error

    @property
    def vocab_size(self) -> int:
        return self.processor.vocab_size()

    @property
    def pattern(self) -> None:
        """SentencePiece cuts text by script and white space, not by a pattern."""

    @property
    def normaliser(self) -> str:
        """Lies in the model file; corpuskit trains with ``identity``."""
        return "model"

    def canonical(self) -> bytes:
        """Everything that decides which ids a text gets, as bytes to take a fingerprint of."""
        head = {
            "kind": self.kind,
            "special_tokens": dict(self.special_tokens),
            "model": xxhash.xxh3_128_hexdigest(self.model),
        }
        return json.dumps(head, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; one thread, so that engines decide about parallelism."""
        return self.processor.encode(list(texts), num_threads=1)

    def decode_run(self, ids: Sequence[int]) -> str:
        """Text of ids among which there is no special token."""
        return self.processor.decode(list(ids))
