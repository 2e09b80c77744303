"""A byte-level BPE vocabulary as plain data, and what can be derived from it.

Training and importers end here, exporters begin here. Tokens are bytes; merges are pairs of ids in
rank order; the pre-tokenisation pattern is part of the data, because text trained with one
pattern and encoded with another silently gives other ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import tokenizers

from corpuskit.errors import ArtifactError

Normaliser = Literal["identity", "nfc"]

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

CL100K_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CL100K_TIKTOKEN_PATTERN = CL100K_PATTERN.replace(r"|\s*[\r\n]+", r"|\s+\z|\s*[\r\n]+")
"""tiktoken's own cl100k since 0.6: white space that ends a text is one pre-token, line breaks or not."""

O200K_PATTERN = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

# Han runs stand alone and are at most 16 characters long: that isolates them from Latin letters
# and bounds the number of distinct pre-tokens, which is what a trainer's memory grows with. On
# 8 MB of Chinese, 8 / 16 / 40 characters gave 4.99 / 5.24 / 5.35 bytes a token at 16,000 tokens
# and 673 / 718 / 730 MB.
CHINESE_PATTERN = "|".join(
    [
        r"\p{Han}{1,16}",
        r" ?[\p{L}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


def _byte_characters() -> tuple[str, ...]:
    """GPT-2's printable stand-in for each of the 256 bytes (Radford et al., encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters, extra = [""] * 256, 0
    for byte in range(256):
        if byte in printable:
            characters[byte] = chr(byte)
        else:
            characters[byte] = chr(256 + extra)
            extra += 1
    return tuple(characters)


BYTE_CHARACTERS = _byte_characters()
_CHARACTER_BYTES = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}


def to_characters(token: bytes) -> str:
    """Bytes in GPT-2's printable alphabet, one character a byte."""
    return "".join(BYTE_CHARACTERS[byte] for byte in token)


def from_characters(text: str) -> bytes | None:
    """The inverse of `to_characters`; None if a character is not in the alphabet."""
    try:
        return bytes(_CHARACTER_BYTES[character] for character in text)
    except KeyError:
        return None


@dataclass(frozen=True)
class ByteLevelBPE:
    """Tokens, merges and pre-tokenisation of a byte-level BPE.

    Attributes
    ----------
    tokens : tuple of bytes or None
        Bytes of each id; None where the id is a special token.
    merges : tuple of (int, int)
        Pairs of ids; position is rank. A merge makes the token whose bytes are the two joined.
    special_tokens : mapping of str to int
        Never produced from text unless asked for.
    pattern : str
        Regular expression whose matches are the pre-tokens.
    normaliser : {"identity", "nfc"}
    ignore_merges : bool
        A pre-token that is itself a token is taken whole, whatever the merges say (Llama 3).

    Raises
    ------
    ArtifactError
        Ids with holes, a missing byte, a duplicate token, merges that do not match the tokens.
    """

    tokens: tuple[bytes | None, ...]
    merges: tuple[tuple[int, int], ...]
    special_tokens: Mapping[str, int] = field(default_factory=dict)
    pattern: str = GPT2_PATTERN
    normaliser: Normaliser = "identity"
    ignore_merges: bool = False

    def __post_init__(self) -> None:
        special_ids = set(self.special_tokens.values())
        for token_id, token in enumerate(self.tokens):
            if (token is None) != (token_id in special_ids):
                raise ArtifactError(
                    f"id {token_id} is {'no token' if token is None else 'a special and an ordinary token'}",
                    where="vocabulary",
                    hint="ids must run from 0 without holes and belong to one token each",
                )
        if len(special_ids) != len(self.special_tokens) or (
            special_ids and max(special_ids) >= len(self.tokens)
        ):
            raise ArtifactError("two special tokens share an id or lie outside it", where="vocabulary")
        ordinary = [token for token in self.tokens if token is not None]
        if len(self.ids) != len(ordinary):
            raise ArtifactError("two ids have the same bytes", where="vocabulary")
        for name in self.special_tokens:
            if from_characters(name) in self.ids:
                raise ArtifactError(
                    f"the special token {name!r} is an ordinary token already",
                    where="special_tokens",
                    hint="choose a text that no merge makes, such as '<|name|>'",
                )
        missing = [byte for byte in range(256) if bytes([byte]) not in self.ids]
        if missing:
            raise ArtifactError(
                f"{len(missing)} of the 256 bytes have no token (first: 0x{missing[0]:02x})",
                where="vocabulary",
                hint="a byte-level BPE can encode every byte; is this another kind of tokenizer?",
            )
        self._check_merges()

    def _check_merges(self) -> None:
        made = set()
        for rank, (left, right) in enumerate(self.merges):
            joined = self._bytes_of(left, rank) + self._bytes_of(right, rank)
            if joined not in self.ids:
                raise ArtifactError(
                    f"merge {rank} makes {joined!r}, which is not in the vocabulary",
                    where="merges",
                    hint="the merges belong to another vocabulary",
                )
            made.add(joined)
        lost = [token for token in self.ids if len(token) > 1 and token not in made]
        if lost and not self.ignore_merges:
            raise ArtifactError(
                f"{len(lost)} tokens are made by no merge (first: {lost[0]!r})",
                where="merges",
                hint="the merges belong to another vocabulary, or tokens were added to it by hand",
            )

    def _bytes_of(self, token_id: int, rank: int) -> bytes:
        token = self.tokens[token_id] if 0 <= token_id < len(self.tokens) else None
        if token is None:
            raise ArtifactError(f"merge {rank} names id {token_id}, which is no token", where="merges")
        return token

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """Id of each ordinary token."""
        return {token: token_id for token_id, token in enumerate(self.tokens) if token is not None}

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def canonical(self) -> bytes:
        """Everything that decides which ids a text gets, as bytes to take a fingerprint of."""
        head = {
            "kind": "byte-bpe",
            "pattern": self.pattern,
            "normaliser": self.normaliser,
            "ignore_merges": self.ignore_merges,
            "special_tokens": dict(self.special_tokens),
            "tokens": [None if token is None else token.hex() for token in self.tokens],
            "merges": self.merges,
        }
        return json.dumps(head, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    def to_huggingface(self) -> dict[str, Any]:
        """The content of `tokenizer.json`."""
        names = self._names()
        if self.pattern == GPT2_PATTERN:
            before: dict[str, Any] = _byte_level(use_regex=True)
        else:
            split = {
                "type": "Split",
                "pattern": {"Regex": self.pattern},
                "behavior": "Isolated",
                "invert": False,
            }
            before = {"type": "Sequence", "pretokenizers": [split, _byte_level(use_regex=False)]}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": token_id,
                    "content": name,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
                for name, token_id in sorted(self.special_tokens.items(), key=lambda item: item[1])
            ],
            "normalizer": {"type": "NFC"} if self.normaliser == "nfc" else None,
            "pre_tokenizer": before,
            "post_processor": None,
            "decoder": _byte_level(use_regex=True),
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": self.ignore_merges,
                "vocab": {name: token_id for token_id, name in enumerate(names)},
                "merges": [[names[left], names[right]] for left, right in self.merges],
            },
        }

    def to_json(self) -> str:
        """`to_huggingface` as text; the same vocabulary always gives the same text."""
        return json.dumps(self.to_huggingface(), ensure_ascii=False, indent=1) + "\n"

    def _names(self) -> list[str]:
        special = {token_id: name for name, token_id in self.special_tokens.items()}
        return [
            special[token_id] if token is None else to_characters(token)
            for token_id, token in enumerate(self.tokens)
        ]

    def backend(self) -> tokenizers.Tokenizer:
        """A new Hugging Face tokenizer; text that looks like a special token is ordinary text."""
        built = tokenizers.Tokenizer.from_str(json.dumps(self.to_huggingface()))
        built.encode_special_tokens = True
        return built

    def ranks_agree(self) -> bool:
        """Whether merging by rank of the joined bytes (tiktoken) gives the same ids as the merges.

        It does if ids rise with rank and every token, its bytes alone, is merged into itself. For
        let tiktoken join u and v where the merges would not, for the first time. No merge has
        crossed the borders of uv, so uv alone would have come to (u, v) as well, and as uv
        encodes to itself, (u, v) is a merge.
        """
        made = [self.ids[self._bytes_of(a, 0) + self._bytes_of(b, 0)] for a, b in self.merges]
        if any(later <= earlier for earlier, later in pairwise(made)):
            return False
        return not self.unreachable()

    def unreachable(self, first_id: int = 0) -> list[int]:
        """Ids from `first_id` whose bytes alone the merges do not join into that one token."""
        plain = self.to_huggingface()
        plain.update(pre_tokenizer=None, normalizer=None, added_tokens=[])
        plain["model"]["ignore_merges"] = False
        merging = tokenizers.Tokenizer.from_str(json.dumps(plain))
        candidates = [i for i in range(first_id, len(self.tokens)) if self.tokens[i] is not None]
        encodings = merging.encode_batch_fast([to_characters(self.tokens[i] or b"") for i in candidates])
        return [i for i, encoding in zip(candidates, encodings) if encoding.ids != [i]]


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def from_merged_bytes(
    merges: Sequence[tuple[bytes, bytes]], special_tokens: Sequence[str], pattern: str
) -> ByteLevelBPE:
    """A vocabulary in our own order: the 256 bytes, the merges by rank, then the special tokens.

    Ids rise with rank, so the merges and tiktoken's ranks say the same.
    """
    tokens: list[bytes | None] = [bytes([byte]) for byte in range(256)]
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    pairs = []
    for left, right in merges:
        pairs.append((ids[left], ids[right]))
        if left + right not in ids:
            ids[left + right] = len(tokens)
            tokens.append(left + right)
    special = {name: len(tokens) + i for i, name in enumerate(special_tokens)}
    tokens += [None] * len(special)
    return ByteLevelBPE(tuple(tokens), tuple(pairs), special, pattern)
