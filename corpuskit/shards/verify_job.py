"""Verification as a job: one task a shard, so that workers and clusters share the reading.

`corpuskit.shards.verify` reads one shard after another in this process and gives the same report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpuskit.errors import ArtifactError
from corpuskit.ingest.remote import is_url
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace
from corpuskit.shards.manifest import ShardEntry
from corpuskit.shards.verification import Found, Problem, Report, report, suspect

_MEMORY_BYTES = 512 << 20
"""Of a task: imports, and the ids that are looked at. The pages of a mapped shard the system takes back."""


@dataclass(frozen=True)
class VerifyJob:
    """Reads a whole dataset and lists what is wrong with it.

    Attributes
    ----------
    dataset : str
        Absolute path of a directory that every worker sees, or a URL. A dataset behind a URL is fetched,
        one shard a task, into the workers' temporary directories; a ledger does not notice when its
        files change, so it needs a new output directory each time.
    """

    dataset: str

    @property
    def name(self) -> str:
        return "verify"

    @property
    def phases(self) -> tuple[str, ...]:
        return ("shards",)

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """One task a shard; none where `dataset.json` is damaged.

        Raises
        ------
        ArtifactError
            If `dataset` holds no dataset at all.
        """
        manifest = suspect(self.dataset).manifest()
        if isinstance(manifest, Problem):
            return []
        return [
            Task(index, verify_task, self._inputs(entry), self, _MEMORY_BYTES)
            for index, entry in enumerate(manifest.shards)
        ]

    def report(self, entries: Sequence[Entry]) -> Report:
        """What the tasks found, put together.

        Parameters
        ----------
        entries : sequence of Entry
            Of the phase ``shards``.
        """
        dataset = suspect(self.dataset)
        found: list[Found] = []
        for entry in entries:
            read = entry.outcome.metrics["read"]
            problems = [Problem(*problem) for problem in entry.outcome.metrics["problems"]]
            found.append(((read[0], read[1]) if read else None, problems))
        return report(dataset, dataset.manifest(), found)

    def _inputs(self, entry: ShardEntry) -> tuple[Slice, ...]:
        """The shard's file, if it is one of this machine: a ledger knows it by its size and time."""
        path = Path(self.dataset) / entry.name
        return () if is_url(self.dataset) or not path.exists() else (Slice(str(path)),)


def verify_task(task: Task, workspace: Workspace) -> Outcome:
    """Read one shard; the metrics say what was read and what is wrong."""
    dataset = suspect(task.config.dataset)
    manifest = dataset.manifest()
    if isinstance(manifest, Problem):
        raise ArtifactError(manifest.detail, where=f"{dataset.name}/{manifest.file}")
    read, problems = dataset.shard(manifest.shards[task.index], manifest)
    found = [[problem.kind, problem.file, problem.detail] for problem in problems]
    return Outcome((), metrics={"read": read, "problems": found})
