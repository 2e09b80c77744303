"""Where a recipe's run keeps what it makes: a directory, or an object store with a directory beside it.

Rooms read and write local files. In a stored run the tasks' files travel by themselves (`corpuskit.engine`);
what the driver reads (surveys, vocabularies, shards to publish) is fetched for it, and what it writes (the
report, tokenizers, ``dataset.json``) is written to a directory of its own and sent on. Everything it keeps
there can be fetched again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from corpuskit.engine import JobResult, ObjectStore, ShardOf, hold, hold_store
from corpuskit.engine.ledger import code_version
from corpuskit.engine.places import Directory, Place, Stored
from corpuskit.files import content_of
from corpuskit.jobs import Entry, Output

WORK = "work"
_PUBLISHED = f"{WORK}/ledger/published.json"
_STAGED = f"{WORK}/staged"
_SHARDS, _MANIFEST = "shards", "dataset.json"


@dataclass
class Home:
    """A directory on a disk that every process of the run sees.

    Attributes
    ----------
    path : Path
        Where the driver reads and writes.
    name : str
        What users are told: a path or a URL.
    private : bool
        Whether `path` is this process's alone, so that a slice must make for itself what others made.
    """

    path: Path
    name: str
    private: bool = False

    @property
    def place(self) -> Place:
        """Where the engine runs jobs."""
        return Directory(self.path / WORK)

    def add(self, path: str | Path) -> None:
        """A file or directory of the driver that tasks read, though it is none of their inputs."""

    def local(self, entries: Sequence[Entry], *kinds: str) -> list[Entry]:
        """`entries` whose outputs of `kinds` are files of this machine."""
        return list(entries)

    def local_result(self, result: JobResult, *kinds: str) -> JobResult:
        """`result` with `local` entries."""
        return replace(
            result,
            entries={name: tuple(self.local(entries, *kinds)) for name, entries in result.entries.items()},
        )

    def is_published(self, entries: Sequence[Entry], fingerprint: str) -> bool:
        """Whether the shards of `entries` are known to be published already, without reading them."""
        return False

    def send(self, name: str) -> None:
        """What was written below `path` as `name` is finished."""

    def send_shards(self, entries: Sequence[Entry], fingerprint: str) -> None:
        """The dataset below `path` is finished."""


@dataclass
class StoredHome(Home):
    """A prefix of an object store; see `Home`."""

    store: ObjectStore = field(kw_only=True)
    guard: Callable[[], None] = field(kw_only=True)
    private: bool = True
    _directories: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return Stored(self.store, WORK, tuple(self._directories.items()), self.guard)

    def add(self, path: str | Path) -> None:
        source = Path(path).absolute()
        key = f"{_STAGED}/{content_of(source)}/{source.name}"
        files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
        there = self.store.sizes(f"{_STAGED}/{content_of(source)}")
        for file in files:
            name = key if file == source else f"{key}/{file.relative_to(source).as_posix()}"
            if there.get(name) != file.stat().st_size:
                self.store.upload(file, name)
        self._directories |= {str(path): key, str(source): key}

    def local(self, entries: Sequence[Entry], *kinds: str) -> list[Entry]:
        def fetched(output: Output) -> Output:
            if output.kind not in kinds or not self.store.holds(output.path):
                return output
            path = self.path / "fetched" / output.checksum / Path(output.path).name
            if not path.is_file() or path.stat().st_size != output.bytes:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f".{path.name}.tmp")
                self.store.download(self.store.key(output.path), temporary, output.checksum)
                temporary.replace(path)
            return replace(output, path=str(path))

        result = []
        for entry in entries:
            outputs = tuple(self.store.each(fetched, list(entry.outcome.outputs)))
            result.append(replace(entry, outcome=replace(entry.outcome, outputs=outputs)))
        return result

    def is_published(self, entries: Sequence[Entry], fingerprint: str) -> bool:
        stored = self.store.read(_PUBLISHED)
        if stored is None or stored != self._published(entries, fingerprint):
            return False
        sizes = self.store.sizes(_SHARDS)
        keys = self._shard_keys(entries)
        if f"{_SHARDS}/{_MANIFEST}" not in sizes or any(sizes.get(k) != o.bytes for k, o in keys.items()):
            return False
        (self.path / _SHARDS).mkdir(parents=True, exist_ok=True)
        self.store.download(f"{_SHARDS}/{_MANIFEST}", self.path / _SHARDS / _MANIFEST)
        return True

    def send(self, name: str) -> None:
        source = self.path / name
        files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
        for file in sorted(files):
            self.guard()
            self.store.upload(file, file.relative_to(self.path).as_posix())

    def send_shards(self, entries: Sequence[Entry], fingerprint: str) -> None:
        """Shards are copied inside the store; ``dataset.json`` goes first from there and comes last."""
        self.guard()
        self.store.delete(_PUBLISHED)
        self.store.delete(f"{_SHARDS}/{_MANIFEST}")
        keys = self._shard_keys(entries)
        for key, output in keys.items():
            self.guard()
            self.store.copy(self.store.key(output.path), key)
        directory = self.path / _SHARDS
        others = [p for p in sorted(directory.rglob("*")) if p.is_file() and not _is_shard(p.name)]
        expected = {*keys, *(f"{_SHARDS}/{p.relative_to(directory).as_posix()}" for p in others)}
        for key in self.store.sizes(_SHARDS):
            if key not in expected:
                self.store.delete(key)
        for path in sorted(others, key=lambda p: p.name == _MANIFEST):
            if not path.name.startswith("."):
                self.store.upload(path, f"{_SHARDS}/{path.relative_to(directory).as_posix()}")
        self.store.write(_PUBLISHED, self._published(entries, fingerprint))
        for path in directory.glob("shard-*.arrow"):  # the disk need not hold them any longer
            path.unlink()
        shutil.rmtree(self.path / "fetched", ignore_errors=True)

    def _shard_keys(self, entries: Sequence[Entry]) -> dict[str, Output]:
        outputs = [output for entry in entries for output in entry.outputs("shard")]
        return {f"{_SHARDS}/shard-{index:05d}.arrow": output for index, output in enumerate(outputs)}

    def _published(self, entries: Sequence[Entry], fingerprint: str) -> bytes:
        shards = {key: output.checksum for key, output in self._shard_keys(entries).items()}
        content = {"code": code_version(), "fingerprint": fingerprint, "shards": shards}
        return json.dumps(content, sort_keys=True, indent=2).encode()


def _is_shard(name: str) -> bool:
    return name.startswith("shard-") and name.endswith(".arrow")


@contextmanager
def open_home(output: str | os.PathLike | ObjectStore, shard: ShardOf | None) -> Iterator[Home]:
    """Hold an output for one run.

    Raises
    ------
    LedgerError
        If another run holds it; the message says which.
    """
    if not isinstance(output, ObjectStore):
        with hold(output, shard) as path:
            yield Home(path, str(path))
        return
    piece = shard or ShardOf()
    with hold_store(output, shard) as guard:
        path = output.scratch_path / f"driver-{piece.number}-of-{piece.count}"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield StoredHome(path, output.url, store=output, guard=guard)
