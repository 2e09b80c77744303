"""What earlier crawls held, on disk, so that a new one is deduplicated against them and then added.

An index is a directory: ``index.json`` (the manifest) names immutable segments, one for each run that was
added, ``segments/<run>/``: band hashes, what the keep rule knows of each document, the texts (zstd), and
what was removed. Old documents are therefore compared from their texts exactly as new ones are, never by
an estimate: that costs 336 bytes a document at 14 bands, and the compressed text.

Crash-safe by order: files of a segment are written under other names, synced and renamed, then the
manifest is replaced in one rename. A process killed at any moment leaves the old index or the new one; what
a killed one left lying is removed by the next. A run is named by the checksums of its documents, so adding
it again changes nothing, and running it again compares it with what the index held *before* it. Two runs
cannot be added at the same time unnoticed: a run that began before another was added is refused and must
be run again, on the index as it is now.

Band hashes and keep order are only comparable between equal configurations; an index holds the one it was
made with and refuses every other.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from corpuskit.dedup.partitions import STORED
from corpuskit.errors import ArtifactError, LedgerError, MismatchError
from corpuskit.files import atomic_path, checksum, is_temporary, write_json
from corpuskit.jobs import Slice

FORMAT = 1
MANIFEST = "index.json"
_SEGMENTS = "segments"


@dataclass(frozen=True)
class IndexPart:
    """What the index holds of one document part of an earlier run.

    Attributes
    ----------
    bands, documents, texts : Slice
    """

    bands: Slice
    documents: Slice
    texts: Slice


@dataclass(frozen=True)
class IndexState:
    """The index as one run sees it: everything that was added before that run.

    Attributes
    ----------
    directory : str
    run : str
        Name of the run (and of its segment).
    segments : tuple of str
        Names of the segments before it.
    parts : tuple of IndexPart
        Their document parts; part numbers of the run begin after them.
    decisions : tuple of Slice
        What was removed, a file for each segment.
    manifest : Slice
        The user's own file, as far as the ledger is concerned: when it changes, adding is checked again.
    """

    directory: str
    run: str
    segments: tuple[str, ...]
    parts: tuple[IndexPart, ...]
    decisions: tuple[Slice, ...]
    manifest: Slice

    @classmethod
    def open(
        cls, directory: str | os.PathLike, settings: Mapping[str, Any], inputs: Sequence[Slice]
    ) -> IndexState:
        """Open an index, or begin one.

        Parameters
        ----------
        directory : path-like
            Made where it does not exist.
        settings : mapping
            Plain values: everything that must be equal for documents to be comparable.
        inputs : sequence of Slice
            The documents of the run.

        Raises
        ------
        MismatchError
            If the index was made with other settings.
        ArtifactError
            If the manifest cannot be read.
        """
        root = Path(directory).absolute()
        if not (root / MANIFEST).exists():
            with _locked(root):
                if not (root / MANIFEST).exists():
                    write_json(
                        root / MANIFEST, {"format": FORMAT, "settings": dict(settings), "segments": []}
                    )
        manifest = _load(root)
        _require_equal(manifest["settings"], settings, root)
        run = run_name(inputs)
        segments = manifest["segments"]
        names = [segment["name"] for segment in segments]
        if run in names:
            segments = segments[: names.index(run)]
        return cls(
            str(root),
            run,
            tuple(segment["name"] for segment in segments),
            tuple(_part(root, segment["name"], part) for segment in segments for part in segment["parts"]),
            tuple(_slice(root, segment["name"], segment["decisions"]) for segment in segments),
            Slice(str(root / MANIFEST), relative_path=MANIFEST),
        )


def run_name(inputs: Sequence[Slice]) -> str:
    """The name of a run: a hash (32 hexadecimal digits) of the checksums of its files."""
    state = xxhash.xxh3_128()
    for digest in sorted(piece.identity or checksum(piece.path) for piece in inputs):
        state.update(digest.encode() + b"\n")
    return state.hexdigest()


def append(
    directory: str | os.PathLike,
    run: str,
    segments: Sequence[str],
    parts: Sequence[Mapping[str, str]],
    decisions: str,
    counts: Mapping[str, int],
) -> bool:
    """Add a run to an index.

    Parameters
    ----------
    directory : path-like
    run : str
    segments : sequence of str
        What the index held when the run began.
    parts : sequence of mapping
        For each document part the paths of its ``bands``, ``documents`` and ``texts``.
    decisions : str
        Path of what was removed.
    counts : mapping
        Recorded with the segment: ``documents`` and ``removed``.

    Returns
    -------
    bool
        False if the run was in the index already (its files are made good where they are damaged).

    Raises
    ------
    LedgerError
        If another run was added since this one began.
    """
    root = Path(directory)
    with _locked(root):
        manifest = _load(root)
        names = [segment["name"] for segment in manifest["segments"]]
        known = run in names
        if not known and names != list(segments):
            raise LedgerError(
                "another run was added to the index since this one began",
                where=str(root),
                hint="run the same command again: it compares with the index as it is now",
            )
        _remove_leftovers(root, {*names, run})
        files: dict[str, Path] = {}
        for number, part in enumerate(parts):
            files |= {f"{kind}-{number:05d}.arrow": Path(path) for kind, path in part.items()}
        files["decisions.arrow"] = Path(decisions)
        described = {name: _describe(name, path) for name, path in files.items()}
        segment = {
            "name": run,
            **counts,
            "parts": [
                {kind: described[f"{kind}-{number:05d}.arrow"] for kind in part}
                for number, part in enumerate(parts)
            ],
            "decisions": described["decisions.arrow"],
        }
        if known and manifest["segments"][names.index(run)] != segment:
            return False  # made by another version of the package: what is there is whole, and stays
        for name, path in files.items():
            _copy(path, root / _SEGMENTS / run / name, described[name]["checksum"])
        if known:
            return False
        write_json(root / MANIFEST, {**manifest, "segments": [*manifest["segments"], segment]})
        return True


def _describe(name: str, source: Path) -> dict[str, Any]:
    return {"file": name, "bytes": source.stat().st_size, "checksum": checksum(source)}


def _copy(source: Path, target: Path, digest: str) -> None:
    """Copy a file into the index unless it is there, whole."""
    if target.exists() and checksum(target) == digest:
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        if checksum(temporary) != digest:
            raise ArtifactError("changed while it was copied", where=str(source))


def _remove_leftovers(root: Path, names: set[str]) -> None:
    """Segments and temporaries of processes that were killed before the manifest named them."""
    for path in [*(root / _SEGMENTS).glob("*"), *root.glob(".*")]:
        if path.is_dir() and path.name not in names:
            shutil.rmtree(path)
        elif is_temporary(path):
            path.unlink(missing_ok=True)
    for path in (root / _SEGMENTS).glob("*/.*"):
        if is_temporary(path):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock when a process dies."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _load(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise MismatchError(
                f"the index has format {manifest['format']!r}, this version reads {FORMAT}", where=str(path)
            )
        _ = manifest["settings"], manifest["segments"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"not an index: {error}", where=str(path)) from error
    return manifest


def _require_equal(stored: Mapping[str, Any], settings: Mapping[str, Any], root: Path) -> None:
    # Other hashes are the consequence wherever anything else differs.
    for name in sorted({*stored, *settings}, key=lambda name: (name == "hashes", name)):
        if stored.get(name) != settings.get(name):
            raise MismatchError(
                f"the index was made with {name} {stored.get(name)!r}, this run has {settings.get(name)!r}",
                where=str(root),
                hint="use the configuration (for hashes: the version) of the index, or begin another index",
            )


def _part(root: Path, segment: str, part: Mapping[str, Any]) -> IndexPart:
    return IndexPart(*(_slice(root, segment, part[kind]) for kind in ("bands", "documents", "texts")))


def _slice(root: Path, segment: str, stored: Mapping[str, Any]) -> Slice:
    path = root / _SEGMENTS / segment / stored["file"]
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactError(
            f"a file of the index cannot be read: {error.strerror}",
            where=str(path),
            hint="bring it back from a backup, or make the index again",
        ) from error
    if size != stored["bytes"]:
        raise ArtifactError(
            f"a file of the index has {size} bytes, {stored['bytes']} were written",
            where=str(path),
            hint="bring it back from a backup, or make the index again",
        )
    relative = f"{segment}/{stored['file']}"
    return Slice(str(path), relative_path=relative, identity=STORED + stored["checksum"])
