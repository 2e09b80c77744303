"""Taking repeated spans out of documents: boundaries, the cap, and what is recorded.

A document never loses most of itself in silence: where more than `max_fraction` would go, it is dropped
whole with a reason, or kept whole, and counted either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from corpuskit.dedup.partitions import part_of
from corpuskit.dedup.shingles import character_counts
from corpuskit.documents import DocumentBatch, StepResult, dropped_rows, replace_text
from corpuskit.partitioned import Groups

REASON = "dedup/repeated-substrings"

REPEATED_SPANS = pa.list_(
    pa.struct(
        [
            ("start", pa.int64()),
            ("stop", pa.int64()),
            ("document", pa.string()),
            ("document_start", pa.int64()),
        ]
    )
)
"""The column `repeated_spans`: characters of the text as it came in, and where they occur first.

Where the first occurrence is in several pieces, it is an earlier occurrence, which repeats those.
"""

_SENTENCE_END = re.compile(r"[。！？!?…；;]+[”’」』）)】》〉]*|\n+|\.(?=\s)")


@dataclass(frozen=True)
class Removal:
    """What is done with repeated spans; the fields are those of `SubstringDeduplicator`."""

    boundary: Literal["character", "sentence"]
    action: Literal["remove", "mark"]
    max_fraction: float
    beyond: Literal["drop", "keep"]

    @property
    def drops(self) -> bool:
        """Whether documents beyond the cap are dropped."""
        return self.action == "remove" and self.beyond == "drop"


def intervals(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of spans as disjoint intervals, ascending."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def whole_sentences(text: str, cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each interval cut down to the sentences that lie in it whole; those without one are left out."""
    bounds = np.array([0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)])
    kept = []
    for start, stop in cuts:
        first = bounds[np.searchsorted(bounds, start)]
        last = bounds[np.searchsorted(bounds, stop, side="right") - 1]
        if first < last:
            kept.append((int(first), int(last)))
    return kept


def without(text: str, cuts: list[tuple[int, int]]) -> str:
    """`text` without the (disjoint, ascending) intervals."""
    pieces, position = [], 0
    for start, stop in cuts:
        pieces.append(text[position:start])
        position = stop
    pieces.append(text[position:])
    return "".join(pieces)


def beyond_cap(config: Removal, spans: pa.Table) -> np.ndarray:
    """The ordinals (uint64, ascending) of the documents that are repeated beyond the cap.

    Documents are judged in their order. What is repeated only from dropped documents does not count, so
    that a passage never goes with the document that was to keep it.

    Parameters
    ----------
    config : Removal
    spans : pyarrow.Table
        All `corpuskit.dedup.span_search.SPANS` rows of the corpus.
    """
    from corpuskit.kernels import spans as kernel

    names = ("ordinal", "start", "stop", "source_ordinal", "priority", "characters")
    ordinal, start, stop, source, priority, characters = (spans.column(name).to_numpy() for name in names)
    order = np.lexsort((stop, start, ordinal, priority))
    ordinal, source = ordinal[order], source[order]
    begins = np.ones(len(order), bool)
    begins[1:] = ordinal[1:] != ordinal[:-1]
    documents = ordinal[begins]
    by_ordinal = np.argsort(documents)
    place = np.searchsorted(documents, source, sorter=by_ordinal)
    found = by_ordinal[np.minimum(place, len(documents) - 1)] if len(documents) else place
    number = np.where(documents[found] == source, found, -1) if len(documents) else found
    beyond = np.zeros(len(documents), bool)
    kernel.beyond_cap(
        (np.cumsum(begins) - 1).astype(np.int64), start[order], stop[order], number.astype(np.int64),
        characters[order][begins], config.max_fraction, config.drops, beyond,
    )  # fmt: skip
    return np.sort(documents[beyond])


def beyond_by_group(config: Removal, spans: pa.Table, over: np.ndarray, groups: Groups) -> Iterator[pa.Table]:
    """Of the documents beyond the cap, by group of parts: its own, and those that are sources of its spans.

    More is not needed to `decide` on the documents of the group. One column `ordinal`, ascending.
    """
    document, source = (spans.column(name).to_numpy() for name in ("ordinal", "source_ordinal"))
    named = np.isin(source, over) if config.drops else np.zeros(len(source), bool)
    ordinal = np.concatenate((over, source[named]))
    part = part_of(np.concatenate((over, document[named])))
    part -= part % groups.parts_each
    order = np.lexsort((ordinal, part))
    ordinal, part = ordinal[order], part[order]
    first = np.ones(len(order), bool)
    first[1:] = (ordinal[1:] != ordinal[:-1]) | (part[1:] != part[:-1])
    return groups.split(pa.table({"ordinal": ordinal[first]}), part[first])


