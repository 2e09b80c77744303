"""SIGKILL at random moments, then resume: the same shards, byte for byte."""

import multiprocessing
import random
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import road

if "forkserver" not in multiprocessing.get_all_start_methods():
    pytest.skip("processes cannot be forked here", allow_module_level=True)
PROCESSES = multiprocessing.get_context("forkserver")
"""Forked from a process that has imported everything: a kill strikes the work, and no start takes seconds."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A directory with inputs, and the result of a run that nobody disturbed."""
    root = tmp_path_factory.mktemp("road")
    road.write_inputs(root / "in", files=6)
    PROCESSES.set_forkserver_preload(["numba", "corpuskit.pipeline.run", "corpuskit.pipeline.demo.build"])
    finish(start(root, "whole", 1))
    return root, contents(root / "whole")


def start(root: Path, output: str, workers: int) -> BaseProcess:
    process = PROCESSES.Process(target=road.go, args=(root / "in", root / output, workers))
    process.start()
    return process


def finish(process: BaseProcess) -> None:
    process.join()
    assert process.exitcode == 0


def contents(output: Path) -> dict[str, bytes]:
    """Everything a user takes away, and the accounts; not the clock."""
    files = [*output.glob("shards/*.arrow"), *output.glob("shards/dataset.json")]
    files += [*output.glob("vocabularies/*/*"), *output.glob("work/*/*/*/*")]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in files if path.is_file()}


def tasks_done(output: Path) -> int:
    return len(list((output / "work" / "ledger").rglob("[0-9]*.json")))


@pytest.mark.parametrize(
    ("workers", "kills"),
    [
        (1, 4),
        (2, 2),
        pytest.param(1, 20, marks=pytest.mark.slow),
        pytest.param(2, 20, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_and_resumed(uninterrupted, workers, kills):
    """Moments of the work, not of the clock: how long workers take to start says nothing of their work."""
    root, expected = uninterrupted
    tasks = tasks_done(root / "whole")
    moments = random.Random(kills + workers)
    finished = 0
    for kill in range(kills):
        # Each from a fresh directory half of the time, so that every stage is struck.
        output = f"killed-{kills}-{workers}-{kill // 2}"
        before = tasks_done(root / output)
        last = moments.randint(min(before, tasks - 1), tasks - 1)
        process = start(root, output, workers)
        while process.is_alive() and tasks_done(root / output) < last:
            time.sleep(0.005)
        process.join(timeout=moments.uniform(0, 0.1))
        finished += process.exitcode is not None
        process.kill()
        process.join()
    assert finished < kills
    for number in range(kills // 2):
        output = f"killed-{kills}-{workers}-{number}"
        finish(start(root, output, workers))
        found = contents(root / output)
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
