"""Small jobs for engine tests; importable by spawned workers."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from corpuskit.documents import Tally
from corpuskit.errors import InputError
from corpuskit.jobs import Outcome, Slice, Task, Workspace, outputs_of


def double(task: Task, workspace: Workspace) -> Outcome:
    (piece,) = task.inputs
    text = Path(piece.path).read_text()
    if text == "raise":
        raise ValueError("an unexpected thing")
    if text == "user error":
        raise InputError("a bad line", where=piece.path, hint="mend it")
    if text.startswith("die once:") and not Path(text[9:]).exists():
        Path(text[9:]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "lose":
        return Outcome((), Tally(2, 1))
    if text == "slow":
        time.sleep(0.3)
    with workspace.publish("doubled", suffix=".txt") as publication:
        publication.path.write_text(text * 2 + str(task.config))
        publication.rows = 1
    workspace.report_progress(piece.stop or len(text))
    return Outcome((publication.output,), Tally(1, 1))


def join(task: Task, workspace: Workspace) -> Outcome:
    with workspace.publish("joined", suffix=".txt") as publication:
        publication.path.write_text("".join(Path(piece.path).read_text() for piece in task.inputs))
    return Outcome((publication.output,), metrics={"parts": len(task.inputs)})


@dataclass(frozen=True)
class DoubleAndJoin:
    """Doubles every input file, then joins all of them."""

    paths: tuple[str, ...]
    config: int = 0
    name = "double"
    phases = ("double", "join")

    def plan(self, phase, done):
        if phase == "double":
            return [
                Task(i, double, (Slice(path, relative_path=Path(path).name),), self.config)
                for i, path in enumerate(self.paths)
            ]
        return [Task(0, join, tuple(o.as_slice() for o in outputs_of(done["double"], "doubled")))]


def process(task: Task, workspace: Workspace) -> Outcome:
    return Outcome((), metrics={"process": os.getpid()})


@dataclass(frozen=True)
class Processes:
    """Two phases that say in which process each task ran; in between, the planner may kill one."""

    kill: bool = False
    name = "processes"
    phases = ("first", "second")

    def plan(self, phase, done):
        if self.kill and phase == "second":
            victim = done["first"][0].outcome.metrics["process"]
            os.kill(victim, signal.SIGKILL)
            while Path(f"/proc/{victim}/stat").read_text().split()[2] != "Z":
                time.sleep(0.01)
        return [Task(i, process, (), (phase, i)) for i in range(6)]


def sleep(task: Task, workspace: Workspace) -> Outcome:
    time.sleep(task.config)
    with workspace.publish("slept", suffix=".txt") as publication:
        publication.path.write_text(task.name)
    return Outcome((publication.output,), Tally(1, 1))


@dataclass(frozen=True)
class Sleepers:
    """Tasks that take a while."""

    tasks: int
    seconds: float
    memory_bytes: int = 1 << 20
    name = "sleepers"
    phases = ("sleep",)

    def plan(self, phase, done):
        return [Task(i, sleep, (), self.seconds, self.memory_bytes) for i in range(self.tasks)]


def parts(task: Task, workspace: Workspace) -> Outcome:
    done = workspace.load_checkpoint()
    begun_at = len(done)
    flag = Path(Path(task.inputs[0].path).read_text())
    for number in range(begun_at, 4):
        if number == 2 and not flag.exists():
            flag.touch()
            raise ValueError("stopped after 2 parts")
        with workspace.publish("part", number, suffix=".txt") as publication:
            publication.path.write_text(str(number))
        done = [*done, {"outputs": [publication.output], "position": number}]
        workspace.save_checkpoint(done)
    return Outcome(tuple(o for part in done for o in part["outputs"]), metrics={"begun_at": begun_at})


@dataclass(frozen=True)
class Parts:
    """One task of four parts that stops once in the middle."""

    paths: tuple[str, ...]
    name = "parts"
    phases = ("parts",)

    def plan(self, phase, done):
        return [Task(0, parts, (Slice(self.paths[0], relative_path="x"),))]


@dataclass(frozen=True)
class DirectoryConfig:
    directory: str


def read_directory(task: Task, workspace: Workspace) -> Outcome:
    text = (Path(task.config.directory) / "deep" / "a.txt").read_text(encoding="utf-8")
    return Outcome((), metrics={"text": text})


@dataclass(frozen=True)
class ReadDirectory:
    """One task that reads a directory which its configuration names."""

    directory: str
    name = "directory"
    phases = ("read",)

    def plan(self, phase, done):
        return [Task(0, read_directory, (), DirectoryConfig(self.directory))]
