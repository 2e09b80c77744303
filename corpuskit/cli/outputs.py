"""What commands ask of the files they are to write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


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
