"""Where a run's files and its ledger lie: a directory, or a prefix of an object store.

Both commit in the same way, by writing a task's ledger entry when its files are in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from corpuskit.engine.ledger import entry_text, parse_entry, task_key
from corpuskit.engine.objects import ObjectStore
from corpuskit.engine.protocol import Call
from corpuskit.files import checksum, write_text
from corpuskit.jobs import VERDICTS_SUFFIX, Entry, Task

_ENTRIES_READ_AT_ONCE = 24  # 200 a second where a request takes 30 ms; eight read 60


class Place(Protocol):
    """What the engine asks of a place; `label` is ``job/phase``.

    Attributes
    ----------
    commits_at_once : int
        How many calls of `save` side by side are faster than one after another.
    """

    @property
    def commits_at_once(self) -> int: ...

    def call(self, task: Task, label: str) -> Call:
        """A task with where it writes."""

    def load(
        self, calls: Sequence[Call], label: str, verified: Mapping[str, Sequence[str] | None]
    ) -> dict[int, Entry]:
        """The valid entries among those of `calls`, by task index.

        Outputs must exist with their recorded size. Where `verified` has checksums of a call's inputs as
        they are now, the outputs' checksums are compared too, and the inputs' with those that an earlier
        verified run recorded, so that a damaged or silently changed file is noticed.
        """

    def save(self, entry: Entry, call: Call, label: str, verified: Sequence[str] | None) -> None:
        """Commit: from here on the task is done. Several threads call it where `commits_at_once` says so."""

    def finish(self, entries: Iterable[Entry], label: str) -> None:
        """Every task of the phase is committed: remove what no entry names, where that is safe."""

    def keep_traceback(self, text: str) -> None:
        """Append to ``errors.log``."""


@dataclass(frozen=True)
class Directory:
    """A directory on a disk that every process of the run sees."""

    root: Path
    commits_at_once: ClassVar[int] = 1

    def call(self, task: Task, label: str) -> Call:
        name = f"{label}/{task.name}"
        checkpoint = self.root / "ledger" / label / f"{task.name}.parts.json"
        return Call(task, name, task_key(task, name), str(self.root / label), str(checkpoint))

    def load(
        self, calls: Sequence[Call], label: str, verified: Mapping[str, Sequence[str] | None]
    ) -> dict[int, Entry]:
        entries = {}
        for call in calls:
            entry = self._load(self._path(call, label), call, verified[call.label])
            if entry is not None:
                entries[call.task.index] = entry
        return entries

    def save(self, entry: Entry, call: Call, label: str, verified: Sequence[str] | None) -> None:
        write_text(self._path(call, label), entry_text(entry, call.directory, verified))
        Path(call.checkpoint_path).unlink(missing_ok=True)

    def finish(self, entries: Iterable[Entry], label: str) -> None:
        kept = list(entries)
        named = {output.path for entry in kept for output in entry.outcome.outputs}
        for path in list((self.root / label).rglob("*")):
            if path.is_file() and str(path) not in named:
                path.unlink()
        ledger, live = self.root / "ledger" / label, {entry.task for entry in kept}
        for path in [*ledger.glob("*.json"), *ledger.glob(f"*{VERDICTS_SUFFIX}")]:
            if path.stem not in live:
                path.unlink()

    def keep_traceback(self, text: str) -> None:
        self.root.mkdir(parents=True, exist_ok=True)  # a first task may fail before anything was published
        with open(self.root / "errors.log", "a", encoding="utf-8") as log:
            log.write(text)

    def _path(self, call: Call, label: str) -> Path:
        return self.root / "ledger" / label / f"{call.task.name}.json"

    def _load(self, path: Path, call: Call, verified: Sequence[str] | None) -> Entry | None:
        try:
            parsed = parse_entry(path.read_bytes(), call.directory, call.key)
            if parsed is None:
                return None
            entry, recorded = parsed
            outputs = entry.outcome.outputs
            if not all(Path(output.path).stat().st_size == output.bytes for output in outputs):
                return None
            if verified is not None:
                if recorded is not None and recorded != list(verified):
                    return None
                if not all(checksum(output.path) == output.checksum for output in outputs):
                    return None
        except OSError:
            return None
        return entry


@dataclass(frozen=True)
class Stored:
    """A prefix of an object store.

    Attributes
    ----------
    store : ObjectStore
    root : str
        Key of the jobs' common directory; may be empty.
    directories : tuple of (str, str)
        See `Call`.
    guard : callable
        Called before each commit, by several threads; raises where this run must not commit any more.
    """

    store: ObjectStore
    root: str = ""
    directories: tuple[tuple[str, str], ...] = ()
    guard: Callable[[], None] = field(default=lambda: None)
    commits_at_once: ClassVar[int] = 16

    def call(self, task: Task, label: str) -> Call:
        name = f"{label}/{task.name}"
        checkpoint = f"{self._ledger(label)}{task.name}.parts.json"
        key = task_key(task, name)
        return Call(task, name, key, self._under(label), checkpoint, self.store, self.directories)

    def load(
        self, calls: Sequence[Call], label: str, verified: Mapping[str, Sequence[str] | None]
    ) -> dict[int, Entry]:
        # Two listings instead of a question for each entry and each output.
        known = self.store.sizes(self._ledger(label).rstrip("/"))
        wanted = [call for call in calls if self._key(call, label) in known]
        if not wanted:
            return {}
        sizes = self.store.sizes(self._under(label))
        texts = self.store.each(
            lambda call: self.store.read(self._key(call, label)), wanted, _ENTRIES_READ_AT_ONCE
        )
        entries = {}
        for call, text in zip(wanted, texts, strict=True):
            parsed = parse_entry(text or b"", self.store.url_of(call.directory), call.key)
            if parsed is not None and self._is_whole(*parsed, sizes, verified[call.label]):
                entries[call.task.index] = parsed[0]
        return entries

    def save(self, entry: Entry, call: Call, label: str, verified: Sequence[str] | None) -> None:
        self.guard()
        text = entry_text(entry, self.store.url_of(call.directory), verified)
        self.store.write(self._key(call, label), text.encode())

    def finish(self, entries: Iterable[Entry], label: str) -> None:
        """Nothing: a worker that was given up for lost may still be sending; `corpuskit gc` removes later."""

    def keep_traceback(self, text: str) -> None:
        key = f"{self.root}/errors.log".lstrip("/")
        self.store.write(key, (self.store.read(key) or b"") + text.encode())

    def _is_whole(
        self,
        entry: Entry,
        recorded: list[str] | None,
        sizes: Mapping[str, int],
        verified: Sequence[str] | None,
    ) -> bool:
        keys = [(self.store.key(output.path), output) for output in entry.outcome.outputs]
        if not all(sizes.get(key) == output.bytes for key, output in keys):
            return False
        if verified is None:
            return True
        if recorded is not None and recorded != list(verified):
            return False
        return all(self.store.checksum(key) == output.checksum for key, output in keys)

    def _under(self, name: str) -> str:
        return f"{self.root}/{name}".lstrip("/")

    def _ledger(self, label: str) -> str:
        return self._under(f"ledger/{label}/")

    def _key(self, call: Call, label: str) -> str:
        return f"{self._ledger(label)}{call.task.name}.json"
