"""Shared fixtures: where the real data lies, and a small recipe that runs in seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("corpuskit", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("corpuskit")


_LONG = ("test_cluster_road.py", "test_documentation.py", "test_kill.py", "test_ray.py", "test_demo.py")
"""Modules that take minutes; started last, they would keep one process busy when all others are done."""


@pytest.hookimpl(trylast=True)  # after pytest-randomly has put the rest in a random order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONG)


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
