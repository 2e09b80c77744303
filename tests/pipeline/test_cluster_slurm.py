"""The Slurm script of the how-to, run by bash as the tasks of an array would run it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "docs")]
import road  # noqa: E402
from preloaded import Preloaded  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "how-to" / "cluster.md"


@pytest.fixture
def script(tmp_path):
    if not PAGE.exists():
        pytest.skip("the documentation is not here")
    (code,) = re.findall(
        r"^```bash\n(#!/bin/bash\n#SBATCH.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    path = tmp_path / "corpuskit.sbatch"
    path.write_text(code)
    return path


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A directory whose `corpuskit` starts at once: the script starts it each time a task has to wait."""
    if not hasattr(os, "pidfd_open"):
        yield str(Path(sys.executable).parent)
        return
    server = Preloaded(tmp_path_factory.mktemp("preloaded"), {**os.environ, "PYTHONUTF8": "1"})
    yield server.path
    server.close()


def start(script, slice_number, directory, commands):
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": str(slice_number),
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "WAIT_S": "0.1",
    }
    return subprocess.Popen(
        ["bash", script], cwd=directory, env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_two_tasks_of_an_array_finish_one_run(script, commands, tmp_path):
    road.write_inputs(tmp_path / "in", files=3)
    recipe = road.recipe(Path("in"), Path("out"))
    del recipe["vocabularies"], recipe["shards"]
    recipe["deduplicate"] = {"near": None}  # fewer phases, at each of which one task waits for the other
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    both = [start(script, number, tmp_path, commands) for number in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (tmp_path / "out" / "report.json").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_real_error_ends_a_task_with_its_status(script, commands, tmp_path):
    (tmp_path / "recipe.yaml").write_text("nothing: 1\n")
    process = start(script, 0, tmp_path, commands)
    assert "unknown key" in process.communicate(timeout=120)[1] and process.returncode == 2
