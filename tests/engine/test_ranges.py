"""Shuffles through an object store: each node fetches what its tasks read, and the store sends it once."""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc

pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from objectserver import FAULTS, ObjectServer  # noqa: E402

from corpuskit import partitioned  # noqa: E402
from corpuskit.clean.boilerplate import BoilerplateRemover  # noqa: E402
from corpuskit.dedup.exact import ExactDeduplicator  # noqa: E402
from corpuskit.dedup.lines import LineDeduplicator  # noqa: E402
from corpuskit.dedup.minhash import MinHashDeduplicator  # noqa: E402
from corpuskit.dedup.substrings import SubstringDeduplicator  # noqa: E402
from corpuskit.documents import document_batch  # noqa: E402
from corpuskit.engine import run, staging  # noqa: E402
from corpuskit.engine.places import Stored  # noqa: E402
from corpuskit.errors import ArtifactError, ConfigError  # noqa: E402
from corpuskit.files import checksum  # noqa: E402
from corpuskit.jobs import Outcome, Slice, Task, Workspace, outputs_of  # noqa: E402

FILES, PARTITIONS, ROWS = 5, 7, 900


@dataclass
class Nodes:
    """An engine of several nodes with a scratch each, that take the tasks in turn; counts what they read."""

    server: ObjectServer
    count: int = 1
    read: dict[str, int] = field(default_factory=dict)
    gets: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def session(self):
        yield self

    def run(self, calls, report_progress):
        for number, call in enumerate(calls):
            phase = call.label.split("/")[1]
            node = replace(call.store, scratch=f"{call.store.scratch}-{number % self.count}-of-{self.count}")
            before = self.server.bytes_sent, self.server.requests.get("GET", 0)
            outcome = replace(call, store=node).execute(report_progress)
            self.read[phase] = self.read.get(phase, 0) + self.server.bytes_sent - before[0]
            self.gets[phase] = self.gets.get(phase, 0) + self.server.requests["GET"] - before[1]
            yield call, outcome


def split(task: Task, workspace: Workspace) -> Outcome:
    """A file of random numbers, partition by partition, and one that is not partitioned."""
    rng = np.random.default_rng(task.index)
    schema = pa.schema([("n", pa.int64())])
    with (
        workspace.publish("split") as publication,
        pa.OSFile(str(publication.path), "wb") as sink,
        ipc.new_file(sink, schema) as writer,
    ):
        for _ in range(PARTITIONS):
            numbers = pa.array(rng.integers(0, 1 << 62, ROWS))
            partitioned.write_batch(writer, pa.RecordBatch.from_arrays([numbers], schema=schema))
        publication.batches = PARTITIONS
    with workspace.publish("whole", suffix=".txt") as other:
        other.path.write_text(task.name)
    return Outcome((publication.output, other.output))


def gather(task: Task, workspace: Workspace) -> Outcome:
    """The sum of one partition of every file, and what stood in the other one."""
    *files, other = task.inputs
    total = sum(
        int(partitioned.read_batch(piece.path, task.partition).column("n").to_numpy().sum())
        for piece in files
    )
    held = sum(Path(piece.path).stat().st_blocks * 512 for piece in files)
    return Outcome((), metrics={"sum": total, "text": Path(other.path).read_text(), "held": held})


@dataclass(frozen=True)
class Shuffle:
    name = "shuffle"
    phases = ("split", "gather")

    def plan(self, phase, done):
        if phase == "split":
            return [Task(i, split, ()) for i in range(FILES)]
        pieces = tuple(output.as_slice() for output in outputs_of(done["split"], "split"))
        other = outputs_of(done["split"], "whole")[0].as_slice()
        return [Task(p, gather, (*pieces, other), partition=p) for p in range(PARTITIONS)]


def sums(result) -> list[int]:
    return [entry.outcome.metrics["sum"] for entry in result.entries["gather"]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return sums(run(Shuffle(), tmp_path_factory.mktemp("disk")))


def place(store) -> Stored:
    return Stored(store, "work")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_network_moves_a_shuffle_once_however_many_nodes_there_are(
    server, store, expected, count, monkeypatch
):
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)
    nodes = Nodes(server, count)
    result = run(Shuffle(), place(store), engine=nodes)
    assert sums(result) == expected
    sizes = [output.bytes for output in result.outputs("split")]
    footers = count * FILES * partitioned.footer_bytes(PARTITIONS, max(sizes))
    ranges = FILES * PARTITIONS * ROWS * 8
    assert ranges <= nodes.read["gather"] <= sum(sizes) + footers + count * 5
    # One for each range, and on each node one for each footer and for the file that is read whole.
    assert nodes.gets["gather"] == FILES * PARTITIONS + count * (FILES + 1)
    assert {e.outcome.metrics["text"] for e in result.entries["gather"]} == {"00000"}
    held = max(entry.outcome.metrics["held"] for entry in result.entries["gather"])
    assert held < 2 * FILES * (ROWS * 8 + 4096)  # one partition of each


