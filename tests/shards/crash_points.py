"""Faults at every change that an operation makes to the file system.

`faults` wraps the calls through which datasets are written. At the chosen call it does half of the work
(half the bytes of a write) and then raises, finds the disk full, or kills the process. As a program it
does so in forked children, whose parent never starts a thread: ``crash_points.py DIRECTORY STEP OPERATION…``
prints one JSON line a point.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent))
from shard_fakes import TEXTS, ByteTokenizer, flip_bit

from corpuskit import shards
from corpuskit.errors import ArtifactError, ResourceError
from corpuskit.jobs import Entry, Slice, Workspace
from corpuskit.shards import job as job_module

TOKENIZER = ByteTokenizer()

_OURS = ((os, "write"), (os, "fsync"), (os, "replace"), (os, "link"), (os, "mkdir"), (os, "unlink"))
_OURS += ((Path, "write_text"), (shutil, "copyfile"))
_NEED_SPACE = ("write", "fsync", "replace", "link", "mkdir", "write_text", "copyfile")


class Fault(Exception):
    """What the ``error`` kind raises: nothing that the package knows."""


@contextlib.contextmanager
def faults(kind: str, at: int) -> Iterator[list[str]]:
    """Let call number `at` (from 0) fail; yields the names of the calls that were made."""
    made: list[str] = []
    originals = [getattr(owner, name) for owner, name in _OURS]

    def wrap(name: str, original: Callable) -> Callable:
        def call(*arguments, **options):
            if name == "mkdir" and Path(arguments[0]).exists():
                return original(*arguments, **options)  # it says so, on a full disk too
            made.append(name)
            number = len(made) - 1
            is_full = kind == "full" and number >= at >= 0 and name in _NEED_SPACE
            if number != at and not is_full:
                # Syncing is counted, not done: the tests run on any disk.
                return None if name == "fsync" else original(*arguments, **options)
            if name == "write":
                original(arguments[0], arguments[1][: len(arguments[1]) // 2])
            elif name == "write_text":
                original(arguments[0], arguments[1][: len(arguments[1]) // 2], **options)
            elif name == "copyfile":
                content = Path(arguments[0]).read_bytes()
                Path(arguments[1]).write_bytes(content[: len(content) // 2])
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            if kind == "full":  # removing a file needs no space
                return original(*arguments, **options)
            raise Fault(name)

        return call

    try:
        for (owner, name), original in zip(_OURS, originals):
            setattr(owner, name, wrap(name, original))
        yield made
    finally:
        for (owner, name), original in zip(_OURS, originals):
            setattr(owner, name, original)


@dataclass(frozen=True)
class Operation:
    """Something that changes datasets.

    Attributes
    ----------
    prepare, run : callable
        Of a directory; `run` is called again after a fault.
    targets : tuple of str
        The datasets it makes or changes, below the directory.
    always_opens : bool
        The old dataset can be opened at every moment.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Path], object]
    targets: tuple[str, ...] = ("out",)
    always_opens: bool = False


def table(first: int = 0, count: int = 2) -> pa.Table:
    texts = TEXTS * count
    ids = [f"doc-{first + i}" for i in range(len(texts))]
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})


def dataset(base: Path, name: str, first: int = 0, shard_tokens: int = 150) -> None:
    shards.write(table(first), base / name, tokenizer=TOKENIZER, shard_tokens=shard_tokens)
    (base / name / "tokenizer").mkdir()
    (base / name / "tokenizer" / "tokenizer.json").write_text("{}")


def _two(base: Path) -> None:
    dataset(base, "a", shard_tokens=1000)
    dataset(base, "b", 100)


def _damaged(base: Path) -> None:
    dataset(base, "copy")
    shutil.copytree(base / "copy", base / "out")
    path = base / "out" / "shard-00001.arrow"
    flip_bit(path, path.read_bytes().index("天".encode()[0]))
    (base / "out" / "packing-0123.json").write_text("{}")


def _parts(base: Path) -> None:
    from corpuskit.documents import document_batch

    (base / "work" / "shard").mkdir(parents=True)
    for number in range(2):
        rows = document_batch([f"p{number}-{i}" for i in range(len(TEXTS))], TEXTS)
        with pa.ipc.new_file(str(base / f"part-{number}.arrow"), rows.schema) as writer:
            writer.write_batch(rows)


def _encoded(base: Path) -> list[Entry]:
    """The tasks of a `ShardsJob`, as an engine would run them."""
    with mock.patch.object(job_module, "load_tokenizer", lambda directory: TOKENIZER):
        return _run_tasks(base)


def _run_tasks(base: Path) -> list[Entry]:
    job_module._tokenizer.cache_clear()
    slices = tuple(Slice(str(base / f"part-{n}.arrow")) for n in range(2))
    entries = []
    for task in shards.ShardsJob(slices, "tokenizer", shard_tokens=250, group_bytes=1).plan("encode", {}):
        directory = base / "work"
        place = Workspace(directory, directory / f"{task.name}.checkpoint", "key", task.name)
        entries.append(Entry(task.name, "key", task.function(task, place)))
    return entries


def _appendable(base: Path) -> None:
    dataset(base, "out", 500)
    _parts(base)


WRITE = {"tokenizer": TOKENIZER, "shard_tokens": 250, "resume": True}

