"""Shared fixtures: where the real data lies, and a small recipe that runs in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("corpuskit", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("corpuskit")


_LONG = (
    "test_cluster_road.py", "test_documentation.py", "test_kill.py", "test_ray.py", "test_demo.py",
    "test_cluster_slurm.py", "test_bad_input.py", "test_run.py", "test_shards_mixture.py",
    "test_vocab_embeddings.py", "test_encoder.py",
)  # fmt: skip
"""The longest modules; started last, they would keep one process busy when all others are done."""


@pytest.hookimpl(trylast=True)  # after pytest-randomly has put the rest in a random order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.hookimpl(tryfirst=True)  # before fixtures of modules too
def pytest_runtest_setup() -> None:
    """PyTorch seeds itself by chance: weights that a test does not choose were others in every run."""
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def no_syncing() -> Iterator[None]:
    """A road on 120 documents syncs a thousand times, and the tests would wait for the disk."""

    def fsync(descriptor: int) -> None:
        os.fstat(descriptor)  # one that is not open is an error still

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    """What a test leaves under memory:// is gone for the next, whatever their order."""
    yield
    if memory := sys.modules.get("fsspec.implementations.memory"):
        memory.MemoryFileSystem.store.clear()
        memory.MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real corpora beside the checkout; a test that needs them skips where they are missing."""
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    path = Path(os.environ.get("CORPUSKIT_TEST_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no test data at {path} (set CORPUSKIT_TEST_DATA)")
    return path


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`corpuskit` with its exit status and streams, but in this process: a new one imports for seconds."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        from corpuskit.cli import main

        line = ["corpuskit", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", line)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer puts its own there
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        streams = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return subprocess.CompletedProcess(line, caught.value.code, streams.out, streams.err)

    return run
