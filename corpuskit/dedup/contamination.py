"""Training documents that contain evaluation items: finding them, and removing or marking them.

An item is found by its character n-grams over *folded* text (`corpuskit.dedup.folding`: width, case,
white space, punctuation and script do not count), thirteen characters by default as GPT-3 took thirteen
words (Brown et al. 2020, arXiv:2005.14165, appendix C). A document is contaminated where one region of it

- has at least `min_share` of the n-grams of the item (or of one string of it, of `min_passage` characters;
  an n-gram that k items have counts 1/k) and a common run of `min_run` characters (or of the whole item,
  where that is shorter), or
- shares a run of `long_run` characters with the item, whatever share that is.

Items shorter than an n-gram are found whole, and only where they stand alone between punctuation, white
space or the ends of the text. The hashes only propose: every n-gram is compared with the item's text.

Phases of the job: `index` (one task: the evaluation sets and a background corpus), `apply` (a task per
document part). A removed document leaves a row ``dedup/contaminated`` with its score, and in the row's
columns what `CONTAMINATION` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.clean.line_memory import stored_bytes
from corpuskit.dedup.apply import Deduplicated
from corpuskit.dedup.evaluation import EvaluationItem, read_evaluation
from corpuskit.dedup.evaluation_index import FOUND, EvaluationIndex, Matching
from corpuskit.dedup.memory import evaluation_memory, matching_memory
from corpuskit.dedup.partitions import read_part
from corpuskit.documents import DocumentBatch, DroppedText, StepResult, dropped_rows
from corpuskit.errors import ConfigError, InputError
from corpuskit.ingest.chunks import ReadOptions, TextUnit
from corpuskit.ingest.inputs import expand_inputs
from corpuskit.ingest.reader import read_slices
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace, outputs_of
from corpuskit.parts import DEFAULT_PART_BYTES, DocumentSink

REASON = "dedup/contaminated"

Action = Literal["remove", "mark"]

CONTAMINATION = pa.list_(
    pa.struct(
        [
            ("set", pa.string()),
            ("item", pa.string()),
            ("start", pa.int64()),
            ("stop", pa.int64()),
            ("share", pa.float64()),
            ("run", pa.int64()),
            ("score", pa.float64()),
        ]
    )
)
"""The column `contamination`: a document's overlaps, the strongest first, at most `max_overlaps`.

