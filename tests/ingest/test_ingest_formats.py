from __future__ import annotations

import csv
import gzip
import io
import json
from itertools import pairwise

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from corpuskit.documents import document_id
from corpuskit.ingest.columns import column_names

FIXTURES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def lines(*records):
    return b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in records)


def reasons(quarantined):
    return [item.reason for item in quarantined]


# JSON Lines


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_jsonl_keeps_user_columns_and_moves_the_users_id(build, tmp_path, suffix):
    data = lines({"id": 7, "text": "甲", "tags": ["x"], "n": {"a": 1}}, {"id": 8, "text": "乙"})
    compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(compress(data))
    documents, quarantined = build.read_all(path)
    assert quarantined == []
    first, second = documents
    assert first.pop("id") == document_id(path.name, 0)
    assert first == {"text": "甲", "source_id": 7, "tags": ["x"], "n": {"a": 1}, "source": path.name}
    assert (second["source_id"], second["tags"]) == (8, None)


def test_bad_lines_are_quarantined_with_offset_and_reason(build, tmp_path):
    good = lines({"text": "好"})
    bad = [
        b"{broken\n",
        b'"a string"\n',
        b'{"txt": "x"}\n',
        b'{"text": 5}\n',
        b'{"text": "\xff"}\n',
        b"[" * 100_000 + b"\n",
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(good + b"\n  \n" + b"".join(bad) + good.rstrip())
    documents, quarantined = build.read_all(path)
    assert len(documents) == 2
    assert reasons(quarantined) == [
        "ingest/bad-json", "ingest/bad-json", "ingest/missing-text", "ingest/missing-text", "ingest/bad-utf8",
        "ingest/bad-json",
    ]  # fmt: skip
    content = path.read_bytes()
    for item, line in zip(quarantined, bad, strict=True):
        assert content[item.offset :].startswith(line)


def test_a_huge_line_is_quarantined_and_reading_goes_on(build, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines({"text": "a"}, {"text": "b" * 2_000_000}, {"text": "c"}))
    documents, quarantined = build.read_all(path, max_document_bytes=100_000)
    assert [row["text"] for row in documents] == ["a", "c"]
    assert reasons(quarantined) == ["ingest/too-large"]


def test_a_byte_order_mark_and_windows_line_ends_are_taken_off(build, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines({"text": "甲"}, {"text": "乙"}).replace(b"\n", b"\r\n"))
    documents, quarantined = build.read_all(path)
    assert [row["text"] for row in documents] == ["甲", "乙"] and quarantined == []


def test_lone_surrogate_escapes_become_replacement_characters(build, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(rb'{"text": "a\ud83d\ude00b\ud83dc\udc00", "\udc00k": ["\ud800"]}' + b"\n")
    (row,) = build.read_all(path)[0]
    assert row["text"] == "a😀b\ufffdc\ufffd" and row["\ufffdk"] == ["\ufffd"]


def test_a_json_array_file_is_named_as_such(build, tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[\n {"text": "a"},\n {"text": "b"}\n]\n')
    documents, (item,) = build.read_all(path)
    assert documents == [] and "JSON array" in item.detail


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_a_truncated_compressed_file_keeps_what_is_before(build, tmp_path, suffix, compress):
    rows = [{"text": f"{i * 7919 % 10007} 文 {i * i * 31 % 99991}"} for i in range(50_000)]
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(compress(lines(*rows))[:-50_000])
    documents, quarantined = build.read_all(path)
    assert len(documents) > 10_000
    assert [row["text"] for row in documents] == [row["text"] for row in rows[: len(documents)]]
    reason = {"gz": "ingest/damaged-gzip", "zst": "ingest/damaged-zstd"}[suffix]
    assert reasons(quarantined) == [reason]
    assert lines(*rows)[quarantined[0].offset :].startswith(lines(rows[len(documents)])[:5])


def test_columns_with_changing_types_lose_nothing(build, tmp_path):
    path = tmp_path / "a.jsonl"
    values = [1, 1.5, None, {"a": 1}, {"a": 1, "b": "x"}, "s", [1], 2**70, True]
    path.write_bytes(lines(*({"text": "t", "v": value} for value in values)))
    one_each, _ = build.read_all(path, batch_rows=1)
    assert [row["v"] for row in one_each[:2]] == [1, 1.5]
    assert one_each[4]["v"] == {"a": 1, "b": "x"}
    mixed, _ = build.read_all(path)
    assert [json.loads(row["v"]) if row["v"] not in (None, "s") else row["v"] for row in mixed] == values


def test_a_key_absent_from_some_batches_keeps_one_schema(build, tmp_path):
    path = tmp_path / "a.jsonl"
    records = [{"text": "t", "k": ["x"]} if i % 5 == 0 else {"text": "t"} for i in range(20)]
    path.write_bytes(lines(*records))
    assert len({chunk.batch.schema for chunk in build.read(path, batch_rows=1)}) == 1


def test_names_that_collide_with_ours_are_kept_under_clear_names():
    assert column_names(["id", "text", "source_id", "body"], "body") == {
        "id": "source_id",
        "text": "original_text",
        "source_id": "original_source_id",
    }
    mapped = column_names(["id", "source_id", "original_source_id", "text"], "text")
    assert len(set(mapped.values())) == 3 and mapped["original_source_id"] == "original_source_id"


@FIXTURES
@given(
    names=st.lists(
        st.sampled_from(["id", "text", "source_id", "original_source_id", "original_text", "x"]), unique=True
    )
)
def test_column_names_never_collide(names):
    mapped = column_names(names, "x")
    assert set(mapped) == set(names) - {"x"}
    assert len(set(mapped.values())) == len(mapped) and not {"id", "text"} & set(mapped.values())


@FIXTURES
@given(data=st.data())
def test_byte_ranges_give_the_documents_of_the_whole_file(build, tmp_path, data):
    records = data.draw(
        st.lists(st.sampled_from(['{"text": "%s"}' % ("甲" * n) for n in range(9)] + ["", "{bad"]))
    )
    content = ("\n".join(records)).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(content))), max_size=4)))
    bounds = [0, *cuts, len(content) + 1]
    whole = build.read(path)
    parts = [chunk for a, b in pairwise(bounds) for chunk in build.read(path, start=a, stop=b)]

    def flat(chunks):
        rows = [row for chunk in chunks if chunk.batch is not None for row in chunk.batch.to_pylist()]
        return rows, [item for chunk in chunks for item in chunk.quarantined]

    assert flat(parts) == flat(whole)


