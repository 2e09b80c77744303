"""Directories that appear whole: several files are staged beside their place, synced, then renamed.

`corpuskit.files.atomic_path` does this for one file; a model is several files that belong together.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpuskit.files import disk_full, is_disk_full, sync_directory


def _says_disk_full(error: Exception) -> bool:
    """Whether a write found no space: safetensors and torch raise errors of their own for it.

    torch's zip writer says only that a write failed, which on a file of its own means just that.
    """
    if isinstance(error, OSError):
        return is_disk_full(error)
    return os.strerror(errno.ENOSPC) in str(error) or "PytorchStreamWriter failed" in str(error)


@contextmanager
def staged_directory(directory: str | os.PathLike, last: str) -> Iterator[Path]:
    """Yield an empty directory whose files are in `directory` when the block ends without an error.

    A directory that does not exist yet appears by one rename. Into an existing one the files move
    one by one, and `last` after all others, so that a reader who looks for `last` first never
    finds it without the rest.

    Parameters
    ----------
    directory : path-like
        The final directory. Other files in it stay.
    last : str
        Name of the file that makes the directory valid.

    Raises
    ------
    ResourceError
        If the disk is full; nothing is published then.
    """
    final = Path(directory)
    final.parent.mkdir(parents=True, exist_ok=True)
    stage = final.with_name(f".{final.name}.partial")
    shutil.rmtree(stage, ignore_errors=True)  # what a killed process left
    stage.mkdir()
    try:
        yield stage
        files = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
        for name in files:
            with open(stage / name, "rb") as handle:
                os.fsync(handle.fileno())
        if final.exists():
            for name in sorted(files, key=lambda name: (str(name) == last, name)):
                (final / name).parent.mkdir(parents=True, exist_ok=True)
                (stage / name).replace(final / name)
            sync_directory(final)
        else:
            sync_directory(stage)
            stage.rename(final)
        sync_directory(final.parent)
    except Exception as error:
        if _says_disk_full(error):
            raise disk_full(final) from error
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
