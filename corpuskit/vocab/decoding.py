"""Ids to text: whole, as they arrive, and where each token lies in the text.

A token may hold part of a character, so decoding as ids arrive keeps bytes back until a character is
whole: nothing printed is ever half a character, and all that is printed together is what decoding
at once gives.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from corpuskit.errors import InputError
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.pieces import SentencePieceModel

_REPLACEMENT = "\ufffd"
# A character is at most four byte pieces; a run of more that is still no text is damaged.
_MOST_PENDING = 4


def checked_ids(ids: Sequence[int] | np.ndarray, vocab_size: int) -> list[int]:
    """The ids as Python integers.

    Raises
    ------
    InputError
        If one is not in the vocabulary.
    """
    numbers = [int(token_id) for token_id in ids]
    for token_id in numbers:
        if not 0 <= token_id < vocab_size:
            raise InputError(f"id {token_id} is not in a vocabulary of {vocab_size} tokens")
    return numbers


def token_bytes(vocabulary: ByteLevelBPE) -> list[bytes]:
    """The bytes that each id stands for, special tokens by their names."""
    special = {token_id: name.encode() for name, token_id in vocabulary.special_tokens.items()}
    return [special[i] if token is None else token for i, token in enumerate(vocabulary.tokens)]


class StreamDecoder:
    """Decodes ids one at a time; made by `Tokenizer.stream_decoder`.

    Examples
    --------
    >>> decoder = tokenizer.stream_decoder()                            # doctest: +SKIP
    >>> for token_id in ids: print(decoder.push(token_id), end="")      # doctest: +SKIP
    >>> print(decoder.finish())                                         # doctest: +SKIP
    """

    def __init__(self, push: Callable[[int], str], finish: Callable[[], str]) -> None:
        self._push = push
        self._finish = finish

    def push(self, token_id: int) -> str:
        """The text that this id completes; empty while a character is not whole.

        Raises
        ------
        InputError
            If the id is not in the vocabulary.
        """
        return self._push(token_id)

    def finish(self) -> str:
        """What was kept back, an unfinished character as U+FFFD; the decoder is as new then."""
        return self._finish()

    def decode(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of ids piece by piece, without empty pieces, to the end."""
        for token_id in ids:
            text = self.push(token_id)
            if text:
                yield text
        text = self.finish()
        if text:
            yield text


def of_bytes(pieces: Sequence[bytes]) -> StreamDecoder:
    """The decoder of a byte-level BPE; `pieces` as from `token_bytes`."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(token_id: int) -> str:
        checked_ids([token_id], len(pieces))
        return decoder.decode(pieces[token_id])

    def finish() -> str:
        text = decoder.decode(b"", final=True)
        decoder.reset()
        return text

    return StreamDecoder(push, finish)


def of_pieces(model: SentencePieceModel, special: Mapping[int, str]) -> StreamDecoder:
    """The decoder of a SentencePiece model.

    The library decodes runs only, and drops the space before the first piece of one, so each new
    piece is decoded behind the last ones that are printed already.
    """
    shown: list[int] = []
    pending: list[int] = []

    def flush(keep_half: bool) -> str:
        before = model.decode_run(shown)
        text = model.decode_run(shown + pending)[len(before) :]
        if keep_half and text.endswith(_REPLACEMENT) and len(pending) < _MOST_PENDING:
            return ""
        shown[:] = pending or shown
        pending.clear()
        return text

    def push(token_id: int) -> str:
        checked_ids([token_id], model.vocab_size)
        if token_id in special:
            text = flush(keep_half=False) + special[token_id]
            shown.clear()
            return text
        pending.append(token_id)
        return flush(keep_half=True)

    def finish() -> str:
        text = flush(keep_half=False)
        shown.clear()
        return text

    return StreamDecoder(push, finish)


def character_spans(text: bytes, byte_spans: np.ndarray) -> np.ndarray:
    """Spans in characters from spans in bytes.

    Parameters
    ----------
    text : bytes
        Valid UTF-8.
    byte_spans : int64[n, 2]

    Returns
    -------
    int64[n, 2]
        First character and one past the last. A span that holds part of a character has all of
        it, so the tokens of a split character share it.
    """
    begins = np.frombuffer(text, np.uint8) & 0xC0 != 0x80
    before = np.concatenate([[0], np.cumsum(begins)])  # characters that begin before each byte
    inside = ~np.append(begins, True)
    starts = before[byte_spans[:, 0]] - inside[byte_spans[:, 0]]
    return np.stack([starts, before[byte_spans[:, 1]]], axis=1).astype(np.int64)


def encode_piece_spans(model: SentencePieceModel, text: str) -> tuple[list[int], np.ndarray]:
    """Ids from a SentencePiece model and the characters they stand for.

    The library gives spans in bytes, and to all but the last byte piece of a character an empty
    one; each of them gets the character.
    """
    pieces = model.processor.encode(text, return_type="proto").pieces
    spans = np.array([(piece.begin, piece.end) for piece in pieces], np.int64).reshape(-1, 2)
    for i in range(len(spans) - 2, -1, -1):
        if spans[i, 0] == spans[i, 1]:
            spans[i] = spans[i + 1]
    return [piece.id for piece in pieces], character_spans(text.encode(), spans)
