"""Exact duplicate lines and paragraphs across the corpus: the first occurrence stays, the others go.

Where `corpuskit.clean.boilerplate` removes every copy of a line that a whole site shares, this keeps one of
each: a poem, a definition or a statement that many documents quote in full is content once and weight ten
thousand times. Lines are compared as in the cleaning room: 64-bit hashes of the visible characters, full
width as half width, spacing ignored (among 10**9 distinct lines two collide with probability 0.03).

"First" is by a hash of the document's id, then by place within the document, so that the result does not
depend on the order of the files. Lines with fewer than `min_characters` visible characters are left alone:
short lines (answers, names, 谢谢！) recur by chance, and a text without them falls apart.

A document that would lose more than `max_removed_share` goes or stays whole; where it goes, a line whose
first occurrence it held is gone too.

Phases: `count` (a task per document part: for each line the first document that has it, and how often it
occurs), `decide` (a task per partition of the hashes: lines that occur again, for each part that has them),
`apply` and `report` (the lines that occurred most often, with their text). Memory: `count` holds
`memory_lines` rows of about 100 bytes and `decide` twice as many, `apply` the repeated lines of its part;
nothing grows with the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from corpuskit.clean.line_memory import apply_memory, count_memory, decide_memory, stored_bytes
from corpuskit.clean.line_routing import RoutedWriter, parts_of_runs, sorted_lines
from corpuskit.clean.linecounts import Counts, RunWriter, added_up, concat, in_steps, read_counts, read_run
from corpuskit.clean.site_lines import most_common
from corpuskit.dedup.apply import Deduplicated
from corpuskit.dedup.line_removal import (
    REASON,
    Unit,
    count_units,
    first_of,
    remove_from,
    repeated,
)
from corpuskit.dedup.partitions import damaged, read_part, require_whole
from corpuskit.dedup.signatures import require_range
from corpuskit.documents import DocumentBatch, DroppedText
from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace, outputs_of
from corpuskit.partitioned import Groups
from corpuskit.parts import DEFAULT_PART_BYTES, DocumentSink, add_counts

Beyond = Literal["drop", "keep"]

__all__ = ["REASON", "LineDeduplicator", "LineJob"]


@dataclass(frozen=True)
class LineDeduplicator:
    """Removes lines or paragraphs that occur elsewhere in the corpus.

    Parameters
    ----------
    min_characters : int
        Visible characters from which a unit may go. A Chinese sentence has about 25.
    unit : {"line", "paragraph"}
        A paragraph is what blank lines separate; it goes as a whole, where all its lines are the same.
    max_removed_share : float
        Share of a document's visible characters that may be removed, 0 to 1.
    beyond : {"drop", "keep"}
        What becomes of a document that would lose more: dropped whole (``dedup/duplicate-lines``), or
        kept whole. Both are counted.
    partitions : int
        Tasks of the `decide` phase.
    memory_lines : int
        Rows held at a time: 110 bytes each in `count`, 250 in `decide`.
    report_lines : int
        Lines in the report.
    """

    min_characters: int = 30
    unit: Unit = "line"
    max_removed_share: float = 0.5
    beyond: Beyond = "drop"
    partitions: int = 16
    memory_lines: int = 1 << 22
    report_lines: int = 100

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        require_range("min_characters", self.min_characters, 1, 1 << 30)
        require_range("max_removed_share", self.max_removed_share, 0, 1)
        require_range("partitions", self.partitions, 1, 1 << 16)
        require_range("memory_lines", self.memory_lines, 1, 1 << 40)
        require_range("report_lines", self.report_lines, 0, 1 << 20)
        for name, allowed in (("unit", Unit), ("beyond", Beyond)):
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(
                    f"{getattr(self, name)!r} is not one of {', '.join(get_args(allowed))}", where=name
                )

    def job(
        self,
        inputs: Sequence[Slice],
        *,
        name: str = "duplicate-lines",
        dropped_text: DroppedText = "full",
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> LineJob:
        """The work for document parts as `DocumentSink` writes them, one slice each."""
        return LineJob(self, tuple(inputs), name, dropped_text, part_bytes)

    def deduplicate(self, batches: Iterable[DocumentBatch]) -> Deduplicated:
        """Deduplicate batches in memory; the same lines go as in the job."""
        held = list(batches)
        counts = first_of(concat([count_units(batch, self) for batch in held]))
        again = repeated(counts)
        kept, dropped, metrics = [], [], []
        for batch in held:
            removed = remove_from(batch, again, self)
            kept.append(removed.result.kept)
            dropped += [] if removed.result.dropped is None else [removed.result.dropped]
            metrics.append(removed.counts)
        return Deduplicated(kept, dropped, add_counts(metrics))


@dataclass(frozen=True)
class LineJob:
    """A `LineDeduplicator` bound to its inputs; implements `corpuskit.jobs.Job`.

    Outputs are the kinds ``kept`` and ``dropped``, and ``report``: one line of JSON for each of the lines
    that occurred most often, with `text`, `occurrences` and `removed`. The metric ``counts`` of the `apply`
    tasks has ``lines_removed``, ``characters_removed``, ``documents_changed``, ``documents_over`` (that
    would have lost more than the limit).
    """

    deduplicator: LineDeduplicator
    inputs: tuple[Slice, ...]
    name: str = "duplicate-lines"
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES

    phases: ClassVar[tuple[str, ...]] = ("count", "decide", "apply", "report")

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks of a phase, given the entries of the earlier ones."""
        if not self.inputs:
            return []
        config = self.deduplicator
        if phase == "count":
            return [
                Task(
                    i, count_task, (piece,), config,
                    count_memory(stored_bytes(piece), config.min_characters, config.memory_lines),
                )
                for i, piece in enumerate(self.inputs)
            ]  # fmt: skip
        if phase == "decide":
            runs = tuple(output.as_slice() for output in outputs_of(done["count"], "runs"))
            rows = sum(output.rows for output in outputs_of(done["count"], "runs"))
            memory = decide_memory(rows, config.partitions, config.memory_lines)
            decide = DecideConfig(config, len(self.inputs), parts_of_runs(done["count"]))
            return [Task(i, decide_task, runs, decide, memory, i) for i in range(config.partitions)]
        common = tuple(output.as_slice() for output in outputs_of(done["decide"], "common"))
        if phase == "apply":
            decided = sum(output.rows for output in outputs_of(done["decide"], "decisions"))
            decisions = tuple(output.as_slice() for output in outputs_of(done["decide"], "decisions"))
            apply = ApplyConfig(config, self.dropped_text, self.part_bytes, len(common))
            groups = Groups(len(self.inputs))
            sizes = groups.rows_of([stored_bytes(piece) for piece in self.inputs])
            return [
                Task(
                    i, apply_task, (piece, *common, *decisions), apply,
                    apply_memory(sizes[i], config.min_characters, decided), groups.of(i),
                )
                for i, piece in enumerate(self.inputs)
            ]  # fmt: skip
        samples = tuple(output.as_slice() for output in outputs_of(done["apply"], "survey"))
        report = ReportConfig(config.report_lines, len(common))
        return [Task(0, report_task, (*common, *samples), report)]


