"""A tokenizer as the comparison needs it: tokens as bytes, ids through its own library, and dead tokens.

`corpuskit.vocab.tokenizer` holds what can be trained on and exported without loss; here a tokenizer is only
looked at, so SentencePiece models, WordPiece and every `tokenizer.json` are taken too. Special tokens are
never added, and text that looks like one is ordinary text.
"""

from __future__ import annotations

import json
import re
import string
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import sentencepiece
import tokenizers

from corpuskit.errors import ArtifactError
from corpuskit.vocab.bytelevel import ByteLevelBPE, from_characters, to_characters
from corpuskit.vocab.comparison import Encoding, Role, Text, utf8_widths
from corpuskit.vocab.placing import place
from corpuskit.vocab.tokenizer import Tokenizer

_PLACEHOLDER = re.compile(r"\[unused\d+\]|<unused\d+>|<extra_id_\d+>|<s>|</s>|<pad>|<mask>|<cls>|<sep>|<eod>")

# SentencePiece's ModelProto.normalizer_spec (field 3) with add_dummy_prefix (3) and remove_extra_whitespaces
# (4) false. A message that occurs twice in a protocol buffer is merged, so appended it overrides just these.
_WITHOUT_DUMMY_PREFIX = b"\x1a\x04\x18\x00\x20\x00"

_CONTEXTS = (
    *((letter, "") for letter in "aeton1我 \n"),
    *(("", letter) for letter in "aA!我"),
    *((mark, "") for mark in string.punctuation),
)
"""What is put before and behind a token that its own text does not give: WordPiece's continuing pieces stand
only behind a letter, o200k's ``\\n//`` only behind some of the punctuation marks."""

_NUM_WORD_CONTEXTS = 13
"""The first so many are tried for tokens with a letter or digit, which no punctuation mark joins."""