def test_small_files_are_fetched_whole_and_once_a_node(server, store, expected):
    nodes = Nodes(server, 2)
    result = run(Shuffle(), place(store), engine=nodes)
    assert sums(result) == expected
    assert nodes.gets["gather"] == 2 * (FILES + 1)
    assert max(output.bytes for output in result.outputs("split")) <= staging._WHOLE_BYTES


def test_on_a_disk_the_keys_know_the_partition(tmp_path, store, expected):
    one, other = (run(Shuffle(), where) for where in (tmp_path, place(store)))
    assert [e.key for e in one.entries["gather"]] == [e.key for e in other.entries["gather"]]
    assert len({e.key for e in one.entries["gather"]}) == PARTITIONS
    (task, *_) = Shuffle().plan("gather", one.entries)
    (whole,) = [piece.size_bytes for piece in task.inputs if not piece.batches]
    files = [output.bytes // PARTITIONS for output in one.outputs("split")]
    assert task.input_bytes == sum(files) + whole


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_the_store_do_not_change_what_a_range_gives(server, store, expected, kind, monkeypatch):
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)

    class Faulty(Nodes):
        def run(self, calls, report_progress):
            if "gather" in calls[0].label:
                server.misbehave(*[kind] * 3)
            yield from super().run(calls, report_progress)

    assert sums(run(Shuffle(), place(store), engine=Faulty(server))) == expected


def damage(store, output, at: int) -> None:
    data = bytearray(store.read(store.key(output.path)))
    data[at] ^= 1
    store.write(store.key(output.path), bytes(data))


def test_a_range_that_is_not_what_was_written_is_read_again_and_then_an_error(
    server, store, monkeypatch, tmp_path
):
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)
    result = run(Shuffle(), place(store), engine=Nodes(server))
    output = result.outputs("split")[2]
    data = store.read(store.key(output.path))
    footer = partitioned.parse_footer(data, len(data))
    start, length = footer.range(3)
    damage(store, output, start + length - 1)
    for task in range(PARTITIONS):
        store.delete(f"work/ledger/shuffle/gather/{task:05d}.json")
    weak = replace(store, attempts=2, scratch=str(tmp_path / "other"))
    before = server.requests["GET"]
    with pytest.raises(ArtifactError, match=r"00002-0000\.arrow: .*partition 3 has changed"):
        run(Shuffle(), place(weak), engine=Nodes(server))
    assert server.requests["GET"] > before + 3 * FILES
    mended = run(Shuffle(), place(weak), engine=Nodes(server), verify=True)
    assert sums(mended) == sums(result)


@pytest.mark.parametrize("wrong", [b"no arrow at all" * 100, b"x" * 3000 + b"\xff\xff\xff\x7fARROW1", None])
def test_an_object_that_is_no_such_file_is_an_error(server, store, wrong, monkeypatch, tmp_path):
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)
    result = run(Shuffle(), place(store), engine=Nodes(server))
    output = result.outputs("split")[1]
    piece = output.as_slice()
    if wrong is None:
        piece = replace(piece, batches=PARTITIONS + 1)
    else:
        store.write(store.key(output.path), wrong)
        piece = replace(piece, size_bytes=len(wrong))
    cache = staging.NodeCache(replace(store, attempts=2, scratch=str(tmp_path / "new")))
    with pytest.raises(ArtifactError, match=r"00001-0000\.arrow: the object is not as it was written"):
        cache.fetch_batch(store.key(output.path), piece, 0, tmp_path / "target" / "x.arrow")


def test_a_kept_footer_that_was_damaged_is_fetched_again(server, store, expected, monkeypatch):
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)
    run(Shuffle(), place(store), engine=Nodes(server))
    kept = sorted(Path(f"{store.scratch}-0-of-1").rglob("*.footer"))
    assert len(kept) == FILES
    for number, path in enumerate(kept):
        data = bytearray(path.read_bytes())
        if number == 0:
            path.write_bytes(b"")
        else:
            data[-10 - number * 20] ^= 1
            path.write_bytes(data)
    for task in range(PARTITIONS):
        store.delete(f"work/ledger/shuffle/gather/{task:05d}.json")
    quick = replace(store, attempts=2)
    assert sums(run(Shuffle(), place(quick), engine=Nodes(server))) == expected


def test_a_footer_longer_than_usual_takes_one_request_more(server, store, expected, monkeypatch):
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)
    monkeypatch.setattr(partitioned, "_SCHEMA_BYTES", 10)
    nodes = Nodes(server)
    assert sums(run(Shuffle(), place(store), engine=nodes)) == expected
    assert nodes.gets["gather"] == FILES * PARTITIONS + 2 * FILES + 1


def test_footers_are_given_up_like_files(server, store, expected, monkeypatch):
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)
    tight = replace(store, scratch_bytes=3000)
    assert sums(run(Shuffle(), place(tight), engine=Nodes(server))) == expected
    kept = [p for p in Path(f"{store.scratch}-0-of-1").rglob("objects/*") if p.suffix != ".lock"]
    assert sum(path.stat().st_size for path in kept) <= 3000