`set` and `item` name the evaluation item; `start` and `stop` are characters of the document's text as it
came in; `share` is that of the item's (or its long
string's) n-grams in this span, `run` the longest common run in folded
characters; `score` is the larger of the share and the run on the same scale, where `long_run` characters
count as much as `min_share`.
"""


@dataclass(frozen=True)
class Decontaminator:
    """Finds documents that overlap evaluation sets.

    Parameters
    ----------
    fields : tuple of str
        Keys or columns of the evaluation records whose strings count; none means every string.
    ngram : int
        Folded characters per n-gram, 2 to 64.
    min_share : float
        Share of an item's n-grams that one region must have, 0 to 1.
    min_run : int
        Common characters in a row that such a region must have, too: below 20, names of laws and
        institutions and set phrases match.
    long_run : int
        Common characters in a row that are enough without the share.
    max_gap : int
        N-grams of an item that begin at most this many characters apart are one region.
    min_characters : int
        Items with fewer folded characters are not looked for (answers such as 农业 are everywhere).
    min_passage : int
        A string of an item with at least this many folded characters may match without the item's others
        (a question without its long answer); a shorter one is a name or a phrase too often:
        中华人民共和国全国人民代表大会常务委员会 has 20.
    min_distinct : int
        N-grams with fewer different characters do not count.
    max_item_frequency : int
        N-grams in more items than this do not count: they are the template of the set.
    fold_variants : bool
        Whether traditional and simplified characters count as the same.
    text_unit : {"line", "paragraph", "file"}
        What an item of an evaluation set in a text file is.
    action : {"remove", "mark"}
        ``mark`` keeps every document and adds the column `contamination`.
    max_overlaps : int
        Overlaps stored for a document.

    Raises
    ------
    ConfigError
        If a value is impossible.
    """

    fields: tuple[str, ...] = ()
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
    text_unit: TextUnit = "line"
    action: Action = "remove"
    max_overlaps: int = 100

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        _ = self.matching
        for name, allowed in (("action", Action), ("text_unit", TextUnit)):
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(
                    f"{getattr(self, name)!r} is not one of {', '.join(get_args(allowed))}", where=name
                )
        if self.max_overlaps < 1:
            raise ConfigError(f"must be at least 1, not {self.max_overlaps}", where="max_overlaps")

    @property
    def matching(self) -> Matching:
        """The part of the configuration that an index depends on."""
        return Matching(**{field.name: getattr(self, field.name) for field in fields(Matching)})

    def index(
        self, items: Iterable[EvaluationItem], background: Iterable[DocumentBatch] = ()
    ) -> EvaluationIndex:
        """Items ready to be looked for; n-grams that occur in `background` do not count."""
        return EvaluationIndex.build(self.matching, items, background)

    def read(self, paths: str | os.PathLike | Sequence[str | os.PathLike]) -> list[EvaluationItem]:
        """The items of evaluation files, directories or patterns.

        Raises
        ------
        InputError
            If a path is missing, a record cannot be read, or there is no item at all.
        """
        given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        return _read_items(self, _slices(given))

    def decontaminate(
        self,
        batches: Iterable[DocumentBatch],
        against: EvaluationIndex | str | os.PathLike | Sequence[str | os.PathLike],
    ) -> Deduplicated:
        """Decontaminate batches in memory; the same decisions as the job takes.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
        against : EvaluationIndex or paths
            What `index` made, or evaluation files.
        """
        index = against if isinstance(against, EvaluationIndex) else self.index(self.read(against))
        results = [decide(self, index, batch) for batch in batches]
        return Deduplicated(
            [result.kept for result in results],
            [result.dropped for result in results if result.dropped is not None],
            index_metrics(index),
        )

    def job(
        self,
        inputs: Sequence[Slice],
        against: str | os.PathLike | Sequence[str | os.PathLike],
        *,
        background: str | os.PathLike | Sequence[str | os.PathLike] = (),
        name: str = "contamination",
        dropped_text: DroppedText = "full",
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> ContaminationJob:
        """The work for document parts as `DocumentSink` writes them, one slice each.

        Parameters
        ----------
        inputs : sequence of Slice
        against : paths
            Evaluation files, directories or patterns.
        background : paths
            Documents known to be no contamination, in any format that can be read: what they share with
            the items does not count.
        """
        evaluation, reference = (
            (str(paths),) if isinstance(paths, (str, os.PathLike)) else tuple(str(path) for path in paths)
            for paths in (against, background)
        )
        return ContaminationJob(self, tuple(inputs), evaluation, reference, name, dropped_text, part_bytes)


@dataclass(frozen=True)
class ContaminationJob:
    """A `Decontaminator` bound to its inputs; implements `corpuskit.jobs.Job`."""

    decontaminator: Decontaminator
    inputs: tuple[Slice, ...]
    against: tuple[str, ...]
    background: tuple[str, ...] = ()
    name: str = "contamination"
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES

    phases: ClassVar[tuple[str, ...]] = ("index", "apply")

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks of a phase, given the entries of the earlier ones."""
        if phase == "index":
            evaluation = _slices(self.against)
            reference = _slices(self.background) if self.background else []
            config = _IndexConfig(self.decontaminator, len(evaluation))
            memory = evaluation_memory(sum(stored_bytes(piece) for piece in evaluation))
            return [Task(0, index_task, (*evaluation, *reference), config, memory)]
        files = [output for output in done["index"][0].outcome.outputs if output.kind.startswith("index-")]
        files += outputs_of(done["index"], "items")
        apply = _ApplyConfig(self.decontaminator, self.dropped_text, self.part_bytes)
        further = tuple(output.as_slice() for output in files)
        memory = matching_memory(sum(output.bytes for output in files))
        return [Task(i, apply_task, (piece, *further), apply, memory) for i, piece in enumerate(self.inputs)]


@dataclass(frozen=True)
class _IndexConfig:
    """The first inputs are evaluation sets, the others the background."""

    decontaminator: Decontaminator
    num_evaluation: int


@dataclass(frozen=True)
class _ApplyConfig:
    decontaminator: Decontaminator
    dropped_text: DroppedText
    part_bytes: int