class Subject(ABC):
    """A tokenizer to be judged.

    Attributes
    ----------
    name : str
        What tables call it.
    path : str
        As the user gave it.
    kind : str
    tokens : tuple of bytes or None
        What each id stands for; None for special and unknown ones.
    roles : uint8[vocabulary size]
        `corpuskit.vocab.comparison.Role` of each id.
    notes : tuple of str
        What a reader of the numbers should know.
    """

    kind: str
    tokens: tuple[bytes | None, ...]
    roles: np.ndarray
    notes: tuple[str, ...] = ()

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    @abstractmethod
    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text: int64 arrays."""

    @abstractmethod
    def spans(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids, begins and ends in UTF-8 bytes of a text, as the library says."""

    @abstractmethod
    def alone(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text without the space that some tokenizers put before a text."""

    def continues(self, token_id: int) -> bool:
        """Whether the token cannot begin a word (WordPiece's ``##``)."""
        return False

    def unreachable(self) -> list[int]:
        """Ordinary tokens that no text seems to give.

        A token whose text, alone, becomes something else is tried once more in some contexts: some
        tokens stand only behind a letter or a full stop. A token that is no text (part of a character)
        is merged from its bytes. Every token of the vocabulary is tried.
        """
        chosen = [i for i, token in enumerate(self.tokens) if token and self.roles[i] == Role.ORDINARY]
        texts = {i: text for i in chosen if (text := as_text(self.tokens[i])) is not None}
        plain = [i for i in texts if not self.continues(i)]
        lost = _not_alone(plain, self.alone([texts[i] for i in plain]))
        waiting = [*lost, *(i for i in texts if self.continues(i))]
        for number, (before, after) in enumerate(_CONTEXTS):
            tried = [
                i for i in waiting if number < _NUM_WORD_CONTEXTS or not any(c.isalnum() for c in texts[i])
            ]
            found = self.ids([before + texts[i] + after for i in tried])
            reached = {i for i, ids in zip(tried, found) if i in ids}
            waiting = [i for i in waiting if i not in reached]
        return sorted([*waiting, *self.unmerged([i for i in chosen if i not in texts])])

    def unmerged(self, token_ids: Sequence[int]) -> list[int]:
        """Those of some tokens, none of them text, that their own bytes do not give."""
        return list(token_ids)

    def encode(self, texts: Sequence[str], text: Text) -> Encoding:
        """`texts`, which `text` describes, as tokens with their places."""
        return place(self, texts, text.rows)


def as_text(token: bytes | None) -> str | None:
    """A token as text; None if it is special or part of a character."""
    if token is None:
        return None
    try:
        return token.decode()
    except UnicodeDecodeError:
        return None


def _not_alone(expected: Sequence[int], found: Sequence[np.ndarray]) -> list[int]:
    return [i for i, ids in zip(expected, found) if ids.size != 1 or ids[0] != i]


class LibrarySubject(Subject):
    """A `tokenizer.json` of any model, through Hugging Face tokenizers."""

    def __init__(self, name: str, path: str, built: tokenizers.Tokenizer, notes: Sequence[str] = ()) -> None:
        super().__init__(name, path)
        built.no_truncation()
        built.no_padding()
        built.encode_special_tokens = True
        self._built = built
        self._content: dict[str, Any] = json.loads(built.to_str())
        self.notes = tuple(notes)
        self.kind = self._kind()
        self._read_tokens()

    @property
    def _model(self) -> dict[str, Any]:
        return self._content["model"]

    @cached_property
    def _byte_level(self) -> bool:
        return any(step.get("type") == "ByteLevel" for step in _steps(self._content.get("pre_tokenizer")))

    @cached_property
    def _continuing(self) -> str:
        return self._model.get("continuing_subword_prefix") or ""

    def _kind(self) -> str:
        name = self._model.get("type", "BPE")
        if name == "BPE":
            return "byte-level BPE" if self._byte_level else "BPE"
        return "unigram" if name == "Unigram" else name

    def _read_tokens(self) -> None:
        names = self._built.get_vocab(with_added_tokens=True)
        size = max(names.values(), default=-1) + 1
        if not size:
            raise ArtifactError("the vocabulary is empty", where=self.path)
        added = {token["id"]: token for token in self._content.get("added_tokens") or ()}
        unknown = self._model.get("unk_token") or ""
        unknown_id = self._model.get("unk_id")
        tokens: list[bytes | None] = [None] * size
        self.roles = np.full(size, Role.SPECIAL, np.uint8)
        for token, i in names.items():
            if i == unknown_id or token == unknown:
                self.roles[i] = Role.UNKNOWN
            elif (i in added and added[i]["special"]) or _PLACEHOLDER.fullmatch(token):
                continue
            elif i in added:
                tokens[i], self.roles[i] = token.encode(), Role.ORDINARY
            else:
                tokens[i], self.roles[i] = self._bytes_of(token)
        self.tokens = tuple(tokens)

    def _bytes_of(self, token: str) -> tuple[bytes, Role]:
        if self._byte_level:
            raw = from_characters(token)
            return (token.encode() if raw is None else raw), Role.ORDINARY
        if self._model.get("byte_fallback") and (byte := re.fullmatch(r"<0x([0-9A-F]{2})>", token)):
            return bytes([int(byte[1], 16)]), Role.BYTE
        if self._continuing and token.startswith(self._continuing):
            token = token.removeprefix(self._continuing)
        return token.replace("\u2581", " ").encode("utf-8", "surrogatepass"), Role.ORDINARY

    def continues(self, token_id: int) -> bool:
        if not self._continuing:
            return False
        token = self._built.id_to_token(token_id) or ""
        return token.startswith(self._continuing) and token != self._continuing

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        return _library_ids(self._built, texts)

    def spans(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _library_spans(self._built, text)

    @cached_property
    def _bare(self) -> tokenizers.Tokenizer:
        """The same without a space before the text."""
        content = json.loads(json.dumps(self._content))
        content["normalizer"] = _without_prepend(content.get("normalizer"))
        for step in [*_steps(content["normalizer"]), *_steps(content.get("pre_tokenizer"))]:
            if step.get("type") == "Metaspace":
                step.pop("add_prefix_space", None)
                step["prepend_scheme"] = "never"
            elif step.get("type") == "ByteLevel":
                step["add_prefix_space"] = False
        built = tokenizers.Tokenizer.from_str(json.dumps(content))
        built.encode_special_tokens = True
        return built

    def alone(self, texts: Sequence[str]) -> list[np.ndarray]:
        return _library_ids(self._bare, texts)

    def unmerged(self, token_ids: Sequence[int]) -> list[int]:
        if not self._byte_level:
            return []
        model = self._built.model
        found = [
            np.array([token.id for token in model.tokenize(to_characters(self.tokens[i] or b""))], np.int64)
            for i in token_ids
        ]
        return _not_alone(token_ids, found)


def _steps(stage: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A normaliser or pre-tokenizer as the list of what it does."""
    if not stage:
        return []
    if stage.get("type") == "Sequence":
        parts = stage.get("normalizers") or stage.get("pretokenizers") or []
        return [inner for part in parts for inner in _steps(part)]
    return [stage]


def _without_prepend(stage: dict[str, Any] | None) -> dict[str, Any] | None:
    kept = [step for step in _steps(stage) if step.get("type") != "Prepend"]
    return {"type": "Sequence", "normalizers": kept} if kept else None


def _library_ids(built: tokenizers.Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    encodings = built.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, np.int64) for encoding in encodings]


def _library_spans(built: tokenizers.Tokenizer, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    encoding = built.encode(text, add_special_tokens=False)
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    places = np.concatenate([[0], np.cumsum(utf8_widths(codes))])
    offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    return np.array(encoding.ids, np.int64), places[offsets[:, 0]], places[offsets[:, 1]]


class ByteLevelSubject(Subject):
    """A byte-level BPE, through our own encoder."""

    kind = "byte-level BPE"

    def __init__(self, name: str, path: str, tokenizer: Tokenizer) -> None:
        super().__init__(name, path)
        if not isinstance(tokenizer.vocabulary, ByteLevelBPE):
            raise TypeError(tokenizer.kind)
        self._tokenizer = tokenizer
        self._vocabulary = tokenizer.vocabulary
        self.tokens = self._vocabulary.tokens
        self.roles = np.array(
            [Role.SPECIAL if token is None else Role.ORDINARY for token in self.tokens], np.uint8
        )

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        encoded = self._tokenizer.encode_batch(pa.array(texts, pa.large_string()))
        offsets = encoded.offsets.to_numpy()
        values = encoded.values.to_numpy().astype(np.int64)
        return [values[low:high] for low, high in pairwise(offsets)]

    def spans(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _library_spans(self._vocabulary.backend(), text)

    def alone(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.ids(texts)

    def unmerged(self, token_ids: Sequence[int]) -> list[int]:
        ranks: dict[tuple[int, int], tuple[int, int]] = {}
        ids, tokens = self._vocabulary.ids, self.tokens
        for rank, (left, right) in enumerate(self._vocabulary.merges):
            made = ids[(tokens[left] or b"") + (tokens[right] or b"")]
            ranks.setdefault((left, right), (rank, made))
        return [i for i in token_ids if _merged(tokens[i] or b"", ids, ranks) != [i]]


def _merged(
    token: bytes, ids: Mapping[bytes, int], ranks: Mapping[tuple[int, int], tuple[int, int]]
) -> list[int]:
    """What the merges make of some bytes: the lowest rank first, of equal ones the leftmost."""
    parts = [ids[token[i : i + 1]] for i in range(len(token))]
    while True:
        best = min(
            ((*ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks), default=None
        )
        if best is None:
            return parts
        parts[best[2] : best[2] + 2] = [best[1]]


class PieceSubject(Subject):
    """A SentencePiece model, through its library."""

    kind = "SentencePiece"

    def __init__(self, name: str, path: str, model: bytes, notes: Sequence[str] = ()) -> None:
        super().__init__(name, path)
        self.notes = tuple(notes)
        self._processor = _processor(model, path)
        self._bare = _processor(model + _WITHOUT_DUMMY_PREFIX, path)
        processor = self._processor
        tokens: list[bytes | None] = []
        roles = []
        for i in range(processor.vocab_size()):
            piece = processor.id_to_piece(i)
            if processor.is_unknown(i):
                tokens.append(None)
                roles.append(Role.UNKNOWN)
            elif processor.is_control(i) or processor.is_unused(i) or _PLACEHOLDER.fullmatch(piece):
                tokens.append(None)
                roles.append(Role.SPECIAL)
            elif processor.is_byte(i):
                tokens.append(bytes([int(piece[3:5], 16)]))
                roles.append(Role.BYTE)
            else:
                tokens.append(piece.replace("\u2581", " ").encode())
                roles.append(Role.ORDINARY)
        self.tokens = tuple(tokens)
        self.roles = np.array(roles, np.uint8)

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(ids, np.int64) for ids in self._processor.encode(list(texts), num_threads=1)]

    def spans(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = self._processor.encode(text, return_type="offset_mapping", return_bytes=True)
        offsets = np.array(found["offsets"], np.int64).reshape(-1, 2)
        return np.array(found["ids"], np.int64), offsets[:, 0], offsets[:, 1]

    def alone(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(ids, np.int64) for ids in self._bare.encode(list(texts), num_threads=1)]


def _processor(model: bytes, path: str) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise ArtifactError(f"not a SentencePiece model: {error}", where=path) from error
