"""Shuffled training batches from shards: ours beside a NumPy memmap, one process, warm cache.

Every contender hands out the same windows in the same order as int64 [32, 1024]; a sum over
position-weighted ids proves that nobody read something easier.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from harness import Contender, compare, version

import corpuskit as ck
from corpuskit.documents import document_id
from corpuskit.shards.order import SampleOrder

T, B, BATCHES, TOKENS = 1024, 32, 400, 1 << 24


class Vocabulary:
    """What the writer needs to know of a tokenizer."""

    vocab_size, end_of_text_id, fingerprint = 50_000, 0, "benchmark"


def digest(batch: np.ndarray) -> int:
    """An id-hash that notices another window, row or order."""
    return int((batch[:, :: T // 8] * np.arange(1, B + 1)[:, None]).sum())


def main() -> None:
    """16 M uint16 tokens, 400 batches of 32 x 1,024."""
    with tempfile.TemporaryDirectory() as directory:
        tokens = np.random.default_rng(0).integers(1, 50_000, TOKENS, dtype=np.uint16)
        flat = Path(directory) / "tokens.bin"
        tokens.tofile(flat)
        pieces = tokens.reshape(-1, 4096)
        ids = [document_id("benchmark", i) for i in range(len(pieces))]
        offsets = pa.array(np.arange(len(pieces) + 1) * 4096, pa.int64())
        rows = pa.RecordBatch.from_arrays(
            [pa.array(ids), pa.LargeListArray.from_arrays(offsets, pa.array(tokens))], names=["id", "tokens"]
        )
        with ck.shards.Writer(
            Path(directory) / "shards", tokenizer=Vocabulary(), end_of_document="none"
        ) as writer:
            writer.write_tokens(rows)
        data = ck.shards.open(Path(directory) / "shards")
        windows = data.windows(T)
        order = SampleOrder(windows.fingerprint, f"{windows.policy}/shuffled", 0, len(windows))(
            np.arange(BATCHES * B)
        )
        memmap = np.memmap(flat, np.uint16, "r")

        def ours() -> int:
            loader = data.loader(sequence_length=T, batch_size=B, seed=0, framework="numpy")
            return sum(digest(next(loader)["input_ids"]) for _ in range(BATCHES))

        def numpy_memmap() -> int:
            total = 0
            for start in range(0, len(order), B):
                batch = np.empty((B, T), np.int64)
                for row, index in enumerate(order[start : start + B]):
                    batch[row] = memmap[index * T : (index + 1) * T]
                total += digest(batch)
            return total

        seen: set = set()

        def check(name: str, value: int) -> None:
            seen.add(value)
            if len(seen) > 1:
                raise ValueError(f"{name} read other tokens")

        compare(
            "Reader, shuffled windows to int64",
            [Contender("corpuskit", ours), Contender(version("numpy") + " memmap", numpy_memmap)],
            BATCHES * B * T / 1e6,
            "Mtok",
            check=check,
        )


if __name__ == "__main__":
    main()
