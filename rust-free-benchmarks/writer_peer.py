"""mosaicml-streaming's MDSWriter on documents that are encoded already, in an environment of its own.

``python writer_peer.py IDS.npy OFFSETS.npy DIRECTORY``: after a line on standard input it writes every
document as a sample (id, uint16 array) to MDS shards without compression or hashes, which is its default,
syncs the files, and prints the seconds that took.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from streaming import MDSWriter


def write(ids: np.ndarray, offsets: list[int], directory: str) -> None:
    """One dataset."""
    with MDSWriter(out=directory, columns={"id": "str", "tokens": "ndarray:uint16"}) as writer:
        for row, (start, stop) in enumerate(pairwise(offsets)):
            writer.write({"id": f"d{row}", "tokens": ids[start:stop]})
    for path in Path(directory).iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def main() -> None:
    """Write once for every line."""
    ids, offsets = np.load(sys.argv[1]), np.load(sys.argv[2]).tolist()
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin):
        started = time.perf_counter()
        write(ids, offsets, f"{sys.argv[3]}/mds-{number}")
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
