"""What a run did: `report.json`, and the numbers the command line prints at the end."""

from __future__ import annotations

import dataclasses
import json
import platform
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import corpuskit
from corpuskit.documents import Tally
from corpuskit.files import write_json

FILE_NAME = "report.json"


@dataclass(frozen=True)
class StageReport:
    """One job of the run.

    Attributes
    ----------
    name : str
    tally : Tally or None
        Its document accounts; None for a stage that only reads (vocabularies, training).
    seconds : float
        Wall time in this invocation.
    tasks_run, tasks_skipped : int
        Tasks executed now, and found finished in the ledger.
    metrics : Mapping
        Measurements of the stage.
    """

    name: str
    tally: Tally | None
    seconds: float
    tasks_run: int = 0
    tasks_skipped: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """Everything a run has to say.

    Attributes
    ----------
    output : str
        The output directory.
    rescued : int
        Documents that joined after cleaning, from ``input.rescued``.
    stages : list of StageReport
    vocabularies : dict
        Name to path, size and compression on its sample.
    shards : dict
        Directory, tokens, documents, fingerprint.
    model, samples
        Directory of the trained model, and texts it wrote.
    """

    output: str
    rescued: int = 0
    stages: list[StageReport] = field(default_factory=list)
    vocabularies: dict[str, dict] = field(default_factory=dict)
    shards: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    samples: list[dict[str, str]] = field(default_factory=list)

    @property
    def tally(self) -> Tally:
        """Accounts from the first input, with the rescued documents, to the last document stage."""
        tallies = [stage.tally for stage in self.stages if stage.tally is not None]
        if not tallies:
            return Tally()
        total = sum(tallies[1:], tallies[0])
        came_in = tallies[0].documents_in + self.rescued
        return Tally(came_in, tallies[-1].kept, total.dropped, total.quarantined)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `report.json`."""
        stages = [{**dataclasses.asdict(s), "seconds": round(s.seconds, 3)} for s in self.stages]
        return {
            "corpuskit": corpuskit.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "output": self.output,
            "documents": self.tally.to_dict(),
            "rescued": self.rescued,
            "stages": stages,
            "vocabularies": self.vocabularies,
            "shards": self.shards,
            "model": self.model,
            "samples": self.samples,
            "peak_memory_bytes": peak_memory_bytes(),
        }

    def save(self, directory: str | Path | None = None) -> Path:
        """Write `report.json` into the output directory, or another."""
        path = Path(directory or self.output) / FILE_NAME
        write_json(path, json.loads(json.dumps(self.to_dict(), default=str)))
        return path


def peak_memory_bytes() -> int:
    """Largest resident size so far of this process or of a worker it has waited for."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) * 1024
