"""Plain readers of other trainers' formats, written from their documentation, and datasets to export."""

from __future__ import annotations

import json
import struct
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from shard_fakes import ByteTokenizer, token_batch

from corpuskit import shards

END = 256
DOCUMENTS = [
    list(text.encode()) for text in ["我们在北京。", "", "天气很好" * 30, "a", "的", "春眠不觉晓" * 9]
]


def write_dataset(
    directory, documents=DOCUMENTS, columns=(), policy="end_of_text", tokenizer=None, shard=120
):
    """A dataset of `documents`; every column has 0 and 1 in turn."""
    tokenizer = tokenizer or ByteTokenizer()
    kinds = dict.fromkeys(columns, "uint8")
    values = {
        name: pa.array([[(i + n) % 2 for i in range(len(d))] for d in documents], pa.list_(pa.uint8()))
        for n, name in enumerate(columns)
    }
    with shards.Writer(
        directory, tokenizer=tokenizer, shard_tokens=shard, end_of_document=policy, columns=kinds
    ) as writer:
        writer.write_tokens(token_batch(documents, **values))
    return shards.open(directory)


def contents(data):
    """All that a dataset says of its documents."""
    return [
        (d.id, d.tokens.tolist(), {name: values.tolist() for name, values in d.columns.items()}) for d in data
    ]


def flat(lists):
    return list(chain.from_iterable(lists))


def tokens_of(data):
    return [document.tokens.tolist() for document in data]


def read_megatron(prefix: Path) -> list[list[np.ndarray]]:
    """Documents as lists of sequences, read as megatron/core/datasets/indexed_dataset.py reads them."""
    names = {
        1: "uint8",
        2: "int8",
        3: "int16",
        4: "int32",
        5: "int64",
        6: "float64",
        7: "float32",
        8: "uint16",
    }
    with open(f"{prefix}.idx", "rb") as stream:
        assert stream.read(9) == b"MMIDIDX\x00\x00"
        assert struct.unpack("<Q", stream.read(8)) == (1,)
        dtype = np.dtype(names[struct.unpack("<B", stream.read(1))[0]])
        (sequence_count,) = struct.unpack("<Q", stream.read(8))
        (document_count,) = struct.unpack("<Q", stream.read(8))
        offset = stream.tell()
    buffer = np.memmap(f"{prefix}.idx", mode="r", order="C")
    lengths = np.frombuffer(buffer, np.int32, sequence_count, offset)
    pointers = np.frombuffer(buffer, np.int64, sequence_count, offset + lengths.nbytes)
    borders = np.frombuffer(buffer, np.int64, document_count, offset + lengths.nbytes + pointers.nbytes)
    assert len(lengths) == borders[-1]  # what IndexedDataset.__init__ asserts
    ids = np.memmap(f"{prefix}.bin", mode="r", order="C")
    sequences = [np.frombuffer(ids, dtype, n, at) for n, at in zip(lengths, pointers)]
    return [sequences[a:b] for a, b in pairwise(borders)]


def write_megatron(prefix: Path, documents, code=8, dtype=np.uint16) -> None:
    """`documents` is a list of lists of sequences; as IndexedDatasetBuilder writes them."""
    sequences = [np.array(s, dtype) for document in documents for s in document]
    Path(f"{prefix}.bin").write_bytes(b"".join(s.tobytes() for s in sequences))
    lengths = [len(s) for s in sequences]
    pointers = np.cumsum([0, *(s.nbytes for s in sequences)])[:-1]
    borders = np.cumsum([0, *(len(document) for document in documents)])
    Path(f"{prefix}.idx").write_bytes(
        b"MMIDIDX\x00\x00"
        + struct.pack("<Q", 1)
        + struct.pack("<B", code)
        + struct.pack("<Q", len(lengths))
        + struct.pack("<Q", len(borders))
        + np.array(lengths, np.int32).tobytes()
        + np.array(pointers, np.int64).tobytes()
        + np.array(borders, np.int64).tobytes()
    )


def read_mds(directory: Path) -> list[dict]:
    """Samples of an uncompressed MDS directory, as streaming's MDSReader decodes them."""
    samples = []
    for shard in json.loads((directory / "index.json").read_text())["shards"]:
        assert (shard["version"], shard["format"]) == (2, "mds")
        data = (directory / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        (count,) = np.frombuffer(data, np.uint32, 1)
        assert count == shard["samples"]
        for begin, end in pairwise(np.frombuffer(data, np.uint32, count + 1, 4)):
            samples.append(_decode_sample(data[begin:end], shard))
    return samples


def _decode_sample(data: bytes, shard: dict) -> dict:
    position = 4 * len(shard["column_names"])
    sizes = np.frombuffer(data[:position], np.uint32)
    sample = {}
    for name, encoding, size in zip(shard["column_names"], shard["column_encodings"], sizes):
        value = data[position : position + size]
        position += size
        if encoding == "str":
            sample[name] = value.decode()
        else:
            kind, dtype = encoding.split(":")
            assert kind == "ndarray" and value[0] >> 2 == 1
            width = 1 << (value[0] & 3)
            length = int.from_bytes(value[1 : 1 + width], "little")
            sample[name] = np.frombuffer(value[1 + width :], dtype)
            assert len(sample[name]) == length
    return sample
