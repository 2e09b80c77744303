"""Repeated passages: spans of characters that occur again, anywhere in the corpus.

A window of `min_characters` characters is *repeated* where the same window begins earlier: in an earlier
document, or in this one at least `min_characters` before (so that a line of one character is not its own
copy). The characters of all repeated windows go; the first occurrence of each window is no repeat. That is
exact: every repeat of at least `min_characters` is found, and every character removed has been compared
with an earlier occurrence of it.

The whole corpus is never sorted. Anchors (`corpuskit.kernels.spans`) that occur once rule out the windows
around them, and only what is left is hashed window by window. A hash of 64 bits may lead two different
windows to the same place; the comparison of the texts then keeps them, and the report counts them
(`unverified`). Among a billion candidates that happens to one with probability 0.03.

Phases of the job, tasks by part of the documents (p) or of the hashes (h): `anchors` (p), `repeated` (h),
`windows` (p), `firsts` (h), `spans` (p), `sources` (p: the texts that spans are compared with), `verify`
(p), `cap` (one task over all spans, 350 bytes each: which documents lose too much), `apply` (p). What is held
at a time is one chunk of `chunk_bytes` of text, or one partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from corpuskit.clean.line_memory import stored_bytes
from corpuskit.dedup.apply import Deduplicated
from corpuskit.dedup.memory import (
    anchor_memory,
    cap_memory,
    comparison_memory,
    cut_memory,
    first_memory,
    repeated_memory,
    rows_of,
    source_memory,
    span_memory,
    window_memory,
)
from corpuskit.dedup.partitions import ordinals
from corpuskit.dedup.signatures import require_range
from corpuskit.dedup.span_removal import Removal, beyond_cap, decide, effective
from corpuskit.dedup.span_search import Chunk, Order, local_spans
from corpuskit.dedup.span_tasks import (
    FLUSH_ROWS,
    WINDOWS_PREFIX,
    ApplyTask,
    PartTask,
    anchors_task,
    apply_task,
    cap_task,
    firsts_task,
    repeated_task,
    sources_task,
    spans_task,
    verify_task,
    windows_task,
)
from corpuskit.documents import DocumentBatch, DroppedText
from corpuskit.errors import ConfigError
from corpuskit.jobs import Entry, Slice, Task, outputs_of
from corpuskit.partitioned import Groups
from corpuskit.parts import DEFAULT_PART_BYTES

Boundary = Literal["character", "sentence"]
Action = Literal["remove", "mark"]
Beyond = Literal["drop", "keep"]

PARTITION_BYTES = 128 << 20
"""Compressed bytes of documents for one partition of anchors: 400 MB of text, 10 million anchors."""


@dataclass(frozen=True)
class SubstringDeduplicator:
    """Finds spans of characters that occur again and removes all but the first.

    Parameters
    ----------
    min_characters : int
        Shortest repeated span, in characters as they are (white space and punctuation count).
    boundary : {"character", "sentence"}
        ``sentence`` removes only whole sentences (up to 。！？…; or a line end) inside a repeated span.
    action : {"remove", "mark"}
        ``mark`` leaves every text as it is and adds the columns `repeated_spans` and
        `repeated_characters`.
    max_fraction : float
        Share of a document's characters that may be repeated, 0 to 1.
    beyond : {"drop", "keep"}
        What becomes of documents of which more is repeated (or everything): they are dropped whole as
        ``dedup/repeated-substrings``, or kept whole. Both are counted. A passage whose first occurrence is
        dropped stays wherever else it is.
    order : {"id", "input"}
        Which occurrence is first: ``id`` orders documents by a hash of their ids, so that the result does
        not depend on the order of the files; ``input`` takes them as they come.
    chunk_bytes : int
        Text that a task holds at a time (more only for one longer document): about 20 bytes for each of
        its characters, and 50 more for each where something may be repeated.
    partition_rows : int
        Windows per partition, about; 120 bytes each.
    """

    min_characters: int = 50
    boundary: Boundary = "character"
    action: Action = "remove"
    max_fraction: float = 0.5
    beyond: Beyond = "drop"
    order: Order = "id"
    chunk_bytes: int = 32 << 20
    partition_rows: int = 1 << 23

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        require_range("min_characters", self.min_characters, 2, 1 << 20)
        require_range("max_fraction", self.max_fraction, 0, 1)
        require_range("chunk_bytes", self.chunk_bytes, 1, 1 << 30)
        require_range("partition_rows", self.partition_rows, 1, 1 << 40)
        for name, allowed in (
            ("boundary", Boundary),
            ("action", Action),
            ("beyond", Beyond),
            ("order", Order),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(
                    f"{getattr(self, name)!r} is not one of {', '.join(get_args(allowed))}", where=name
                )

    @property
    def tag(self) -> str:
        """Everything that the hashes and their order depend on, as text."""
        return f"spans-1:n{self.min_characters}:order-{self.order}"

    @property
    def removal(self) -> Removal:
        """What is done with the spans."""
        return Removal(self.boundary, self.action, self.max_fraction, self.beyond)

    def job(
        self,
        inputs: Sequence[Slice],
        *,
        name: str = "repeated-substrings",
        dropped_text: DroppedText = "full",
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> SubstringJob:
        """The work for document parts as `DocumentSink` writes them, one slice each."""
        return SubstringJob(self, tuple(inputs), name, dropped_text, part_bytes)

    def deduplicate(self, batches: Iterable[DocumentBatch]) -> Deduplicated:
        """Deduplicate batches in memory; the same characters as the job removes."""
        held = list(batches)
        chunk = Chunk.of(held, [ordinals(part, 0, batch.num_rows) for part, batch in enumerate(held)])
        spans = local_spans(chunk, self.min_characters, self.order)
        over = beyond_cap(self.removal, spans)
        spans = effective(self.removal, spans, over)
        kept, dropped = [], []
        counts: dict[str, int] = {}
        for part, batch in enumerate(held):
            numbers = ordinals(part, 0, batch.num_rows)
            result, more = decide(self.removal, batch, numbers, spans, over)
            kept.append(result.kept)
            dropped += [] if result.dropped is None else [result.dropped]
            counts = {key: counts.get(key, 0) + value for key, value in more.items()}
        return Deduplicated(kept, dropped, counts)


@dataclass(frozen=True)
class SubstringJob:
    """A `SubstringDeduplicator` bound to its inputs; implements `corpuskit.jobs.Job`."""

    deduplicator: SubstringDeduplicator
    inputs: tuple[Slice, ...]
    name: str = "repeated-substrings"
    dropped_text: DroppedText = "full"
    part_bytes: int = DEFAULT_PART_BYTES

    phases: ClassVar[tuple[str, ...]] = (
        "anchors", "repeated", "windows", "firsts", "spans", "sources", "verify", "cap", "apply",
    )  # fmt: skip

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """The tasks of a phase, given the entries of the earlier ones."""
        if not self.inputs:
            return []
        config = self.deduplicator
        parts = len(self.inputs)
        sizes = [stored_bytes(piece) for piece in self.inputs]
        search = PartTask(config.min_characters, config.order, config.tag, config.chunk_bytes, parts)

        def slices(name: str, kind: str) -> tuple[Slice, ...]:
            return tuple(output.as_slice() for output in outputs_of(done[name], kind))

        def by_part(function, task: PartTask, memory: Sequence[int], *kinds: tuple[str, str]) -> list[Task]:
            files = tuple(piece for kind in kinds for piece in slices(*kind))
            return [
                Task(i, function, (piece, *files), task, memory[i], i) for i, piece in enumerate(self.inputs)
            ]

        def with_partitions(partitions: int) -> PartTask:
            return PartTask(
                search.min_characters, search.order, search.tag, search.chunk_bytes, parts, partitions
            )

        if phase == "anchors":
            memory = [anchor_memory(size, config.min_characters) for size in sizes]
            return by_part(anchors_task, with_partitions(max(1, -(-sum(sizes) // PARTITION_BYTES))), memory)
        if phase == "repeated":
            count = done["anchors"][0].outcome.metrics["partitions"]
            files = slices("anchors", "anchors")
            need = repeated_memory(rows_of(outputs_of(done["anchors"], "anchors")), count)
            return [Task(i, repeated_task, files, search, need, i) for i in range(count)]
        if phase == "windows":
            repeated = sum(entry.outcome.metrics["repeated"] for entry in done["repeated"])
            expected = repeated * (config.min_characters // 4 + 1)
            count = max(1, -(-expected // config.partition_rows))
            memory = [
                window_memory(size, config.chunk_bytes, entry.outcome.metrics["anchors"], FLUSH_ROWS)
                for size, entry in zip(sizes, done["anchors"])
            ]
            return by_part(windows_task, with_partitions(count), memory, ("repeated", "repeated"))
        if phase == "firsts":
            count = done["windows"][0].outcome.metrics["partitions"]
            outputs = [output for entry in done["windows"] for output in entry.outcome.outputs]
            windows = [output for output in outputs if output.kind.startswith(WINDOWS_PREFIX)]
            files = tuple(output.as_slice() for output in windows)
            need = first_memory(rows_of(windows), count)
            return [Task(i, firsts_task, files, search, need, i) for i in range(count)]
        if phase == "spans":
            repeats = outputs_of(done["firsts"], "repeats")
            most = rows_of(repeats)
            memory = [span_memory(min(most, entry.outcome.metrics["windows"])) for entry in done["windows"]]
            files = tuple(output.as_slice() for output in repeats)
            return [Task(i, spans_task, files, search, memory[i], i) for i in range(parts)]
        if phase == "sources":
            requests = rows_of(outputs_of(done["spans"], "requests"))
            memory = [source_memory(size, requests) for size in sizes]
            return by_part(sources_task, search, memory, ("spans", "requests"))
        if phase == "verify":
            spans, local = outputs_of(done["spans"], "spans"), outputs_of(done["windows"], "local")
            sources = outputs_of(done["sources"], "texts")
            texts, size = slices("sources", "texts"), sum(output.bytes for output in sources)
            return [
                Task(
                    i, verify_task, (piece, spans[i].as_slice(), local[i].as_slice(), *texts), search,
                    comparison_memory(spans[i].rows, local[i].rows, size), i,
                )
                for i, piece in enumerate(self.inputs)
            ]  # fmt: skip
        apply = ApplyTask(config.removal, self.dropped_text, self.part_bytes, parts)
        verified = outputs_of(done["verify"], "verified")
        if phase == "cap":
            return [Task(0, cap_task, slices("verify", "verified"), apply, cap_memory(rows_of(verified)))]
        (beyond,) = outputs_of(done["cap"], "beyond")
        groups = Groups(parts)
        around = groups.rows_of([spans.rows for spans in verified])
        return [
            Task(
                i, apply_task, (piece, spans.as_slice(), beyond.as_slice()), apply,
                cut_memory(spans.rows, min(beyond.rows, 2 * around[i])), groups.of(i),
            )
            for i, (piece, spans) in enumerate(zip(self.inputs, verified))
        ]  # fmt: skip
