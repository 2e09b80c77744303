"""Documents of each library that speaks Arrow."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from shard_fakes import TEXTS, ByteTokenizer

from corpuskit import shards
from corpuskit.documents import document_id
from corpuskit.errors import InputError
from corpuskit.shards import sources
from corpuskit.shards.sources import document_batches

TOKENIZER = ByteTokenizer()
TABLE = pa.table(
    {
        "id": [f"n{i}" for i in range(len(TEXTS))],
        "text": TEXTS,
        "body": TEXTS[::-1],
        "number": range(len(TEXTS)),
    }
)


def rows(documents, **options):
    return [
        (row["id"], row["text"])
        for batch in document_batches(documents, **options)
        for row in batch.to_pylist()
    ]


EXPECTED = list(zip(TABLE["id"].to_pylist(), TEXTS))


@pytest.mark.parametrize(
    "documents",
    [
        TABLE,
        TABLE.to_batches()[0],
        TABLE.to_reader(),
        pyarrow.dataset.dataset(TABLE),
        TABLE.to_batches(max_chunksize=2),
        iter(TABLE.to_batches(max_chunksize=2)),
        (TABLE.slice(i, 1) for i in range(len(TABLE))),
    ],
    ids=["table", "batch", "reader", "dataset", "list of batches", "iterator", "generator of tables"],
)
def test_pyarrow(documents):
    assert rows(documents) == EXPECTED


def test_polars_frames_and_lazy_frames():
    polars = pytest.importorskip("polars")
    frame = polars.from_arrow(TABLE)
    assert rows(frame) == rows(frame.lazy()) == EXPECTED
    assert rows(frame.lazy().filter(polars.col("number") >= 4)) == EXPECTED[4:]
    assert rows(frame.with_columns(polars.col("id").cast(polars.Categorical))) == EXPECTED


def test_duckdb_relations(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pyarrow.parquet.write_table(TABLE, tmp_path / "t.parquet")
    connection = duckdb.connect()
    relation = connection.sql(f"select * from '{tmp_path}/t.parquet' order by number desc")
    assert rows(relation) == EXPECTED[::-1]


def test_hugging_face_datasets_with_their_selections():
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset(TABLE.replace_schema_metadata(None))
    assert rows(data) == EXPECTED
    assert rows(data.select([3, 1])) == [EXPECTED[3], EXPECTED[1]]
    assert rows(data.to_iterable_dataset()) == EXPECTED
    assert rows(data.to_iterable_dataset().filter(lambda row: row["number"] % 2 == 0)) == EXPECTED[::2]


def test_columns_can_be_named_and_numbers_serve_as_ids(tmp_path):
    assert rows(TABLE, text="body", id="number") == list(zip(range(len(TEXTS)), TEXTS[::-1]))
    shards.write(TABLE, tmp_path, tokenizer=TOKENIZER, text="body", id="number")
    data = shards.open(tmp_path)
    assert [document.id for document in data] == [str(i) for i in range(len(TEXTS))]
    assert [TOKENIZER.decode(document.tokens) for document in data] == TEXTS[::-1]


def test_missing_ids_are_made_of_the_source_and_the_number_whatever_the_batches():
    made = [document_id("laws", number) for number in range(len(TEXTS))]
    nameless = TABLE.select(["text"])
    for documents in (nameless, nameless.to_batches(max_chunksize=2)):
        assert [id for id, _ in rows(documents, source="laws")] == made
    assert rows(nameless)[0][0] == document_id("documents", 0)


def test_large_batches_are_cut_and_empty_ones_left_out(monkeypatch):
    monkeypatch.setattr(sources, "_BATCH_BYTES", 100)
    batches = list(document_batches([TABLE.slice(0, 0), TABLE]))
    assert len(batches) > 2 and all(batch.num_rows for batch in batches)
    assert [id for batch in batches for id in batch["id"].to_pylist()] == TABLE["id"].to_pylist()
    assert list(document_batches([])) == []


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("text", "builtins.str"),
        (["text"], "an iterable that yields builtins.str"),
        ([{"text": "a"}], "an iterable that yields builtins.dict"),
        ({"text": ["a"]}, "builtins.dict"),
        (3, "builtins.int"),
        (None, "builtins.NoneType"),
        (pa.array(["a"]), "StringArray is nothing"),
    ],
)
def test_what_holds_no_documents_is_refused_before_anything_is_made(tmp_path, documents, message):
    with pytest.raises(InputError, match=message):
        shards.write(documents, tmp_path / "d", tokenizer=TOKENIZER)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("options", [{"text": "content"}, {"id": "key"}])
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path, options):
    with pytest.raises(InputError, match=r"no column.*id, text, body, number"):
        shards.write(TABLE, tmp_path / "d", tokenizer=TOKENIZER, **options)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("column", ["id", "text"])
def test_a_null_is_an_error_and_the_dataset_says_it_is_incomplete(tmp_path, column):
    table = pa.concat_tables([TABLE.select(["id", "text"]), pa.table({"id": ["x"], "text": ["y"]})])
    index = table.schema.get_field_index(column)
    values = table[column].to_pylist()
    values[-1] = None
    table = table.set_column(index, column, pa.array(values))
    with pytest.raises(InputError, match=f"'{column}' is null"):
        shards.write(table, tmp_path, tokenizer=TOKENIZER)
    assert not shards.info(tmp_path)["complete"]
