"""What a manifest is made of: a shard's entry, the tokenizer, and the operation that wrote the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class TokenizerLike(Protocol):
    """The part of a tokenizer that a token dataset depends on."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def end_of_text_id(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...

    def encode_batch(self, texts: Any, /) -> Any: ...


@dataclass(frozen=True)
class ShardEntry:
    """One shard as the manifest records it.

    Attributes
    ----------
    name : str
        File name, ``shard-00000.arrow``.
    rows, tokens, bytes : int
        Documents, tokens, and the size of the file.
    checksum : str
        XXH3-128 of the file.
    structure : str
        XXH3-128 of the file without its token values (and values of parallel columns).
    """

    name: str
    rows: int
    tokens: int
    bytes: int
    checksum: str
    structure: str


@dataclass(frozen=True)
class TokenizerRecord:
    """The tokenizer that made the ids: its fingerprint and what a reader needs of it."""

    fingerprint: str
    vocab_size: int
    end_of_text_id: int | None

    @classmethod
    def of(cls, tokenizer: TokenizerLike) -> TokenizerRecord:
        end = tokenizer.end_of_text_id
        return cls(str(tokenizer.fingerprint), int(tokenizer.vocab_size), None if end is None else int(end))


@dataclass(frozen=True)
class Operation:
    """What last wrote a dataset; no part of its content.

    Attributes
    ----------
    name : str
        ``write``, ``append``, ``merge``, ``split``, ``reshard`` …
    options : Mapping[str, Any]
        Plain JSON that decides the result: the same call has the same options.
    finished : bool
    waiting : tuple of ShardEntry
        Whole shards that will be part of the dataset when the operation is finished.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    finished: bool = False
    waiting: tuple[ShardEntry, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "options": dict(self.options),
            "finished": self.finished,
            "waiting": [asdict(shard) for shard in self.waiting],
        }

    def is_same(self, other: Operation) -> bool:
        """Whether it is the same call, however far it has come."""
        return (self.name, dict(self.options)) == (other.name, dict(other.options))

    def difference(self, other: Operation) -> str:
        """In words, the first thing in which two calls differ."""
        if self.name != other.name:
            return f"it was {self.name}, not {other.name}"
        for key in sorted({*self.options, *other.options}):
            before, now = self.options.get(key), other.options.get(key)
            if before != now:
                return f"{key} was {short(before)}, now it is {short(now)}"
        return "nothing"


def short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
