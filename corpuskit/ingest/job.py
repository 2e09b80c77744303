"""The ingest job: input files through any number of steps into document parts.

Steps run here, behind the reader, so that the text of a crawl is written once, already clean. A
task remembers after each part which slice it was reading and how many of its records were
consumed; killed at any moment, it goes on there and writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, get_args

import pyarrow as pa

from corpuskit.clean.cleaner import Cleaner
from corpuskit.clean.examples import SurveyOptions
from corpuskit.clean.pii import mask_text
from corpuskit.clean.survey import Survey
from corpuskit.documents import ID, TEXT, DocumentBatch, DroppedText, Quarantined, StepResult
from corpuskit.errors import ConfigError, TaskError
from corpuskit.files import content_of
from corpuskit.ingest.chunks import ReadOptions
from corpuskit.ingest.inputs import expand_inputs, plan_slices
from corpuskit.ingest.reader import Read, read_slices
from corpuskit.jobs import Entry, Outcome, Task, Workspace
from corpuskit.parts import DEFAULT_PART_BYTES, DocumentSink

Step = Callable[[DocumentBatch], StepResult]

# Some seconds of work: small enough to spread over workers, large enough to cost nothing to start.
DEFAULT_TASK_BYTES = 32 << 20

_NO_DOCUMENTS = pa.RecordBatch.from_pylist([], schema=pa.schema([ID, TEXT]))


@dataclass(frozen=True)
class IngestJob:
    """Read files, apply steps, write documents.

    Attributes
    ----------
    inputs : tuple of str
        Files, directories and patterns.
    steps : tuple of callable
        Each maps a batch to what it keeps and drops, and pickles.
    options : ReadOptions
    root : str or None
        What relative paths, and so ids, are below; by default the inputs' common parent.
    task_bytes : int
        Decompressed input size of a task, about; a compressed file is never cut.
    part_bytes : int
        Uncompressed size of an output part; after each the task can be resumed.
    dropped_text : {"full", "sample", "none"}
        How much of the dropped documents' text is stored.
    limit : int or None
        Stop after this many records (documents and quarantined ones), in the order of the files;
        the job is then one task.
    survey : SurveyOptions or None
        Measure the cleaning: each part then has a file of kind ``survey`` beside it, from which
        `corpuskit.pipeline.cleaning_report` makes its page.

    Raises
    ------
    ConfigError
        If a value is impossible.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    inputs: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    options: ReadOptions = field(default_factory=ReadOptions)
    root: str | None = None
    task_bytes: int = DEFAULT_TASK_BYTES
    part_bytes: int = DEFAULT_PART_BYTES
    dropped_text: DroppedText = "full"
    limit: int | None = None
    survey: SurveyOptions | None = None

    def __post_init__(self) -> None:
        for name in ("task_bytes", "part_bytes", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"must be at least 1, not {value}", where=name)
        if self.dropped_text not in get_args(DroppedText):
            raise ConfigError(
                f"{self.dropped_text!r} is not a policy",
                where="dropped_text",
                hint=f"one of: {', '.join(get_args(DroppedText))}",
            )
        if self.survey is not None and sum(isinstance(step, Cleaner) for step in self.steps) != 1:
            raise ConfigError(
                "there is not one cleaner to measure", where="survey", hint="give one Cleaner among the steps"
            )

    @property
    def name(self) -> str:
        return "ingest"

    @property
    def phases(self) -> tuple[str, ...]:
        return ("documents",)

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks: groups of slices, the same whatever the number of workers."""
        inputs = expand_inputs(self.inputs, self.root, self.options.format)
        inputs.warn_ignored()
        groups = plan_slices(inputs.files, self.task_bytes, self.options)
        if self.limit is not None:
            groups = [tuple(piece for group in groups for piece in group)]
        files = sorted({file for step in self.steps for file in getattr(step, "files", ())})
        config = IngestConfig(
            self.steps,
            self.options,
            self.part_bytes,
            self.dropped_text,
            self.limit,
            self._survey_options(),
            tuple((file, content_of(file)) for file in files),
        )
        return [Task(index, ingest_task, group, config) for index, group in enumerate(groups)]

    def _survey_options(self) -> SurveyOptions | None:
        """Dropped text that is not to be stored is not shown either."""
        if self.survey is None or self.dropped_text != "none":
            return self.survey
        return replace(self.survey, show_dropped=False)


@dataclass(frozen=True)
class IngestConfig:
    """What `ingest_task` needs of the job; the fields are the job's.

    `files` is what the steps read besides, with its content's checksum: a task is done again when a
    model or list has changed.
    """

    steps: tuple[Step, ...]
    options: ReadOptions
    part_bytes: int
    dropped_text: DroppedText
    limit: int | None
    survey: SurveyOptions | None
    files: tuple[tuple[str, str], ...] = ()


def ingest_task(task: Task, workspace: Workspace) -> Outcome:
    """Read the task's slices, apply the steps, write the parts."""
    config: IngestConfig = task.config
    progress = SliceProgress(task, workspace)
    survey = None if config.survey is None else Survey(config.survey)
    take = None if survey is None else survey.take
    with DocumentSink(workspace, config.part_bytes, config.dropped_text, take) as sink:
        slice_index, position, records = sink.position or (0, 0, 0)
        verdicts = StoredVerdicts(workspace)
        for item in read_slices(task.inputs, config.options, slice_index, position, verdicts):
            if config.limit is not None:
                item.cut(config.limit - records)
                if not item.records:
                    break
            records += item.records
            kept, dropped = _apply(config.steps, item.batch, survey)
            where = (item.slice_index, item.position, records)
            quarantined = _masked(config.steps, item.quarantined)
            sink.write(kept, dropped, quarantined, item.records, where, item.counts)
            progress.reached(item)
            if records == config.limit:
                break
        progress.finish()
        return sink.close({"verdicts": verdicts.listed} if verdicts.listed else None)


