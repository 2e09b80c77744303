"""A new crawl against what earlier ones held: one result with a single run, crash-safe, never mixed up."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from dedup_helpers import edited, random_text, rows_of, run_serially, write_part
from pyarrow import ipc

from corpuskit.dedup import MinHashDeduplicator, index
from corpuskit.documents import document_batch
from corpuskit.engine import run
from corpuskit.errors import ArtifactError, LedgerError, MismatchError
from corpuskit.files import checksum

FIRST = MinHashDeduplicator(keep="first", bands=20, rows=4)


@pytest.fixture(scope="module")
def crawls():
    """Three crawls of two parts: copies and edited copies within each and across all of them."""
    rng = random.Random(17)
    originals = [random_text(rng, 150) for _ in range(25)]
    made = []
    for crawl in range(3):
        texts = [edited(rng, rng.choice(originals), rng.randrange(0, 25)) for _ in range(30)]
        texts += [random_text(rng, 150) for _ in range(5)] + ["", "短"]
        rng.shuffle(texts)
        ids = [f"{crawl}-{i:02d}" for i in range(len(texts))]
        made.append([document_batch(ids[i::2], texts[i::2]) for i in range(2)])
    return made


def parts(directory: Path, crawl) -> list:
    directory.mkdir(parents=True, exist_ok=True)
    return [write_part(directory / f"{i}.arrow", [batch]) for i, batch in enumerate(crawl)]


def dropped_by(done) -> dict[str, dict]:
    return {row["id"]: row for row in rows_of(done["apply"], "dropped")}


@pytest.mark.parametrize("threshold", [0.6, None])
@pytest.mark.parametrize("partitions", [1, 3])
def test_crawl_by_crawl_removes_what_one_run_over_all_would(crawls, tmp_path, threshold, partitions):
    config = replace(FIRST, verify_threshold=threshold, band_partitions=partitions)
    together, kept_before = [], set()
    for number, crawl in enumerate(crawls):
        together += crawl
        at_once = dropped_by(
            run_serially(config.job(parts(tmp_path / f"a{number}", together)), tmp_path / f"A{number}")
        )
        job = config.job(parts(tmp_path / f"b{number}", crawl), index=tmp_path / "dedup.index")
        done = run_serially(job, tmp_path / f"B{number}")
        found = dropped_by(done)
        assert set(found) == {i for i in at_once if i.startswith(f"{number}-")}
        kept_before |= {row["id"] for row in rows_of(done["apply"], "kept")}
        for row in found.values():
            assert row["document"]["duplicate_of"] in kept_before
            assert row["value"] is not None
            if threshold is not None:
                assert (row["value"] >= threshold) == (row["document"]["duplicate_kind"] == "direct")
        across = [r for r in found.values() if not r["document"]["duplicate_of"].startswith(f"{number}-")]
        assert bool(across) == (number > 0)
    manifest = json.loads((tmp_path / "dedup.index" / "index.json").read_text())
    assert [s["documents"] for s in manifest["segments"]] == [37, 37, 37]


def test_an_old_document_stays_whatever_the_keep_rule_says(tmp_path):
    text = random_text(random.Random(1), 200)
    config = MinHashDeduplicator(keep="longest")
    old = [document_batch(["old"], [text], {"date": ["2020-01-01"]})]
    new = [document_batch(["new", "newer"], [text + "更长", text + "更长一些"], {"date": ["2024-01-01"] * 2})]
    for number, crawl in enumerate((old, new)):
        job = config.job(parts(tmp_path / str(number), crawl), index=tmp_path / "index")
        done = run_serially(job, tmp_path / f"run{number}")
    found = dropped_by(done)
    assert set(found) == {"new", "newer"}
    assert {row["document"]["duplicate_of"] for row in found.values()} == {"old"}
    assert {row["document"]["cluster_size"] for row in found.values()} == {3}


def test_running_and_adding_a_crawl_again_changes_nothing(crawls, tmp_path):
    place = tmp_path / "index"
    results = []
    for attempt in range(2):
        for number, crawl in enumerate(crawls):
            job = FIRST.job(parts(tmp_path / f"in{number}", crawl), index=place)
            run(job, tmp_path / f"out{number}-{attempt}")
        results.append(
            (
                tree(place),
                [tree(tmp_path / f"out{n}-{attempt}" / "near-duplicates" / "apply") for n in range(3)],
            )
        )
    assert results[0] == results[1]
    again = run(FIRST.job(parts(tmp_path / "in1", crawls[1]), index=place), tmp_path / "out1-0")
    assert again.tasks_run <= 1  # the manifest has changed since, so that it looks whether it is in


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_the_index_does_not_depend_on_the_number_of_workers(crawls, tmp_path, workers):
    run(FIRST.job(parts(tmp_path / "in0", crawls[0]), index=tmp_path / "index1"), tmp_path / "out0")
    shutil.copytree(tmp_path / "index1", tmp_path / f"index{workers}")
    inputs = parts(tmp_path / "in1", crawls[1])
    for count in (1, workers):
        run(FIRST.job(inputs, index=tmp_path / f"index{count}"), tmp_path / f"out1-{count}", workers=count)
    assert tree(tmp_path / "index1") == tree(tmp_path / f"index{workers}")
    expected = tree(tmp_path / "out1-1" / "near-duplicates" / "apply")
    assert tree(tmp_path / f"out1-{workers}" / "near-duplicates" / "apply") == expected


def tree(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(directory).as_posix(): checksum(path) for path in files}


@pytest.mark.parametrize(
    ("field", "value"), [("seed", 2), ("keep", "longest"), ("verify_threshold", 0.9), ("band_partitions", 2)]
)
def test_an_index_of_another_configuration_is_refused(crawls, tmp_path, field, value):
    inputs = parts(tmp_path / "in", crawls[0])
    run_serially(FIRST.job(inputs, index=tmp_path / "index"), tmp_path / "run")
    with pytest.raises(MismatchError, match=field):
        replace(FIRST, **{field: value}).job(inputs, index=tmp_path / "index")


def test_an_index_of_a_version_that_hashes_differently_is_refused(crawls, tmp_path, monkeypatch):
    inputs = parts(tmp_path / "in", crawls[0])
    FIRST.job(inputs, index=tmp_path / "index")
    ours = MinHashDeduplicator.signatures
    monkeypatch.setattr(MinHashDeduplicator, "signatures", lambda self, texts: ours(self, texts) + 1)
    with pytest.raises(MismatchError, match="hashes"):
        FIRST.job(inputs, index=tmp_path / "index")


def test_a_run_that_another_has_overtaken_is_refused_and_runs_again(crawls, tmp_path):
    place = tmp_path / "index"
    inputs = [parts(tmp_path / f"in{n}", crawl) for n, crawl in enumerate(crawls[:2])]
    slow = FIRST.job(inputs[0], index=place)
    run(FIRST.job(inputs[1], index=place), tmp_path / "other")
    before = tree(place)
    with pytest.raises(LedgerError, match="another run"):
        run(slow, tmp_path / "out")
    assert tree(place) == before
    run(FIRST.job(inputs[0], index=place), tmp_path / "out")
    manifest = json.loads((place / "index.json").read_text())
    assert [s["name"] for s in manifest["segments"]] == [index.run_name(i) for i in inputs[::-1]]


def test_damage_to_the_index_is_named_and_the_index_is_left_as_it_is(crawls, tmp_path):
    place = tmp_path / "index"
    run(FIRST.job(parts(tmp_path / "in0", crawls[0]), index=place), tmp_path / "out0")
    (path,) = place.rglob("bands-00000.arrow")
    whole = path.read_bytes()
    with ipc.open_file(path) as reader:
        value = reader.get_batch(0).column("hash")[0].as_py().to_bytes(8, "little")
    damaged = bytearray(whole)
    damaged[whole.index(value) + 3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError, match=path.name):
        run(FIRST.job(parts(tmp_path / "in1", crawls[1]), index=place), tmp_path / "out1")
    assert path.read_bytes() == bytes(damaged)
    path.write_bytes(whole[:-100])
    with pytest.raises(ArtifactError, match=path.name):
        FIRST.job(parts(tmp_path / "in1", crawls[1]), index=place)
    path.write_bytes(whole)
    run(FIRST.job(parts(tmp_path / "in1", crawls[1]), index=place), tmp_path / "out1")
    (place / "index.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"index\.json"):
        FIRST.job(parts(tmp_path / "in1", crawls[1]), index=place)


class Killed(BaseException):
    """What a SIGKILL is to a function: nothing after it happens."""


def test_killed_before_or_after_any_write_the_index_is_the_old_or_the_new_one(crawls, tmp_path, monkeypatch):
    place, new = tmp_path / "index", tmp_path / "in1"
    run(FIRST.job(parts(tmp_path / "in0", crawls[0]), index=place), tmp_path / "out0")
    job = FIRST.job(parts(new, crawls[1]), index=place)
    done = run_serially(replace_phases(job), tmp_path / "work")
    (task,) = job.plan("append", done)
    shutil.copytree(place, tmp_path / "old")
    task.function(task, None)
    old, complete = tree(tmp_path / "old"), tree(place)
    moment = 0
    while True:
        shutil.rmtree(place)
        shutil.copytree(tmp_path / "old", place)
        with monkeypatch.context() as patch:
            left = [moment]
            for name in ("_copy", "write_json"):
                patch.setattr(index, name, dying(getattr(index, name), left))
            try:
                task.function(task, None)
            except Killed:
                pass
            else:
                break
        found = tree(place)
        manifest = found["index.json"]
        assert manifest in (old["index.json"], complete["index.json"])
        assert (found == complete) == (manifest == complete["index.json"])
        if moment % 3 == 0:  # another run first takes away what this one left
            other = FIRST.job(parts(tmp_path / "in2", crawls[2]), index=place)
            run(other, tmp_path / f"out2-{moment}")
            listed = json.loads((place / "index.json").read_text())["segments"]
            assert sorted(p.name for p in (place / "segments").iterdir()) == sorted(s["name"] for s in listed)
        else:
            task.function(task, None)
            assert tree(place) == complete
        moment += 1
    assert moment == 2 * 8 and tree(place) == complete


def replace_phases(job):
    """All phases but the last."""

    class Rest:
        phases = job.phases[:-1]
        plan = staticmethod(job.plan)

    return Rest


def dying(function, left: list[int]):
    """`function`, killed before or after the call at which `left` runs out."""

    def call(*arguments):
        for work in (lambda: None, lambda: function(*arguments)):
            work()
            if left[0] == 0:
                raise Killed
            left[0] -= 1

    return call


SCRIPT = """
import sys
from pathlib import Path
from dataclasses import replace
from corpuskit.dedup import MinHashDeduplicator
from corpuskit.engine import run
from corpuskit.files import checksum
from corpuskit.jobs import Slice
import corpuskit.dedup.minhash_tasks, corpuskit.engine.local
root, output, place, workers = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
config = MinHashDeduplicator(keep="first", bands=20, rows=4)
files = sorted(root.glob("*.arrow"))
slices = [Slice(str(f), relative_path=f.name, identity=checksum(f)) for f in files]
job = config.job(slices, index=place)
print("ready", flush=True)
run(job, output, workers=workers)
"""


def start(*arguments) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(1, 10), (2, 10)])
def test_killed_at_random_moments_the_index_is_the_old_or_the_new_one(crawls, tmp_path, workers, kills):
    moments = random.Random(workers)
    for number in range(2):
        parts(tmp_path / f"in{number}", crawls[number])
    expected = []
    for number in range(2):
        started = time.monotonic()
        assert (
            start(tmp_path / f"in{number}", tmp_path / f"o{number}", tmp_path / "whole", workers).wait() == 0
        )
        seconds = time.monotonic() - started
        expected.append(tree(tmp_path / "whole"))
    place, arguments = (
        tmp_path / "index",
        (tmp_path / "in1", tmp_path / "killed", tmp_path / "index", workers),
    )
    assert start(tmp_path / "in0", tmp_path / "first", place, workers).wait() == 0
    for _ in range(kills):
        process = start(*arguments)
        try:
            process.wait(timeout=moments.uniform(0.05, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        manifest = checksum(place / "index.json")
        assert manifest in (expected[0]["index.json"], expected[1]["index.json"])
    assert start(*arguments).wait() == 0
    assert tree(place) == expected[1]
    apply = "near-duplicates/apply"
    assert tree(tmp_path / "killed" / apply) == tree(tmp_path / "o1" / apply)
