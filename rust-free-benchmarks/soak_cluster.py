"""Faults at random moments while the whole road runs on a Ray cluster with an object store.

    python rust-free-benchmarks/soak_cluster.py [--faults 40] [--seed 0] [--nodes 2]

Rounds of the small road of the tests (six files, every stage up to token shards), each to an output of its
own, until so many faults were made: a worker killed, a raylet killed and another started, the S3 server
answering 500, 503, slowly, half or nothing, the driver killed and started again; every kind comes before
any comes again. After each round the shards, vocabularies and ``dataset.json`` are compared byte for byte
with a local run's, and the ledger with the number of tasks: every entry written once. One JSON line at the
end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS / "pipeline"), str(TESTS / "engine")]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=2)
    options = parser.parse_args()
    import road
    from clusters import start_cluster, visible_to_workers
    from objectserver import ObjectServer, use
    from soak import KINDS, Soak
    from test_cluster_road import made

    from corpuskit.pipeline.recipe import parse_recipe
    from corpuskit.pipeline.run import run_recipe

    visible_to_workers(TESTS / "pipeline", TESTS / "engine")
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    started = time.monotonic()
    try:
        road.write_inputs(root / "in")
        for path in sorted((root / "in").iterdir())[6:]:
            path.unlink()
        report = run_recipe(parse_recipe(road.recipe(root / "in", root / "local")))
        expected = made(root / "local")
        tasks = sum(stage.tasks_run for stage in report.stages)
        (root / "buckets" / "corpus").mkdir(parents=True)
        server = ObjectServer(root / "buckets")
        os.environ |= use(server.endpoint)
        cluster = start_cluster(options.nodes)
        total: dict[str, int] = {}
        rounds = starts = commits = 0
        while sum(total.values()) < options.faults:
            name = f"round-{rounds}"
            server.commits.clear()
            soak = Soak(cluster, server, root / "in", root / "scratch", name, seed=options.seed + rounds)
            soak.run(options.faults - sum(total.values()))
            for kind, count in soak.done.items():
                total[kind] = total.get(kind, 0) + count
            if made(root / "buckets" / "corpus" / name) != expected:
                sys.exit(f"round {rounds}: other bytes")
            if set(server.commits.values()) != {1} or len(server.commits) != tasks:
                sys.exit(f"round {rounds}: {len(server.commits)} entries of {tasks}, {server.commits}")
            rounds, starts, commits = rounds + 1, starts + soak.driver_starts, commits + len(server.commits)
            print(
                f"round {rounds}: {soak.done}, driver started {soak.driver_starts} times, "
                f"ended by itself: {soak.given_up}",
                flush=True,
            )
        missing = {kind for kind in KINDS if kind not in total} | {
            k for k, n in server.faults.items() if not n
        }
        if missing and options.faults >= 2 * len(KINDS):
            sys.exit(f"these never came: {sorted(missing)}")
        result = {
            "faults": sum(total.values()),
            "by_kind": dict(sorted(total.items())),
            "rounds": rounds,
            "tasks_a_round": tasks,
            "commits": commits,
            "driver_starts": starts,
            "requests": server.requests,
            "answers_spoiled": server.faults,
            "seconds": round(time.monotonic() - started),
        }
        print(json.dumps(result))
        cluster.shutdown()
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
