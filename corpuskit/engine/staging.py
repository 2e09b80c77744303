"""Runs a task whose inputs or outputs lie in an object store: the task function sees local paths only.

Inputs of the run are fetched to the node's scratch, once a node, and compared with their checksums. Of a
partitioned file (`corpuskit.partitioned`) a task fetches only the bytes of its own partition; what the node
keeps is the footer, which says where they are. Outputs are sent off as soon as they are finished, under keys
of this attempt, and leave the disk again: ``kind/<attempt>/00000-0000.arrow``, so that a file's name is the
one it has on a disk. Two attempts of a task (a worker that was given up for lost, and its repetition) never
meet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpuskit.engine.objects import ObjectStore
from corpuskit.errors import ArtifactError
from corpuskit.jobs import Outcome, Output, Publication, Slice, Task, Workspace
from corpuskit.partitioned import (
    Footer,
    footer_bytes,
    missing_footer_bytes,
    parse_footer,
    staged_batch,
)

if TYPE_CHECKING:
    from corpuskit.engine.protocol import Call

_WHOLE_BYTES = 64 << 10
"""A partitioned file up to this size is fetched whole: a request takes longer than its bytes."""

_RANGES_AT_ONCE = 24
"""Requests for ranges that a task has open: they wait for the store, not for this machine. As many as
pyarrow's S3 client has connections, about."""

_CHECK_SHARE = 64
"""The room is looked at again when a task has kept this part of `scratch_bytes`: looking reads the directory,
which for each of thousands of footers would take longer than fetching them."""


def execute_staged(call: Call, store: ObjectStore, report_progress: Callable[[int], None]) -> Outcome:
    """Run a call of a stored run in this process."""
    with _task_directory(store) as directory:
        task = _stage(call, store, directory)
        workspace = StagedWorkspace(
            directory / "out", directory / "checkpoint.json", call.key, call.task.name, report_progress,
            store=store, base=call.directory, ledger=call.checkpoint_path, attempt=os.urandom(6).hex(),
        )  # fmt: skip
        return workspace.finish(call.task.function(task, workspace))


