"""Where a run may write: checked before the work, not when hours of it are to be saved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from corpuskit.errors import ConfigError, InputError


def require_directory(directory: Path, inputs: Iterable[str | os.PathLike | None] = ()) -> None:
    """Refuse a directory that files cannot be written into, or that holds what is read.

    Permissions do not tell (root may write anywhere, save in /proc and on read-only disks), so a file is
    made, in it or in the first directory above it that exists.

    Parameters
    ----------
    directory : Path
        Need not exist.
    inputs : iterable of path-like or None
        Directories that the work reads.

    Raises
    ------
    InputError
        If no file can be made there.
    ConfigError
        If it is one of the inputs.
    """
    place = directory.absolute()
    for item in inputs:
        if item is not None and Path(item).absolute().resolve() == place.resolve():
            raise ConfigError(
                "the output directory is also an input, which would be written over",
                where=str(directory),
                hint="choose another output directory",
            )
    existing = next(parent for parent in (place, *place.parents) if os.path.lexists(parent))
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".", suffix=".tmp"):
            pass
    except OSError as error:
        raise InputError(
            f"no file can be made in {existing}: {error.strerror}",
            where=str(directory),
            hint="choose an output directory that can be written",
        ) from error
