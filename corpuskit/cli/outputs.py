"""What commands ask of the files they are to write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def require_writable(*paths: Path, option: str = "--output") -> None:
    """Refuse a target that cannot be written, before the work rather than after.

    Permissions do not tell (root may write anywhere, save in /proc and on read-only disks), so a file
    is made, where the target or the first directory above it that exists is.
    """
    from corpuskit.errors import InputError
    from corpuskit.files import is_replaceable

    for path in paths:
        target = path.absolute()
        existing = next(parent for parent in target.parents if parent.exists())
        problem = "it is a directory" if target.is_dir() else None
        if problem is None and not is_replaceable(target):
            problem = "it is a device or a pipe, and the file is to appear whole or not at all"
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


def require_distinct(outputs: Iterable[Path | None], inputs: Iterable[str | os.PathLike | None]) -> None:
    """Refuse an output that would replace something the command reads, or another output."""
    from corpuskit.errors import InputError

    taken: list[tuple[Path, str]] = [(Path(path), "an input") for path in inputs if path is not None]
    for output in outputs:
        if output is None:
            continue
        for other, what in taken:
            same = output.exists() and other.exists() and output.samefile(other)
            if same or output.absolute() == other.absolute():
                raise InputError(
                    f"the output is also {what}", where=str(output), hint="choose another output file"
                )
        taken.append((output, "another output"))
