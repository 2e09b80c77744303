"""The n-grams of evaluation items in a table that documents stream past.

Not every n-gram says that an item was copied. Left out as *common* are those that occur in more than
`max_item_frequency` items (templates: 选项：… 答案：), those found in a background corpus, and those of fewer
than `min_distinct` different characters. The others count 1/k where k items have them: the rarer templates
of a set would otherwise be half of its short items. An item of which too little is left, or that is too
short to begin with, cannot be looked for; it is listed, never passed over in silence.

About 60 bytes a folded character of the evaluation sets; a training corpus of any size adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from corpuskit.dedup.evaluation import EvaluationItem
from corpuskit.dedup.folding import fold_table, fold_tag
from corpuskit.dedup.partitions import publish_partitions, read_partition
from corpuskit.dedup.shingles import text_buffers
from corpuskit.dedup.signatures import require_range
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ConfigError
from corpuskit.jobs import Output, Slice, Workspace

WEIGHT = 1 << 16
"""What an n-gram counts that is in one item; one in k items counts 1/k of it, rounded down."""

Checked = Literal["yes", "too short", "too common"]
"""Whether an item can be looked for, and why not."""

_ARRAYS = (
    "codes", "slots", "bits", "hashes", "places", "lengths", "weights", "posting_offsets", "posting_units",
    "posting_places", "totals", "needed", "unit_items",
)  # fmt: skip

ITEMS = pa.schema(
    [
        ("set", pa.string()),
        ("item", pa.string()),
        ("characters", pa.int64()),
        ("ngrams", pa.int64()),
        ("checked", pa.string()),
    ]
)
"""A row per item: folded characters of its longest passage, distinct n-grams that count, and `Checked`."""

FOUND = pa.schema(
    [
        ("row", pa.int64()),
        ("set", pa.string()),
        ("item", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("share", pa.float64()),
        ("run", pa.int64()),
        ("score", pa.float64()),
    ]
)
"""A row per overlap: the document's row in its batch; the others as `Decontaminator` describes them."""


@dataclass(frozen=True)
class Matching:
    """What counts as an overlap; the fields are those of `corpuskit.dedup.Decontaminator`."""

    ngram: int = 13
    min_share: float = 0.5
    min_run: int = 20
    long_run: int = 50
    max_gap: int = 50
    min_characters: int = 8
    min_passage: int = 30
    min_distinct: int = 5
    max_item_frequency: int = 10
    fold_variants: bool = True

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        require_range("ngram", self.ngram, 2, 64)
        require_range("min_share", self.min_share, 0, 1)
        require_range("min_run", self.min_run, 1, 1 << 30)
        require_range("long_run", self.long_run, self.ngram, 1 << 30)
        require_range("max_gap", self.max_gap, 1, 1 << 30)
        require_range("min_characters", self.min_characters, 1, 1 << 30)
        require_range("min_passage", self.min_passage, 1, 1 << 30)
        require_range("min_distinct", self.min_distinct, 1, self.ngram)
        require_range("max_item_frequency", self.max_item_frequency, 1, 1 << 30)
        if self.min_share == 0:
            raise ConfigError("must be above 0", where="min_share", hint="0.5 asks for half of an item")

    @property
    def tag(self) -> str:
        """Everything an index depends on beside the items, as text."""
        values = ":".join(f"{name}={value}" for name, value in asdict(self).items())
        return f"contamination-1:{values}:{fold_tag(self.fold_variants)}"

    def score(self, share: np.ndarray, run: np.ndarray) -> np.ndarray:
        """The share, or the run measured on the same scale (`long_run` counts as `min_share`)."""
        return np.maximum(share, np.minimum(1.0, self.min_share * run / self.long_run))


