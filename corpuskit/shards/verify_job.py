"""Verification as a job: one task a shard, so that workers and clusters share the reading.

`corpuskit.shards.verify` reads one shard after another in this process and gives the same report.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpuskit.errors import ArtifactError
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import is_url
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace
from corpuskit.shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, load_manifest
from corpuskit.shards.remote import load_remote_manifest
from corpuskit.shards.remote_verification import report_of_remote, verify_remote_shard
from corpuskit.shards.verification import Problem, Report, report_of_directory, verify_shard

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
        manifest = self._manifest()
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
        manifest = self._manifest()
        where = redact(self.dataset)
        if isinstance(manifest, Problem):
            return Report(where, 0, 0, 0, (manifest,))
        found = []
        for entry in entries:
            read = entry.outcome.metrics["read"]
            problems = [Problem(*problem) for problem in entry.outcome.metrics["problems"]]
            found.append(((read[0], read[1]) if read else None, problems))
        if is_url(self.dataset):
            return report_of_remote(self.dataset, manifest, found)
        return report_of_directory(Path(self.dataset), manifest, found)

    def _inputs(self, entry: ShardEntry) -> tuple[Slice, ...]:
        """The shard's file, if it is one of this machine: a ledger knows it by its size and time."""
        path = Path(self.dataset) / entry.name
        return () if is_url(self.dataset) or not path.exists() else (Slice(str(path)),)

    def _manifest(self) -> Manifest | Problem:
        """`dataset.json`, or what is wrong with it."""
        remote = is_url(self.dataset)
        if not remote and not (Path(self.dataset) / MANIFEST_NAME).exists():
            load_manifest(self.dataset)  # says what is there instead
        try:
            load = load_remote_manifest if remote else load_manifest
            return load(self.dataset, allow_incomplete=True)
        except ArtifactError as error:
            if error.what.startswith("not a token dataset"):
                raise
            return Problem("manifest", MANIFEST_NAME, error.what)


def verify_task(task: Task, workspace: Workspace) -> Outcome:
    """Read one shard; the metrics say what was read and what is wrong."""
    dataset = task.config.dataset
    manifest = task.config._manifest()
    entry = manifest.shards[task.index]
    if is_url(dataset):
        with tempfile.TemporaryDirectory(prefix="corpuskit-verify-") as directory:
            read, problems = verify_remote_shard(dataset, Path(directory), entry, manifest)
    else:
        read, problems = verify_shard(Path(dataset) / entry.name, entry, manifest)
    found = [[problem.kind, problem.file, problem.detail] for problem in problems]
    return Outcome((), metrics={"read": read, "problems": found})
