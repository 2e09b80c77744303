"""Lines that a site, or the whole corpus, shares between its documents: navigation, notices, adverts.

No list knows them all, but they give themselves away by coming back: an extractor that lets the footer of a
site through lets it through on every page. What is counted is exact (64-bit hashes of whole lines, spacing
and width aside), by *documents*, so that a refrain within one is not furniture of its site; and by site, so
that a line that is common on one does not go elsewhere.

The phases: `count` (a task for each document part: hashes of its lines by site), `decide` (a task for each
partition of the hashes: which lines occur in enough documents), `apply` (a task for each document part: the
documents without them) and `report` (the lines most documents lost, with their text). Memory is bounded in
each, see `BoilerplateRemover`; the result is the same for any number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pyarrow import ipc

from corpuskit.clean.line_memory import apply_memory, count_memory, decide_memory, stored_bytes
from corpuskit.clean.line_routing import RoutedWriter, parts_of_runs, sorted_lines
from corpuskit.clean.linecounts import (
    Counts,
    RunWriter,
    added_up,
    concat,
    in_steps,
    publish_counts,
    read_counts,
    read_run,
)
from corpuskit.clean.site_lines import (
    Limits,
    Removals,
    Sample,
    count_lines,
    count_sites,
    decided_rows,
    most_common,
    parse_key,
    remove_from,
)
from corpuskit.clean.steps import require_at_least, require_shares
from corpuskit.documents import DocumentBatch, DroppedText, StepResult
from corpuskit.errors import ConfigError
from corpuskit.files import arrow_path
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace, outputs_of
from corpuskit.partitioned import Groups
from corpuskit.parts import DEFAULT_PART_BYTES, DocumentSink, read_documents


@dataclass(frozen=True)
class BoilerplateRemover:
    """Removes lines that too many documents of one site, or of the corpus, share.

    The site of a document is the host of its `url` without ``www.``, else its `source`; a document with
    neither has none and loses only what the corpus shares.

    Memory: a `count` task holds `memory_lines` rows (about 100 bytes each) and one batch, a `decide` task as
    many rows, as many that it has decided on, and 16 bytes for each site of the corpus, an `apply` task 180
    bytes for each line to be removed from its part.

    Attributes
    ----------
    min_site_documents, min_site_share : int, float
        A line goes from a site where at least so many of its documents, and at least this share of them, have
        it.
    min_corpus_documents, min_corpus_share : int or None, float
        And from the whole corpus likewise; None leaves that out.
    min_characters, max_characters : int
        Visible characters of lines that may go.
    fold_digits : bool
        Take lines that differ only in digits for one (浏览次数：1024), also dates.
    max_removed_share : float
        Of the visible characters of a document.
    over : {"drop", "keep"}
        What becomes of a document that would lose more: dropped (``clean/boilerplate``), or left as it is.
    partitions : int
        Tasks of the `decide` phase.
    memory_lines : int
    report_lines : int
        Lines in the report.

    Raises
    ------
    ConfigError
        For an impossible value.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    min_site_documents: int = 10
    min_site_share: float = 0.02
    min_corpus_documents: int | None = 1000
    min_corpus_share: float = 0.001
    min_characters: int = 2
    max_characters: int = 100
    fold_digits: bool = False
    max_removed_share: float = 0.7
    over: Literal["drop", "keep"] = "drop"
    partitions: int = 16
    memory_lines: int = 1 << 22
    report_lines: int = 200

    def __post_init__(self) -> None:
        require_at_least(self, 2, "min_site_documents")
        if self.min_corpus_documents is not None:
            require_at_least(self, 2, "min_corpus_documents")
        require_shares(self, "min_site_share", "min_corpus_share", "max_removed_share")
        require_at_least(self, 1, "min_characters", "partitions", "memory_lines")
        require_at_least(self, 0, "report_lines")
        if self.max_characters < self.min_characters:
            raise ConfigError(
                f"{self.max_characters} is less than min_characters {self.min_characters}",
                where="max_characters",
            )
        if self.over not in ("drop", "keep"):
            raise ConfigError(f"{self.over!r} is not a choice", where="over", hint="allowed: drop, keep")

    def job(
        self,
        inputs: Sequence[Slice],
        *,
        name: str = "boilerplate",
        dropped_text: DroppedText = "full",
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> BoilerplateJob:
        """The work for document parts as `DocumentSink` writes them, one slice each."""
        return BoilerplateJob(self, tuple(inputs), name, dropped_text, part_bytes)

    def remove(self, batches: Iterable[DocumentBatch]) -> list[StepResult]:
        """Do in memory what the job does: for each batch, what is kept and what is dropped."""
        held = list(batches)
        counts = added_up(concat([count_lines(batch, self) for batch in held]))
        sites = added_up(concat([count_sites(batch) for batch in held]))
        limits = Limits(self, sum(batch.num_rows for batch in held), sites)
        removals = Removals.of(limits.decide(counts), concat([]))
        return [remove_from(batch, removals, self)[0] for batch in held]


@dataclass(frozen=True)
class BoilerplateJob:
    """A `BoilerplateRemover` bound to its inputs; implements `corpuskit.jobs.Job`.

    Outputs are the kinds ``kept`` and ``dropped``, and ``report``: one line of JSON for each of the lines
    that most documents lost, with `text`, `site`, `documents` that had it and `occurrences` removed. The
    metrics of the `apply` tasks count ``lines_removed``, ``characters_removed``, ``documents_changed`` and
    ``documents_left`` (over the limit, with ``over="keep"``).
    """

    remover: BoilerplateRemover
    inputs: tuple[Slice, ...]
    name: str = "boilerplate"
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES

    phases: ClassVar[tuple[str, ...]] = ("count", "decide", "apply", "report")

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks of a phase, given the entries of the earlier ones."""
        if not self.inputs:
            return []
        if phase == "count":
            return [
                Task(i, count_task, (piece,), self.remover, self._count_memory(piece))
                for i, piece in enumerate(self.inputs)
            ]
        if phase == "decide":
            sites = outputs_of(done["count"], "sites")
            runs = outputs_of(done["count"], "runs")
            total = sum(entry.outcome.metrics["documents"] for entry in done["count"])
            inputs = tuple(output.as_slice() for output in (*sites, *runs))
            config = DecideConfig(
                self.remover, total, len(sites), len(self.inputs), parts_of_runs(done["count"])
            )
            rows, site_rows = (sum(output.rows for output in files) for files in (runs, sites))
            memory = decide_memory(rows, self.remover.partitions, self.remover.memory_lines, site_rows)
            return [Task(i, decide_task, inputs, config, memory, i) for i in range(self.remover.partitions)]
        common = tuple(output.as_slice() for output in outputs_of(done["decide"], "common"))
        if phase == "apply":
            decided = sum(output.rows for output in outputs_of(done["decide"], "decisions"))
            decisions = tuple(output.as_slice() for output in outputs_of(done["decide"], "decisions"))
            apply = ApplyConfig(self.remover, self.dropped_text, self.part_bytes, len(common))
            groups = Groups(len(self.inputs))
            sizes = groups.rows_of([stored_bytes(piece) for piece in self.inputs])
            return [
                Task(
                    i, apply_task, (piece, *common, *decisions), apply,
                    apply_memory(sizes[i], self.remover.min_characters, decided), groups.of(i),
                )
                for i, piece in enumerate(self.inputs)
            ]  # fmt: skip
        samples = tuple(output.as_slice() for output in outputs_of(done["apply"], "survey"))
        report = ReportConfig(self.remover.report_lines, len(common))
        return [Task(0, report_task, (*common, *samples), report)]

    def _count_memory(self, piece: Slice) -> int:
        return count_memory(stored_bytes(piece), self.remover.min_characters, self.remover.memory_lines)


@dataclass(frozen=True)
class DecideConfig:
    """What `decide_task` needs.

    Attributes
    ----------
    remover : BoilerplateRemover
    num_documents : int
        Of the corpus.
    num_site_files : int
        How many of the inputs are counts of sites; the others are runs.
    parts : int
        Document parts.
    part_of_run : tuple of int
    """

    remover: BoilerplateRemover
    num_documents: int
    num_site_files: int
    parts: int
    part_of_run: tuple[int, ...]


@dataclass(frozen=True)
class ApplyConfig:
    """What `apply_task` needs of the job; `num_common`: files of the most common lines among the inputs."""

    remover: BoilerplateRemover
    dropped_text: DroppedText
    part_bytes: int
    num_common: int


@dataclass(frozen=True)
class ReportConfig:
    """What `report_task` needs: lines in the report, and how many of the inputs are the most common lines."""

    lines: int
    num_common: int


def count_task(task: Task, workspace: Workspace) -> Outcome:
    """Runs of line counts, and documents by site, of one document part."""
    remover: BoilerplateRemover = task.config
    writer = RunWriter(workspace, remover.partitions, remover.memory_lines)
    sites: Counts = concat([])
    documents = 0
    for batch in _batches(task.inputs[0], workspace):
        writer.add(count_lines(batch, remover))
        sites = added_up(concat([sites, count_sites(batch)]))
        documents += batch.num_rows
    outputs = (*writer.close(), publish_counts(workspace, "sites", [sites]))
    return Outcome(outputs, metrics={"documents": documents})


def decide_task(task: Task, workspace: Workspace) -> Outcome:
    """The lines to remove, of one partition of the hashes, for the parts that have them."""
    config: DecideConfig = task.config
    remover = config.remover
    sites = concat([])
    for piece in task.inputs[: config.num_site_files]:
        sites = added_up(concat([sites, *read_counts(piece)]))
    limits = Limits(remover, config.num_documents, sites)
    runs = [read_run(piece, task.index) for piece in task.inputs[config.num_site_files :]]
    writer = RoutedWriter(
        workspace, Groups(config.parts), config.part_of_run, remover.memory_lines, remover.report_lines
    )
    lines = 0
    for views in in_steps(runs, task.index, remover.partitions, remover.memory_lines):
        rows = concat(views)
        decided = limits.decide(added_up(rows))
        found, numbers = decided_rows(decided, rows)
        writer.add(decided, writer.groups_of(views)[found], numbers)
        lines += len(decided.line)
    return Outcome(writer.close(), metrics={"lines": lines})


def apply_task(task: Task, workspace: Workspace) -> Outcome:
    """One document part without the lines to remove."""
    config: ApplyConfig = task.config
    remover = config.remover
    piece, first_decision = task.inputs[0], 1 + config.num_common
    top = most_common(_counts(task.inputs[1:first_decision]), remover.report_lines)
    decided = [read_run(decisions, task.partition or 0) for decisions in task.inputs[first_decision:]]
    removals = Removals.of(sorted_lines(decided), top)
    sample = Sample(removals)
    with DocumentSink(workspace, config.part_bytes, config.dropped_text, sample.take) as sink:
        first = sink.position or 0
        for index, batch in enumerate(_batches(piece, workspace, first), first):
            result, removed = remove_from(batch, removals, remover)
            sample.add(batch, removed)
            sink.write(result.kept, [result.dropped], [], batch.num_rows, index + 1, removed.counts)
        return sink.close()


def report_task(task: Task, workspace: Workspace) -> Outcome:
    """The lines that most documents had, with their text, as JSON Lines."""
    config: ReportConfig = task.config
    top = most_common(_counts(task.inputs[: config.num_common]), config.lines)
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for piece in task.inputs[config.num_common :]:
        with open(piece.path, encoding="utf-8") as file:
            for line in file:
                for key, seen in json.loads(line)["removed"].items():
                    known = found.setdefault(parse_key(key), {**seen, "occurrences": 0})
                    known["occurrences"] += seen["occurrences"]
    with (
        workspace.publish("report", suffix=".jsonl") as publication,
        publication.path.open("w", encoding="utf-8", newline="\n") as file,
    ):
        for line, site, documents in zip(
            *(column.tolist() for column in (top.line, top.site, top.documents))
        ):
            if (line, site) in found:
                row = {**found[line, site], "documents": documents}
                file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
                publication.rows += 1
    output = publication.output
    return Outcome((output,) if output is not None else ())


def _counts(files: Sequence[Slice]) -> Iterator[Counts]:
    for piece in files:
        yield from read_counts(piece)


def _batches(piece: Slice, workspace: Workspace, skip: int = 0) -> Iterator[DocumentBatch]:
    """The batches of a document part from number `skip` on, with progress in bytes."""
    with pa.memory_map(arrow_path(piece.path)) as source, ipc.open_file(source) as reader:
        size, num_batches = source.size(), max(1, reader.num_record_batches)
    reported = 0
    for index, batch in enumerate(read_documents(piece.path)):
        if index >= skip:
            yield batch
        done = size * (index + 1) // num_batches
        workspace.report_progress(done - reported)
        reported = done
