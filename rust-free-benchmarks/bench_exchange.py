"""Export to and import from other trainers' formats, and statistics, beside a plain copy of the same bytes.

Megabytes are those of the token ids as the shards hold them (two bytes each), so the numbers of a row compare
whatever the format makes of them. ``disk`` says seconds with the sync of every file, ``cpu`` the process's
own time, both the least of the rounds. The copy reads the shards and writes them, synced, in pieces of 8 MB.
mosaicml-streaming's `MDSWriter` gets the same documents as arrays, in an environment of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from bench_reader import MOSAIC
from harness import machine_line, own_environment, save

import corpuskit as ck
from corpuskit.documents import document_id
from corpuskit.shards.exchange.exporting import EXPORT_FORMATS, export
from corpuskit.shards.exchange.importing import import_tokens
from corpuskit.shards.statistics import token_statistics

VOCABULARY = 30_000


class Vocabulary:
    """What reader and writer need to know of a tokenizer."""

    vocab_size, end_of_text_id, fingerprint = VOCABULARY, 0, "benchmark"


PEER = """
import sys, time
import numpy as np
from streaming import MDSWriter
tokens, offsets = np.load(sys.argv[1] + "/tokens.npy"), np.load(sys.argv[1] + "/offsets.npy")
started, cpu = time.perf_counter(), time.process_time()
with MDSWriter(out=sys.argv[2], columns={"id": "str", "tokens": "ndarray:uint16"}) as writer:
    for n, (a, b) in enumerate(zip(offsets[:-1], offsets[1:])):
        writer.write({"id": f"{n:032x}", "tokens": tokens[a:b]})
print(time.perf_counter() - started, time.process_time() - cpu)
"""


def write_shards(directory: Path, count: int, shard_tokens: int) -> None:
    """`count` ids with the frequencies of a Zipf distribution, in documents of some 530."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, VOCABULARY)
    tokens = (1 + rng.choice(VOCABULARY - 1, count, p=share / share.sum())).astype(np.uint16)
    lengths = np.minimum(rng.lognormal(5.8, 1, count // 200), 60_000).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    offsets = offsets[offsets <= count]
    ids = pa.array([document_id("benchmark", i) for i in range(len(offsets) - 1)])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(tokens))
    with ck.shards.Writer(directory, tokenizer=Vocabulary(), shard_tokens=shard_tokens) as writer:
        writer.write_tokens(pa.RecordBatch.from_arrays([ids, lists], names=["id", "tokens"]))


def copy(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.glob("shard-*.arrow")):
        with open(path, "rb") as file, open(target / path.name, "wb") as out:
            shutil.copyfileobj(file, out, 8 << 20)
            out.flush()
            os.fsync(out.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1 << 26)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", choices=["all", "none"], default="all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_shards(home / "shards", options.tokens, 1 << 25)
        data = ck.shards.open(home / "shards")
        megabytes = data.num_tokens * 2 / 1e6
        jobs: dict[str, Callable[[Path], object]] = {"copy": lambda out: copy(home / "shards", out)}
        for format in EXPORT_FORMATS:
            jobs[f"export {format}"] = lambda out, format=format: export(data, out, format)
        for format in ("nanogpt", "llm.c", "megatron", "parquet"):
            given = home / "given" / format
            export(data, given, format)
            given = given / "train.bin" if format == "megatron" else given
            jobs[f"import {format}"] = lambda out, given=given, format=format: import_tokens(
                given, out, format, tokenizer=Vocabulary(), shard_tokens=1 << 25
            )
        jobs["stats"] = lambda out: token_statistics(data)
        rows: dict[str, list[tuple[float, float]]] = {job: [] for job in jobs}
        for number in range(options.rounds + 1):
            for job, run in jobs.items():
                out = home / "out"
                started, cpu = time.perf_counter(), time.process_time()
                run(out)
                taken = time.perf_counter() - started, time.process_time() - cpu
                if number:  # the first round warms up, and is checked
                    rows[job].append(taken)
                elif job.startswith("import"):
                    check(data, out)
                shutil.rmtree(out, ignore_errors=True)
        if options.peers == "all":
            python = own_environment("mosaicml-streaming", [MOSAIC])
            np.save(home / "tokens.npy", np.concatenate(list(data.streams)))
            starts = np.cumsum([0, *data.lengths[:-1]])
            offsets = [o[1:] + s for o, s in zip(data.offsets, starts)]
            np.save(home / "offsets.npy", np.concatenate([np.zeros(1, np.int64), *offsets]))
            command = [str(python), "-c", PEER, str(home), str(home / "out")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, cpu = map(float, done.stdout.split()[-2:])
            rows[f"{MOSAIC.replace('==', ' ')} MDSWriter"] = [(seconds, cpu)]
        report(rows, megabytes, data)


def check(data: ck.shards.TokenDataset, directory: Path) -> None:
    """Raise unless an import has every token in its place."""
    back = ck.shards.open(directory, "full")
    for ours, theirs in zip(data.streams, back.streams, strict=True):
        if not np.array_equal(ours, theirs):
            raise ValueError(f"{directory} holds other tokens")


def report(
    rows: dict[str, list[tuple[float, float]]], megabytes: float, data: ck.shards.TokenDataset
) -> None:
    print(machine_line())
    print(f"{data.num_tokens / 1e6:,.1f} M tokens in {len(data):,} documents, {megabytes:,.1f} MB of ids")
    table = []
    for job, times in rows.items():
        disk, cpu = (min(column) for column in zip(*times))
        table.append({"name": job, "disk_s": [t[0] for t in times], "cpu_s": [t[1] for t in times]})
        print(f"  {job:<38} {megabytes / disk:>8,.0f} MB/s of disk  {megabytes / cpu:>8,.0f} MB/s of cpu")
    save({"title": "Exchange", "machine": machine_line(), "megabytes": megabytes, "rows": table})


if __name__ == "__main__":
    main()
