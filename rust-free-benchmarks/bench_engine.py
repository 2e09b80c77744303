"""What the Ray engine costs: the whole recipe on Ray's local cluster and on the local engine, in turns.

    python rust-free-benchmarks/bench_engine.py [--documents N] [--repeats 3] [--workers 2] [--store]

Reads `laws`, `news` and `broadcast` (see corpus.py); --documents takes the first N of each. The shards of
both are compared before anything is said. Starting Ray and joining it is measured by itself. With --store a
third run writes to an S3 server on loopback. One JSON line at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "engine"))

SOURCES = ("laws", "news", "broadcast")


def data_directory() -> Path:
    return Path(os.environ.get("CORPUSKIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def write_sample(directory: Path, documents: int | None) -> int:
    """The first `documents` of each source as JSON Lines; the bytes of all."""
    import zstandard

    directory.mkdir(parents=True)
    for name in SOURCES:
        source = data_directory() / "text" / f"{name}.jsonl.zst"
        with (
            zstandard.open(source, "rt", encoding="utf-8") as lines,
            open(directory / f"{name}.jsonl", "w", encoding="utf-8") as target,
        ):
            for number, line in enumerate(lines):
                if documents is not None and number >= documents:
                    break
                target.write(line)
    return sum(path.stat().st_size for path in directory.iterdir())


def recipe(inputs: Path, output: str | Path, task_bytes: int) -> dict:
    return {
        "output": str(output),
        "input": {"paths": [str(inputs)], "task_bytes": task_bytes},
        "vocabularies": [{"name": "zh", "algorithm": "bpe", "vocab_size": 16_000}],
        "shards": {"tokenizer": "zh", "shard_tokens": 1 << 22, "group_bytes": 4 << 20},
    }


def shards(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((output / "shards").glob("*.arrow"))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--task-mb", type=float, default=16)
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()

    from corpuskit.engine import Local, Ray
    from corpuskit.pipeline.recipe import parse_recipe
    from corpuskit.pipeline.run import run_recipe

    root = Path(tempfile.mkdtemp(prefix="bench-engine-"))
    server = None
    try:
        size = write_sample(root / "in", options.documents)
        print(f"{size / 1e6:.1f} MB of input in {root}", flush=True)
        if options.store:
            (root / "buckets" / "corpus").mkdir(parents=True)
            script = Path(__file__).parent.parent / "tests" / "engine" / "objectserver.py"
            server = subprocess.Popen(
                [sys.executable, script, root / "buckets"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            from objectserver import use

            os.environ |= use(server.stdout.readline().strip())

        def run(name: str, engine, output: str | Path) -> tuple[float, dict[str, float]]:
            started = time.monotonic()
            parsed = parse_recipe(recipe(root / "in", output, int(options.task_mb * 1e6)))
            report = run_recipe(parsed, engine=engine, check_disk=False, scratch=str(root / "scratch"))
            seconds = time.monotonic() - started
            print(f"{name:12} {seconds:8.1f} s", flush=True)
            return seconds, {stage.name: round(stage.seconds, 1) for stage in report.stages}

        run("warm-up", Local(options.workers), root / "warm-up")
        started = time.monotonic()
        ray = Ray(workers=options.workers)
        seconds: dict[str, list[float]] = {"local": [], "ray": [], "ray+s3": []}
        with ray.session():
            start_up = time.monotonic() - started
            run("ray warm-up", ray, root / "ray-warm-up")  # the workers import and load the kernels
            stages = {}
            for number in range(options.repeats):
                took, stages["local"] = run("local", Local(options.workers), root / f"local-{number}")
                seconds["local"].append(took)
                took, stages["ray"] = run("ray", ray, root / f"ray-{number}")
                seconds["ray"].append(took)
                if shards(root / f"local-{number}") != shards(root / f"ray-{number}"):
                    sys.exit("the shards differ")
                if server is not None:
                    took, stages["ray+s3"] = run("ray+s3", ray, f"s3://corpus/{number}")
                    seconds["ray+s3"].append(took)
                    if shards(root / "buckets" / "corpus" / str(number)) != shards(root / f"local-{number}"):
                        sys.exit("the shards in the store differ")
        best = {name: min(times) for name, times in seconds.items() if times}
        result = {
            "input_mb": round(size / 1e6, 1),
            "workers": options.workers,
            "seconds": {name: [round(t, 1) for t in times] for name, times in seconds.items() if times},
            "ratio_of_minima": {n: round(t / best["local"], 3) for n, t in best.items()},
            "ray_start_up_s": round(start_up, 1),
            "stages_s": stages,
        }
        print(json.dumps(result))
    finally:
        if server is not None:
            server.terminate()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
