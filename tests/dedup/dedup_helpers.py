"""Running a job without an engine, and making texts with known similarity."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from corpuskit.documents import Tally
from corpuskit.files import checksum
from corpuskit.jobs import Entry, Slice, Workspace, outputs_of


def run_serially(job, directory: Path, rng: random.Random | None = None) -> dict[str, list[Entry]]:
    """Execute every phase; with `rng` the tasks of a phase finish in a random order."""
    done: dict[str, list[Entry]] = {}
    for phase in job.phases:
        tasks = job.plan(phase, done)
        entries = {}
        for task in rng.sample(tasks, len(tasks)) if rng else tasks:
            place = directory / phase
            workspace = Workspace(place, place / f"{task.name}.checkpoint", "k", task.name)
            outcome = task.function(task, workspace)
            if outcome.tally is not None:
                outcome.tally.check(task.name)
            entries[task.index] = Entry(task.name, "k", outcome)
        done[phase] = [entries[index] for index in sorted(entries)]
    return done


def write_part(path: Path, batches: list[pa.RecordBatch]) -> Slice:
    with ipc.new_file(str(path), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return Slice(str(path), relative_path=path.name, identity=checksum(path))


def rows_of(entries: list[Entry], kind: str) -> list[dict]:
    rows = []
    for output in outputs_of(entries, kind):
        with ipc.open_file(output.path) as reader:
            rows += reader.read_all().to_pylist()
    return rows


def total(entries: list[Entry]) -> Tally:
    return sum((entry.outcome.tally for entry in entries), Tally())


def random_text(rng: random.Random, characters: int) -> str:
    return "".join(chr(rng.randrange(0x4E00, 0x4E00 + 3000)) for _ in range(characters))


def edited(rng: random.Random, text: str, edits: int) -> str:
    """`text` with that many substitutions, insertions or deletions of one character."""
    characters = list(text)
    for _ in range(edits):
        place = rng.randrange(len(characters))
        kind = rng.randrange(3)
        if kind == 0:
            characters[place] = random_text(rng, 1)
        elif kind == 1:
            characters.insert(place, random_text(rng, 1))
        else:
            del characters[place]
    return "".join(characters)
