"""Both jobs on the engine: one result for any number of workers, after SIGKILL, and after damage."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dedup_helpers import random_text, write_part

from corpuskit.dedup.contamination import Decontaminator
from corpuskit.dedup.substrings import SubstringDeduplicator
from corpuskit.documents import document_batch
from corpuskit.engine import run
from corpuskit.errors import TaskError
from corpuskit.jobs import Slice

PROGRAM = Path(__file__).parent / "overlap_run.py"


def write_inputs(directory: Path) -> None:
    rng = random.Random(1)
    (directory / "eval").mkdir(parents=True)
    questions = [random_text(rng, 60) for _ in range(8)]
    (directory / "eval" / "a.jsonl").write_text("\n".join(json.dumps({"q": q}) for q in questions), "utf-8")
    shared = [random_text(rng, 80) for _ in range(10)]
    for part in range(4):
        batches = []
        for batch in range(5):
            texts = [random_text(rng, 200) + rng.choice([*shared, ""]) for _ in range(20)]
            texts[7] += questions[(part + batch) % 8]
            batches.append(document_batch([f"{part}-{batch}-{i}" for i in range(20)], texts))
        write_part(directory / f"{part}.arrow", batches)


def contents(output: Path) -> dict[str, bytes]:
    files = [path for path in output.glob("*/*/*/*") if path.is_file() and "ledger" not in path.parts]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in files}


def start(inputs: Path, output: Path, workers: int) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, PROGRAM, inputs, output, str(workers)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_any_number_of_workers_and_kills_at_random_moments_give_the_same_files(tmp_path):
    inputs = tmp_path / "in"
    write_inputs(inputs)
    assert start(inputs, tmp_path / "warm-up", 1).wait() == 0
    began = time.monotonic()
    assert start(inputs, tmp_path / "whole", 1).wait() == 0
    seconds = time.monotonic() - began
    expected = contents(tmp_path / "whole")
    assert any("dropped" in name for name in expected)
    for workers in (2, 4):
        assert start(inputs, tmp_path / str(workers), workers).wait() == 0
        assert contents(tmp_path / str(workers)) == expected
    moments = random.Random(3)
    killed = 0
    for attempt in range(8):
        output = tmp_path / f"killed-{attempt // 2}"
        process = start(inputs, output, 1 + attempt % 2)
        try:
            process.wait(timeout=moments.uniform(0.05, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    assert killed > 2
    for number in range(4):
        output = tmp_path / f"killed-{number}"
        assert start(inputs, output, 1).wait() == 0
        assert contents(output) == expected


@pytest.mark.parametrize("phase", ["index/index-codes", "apply/kept"])
def test_a_damaged_file_of_a_finished_decontamination_is_made_anew(tmp_path, phase):
    write_inputs(tmp_path / "in")
    slices = [Slice(str(path), relative_path=path.name) for path in sorted((tmp_path / "in").glob("*.arrow"))]
    job = Decontaminator().job(slices, tmp_path / "in" / "eval")
    _damage_and_repair(job, tmp_path / "out", phase)


@pytest.mark.parametrize(
    "phase", ["anchors/anchors", "windows/windows-000", "sources/texts", "verify/verified"]
)
def test_a_damaged_file_of_a_finished_substring_search_is_made_anew(tmp_path, phase):
    write_inputs(tmp_path / "in")
    slices = [Slice(str(path), relative_path=path.name) for path in sorted((tmp_path / "in").glob("*.arrow"))]
    _damage_and_repair(SubstringDeduplicator().job(slices), tmp_path / "out", phase)


def _damage_and_repair(job, output: Path, phase: str) -> None:
    run(job, output)
    expected = contents(output)
    path = sorted((output / job.name / phase).iterdir())[0]
    path.write_bytes(path.read_bytes()[:-50])
    _repair(job, output)
    assert contents(output) == expected
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    run(job, output, verify=True)
    assert contents(output) == expected


def _repair(job, output: Path) -> None:
    """The same command again; a task that meets a damaged file says so once, and the next run makes it."""
    try:
        run(job, output)
    except TaskError:
        run(job, output)
