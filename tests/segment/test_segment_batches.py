"""Columns of documents: the words of each row, whatever the Arrow layout, and errors that name the row."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_cases import texts

from corpuskit.errors import ConfigError, InputError


@given(
    rows=st.lists(st.one_of(st.none(), texts), max_size=8),
    begin=st.integers(0, 3),
    kind=st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]),
    threads=st.integers(1, 3),
    hmm=st.booleans(),
)
def test_words_of_each_row(shared_segmenter, rows, begin, kind, threads, hmm):
    column = pa.array(rows, kind)[begin:]
    expected = [None if row is None else shared_segmenter.cut(row, hmm=hmm) for row in rows[begin:]]
    words = shared_segmenter.words_batch(column, hmm=hmm, threads=threads)
    words.validate(full=True)
    assert words.type == pa.large_list(pa.large_string())
    assert words.to_pylist() == expected
    for unit, length in (("bytes", lambda word: len(word.encode())), ("characters", len)):
        ends = shared_segmenter.cut_batch(column, hmm=hmm, unit=unit, threads=threads)
        assert ends.type == pa.large_list(pa.int32())
        assert ends.to_pylist() == [
            None if row is None else np.cumsum([length(word) for word in row]).tolist() for row in expected
        ]


def test_words_share_the_buffer_of_the_text(shared_segmenter):
    column = pa.array(["我来到北京", "清华大学"], pa.large_string())
    words = shared_segmenter.words_batch(column)
    assert words.values.buffers()[2].address == column.buffers()[2].address


def test_chunked_columns(shared_segmenter):
    column = pa.chunked_array([["北京大学"], [], ["天安门"]], pa.string())
    assert shared_segmenter.words_batch(column).to_pylist() == [["北京大学"], ["天安门"]]
    assert shared_segmenter.words_batch(pa.chunked_array([], pa.string())).to_pylist() == []


def test_bytes_below_a_null_are_no_words(shared_segmenter):
    offsets = pa.py_buffer(np.array([0, 6, 12, 18], np.int64))
    valid = pa.array([True, False, True]).buffers()[1]
    data = pa.py_buffer("中国我们你好".encode())
    column = pa.LargeStringArray.from_buffers(3, offsets, data, valid)
    assert shared_segmenter.words_batch(column).to_pylist() == [["中国"], None, ["你好"]]
    assert shared_segmenter.words_batch(column[1:]).to_pylist() == [None, ["你好"]]


@pytest.mark.parametrize(
    ("row", "byte"),
    [
        (b"\xe4\xbd\xa0\xff", 3),
        (b"\xe4\xbd", 0),
        (b"a\xed\xa0\x80", 1),
        (b"\xc0\x80", 0),
        (b"\xf5\x80\x80\x80", 0),
        (b"\xe0\x80\x80", 0),
        (b"\xf0\x80\x80\x80", 0),
        (b"ab\x80", 2),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_malformed_utf8_names_row_and_byte(shared_segmenter, row, byte, threads):
    with pytest.raises(UnicodeDecodeError):
        row.decode()
    rows = ["好".encode(), row, b"b"]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    column = pa.LargeStringArray.from_buffers(3, pa.py_buffer(offsets), pa.py_buffer(b"".join(rows)))
    with pytest.raises(InputError, match=f"row 1, byte {byte}"):
        shared_segmenter.cut_batch(column, threads=threads)


@pytest.mark.parametrize("column", [["你好"], pa.array([1]), pa.array([b"x"]), "你好", None])
def test_anything_but_a_column_of_strings_is_refused(shared_segmenter, column):
    with pytest.raises(ConfigError, match="texts"):
        shared_segmenter.words_batch(column)


def test_impossible_options_are_refused(shared_segmenter):
    column = pa.array(["你好"])
    with pytest.raises(ConfigError, match="unit"):
        shared_segmenter.cut_batch(column, unit="words")
    with pytest.raises(ConfigError, match="threads"):
        shared_segmenter.cut_batch(column, threads=0)


PIECE = "我来到北京清华大学研究生命起源李小福是创新办主任也是云计算方面的专家"


@pytest.mark.slow
@pytest.mark.parametrize("piece", [PIECE, "鿕", "a", "的"], ids=["words", "rare", "latin", "common"])
@pytest.mark.parametrize("hmm", [True, False])
def test_time_is_linear_on_one_line_without_punctuation(shared_segmenter, piece, hmm):
    def seconds(text: str) -> float:
        column = pa.array([text])
        best = 1e9
        for _ in range(3):
            begin = time.process_time()
            shared_segmenter.cut_batch(column, hmm=hmm)
            best = min(best, time.process_time() - begin)
        return best

    short, long = (piece * (n // len(piece)) for n in (350_000, 3_500_000))
    # Ten times the text: quadratic time would take a hundred times as long.
    assert seconds(long) < 30 * seconds(short)
    ends = shared_segmenter.cut_batch(pa.array([long]), hmm=hmm, unit="characters").values
    assert ends[-1].as_py() == len(long)
    if piece == PIECE:
        tail = shared_segmenter.words_batch(pa.array([long]), hmm=hmm).values[-11:].to_pylist()
        assert tail == shared_segmenter.cut(piece * 2, hmm=hmm)[-11:]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("hmm", [True, False])
@pytest.mark.parametrize("piece", [PIECE, "鿕", "a"], ids=["words", "rare", "latin"])
def test_memory_for_a_line_of_100_megabytes_without_punctuation(piece, hmm):
    """Scratch is 11 bytes a character, at most half as much again while it grows, and an end takes 4 bytes:
    below 25 bytes for a character, which in Chinese has three bytes of its own."""
    code = f"""
import resource, pyarrow as pa
from corpuskit.segment import Segmenter
segmenter = Segmenter()
segmenter.cut_batch(pa.array(["我来到北京"]), hmm={hmm})
size = 100_000_000
column = pa.array([{piece!r} * (size // len({piece!r}.encode()))], pa.large_string())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
ends = segmenter.cut_batch(column, hmm={hmm})
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
assert ends.values[-1].as_py() == len(column[0].as_buffer())
print((after - before) / size)
"""
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(output) < (25 if piece == "a" else 25 / 3)
