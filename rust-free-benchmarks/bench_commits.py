"""How many tasks a second a driver commits to an object store: one after another, and side by side.

    python rust-free-benchmarks/bench_commits.py [--milliseconds 30] [--rounds 5]

The store is an S3 server on loopback, in a process of its own, that lets every request wait so long. The
tasks do nothing, so that what is measured is the ledger: one entry each. Rounds are interleaved. One JSON
line at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENGINE_TESTS = Path(__file__).parent.parent / "tests" / "engine"
sys.path.insert(0, str(ENGINE_TESTS))


@dataclass(frozen=True)
class Nothing:
    """Tasks without inputs, outputs and work."""

    tasks: int
    name = "nothing"
    phases = ("nothing",)

    def plan(self, phase, done):
        from corpuskit.jobs import Task

        return [Task(index, print, ()) for index in range(self.tasks)]


class AtOnce:
    """An engine whose tasks are finished when they begin."""

    @contextmanager
    def session(self) -> Iterator[AtOnce]:
        yield self

    def run(self, calls, report_progress):
        from corpuskit.jobs import Outcome

        for call in calls:
            yield call, Outcome(())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--milliseconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    from objectserver import use

    from corpuskit.engine import ObjectStore, run
    from corpuskit.engine.places import Stored

    root = Path(tempfile.mkdtemp(prefix="bench-commits-"))
    (root / "buckets" / "corpus").mkdir(parents=True)
    server = subprocess.Popen(
        [sys.executable, ENGINE_TESTS / "objectserver.py", root / "buckets", str(options.milliseconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.environ |= use(server.stdout.readline().strip())
        store = ObjectStore("s3://corpus/out", scratch=str(root / "scratch"))
        usual = Stored.commits_at_once
        rates: dict[int, list[float]] = {1: [], usual: []}
        for number in range(options.rounds + 1):
            for at_once, found in rates.items():
                Stored.commits_at_once = at_once
                tasks = 30 * at_once
                place = Stored(store, f"{number}-{at_once}")
                started = time.monotonic()
                result = run(Nothing(tasks), place, engine=AtOnce())
                seconds = time.monotonic() - started
                if result.tasks_run != tasks or len(store.sizes(f"{number}-{at_once}/ledger")) != tasks:
                    sys.exit("not every task was committed")
                if number:  # the first round opens connections
                    found.append(tasks / seconds)
        ratios = [many / one for one, many in zip(rates[1], rates[usual])]
        print("at once  tasks/s (median of rounds, range)")
        for at_once, found in rates.items():
            print(f"{at_once:7}  {statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})")
        print(f"ratio    {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
        print(json.dumps({"milliseconds": options.milliseconds, "tasks_s": rates, "ratios": ratios}))
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
