"""The tasks of the job that finds repeated spans; what each phase is for is in `substrings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from corpuskit.dedup.partitions import (
    ordinals,
    part_of,
    partition_of,
    publish_partitions,
    publish_table,
    read_part,
    read_partition,
    read_table,
    row_of,
)
from corpuskit.dedup.shingles import character_counts, text_buffers
from corpuskit.dedup.span_removal import Removal, beyond_by_group, beyond_cap, decide, effective
from corpuskit.dedup.span_search import (
    SPANS,
    Order,
    anchor_width,
    chunks,
    equal_stretches,
    first_sources,
    merge_windows,
    priorities,
    search,
    sort_spans,
)
from corpuskit.documents import DocumentBatch, DroppedText
from corpuskit.jobs import Outcome, Output, Task, Workspace
from corpuskit.partitioned import Groups
from corpuskit.parts import DocumentSink

WINDOWS_PREFIX = "windows-"
"""A task that finds many windows writes several files, a kind each."""

FLUSH_ROWS = 1 << 22
"""Windows that a task collects before it writes them, 28 bytes each."""

_BEYOND_TAG = "beyond-1"

_WINDOWS = ("hash", "priority", "ordinal", "place")


@dataclass(frozen=True)
class PartTask:
    """What the tasks before `apply` need to know.

    Attributes
    ----------
    min_characters : int
    order : {"id", "input"}
    tag : str
        See `SubstringDeduplicator.tag`.
    chunk_bytes : int
    parts : int
        Document parts.
    partitions : int
        Partitions of the hashes that the task writes.
    """

    min_characters: int
    order: Order
    tag: str
    chunk_bytes: int
    parts: int
    partitions: int = 1


@dataclass(frozen=True)
class ApplyTask:
    """What `cap_task` and `apply_task` need to know; `parts`: document parts."""

    removal: Removal
    dropped_text: DroppedText
    part_bytes: int
    parts: int


def anchors_task(task: Task, workspace: Workspace) -> Outcome:
    """The distinct anchors of one document part, and which of them it has more than once."""
    from corpuskit.kernels import spans as kernel

    config: PartTask = task.config
    n = config.min_characters
    seen: list[np.ndarray] = [np.empty(0, np.uint64)]
    again: list[np.ndarray] = [np.empty(0, np.uint64)]
    for _, batch in read_part(task.inputs[0], workspace, ["text"]):
        data, offsets = text_buffers(batch.column("text"))
        characters = character_counts(batch.column("text"))
        out = np.empty(int(characters.sum()), np.uint64)
        found = kernel.anchor_hashes(data, offsets, characters, n, anchor_width(n), out)
        distinct, counts = np.unique(out[:found], return_counts=True)
        seen.append(distinct)
        again.append(distinct[counts > 1])
    values, counts = np.unique(np.concatenate(seen), return_counts=True)
    several = np.union1d(values[counts > 1], np.concatenate(again))
    table = pa.table(
        {
            "hash": values,
            "part": np.full(len(values), task.index, np.uint32),
            "several": np.isin(values, several, assume_unique=True),
        }
    )
    output = publish_partitions(workspace, "anchors", _split(table, values, config.partitions), config.tag)
    return Outcome((output,), metrics={"anchors": len(values), "partitions": config.partitions})


def repeated_task(task: Task, workspace: Workspace) -> Outcome:
    """The anchors of one partition that occur more than once in the corpus, by part."""
    config: PartTask = task.config
    table = read_partition(task.inputs, task.index, config.tag)
    values, part = table.column("hash").to_numpy(), table.column("part").to_numpy()
    several = table.column("several").to_numpy()
    order = np.argsort(values, kind="stable")
    values, part, several = values[order], part[order], several[order]
    same = values[1:] == values[:-1]
    several[1:] |= same
    several[:-1] |= same
    values, part = values[several], part[several]
    by_part = np.argsort(part, kind="stable")
    bounds = np.searchsorted(part[by_part], np.arange(config.parts + 1))
    tables = [pa.table({"hash": values[by_part[start:stop]]}) for start, stop in pairwise(bounds)]
    output = publish_partitions(workspace, "repeated", tables, config.tag)
    return Outcome((output,), metrics={"repeated": len(values)})


def windows_task(task: Task, workspace: Workspace) -> Outcome:
    """Spans repeated within a chunk of one part, and the windows that may be repeated elsewhere."""
    from corpuskit.kernels import spans as kernel

    config: PartTask = task.config
    anchors = read_partition(task.inputs[1:], task.index, config.tag).column("hash").to_numpy()
    repeated = kernel.make_set(anchors)
    local = [SPANS.empty_table()]
    outputs: list[Output] = []
    held: list[pa.Table] = [_windows_table()]
    rows = total = 0

    def flush() -> None:
        nonlocal held, rows
        table = pa.concat_tables(held)
        partitions = _split(table, table.column("hash").to_numpy(), config.partitions)
        kind = f"{WINDOWS_PREFIX}{len(outputs):03d}"
        outputs.append(publish_partitions(workspace, kind, partitions, config.tag))
        held, rows = [_windows_table()], 0

    for chunk in chunks(_numbered(task, workspace, ["id", "text"]), config.chunk_bytes):
        priority = chunk.priorities(config.order)
        spans, windows = search(chunk, config.min_characters, priority, repeated)
        local.append(spans)
        total += len(windows.hashes)
        for start in range(0, len(windows.hashes), FLUSH_ROWS):
            hashes, texts, places = (column[start : start + FLUSH_ROWS] for column in windows)
            held.append(
                _windows_table(hashes, priority[texts], chunk.ordinals[texts], places.astype(np.uint32))
            )
            rows += len(hashes)
            if rows >= FLUSH_ROWS:
                flush()
    flush()
    outputs.append(publish_table(workspace, "local", pa.concat_tables(local)))
    return Outcome(tuple(outputs), metrics={"windows": total, "partitions": config.partitions})


def firsts_task(task: Task, workspace: Workspace) -> Outcome:
    """Among the windows of one partition, those that occur earlier, by part, with the first occurrence."""
    from corpuskit.kernels import spans as kernel

    config: PartTask = task.config
    table = read_partition(task.inputs, task.index, config.tag)
    hashes, priority, ordinal, place = (table.column(name).to_numpy() for name in _WINDOWS)
    out = np.empty((len(hashes), 2), np.int64)
    order = np.argsort(hashes)
    found = kernel.later_windows(hashes, order, priority, ordinal, place, config.min_characters, out)
    later, first = out[:found].T
    by_place = np.lexsort((place[later], ordinal[later]))
    later, first = later[by_place], first[by_place]
    bounds = np.searchsorted(part_of(ordinal[later]), np.arange(config.parts + 1))
    columns = {
        "ordinal": ordinal[later],
        "place": place[later],
        "source_ordinal": ordinal[first],
        "source_place": place[first],
    }
    tables = [
        pa.table({name: values[start:stop] for name, values in columns.items()})
        for start, stop in pairwise(bounds)
    ]
    output = publish_partitions(workspace, "repeats", tables, config.tag)
    return Outcome((output,), metrics={"repeated_windows": found})


def spans_task(task: Task, workspace: Workspace) -> Outcome:
    """The spans of one part whose sources lie elsewhere, and what must be read to compare them."""
    config: PartTask = task.config
    table = read_partition(task.inputs, task.index, config.tag)
    names = ("ordinal", "place", "source_ordinal", "source_place")
    merged = merge_windows(config.min_characters, *(table.column(name).to_numpy() for name in names))
    request = {
        "ordinal": merged["source_ordinal"],
        "start": merged["source_start"],
        "length": merged["stop"] - merged["start"],
    }
    needed = pa.table(request).group_by(["ordinal", "start", "length"]).aggregate([])
    needed = needed.sort_by([("ordinal", "ascending"), ("start", "ascending"), ("length", "ascending")])
    needed = needed.append_column("part", pa.array(np.full(needed.num_rows, task.index, np.int64)))
    bounds = np.searchsorted(part_of(needed.column("ordinal").to_numpy()), np.arange(config.parts + 1))
    tables = [needed.slice(start, stop - start) for start, stop in pairwise(bounds)]
    outputs = (
        publish_table(workspace, "spans", pa.table(merged)),
        publish_partitions(workspace, "requests", tables, config.tag),
    )
    return Outcome(outputs, metrics={"spans": len(merged["start"])})


def sources_task(task: Task, workspace: Workspace) -> Outcome:
    """The texts of one part that spans of other parts are compared with, by part of the span."""
    config: PartTask = task.config
    needed = read_partition(task.inputs[1:], task.index, config.tag).sort_by("ordinal")
    rows = row_of(needed.column("ordinal").to_numpy())
    starts, lengths = needed.column("start").to_numpy(), needed.column("length").to_numpy()
    texts: list[str] = []
    ids: list[str] = []
    for numbers, batch in _numbered(task, workspace, ["id", "text"]):
        first = int(row_of(numbers[:1])[0]) if len(numbers) else 0
        begin, end = np.searchsorted(rows, [first, first + batch.num_rows])
        row, text, name = -1, "", ""
        for request in range(begin, end):
            if rows[request] != row:
                row = rows[request]
                text = batch.column("text")[int(row - first)].as_py() or ""
                name = batch.column("id")[int(row - first)].as_py()
            texts.append(text[starts[request] : starts[request] + lengths[request]])
            ids.append(name)
    columns = {"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.large_string())}
    table = pa.table({**{name: needed.column(name) for name in needed.column_names}, **columns})
    order = np.argsort(needed.column("part").to_numpy(), kind="stable")
    table = table.take(pa.array(order))
    bounds = np.searchsorted(table.column("part").to_numpy(), np.arange(config.parts + 1))
    tables = [table.slice(start, stop - start) for start, stop in pairwise(bounds)]
    return Outcome((publish_partitions(workspace, "texts", tables, config.tag, "zstd"),))


def verify_task(task: Task, workspace: Workspace) -> Outcome:
    """All spans of one part: those of other parts compared with their sources, and the local ones."""
    config: PartTask = task.config
    spans, local = read_table(task.inputs[1]), read_table(task.inputs[2])
    sources = {
        (row["ordinal"], row["start"], row["length"]): (row["id"], row["text"])
        for batch in read_partition(task.inputs[3:], task.index, config.tag).to_batches()
        for row in batch.to_pylist()
    }
    rows = row_of(spans.column("ordinal").to_numpy())
    verified: list[dict] = []
    unverified = 0
    for numbers, batch in _numbered(task, workspace, ["id", "text"]):
        first = int(row_of(numbers[:1])[0]) if len(numbers) else 0
        begin, end = np.searchsorted(rows, [first, first + batch.num_rows])
        priority = priorities(batch.column("id"), numbers, config.order) if begin < end else numbers
        row, text = -1, ""
        for span in spans.slice(begin, end - begin).to_pylist():
            here = (span["ordinal"] & 0xFFFFFFFF) - first
            if here != row:
                row, text = here, batch.column("text")[here].as_py()
            start, stop = span["start"], span["stop"]
            source_id, source = sources[span["source_ordinal"], span["source_start"], stop - start]
            stretches = equal_stretches(text[start:stop], source, config.min_characters)
            unverified += stretches != [(0, stop - start)]
            for left, right in stretches:
                moved = {"start": start + left, "stop": start + right}
                verified.append(
                    {
                        **span, **moved, "source_id": source_id,
                        "source_start": span["source_start"] + left,
                        "priority": int(priority[here]), "characters": len(text),
                    }
                )  # fmt: skip
    table = pa.concat_tables([local, pa.Table.from_pylist(verified, schema=SPANS)])
    output = publish_table(workspace, "verified", first_sources(sort_spans(table)))
    return Outcome((output,), metrics={"spans": table.num_rows, "unverified": unverified})


def cap_task(task: Task, workspace: Workspace) -> Outcome:
    """The documents of the whole corpus that are repeated beyond the cap."""
    config: ApplyTask = task.config
    tables = [read_table(piece).drop_columns(["source_id", "source_start"]) for piece in task.inputs]
    spans = pa.concat_tables(tables)
    over = beyond_cap(config.removal, spans)
    split_up = beyond_by_group(config.removal, spans, over, Groups(config.parts))
    output = publish_partitions(workspace, "beyond", split_up, _BEYOND_TAG, "zstd")
    return Outcome((output,), metrics={"beyond": len(over)})


def apply_task(task: Task, workspace: Workspace) -> Outcome:
    """Take the spans out of the documents of one part, or mark them."""
    config: ApplyTask = task.config
    over = read_partition(task.inputs[2:], task.partition or 0, _BEYOND_TAG).column("ordinal").to_numpy()
    spans = effective(config.removal, read_table(task.inputs[1]), over)
    with DocumentSink(workspace, config.part_bytes, config.dropped_text) as sink:
        next_batch, first_row = sink.position or (0, 0)
        for index, batch in read_part(task.inputs[0], workspace, skip=next_batch):
            numbers = ordinals(task.index, first_row, batch.num_rows)
            result, counts = decide(config.removal, batch, numbers, spans, over)
            first_row += batch.num_rows
            position = [index + 1, first_row]
            sink.write(result.kept, [result.dropped], [], batch.num_rows, position, counts)
        return sink.close()


def _numbered(
    task: Task, workspace: Workspace, columns: Sequence[str]
) -> Iterator[tuple[np.ndarray, DocumentBatch]]:
    """The batches of the task's document part, with the ordinals of their documents."""
    first_row = 0
    for _, batch in read_part(task.inputs[0], workspace, columns):
        yield ordinals(task.index, first_row, batch.num_rows), batch
        first_row += batch.num_rows


def _windows_table(*columns: np.ndarray) -> pa.Table:
    types = (np.uint64, np.uint64, np.uint64, np.uint32)
    return pa.table(dict(zip(_WINDOWS, columns or [np.empty(0, kind) for kind in types])))


def _split(table: pa.Table, hashes: np.ndarray, partitions: int) -> list[pa.Table]:
    """The rows of each partition of the hashes, in order."""
    if partitions == 1:
        return [table]
    partition = partition_of(hashes, partitions)
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(partitions + 1))
    return [table.take(pa.array(order[start:stop])) for start, stop in pairwise(bounds)]