def effective(config: Removal, spans: pa.Table, over: np.ndarray) -> pa.Table:
    """The spans that count: those whose source is not in a document that is dropped."""
    if not config.drops:
        return spans
    document, source = (spans.column(name).to_numpy() for name in ("ordinal", "source_ordinal"))
    return spans.filter(pa.array((source == document) | ~np.isin(source, over)))


def decide(
    config: Removal, batch: DocumentBatch, ordinal: np.ndarray, spans: pa.Table, over: np.ndarray
) -> tuple[StepResult, dict[str, int]]:
    """Kept and dropped rows of one batch, and what was done, by name.

    Parameters
    ----------
    config : Removal
    batch : DocumentBatch
    ordinal : uint64 array
        Of the batch's documents, consecutive.
    spans : pyarrow.Table
        The `effective` rows of `corpuskit.dedup.span_search.SPANS`, sorted.
    over : uint64 array
        What `beyond_cap` found for the corpus, or what `beyond_by_group` left of it.
    """
    is_over = np.zeros(batch.num_rows, bool)
    if batch.num_rows:
        first, last = np.searchsorted(over, [ordinal[0], ordinal[-1] + np.uint64(1)])
        is_over[(over[first:last] - ordinal[0]).astype(np.int64)] = True
    target = spans.column("ordinal").to_numpy()
    begins = np.searchsorted(target, ordinal)
    ends = np.searchsorted(target, ordinal, side="right")
    removed = np.zeros(batch.num_rows, np.int64)
    beyond = is_over if config.drops else np.zeros(batch.num_rows, bool)
    changed: dict[int, str] = {}
    num_spans = num_beyond = gone = 0
    starts, stops = spans.column("start").to_numpy(), spans.column("stop").to_numpy()
    for row in np.flatnonzero(ends > begins).tolist():
        here = slice(begins[row], ends[row])
        cuts = intervals(list(zip(starts[here].tolist(), stops[here].tolist())))
        removed[row] = sum(stop - start for start, stop in cuts)
        if is_over[row]:
            num_beyond += 1
            continue
        text = None
        if config.boundary == "sentence":
            text = batch.column("text")[row].as_py()
            cuts = whole_sentences(text, cuts)
        removed[row] = sum(stop - start for start, stop in cuts)
        if not cuts:
            continue
        num_spans += len(cuts)
        gone += int(removed[row])
        if config.action == "remove":
            changed[row] = without(text or batch.column("text")[row].as_py(), cuts)
    marked = _with_spans(batch, begins, ends, spans, removed)
    done = "removed" if config.action == "remove" else "marked"
    counts = {
        "documents with repeated spans": int((removed > 0).sum()),
        "documents beyond the cap": num_beyond,
        f"spans {done}": num_spans,
        f"characters {done}": gone,
    }
    rows = np.flatnonzero(beyond)
    dropped = None
    if len(rows):
        chosen = marked.take(pa.array(rows))
        share = removed[rows] / character_counts(chosen.column("text"))
        dropped = dropped_rows(
            chosen, [REASON] * len(rows), pa.array(share), [config.max_fraction] * len(rows)
        )
    if changed:
        texts = _replaced(marked.column("text").cast(pa.large_string()), changed)
        marked = replace_text(marked, texts)
    kept = marked.filter(pa.array(~beyond)) if len(rows) else marked
    return StepResult(kept, dropped), counts


def _replaced(texts: pa.Array, changed: dict[int, str]) -> pa.Array:
    """`texts` with the rows of `changed` exchanged; the others are not decoded."""
    rows = np.arange(len(texts), dtype=np.int64)
    rows[list(changed)] = len(texts) + np.arange(len(changed))
    return pa.concat_arrays([texts, pa.array(changed.values(), pa.large_string())]).take(pa.array(rows))


def _with_spans(
    batch: DocumentBatch, begins: np.ndarray, ends: np.ndarray, spans: pa.Table, removed: np.ndarray
) -> DocumentBatch:
    """`batch` with the columns `repeated_spans` and `repeated_characters`."""
    first, last = (int(begins[0]), int(ends[-1])) if len(begins) else (0, 0)
    here = spans.slice(first, last - first).combine_chunks()
    columns = [here.column(name) for name in ("start", "stop", "source_id", "source_start")]
    values = pa.StructArray.from_arrays(
        [pa.concat_arrays(c.chunks) if c.num_chunks else pa.array([], c.type) for c in columns],
        fields=list(REPEATED_SPANS.value_type),
    )
    offsets = np.append(begins, last) - first
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values, type=REPEATED_SPANS)
    for name, column in (("repeated_spans", lists), ("repeated_characters", pa.array(removed))):
        place = batch.schema.get_field_index(name)
        if place >= 0:
            batch = batch.set_column(place, name, column)
        else:
            batch = batch.append_column(name, column)
    return batch
