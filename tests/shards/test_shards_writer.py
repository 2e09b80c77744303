from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc
from shard_fakes import TEXTS, ByteTokenizer, batch, expected_stream, token_batch

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError, ResourceError
from corpuskit.shards import publishing
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.shardfile import write_shard

TOKENIZER = ByteTokenizer()


def stream(data) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *(document.tokens for document in data)])


def test_documents_come_back_in_order_with_the_end_of_text_id(tmp_path):
    with shards.Writer(tmp_path / "d", tokenizer=TOKENIZER) as writer:
        writer.write(batch())
        writer.write(pa.Table.from_batches([batch(["再见"], first=100)]))
    data = shards.open(tmp_path / "d", tokenizer=TOKENIZER)
    assert [document.id for document in data] == [f"doc-{i}" for i in range(len(TEXTS))] + ["doc-100"]
    for document, text in zip(data, [*TEXTS, "再见"], strict=True):
        assert document.tokens.tolist() == [*text.encode(), 256]
    assert (len(data), data.num_tokens) == (7, len(expected_stream([*TEXTS, "再见"])))
    assert data[-1].id == "doc-100"


def test_without_an_end_of_document_nothing_is_appended(tmp_path):
    tokenizer = ByteTokenizer(end_of_text_id=None)
    with shards.Writer(tmp_path, tokenizer=tokenizer, end_of_document="none") as writer:
        writer.write(batch())
    assert stream(shards.open(tmp_path)).tolist() == expected_stream(TEXTS, end=None).tolist()


def test_a_missing_end_of_text_id_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="end-of-text"):
        shards.Writer(tmp_path / "d", tokenizer=ByteTokenizer(end_of_text_id=None))
    assert not (tmp_path / "d").exists()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 12), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    shard_tokens=st.integers(1, 25),
)
def test_shards_do_not_depend_on_how_documents_are_batched(tmp_path_factory, lengths, cuts, shard_tokens):
    lists = [list(range(length)) for length in lengths]
    cuts = sorted({0, len(lists), *(cut for cut in cuts if cut < len(lists))})
    directories = []
    for borders in ([0, len(lists)], cuts):
        directory = tmp_path_factory.mktemp("d")
        directories.append(directory)
        with shards.Writer(directory, tokenizer=TOKENIZER, shard_tokens=shard_tokens) as writer:
            for a, b in itertools.pairwise(borders):
                writer.write_tokens(token_batch(lists[a:b], first=a))
    names = sorted(path.name for path in directories[0].iterdir())
    assert names == sorted(path.name for path in directories[1].iterdir())
    for name in names:
        assert (directories[0] / name).read_bytes() == (directories[1] / name).read_bytes()
    data = shards.open(directories[0], verify="full")
    assert [document.tokens.tolist() for document in data] == [[*tokens, 256] for tokens in lists]
    for entry in data.manifest.shards:
        assert entry.tokens <= shard_tokens or entry.rows == 1


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65536, "uint16"), (65537, "uint32")])
def test_dtype_is_the_smallest_that_holds_the_vocabulary(tmp_path, vocab_size, dtype):
    tokenizer = ByteTokenizer(vocab_size=vocab_size)
    with shards.Writer(tmp_path, tokenizer=tokenizer) as writer:
        writer.write_tokens(token_batch([[0, vocab_size - 1]]))
    data = shards.open(tmp_path, verify="full")
    assert data[0].tokens.dtype == dtype and data[0].tokens.tolist() == [0, vocab_size - 1, 256]


def test_a_shard_is_an_uncompressed_arrow_file_with_one_record_batch(tmp_path):
    with shards.Writer(tmp_path, tokenizer=TOKENIZER, shard_tokens=50) as writer:
        for first in range(5):
            writer.write(batch(first=10 * first))
    paths = sorted(tmp_path.glob("shard-*.arrow"))
    assert len(paths) > 3 and paths[0].name == "shard-00000.arrow"
    for path in paths:
        reader = ipc.open_file(path)
        assert reader.num_record_batches == 1
        assert reader.schema.field("tokens").type == pa.large_list(pa.uint16())
        assert reader.schema.metadata[b"corpuskit.tokenizer"] == b"bytes-1"


