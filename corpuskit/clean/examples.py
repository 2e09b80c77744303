"""The documents that a report shows: chosen the same whatever the order, cut short, masked.

Examples are the documents whose hashed id is smallest, or whose value is nearest to the threshold,
where ties go to the smaller hash. Their texts are masked before they are cut, so that half an
identity number is not taken for prose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from corpuskit.clean.pii import Pii, mask_texts
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ConfigError

HEAD_SHARE = 2 / 3
"""How much of an excerpt shows the beginning of the text; the rest shows its end."""

MASK_MARGIN = 256
"""Characters beyond those shown that are masked with them: longer than any personal data but a web
address, and of that the beginning is enough to know it."""

DROPPED_KINDS = ("dropped", "just_dropped")

_MAX_NAME_CHARACTERS = 120


@dataclass(frozen=True)
class SurveyOptions:
    """How much a survey shows.

    Attributes
    ----------
    examples : int
        Documents per rule and kind.
    excerpt_characters : int
        Of each document's text; 0 shows no text at all.
    pii : Pii or None
        How personal data is masked in what is shown, whatever the cleaner does with it.
    show_dropped : bool
        Whether dropped documents are shown with their text, or by name alone.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    examples: int = 3
    excerpt_characters: int = 200
    pii: Pii | None = field(default_factory=Pii)
    show_dropped: bool = True

    def __post_init__(self) -> None:
        for name in ("examples", "excerpt_characters"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{getattr(self, name)!r} is too small", where=name, hint="allowed: 0 or more"
                )


class Example(NamedTuple):
    """A document shown in the report; examples of a kind are those that sort first.

    Attributes
    ----------
    rank : tuple of float and int
        Distance from the threshold (0 where examples are taken by hash alone), hash of the id.
    id : str
    value : float or None
        What the rule measured.
    title : str
        Of the page, where it has one.
    place : str
        Address or file.
    head, tail : str
        Beginning and end of the text, masked; `tail` is empty where `head` is the whole text.
    characters : int
        Length of the text.
    """

    rank: tuple[float, int]
    id: str
    value: float | None
    title: str
    place: str
    head: str
    tail: str
    characters: int


class _Candidate(NamedTuple):
    """An example before it is masked; the smallest ranks stay."""

    rank: tuple[float, int]
    id: str
    value: float | None
    pieces: tuple[str, str, str, str]
    characters: int


class Gallery:
    """Chooses examples batch by batch, and masks the few that remain in one go.

    Masking costs a millisecond a document, and most of what the first batches offer is replaced by
    later ones, so it waits until the examples are asked for.
    """

    def __init__(self, options: SurveyOptions) -> None:
        self._options = options
        self._hashes = np.zeros(0, np.uint64)
        self._ids: list[str] = []
        self._waiting: dict[tuple[int, str], tuple[dict[str, list[Example]], list[_Candidate]]] = {}

    def enter(self, batch: DocumentBatch) -> None:
        """Begin a batch; rows offered from now on are rows of it."""
        self._ids = [str(value) for value in batch.column("id").to_pylist()]
        hashes = [xxhash.xxh3_64_intdigest(value.encode()) for value in self._ids]
        self._hashes = np.array(hashes, np.uint64)

    def offer(
        self,
        home: dict[str, list[Example]],
        kind: str,
        batch: DocumentBatch,
        rows: np.ndarray,
        input_rows: np.ndarray,
        values: np.ndarray | None = None,
        distances: np.ndarray | None = None,
    ) -> None:
        """Take the best of `rows`, by distance and then by hash, where they beat those there.

        Parameters
        ----------
        home : dict
            Where the examples go in the end, under `kind`.
        kind : str
        batch : DocumentBatch
            The documents as a step left them.
        rows, input_rows : int64[n]
            Places in `batch`, and the same documents' places in the batch that was entered.
        values, distances : float64[batch.num_rows], optional
            What the rule measured, and how far that is from the threshold.
        """
        wanted = self._options.examples
        _, waiting = self._waiting.setdefault((id(home), kind), (home, []))
        ranks = np.zeros(len(rows)) if distances is None else distances[rows]
        hashes = self._hashes[input_rows]
        worst = waiting[-1].rank if len(waiting) >= wanted and waiting else (math.inf, 0)
        near = np.flatnonzero(ranks <= worst[0])
        for position in near[np.lexsort((hashes[near], ranks[near]))][:wanted].tolist():
            rank = (float(ranks[position]), int(hashes[position]))
            if not math.isfinite(rank[0]) or rank >= worst:
                break
            row = int(rows[position])
            value = None if values is None or not math.isfinite(values[row]) else float(values[row])
            text = batch.column("text")[row].as_py() or ""
            hidden = kind in DROPPED_KINDS and not self._options.show_dropped
            pieces = (*_names(batch, row), *self._windows("" if hidden else text))
            name = self._ids[int(input_rows[position])]
            waiting.append(_Candidate(rank, name, value, pieces, len(text)))
        waiting.sort(key=lambda candidate: (candidate.rank, candidate.id))
        del waiting[wanted:]

    def hang(self) -> None:
        """Mask the examples and put them where they belong."""
        chosen = [(home, kind, c) for (_, kind), (home, found) in self._waiting.items() for c in found]
        self._waiting.clear()
        pieces = [piece for _, _, candidate in chosen for piece in candidate.pieces]
        if self._options.pii is not None and pieces:
            pieces = mask_texts(pa.array(pieces, pa.large_string()), self._options.pii).to_pylist()
        for number, (home, kind, candidate) in enumerate(chosen):
            title, place, head, tail = pieces[4 * number : 4 * number + 4]
            rank, name, value, _, characters = candidate
            example = Example(rank, name, value, title, place, *self._cut(head, tail), characters)
            add_examples(home, {kind: [example]}, self._options.examples)

    def _windows(self, text: str) -> tuple[str, str]:
        """More of the text than is shown, so that what is masked is seen whole."""
        size = self._options.excerpt_characters
        if len(text) <= size:
            return text, ""
        room = size + MASK_MARGIN
        return text[:room], text[-room:]

    def _cut(self, head: str, tail: str) -> tuple[str, str]:
        size = self._options.excerpt_characters
        if not tail:
            return head, ""
        at_end = size - round(size * HEAD_SHARE)
        return head[: size - at_end], tail[-at_end:] if at_end else ""


def add_examples(home: dict[str, list[Example]], found: Mapping[str, Sequence[Example]], wanted: int) -> None:
    """Put `found` among those in `home`; of each kind the `wanted` that sort first stay."""
    for kind, examples in found.items():
        together = {(example.rank, example.id): example for example in (*home.get(kind, ()), *examples)}
        home[kind] = [together[key] for key in sorted(together)][:wanted]


def plain_examples(examples: Mapping[str, Sequence[Example]]) -> dict[str, list[dict[str, Any]]]:
    """Plain data for JSON."""
    return {kind: [example._asdict() for example in found] for kind, found in examples.items()}


def read_examples(stored: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Example]]:
    """The inverse of `plain_examples`."""
    return {
        kind: [Example(**{**example, "rank": tuple(example["rank"])}) for example in found]
        for kind, found in stored.items()
    }


def _names(batch: DocumentBatch, row: int) -> tuple[str, str]:
    """What names the document for a reader: its title, and its address or else its file."""

    def value(name: str) -> str:
        found = batch.column(name)[row].as_py() if name in batch.schema.names else None
        return "" if found is None else str(found)[:_MAX_NAME_CHARACTERS]

    return value("title"), value("url") or value("source")
