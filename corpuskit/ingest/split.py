"""Documents for training, and documents held out to judge by.

A document's side follows from one number, so that it is the same whatever the order, the batches or the
workers: the document's id, which is a hash already, or with a seed or another key the XXH3-128 of the
value. The number's last nine decimal digits, read backwards, are a fraction between 0 and 1 (the radical
inverse in base 10, van der Corput 1935), and what lies below `held_out` is held out. With 0.01 those are the
numbers divisible by 100. A larger share holds out all that a smaller one does, so a held-out set can be
made larger without training documents that were judged by before.

Documents of one site or book repeat one another's phrases. Where that would make held-out text look easier
than unseen text is, a key keeps all documents of one value together; sizes then follow from which values
fall where, and with few values one side may be empty, which is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpuskit.clean.site_lines import sites_of
from corpuskit.documents import DocumentBatch, Quarantined, Tally
from corpuskit.errors import ConfigError, InputError
from corpuskit.ingest.chunks import ReadOptions
from corpuskit.ingest.job import DEFAULT_TASK_BYTES, IngestJob, SliceProgress, StoredVerdicts
from corpuskit.ingest.reader import read_slices
from corpuskit.jobs import Entry, Outcome, Task, Workspace
from corpuskit.parts import DEFAULT_PART_BYTES, DocumentSink, add_counts

TRAINING, HELD_OUT = "training", "held-out"

_DIGITS = 9
_OWN_ID = re.compile("[0-9a-f]{32}")
WITHOUT_KEY = "documents without the key"


class Sides(NamedTuple):
    """The documents of a batch by side; the order within each is the batch's."""

    training: DocumentBatch
    held_out: DocumentBatch


@dataclass(frozen=True)
class Splitter:
    """Says which documents are held out; a pure function of each document.

    Parameters
    ----------
    held_out : float
        Share that is held out, of the documents (with a key: of its values); from 1e-9 to 1 - 1e-9.
    key : str
        ``id``, or the column whose values are kept together: text, a number, a date. ``site`` is the host of
        `url` without ``www.``, else `source`, where documents have no column of that name. A document
        without a value goes by its id.
    seed : int
        Another seed is another split; from 0 to 2^64 - 1.

    Raises
    ------
    ConfigError
        If a value is impossible.

    Examples
    --------
    >>> from corpuskit.documents import document_batch
    >>> batch = document_batch([f"{number:032x}" for number in range(200)], ["天气"] * 200)
    >>> training, held_out = Splitter(0.01)(batch)
    >>> [int(document, 16) for document in held_out.column("id").to_pylist()]
    [0, 100]
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    held_out: float = 0.01
    key: str = "id"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.held_out < 1 and 0 < self._limit < 10**_DIGITS):
            raise ConfigError(
                f"must be between 0 and 1, not {self.held_out}",
                where="held_out",
                hint="0.01 holds out one document in a hundred",
            )
        if not self.key:
            raise ConfigError("there is no name", where="key", hint="give id, site or a column's name")
        if not 0 <= self.seed < 1 << 64:
            raise ConfigError(f"must be from 0 to 2^64 - 1, not {self.seed}", where="seed")

    @property
    def _limit(self) -> int:
        return round(self.held_out * 10**_DIGITS)

    def __call__(self, batch: DocumentBatch) -> Sides:
        """The documents of each side.

        Raises
        ------
        ConfigError
            If the key's column holds lists or objects.
        """
        rows = pa.array(self.rows(batch))
        return Sides(batch.filter(pc.invert(rows)), batch.filter(rows))

    def rows(self, batch: DocumentBatch) -> np.ndarray:
        """Whether each document is held out (bool)."""
        values = self.values(batch)
        ids = batch.column("id").to_pylist()
        sides: dict[str, bool] = {}
        found = np.empty(batch.num_rows, bool)
        for row, value in enumerate([None] * len(ids) if values is None else values.to_pylist()):
            if value is None:
                found[row] = self._below(self._number_of_id(ids[row]))
                continue
            if value not in sides:
                sides[value] = self._below(self._hash(value))
            found[row] = sides[value]
        return found

    def values(self, batch: DocumentBatch) -> pa.Array | None:
        """What each document goes by, as text; null where it has none, and None if the key is the id."""
        if self.key == "id":
            return None
        column = pa.nulls(batch.num_rows, pa.large_string())
        if self.key in batch.schema.names:
            given = batch.column(self.key)
            try:
                column = given.cast(pa.large_string())
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
                raise ConfigError(
                    f"the column {self.key!r} is {given.type}: no value that documents could share",
                    where="key",
                    hint="name a column of texts, numbers or dates",
                ) from error
            column = pc.if_else(pc.equal(column, ""), None, column)
        if self.key == "site":
            sites = sites_of(batch)
            column = pc.coalesce(column, pc.if_else(pc.equal(sites, ""), None, sites))
        return column

    def _number_of_id(self, document: str) -> int:
        if self.seed == 0 and _OWN_ID.fullmatch(document):
            return int(document, 16)
        return self._hash(document)

    def _hash(self, value: str) -> int:
        return xxhash.xxh3_128_intdigest(value.encode("utf-8", "surrogatepass"), seed=self.seed)

    def _below(self, number: int) -> bool:
        return int(f"{number % 10**_DIGITS:0{_DIGITS}d}"[::-1]) < self._limit


@dataclass(frozen=True)
class SplitJob:
    """Read files, and write the documents to train on and those to judge by.

    Outputs have the kinds ``training`` and ``held-out`` (and ``quarantine``), with all columns. How many
    documents and characters each side has is in `corpuskit.engine.JobResult.counts`.

    Attributes
    ----------
    inputs : tuple of str
        Files, directories and patterns.
    splitter : Splitter
    options : ReadOptions
    root : str or None
        What relative paths, and so ids, are below; by default the inputs' common parent.
    task_bytes, part_bytes : int
        As of `corpuskit.ingest.IngestJob`.

    Raises
    ------
    ConfigError
        If a value is impossible; in the end if no document has the key, or one of the sides is empty.
    InputError
        In the end, if there is no document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    inputs: tuple[str, ...]
    splitter: Splitter = field(default_factory=Splitter)
    options: ReadOptions = field(default_factory=ReadOptions)
    root: str | None = None
    task_bytes: int = DEFAULT_TASK_BYTES
    part_bytes: int = DEFAULT_PART_BYTES

    name: ClassVar[str] = "split"
    phases: ClassVar[tuple[str, ...]] = ("documents", "check")

    def __post_init__(self) -> None:
        self._reading()

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """A task for each group of slices; none to check what they found."""
        if phase == "check":
            self._check(add_counts(entry.outcome.metrics.get("counts", {}) for entry in done["documents"]))
            return []
        config = SplitConfig(self.splitter, self.options, self.part_bytes)
        return [
            replace(task, function=split_task, config=config)
            for task in self._reading().plan("documents", {})
        ]

    def _reading(self) -> IngestJob:
        return IngestJob(
            self.inputs, options=self.options, root=self.root, task_bytes=self.task_bytes,
            part_bytes=self.part_bytes,
        )  # fmt: skip

    def _check(self, counts: Mapping[str, int]) -> None:
        sides = {side: counts.get(f"{side} documents", 0) for side in (TRAINING, HELD_OUT)}
        total = sum(sides.values())
        if not total:
            raise InputError("there is no document to split", where=", ".join(self.inputs))
        if self.splitter.key != "id" and counts.get(WITHOUT_KEY, 0) == total:
            raise ConfigError(
                f"no document has a value in {self.splitter.key!r}",
                where="key",
                hint="name a column of the documents, or site, or leave it out to go by ids",
            )
        for side, documents in sides.items():
            if not documents:
                of = "documents" if self.splitter.key == "id" else f"values of {self.splitter.key!r}"
                raise ConfigError(
                    f"no document is {side.replace('-', ' ')}: there are too few {of} for a share of "
                    f"{self.splitter.held_out} ({total:,} documents in all)",
                    where="held_out",
                    hint="choose another share, seed or key",
                )


