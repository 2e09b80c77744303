"""Files segmented as a stream: what goes in comes out, in order, in every format."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from corpuskit.errors import ConfigError, InputError
from corpuskit.kernels import wordtext
from corpuskit.segment.files import SegmentOptions, segment_files
from corpuskit.segment.textlines import read_line_batches
from corpuskit.segment.wordfiles import open_words

LINES = ["我想去北京大学图书馆看书。", "", '他说："好\\吧"\t', "  春天的时候", "最后𠀀一行\x00没有换行"]
ALPHABET = '春天的 　\t"\\/\x00\x1f\x85ab1，\r𠀀é'


def lines_of(data: bytes, batch_bytes: int) -> list[tuple[str, int]]:
    stream = io.BytesIO(data)
    found = []
    for lines in read_line_batches(lambda n: stream.read(min(n, 7)), "x", batch_bytes):
        found += zip(lines.texts.to_pylist(), lines.ends.tolist())
    return found


@given(st.lists(st.tuples(st.text(ALPHABET.replace("\r", ""), max_size=9), st.sampled_from(["\n", "\r\n"]))),
       st.text(ALPHABET.replace("\r", ""), max_size=5), st.integers(1, 40))  # fmt: skip
def test_lines_are_what_lies_between_line_feeds(lines, last, batch_bytes):
    data = "".join(text + end for text, end in lines) + last
    expected = [(text, len(end)) for text, end in lines] + ([(last, 0)] if last else [])
    assert lines_of(data.encode(), batch_bytes) == expected


def test_a_byte_order_mark_is_no_text_even_in_pieces():
    blocks = iter([b"\xef", b"\xbb", b"\xbf\xe5\xb1\xb1", b""])
    (lines,) = read_line_batches(lambda _: next(blocks, b""), "x", 10)
    assert lines.texts.to_pylist() == ["山"]


def joined(words, separator, ends) -> bytes:
    """The plain reference of the kernel."""
    out = ""
    for row, end in zip(words, ends):
        inner = False
        for word in row:
            if word.isspace() and "\n" in word:
                out, inner = out + word.replace(" ", "").replace("\t", ""), False
            elif not word.strip() and separator.isspace():
                continue
            else:
                out, inner = out + (separator if inner else "") + word, True
        out += ["", "\n", "\r\n"][end]
    return out.encode()


WORDS = st.lists(
    st.lists(st.one_of(st.text(ALPHABET, max_size=3), st.sampled_from(["\n", "\r\n"])), max_size=5),
    max_size=5,
)


@given(WORDS, st.sampled_from([" ", "/", "　", "\t", "分"]), st.data())
def test_joined_rows_are_those_of_the_reference(words, separator, data):
    # A lone carriage return within white space of several characters is no word of any segmenter.
    words = [[w for w in row if not (w.isspace() and len(w) > 1 and w != "\r\n")] for row in words]
    ends = np.array([data.draw(st.integers(0, 2)) for _ in words], np.uint8)
    column = pa.array(words, pa.large_list(pa.large_string()))
    buffer = io.BytesIO()
    from corpuskit.segment.wordfiles import _Text

    _Text(buffer, separator).write_words([], column, ends)
    assert buffer.getvalue() == joined(words, separator, ends)


@given(WORDS)
def test_json_rows_read_back_as_the_words(words):
    from corpuskit.segment.wordfiles import _JsonLines

    buffer = io.BytesIO()
    column = pa.array(words, pa.large_list(pa.large_string()))
    _JsonLines(buffer).write_words([], column, np.ones(len(words), np.uint8))
    assert [json.loads(line)["words"] for line in buffer.getvalue().split(b"\n")[:-1]] == words


@given(st.characters())
def test_white_space_is_what_python_says(character):
    assert wordtext._is_white_space(ord(character)) == character.isspace()


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes("\r\n".join(LINES).encode())
    return path


def test_a_text_file_comes_out_line_by_line(text_file, tmp_path, shared_segmenter):
    report = segment_files([text_file], tmp_path / "out.txt", shared_segmenter)
    out = (tmp_path / "out.txt").read_bytes().decode().split("\r\n")
    expected = [" ".join(w for w in shared_segmenter.cut(line) if not w.isspace()) for line in LINES]
    assert out == expected
    assert (report.rows, report.words) == (5, sum(len(shared_segmenter.cut(line)) for line in LINES))


def test_a_separator_that_is_no_white_space_keeps_every_word(text_file, tmp_path, shared_segmenter):
    segment_files([text_file], tmp_path / "out.txt", shared_segmenter, SegmentOptions(separator="/"))
    out = (tmp_path / "out.txt").read_bytes().decode().split("\r\n")
    assert out == ["/".join(shared_segmenter.cut(line)) for line in LINES]


@pytest.mark.parametrize("unit", ["characters", "bytes"])
@pytest.mark.parametrize("output_format", ["jsonl", "arrow"])
def test_offsets_give_the_words_back(text_file, tmp_path, shared_segmenter, unit, output_format):
    options = SegmentOptions(output_format=output_format, offsets=True, unit=unit)
    out = tmp_path / "out"
    segment_files([text_file], out, shared_segmenter, options)
    if output_format == "arrow":
        table = ipc.open_file(out).read_all()
        assert table.schema.field("word_ends").type == pa.list_(pa.int32())
        assert table.schema.field("word_ends").metadata == {b"unit": unit.encode()}
        rows = table.to_pylist()
    else:
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for line, row in zip(LINES, rows, strict=True):
        text = row["text"].encode() if unit == "bytes" else row["text"]
        words = [text[a:b] for a, b in zip([0, *row["word_ends"]], row["word_ends"])]
        assert [w.decode() if unit == "bytes" else w for w in words] == shared_segmenter.cut(line)


def test_documents_of_every_format_give_the_same_words(tmp_path, shared_segmenter):
    rows = [{"id": str(n), "text": line.replace("\x00", ""), "score": n} for n, line in enumerate(LINES)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(text))
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "d.parquet")
    with ipc.new_file(tmp_path / "e.arrow", table.schema) as writer:
        writer.write_table(table)
    results = []
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.parquet", "e.arrow"):
        out = tmp_path / f"{name}.out.jsonl"
        segment_files([tmp_path / name], out, shared_segmenter, SegmentOptions(output_format="jsonl"))
        results.append([json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()])
    for result in results:
        assert [row["words"] for row in result] == [shared_segmenter.cut(row["text"]) for row in rows]
        assert [(row["source_id"], row["score"]) for row in result] == [
            (row["id"], row["score"]) for row in rows
        ]


def test_documents_become_their_lines_in_text(tmp_path, shared_segmenter):
    path, out = tmp_path / "a.jsonl", tmp_path / "out.txt"
    path.write_text(json.dumps({"text": "春天的时候\n山水之间\r\n\n看书"}) + "\n" + '{"text": "看书"}\n')
    segment_files([path], out, shared_segmenter)
    assert out.read_bytes().decode() == "春天 的 时候\n山水 之间\r\n\n看书\n看书\n"


def test_arrow_words_are_large_lists_beside_the_columns(tmp_path, shared_segmenter):
    path, out = tmp_path / "a.jsonl", tmp_path / "out.arrow"
    path.write_text(json.dumps({"text": "春天的时候", "label": 3}) + "\n")
    segment_files([path], out, shared_segmenter, SegmentOptions(output_format="arrow"))
    table = ipc.open_file(out).read_all()
    assert table.schema.field("words").type == pa.large_list(pa.large_string())
    assert table.column_names == ["id", "label", "source", "words"]
    assert table["words"].to_pylist() == [["春天", "的", "时候"]]


@pytest.mark.parametrize(("mode", "cut"), [("search", "lcut_for_search"), ("full", "cut")])
def test_other_modes_are_those_of_the_segmenter(text_file, tmp_path, shared_segmenter, mode, cut):
    out = tmp_path / "out.jsonl"
    segment_files([text_file], out, shared_segmenter, SegmentOptions(mode=mode, output_format="jsonl"))
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    more = {"cut_all": True} if mode == "full" else {}
    assert [row["words"] for row in rows] == [getattr(shared_segmenter, cut)(t, **more) for t in LINES]
    assert [row["text"] for row in rows] == LINES


def test_files_keep_the_order_they_are_named_in_and_do_not_run_together(tmp_path, shared_segmenter):
    for name, text in (("b.txt", "春天"), ("a.txt", "看书"), ("c", "时候")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    out = tmp_path / "out.txt"
    segment_files([tmp_path / "b.txt", tmp_path / "a.txt", tmp_path / "c"], out, shared_segmenter)
    assert out.read_text(encoding="utf-8") == "春天\n看书\n时候"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_output_reads_back_and_is_the_same_each_time(
    text_file, tmp_path, shared_segmenter, suffix
):
    outs = [tmp_path / f"{n}.txt{suffix}" for n in "ab"]
    for out in outs:
        segment_files([text_file], out, shared_segmenter)
    plain = tmp_path / "plain.txt"
    segment_files([text_file], plain, shared_segmenter)
    data = outs[0].read_bytes()
    assert data == outs[1].read_bytes()
    read = (
        gzip.decompress
        if suffix == ".gz"
        else lambda d: zstandard.ZstdDecompressor().decompressobj().decompress(d)
    )
    assert read(data) == plain.read_bytes()


def test_text_that_is_not_utf8_is_named_and_leaves_nothing(tmp_path, shared_segmenter):
    path = tmp_path / "bad.txt"
    path.write_bytes("春天\n看".encode() + b"\xff\n")
    with pytest.raises(InputError) as caught:
        segment_files([path], tmp_path / "out.txt", shared_segmenter)
    assert caught.value.where == f"{path}: line 2, byte 4 of it"
    assert [p.name for p in tmp_path.iterdir()] == ["bad.txt"]


def test_a_record_without_text_is_reported_and_the_rest_goes_through(tmp_path, shared_segmenter):
    path, out = tmp_path / "a.jsonl", tmp_path / "out.txt"
    path.write_text('{"text": "春天"}\n{"no": 1}\n{"text": "看书"}\n')
    seen = []
    report = segment_files([path], out, shared_segmenter, on_quarantine=seen.append)
    assert (report.rows, report.quarantined) == (2, 1)
    assert [item.reason for item in seen] == ["ingest/missing-text"]
    assert out.read_text(encoding="utf-8") == "春天\n看书\n"


def test_documents_of_two_shapes_do_not_go_into_one_arrow_file(tmp_path, shared_segmenter):
    (tmp_path / "a.jsonl").write_text('{"text": "春天", "x": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "春天", "y": 1}\n')
    with pytest.raises(InputError, match="one Arrow file"):
        segment_files(
            [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "o.arrow", shared_segmenter,
            SegmentOptions(output_format="arrow"),
        )  # fmt: skip
    assert not (tmp_path / "o.arrow").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "fast"}, {"output_format": "csv"}, {"threads": 0}, {"separator": ""}, {"offsets": True},
     {"offsets": True, "output_format": "jsonl", "mode": "full"}, {"unit": "words"}, {"format": "doc"}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        SegmentOptions(**wrong)


def test_an_input_is_not_overwritten_and_a_directory_is_no_output(text_file, tmp_path, shared_segmenter):
    with pytest.raises(InputError, match="one of the inputs"):
        segment_files([text_file], text_file, shared_segmenter)
    with pytest.raises(InputError, match="directory"):
        segment_files([text_file], tmp_path, shared_segmenter)
    with pytest.raises(InputError, match="only once"):
        segment_files(["-", "-"], None, shared_segmenter)


def test_an_empty_file_gives_an_empty_one(tmp_path, shared_segmenter):
    (tmp_path / "empty.txt").write_bytes(b"")
    for form in ("text", "jsonl", "arrow"):
        out = tmp_path / f"out.{form}"
        report = segment_files(
            [tmp_path / "empty.txt"], out, shared_segmenter, SegmentOptions(output_format=form)
        )
        assert (report.rows, report.words) == (0, 0)
    assert ipc.open_file(tmp_path / "out.arrow").read_all().num_rows == 0


def test_a_device_is_written_in_place(text_file, shared_segmenter):
    from pathlib import Path

    before = Path("/dev/null").stat().st_rdev
    segment_files([text_file], "/dev/null", shared_segmenter)
    assert Path("/dev/null").stat().st_rdev == before


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), open_words(tmp_path / "out.txt", "text", " "):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