def index_task(task: Task, workspace: Workspace) -> Outcome:
    """The evaluation sets as an index on disk, and what can be looked for."""
    config: _IndexConfig = task.config
    items = _read_items(config.decontaminator, task.inputs[: config.num_evaluation])
    background = _read_background(task.inputs[config.num_evaluation :])
    index = config.decontaminator.index(items, background)
    return Outcome(tuple(index.publish(workspace)), metrics=index_metrics(index))


def apply_task(task: Task, workspace: Workspace) -> Outcome:
    """Split one document part into clean and contaminated, or mark it."""
    config: _ApplyConfig = task.config
    index = EvaluationIndex.load(config.decontaminator.matching, task.inputs[1:])
    with DocumentSink(workspace, config.part_bytes, config.dropped_text) as sink:
        for number, batch in read_part(task.inputs[0], workspace, skip=sink.position or 0):
            result = decide(config.decontaminator, index, batch)
            sink.write(result.kept, [result.dropped], [], batch.num_rows, number + 1)
        return sink.close()


def decide(config: Decontaminator, index: EvaluationIndex, batch: DocumentBatch) -> StepResult:
    """Kept and dropped rows of one batch."""
    found = index.find(batch)
    if config.action == "mark":
        every = np.arange(batch.num_rows)
        return StepResult(_with_overlaps(batch, every, found, config.max_overlaps), None)
    rows = np.unique(found.column("row").to_numpy())
    if not len(rows):
        return StepResult(batch, None)
    keep = np.ones(batch.num_rows, bool)
    keep[rows] = False
    removed = _with_overlaps(batch.take(pa.array(rows)), rows, found, config.max_overlaps)
    best = pc.list_element(removed.column("contamination"), 0)
    dropped = dropped_rows(
        removed, [REASON] * len(rows), pc.struct_field(best, "score"), [config.min_share] * len(rows)
    )
    return StepResult(batch.filter(pa.array(keep)), dropped)


def index_metrics(index: EvaluationIndex) -> dict[str, int]:
    """How many items there are, and how many cannot be looked for and why."""
    checked = index.items.column("checked").to_pylist()
    return {
        "items": len(checked),
        "items_checked": checked.count("yes"),
        "items_too_short": checked.count("too short"),
        "items_too_common": checked.count("too common"),
    }


def _with_overlaps(batch: DocumentBatch, rows: np.ndarray, found: pa.Table, most: int) -> DocumentBatch:
    """`batch` with the column `contamination`; `rows` are the numbers that `found` uses."""
    row = found.column("row").to_numpy()
    starts, stops = np.searchsorted(row, rows), np.searchsorted(row, rows, side="right")
    stops = np.minimum(stops, starts + most)
    taken = [np.arange(start, stop) for start, stop in zip(starts, stops)]
    order = np.concatenate([np.empty(0, np.int64), *taken])
    entries = found.drop_columns(["row"]).take(pa.array(order)).combine_chunks()
    values = pa.StructArray.from_arrays(
        [pa.concat_arrays(entries.column(name).chunks or [pa.array([], FOUND.field(name).type)])
         for name in entries.schema.names],
        fields=list(CONTAMINATION.value_type),
    )  # fmt: skip
    offsets = np.concatenate(([0], np.cumsum(stops - starts))).astype(np.int32)
    column = pa.ListArray.from_arrays(pa.array(offsets), values, type=CONTAMINATION)
    place = batch.schema.get_field_index("contamination")
    if place >= 0:
        return batch.set_column(place, "contamination", column)
    return batch.append_column("contamination", column)


def _slices(paths: Sequence[str | os.PathLike]) -> list[Slice]:
    inputs = expand_inputs(paths)
    inputs.warn_ignored()
    return [file.as_slice() for file in inputs]


def _read_items(config: Decontaminator, files: Sequence[Slice]) -> list[EvaluationItem]:
    items = list(read_evaluation(files, config.fields, config.text_unit))
    if not items:
        raise InputError(
            "there is no evaluation item to look for",
            where=", ".join(piece.path for piece in files),
            hint="check the paths of the evaluation sets",
        )
    return items


def _read_background(files: Sequence[Slice]) -> Iterable[DocumentBatch]:
    for item in read_slices(files, ReadOptions()):
        for bad in item.quarantined:
            raise InputError(
                f"a background document cannot be read: {bad.reason}: {bad.detail}",
                where=f"{bad.path} at {bad.offset}",
                hint="repair or remove it",
            )
        if item.batch is not None:
            yield item.batch
