"""Shuffled training batches from shards, beside the loaders people use, in one process and a warm cache.

Every contender hands out the same windows in the same order as int64 [32, 1024]; a sum over
position-weighted ids proves that nobody read something easier. ``--peers none`` leaves the peers that need
environments of their own out. ``--start`` measures start and resume on 10^9 tokens instead, and memory;
``--cold`` an epoch from a disk without page cache and from a web server on this machine, with the stalls.
"""

from __future__ import annotations

import argparse
import gc
import http.server
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness import Contender, compare, machine_line, peer_in_own_environment, save, version

import corpuskit as ck
from corpuskit.documents import document_id
from corpuskit.shards.order import SampleOrder

T, B, BATCHES, TOKENS = 1024, 32, 200, 1 << 24
WEIGHTS = np.arange(1, B + 1)[:, None]
LITDATA, MOSAIC = "litdata==0.2.76", "mosaicml-streaming==0.13.0"


class Vocabulary:
    """What the writer needs to know of a tokenizer."""

    vocab_size, end_of_text_id, fingerprint = 50_000, 0, "benchmark"


def digest(batch: np.ndarray) -> int:
    """An id-hash that notices another window, row or order."""
    return int((batch[:, :: T // 8] * WEIGHTS).sum())


def write_shards(directory: Path, tokens: np.ndarray, times: int = 1, shard_tokens: int = 1 << 27) -> None:
    """`tokens` as documents of 1,024 tokens, `times` times over."""
    count = len(tokens) // T
    offsets = pa.array(np.arange(count + 1) * T, pa.int64())
    column = pa.LargeListArray.from_arrays(offsets, pa.array(tokens))
    with ck.shards.Writer(
        directory, tokenizer=Vocabulary(), end_of_document="none", shard_tokens=shard_tokens
    ) as writer:
        for number in range(times):
            ids = pa.array([document_id("benchmark", number * count + i) for i in range(count)])
            writer.write_tokens(pa.RecordBatch.from_arrays([ids, column], names=["id", "tokens"]))


def drain(batches: Any) -> int:
    return sum(digest(batch) for batch in batches)


def numpy_memmap(flat: Path, order: np.ndarray) -> Callable[[], int]:
    memmap = np.memmap(flat, np.uint16, "r")

    def run() -> int:
        total = 0
        for start in range(0, len(order), B):
            batch = np.empty((B, T), np.int64)
            for row, index in enumerate(order[start : start + B]):
                batch[row] = memmap[index * T : (index + 1) * T]
            total += digest(batch)
        return total

    return run


def megatron(flat: Path, order: np.ndarray) -> Callable[[], int]:
    """Megatron's access pattern: `IndexedDataset.get` (np.frombuffer on the mapped .bin), a concatenation and
    int64 a sample, then torch's default collation of the batch."""
    import torch

    buffer = memoryview(np.memmap(flat, np.uint16, "r"))

    def sample(index: int) -> torch.Tensor:
        part = np.frombuffer(buffer, np.uint16, count=T, offset=int(index) * T * 2)
        return torch.from_numpy(np.concatenate([part]).astype(np.int64)).long()

    def run() -> int:
        total = 0
        for start in range(0, len(order), B):
            total += digest(torch.stack([sample(i) for i in order[start : start + B]]).numpy())
        return total

    return run


def huggingface(tokens: np.ndarray, order: np.ndarray, directory: Path) -> Callable[[], int]:
    """A map-style dataset, one window a row, in torch format, stored and mapped from disk."""
    import datasets
    import torch

    rows = pa.ListArray.from_arrays(pa.array(np.arange(0, len(tokens) + 1, T), pa.int32()), pa.array(tokens))
    datasets.Dataset(pa.table({"tokens": rows})).save_to_disk(str(directory))
    data = datasets.load_from_disk(str(directory)).with_format("torch")

    def run() -> int:
        total = 0
        for start in range(0, len(order), B):
            rows = [data[int(index)]["tokens"] for index in order[start : start + B]]
            total += digest(torch.stack(rows).to(torch.int64).numpy())
        return total

    return run


def throughput(peers: str) -> None:
    """16 M uint16 tokens, 200 batches of 32 x 1,024."""
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tokens = np.random.default_rng(0).integers(1, 50_000, TOKENS, dtype=np.uint16)
        tokens.tofile(directory / "tokens.bin")
        write_shards(directory / "shards", tokens)
        data = ck.shards.open(directory / "shards")
        windows = data.windows(T)
        order = SampleOrder(windows.fingerprint, f"{windows.policy}/shuffled", 0, len(windows))(
            np.arange(BATCHES * B)
        )

        def ours(framework: str) -> Callable[[], int]:
            def run() -> int:
                loader = data.loader(sequence_length=T, batch_size=B, seed=0, framework=framework)
                return drain(np.asarray(next(loader)["input_ids"]) for _ in range(BATCHES))

            return run

        contenders = [
            Contender("corpuskit", ours("torch")),
            Contender("corpuskit, NumPy", ours("numpy")),
            Contender(version("numpy") + " memmap", numpy_memmap(directory / "tokens.bin", order)),
            Contender("Megatron's access pattern", megatron(directory / "tokens.bin", order)),
            Contender(
                version("datasets") + " map-style, torch", huggingface(tokens, order, directory / "rows")
            ),
        ]
        expected = contenders[0].run() if contenders[0].run else 0
        if peers == "all":
            np.save(directory / "windows.npy", tokens.reshape(-1, T))
            np.save(directory / "windows-order.npy", order)
            script = Path(__file__).with_name("reader_peer.py")
            for peer, requirement in [("litdata", LITDATA), ("mosaic", MOSAIC)]:
                arguments = (peer, str(directory / "windows.npy"), str(expected))
                environment = requirement.partition("==")[0]
                try:
                    made = peer_in_own_environment(environment, [requirement], script, *arguments)
                    made.name = requirement.replace("==", " ")
                    made.measure()
                    contenders.append(made)
                except (RuntimeError, OSError, subprocess.CalledProcessError, ValueError) as error:
                    print(f"{requirement} is skipped: {error}")

        def check(name: str, value: int) -> None:
            if value != expected:
                raise ValueError(f"{name} read other tokens")

        compare(
            "Reader, shuffled windows to int64",
            contenders,
            BATCHES * B * T / 1e6,
            "Mtok",
            rounds=5,
            check=check,
        )


MEMORY = """
import sys
from corpuskit import shards
def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
data = shards.open(sys.argv[1])
loader = data.loader(1024, 32, framework="numpy")
next(loader)
before = anonymous()
for _ in range(int(sys.argv[2])):
    next(loader)
print(before, anonymous())
"""


def start() -> None:
    """Time to the first batch and to resume at 50 %, on 10^9 tokens; anonymous memory on it and on a 60th."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tokens = np.random.default_rng(0).integers(1, 50_000, TOKENS, dtype=np.uint16)
        write_shards(directory / "small", tokens)
        write_shards(directory / "large", tokens, times=60)
        seconds: dict[str, list[float]] = {"first batch": [], "resume at 50 %": []}
        next(ck.shards.open(directory / "large").loader(T, B, framework="numpy"))  # warm the page cache
        for _ in range(7):
            started = time.perf_counter()
            loader = ck.shards.open(directory / "large").loader(T, B, framework="numpy")
            next(loader)
            seconds["first batch"].append(time.perf_counter() - started)
            half = len(ck.shards.open(directory / "large", verify="none").windows(T)) // 2
            state = {**loader.state_dict(), "samples_consumed": half}
            started = time.perf_counter()
            next(ck.shards.open(directory / "large").loader(T, B, framework="numpy", state=state))
            seconds["resume at 50 %"].append(time.perf_counter() - started)
        memory = {}
        for size in ("small", "large"):
            command = [sys.executable, "-c", MEMORY, str(directory / size), "1500"]
            memory[size] = [
                float(word)
                for word in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            ]
        result = {
            "title": "Reader, start and memory",
            "machine": machine_line(),
            "tokens": {"small": TOKENS, "large": 60 * TOKENS},
            "seconds": seconds,
            "anonymous_MiB_after_1_and_1501_batches": memory,
        }
        print(
            json.dumps(
                {**result, "seconds": {k: [min(v), sorted(v)[3]] for k, v in seconds.items()}}, indent=1
            )
        )
        save(result)


class Ranges(http.server.BaseHTTPRequestHandler):
    """A file server that answers range requests, in a process of its own."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = Path(sys.argv[2]) / self.path.rpartition("/")[2]
        if not path.is_file():
            return self.send_error(404)
        size = path.stat().st_size
        begin, end = 0, size
        if "Range" in self.headers:
            first, _, last = self.headers["Range"].partition("=")[2].partition("-")
            begin, end = int(first), min(int(last) + 1 if last else size, size)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if self.command == "GET":
            with open(path, "rb") as file:
                file.seek(begin)
                self.wfile.write(file.read(end - begin))
        return None


def serve() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    print(server.server_port, flush=True)
    server.serve_forever()


def cold() -> None:
    """An epoch of 67 M tokens in 8 shards, two shards mixed at a time."""
    from corpuskit.shards.cache import CacheConfig

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tokens = np.random.default_rng(0).integers(1, 50_000, 1 << 23, dtype=np.uint16)
        write_shards(directory / "shards", tokens, times=8, shard_tokens=1 << 23)
        paths = sorted((directory / "shards").glob("shard-*.arrow"))
        amount = sum(path.stat().st_size for path in paths)
        command = [sys.executable, __file__, "--serve", str(directory / "shards")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/shards" if server.stdout else ""
        rows = []
        for kind in ("warm", "cold", "remote"):
            for path in paths if kind == "cold" else []:
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            started = time.perf_counter()
            place = url if kind == "remote" else directory / "shards"
            data = ck.shards.open(place, cache=CacheConfig(str(directory / "cache"), 6 * amount // 8))
            loader = data.loader(T, B, framework="numpy", shuffle_window=2, epochs=1)
            longest, first, before = 0.0, 0.0, time.perf_counter()
            for _ in loader:
                now = time.perf_counter()
                first = first or now - started
                longest, before = max(longest, now - before), now
            seconds = time.perf_counter() - started
            row = {"from": kind, "Mtok_s": data.num_tokens / seconds / 1e6, "first_batch_s": first}
            row["longest_wait_s"] = longest
            if data.remote is not None:
                row["waits"], row["waited_s"] = data.remote.statistics.waits, data.remote.statistics.wait_s
                row["fetched_MB"] = data.remote.statistics.fetched_bytes / 1e6
            rows.append(row)
            print(row, flush=True)
            del data, loader
            gc.collect()  # pages that are still mapped would stay in the page cache
        server.terminate()
        save({"title": "Reader, cold and remote", "machine": machine_line(), "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", choices=["all", "none"], default="all")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    elif options.cold:
        cold()
    elif options.start:
        start()
    else:
        throughput(options.peers)


if __name__ == "__main__":
    main()