# text


def test_text_files_are_documents_by_file_line_or_paragraph(build, tmp_path):
    path = tmp_path / "a.txt"
    content = "甲一\n甲二\n\n \n乙\r\n\r\n丙"
    path.write_bytes(content.encode())
    texts = {}
    for unit in ("file", "line", "paragraph"):
        documents, quarantined = build.read_all(path, text_unit=unit)
        assert quarantined == []
        texts[unit] = [row["text"] for row in documents]
    assert texts == {
        "file": [content],
        "line": ["甲一", "甲二", "乙", "丙"],
        "paragraph": ["甲一\n甲二", "乙", "丙"],
    }


def test_a_text_file_in_gb18030_is_decoded(build, tmp_path):
    path = tmp_path / "novel.txt"
    path.write_bytes((build.paragraph * 10).encode("gb18030"))
    assert build.read_all(path)[0][0]["text"] == build.paragraph * 10


def test_bad_text_is_quarantined(build, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"ok\n\xff\xfe\xfd\n" + b"x" * 200 + b"\nlast\n")
    documents, quarantined = build.read_all(path, text_unit="line", max_document_bytes=100)
    assert [row["text"] for row in documents] == ["ok", "last"]
    assert reasons(quarantined) == ["ingest/bad-utf8", "ingest/too-large"]
    assert reasons(build.read_all(path, max_document_bytes=100)[1]) == ["ingest/too-large"]
    path.write_bytes(b" \n")
    assert reasons(build.read_all(path)[1]) == ["ingest/empty"]
    cut = tmp_path / "b.txt.gz"
    cut.write_bytes(gzip.compress(build.paragraph.encode())[:-9])
    assert reasons(build.read_all(cut)[1]) == ["ingest/damaged-gzip"]


# HTML


def test_html_files_are_decoded_by_what_they_say(build, tmp_path):
    path = tmp_path / "a.html"
    path.write_bytes(build.page(4).replace("<head>", "<head><meta charset=gbk>").encode("gbk"))
    (row,) = build.read_all(path)[0]
    assert row["title"] == "标题4" and build.paragraph in row["text"] and row["charset"] == "gb18030"
    assert reasons(build.read_all(path, max_document_bytes=50)[1]) == ["ingest/too-large"]


# CSV


@FIXTURES
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_csv_reads_what_the_csv_module_writes(build, tmp_path, rows):
    rows = [tuple(value.replace("\r", " ") for value in row) for row in rows]
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    path = tmp_path / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    documents, quarantined = build.read_all(path)
    assert quarantined == []
    assert [(row["text"], row["label"]) for row in documents] == rows
    assert [row["id"] for row in documents] == [document_id("a.csv", i) for i in range(len(rows))]


