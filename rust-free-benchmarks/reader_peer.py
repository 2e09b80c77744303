"""litdata or mosaicml-streaming reading the windows of `bench_reader.py`, in an environment of its own.

``python reader_peer.py litdata|mosaic INPUT DIGEST`` where INPUT.npy holds the windows (uint16 [n, T]),
INPUT-order.npy the order, and DIGEST is the id-hash that one run has to reach. Each peer first writes its own
format, uncompressed and without checksums, then reads samples by index, as its `__getitem__` gives them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

BATCH = 32
WEIGHTS = np.arange(1, BATCH + 1)[:, None]


def digest(batch: np.ndarray) -> int:
    """As in `bench_reader.py`."""
    length = batch.shape[1]
    return int((batch[:, :: length // 8] * WEIGHTS).sum())


def one_window(path: str, index: int) -> torch.Tensor:
    """litdata's optimize calls this for every window."""
    return torch.from_numpy(np.load(path, mmap_mode="r")[index].astype(np.int32))


def litdata(path: str, directory: str) -> Callable[[int], torch.Tensor]:
    """A map from index to sample: TokensLoader over litdata's own chunks."""
    from litdata import StreamingDataset, TokensLoader, optimize

    windows = np.load(path, mmap_mode="r")
    count, length = windows.shape
    optimize(
        partial(one_window, path),
        inputs=list(range(count)),
        output_dir=directory,
        chunk_size=4096 * length,
        item_loader=TokensLoader(),
        num_workers=1,
    )
    dataset: Any = StreamingDataset(directory, item_loader=TokensLoader(block_size=length), shuffle=False)
    return lambda index: dataset[index].to(torch.int64)


def mosaic(path: str, directory: str) -> Callable[[int], torch.Tensor]:
    """A map from index to sample: StreamingDataset over MDS shards on the local disk."""
    from streaming import MDSWriter, StreamingDataset

    windows = np.load(path, mmap_mode="r")
    with MDSWriter(out=directory, columns={"tokens": f"ndarray:uint16:{windows.shape[1]}"}) as writer:
        for window in windows:
            writer.write({"tokens": np.ascontiguousarray(window)})
    dataset = StreamingDataset(local=directory, shuffle=False, batch_size=BATCH)
    return lambda index: torch.from_numpy(dataset[index]["tokens"].astype(np.int64))


def main() -> None:
    name, path, expected = sys.argv[1:]
    # Whatever a peer prints while it writes must not be taken for our answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = np.load(path.replace(".npy", "-order.npy")).tolist()
    with tempfile.TemporaryDirectory() as directory:
        sample = {"litdata": litdata, "mosaic": mosaic}[name](path, str(Path(directory) / name))

        def run() -> int:
            total = 0
            for start in range(0, len(order), BATCH):
                batch = torch.stack([sample(index) for index in order[start : start + BATCH]])
                total += digest(batch.numpy())
            return total

        found = run()
        if found != int(expected):
            raise SystemExit(f"{name} read other tokens: {found} instead of {expected}")
        print("READY", file=answers, flush=True)
        for _ in sys.stdin:
            started = time.perf_counter()
            run()
            print(time.perf_counter() - started, file=answers, flush=True)


if __name__ == "__main__":
    main()