@dataclass(frozen=True)
class DecideConfig:
    """What `decide_task` needs: document parts, and the part of each run."""

    deduplicator: LineDeduplicator
    parts: int
    part_of_run: tuple[int, ...]


@dataclass(frozen=True)
class ApplyConfig:
    """What `apply_task` needs of the job; `num_common`: files of the most common lines among the inputs."""

    deduplicator: LineDeduplicator
    dropped_text: DroppedText
    part_bytes: int
    num_common: int


@dataclass(frozen=True)
class ReportConfig:
    """What `report_task` needs: lines in the report, and how many of the inputs are the most common lines."""

    lines: int
    num_common: int


def count_task(task: Task, workspace: Workspace) -> Outcome:
    """Runs of line counts of one document part."""
    config: LineDeduplicator = task.config
    writer = RunWriter(workspace, config.partitions, config.memory_lines)
    documents = 0
    for _, batch in read_part(task.inputs[0], workspace):
        writer.add(count_units(batch, config))
        documents += batch.num_rows
    return Outcome(writer.close(), metrics={"documents": documents})


def decide_task(task: Task, workspace: Workspace) -> Outcome:
    """The lines that occur again, of one partition of the hashes, each with its first document."""
    config: DecideConfig = task.config
    deduplicator = config.deduplicator
    writer = RoutedWriter(
        workspace,
        Groups(config.parts),
        config.part_of_run,
        deduplicator.memory_lines,
        deduplicator.report_lines,
    )
    lines = 0
    runs = [_read(piece, task.index) for piece in task.inputs]
    for views in in_steps(runs, task.index, deduplicator.partitions, deduplicator.memory_lines):
        rows = concat(views)
        again = repeated(first_of(added_up(rows)))
        found, places = _places(again.line, rows.line)
        writer.add(again, writer.groups_of(views)[found], places)
        lines += len(again.line)
    return Outcome(writer.close(), metrics={"lines": lines})


