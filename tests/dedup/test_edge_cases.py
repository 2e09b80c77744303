"""Hard documents, damaged files, kills, and orders: each handled, none changes another's result."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dedup_helpers import edited, random_text, rows_of, run_serially, write_part
from pyarrow import ipc

from corpuskit.dedup import ExactDeduplicator, MinHashDeduplicator
from corpuskit.dedup.lines import LineDeduplicator
from corpuskit.dedup.partitions import publish_partitions, read_partition
from corpuskit.documents import document_batch
from corpuskit.engine import run
from corpuskit.errors import ArtifactError
from corpuskit.files import checksum
from corpuskit.jobs import Slice, Workspace

NEAR = MinHashDeduplicator()
ALL = [NEAR, ExactDeduplicator(), LineDeduplicator(min_characters=10)]


def kept_ids(result) -> list[str]:
    return [i for batch in result.kept for i in batch["id"].to_pylist()]


@pytest.mark.parametrize("deduplicator", ALL, ids=lambda d: type(d).__name__)
def test_empty_short_and_uniform_documents_are_in_the_accounts(deduplicator, tmp_path):
    texts = [
        "",
        "\n \u3000",
        "好",
        "好的",
        "四个字啊",
        "哈" * 100_000,
        "哈" * 99_999,
        "𠀀" * 9,
        "a" * 9,
        None,
    ]
    batch = document_batch([f"{i}" for i in range(len(texts))], pa.array(texts, pa.large_string()))
    done = run_serially(deduplicator.job([write_part(tmp_path / "p.arrow", [batch])]), tmp_path / "run")
    ids = [row["id"] for kind in ("kept", "dropped") for row in rows_of(done["apply"], kind)]
    assert sorted(ids) == sorted(batch["id"].to_pylist())
    assert kept_ids(deduplicator.deduplicate([batch])) == [
        row["id"] for row in rows_of(done["apply"], "kept")
    ]


def test_documents_shorter_than_a_shingle_meet_only_their_copies():
    batch = document_batch(list("abcdef"), ["好的", "好的", "好", "的好", "好 的", "好的呀"])
    result = NEAR.deduplicate([batch])
    assert kept_ids(result) == ["c", "d", "e", "f"]  # 好 的 has the most characters of its cluster
    assert {row["document"]["duplicate_of"] for row in result.dropped[0].to_pylist()} == {"e"}


def test_one_repeated_character_is_one_shingle():
    batch = document_batch(list("abc"), ["哈" * 7, "哈" * 100_000, "哈" * 50 + "呵" * 50])
    result = NEAR.deduplicate([batch])
    assert kept_ids(result) == ["b", "c"]


@pytest.mark.slow
@pytest.mark.parametrize("deduplicator", ALL, ids=lambda d: type(d).__name__)
def test_a_document_of_100_mb_fits_in_bounded_memory(deduplicator, tmp_path):
    """Two copies and an edited copy of 33 million characters, in a process of their own."""
    script = f"""
import random, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, pyarrow as pa
from pathlib import Path
from corpuskit.dedup import ExactDeduplicator, MinHashDeduplicator
from corpuskit.dedup.lines import LineDeduplicator
from corpuskit.documents import document_batch
from dedup_helpers import run_serially, write_part, rows_of
import resource
codes = np.random.default_rng(1).integers(0x4E00, 0x9FA0, 33_400_000).astype(np.uint16)
codes[::50] = 10
text = codes.tobytes().decode("utf-16-le")
directory = Path({str(tmp_path)!r})
parts = []
for name, value in (("a", text), ("b", text), ("c", text[:-1000])):
    parts.append(write_part(directory / name, [document_batch([name, name + "-short"], [value, "短文"])]))
del text, value, codes
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
done = run_serially({deduplicator!r}.job(parts, dropped_text="none"), directory / "run")
print(sorted(row["id"] for row in rows_of(done["apply"], "dropped")))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    dropped, peak_kib = done.stdout.split("\n")[:2]
    expected = {
        MinHashDeduplicator: ["b", "b-short", "c", "c-short"],
        ExactDeduplicator: ["b", "b-short", "c-short"],
    }
    if type(deduplicator) in expected:
        assert dropped == str(expected[type(deduplicator)])
    # Two texts of 100 MB are compared at a time, with their shingle sets of 2**27 slots of 8 bytes.
    assert int(peak_kib) < (4 << 30) // 1024


