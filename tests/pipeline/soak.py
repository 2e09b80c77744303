"""Disturbs runs on a cluster with an object store at random moments, and says what came of it.

``python soak.py INPUTS OUTPUT ADDRESS SCRATCH`` is the driver that is killed and started again.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]
import road  # noqa: E402
from objectserver import FAULTS  # noqa: E402

RETRIES = 12
KINDS = ("worker", "worker", "node", "driver", *(f"store {kind}" for kind in FAULTS))
"""Workers twice, because a killed one is noticed and made up for within a second."""
_GRACE_S = 240.0


@dataclass
class Soak:
    """One output, made by drivers that are killed and started again until one comes to its end.

    Attributes
    ----------
    cluster, server
        `clusters.start_cluster` and `objectserver.ObjectServer`.
    inputs, scratch : Path
    name : str
        Prefix in the bucket ``corpus``.
    kinds : tuple of str
        What is done: ``worker`` and ``node`` (killed), ``driver`` (killed and started again), and ``store``
        with the kind of answer. They come in random order, and all of them before any comes again.
    pause_s : float
        Mean time between two faults.
    """

    cluster: object
    server: object
    inputs: Path
    scratch: Path
    name: str
    kinds: tuple[str, ...] = KINDS
    pause_s: float = 1.5
    seed: int = 0
    done: dict[str, int] = field(default_factory=dict)
    driver_starts: int = 0
    given_up: list[list[str]] = field(default_factory=list)
    """The last words of drivers that ended by themselves, with an error."""
    _deck: list[str] = field(default_factory=list)

    def run(self, wanted: int) -> None:
        """Come to the end of the run, with up to `wanted` faults on the way."""
        chooser = random.Random(self.seed)
        deadline = time.monotonic() + _GRACE_S + wanted * 4 * self.pause_s
        driver = self._start()
        try:
            while True:
                try:
                    code = driver.wait(timeout=chooser.uniform(0.3, 1.7) * self.pause_s)
                except subprocess.TimeoutExpired:
                    code = None
                if code == 0:
                    return
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no end after {self.done}: {self._said()[-2000:]}")
                if code is not None:
                    self.given_up.append(self._said().strip().splitlines()[-3:])
                    driver = self._start()
                elif sum(self.done.values()) < wanted:
                    driver = self._disturb(self._deal(chooser), chooser, driver)
        finally:
            if driver.poll() is None:
                driver.kill()
                driver.wait()

    def _deal(self, chooser: random.Random) -> str:
        """Independent choices left out a kind of five in a run of forty; cards that are dealt do not."""
        if not self._deck:
            self._deck = chooser.sample(self.kinds, len(self.kinds))
        return self._deck.pop()

    def _disturb(self, kind: str, chooser: random.Random, driver: subprocess.Popen) -> subprocess.Popen:
        if kind == "worker":
            workers = self._workers()
            if not workers:
                self._deck.insert(0, kind)
                return driver
            os.kill(chooser.choice(workers), signal.SIGKILL)
        elif kind == "node":
            nodes = [node for node in self.cluster.list_all_nodes() if node is not self.cluster.head_node]
            self.cluster.remove_node(chooser.choice(nodes), allow_graceful=False)
            from clusters import NODE

            self.cluster.add_node(wait=False, **NODE)
        elif kind.startswith("store "):
            self.server.misbehave(*[kind.removeprefix("store ")] * 3)
        else:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            driver = self._start()
        self._count(kind)
        return driver

    def _workers(self) -> list[int]:
        """Processes of this machine that run a task of ours."""
        import psutil

        mine = {p.pid for p in psutil.Process().children(recursive=True)}
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if process.info["pid"] in mine and line.startswith("ray::") and "/" in line:  # job/phase/task
                found.append(process.info["pid"])
        return sorted(found)

    def _count(self, kind: str) -> None:
        self.done[kind] = self.done.get(kind, 0) + 1

    def _start(self) -> subprocess.Popen:
        self.driver_starts += 1
        self.scratch.mkdir(parents=True, exist_ok=True)
        with open(self.scratch / f"{self.name}.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, HERE / "soak.py", self.inputs, f"s3://corpus/{self.name}",
                 self.cluster.address, self.scratch / "nodes"],
                stdout=log, stderr=log,
            )  # fmt: skip

    def _said(self) -> str:
        return (self.scratch / f"{self.name}.log").read_text(encoding="utf-8", errors="replace")


def main() -> None:
    from corpuskit.engine import Ray
    from corpuskit.pipeline.recipe import parse_recipe
    from corpuskit.pipeline.run import run_recipe

    inputs, output, address, scratch = sys.argv[1:]
    recipe = parse_recipe(road.recipe(Path(inputs), output))
    run_recipe(recipe, engine=Ray(address, retries=RETRIES), scratch=scratch)


if __name__ == "__main__":
    main()