class EvaluationIndex:
    """Evaluation items, ready to be looked for.

    Parameters
    ----------
    matching : Matching
    arrays : dict
        See `build`.
    items : pyarrow.Table
        `ITEMS` rows.
    """

    def __init__(self, matching: Matching, arrays: dict[str, np.ndarray], items: pa.Table) -> None:
        self.matching = matching
        self.items = items
        self._arrays = {name: _read_only(array) for name, array in arrays.items()}
        self._fold = fold_table(matching.fold_variants)
        lengths = arrays["lengths"]
        self._short_lengths = np.unique(lengths[lengths < matching.ngram]).astype(np.int64)
        self._state: np.ndarray | None = None

    @classmethod
    def build(
        cls,
        matching: Matching,
        items: Iterable[EvaluationItem],
        background: Iterable[DocumentBatch] = (),
    ) -> EvaluationIndex:
        """Index items; n-grams that occur in `background` do not count."""
        from corpuskit.kernels import ngram_index

        passages = _Passages.of(list(items), matching)
        room = len(passages.codes)
        hashes, places = np.empty(room, np.uint64), np.empty(room, np.int64)
        lengths, frequency = np.empty(room, np.int32), np.empty(room, np.int32)
        common = np.empty(room, np.uint8)
        slots = np.full(_power_of_two(2 * room), -1, np.int32)
        size = ngram_index.index_ngrams(
            passages.codes, passages.starts, passages.stops, passages.owners, matching.ngram,
            matching.min_distinct, slots, hashes, places, lengths, frequency, common,
        )  # fmt: skip
        grams: dict[str, np.ndarray] = {
            "hashes": hashes[:size].copy(),
            "places": places[:size].copy(),
            "lengths": lengths[:size].copy(),
            "weights": WEIGHT // frequency[:size].astype(np.int64),
        }
        chosen = (common[:size] == 0) & (frequency[:size] <= matching.max_item_frequency)
        index = cls._chosen(matching, passages, grams, chosen)
        seen = index.unseen()
        for batch in background:
            index.mark(batch, seen)
        if not seen.any():
            return index
        return cls._chosen(matching, passages, grams, chosen & (seen[:size] == 0))

    @classmethod
    def _chosen(
        cls, matching: Matching, passages: _Passages, grams: dict[str, np.ndarray], chosen: np.ndarray
    ) -> EvaluationIndex:
        """The index of the chosen n-grams."""
        from corpuskit.kernels import ngram_index

        count = int(chosen.sum())
        slots = np.full(_power_of_two(2 * count + 2), -1, np.int32)
        bits = np.zeros(_power_of_two(max(1, count // 4)), np.uint64)
        ngram_index.build_table(grams["hashes"], chosen, slots, bits)
        starts, stops, owners, unit_items = passages.units()
        offsets = np.zeros(len(chosen) + 1, np.int64)
        stretch = np.zeros(len(unit_items), np.int64)

        def post(units: np.ndarray, posted: np.ndarray) -> np.ndarray:
            return ngram_index.post_ngrams(
                passages.codes, starts, stops, owners, matching.ngram, slots, grams["hashes"],
                grams["places"], grams["lengths"], offsets, units, posted, stretch,
            )  # fmt: skip

        np.cumsum(post(np.empty(0, np.int32), np.empty(0, np.int64)), out=offsets[1:])
        units, posted = np.empty(int(offsets[-1]), np.int32), np.empty(int(offsets[-1]), np.int64)
        post(units, posted)
        longest = np.zeros(len(unit_items), np.int64)
        np.maximum.at(longest, owners, stops - starts)
        needed = np.minimum(matching.min_run, longest)
        # Sums of integers below 2**53: exact in float64.
        weight = np.repeat(grams["weights"], np.diff(offsets))
        totals = np.bincount(units, weight, minlength=len(unit_items)).astype(np.int64)
        counts = np.bincount(units, minlength=len(unit_items)).astype(np.int64)
        arrays = {
            "codes": passages.codes, "slots": slots, "bits": bits, **grams, "posting_offsets": offsets,
            "posting_units": units, "posting_places": posted, "totals": totals, "needed": needed,
            "unit_items": unit_items,
        }  # fmt: skip
        found = np.zeros(len(passages.items), bool)
        found[unit_items[(stretch >= needed) & (totals > 0)]] = True
        return cls(matching, arrays, passages.table(found, counts[: len(found)]))

    def find(self, batch: DocumentBatch) -> pa.Table:
        """The overlaps of a batch's documents: `FOUND` rows, the best of each document first."""
        return self._rows(self._scan(batch, np.empty(0, np.uint8)))

    def unseen(self) -> np.ndarray:
        """No n-gram marked: uint8, one for each."""
        return np.zeros(max(1, len(self._arrays["hashes"])), np.uint8)

    def mark(self, batch: DocumentBatch, seen: np.ndarray) -> None:
        """Mark in `seen`, which `unseen` made, the n-grams that a batch's documents hold."""
        self._scan(batch, seen)

    def shares(self, seen: np.ndarray) -> np.ndarray:
        """The share of each item's distinct n-grams that are marked: float64, NaN for an item without any."""
        units = self._arrays["posting_units"]
        per_gram = np.diff(self._arrays["posting_offsets"])
        marked = np.repeat(seen[: len(per_gram)], per_gram)
        count = len(self.items)
        own = units < count  # the units behind are passages of these items
        found = np.bincount(units[own], marked[own], minlength=count)
        total = np.bincount(units[own], minlength=count)
        return np.where(total > 0, found / np.maximum(total, 1), np.nan)

    def publish(self, workspace: Workspace) -> list[Output]:
        """Write the index; `load` maps it into memory again."""
        arrays = [
            publish_partitions(workspace, f"index-{name}", [pa.table({name: array})], self.matching.tag)
            for name, array in self._arrays.items()
        ]
        return [*arrays, publish_partitions(workspace, "items", [self.items], self.matching.tag)]

    @classmethod
    def load(cls, matching: Matching, files: Sequence[Slice]) -> EvaluationIndex:
        """Open what `publish` wrote, in that order.

        Raises
        ------
        MismatchError
            If it was made with another configuration or other dictionaries.
        ArtifactError
            If a file is not whole.
        """
        tables = [read_partition([piece], 0, matching.tag) for piece in files]
        arrays = {}
        for name, table in zip(_ARRAYS, tables):
            column = table.column(name)
            arrays[name] = column.chunk(0).to_numpy() if column.num_chunks else column.to_numpy()
        return cls(matching, arrays, tables[len(_ARRAYS)])

    def _scan(self, batch: DocumentBatch, seen: np.ndarray) -> np.ndarray:
        from corpuskit.kernels import overlap

        arrays, matching = self._arrays, self.matching
        if self._state is None:
            self._state = np.zeros((len(arrays["totals"]), overlap.STATE_COLUMNS), np.int64)
            self._marks = np.zeros(len(arrays["posting_units"]), np.int64)
            self._counters = np.zeros(2, np.int64)
        data, offsets = text_buffers(batch.column("text"))
        return overlap.scan(
            data, offsets, self._fold, matching.ngram, self._short_lengths,
            arrays["slots"], arrays["bits"], arrays["hashes"], arrays["places"], arrays["lengths"],
            arrays["weights"], arrays["posting_offsets"], arrays["posting_units"], arrays["posting_places"],
            arrays["codes"],
            arrays["totals"], arrays["needed"], matching.min_share, matching.long_run, matching.max_gap,
            self._state, self._marks, self._counters, seen,
        )  # fmt: skip

    def _rows(self, found: np.ndarray) -> pa.Table:
        row, unit, start, stop, count, run = found.T
        share = count / np.maximum(1, self._arrays["totals"][unit])
        score = self.matching.score(share, run)
        item = self._arrays["unit_items"][unit]
        order = np.lexsort((start, -run, -score, item, row))
        first = np.ones(len(order), bool)  # the best unit of each item
        first[1:] = (np.diff(row[order]) != 0) | (np.diff(item[order]) != 0)
        best = order[first]
        chosen = self.items.take(pa.array(item[best]))
        columns = {
            "row": row[best], "set": chosen.column("set"), "item": chosen.column("item"),
            "start": start[best], "stop": stop[best], "share": share[best], "run": run[best],
            "score": score[best],
        }  # fmt: skip
        keys = [("row", "ascending"), ("score", "descending"), ("run", "descending")]
        table = pa.table(columns, schema=FOUND)
        return table.sort_by([*keys, ("set", "ascending"), ("item", "ascending")]).combine_chunks()


@dataclass(frozen=True)
class _Passages:
    """The passages of all items that can be looked for, folded.

    Attributes
    ----------
    items : list of EvaluationItem
    longest : int64[items]
        Folded characters of each item's longest passage.
    codes : int32[:]
        All folded passages, -1 behind each.
    starts, stops, owners : int64[passages]
        Where each is in `codes`, and its item.
    matching : Matching
    """

    items: list[EvaluationItem]
    longest: np.ndarray
    codes: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    owners: np.ndarray
    matching: Matching

    @classmethod
    def of(cls, items: list[EvaluationItem], matching: Matching) -> _Passages:
        from corpuskit.kernels import ngram_index

        texts = [passage for item in items for passage in item.passages]
        owners = np.repeat(np.arange(len(items)), [len(item.passages) for item in items]).astype(np.int64)
        data, offsets = text_buffers(pa.array(texts, pa.large_string()))
        codes = np.empty(int(offsets[-1] - offsets[0]) + len(texts) + 1, np.int32)
        bounds = np.empty_like(offsets)
        ngram_index.fold_texts(data, offsets, fold_table(matching.fold_variants), codes, bounds)
        codes = np.append(codes[: bounds[-1]], np.int32(-1))
        starts, stops = bounds[:-1], bounds[1:] - 1
        sizes = stops - starts
        longest = np.zeros(len(items), np.int64)
        np.maximum.at(longest, owners, sizes)
        # A short passage stands for its item only where the item has nothing longer.
        whole = (sizes >= matching.min_characters) & (sizes == longest[owners])
        used = (sizes >= matching.ngram) | whole
        return cls(items, longest, codes, starts[used], stops[used], owners[used], matching)

    def units(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Starts, stops and owners of passages by unit, and the item of each unit.

        The first units are the items with all their passages; then each long passage of an item that
        has others, too, is one more.
        """
        alone = np.bincount(self.owners, minlength=len(self.items))[self.owners] == 1
        long = np.flatnonzero(~alone & (self.stops - self.starts >= self.matching.min_passage))
        more = np.arange(len(long)) + len(self.items)
        return (
            np.concatenate((self.starts, self.starts[long])),
            np.concatenate((self.stops, self.stops[long])),
            np.concatenate((self.owners, more)).astype(np.int64),
            np.concatenate((np.arange(len(self.items)), self.owners[long])).astype(np.int64),
        )

    def table(self, found: np.ndarray, chosen: np.ndarray) -> pa.Table:
        """`ITEMS` rows: `found` tells which can be looked for, `chosen` how many of the n-grams count."""
        why = np.where(self.longest < self.matching.min_characters, "too short", "too common")
        columns = {
            "set": pa.array([item.set for item in self.items], pa.string()),
            "item": pa.array([item.id for item in self.items], pa.string()),
            "characters": self.longest,
            "ngrams": chosen,
            "checked": pa.array(np.where(found, "yes", why), pa.string()),
        }
        return pa.table(columns, schema=ITEMS)


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written, as memory-mapped arrays are: one kernel serves both."""
    view = array.view()
    view.setflags(write=False)
    return view


def _power_of_two(at_least: int) -> int:
    return 1 << max(0, at_least - 1).bit_length()
