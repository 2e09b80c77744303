"""Memory and time of the connected components of near-duplicate pairs, for documents that are in a pair.

    python rust-free-benchmarks/bench_unionfind.py [--pairs 2000000 8000000]

Every document is in one pair of random documents: the most documents that a number of pairs can have, so
the most memory. Each size is measured in a process of its own, as the growth of its resident memory from the
pairs (16 bytes each, held before) to the peak, and, of that, what stays. Ends in one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from corpuskit.dedup.clusters import Pairs, components


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, nargs="+", default=[2_000_000, 8_000_000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    rows = []
    for pairs in options.pairs:
        command = [sys.executable, __file__, "--measure", str(pairs)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(
            f"{row['pairs']:>12,} pairs of {row['documents']:>12,} documents: {row['peak']:5.1f} bytes a "
            f"document at the peak, {row['stays']:5.1f} stay, {row['seconds']:5.1f} s of processor"
        )
        rows.append(row)
    print(json.dumps({"unionfind": rows}))


def measure(num_pairs: int) -> dict[str, float]:
    """Bytes a document at the peak and after it, and seconds of processor."""
    numbers = np.random.default_rng(1).permutation(2 * num_pairs).astype(np.uint64)
    pairs = Pairs(numbers[:num_pairs], numbers[num_pairs:])
    components(Pairs(pairs.left[:4], pairs.right[:4]))  # compiled
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before, started = resident("VmRSS"), time.process_time()
    nodes, roots = components(pairs)
    seconds, peak = time.process_time() - started, resident("VmHWM") - before
    if len(np.unique(roots)) != num_pairs:
        raise SystemExit("wrong: every pair is a component")
    documents = len(nodes)
    return {
        "pairs": num_pairs,
        "documents": documents,
        "peak": round(peak / documents, 1),
        "stays": (nodes.nbytes + roots.nbytes) / documents,
        "seconds": round(seconds, 1),
    }


def resident(name: str) -> int:
    """Bytes: ``VmRSS`` (now) or ``VmHWM`` (the most)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise SystemExit("needs /proc")


if __name__ == "__main__":
    main()
