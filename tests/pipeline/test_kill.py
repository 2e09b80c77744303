"""SIGKILL at random moments, then resume: the same shards, byte for byte."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from road import write_inputs  # noqa: E402


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Inputs, the result of a run that nobody disturbed, and how long its work took."""
    root = tmp_path_factory.mktemp("road")
    write_inputs(root / "in")
    start(root, "warm-up", 1).wait()  # compiles the kernels
    process = start(root, "whole", 1)
    started = time.monotonic()
    assert process.wait() == 0
    return root, contents(root / "whole"), time.monotonic() - started


def start(root: Path, output: str, workers: int) -> subprocess.Popen:
    """Start the road and return when its work begins."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, HERE / "road.py", root / "in", root / output, str(workers)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def contents(output: Path) -> dict[str, bytes]:
    """Everything a user takes away, and the accounts; not the clock."""
    files = [*output.glob("shards/*.arrow"), *output.glob("shards/dataset.json")]
    files += [*output.glob("vocabularies/*/*"), *output.glob("work/*/*/*/*")]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize(
    ("workers", "kills"),
    [
        (1, 2),
        (2, 4),
        pytest.param(1, 20, marks=pytest.mark.slow),
        pytest.param(2, 20, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_and_resumed(uninterrupted, workers, kills):
    root, expected, seconds = uninterrupted
    moments = random.Random(kills + workers)
    finished = 0
    for kill in range(kills):
        # Each from a fresh directory half of the time, so that every stage is struck.
        output = f"killed-{kills}-{workers}-{kill // 2}"
        process = start(root, output, workers)
        try:
            process.wait(timeout=moments.uniform(0.02, 1.0) * seconds)
            finished += 1
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert finished < kills
    for number in range(kills // 2):
        output = f"killed-{kills}-{workers}-{number}"
        assert start(root, output, workers).wait() == 0
        found = contents(root / output)
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