def test_bad_csv_rows_cost_only_themselves(build, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('﻿id,text\n007,甲\nonly one\n1,"乙"x\n2,丙 5" 屏\n3,"没有关\n4,丁\n5,\n'.encode())
    documents, quarantined = build.read_all(path)
    assert [(row["source_id"], row["text"]) for row in documents] == [
        ("007", "甲"),
        ("2", '丙 5" 屏'),
        ("4", "丁"),
        ("5", ""),
    ]
    assert reasons(quarantined) == ["ingest/bad-csv"] * 3


def test_tsv_and_missing_text_columns(build, tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes("text\tk\n甲,乙\t1\n".encode())
    assert build.read_all(path)[0][0]["text"] == "甲,乙"
    (item,) = build.read_all(path, text_column="body")[1]
    assert item.reason == "ingest/missing-text" and "text, k" in item.detail


# Parquet and Arrow


def table(count):
    return pa.table(
        {
            "id": list(range(count)),
            "text": [f"文{i}" if i % 7 else None for i in range(count)],
            "score": pa.array([i / 2 for i in range(count)], pa.float32()),
            "when": pa.array([i for i in range(count)], pa.timestamp("s")),
        }
    )


def write_table(path, data):
    if path.suffix == ".parquet":
        parquet.write_table(data, path, row_group_size=10)
    else:
        opener = ipc.new_stream if path.name.startswith("stream") else ipc.new_file
        with opener(str(path), data.schema) as writer:
            writer.write_table(data, max_chunksize=10)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "stream.arrow"])
def test_tables_pass_columns_through_and_quarantine_null_texts(build, tmp_path, name):
    path = write_table(tmp_path / name, table(25))
    documents, quarantined = build.read_all(path, batch_rows=4)
    assert [item.offset for item in quarantined] == [0, 7, 14, 21]
    assert set(reasons(quarantined)) == {"ingest/missing-text"}
    assert [row["id"] for row in documents] == [document_id(name, i) for i in range(25) if i % 7]
    expected = table(25).to_pylist()[1]
    row = documents[0]
    assert (row["source_id"], row["text"], row["score"], row["when"]) == tuple(expected.values())
    build.assert_resumes(path, batch_rows=4)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_large_texts_end_batches_and_huge_ones_are_quarantined(build, tmp_path, name):
    texts = ["x" * size for size in (10, 3000, 10, 10, 90_000, 10)]
    path = write_table(tmp_path / name, pa.table({"text": texts}))
    chunks = build.read(path, batch_bytes=2000, max_document_bytes=50_000)
    assert [chunk.records for chunk in chunks] == [2, 3, 1]
    assert [item.reason for chunk in chunks for item in chunk.quarantined] == ["ingest/too-large"]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_text_that_is_not_utf8_costs_only_itself(build, tmp_path, name):
    raw = pa.array([b"ok", b"\xff\xfe", "好".encode()], pa.binary())
    path = write_table(tmp_path / name, pa.table({"text": raw.view(pa.string())}))
    documents, quarantined = build.read_all(path)
    assert [row["text"] for row in documents] == ["ok", "好"]
    assert [(item.reason, item.offset) for item in quarantined] == [("ingest/bad-utf8", 1)]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_further_column_that_is_not_utf8_costs_its_row(build, tmp_path, name):
    raw = pa.array([b"ok", b"\xff\xfe", b"ok"], pa.binary())
    path = write_table(tmp_path / name, pa.table({"text": ["a", "b", "c"], "k": raw.view(pa.string())}))
    documents, quarantined = build.read_all(path)
    assert [row["text"] for row in documents] == ["a", "c"]
    assert [(item.reason, item.offset) for item in quarantined] == [("ingest/bad-utf8", 1)]


def test_dictionary_texts_are_read_and_other_types_refused(build, tmp_path):
    words = pa.array(["甲", "乙", "甲"]).dictionary_encode()
    path = write_table(tmp_path / "a.parquet", pa.table({"text": words, "n": [1, 2, 3]}))
    assert [row["text"] for row in build.read_all(path)[0]] == ["甲", "乙", "甲"]
    for column in ("n", "absent"):
        assert reasons(build.read_all(path, text_column=column)[1]) == ["ingest/missing-text"]


def test_a_damaged_row_group_costs_itself(build, tmp_path):
    path = tmp_path / "a.parquet"
    texts = [f"{i:04}" * 200 for i in range(300)]
    parquet.write_table(
        pa.table({"text": texts}), path, row_group_size=100, compression="zstd", use_dictionary=False
    )
    column = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start : start + 60] = b"\xff" * 60
    path.write_bytes(content)
    documents, quarantined = build.read_all(path)
    assert [row["text"] for row in documents] == texts[:100] + texts[200:]
    assert [(item.reason, item.offset) for item in quarantined] == [("ingest/damaged-file", 100)]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "stream.arrow"])
@FIXTURES
@given(data=st.data())
def test_damaged_tables_end_in_documents_and_quarantine(build, tmp_path, name, data):
    path = write_table(tmp_path / name, table(25))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    build.read_all(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_resuming_behind_any_chunk_gives_the_rest(build, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b'{"text": "a"}\n"bad\n\n' * 5 if name == "a.jsonl" else b'text,b\na,b\n"c"d,\n' * 5)
    build.assert_resumes(path, batch_rows=3, text_unit="line")