def test_parallel_columns_follow_the_tokens(tmp_path):
    rows = token_batch(
        [[1, 2, 3], [4]],
        loss_mask=pa.array([[True, False, True], [False]]),
        word_starts=pa.array([[1, 0, 1], [1]]),
    )
    columns = {"loss_mask": "uint8", "word_starts": "uint8"}
    with shards.Writer(tmp_path, tokenizer=TOKENIZER, columns=columns) as writer:
        writer.write_tokens(rows)
    data = shards.open(tmp_path, verify="full")
    assert data[0].tokens.tolist() == [1, 2, 3, 256]
    assert data[0].columns["loss_mask"].tolist() == [1, 0, 1, 1]
    assert data[1].columns["word_starts"].tolist() == [1, 1]


def test_a_parallel_column_of_another_length_is_refused(tmp_path):
    rows = token_batch([[1, 2], [3]], loss_mask=pa.array([[1, 1], [1, 1]]))
    writer = shards.Writer(tmp_path, tokenizer=TOKENIZER, columns={"loss_mask": "uint8"})
    with pytest.raises(InputError, match=r"doc-1.*one value per token"):
        writer.write_tokens(rows)
    with pytest.raises(ConfigError, match="write_tokens"):
        writer.write(batch())


@pytest.mark.parametrize("bad", [257, -1, 70000])
def test_ids_outside_the_vocabulary_are_refused_with_their_document(tmp_path, bad):
    with (
        pytest.raises(InputError, match=rf"doc-1: token id {bad} is outside the vocabulary of 257"),
        shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer,
    ):
        writer.write_tokens(token_batch([[1], [2, bad], [3]]))


@pytest.mark.parametrize(
    "rows",
    [
        pa.RecordBatch.from_pydict({"id": ["a"]}),
        pa.RecordBatch.from_pydict({"text": ["a"]}),
        pa.RecordBatch.from_pydict({"id": ["a", "b"], "text": ["x", None]}),
        pa.RecordBatch.from_pydict({"id": [None], "text": ["x"]}),
        pa.RecordBatch.from_pydict({"id": ["a"], "text": [b"\xff"]}),
    ],
)
def test_a_batch_that_is_not_of_documents_is_refused(tmp_path, rows):
    with pytest.raises(InputError), shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer:
        writer.write(rows)


@pytest.mark.parametrize(
    "options",
    [
        {"shard_tokens": 0},
        {"shard_tokens": 2.5},
        {"end_of_document": "always"},
        {"columns": {"tokens": "uint8"}},
        {"columns": {"mask": "string"}},
        {"provenance": {"when": object()}},
    ],
)
def test_impossible_options_are_refused(tmp_path, options):
    with pytest.raises(ConfigError):
        shards.Writer(tmp_path, tokenizer=TOKENIZER, **options)


def test_a_directory_with_a_dataset_is_not_overwritten(tmp_path):
    shards.Writer(tmp_path, tokenizer=TOKENIZER).close()
    with pytest.raises(ArtifactError, match="already holds a token dataset"):
        shards.Writer(tmp_path, tokenizer=TOKENIZER)


def test_an_exception_leaves_a_dataset_that_says_it_is_incomplete(tmp_path):
    with (
        pytest.raises(RuntimeError, match="stop"),
        shards.Writer(tmp_path, tokenizer=TOKENIZER, shard_tokens=60) as writer,
    ):
        writer.write(batch())
        writer.write(batch(first=10))
        raise RuntimeError("stop")
    with pytest.raises(ArtifactError, match="incomplete"):
        shards.open(tmp_path)
    prefix = shards.open(tmp_path, verify="full", allow_incomplete=True)
    everything = expected_stream([*TEXTS, *TEXTS])
    assert 0 < prefix.num_tokens < len(everything)
    assert stream(prefix).tolist() == everything[: prefix.num_tokens].tolist()
    with pytest.raises(ConfigError, match="closed"):
        writer.write(batch())


