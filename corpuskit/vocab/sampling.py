"""The sample a vocabulary is trained on, and cutting it to lengths a trainer takes.

Trainers hold their sample in memory many times over, so a corpus is sampled: documents are ordered
by a seeded hash of their id, and the longest run from the front that fits is taken. That is the
same set, in the same order, whatever the order of files, and never holds more than the sample.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import xxhash

from corpuskit.errors import InputError

Texts: TypeAlias = Iterable[Any]  # str, Arrow string arrays, or RecordBatch with `text`

_SHOWN_CHARACTERS = 40  # of an id in an error


@dataclass(frozen=True)
class Sample:
    """Chosen texts, in the order of their hashes, and how much there was to choose from.

    Attributes
    ----------
    texts : tuple of str
    text_bytes, characters : int
        UTF-8 bytes and code points in `texts`.
    documents_seen, bytes_seen : int
        What the corpus held.
    """

    texts: tuple[str, ...]
    text_bytes: int
    characters: int
    documents_seen: int
    bytes_seen: int

    def provenance(self, sample_bytes: int, seed: int) -> dict[str, int]:
        """What an artifact records of its sample."""
        return {
            "sample_bytes_limit": sample_bytes,
            "sample_seed": seed,
            "sample_documents": len(self.texts),
            "sample_text_bytes": self.text_bytes,
            "sample_characters": self.characters,
            "corpus_documents": self.documents_seen,
            "corpus_text_bytes": self.bytes_seen,
        }


class Sampler:
    """Chooses documents by a hash of their id.

    Parameters
    ----------
    sample_bytes : int
        Limit for the UTF-8 bytes chosen. A longer document counts, and is taken, up to this.
    seed : int
        Another seed is another sample.
    """

    def __init__(self, sample_bytes: int, seed: int) -> None:
        self._limit = sample_bytes
        self._seed = seed
        self._heap: list[tuple[int, str, str, int]] = []  # largest hash first
        self._total = 0
        self._cutoff = 1 << 128
        self._documents = 0
        self._bytes = 0

    def add(self, document_id: str, text: str) -> None:
        """Offer one document."""
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                "text holds a lone surrogate, which has no UTF-8 form",
                where=f"document {_shown(document_id)}, character {error.start}",
                hint="decode the input with errors='replace'",
            ) from error
        self._documents += 1
        self._bytes += len(data)
        if not data:
            return
        key = xxhash.xxh3_128_intdigest(document_id.encode("utf-8", "surrogateescape"), seed=self._seed)
        if key >= self._cutoff:
            return
        if len(data) > self._limit:
            text = data[: self._limit].decode("utf-8", errors="ignore")
            data = text.encode()
        heapq.heappush(self._heap, (-key, document_id, text, len(data)))
        self._total += len(data)
        while self._total > self._limit:
            largest, _, _, size = heapq.heappop(self._heap)
            self._total -= size
            self._cutoff = min(self._cutoff, -largest)

    def finish(self) -> Sample:
        """The sample, in the order of the hashes."""
        chosen = sorted(self._heap, key=lambda item: (-item[0], item[1], item[2]))
        chosen = [item for item in chosen if -item[0] < self._cutoff]
        texts = tuple(item[2] for item in chosen)
        return Sample(
            texts,
            sum(item[3] for item in chosen),
            sum(map(len, texts)),
            self._documents,
            self._bytes,
        )


def _shown(document_id: str) -> str:
    """An id as it can be printed; a text without one is its own."""
    shown = document_id.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"


def sample_texts(texts: Texts, sample_bytes: int, seed: int) -> Sample:
    """Sample texts that have no id, or batches that have.

    Parameters
    ----------
    texts : iterable of str, of Arrow string arrays, or of RecordBatch with `text` (and `id`)
        Without an id, a text is its own: equal texts are chosen or left together.
    sample_bytes, seed : int
        See `Sampler`.

    Raises
    ------
    InputError
        If an item is of another type, or there is no text at all.
    """
    sampler = Sampler(sample_bytes, seed)
    for document_id, text in _pairs(texts):
        sampler.add(document_id, text)
    return require_text(sampler.finish())


def require_text(sample: Sample) -> Sample:
    """`sample`, unless it is empty."""
    if not sample.texts:
        raise InputError(
            f"no text to train on ({sample.documents_seen} documents, all empty)"
            if sample.documents_seen
            else "no text to train on: the corpus has no documents",
            hint="check what earlier steps kept, and sample_bytes",
        )
    return sample


def _pairs(texts: Texts) -> Iterator[tuple[str, str]]:
    items: Iterable = (
        [texts] if isinstance(texts, str | pa.Array | pa.ChunkedArray | pa.RecordBatch) else texts
    )
    for number, item in enumerate(items):
        if isinstance(item, str):
            yield item, item
        elif isinstance(item, pa.RecordBatch) and "text" in item.schema.names:
            column = item.column("text").to_pylist()
            ids = item.column("id").to_pylist() if "id" in item.schema.names else column
            yield from ((i, text) for i, text in zip(ids, column) if text is not None)
        elif isinstance(item, pa.Array | pa.ChunkedArray) and (
            pa.types.is_string(item.type) or pa.types.is_large_string(item.type)
        ):
            yield from ((text, text) for text in item.to_pylist() if text is not None)
        else:
            raise InputError(
                "texts must be str, Arrow string arrays or batches with a text column, "
                f"not {type(item).__name__}",
                where=f"item {number}",
            )


# Characters a SentencePiece trainer cannot take inside a sentence: it drops sentences that hold
# U+2585 or a tab, ends one at NUL or a line end, and writes spaces as U+2581.
_RESERVED = frozenset("\x00\t\n\r\u2581\u2585")
_SENTENCE_ENDS = frozenset("。！？；…!?;")
_CLAUSE_ENDS = frozenset("，、：,: 　")


def sentences(text: str, max_bytes: int) -> Iterator[str]:
    """Cut a document into sentences of at most `max_bytes` UTF-8 bytes, losing no byte.

    Joined, the pieces are the text. A cut falls after a reserved character or sentence end; a
    longer sentence is cut after its last clause mark that fits, else where the limit falls. A
    reserved character is a piece of its own.
    """
    start = position = size = 0
    clause = clause_size = 0
    for position, character in enumerate(text):
        width = (
            1 if character < "\x80" else 2 if character < "\u0800" else 3 if character < "\U00010000" else 4
        )
        if character in _RESERVED:
            if start < position:
                yield text[start:position]
            yield character
            start, size, clause = position + 1, 0, 0
            continue
        while size + width > max_bytes:  # what a cut at a clause leaves may still be too long
            cut = clause if clause > start else position
            yield text[start:cut]
            size = size - clause_size if cut == clause else 0
            start, clause = cut, 0
        size += width
        if character in _SENTENCE_ENDS:
            yield text[start : position + 1]
            start, size, clause = position + 1, 0, 0
        elif character in _CLAUSE_ENDS:
            clause, clause_size = position + 1, size
    if start < len(text):
        yield text[start:]


def is_reserved(sentence: str) -> bool:
    """Whether a piece of `sentences` is a reserved character, which a trainer is not given."""
    return sentence in _RESERVED
