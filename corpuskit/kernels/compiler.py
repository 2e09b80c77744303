"""The one decorator every kernel uses: compiled lazily, cached on disk, releases the GIL.

numba's own cache is keyed by one source file, so it goes stale when a callee in another module
changes. Ours lies in a directory keyed by every file of this room, the numba version and the CPU.
The directory is in force only while a kernel is decorated, so a user's own numba code keeps its.
"""

from __future__ import annotations

import os
import platform
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import xxhash


def kernel(function: Callable | None = None, **options: Any) -> Any:
    """``numba.njit`` with the room's cache directory and ``nogil=True``.

    Parameters
    ----------
    function : callable, optional
        The function to compile; without it a decorator is returned.
    **options
        Passed on to `numba.njit` (``inline``, ``fastmath``, …).
    """
    if function is None:
        return lambda f: kernel(f, **options)
    config: Any = numba.config  # its attributes are made at run time
    previous = config.CACHE_DIR
    config.CACHE_DIR = cache_directory()
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = previous


@cache
def cache_directory() -> str:
    """Where compiled kernels are kept: ``$XDG_CACHE_HOME/corpuskit/kernels-<key>``.

    Where that is not writable, a temporary directory, with one warning: every process then
    compiles anew.
    """
    state = xxhash.xxh3_64(f"{numba.__version__} {platform.machine()}".encode())
    state.update(llvmlite.binding.get_host_cpu_name().encode())
    state.update(llvmlite.binding.get_host_cpu_features().flatten().encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        state.update(path.name.encode() + b"\x00" + path.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "corpuskit" / f"kernels-{state.hexdigest()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise PermissionError(directory)
    except OSError as error:
        directory = Path(tempfile.mkdtemp(prefix="corpuskit-kernels-"))
        warnings.warn(
            f"compiled kernels cannot be cached ({error}); using {directory} for this process. "
            "Set XDG_CACHE_HOME to a writable directory.",
            RuntimeWarning,
            stacklevel=2,
        )
    return str(directory)
