"""Reading and lengthening a SentencePiece model file without the protobuf package.

The `sentencepiece` library hands out neither the kind of a model nor which pieces are user-defined, and
cannot add pieces. The file is one protocol buffer (sentencepiece_model.proto), whose wire format is a
sequence of (field, type, value); pieces are a repeated field in id order. So added pieces go behind the
last old one, and everything else stays byte for byte what it was, except for its count of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from corpuskit.errors import ArtifactError

# Field numbers of ModelProto, of its pieces and of trainer_spec and normalizer_spec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_MODEL_TYPE, _VOCAB_SIZE, _SPLIT_DIGITS = 3, 4, 25
_NORMALIZER_NAME, _DUMMY_PREFIX, _REMOVE_SPACES, _ESCAPE_SPACES = 1, 3, 4, 5

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
"""TrainerSpec.ModelType; unigram where the file names none."""


class PieceType(IntEnum):
    """ModelProto.SentencePiece.Type."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; a space is written as U+2581."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class Normalization:
    """What a model does to a text before it cuts it (NormalizerSpec)."""

    name: str
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool


@dataclass(frozen=True)
class ModelFile:
    """What a model file says of itself.

    Attributes
    ----------
    model_type : str
        One of `MODEL_TYPES`.
    split_digits : bool
        Whether the trainer made no piece of two digits.
    pieces : tuple of Piece
        In id order.
    normalization : Normalization
    """

    model_type: str
    split_digits: bool
    pieces: tuple[Piece, ...]
    normalization: Normalization


def read_model(model: bytes) -> ModelFile:
    """Parse a model file.

    Raises
    ------
    ArtifactError
        If it is not a SentencePiece model.
    """
    pieces = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    try:
        for field in _fields(model):
            if field.number == _PIECES:
                pieces.append(_piece(field.message))
            elif field.number == _TRAINER:
                trainer.update({inner.number: inner.value for inner in _fields(field.message)})
            elif field.number == _NORMALIZER:
                normalizer.update({inner.number: inner.value for inner in _fields(field.message)})
        model_type = MODEL_TYPES[int(trainer.get(_MODEL_TYPE, 1))]
    except (KeyError, ValueError, IndexError, struct.error) as error:
        raise ArtifactError(f"not a SentencePiece model: {error!r}", where="model file") from error
    if not pieces:
        raise ArtifactError("not a SentencePiece model: it has no pieces", where="model file")
    name = normalizer.get(_NORMALIZER_NAME, b"")
    normalization = Normalization(
        name.decode("utf-8", "replace") if isinstance(name, bytes) else "",
        *(bool(normalizer.get(number, 1)) for number in (_DUMMY_PREFIX, _REMOVE_SPACES, _ESCAPE_SPACES)),
    )
    return ModelFile(model_type, bool(trainer.get(_SPLIT_DIGITS, 0)), tuple(pieces), normalization)


def with_pieces(model: bytes, added: Sequence[tuple[str, float]]) -> bytes:
    """The model with more pieces behind its own.

    Parameters
    ----------
    model : bytes
    added : sequence of (str, float)
        Text and score of each.
    """
    old = list(_fields(model))
    last = max(index for index, field in enumerate(old) if field.number == _PIECES)
    size = sum(field.number == _PIECES for field in old) + len(added)
    chunks = []
    for index, field in enumerate(old):
        is_trainer = field.number == _TRAINER
        chunks.append(
            _message(_TRAINER, _with_number(field.message, _VOCAB_SIZE, size)) if is_trainer else field.raw
        )
        if index == last:
            chunks += [
                _message(
                    _PIECES, _message(_PIECE_TEXT, text.encode()) + _SCORE_KEY + struct.pack("<f", score)
                )
                for text, score in added
            ]
    return b"".join(chunks)


def without_dummy_prefix(model: bytes) -> bytes:
    """The model as it encodes what does not begin a text: no space is put before it.

    A message that occurs twice in a protocol buffer is merged, so this only adds one.
    """
    return model + _message(_NORMALIZER, _number(_DUMMY_PREFIX, 0))


@dataclass(frozen=True)
class _Field:
    number: int
    value: int | bytes
    raw: bytes  # the whole field, with its key

    @property
    def message(self) -> bytes:
        if not isinstance(self.value, bytes):
            raise ValueError(f"field {self.number} is a number")
        return self.value


def _piece(message: bytes) -> Piece:
    text, score, kind = b"", b"\0\0\0\0", 1
    for field in _fields(message):
        if field.number == _PIECE_TEXT:
            text = field.message
        elif field.number == _PIECE_SCORE:
            score = field.message
        elif field.number == _PIECE_TYPE:
            kind = int(field.value)
    return Piece(text.decode(), struct.unpack("<f", score)[0], PieceType(kind))


def _with_number(message: bytes, number: int, value: int) -> bytes:
    """The message with one number set, where it was or else at the end."""
    written = _number(number, value)
    fields = [(field.number, field.raw) for field in _fields(message)]
    if all(there != number for there, _ in fields):
        fields.append((number, b""))
    return b"".join(written if there == number else raw for there, raw in fields)


def _fields(data: bytes) -> Iterator[_Field]:
    position, end = 0, len(data)
    while position < end:
        start = position
        key, position = _read_number(data, position)
        wire = key & 7
        value: int | bytes
        if wire == _VARINT:
            value, position = _read_number(data, position)
        else:
            if wire == _BYTES:
                length, position = _read_number(data, position)
            elif wire in (_FIXED32, _FIXED64):
                length = 4 if wire == _FIXED32 else 8
            else:
                raise ValueError(f"wire type {wire} at byte {start}")
            value, position = data[position : position + length], position + length
            if position > end:
                raise ValueError(f"the field at byte {start} ends behind the file")
        yield _Field(key >> 3, value, data[start:position])


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    """A base-128 number, and the position behind it."""
    value = shift = 0
    while shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError(f"number too long at byte {position}")


def _base128(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(number: int, value: int) -> bytes:
    return _base128(number << 3 | _VARINT) + _base128(value)


def _message(number: int, content: bytes) -> bytes:
    return _base128(number << 3 | _BYTES) + _base128(len(content)) + content


_SCORE_KEY = _base128(_PIECE_SCORE << 3 | _FIXED32)