@dataclass(frozen=True)
class SplitConfig:
    """What `split_task` needs of the job; the fields are the job's."""

    splitter: Splitter
    options: ReadOptions
    part_bytes: int


def split_task(task: Task, workspace: Workspace) -> Outcome:
    """Read the task's slices, write each document to its side."""
    config: SplitConfig = task.config
    progress = SliceProgress(task, workspace)
    sink = _SplitSink(workspace, config.part_bytes)
    with sink:
        slice_index, position = sink.position or (0, 0)
        verdicts = StoredVerdicts(workspace)
        for item in read_slices(task.inputs, config.options, slice_index, position, verdicts):
            where = item.slice_index, item.position
            sides, counts = _split(config.splitter, item.batch)
            sink.write_sides(sides, item.quarantined, item.records, where, {**item.counts, **counts})
            progress.reached(item)
        progress.finish()
        return sink.close({"verdicts": verdicts.listed} if verdicts.listed else None)


class _SplitSink(DocumentSink):
    """Kept documents go to a file of their side."""

    def write_sides(
        self,
        sides: Mapping[str, DocumentBatch],
        quarantined: Sequence[Quarantined],
        documents_in: int,
        position: tuple[int, int],
        counts: Mapping[str, int],
    ) -> None:
        written = 0
        for kind, batch in sides.items():
            if batch.num_rows:
                self._arrow_part(kind, batch.schema).write(batch)
                self._size += batch.nbytes
                written += batch.num_rows
        self._tally += Tally(written, written)
        self.write(_NO_DOCUMENTS, [], quarantined, documents_in - written, position, counts)


_NO_DOCUMENTS = pa.RecordBatch.from_pylist([], schema=pa.schema([]))


def _split(
    splitter: Splitter, batch: DocumentBatch | None
) -> tuple[dict[str, DocumentBatch], dict[str, int]]:
    """The sides by their kinds, and what is counted on them."""
    if batch is None:
        return {}, {}
    sides = dict(zip((TRAINING, HELD_OUT), splitter(batch), strict=True))
    counts = {}
    for kind, documents in sides.items():
        counts[f"{kind} documents"] = documents.num_rows
        counts[f"{kind} characters"] = pc.sum(pc.utf8_length(documents.column("text"))).as_py() or 0
    values = splitter.values(batch)
    if values is not None:
        counts[WITHOUT_KEY] = values.null_count
    return sides, counts
