"""Exports as the trainers they are for read them, each in the environment that the benchmarks make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exchange_fakes import contents, flat, write_dataset

from corpuskit.shards.exchange.exporting import export
from corpuskit.shards.exchange.mds import MDS

pytestmark = pytest.mark.slow

ENVIRONMENTS = Path(__file__).parents[2] / "rust-free-benchmarks" / ".venvs"
DOCUMENTS = [list((chr(0x4E00 + n) * (n * n % 90)).encode()) for n in range(60)] + [[65] * 70_000]

STREAMING = """
import json, sys
import numpy as np
from streaming import MDSWriter, StreamingDataset

ours, theirs, limit, compression, hashes = sys.argv[1:]
data = StreamingDataset(local=ours, shuffle=False, batch_size=1, validate_hash=hashes.split(",")[0] or None)
samples = [data[i] for i in range(len(data))]
rows = [[s["id"], s["tokens"].tolist(), s["loss_mask"].tolist(), str(s["tokens"].dtype)] for s in samples]
print(json.dumps(rows))
columns = {"id": "str", "tokens": "ndarray:uint16", "loss_mask": "ndarray:uint8"}
with MDSWriter(out=theirs, columns=columns, size_limit=int(limit), compression=compression or None,
               hashes=[h for h in hashes.split(",") if h]) as writer:
    for sample in samples:
        writer.write(sample)
"""

DATATROVE = """
import json, sys
sys.path.append(sys.argv[1])  # after our own packages: its environment has no torch
from datatrove.utils.dataset import DatatroveFolderDataset
data = DatatroveFolderDataset(sys.argv[2], seq_len=63, token_size=2, return_positions=True)
samples = [data[i] for i in range(len(data))]
print(json.dumps([[s["input_ids"].tolist(), s["positions"].tolist()] for s in samples]))
"""


def run(python, code, *arguments):
    done = subprocess.run(
        [str(python), "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d", DOCUMENTS, columns=["loss_mask"], shard=2000)


@pytest.mark.parametrize(
    "options, compression, hashes",
    [({}, "", ""), ({"compression": "zstd", "hashes": ("sha1", "xxh64")}, "zstd:3", "sha1,xxh64")],
)
def test_streaming_reads_our_shards_and_writes_the_same_ones(data, tmp_path, options, compression, hashes):
    python = ENVIRONMENTS / "mosaicml-streaming" / "bin" / "python"
    if not python.exists():
        pytest.skip("mosaicml-streaming has no environment; benchmarks make one")
    limit = 150_000
    export(data, tmp_path / "ours", MDS(file_bytes=limit, **options))
    before = {path.name: path.read_bytes() for path in (tmp_path / "ours").iterdir()}
    rows = run(python, STREAMING, tmp_path / "ours", tmp_path / "theirs", limit, compression, hashes)
    expected = [[i, tokens, columns["loss_mask"], "uint16"] for i, tokens, columns in contents(data)]
    assert rows == expected
    assert len(list((tmp_path / "theirs").iterdir())) > 2
    for path in (tmp_path / "theirs").iterdir():
        if path.suffix == ".zstd":  # another version of the compressor may choose other bytes
            continue
        ours, theirs = before[path.name], path.read_bytes()
        if path.name == "index.json" and compression:
            ours, theirs = (strip_zip(json.loads(text)) for text in (ours, theirs))
        assert ours == theirs, path.name


def strip_zip(index):
    for shard in index["shards"]:
        shard.pop("zip_data")
    return index


def test_datatrove_reads_our_nanoset(data, tmp_path):
    packages = ENVIRONMENTS / "datatrove" / "lib"
    found = sorted(packages.glob("python3*/site-packages"))
    if not found:
        pytest.skip("datatrove has no environment; benchmarks make one")
    pytest.importorskip("torch")
    export(data, tmp_path / "ours", "nanoset")
    samples = run(sys.executable, DATATROVE, found[0], tmp_path / "ours")
    stream = np.concatenate([document.tokens for document in data]).astype(int)
    assert len(samples) == len(stream) // 64
    assert flat(ids for ids, _ in samples) == stream[: 64 * len(samples)].tolist()
    begins = np.zeros(len(stream) + 1, int)
    begins[np.cumsum([0, *(len(document.tokens) for document in data)])] = 1
    for number, (_, positions) in enumerate(samples):
        window = begins[64 * number : 64 * number + 64].copy()
        window[0] = 1
        starts = np.flatnonzero(window)
        expected = np.arange(64) - np.repeat(starts, np.diff([*starts, 64]))
        assert positions == expected.tolist()
