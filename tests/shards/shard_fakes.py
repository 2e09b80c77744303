"""A tokenizer with the attributes that the shards room relies on: one id per UTF-8 byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class ByteTokenizer:
    vocab_size: int = 257
    end_of_text_id: int | None = 256
    fingerprint: str = "bytes-1"

    def encode_batch(self, texts: pa.Array) -> pa.LargeListArray:
        encoded = [list(text.encode()) for text in texts.to_pylist()]
        kind = pa.uint16() if self.vocab_size <= 65536 else pa.uint32()
        return pa.array(encoded, pa.large_list(kind))

    def decode(self, ids) -> str:
        return bytes(int(i) for i in ids if i < 256).decode("utf-8", "replace")


TEXTS = ["我想学中文。", "", "他们在北京大学", "a", "今天天气很好，我们去公园散步吧！" * 3, "的"]


def batch(texts=TEXTS, first=0) -> pa.RecordBatch:
    ids = [f"doc-{first + i}" for i in range(len(texts))]
    return pa.RecordBatch.from_arrays(
        [pa.array(ids), pa.array(texts, pa.large_string())], names=["id", "text"]
    )


def token_batch(token_lists, first=0, **columns) -> pa.RecordBatch:
    ids = [f"doc-{first + i}" for i in range(len(token_lists))]
    arrays = {"id": pa.array(ids), "tokens": pa.array(token_lists, pa.large_list(pa.int64())), **columns}
    return pa.RecordBatch.from_pydict(arrays)


def expected_stream(texts, end=256) -> np.ndarray:
    """The reference: plain Python concatenation."""
    return np.array([i for text in texts for i in [*text.encode(), *([] if end is None else [end])]])


def flip_bit(path, position, bit=0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(bytes(data))
