"""What commands ask of the files they are to write."""

from __future__ import annotations

import tempfile
from pathlib import Path


def require_writable(*paths: Path, option: str = "--output") -> None:
    """Refuse a target that cannot be written, before the work rather than after.

    Permissions do not tell (root may write anywhere, save in /proc and on read-only disks), so a file
    is made, where the target or the first directory above it that exists is.
    """
    from corpuskit.errors import InputError

    for path in paths:
        target = path.absolute()
        existing = next(parent for parent in target.parents if parent.exists())
        problem = "it is a directory" if target.is_dir() else None
        if problem is None:
            try:
                with tempfile.NamedTemporaryFile(dir=existing, prefix=".", suffix=".tmp"):
                    pass
            except OSError as error:
                problem = f"no file can be made in {existing} ({error.strerror})"
        if problem is not None:
            raise InputError(
                f"the file cannot be written: {problem}",
                where=str(path),
                hint=f"give {option} a file in a directory that can be written",
            )
