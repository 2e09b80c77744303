from __future__ import annotations

import numpy as np
import pyarrow.dataset
import pytest
from shard_fakes import ByteTokenizer, batch, token_batch

from corpuskit import shards
from corpuskit.shards.interop import shard_paths, to_table


@pytest.fixture
def dataset(tmp_path):
    with shards.Writer(tmp_path / "d", tokenizer=ByteTokenizer(), shard_tokens=60) as writer:
        writer.write(batch())
        writer.write(batch(first=10))
    return tmp_path / "d"


@pytest.fixture
def rows(dataset):
    return [(document.id, document.tokens.tolist()) for document in shards.open(dataset)]


def test_polars_scans_the_shards_directly(dataset, rows):
    polars = pytest.importorskip("polars")
    frame = polars.scan_ipc(shard_paths(dataset)).collect()
    assert frame.schema["tokens"] == polars.List(polars.UInt16)
    assert [(i, list(t)) for i, t in frame.iter_rows()] == rows


def test_duckdb_queries_them_through_a_pyarrow_dataset(dataset, rows):
    duckdb = pytest.importorskip("duckdb")
    files = pyarrow.dataset.dataset(shard_paths(dataset), format="ipc")
    connection = duckdb.connect()
    connection.register("shards", files)
    found = connection.execute("select count(*), sum(len(tokens)) from shards").fetchone()
    assert found == (len(rows), sum(len(tokens) for _, tokens in rows))
    longest = connection.execute("select id from shards order by len(tokens) desc, id limit 1").fetchone()
    assert longest == ("doc-14",)


def test_hugging_face_streams_the_files_themselves(dataset, rows, tmp_path):
    datasets = pytest.importorskip("datasets")
    stream = datasets.load_dataset(
        "arrow", data_files=shard_paths(dataset), streaming=True, split="train", cache_dir=str(tmp_path / "c")
    )
    assert [(row["id"], row["tokens"]) for row in stream] == rows


def test_the_adapter_maps_the_shards_without_copying(dataset, rows):
    pytest.importorskip("datasets")
    adapted = shards.to_huggingface(dataset)
    assert [(row["id"], row["tokens"]) for row in adapted] == rows
    assert adapted[3]["id"] == rows[3][0] and len(adapted) == len(rows)
    values = to_table(dataset).column("tokens").chunk(0).values.to_numpy()
    assert not values.flags.owndata
    assert adapted.with_format("numpy")[0]["tokens"].tolist() == rows[0][1]


def test_the_adapter_streams_one_shard_per_file(dataset, rows):
    pytest.importorskip("datasets")
    stream = shards.to_huggingface(dataset, streaming=True)
    assert [(row["id"], row["tokens"]) for row in stream] == rows
    assert stream.num_shards == len(shard_paths(dataset)) > 1


def test_parallel_columns_come_along(tmp_path):
    pytest.importorskip("datasets")
    columns = {"loss_mask": "uint8"}
    with shards.Writer(tmp_path, tokenizer=ByteTokenizer(), columns=columns) as writer:
        writer.write_tokens(token_batch([[1, 2]], loss_mask=pyarrow.array([[0, 1]])))
    assert shards.to_huggingface(tmp_path)[0]["loss_mask"] == [0, 1, 1]
    assert np.array_equal(to_table(tmp_path)["loss_mask"][0].as_py(), [0, 1, 1])


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_without_documents_has_no_rows(tmp_path, streaming):
    pytest.importorskip("datasets")
    with shards.Writer(tmp_path / "d", tokenizer=ByteTokenizer()):
        pass
    assert list(shards.to_huggingface(tmp_path / "d", streaming=streaming)) == []
