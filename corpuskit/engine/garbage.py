"""What no ledger entry names: attempts that lost a race, tasks that were killed, earlier configurations.

On a disk a run removes such files at the end of each phase. In an object store it must not, because a
worker that was given up for lost may still be writing; so this is done later, when no run holds the output.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from corpuskit.engine.holding import hold, hold_store
from corpuskit.engine.leases import LEASES
from corpuskit.engine.ledger import named_outputs
from corpuskit.engine.objects import ObjectStore, is_store_url
from corpuskit.errors import InputError
from corpuskit.files import is_temporary
from corpuskit.jobs import VERDICTS_SUFFIX

_LEDGER = "ledger"
_CHECKPOINT_SUFFIX = ".parts.json"
_KEPT = ("errors.log",)
# What a recipe's run keeps there itself, and what a job's output that is its own root has in it.
_KEPT_BELOW = (f"{_LEDGER}/published", "staged/", f"{LEASES}/", ".run")


@dataclass(frozen=True)
class Garbage:
    """Files that can go.

    Attributes
    ----------
    paths : tuple of str
        Relative to the output, sorted.
    bytes : int
    removed : bool
        Whether they were removed, or only found.
    """

    paths: tuple[str, ...]
    bytes: int
    removed: bool


def collect_garbage(
    output_dir: str | os.PathLike | ObjectStore, *, root: str = "work", remove: bool = False
) -> Garbage:
    """Find, and on request remove, what belongs to no committed or interrupted task.

    Checkpoints of unfinished tasks and what they name are kept, so that a run resumes as before. Uploads
    that were broken off in the middle of a part are invisible here; give the bucket a lifecycle rule that
    aborts incomplete multipart uploads.

    Parameters
    ----------
    output_dir : path-like, URL or ObjectStore
        Of a recipe's run.
    root : str
        The directory below it with the jobs and their ledger; empty for a job that was run alone.
    remove : bool
        Remove what is found.

    Raises
    ------
    LedgerError
        If a run holds the output.
    InputError
        If there is no ledger.
    """
    if isinstance(output_dir, str) and is_store_url(output_dir):
        output_dir = ObjectStore(output_dir)
    if isinstance(output_dir, ObjectStore):
        return _in_store(output_dir, root, remove)
    return _in_directory(Path(output_dir).absolute(), root, remove)


def _in_store(store: ObjectStore, root: str, remove: bool) -> Garbage:
    with hold_store(store) if remove else nullcontext():
        sizes = store.sizes(root)
        prefix = f"{root}/" if root else ""
        found = {key.removeprefix(prefix): size for key, size in sizes.items()}
        entries = [name for name in found if _is_entry(name)]
        texts = dict(zip(entries, store.each(lambda name: store.read(prefix + name) or b"", entries)))
        garbage = [prefix + name for name in _unnamed(found, texts)]
        if remove:
            for _ in store.each(store.delete, garbage):
                pass
    return Garbage(tuple(garbage), sum(sizes[key] for key in garbage), remove)


def _in_directory(output: Path, root: str, remove: bool) -> Garbage:
    base = output / root
    if not (base / _LEDGER).is_dir():
        raise InputError("there is no ledger", where=str(base), hint="name the output directory of a run")
    with hold(output) if remove else nullcontext():
        found = {p.relative_to(base).as_posix(): p.stat().st_size for p in base.rglob("*") if p.is_file()}
        texts = {name: (base / name).read_bytes() for name in found if _is_entry(name)}
        garbage = _unnamed(found, texts)
        if remove:
            for name in garbage:
                (base / name).unlink(missing_ok=True)
    prefix = f"{root}/" if root else ""
    return Garbage(tuple(prefix + name for name in garbage), sum(found[name] for name in garbage), remove)


def _is_entry(name: str) -> bool:
    return name.startswith(f"{_LEDGER}/") and name.endswith(".json")


def _unnamed(found: Iterable[str], texts: dict[str, bytes]) -> list[str]:
    """Of the files `found`, those that neither entries nor checkpoints of unfinished tasks name."""
    keep = set(_KEPT)
    for name, text in texts.items():
        task = name.removesuffix(_CHECKPOINT_SUFFIX)
        if task != name and f"{task}.json" in texts:
            continue  # the task is committed
        directory = name.removeprefix(f"{_LEDGER}/").rpartition("/")[0]
        named = named_outputs(text)
        if named or task == name:
            keep.add(name)
        keep.update(f"{directory}/{path}" for path in named)
    keep.update(name for name in found if name.endswith(VERDICTS_SUFFIX) and not is_temporary(name))
    keep.update(name for name in found if name.startswith(_KEPT_BELOW))
    return sorted(name for name in found if name not in keep)