@dataclass
class StagedWorkspace(Workspace):
    """A `Workspace` on local scratch whose files, checkpoints and verdicts go to the store at once.

    Attributes
    ----------
    store : ObjectStore
    base, ledger : str
        Keys: of the phase's directory, and of the task's checkpoint.
    attempt : str
        Part of the keys of everything published.
    """

    store: ObjectStore = field(kw_only=True)
    base: str = field(kw_only=True)
    ledger: str = field(kw_only=True)
    attempt: str = field(kw_only=True)

    @contextmanager
    def publish(self, kind: str, part: int = 0, suffix: str = ".arrow") -> Iterator[Publication]:
        """As on a disk; `publication.output` has the object's URL for a path."""
        with super().publish(kind, part, suffix) as publication:
            yield publication
        if publication.output is not None:
            publication.output = self._send(publication.output)

    def finish(self, outcome: Outcome) -> Outcome:
        """The outcome with every file in the store."""
        return replace(outcome, outputs=tuple(self._send(output) for output in outcome.outputs))

    def load_checkpoint(self) -> list[dict]:
        """As on a disk; a part counts if its objects are there."""
        stored = self._load(self.ledger)
        if stored.get("key") != self.key:
            return []
        parts = []
        for part in stored["parts"]:
            outputs = [Output(**{**o, "path": self.store.url_of(f"{self.base}/{o['path']}")})
                       for o in part["outputs"]]  # fmt: skip
            if not all(self.store.size(self.store.key(o.path)) == o.bytes for o in outputs):
                break
            parts.append({**part, "outputs": outputs})
        return parts

    def save_checkpoint(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """As on a disk."""
        base = self.store.url_of(self.base) + "/"
        plain = [
            {**part, "outputs": [{**o.__dict__, "path": o.path.removeprefix(base)} for o in part["outputs"]]}
            for part in parts
        ]
        self._save(self.ledger, {"key": self.key, "parts": plain})

    def load_verdicts(self) -> dict[str, dict[str, Any]]:
        """As on a disk."""
        stored = self._load(self._verdicts_key)
        return dict(stored["verdicts"]) if stored.get("key") == self.key else {}

    def save_verdicts(self, verdicts: Mapping[str, Mapping[str, Any]]) -> None:
        """As on a disk."""
        self._save(self._verdicts_key, {"key": self.key, "verdicts": verdicts})

    @property
    def _verdicts_key(self) -> str:
        return f"{self.ledger.rpartition('/')[0]}/{self.verdicts_path.name}"

    def _send(self, output: Output) -> Output:
        if self.store.holds(output.path):
            return output
        local = Path(output.path)
        key = f"{self.base}/{output.kind}/{self.attempt}/{local.name}"
        self.store.upload(local, key)
        local.unlink()
        return replace(output, path=self.store.url_of(key))

    def _load(self, key: str) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            stored = json.loads(self.store.read(key) or b"{}")
            if isinstance(stored, dict):
                return stored
        return {}

    def _save(self, key: str, content: Mapping[str, Any]) -> None:
        self.store.write(key, json.dumps(content, ensure_ascii=False, sort_keys=True).encode())


def _stage(call: Call, store: ObjectStore, directory: Path) -> Task:
    """The task with local paths for everything that lies in the store."""
    cache = NodeCache(store)
    names = dict(call.directories)

    def fetch(item: tuple[int, Slice]) -> Slice:
        index, piece = item
        if store.holds(piece.path):
            target = directory / "in" / f"{index:05d}" / Path(piece.path).name
            key = store.key(piece.path)
            if not piece.batches or partition is None:
                cache.fetch(key, piece.identity, target)
            else:
                cache.fetch_batch(key, piece, partition, target)
            return replace(piece, path=str(target))
        return replace(piece, path=_renamed(piece.path, names, cache))

    partition = call.task.partition
    at_once = {} if partition is None else {"at_once": _RANGES_AT_ONCE}
    inputs = tuple(store.each(fetch, list(enumerate(call.task.inputs)), **at_once))
    return replace(call.task, inputs=inputs, config=localized(call.task.config, names, cache))


def localized(value: Any, names: Mapping[str, str], cache: NodeCache) -> Any:
    """A configuration in which the driver's paths (the keys of `names`) are this node's copies."""
    if not names:
        return value
    if isinstance(value, str):
        return _renamed(value, names, cache)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        changed = [localized(item, names, cache) for item in value]
        return value if all(a is b for a, b in zip(changed, value)) else type(value)(changed)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        changed_fields = {name: localized(item, names, cache) for name, item in fields.items()}
        different = {name: item for name, item in changed_fields.items() if item is not fields[name]}
        return replace(value, **different) if different else value
    return value


def _renamed(path: str, names: Mapping[str, str], cache: NodeCache) -> str:
    if path in names:
        return str(cache.tree(names[path]))
    for name, key in names.items():
        if path.startswith(name + os.sep):
            return str(cache.tree(key) / path[len(name) + 1 :])
    return path


class NodeCache:
    """Objects on this node's disk, fetched once, the longest unused given up first."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._unchecked: int | None = None
        self._files = store.scratch_path / "objects"
        self._trees = store.scratch_path / "trees"
        for directory in (self._files, self._trees):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def fetch(self, key: str, checksum: str | None, target: Path) -> None:
        """Put an object at `target` (a hard link: giving up the cached file does not touch it)."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if checksum is None:
            self._store.download(key, target)
            return
        cached = self._files / checksum
        while True:
            self._keep(cached, lambda temporary: self._store.download(key, temporary, checksum))
            with contextlib.suppress(FileNotFoundError):  # another task needed the room at this moment
                os.utime(cached)
                os.link(cached, target)
                return

    def fetch_batch(self, key: str, piece: Slice, number: int, target: Path) -> None:
        """Put one batch of a partitioned file at `target`, as a file that `corpuskit.partitioned` reads."""
        size, name = piece.size_bytes or 0, piece.identity
        if name is None or size <= _WHOLE_BYTES or (self._files / name).exists():
            self.fetch(key, name, target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        kept = self._files / f"{name}.footer"
        try:
            content = self._range(key, piece, number, kept)
        except (ArtifactError, ValueError):
            # The batch may be whole, and the footer, which has no checksum, not the one that was written.
            kept.unlink(missing_ok=True)
            content = self._range(key, piece, number, kept)
        target.write_bytes(content)

    def _range(self, key: str, piece: Slice, number: int, kept: Path) -> bytes:
        footer = self._footer(key, piece, kept)
        start, length = footer.range(number)
        return self._store.read_range(
            key, start, length, lambda content: staged_batch(footer.schema, content, number)
        )

    def _footer(self, key: str, piece: Slice, kept: Path) -> Footer:
        size = piece.size_bytes or 0
        while True:
            self._keep(kept, lambda temporary: temporary.write_bytes(self._tail(key, piece.batches, size)))
            with contextlib.suppress(FileNotFoundError):
                os.utime(kept)
                return parse_footer(kept.read_bytes(), size)

    def _tail(self, key: str, batches: int, size: int) -> bytes:
        """The end of an object with its whole footer."""

        def checked(tail: bytes) -> bytes:
            if len(parse_footer(tail, size).blocks) != batches:
                raise ValueError(f"it does not have {batches} partitions")
            return tail

        def found(tail: bytes) -> bytes:
            return tail if missing_footer_bytes(tail) else checked(tail)

        length = footer_bytes(batches, size)
        tail = self._store.read_range(key, size - length, length, found)
        if missing := missing_footer_bytes(tail):
            length = min(size, length + missing)
            tail = self._store.read_range(key, size - length, length, checked)
        return tail

    def _keep(self, cached: Path, make: Callable[[Path], Any]) -> None:
        """Have a file in the cache, made by one process of the node; `make` writes it to another name."""
        if cached.exists():
            return
        with _locked(self._files / f"{cached.name}.lock"):
            if cached.exists():
                return
            temporary = self._files / f".{cached.name}.{os.getpid()}.tmp"
            try:
                make(temporary)
                size = temporary.stat().st_size
                temporary.replace(cached)
            finally:
                temporary.unlink(missing_ok=True)
        if self._unchecked is None or self._unchecked + size > self._store.scratch_bytes // _CHECK_SHARE:
            self._give_up(cached)
            self._unchecked = 0
        else:
            self._unchecked += size

    def tree(self, key: str) -> Path:
        """A file or directory of the store that never changes under its key."""
        target = self._trees / key
        with _locked(self._trees / f"{key.replace('/', '_')}.lock"):
            if target.exists():
                return target
            found = self._store.sizes(key)
            if not found:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._store.download(key, target)
                return target
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".tree-"))
            for name in found:
                file = temporary / name.removeprefix(key + "/")
                file.parent.mkdir(parents=True, exist_ok=True)
                self._store.download(name, file)
            temporary.replace(target)
        return target

    def _give_up(self, keep: Path) -> None:
        files = []
        for path in self._files.iterdir():
            with contextlib.suppress(OSError):
                if not path.name.startswith(".") and path.suffix != ".lock":
                    status = path.stat()
                    files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._store.scratch_bytes:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
                total -= size


@contextlib.contextmanager
def _task_directory(store: ObjectStore) -> Iterator[Path]:
    """A directory for one attempt; those that killed processes left are removed."""
    root = store.scratch_path / "tasks"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in root.iterdir():
        _remove_if_unused(left)
    directory = Path(tempfile.mkdtemp(dir=root))
    with (directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_if_unused(directory: Path) -> None:
    try:
        with (directory / ".lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
    except OSError:  # in use, or being made at this moment
        return


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process of this node at a time."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
