"""Whatever happens at whatever change to the disk: see `crash_points`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from crash_points import OPERATIONS, Trial, chosen

DRIVER = Path(__file__).parent / "crash_points.py"


def fail_at(tmp_path, name, kind, step):
    trial = Trial(name, tmp_path / name)
    return Counter(trial.disturb(kind, at) for at in chosen(trial, step))


def kill_at(tmp_path, step, *names):
    command = [sys.executable, str(DRIVER), str(tmp_path), str(step), *names]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return Counter(json.loads(line)["name"] for line in result.stdout.splitlines())


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_exception_leaves_what_was_before_or_says_so_and_the_same_call_finishes(tmp_path, name):
    happened = fail_at(tmp_path, name, "error", 5)
    assert set(happened) == {"error"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_full_disk_is_a_typed_error_and_leaves_the_same(tmp_path, name):
    happened = fail_at(tmp_path, name, "full", 6)
    assert happened["full"] and set(happened) <= {"full", "none"}


def test_a_kill_leaves_the_same(tmp_path):
    assert set(kill_at(tmp_path, 8, *OPERATIONS)) >= {"write", "append", "merge", "split", "job"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("kind", ["error", "full"])
def test_a_failure_at_every_single_point(tmp_path, name, kind):
    happened = fail_at(tmp_path, name, kind, 1)
    assert happened.total() == len(Trial(name, tmp_path / "again").calls) and happened[kind]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kill_at_every_single_point(tmp_path, name):
    assert kill_at(tmp_path, 1, name)[name] == len(Trial(name, tmp_path / "again").calls)