def _places(lines: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of `wanted` are among `lines` (sorted, distinct), and where."""
    places = np.searchsorted(lines, wanted)
    places[places == len(lines)] = 0
    found = np.flatnonzero(lines[places] == wanted) if len(lines) else places[:0]
    return found, places[found]


def _read(piece: Slice, partition: int) -> Counts:
    try:
        return read_run(piece, partition)
    except ArtifactError as error:
        raise damaged(piece, str(error.__cause__)) from error


def apply_task(task: Task, workspace: Workspace) -> Outcome:
    """One document part without the lines that stand elsewhere."""
    config: ApplyConfig = task.config
    deduplicator = config.deduplicator
    top = np.sort(_most_common(task.inputs[1 : 1 + config.num_common], deduplicator.report_lines).line)
    decisions = task.inputs[1 + config.num_common :]
    again = sorted_lines([_read(piece, task.partition or 0) for piece in decisions])
    sample = _Sample(top)
    with DocumentSink(workspace, config.part_bytes, config.dropped_text, sample.take) as sink:
        for index, batch in read_part(task.inputs[0], workspace, skip=sink.position or 0):
            removed = remove_from(batch, again, deduplicator)
            sample.add(removed.samples(top))
            sink.write(
                removed.result.kept, [removed.result.dropped], [], batch.num_rows, index + 1, removed.counts
            )
        return sink.close()


def _most_common(files: Sequence[Slice], lines: int) -> Counts:
    """Of what the `decide` tasks found most often, what occurs most often of all."""
    for piece in files:
        require_whole(piece)
    return most_common((counts for piece in files for counts in read_counts(piece)), lines)


class _Sample:
    """Text and removals of the most common lines, as a part loses them."""

    def __init__(self, top: np.ndarray) -> None:
        self._seen: dict[str, dict[str, Any]] = {}

    def add(self, samples: Iterable[tuple[int, str, int]]) -> None:
        for line, text, removed in samples:
            seen = self._seen.setdefault(f"{line:016x}", {"text": text, "removed": 0})
            seen["removed"] += removed

    def take(self) -> dict[str, Any]:
        """What was seen since the last call."""
        seen, self._seen = self._seen, {}
        return dict(sorted(seen.items()))


def report_task(task: Task, workspace: Workspace) -> Outcome:
    """The lines that occurred most often, with their text, as JSON Lines."""
    config: ReportConfig = task.config
    top = _most_common(task.inputs[: config.num_common], config.lines)
    found: dict[int, dict[str, Any]] = {}
    for piece in task.inputs[config.num_common :]:
        with open(piece.path, encoding="utf-8") as file:
            for line in file:
                for key, seen in json.loads(line).items():
                    known = found.setdefault(int(key, 16), {"text": seen["text"], "removed": 0})
                    known["removed"] += seen["removed"]
    with (
        workspace.publish("report", suffix=".jsonl") as publication,
        publication.path.open("w", encoding="utf-8", newline="\n") as file,
    ):
        for line, occurrences in zip(top.line.tolist(), top.documents.tolist()):
            if line in found:
                row = {**found[line], "occurrences": occurrences}
                file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
                publication.rows += 1
    return Outcome((publication.output,) if publication.output is not None else ())
