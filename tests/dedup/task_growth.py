"""Prints what tasks of deduplication need beside the process, and what was estimated, in bytes, as JSON.

    python tests/dedup/task_growth.py 400000

Each task runs on made-up inputs of the worst kind (all documents in a pair, all anchors repeated …) in a
child of its own, and its growth is that from the resident memory before it to the peak. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from corpuskit.clean import boilerplate, line_memory, linecounts
from corpuskit.clean.boilerplate import BoilerplateRemover
from corpuskit.clean.line_routing import RoutedWriter, sorted_lines
from corpuskit.clean.site_lines import Removals
from corpuskit.dedup import apply, exact, lines, memory, minhash_tasks, span_tasks, verify
from corpuskit.dedup.clusters import DECISIONS, Pairs, components
from corpuskit.dedup.exact import ExactDeduplicator
from corpuskit.dedup.lines import LineDeduplicator
from corpuskit.dedup.minhash import MinHashDeduplicator
from corpuskit.dedup.partitions import publish_partitions, publish_table
from corpuskit.dedup.span_removal import Removal
from corpuskit.dedup.span_search import SPANS
from corpuskit.jobs import Slice, Task, Workspace
from corpuskit.partitioned import Groups


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def growth(function: Callable[[], object]) -> int:
    """Peak of the resident memory of a forked child, less what it began with."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        # What the parent freed but kept would hide what the child needs.
        pa.default_memory_pool().release_unused()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = resident("VmRSS")
        function()
        os.write(write, str(resident("VmHWM") - before).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as result:
        found = result.read()
    os.waitpid(child, 0)
    return int(found)


class Cases:
    """Tasks over `size` rows; the documents of `numbers` are in one pair each."""

    def __init__(self, root: Path, size: int) -> None:
        self.root, self.size = root, size
        rng = np.random.default_rng(1)
        self.numbers = rng.permutation(size).astype(np.uint64)
        self.hashes = rng.integers(0, 2**63, size).astype(np.uint64)
        components(Pairs(self.numbers[:2], self.numbers[2:4]))  # numba and the kernel, loaded before
        self.near, self.exact = MinHashDeduplicator(), ExactDeduplicator(partitions=1)
        self.search = span_tasks.PartTask(50, "id", "tag", 1 << 25, 1)
        self.ids = pa.array([f"{i * 2654435761:032x}" for i in range(size)])

    def workspace(self, name: str) -> Workspace:
        directory = self.root / name
        directory.mkdir(exist_ok=True)
        return Workspace(directory, directory / "checkpoint", "key", "00000")

    def documents(self) -> dict:
        return {
            "ordinal": np.arange(self.size, dtype=np.uint64), "id": self.ids,
            "characters": np.full(self.size, 900), "date": pa.array(["2024-01-01"] * self.size),
            "quality": np.ones(self.size),
        }  # fmt: skip

    def table(self, columns: dict, schema: pa.Schema | None = None) -> Slice:
        return publish_table(self.workspace("in"), "table", pa.table(columns, schema=schema)).as_slice()

    def partition(self, columns: dict, tag: str) -> Slice:
        made = publish_partitions(self.workspace("in"), "partition", [pa.table(columns)], tag)
        return made.as_slice()

    def pairs(self) -> dict:
        return {"left": self.numbers[::2], "right": self.numbers[1::2]}

    def measure(self, name: str, function: Callable, config: object, *files: Slice) -> int:
        task = Task(0, function, files, config)
        return growth(lambda: function(task, self.workspace(name)))

    def run(self) -> dict[str, tuple[int, int]]:
        size, found = self.size, {}
        documents = publish_table(self.workspace("d"), "documents", pa.table(self.documents())).as_slice()
        clustering = minhash_tasks.Clustering(self.near, 0, 1)
        found["pairs"] = (
            self.measure("pairs", minhash_tasks.pairs_task, clustering, documents, self.table(self.pairs())),
            memory.pair_memory(size // 2, size, size),
        )
        measured = {**self.pairs(), "similarity": np.ones(size // 2)}
        found["clusters"] = (
            self.measure("c", minhash_tasks.clusters_task, clustering, documents, self.table(measured)),
            memory.cluster_memory(size // 2, size, size),
        )
        fours = np.repeat(self.hashes[: size // 4], 4)
        bands = {"hash": fours, "priority": self.numbers, "ordinal": np.arange(size, dtype=np.uint64)}
        context = minhash_tasks.Context(self.near, 0, False)
        found["candidates"] = (
            self.measure("b", minhash_tasks.candidates_task, context, self.partition(bands, self.near.tag)),
            memory.bucket_memory(size),
        )
        keys = {**self.documents(), "high": fours, "low": fours}
        found["decide"] = (
            self.measure(
                "e",
                exact.decide_task,
                exact.DecideConfig(self.exact, 1),
                self.partition(keys, self.exact.tag),
            ),
            memory.hash_memory(size, 1),
        )
        decisions = {
            "ordinal": np.arange(size, dtype=np.uint64), "id": self.ids, "kept_ordinal": self.numbers,
            "duplicate_of": self.ids, "cluster_size": np.full(size, 2),
            "similarity": pa.nulls(size, pa.float64()), "direct": np.ones(size, bool),
        }  # fmt: skip
        table = pa.table(decisions, schema=DECISIONS)
        (decided,) = apply.publish_decisions(self.workspace("r"), table, Groups(1), False)
        similarities = {"left": decisions["ordinal"], "right": self.numbers, "similarity": np.ones(size)}
        measured = self.partition(similarities, verify.DECIDED_TAG)
        config = apply.ApplyConfig("x", 0.7, 1)
        files = (measured, decided.as_slice(), measured)  # the first, the documents, is not looked at
        found["apply"] = (
            growth(lambda: apply.read_decisions(Task(0, apply.apply_task, files, config), 0)),
            memory.removal_memory(size, size),
        )
        found["needed"] = (
            growth(
                lambda: verify.publish_chunks(
                    self.workspace("n"), Pairs(*self.pairs().values()), np.ones(size // 2), size, 1
                )
            ),
            memory.pair_memory(size // 2, size, size),
        )
        needed = {"chunk": np.zeros(size, np.uint32), "ordinal": np.arange(size, dtype=np.uint64)}
        piece = self.partition(needed, verify._NEEDED_TAG)
        found["texts"] = (
            growth(lambda: verify._needed(piece, 0, verify.TextsConfig(0, 1))),
            memory.text_memory(0, size),
        )
        anchors = {
            "hash": self.hashes, "part": np.zeros(size, np.uint32), "several": np.ones(size, bool)
        }  # fmt: skip
        found["repeated"] = (
            self.measure("a", span_tasks.repeated_task, self.search, self.partition(anchors, "tag")),
            memory.repeated_memory(size, 1),
        )
        row = np.arange(size, dtype=np.uint64) // np.uint64(1000)
        place = (np.arange(size) % 1000 * 3).astype(np.uint32)
        twos = np.repeat(self.hashes[: size // 2], 2)
        windows = {"hash": twos, "priority": self.numbers, "ordinal": row, "place": place}
        few = {name: values[:4] for name, values in windows.items()}
        span_tasks.firsts_task(
            Task(0, span_tasks.firsts_task, (self.partition(few, "tag"),), self.search), self.workspace("f")
        )
        found["firsts"] = (
            self.measure("f", span_tasks.firsts_task, self.search, self.partition(windows, "tag")),
            memory.first_memory(size, 1),
        )
        repeats = {"ordinal": row, "place": place, "source_ordinal": self.numbers, "source_place": place}
        found["spans"] = (
            self.measure("s", span_tasks.spans_task, self.search, self.partition(repeats, "tag")),
            memory.span_memory(size),
        )
        start = np.arange(size)
        spans = {
            "ordinal": np.arange(size, dtype=np.uint64), "start": start, "stop": start + 60,
            "source_ordinal": self.numbers, "source_id": self.ids, "source_start": start,
            "priority": self.numbers, "characters": np.full(size, 900),
        }  # fmt: skip
        removal = span_tasks.ApplyTask(Removal("character", "remove", 0.5, "drop"), "full", 1 << 26, 1)
        empty = self.table({name: [] for name in SPANS.names}, SPANS)
        span_tasks.cap_task(Task(0, span_tasks.cap_task, (empty,), removal), self.workspace("cap"))
        found["cap"] = (
            self.measure("cap", span_tasks.cap_task, removal, self.table(spans, SPANS)),
            memory.cap_memory(size),
        )
        for name, sites in (("lines", self.numbers), ("shared lines", np.zeros(size, np.uint64))):
            writer = linecounts.RunWriter(self.workspace(name), 1, 1 << 40)
            writer.add(linecounts.Counts(twos, sites, np.full(size, 1)))
            (run,) = writer.close()
            decide = lines.DecideConfig(LineDeduplicator(partitions=1, memory_lines=1 << 40), 1, (0,))
            found[name] = (
                self.measure(name, lines.decide_task, decide, run.as_slice()),
                line_memory.decide_memory(run.rows, 1, 1 << 40),
            )
        remover = BoilerplateRemover(
            min_site_documents=2, min_corpus_documents=None, min_site_share=0.0, partitions=1,
            memory_lines=1 << 40,
        )  # fmt: skip
        sites = linecounts.Counts(
            np.zeros(1, np.uint64), np.ones(1, np.uint64), np.ones(1, np.int64)
        )  # fmt: skip
        sites = linecounts.publish_counts(self.workspace("b"), "sites", [sites])
        writer = linecounts.RunWriter(self.workspace("b"), 1, 1 << 40)
        writer.add(linecounts.Counts(self.hashes, np.ones(size, np.uint64), np.full(size, 2)))
        (run,) = writer.close()
        decide = boilerplate.DecideConfig(remover, size, 1, 1, (0,))
        found["boilerplate"] = (
            self.measure("b", boilerplate.decide_task, decide, sites.as_slice(), run.as_slice()),
            line_memory.decide_memory(run.rows, 1, 1 << 40, 1),
        )
        writer = RoutedWriter(self.workspace("bb"), Groups(1), (0,), 1 << 40, 0)
        of_sites = linecounts.Counts(np.sort(self.hashes), np.ones(size, np.uint64), np.ones(size, np.int64))
        writer.add(of_sites, np.zeros(size, np.int64), np.arange(size))
        decided = writer.close()[0].as_slice()
        found["apply to lines"] = (
            growth(lambda: Removals.of(sorted_lines([linecounts.read_run(decided, 0)]), of_sites)),
            line_memory.apply_memory(1 << 40, 1, size),
        )
        return found


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        found = Cases(Path(directory), int(sys.argv[1])).run()
    print(json.dumps({name: [need, given - Task.memory_bytes] for name, (need, given) in found.items()}))


if __name__ == "__main__":
    main()
