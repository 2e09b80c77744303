"""Which lines or paragraphs occur again, and documents without them; used by `corpuskit.dedup.lines`.

Everything here maps arrays to arrays; files and tasks are the job's concern. `Counts` rows are (line hash,
document, occurrences): the `site` of the cleaning room's rows holds the number of the first document, a hash
of its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpuskit.clean.linecounts import Counts
from corpuskit.clean.lines import Lines, lines_of, without_lines
from corpuskit.documents import DocumentBatch, StepResult, dropped_rows, replace_text

if TYPE_CHECKING:
    from corpuskit.dedup.lines import LineDeduplicator

REASON = "dedup/duplicate-lines"

Unit = Literal["line", "paragraph"]

_SHIFT = np.uint64(33)
_PLACE = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY = np.uint64(0xFF51AFD7ED558CCD)


class Units(NamedTuple):
    """The lines or paragraphs of a batch, in order.

    Attributes
    ----------
    lines : Lines
        The lines; those without a visible character are not among them.
    first : numpy.ndarray
        int64: number of each unit's first line.
    of_line : numpy.ndarray
        int64: the unit of each line.
    documents, hashes, characters : numpy.ndarray
        int64, uint64, int64: of each unit.
    """

    lines: Lines
    first: np.ndarray
    of_line: np.ndarray
    documents: np.ndarray
    hashes: np.ndarray
    characters: np.ndarray


def units_of(text: pa.Array, unit: Unit) -> Units:
    """The units of a string array without nulls.

    A paragraph of one line has the line's hash; one of several has the sum of its lines' hashes, each
    mixed with its place.
    """
    lines = lines_of(text)
    count = len(lines.hashes)
    begins = np.ones(count, bool)
    if unit == "paragraph":
        same = lines.documents[1:] == lines.documents[:-1]
        begins[1:] = ~(same & (lines.starts[1:] == lines.stops[:-1] + 1))
    first = np.flatnonzero(begins)
    of_line = np.cumsum(begins) - 1
    if not count:
        return Units(lines, first, of_line, lines.documents, lines.hashes, lines.characters.astype(np.int64))
    place = (np.arange(count) - first[of_line]).astype(np.uint64)
    mixed = lines.hashes + place * _PLACE
    mixed = np.where(place > 0, (mixed ^ mixed >> _SHIFT) * _MULTIPLY, mixed)
    hashes = np.add.reduceat(mixed, first)
    characters = np.add.reduceat(lines.characters.astype(np.int64), first)
    return Units(lines, first, of_line, lines.documents[first], hashes, characters)


def document_numbers(batch: DocumentBatch) -> np.ndarray:
    """The order of the documents: XXH3-64 of the id (uint64)."""
    ids = batch.column("id").cast(pa.binary()).to_pylist()
    return np.array([xxhash.xxh3_64_intdigest(i) for i in ids], np.uint64)


def count_units(batch: DocumentBatch, config: LineDeduplicator) -> Counts:
    """One row for each unit of a batch that may go: its first document and its occurrences."""
    units = units_of(_texts(batch), config.unit)
    eligible = units.characters >= config.min_characters
    documents = document_numbers(batch)[units.documents[eligible]]
    return first_of(Counts(units.hashes[eligible], documents, np.ones(int(eligible.sum()), np.int64)))


def first_of(counts: Counts) -> Counts:
    """One row for each line, sorted: its smallest document, and the sum of its occurrences."""
    if not len(counts.line):
        return counts
    counts = counts.take(np.lexsort((counts.site, counts.line)))
    begins = np.ones(len(counts.line), bool)
    begins[1:] = counts.line[1:] != counts.line[:-1]
    starts = np.flatnonzero(begins)
    return Counts(counts.line[starts], counts.site[starts], np.add.reduceat(counts.documents, starts))


def repeated(counts: Counts) -> Counts:
    """The rows of lines that occur more than once."""
    return counts.take(counts.documents > 1)


@dataclass(frozen=True)
class Removed:
    """What a batch lost.

    Attributes
    ----------
    text : pyarrow.Array
        Before.
    units : Units
    again : numpy.ndarray
        bool, one a unit: whether it occurs more than once in the corpus.
    gone : numpy.ndarray
        bool, one a unit.
    """

    result: StepResult
    text: pa.Array
    units: Units
    again: np.ndarray
    gone: np.ndarray
    counts: dict[str, int]

    def samples(self, chosen: np.ndarray) -> Iterator[tuple[int, str, int]]:
        """Hash, text and removals of the units here whose hashes are among `chosen`."""
        if not len(chosen):
            return
        here = np.flatnonzero(self.again)
        here = here[np.isin(self.units.hashes[here], chosen)]
        hashes, first, inverse = np.unique(self.units.hashes[here], return_index=True, return_inverse=True)
        removals = np.bincount(inverse, self.gone[here], len(hashes))
        data = self.text.buffers()[2]
        last = np.append(self.units.first[1:], len(self.units.lines.stops)) - 1
        for line, unit, count in zip(hashes.tolist(), here[first].tolist(), removals.tolist()):
            start = int(self.units.lines.starts[self.units.first[unit]])
            stop = int(self.units.lines.stops[last[unit]])
            yield line, data.slice(start, stop - start).to_pybytes().decode("utf-8").strip(), int(count)


def remove_from(batch: DocumentBatch, again: Counts, config: LineDeduplicator) -> Removed:
    """A batch without the units that stand elsewhere.

    Parameters
    ----------
    again : Counts
        Lines that occur again, sorted, with their first documents (`repeated`).
    """
    text = _texts(batch)
    units = units_of(text, config.unit)
    place = np.minimum(np.searchsorted(again.line, units.hashes), max(0, len(again.line) - 1))
    eligible = units.characters >= config.min_characters
    found = eligible & (again.line[place] == units.hashes) if len(again.line) else np.zeros_like(eligible)
    is_first = np.zeros(len(found), bool)
    rows = np.flatnonzero(found)
    home = again.site[place[rows]] == document_numbers(batch)[units.documents[rows]]
    rows = rows[home]
    # Within the first document only the first of equal units stays.
    rows = rows[np.lexsort((rows, units.hashes[rows], units.documents[rows]))]
    earlier = np.zeros(len(rows), bool)
    earlier[1:] = (units.documents[rows[1:]] == units.documents[rows[:-1]]) & (
        units.hashes[rows[1:]] == units.hashes[rows[:-1]]
    )
    is_first[rows[~earlier]] = True
    gone = found & ~is_first
    before = np.bincount(units.documents, units.characters, batch.num_rows)
    lost = np.bincount(units.documents[gone], units.characters[gone], batch.num_rows)
    shares = lost / np.maximum(before, 1)
    over = shares > config.max_removed_share
    gone &= ~over[units.documents]
    counts = {
        "lines_removed": int(gone.sum()),
        "characters_removed": int(units.characters[gone].sum()),
        "documents_changed": int(np.count_nonzero(lost[~over])),
        "documents_over": int(over.sum()),
    }
    kept = batch
    if gone.any():
        kept = replace_text(batch, without_lines(text, units.lines, gone[units.of_line]))
    dropped = None
    if over.any() and config.beyond == "drop":
        rows = np.flatnonzero(over)
        limits = [config.max_removed_share] * len(rows)
        dropped = dropped_rows(batch.take(pa.array(rows)), [REASON] * len(rows), shares[rows], limits)
        kept = kept.filter(pa.array(~over))
    return Removed(StepResult(kept, dropped), text, units, found, gone, counts)


def _texts(batch: DocumentBatch) -> pa.Array:
    texts = batch.column("text").cast(pa.large_string())
    return pc.fill_null(texts, "") if texts.null_count else texts