def _masked(steps: Sequence[Step], items: Sequence[Quarantined]) -> list[Quarantined]:
    """What the cleaner masks in text is masked in what an error quotes (addresses, lines), too."""
    for step in steps:
        if isinstance(step, Cleaner) and step.pii is not None:
            items = [replace(item, detail=mask_text(item.detail, step.pii)) for item in items]
    return list(items)


class StoredVerdicts:
    """Web pages that ended their process, kept with the task so that a resumed run decides the same."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known = workspace.load_verdicts()

    def get(self, record_id: str) -> tuple[str, str] | None:
        known = self._known.get(record_id)
        return None if known is None else (known["reason"], known["detail"])

    def add(self, record_id: str, path: str, offset: int, reason: str, detail: str) -> None:
        self._known[record_id] = {"path": path, "offset": offset, "reason": reason, "detail": detail}
        self._workspace.save_verdicts(self._known)

    @property
    def listed(self) -> list[dict[str, Any]]:
        """For the ledger entry: every verdict with its record's id."""
        return [{"id": record_id, **verdict} for record_id, verdict in sorted(self._known.items())]


def _apply(
    steps: Sequence[Step], batch: DocumentBatch | None, survey: Survey | None
) -> tuple[DocumentBatch, list[pa.RecordBatch | None]]:
    dropped: list[pa.RecordBatch | None] = []
    if batch is None:
        return _NO_DOCUMENTS, dropped
    for step in steps:
        if not batch.num_rows:
            break
        try:
            if survey is not None and isinstance(step, Cleaner):
                batch, rows = survey.run(step, batch)
            else:
                batch, rows = step(batch)
        except Exception as error:
            name = getattr(step, "__qualname__", type(step).__name__)
            raise TaskError(
                f"the step {name} failed: {type(error).__name__}: {error}",
                where=f"document {_culprit(step, batch)}",
                hint="correct the step, or remove the document; finished tasks are kept",
            ) from error
        dropped.append(rows)
    return batch, dropped


def _culprit(step: Step, batch: DocumentBatch) -> str:
    """The id of the first document that fails by itself, or the batch's range of ids."""
    ids: list[Any] = batch.column("id").to_pylist()
    for row, document in enumerate(ids):
        try:
            step(batch.slice(row, 1))
        except Exception:
            return document
    return f"{ids[0]} to {ids[-1]} (each alone passes)"


class SliceProgress:
    """Reports the bytes of slices as they are read; the sum is the task's input size."""

    def __init__(self, task: Task, workspace: Workspace) -> None:
        self._workspace = workspace
        self._total = task.input_bytes
        self._sizes = [Task(0, ingest_task, (piece,)).input_bytes for piece in task.inputs]
        self._reported = 0

    def reached(self, item: Read) -> None:
        size = self._sizes[item.slice_index]
        now = sum(self._sizes[: item.slice_index]) + min(item.consumed_bytes, size)
        self._report(now)

    def finish(self) -> None:
        self._report(self._total)

    def _report(self, now: int) -> None:
        if now > self._reported:
            self._workspace.report_progress(now - self._reported)
            self._reported = now
