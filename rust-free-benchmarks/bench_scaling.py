"""How the cost of a run grows: 1, 4 and 16 times the input, 1 and 2 nodes of 1 and 2 processors.

    python rust-free-benchmarks/bench_scaling.py [--documents 400] [--factors 1,4,16] [--shapes 1x1,1x2,2x1]
        [--task-bytes 1000000] [--shared-scratch]

The whole road up to token shards on a Ray cluster of raylets of this machine ("2x1": two nodes of one
processor each), outputs in an S3 server on loopback, nothing in a node's scratch before. Each node has a
scratch of its own, as machines have (``--shared-scratch``: one for all), so that two nodes fetch twice what
both need. The input is the first documents of `news` (see corpus.py), in copies in which every fifth
character is another document's, so that they are neither exact nor near duplicates: 400 documents are 1.3 MB,
16 copies 20 MB. For each: tasks, requests, bytes that the store sent and received, objects, the largest
resident memory of a worker and of the driver. One JSON line each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench_engine import data_directory

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS / "engine")]


def write_copies(directory: Path, documents: int, factor: int) -> int:
    """`factor` files of `documents` edited documents; the bytes of all."""
    import zstandard

    texts = []
    with zstandard.open(data_directory() / "text" / "news.jsonl.zst", "rt", encoding="utf-8") as lines:
        for line in lines:
            texts.append(json.loads(line)["text"])
            if len(texts) == documents:
                break
    pool = "".join(texts)
    directory.mkdir(parents=True)
    for number in range(factor):
        chooser = random.Random(number)
        with open(directory / f"{number:03d}.jsonl", "w", encoding="utf-8") as target:
            for text in texts:
                characters = list(text)
                for position in range(number % 5, len(characters), 5) if number else ():
                    if characters[position] > "\u4e00":
                        characters[position] = pool[chooser.randrange(len(pool))].strip() or "的"
                target.write(json.dumps({"text": "".join(characters)}, ensure_ascii=False) + "\n")
    return sum(path.stat().st_size for path in directory.iterdir())


class Peaks(threading.Thread):
    """The largest resident memory of Ray's workers below this process, looked at four times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worker_bytes = 0
        self._ended = threading.Event()

    def run(self) -> None:
        import psutil

        while not self._ended.wait(0.25):
            for process in psutil.Process().children(recursive=True):
                try:
                    if re.match("ray::(IDLE|.*/)", " ".join(process.cmdline()[:1])):
                        self.worker_bytes = max(self.worker_bytes, process.memory_info().rss)
                except psutil.Error:
                    continue

    def stop(self) -> None:
        self._ended.set()
        self.join()


def drive(inputs: str, output: str, address: str, scratch: str, task_bytes: str) -> None:
    """The driver, a process of its own: prints its stages and its memory as JSON."""
    import resource

    from corpuskit.engine import Ray
    from corpuskit.pipeline.recipe import parse_recipe
    from corpuskit.pipeline.run import run_recipe

    recipe = {
        "output": output,
        "input": {"paths": [inputs], "task_bytes": int(task_bytes), "part_bytes": int(task_bytes)},
        "vocabularies": [{"name": "zh", "algorithm": "bpe", "vocab_size": 8_000}],
        "shards": {"tokenizer": "zh", "shard_tokens": 1 << 18, "group_bytes": int(task_bytes)},
    }
    started = time.monotonic()
    with Ray(address).session():
        joined = time.monotonic()
        report = run_recipe(parse_recipe(recipe), engine=Ray(address), scratch=scratch)
    print(
        json.dumps({
            "seconds": round(time.monotonic() - joined, 1),
            "join_s": round(joined - started, 1),
            "tasks": {stage.name: stage.tasks_run for stage in report.stages},
            "documents": report.tally.documents_in,
            "kept": report.tally.kept,
            "driver_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        })
    )  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["drive"]:
        drive(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--factors", default="1,4,16")
    parser.add_argument("--shapes", default="1x1,1x2,2x1")
    parser.add_argument("--task-bytes", type=int, default=1_000_000)
    parser.add_argument("--shared-scratch", action="store_true")
    options = parser.parse_args()
    from clusters import NODE, start_cluster
    from objectserver import ObjectServer, use

    root = Path(tempfile.mkdtemp(prefix="bench-scaling-"))
    try:
        (root / "buckets" / "corpus").mkdir(parents=True)
        server = ObjectServer(root / "buckets")
        os.environ |= use(server.endpoint)
        os.environ["NODE_DISK"] = str(root / "disk-driver")
        inputs = {}
        for factor in map(int, options.factors.split(",")):
            size = write_copies(root / f"in-{factor}", options.documents, factor)
            inputs[factor] = (root / f"in-{factor}", size)
        for shape in options.shapes.split(","):
            nodes, cores = map(int, shape.split("x"))
            cluster = start_cluster(0)
            for number in range(nodes):
                disk = "all" if options.shared_scratch else f"{shape}-{number}"
                node_disk = {"NODE_DISK": str(root / f"disk-{disk}")}
                cluster.add_node(**{**NODE, "num_cpus": cores, "env_vars": node_disk})
            for factor, (directory, size) in inputs.items():
                name = f"{shape}-{factor}"
                before = (server.bytes_sent, server.bytes_received, sum(server.requests.values()))
                peaks = Peaks()
                peaks.start()
                said = subprocess.run(
                    [sys.executable, __file__, "drive", directory, f"s3://corpus/{name}", cluster.address,
                     f"$NODE_DISK/{name}", str(options.task_bytes)],
                    stdout=subprocess.PIPE, text=True, check=True,
                ).stdout  # fmt: skip
                peaks.stop()
                after = (server.bytes_sent, server.bytes_received, sum(server.requests.values()))
                sent, received, requests = (b - a for a, b in zip(before, after))
                files = [p for p in (root / "buckets" / "corpus" / name).rglob("*") if p.is_file()]
                for disk in root.glob("disk-*"):
                    shutil.rmtree(disk)
                print(
                    json.dumps({
                        "nodes x processors": shape,
                        "factor": factor,
                        "input_mb": round(size / 1e6, 2),
                        **json.loads(said.splitlines()[-1]),
                        "sent_mb": round(sent / 1e6, 2),
                        "received_mb": round(received / 1e6, 2),
                        "requests": requests,
                        "objects": len(files),
                        "worker_mb": round(peaks.worker_bytes / 1e6),
                    }),
                    flush=True,
                )  # fmt: skip
            cluster.shutdown()
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
