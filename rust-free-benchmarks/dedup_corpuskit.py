"""Near-duplicate job over document parts with corpuskit; prints one JSON line.

Arguments: workers, output directory, files.
"""

from __future__ import annotations

import json
import os
import sys
import time

import corpuskit as ck
from corpuskit.dedup import MinHashDeduplicator
from corpuskit.engine import Observer
from corpuskit.jobs import Slice


class PhaseTimes(Observer):
    """Wall and processor seconds of each phase, worker processes included (they end with the phase)."""

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, float]] = {}
        self._at = (0.0, 0.0)

    def phase_started(self, label: str, tasks: int, skipped: int, input_bytes: int) -> None:
        self._at = (time.perf_counter(), sum(os.times()[:4]))

    def phase_finished(self, label: str) -> None:
        wall, cpu = self._at
        self.phases[label.rpartition("/")[2]] = {
            "wall_s": time.perf_counter() - wall,
            "cpu_s": sum(os.times()[:4]) - cpu,
        }


def main() -> None:
    """Run the job with its default configuration."""
    workers, output, files = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    observer = PhaseTimes()
    job = MinHashDeduplicator().job([Slice(path) for path in files])
    result = ck.run(job, output, workers=workers, observer=observer)
    metrics: dict[str, dict[str, float]] = {}
    for phase, entries in result.entries.items():
        for entry in entries:
            for name, value in entry.outcome.metrics.items():
                if isinstance(value, int | float):
                    phase_metrics = metrics.setdefault(phase, {})
                    phase_metrics[name] = phase_metrics.get(name, 0) + value
    print(
        json.dumps(
            {
                "phases": observer.phases,
                "metrics": metrics,
                "kept": result.tally.kept,
                "dropped_files": [part.path for part in result.outputs("dropped")],
                "intermediate_bytes": sum(
                    output.bytes
                    for phase, entries in result.entries.items()
                    if phase != "apply"
                    for entry in entries
                    for output in entry.outcome.outputs
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