@pytest.mark.slow
def test_a_million_copies_take_time_in_proportion_and_bounded_buckets(tmp_path):
    text = random_text(random.Random(1), 100)
    seconds = {}
    for count in (250_000, 1_000_000):
        slices = []
        for part in range(4):
            numbers = range(part * count // 4, (part + 1) * count // 4)
            batches = [
                document_batch([f"{i:07d}" for i in piece], [text] * len(piece))
                for piece in (numbers[start : start + 10_000] for start in range(0, len(numbers), 10_000))
            ]
            slices.append(write_part(tmp_path / f"{part}.arrow", batches))
        started = time.process_time()
        done = run_serially(NEAR.job(slices, dropped_text="none"), tmp_path / str(count))
        seconds[count] = time.process_time() - started
        (pairs,) = done["pairs"]
        assert pairs.outcome.metrics["pairs"] == count - 1
        giant = [entry.outcome.metrics["giant_bucket_documents"] for entry in done["candidates"]]
        assert giant == [count] * NEAR.bands
        assert done["clusters"][0].outcome.metrics["largest_cluster"] == count
        assert sum(entry.outcome.tally.kept for entry in done["apply"]) == 1
    # Quadratic work would be sixteen times as much; sorting adds a little to four.
    assert seconds[1_000_000] < 8 * seconds[250_000]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6 << 20


# --- damage ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def families() -> list[pa.RecordBatch]:
    rng = random.Random(3)
    rows = []
    for family in range(30):
        text = random_text(rng, 120)
        rows += [(f"{family:02d}-{copy}", edited(rng, text, copy * 2)) for copy in range(4)]
    rng.shuffle(rows)
    dates = [f"20{rng.randrange(10, 25)}-0{rng.randrange(1, 10)}-15" for _ in rows]
    scores = [rng.choice([None, 0.25, 0.5, 0.75]) for _ in rows]
    return [
        document_batch(
            [i for i, _ in rows[k::6]],
            [t for _, t in rows[k::6]],
            {"date": dates[k::6], "quality_score": pa.array(scores[k::6], pa.float64())},
        )
        for k in range(6)
    ]


def write_all(directory: Path, batches) -> list[Slice]:
    directory.mkdir(parents=True, exist_ok=True)
    return [write_part(directory / f"{i}.arrow", [batch]) for i, batch in enumerate(batches)]


def results(directory: Path) -> dict[str, str]:
    return {p.relative_to(directory).as_posix(): checksum(p) for p in sorted(directory.rglob("apply/*/*"))}


@pytest.mark.parametrize("how", ["changed", pytest.param("truncated", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("deduplicator", "kind", "consumer"),
    [
        (NEAR, "signatures/bands", "candidates"),
        (NEAR, "signatures/documents", "pairs"),
        (NEAR, "candidates/candidates", "pairs"),
        (NEAR, "texts/texts", "verify"),
        (NEAR, "verify/similarities", "clusters"),
        (NEAR, "clusters/decisions", "apply"),
        (ExactDeduplicator(), "hashes/hashes", "decide"),
        (ExactDeduplicator(), "decide/decisions", "apply"),
        (LineDeduplicator(min_characters=10), "decide/decisions", "apply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_intermediate_file_is_made_again(families, tmp_path, deduplicator, kind, consumer, how):
    """A run stops before `consumer`; a file it needs is damaged; the run goes on."""
    batches = [
        document_batch(b["id"].to_pylist(), [f"{t}\n{'同一行字' * 4}" for t in b["text"].to_pylist()])
        for b in families
    ]
    job = deduplicator.job(write_all(tmp_path / "in", batches))
    run(job, tmp_path / "whole")
    run(UpTo(job, consumer), tmp_path / "out")
    path = sorted((tmp_path / "out" / job.name / kind).glob("*.arrow"))[0]
    data = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(data[:-64])
        assert run(job, tmp_path / "out").tasks_run > 0  # its size tells
    else:
        place = body_byte(path)
        data[place] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match=path.name) as caught:
            run(job, tmp_path / "out")
        assert "same command again" in str(caught.value)
        run(job, tmp_path / "out")
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob("*.damaged"))


def test_a_truncated_intermediate_file_is_made_again_without_a_word(families, tmp_path):
    job = ExactDeduplicator().job(write_all(tmp_path / "in", families))
    run(job, tmp_path / "whole")
    run(UpTo(job, "apply"), tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:-1])
    run(job, tmp_path / "out")
    assert results(tmp_path / "out") == results(tmp_path / "whole") != {}


class UpTo:
    """The phases of a job before one of them."""

    def __init__(self, job, phase: str) -> None:
        self.name, self.plan = job.name, job.plan
        self.phases = job.phases[: job.phases.index(phase)]


def body_byte(path: Path) -> int:
    """A place in the data of an Arrow file's first record batch (not in its metadata or padding)."""
    data = path.read_bytes()
    with ipc.open_file(path) as reader:
        schema_bytes = reader.schema.serialize().size
    message = data.index(b"\xff\xff\xff\xff", 8 + schema_bytes - 8)
    length = int.from_bytes(data[message + 4 : message + 8], "little")
    return message + 8 + length + 9


def test_a_damaged_document_part_is_moved_aside_for_the_run_that_made_it(families, tmp_path):
    slices = write_all(tmp_path / "in", families)
    path = Path(slices[2].path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=path.name):
        run(NEAR.job(slices), tmp_path / "out")
    assert not path.exists() and (path.parent / f".{path.name}.damaged").read_bytes() == bytes(data)


def test_a_file_of_the_users_own_is_never_moved(tmp_path):
    path = tmp_path / "mine.arrow"
    path.write_bytes(b"ARROW1\x00\x00 not really")
    with pytest.raises(ArtifactError, match=r"mine\.arrow"):
        run(ExactDeduplicator().job([Slice(str(path), relative_path=path.name)]), tmp_path / "out")
    assert path.exists()


def test_any_changed_byte_of_a_partitioned_file_is_noticed_or_harmless(tmp_path):
    rng = np.random.default_rng(5)
    tables = [
        pa.table(
            {
                "hash": rng.integers(0, 2**63, rows).astype(np.uint64),
                "date": pa.array([None if i % 3 else f"202{i % 10}" for i in range(rows)], pa.string()),
                "flag": pa.array([bool(i % 2) for i in range(rows + 3)])[3:],
            }
        )
        for rows in (0, 11, 300)
    ]
    workspace = Workspace(tmp_path, tmp_path / "c", "k", "00000")
    output = publish_partitions(workspace, "keys", tables, "t")
    whole = Path(output.path).read_bytes()
    for place in rng.integers(8, len(whole), 400).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        copy = tmp_path / "damaged.arrow"
        copy.write_bytes(damaged)
        for partition, table in enumerate(tables):
            try:
                found = read_partition([Slice(str(copy))], partition, "t")
            except ArtifactError:
                continue
            assert found.to_pylist() == table.to_pylist()


# --- one result -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deduplicator",
    [
        replace(NEAR, cluster_columns=True),
        replace(NEAR, keep="newest", verify_threshold=None),
        replace(NEAR, keep="best-quality", max_bucket=2),
        ExactDeduplicator(keep="newest", cluster_columns=True),
    ],
    ids=["longest", "newest", "best-quality", "exact"],
)
def test_the_order_of_the_files_changes_no_byte_of_any(families, tmp_path, deduplicator):
    families = [*families, document_batch(["x1", "x2"], families[0]["text"].to_pylist()[:2], {
        "date": ["2011-01-01", None], "quality_score": pa.array([1.0, None], pa.float64())})]  # fmt: skip
    slices = write_all(tmp_path / "in", families)
    found = []
    for attempt in range(3):
        order = list(range(len(slices)))
        if attempt:
            random.Random(attempt).shuffle(order)
        done = run_serially(deduplicator.job([slices[i] for i in order]), tmp_path / str(attempt))
        entries = [{(o.kind, o.checksum) for o in entry.outcome.outputs} for entry in done["apply"]]
        found.append(dict(zip(order, entries)))
    assert found[0] == found[1] == found[2]
    assert any(kind == "dropped" for kinds in found[0].values() for kind, _ in kinds)


@pytest.mark.slow
@pytest.mark.parametrize("deduplicator", ALL, ids=lambda d: type(d).__name__)
def test_one_two_and_four_workers_write_the_same_bytes(families, tmp_path, deduplicator):
    job = deduplicator.job(write_all(tmp_path / "in", families), part_bytes=2000)
    found = []
    for workers in (1, 2, 4):
        run(job, tmp_path / str(workers), workers=workers)
        place = tmp_path / str(workers) / job.name
        found.append({p.relative_to(place).as_posix(): checksum(p) for p in place.rglob("*") if p.is_file()})
    assert found[0] == found[1] == found[2]


SCRIPT = """
import json, sys
from corpuskit.dedup import ExactDeduplicator, MinHashDeduplicator
from corpuskit.dedup.lines import LineDeduplicator
from corpuskit.engine import run
from corpuskit.jobs import Slice
import corpuskit.engine.local
slices = [Slice(**piece) for piece in json.loads(sys.argv[1])]
job = eval(sys.argv[2]).job(slices, part_bytes=2000)
print("ready", flush=True)
run(job, sys.argv[3], workers=int(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("deduplicator", ALL, ids=lambda d: type(d).__name__)
def test_killed_at_random_moments_and_resumed(families, tmp_path, deduplicator, workers):
    slices = [
        {"path": s.path, "relative_path": s.relative_path, "identity": s.identity}
        for s in write_all(tmp_path / "in", families)
    ]

    def start(output: str) -> subprocess.Popen:
        arguments = [json.dumps(slices), repr(deduplicator), str(tmp_path / output), str(workers)]
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        return process

    assert start("warm").wait() == 0
    started = time.monotonic()
    assert start("whole").wait() == 0
    seconds = time.monotonic() - started
    moments = random.Random(workers)
    for kill in range(10):
        process = start(f"killed-{kill // 2}")
        try:
            process.wait(timeout=moments.uniform(0.02, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for number in range(5):
        assert start(f"killed-{number}").wait() == 0
        assert results(tmp_path / f"killed-{number}") == results(tmp_path / "whole")