def test_a_failed_shard_closes_the_writer(tmp_path, monkeypatch):
    writer = shards.Writer(tmp_path, tokenizer=TOKENIZER, shard_tokens=20)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        writer.write(batch())
    with pytest.raises(ConfigError, match="closed"):
        writer.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_resource_error_and_leaves_an_incomplete_dataset(tmp_path, monkeypatch):
    writer = shards.Writer(tmp_path, tokenizer=TOKENIZER, shard_tokens=20)
    monkeypatch.setattr(publishing, "write_shard", lambda path, *rest: write_shard("/dev/full", *rest))
    with pytest.raises(ResourceError, match=r"no space left.*resume=True") as raised, writer:
        writer.write(batch())
    assert raised.value.where == str(tmp_path / "shard-00000.arrow")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    with pytest.raises(ArtifactError, match="incomplete"):
        shards.open(tmp_path)


def test_info_reports_totals_and_provenance(tmp_path):
    with shards.Writer(tmp_path, tokenizer=TOKENIZER, provenance={"source": "法律"}) as writer:
        writer.write(batch())
    report = shards.info(tmp_path)
    assert json.loads(json.dumps(report)) == report
    assert (report["documents"], report["num_shards"], report["complete"]) == (6, 1, True)
    assert report["tokens"] == len(expected_stream(TEXTS))
    assert report["provenance"] == {"source": "法律"}


@given(
    lengths=st.lists(st.sampled_from([0, 1, 3, 700, 2000]), max_size=8),
    end=st.sampled_from([None, 256]),
    cut=st.integers(0, 8),
)
def test_ends_are_put_between_documents_on_the_way_into_a_shard(lengths, end, cut):
    """The reference is one Python list; above and below the mean length where the way changes."""
    lists = [list(range(length)) for length in lengths]
    offsets = np.cumsum([0, *lengths])
    tokens = np.array([token % 256 for one in lists for token in one], np.uint16)
    mask = (tokens % 2).astype(np.uint8)
    ids = pa.array([str(row) for row in range(len(lists))], pa.string())
    documents = EncodedDocuments(ids, offsets, tokens, {"mask": mask}, end)
    for part, rows in [(documents, lists), (documents.slice(min(cut, len(lists)), len(lists)), lists[cut:])]:
        expected = [[token % 256 for token in one] + ([] if end is None else [end]) for one in rows]
        out, values = np.zeros(part.num_tokens, np.uint16), np.zeros(part.num_tokens, np.uint8)
        part.copy_into(out)
        part.copy_into(values, "mask")
        assert out.tolist() == [token for one in expected for token in one]
        assert values.tolist() == [1 if token == 256 else token % 2 for token in out.tolist()]
        assert part.shard_offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    chosen = np.arange(len(lists)) % 2 == 0
    out = np.zeros(documents.select(chosen).num_tokens, np.uint16)
    documents.select(chosen).copy_into(out)
    assert len(out) == sum(lengths[::2]) + (0 if end is None else int(chosen.sum()))


@pytest.mark.parametrize("value", [1.5, 2.0, float("nan")])
def test_tokens_that_are_no_whole_numbers_are_refused_and_not_cut(tmp_path, value):
    rows = pa.RecordBatch.from_pydict({"id": ["a"], "tokens": pa.array([[1.0, value]])})
    with (
        pytest.raises(InputError, match="must be integers, not double"),
        shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer,
    ):
        writer.write_tokens(rows)


@pytest.mark.parametrize("kind", [pa.list_(pa.int32(), 2), pa.list_(pa.uint8()), pa.large_list(pa.uint64())])
def test_tokens_come_in_lists_of_any_width_or_of_a_fixed_size(tmp_path, kind):
    tokens = pa.concat_arrays([pa.array([[9, 9], [1, 2]], kind), pa.array([[3, 4]], kind)])[1:]
    with shards.Writer(tmp_path, tokenizer=TOKENIZER, end_of_document="none") as writer:
        writer.write_tokens(pa.RecordBatch.from_pydict({"id": ["a", "b"], "tokens": tokens}))
    assert [document.tokens.tolist() for document in shards.open(tmp_path)] == [[1, 2], [3, 4]]