def test_a_scratch_is_named_by_the_variables_of_its_node(store, monkeypatch, tmp_path):
    named = replace(store, scratch="$NODE_DISK/corpuskit")
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "a"))
    assert named.scratch_path.parent == tmp_path / "a" / "corpuskit"
    monkeypatch.delenv("NODE_DISK")
    with pytest.raises(ConfigError, match="NODE_DISK is not set"):
        _ = named.scratch_path


def corpus(directory: Path, parts: int, documents: int) -> tuple[Slice, ...]:
    """Parts of short articles with a footer, a third of which stand twice, and a third almost."""
    rng = random.Random(5)

    def text() -> str:
        return "".join(chr(rng.randrange(0x4E00, 0x4E00 + 2500)) for _ in range(90))

    lines = [text()[:40] for _ in range(30)]
    texts = []
    while len(texts) < parts * documents:
        one = f"{text()}\n{rng.choice(lines)}\n{text()}\n版权所有，转载请注明出处和链接"
        texts.append(one)
        if rng.random() < 0.3:
            texts.append(one)
        if rng.random() < 0.3:
            texts.append(one.replace(one[20], "改"))
    rng.shuffle(texts)
    made = []
    directory.mkdir()
    for part in range(parts):
        path = directory / f"{part}.arrow"
        here = texts[part * documents : (part + 1) * documents]
        ids = [f"{part}-{row}" for row in range(len(here))]
        batch = document_batch(
            ids, here, {"url": [f"http://s{row % 5}.org/{row}" for row in range(len(here))]}
        )
        options = ipc.IpcWriteOptions(compression="zstd")
        with ipc.new_file(str(path), batch.schema, options=options) as writer:
            writer.write_batch(batch)
        made.append(Slice(str(path), relative_path=path.name, identity=checksum(path)))
    return tuple(made)


JOBS = {
    "exact": ExactDeduplicator(cluster_columns=True, partitions=2),
    "near": MinHashDeduplicator(bands=6, cluster_columns=True, chunk_characters=10_000),
    "unmeasured": MinHashDeduplicator(bands=6, verify_threshold=None, chunk_characters=10_000),
    "lines": LineDeduplicator(partitions=2, max_removed_share=0.9),
    "substrings": SubstringDeduplicator(min_characters=30),
    "boilerplate": BoilerplateRemover(min_site_documents=3, partitions=2),
}
SHUFFLES = {
    "exact": {"decide": "hashes"},
    "near": {"candidates": "bands", "texts": "needed", "verify": "texts"},
    "unmeasured": {"candidates": "bands", "more-texts": "needed", "compare": "texts"},
    "lines": {"decide": "runs"},
    "substrings": {"repeated": "anchors", "firsts": "windows-000", "spans": "repeats", "sources": "requests"},
    "boilerplate": {"decide": "runs"},
}
DECIDED = ("decisions", "clusters", "similarities", "beyond")
WHOLE = ("common", "verified", "pairs", "sites", "spans", "local")


@pytest.mark.parametrize("name", [
    *("exact", "near", "lines"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("unmeasured", "substrings", "boilerplate")),
])  # fmt: skip
def test_every_deduplication_reads_its_shuffle_and_its_decisions_once(
    server, store, tmp_path, name, monkeypatch
):
    """As on a disk, byte for byte; and two nodes read the bytes that one reads, but for footers."""
    monkeypatch.setattr(staging, "_WHOLE_BYTES", 0)
    parts = corpus(tmp_path / "parts", 4, 40)
    job = JOBS[name].job(parts, name=name)
    on_disk = run(job, tmp_path / "disk")
    read = {}
    for count in (1, 2):
        nodes = Nodes(server, count)
        stored = run(job, Stored(store, f"work-{count}"), engine=nodes)
        read[count] = nodes.read
        for kind in ("kept", "dropped", "report"):
            assert [o.checksum for o in stored.outputs(kind)] == [o.checksum for o in on_disk.outputs(kind)]
    assert on_disk.outputs("kept")

    def footers(outputs) -> int:
        return sum(partitioned.footer_bytes(output.batches, output.bytes) for output in outputs)

    whole = sum(output.bytes for kind in WHOLE for output in on_disk.outputs(kind))
    for phase, kind in SHUFFLES[name].items():
        outputs = on_disk.outputs(kind)
        assert read[1][phase] > 0 and all(output.batches for output in outputs)
        assert read[2][phase] - read[1][phase] <= footers(outputs) + whole
    decided = [output for kind in DECIDED for output in on_disk.outputs(kind) if output.batches]
    assert decided and all(output.batches == len(parts) for output in decided)
    for count in (1, 2):
        size = sum(output.bytes for output in decided)
        assert 0 < read[count]["apply"] <= size + count * (footers(decided) + whole)
