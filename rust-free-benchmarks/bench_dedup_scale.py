"""A million documents of 1,000 characters, deduplicated from file to file on two cores.

    .venv/bin/python rust-free-benchmarks/bench_dedup_scale.py --documents 250000 500000 1000000 2000000

Each size runs in a process of its own: wall and processor time by phase, memory over parent and workers
together, and how many of the known pairs (`dedup_texts.py`) ended in one cluster, beside what the bands
promise for their exact similarities. Making the documents is not counted.

The bar: a million in at most 6 minutes and 3 GB on two cores, and time in proportion to the documents.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from dedup_texts import KnownPairs, write_parts
from harness import HERE, RESULTS, machine_line, save
from measured import run_measured

from corpuskit.dedup import MinHashDeduplicator
from corpuskit.parts import read_documents

CORES = (0, 1)


def clusters(files: list[str], count: int) -> np.ndarray:
    """For each document the number of the one that its cluster keeps."""
    kept = np.arange(count)
    for path in files:
        for batch in read_documents(path):
            fields = batch.column("document")
            removed = [int(i, 16) for i in batch.column("id").to_pylist()]
            kept[removed] = [int(i, 16) for i in fields.field("duplicate_of").to_pylist()]
    return kept


def recall(pairs: KnownPairs, kept: np.ndarray, config: MinHashDeduplicator) -> dict[str, float]:
    """Of the known pairs at or above the threshold: the share found, and the share the bands promise."""
    true = pairs.similarity >= (config.verify_threshold or 0)
    together = kept[pairs.copy] == kept[pairs.source]
    promised = 1 - (1 - pairs.similarity**config.rows) ** config.bands
    return {
        "known_pairs": len(pairs.copy),
        "true_pairs": int(true.sum()),
        "found": float(together[true].mean()),
        "promised": float(promised[true].mean()),
        "missed_above_0.95": int((~together[pairs.similarity > 0.95]).sum()),
        "together_below_threshold": int(together[~true].sum()),
    }


def measure(count: int, workers: int, directory: Path) -> dict:
    """Run one size."""
    paths, pairs = write_parts(directory / "documents", count)
    output = directory / f"out-{count}"
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, str(HERE / "dedup_corpuskit.py"), str(workers), str(output), *map(str, paths)]
    measured = run_measured(command, CORES)
    found = measured.result
    kept = clusters(found.pop("dropped_files"), count)
    shutil.rmtree(output, ignore_errors=True)
    return {
        "documents": count,
        "workers": workers,
        "wall_s": measured.wall_s,
        "cpu_s": measured.cpu_s,
        "peak_rss_gb": measured.peak_rss_bytes / 1e9,
        "peak_pss_gb": measured.peak_pss_bytes / 1e9,
        **recall(pairs, kept, MinHashDeduplicator()),
        **found,
    }


def main() -> None:
    """All sizes, smallest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 250_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--directory", type=Path, default=RESULTS / "dedup-scale")
    arguments = parser.parse_args(sys.argv[1:] if Path(sys.argv[0]).name == Path(__file__).name else [])
    print(
        f"\nNear-duplicates from file to file\n{machine_line()}, cores {CORES}, {arguments.workers} workers"
    )
    rows = []
    for count in sorted(arguments.documents):
        row = measure(count, arguments.workers, arguments.directory)
        rows.append(row)
        _print(row)
    result = {"title": "near-duplicates at scale", "machine": machine_line(), "rows": rows}
    save(result)
    print(json.dumps(result))


def _print(row: dict) -> None:
    count = row["documents"]
    print(
        f"\n{count:,} documents: {row['wall_s']:.1f} s wall, {row['cpu_s']:.1f} s processor "
        f"({row['cpu_s'] / count * 1e6:.1f} µs a document), {row['peak_rss_gb']:.2f} GB resident "
        f"({row['peak_pss_gb']:.2f} GB where shared pages count once), "
        f"{row['intermediate_bytes'] / count:.0f} bytes a document between phases"
    )
    print(
        f"  {row['true_pairs']:,} known pairs at or above the threshold: found {row['found']:.4f}, "
        f"promised by the bands {row['promised']:.4f}; {row['missed_above_0.95']} missed above 0.95; "
        f"kept {row['kept']:,}"
    )
    total = max(1e-9, sum(times["cpu_s"] for times in row["phases"].values()))
    for phase, times in row["phases"].items():
        print(
            f"  {phase:<11} {times['wall_s']:>7.1f} s wall {times['cpu_s']:>7.1f} s processor "
            f"{times['cpu_s'] / total:>5.0%}"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