OPERATIONS = {
    "write": Operation(lambda base: None, lambda base: shards.write(table(), base / "out", **WRITE)),
    "append": Operation(
        lambda base: dataset(base, "out"),
        lambda base: shards.append(table(100), base / "out", **WRITE),
        always_opens=True,
    ),
    "merge": Operation(_two, lambda base: shards.merge([base / "a", base / "b"], base / "out")),
    "split": Operation(
        lambda base: dataset(base, "a"),
        lambda base: shards.split(base / "a", base / "out", validation=0.4, seed=1, shard_tokens=250),
        ("out/train", "out/validation"),
    ),
    "reshard": Operation(
        lambda base: dataset(base, "a"),
        lambda base: shards.reshard(base / "a", base / "out", shard_tokens=300),
    ),
    "job": Operation(
        _parts,
        lambda base: shards.publish(
            _encoded(base), base / "out", TOKENIZER, operation=shards.Operation("write", {"inputs": "x"})
        ),
    ),
    "job-append": Operation(
        _appendable,
        lambda base: shards.publish_appended(
            _encoded(base), base / "out", TOKENIZER, shards.Operation("append", {"inputs": "x"})
        ),
        always_opens=True,
    ),
    "repair-copy": Operation(_damaged, lambda base: shards.repair(base / "out", source=base / "copy")),
    "repair-documents": Operation(
        _damaged,
        lambda base: shards.repair(base / "out", documents=table(), tokenizer=TOKENIZER),
    ),
    "repair-drop": Operation(_damaged, lambda base: shards.repair(base / "out", drop=True)),
}


@dataclass
class Trial:
    """An operation with its undisturbed result, tried with a fault at one point after the other."""

    name: str
    base: Path
    calls: list[str] = field(default_factory=list)
    expected: dict[str, bytes] = field(default_factory=dict)
    before: dict[str, list] = field(default_factory=dict)
    after: dict[str, list] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.operation = OPERATIONS[self.name]
        (self.base / "prepared").mkdir(parents=True)
        with faults("none", -1):
            self.operation.prepare(self.base / "prepared")
        for target in self.operation.targets:
            self.before[target] = documents(self.base / "prepared" / target)
        whole = self.place("whole")
        with faults("none", -1) as calls:
            self.operation.run(whole)
        self.calls = list(calls)
        self.expected = contents(whole, self.operation.targets)
        with faults("none", -1):
            self.operation.run(whole)
        if contents(whole, self.operation.targets) != self.expected:
            raise AssertionError(f"{self.name}: once more when it was finished, it changes something")
        for target in self.operation.targets:
            self.after[target] = documents(whole / target)

    def place(self, name: str) -> Path:
        place = self.base / name
        shutil.copytree(self.base / "prepared", place)
        return place

    def disturb(self, kind: str, at: int) -> str:
        """Run with a fault; then check what is there, run again and compare. Returns what happened."""
        place = self.place(f"{kind}-{at}")
        happened = self._killed(place, at) if kind == "kill" else self._failed(place, kind, at)
        for target in self.operation.targets:
            self._check(place / target, target)
        with faults("none", -1):
            self.operation.run(place)
        if contents(place, self.operation.targets) != self.expected:
            raise AssertionError(f"{self.name}: run again after {kind} at {at}, the bytes differ")
        shutil.rmtree(place)
        return happened

    def _failed(self, place: Path, kind: str, at: int) -> str:
        try:
            with faults(kind, at):
                self.operation.run(place)
        except Fault:
            return "error"
        except ResourceError as error:
            if not error.where or "free some space" not in str(error.hint):
                raise AssertionError(f"{error!r} does not say where and what to do") from error
            return "full"
        return "none"

    def _killed(self, place: Path, at: int) -> str:
        child = os.fork()
        if child == 0:
            try:
                with faults("kill", at):
                    self.operation.run(place)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise AssertionError(f"the child of {self.name} was not killed at {at}")
        return "kill"

    def _check(self, directory: Path, target: str) -> None:
        whole = documents(directory)
        allowed = [self.after[target], self.before[target]]
        if whole not in allowed:
            raise AssertionError(f"{directory} opens with other documents than before or after")
        if self.operation.always_opens and whole is None:
            raise AssertionError(f"{directory} does not open as it was before")
        prefix = documents(directory, allow_incomplete=True)
        if whole is None and prefix is not None and prefix != self.after[target][: len(prefix)]:
            raise AssertionError(f"{directory} is not a prefix")


def documents(directory: Path, **options) -> list | None:
    """What a dataset holds, every byte checked; None if it says that it is incomplete or damaged."""
    try:
        data = shards.open(directory, verify="full", **options)
    except ArtifactError:
        return None
    return [(document.id, document.tokens.tolist()) for document in data]


def contents(base: Path, targets: tuple[str, ...]) -> dict[str, bytes]:
    """Every file of the targets, temporary ones too."""
    return {
        str(path.relative_to(base)): path.read_bytes()
        for target in targets
        for path in sorted((base / target).rglob("*"))
        if path.is_file()
    }


def main(base: str, step: str, *names: str) -> None:
    """Kill at every `step`-th point of the named operations."""
    for name in names:
        trial = Trial(name, Path(base) / name)
        for at in chosen(trial, int(step)):
            happened = trial.disturb("kill", at)
            print(json.dumps({"name": name, "at": at, "happened": happened}), flush=True)


def chosen(trial: Trial, step: int) -> range:
    """Every `step`-th point, all of a few; which ones differs from operation to operation."""
    if len(trial.calls) < 2 * step:
        step = 1
    return range(len(trial.name) % step, len(trial.calls), step)


if __name__ == "__main__":
    main(*sys.argv[1:])
