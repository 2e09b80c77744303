from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_fakes import ByteTokenizer, batch, flip_bit, token_batch

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError
from corpuskit.shards.windows import Windows

TOKENIZER = ByteTokenizer()


class Pieces(NamedTuple):
    streams: list
    fingerprint: str = "f"

    @property
    def lengths(self):
        return [len(stream) for stream in self.streams]


@pytest.fixture
def small(tmp_path):
    with shards.Writer(tmp_path / "small", tokenizer=TOKENIZER, shard_tokens=60) as writer:
        writer.write(batch())
        writer.write(batch(first=10))
    return tmp_path / "small"


def edit(directory, **changes):
    path = directory / "dataset.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored.update(changes)
    path.write_text(json.dumps(stored), encoding="utf-8")


def test_tokens_are_views_of_the_mapped_file(numbered):
    data = shards.open(numbered)
    document = data[3]
    assert not document.tokens.flags.owndata and not document.tokens.flags.writeable
    assert np.array_equal(np.concatenate([d.tokens for d in data]), np.arange(1000))


def test_it_pickles_by_path(numbered):
    data = pickle.loads(pickle.dumps(shards.open(numbered)))
    assert data[5].tokens.tolist() == shards.open(numbered)[5].tokens.tolist()
    with pytest.raises(IndexError):
        data[40]


@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any),
    sequence_length=st.integers(1, 30),
    remainder=st.sampled_from(["drop", "overlap"]),
)
def test_windows_tile_the_concatenated_stream(lengths, sequence_length, remainder):
    stream = np.arange(sum(lengths), dtype=np.uint16)
    pieces = np.split(stream, np.cumsum(lengths)[:-1])
    if sequence_length > len(stream):
        with pytest.raises(ConfigError, match="longer than the whole dataset"):
            Windows(Pieces(pieces), sequence_length, remainder=remainder)
        return
    windows = Windows(Pieces(pieces), sequence_length, remainder=remainder)
    whole = len(stream) // sequence_length
    expected = [stream[i * sequence_length : (i + 1) * sequence_length] for i in range(whole)]
    if remainder == "overlap" and len(stream) % sequence_length:
        expected.append(stream[-sequence_length:])
    assert [window.tolist() for window in windows] == [window.tolist() for window in expected]
    assert len(windows) == len(expected)
    assert windows[-1].tolist() == expected[-1].tolist()
    with pytest.raises(IndexError):
        windows[len(expected)]


@given(
    size=st.integers(1, 80),
    sequence_length=st.integers(1, 20),
    stride=st.integers(1, 20),
    remainder=st.sampled_from(["drop", "overlap"]),
)
def test_windows_with_a_stride_begin_that_far_apart(size, sequence_length, stride, remainder):
    stream = np.arange(size, dtype=np.uint16)
    if stride > sequence_length or sequence_length > size:
        with pytest.raises(ConfigError):
            Windows(Pieces([stream]), sequence_length, stride=stride, remainder=remainder)
        return
    windows = Windows(Pieces([stream]), sequence_length, stride=stride, remainder=remainder)
    begins = list(range(0, size - sequence_length + 1, stride))
    if remainder == "overlap" and begins[-1] != size - sequence_length:
        begins.append(size - sequence_length)
    assert [window.tolist() for window in windows] == [
        list(range(begin, begin + sequence_length)) for begin in begins
    ]
    assert ("stride" in windows.policy) == (stride != sequence_length)


def test_a_window_spans_shard_borders_and_owns_its_memory(numbered):
    data = shards.open(numbered)
    assert len(data.manifest.shards) >= 7
    windows = data.windows(400)
    assert len(windows) == 2
    window = windows[1]
    assert window.tolist() == list(range(400, 800)) and window.dtype == np.int64
    window[0] = 7
    assert windows[1][0] == 400
    assert data.windows(400, dtype=np.uint16)[0].dtype == np.uint16


def test_windows_pickle_without_their_tokens(numbered):
    windows = shards.open(numbered).windows(100)
    pickled = pickle.dumps(windows)
    tokens = np.concatenate(windows._streams).tobytes()
    assert tokens[:200] not in pickled
    assert [window.tolist() for window in pickle.loads(pickled)] == [window.tolist() for window in windows]


@pytest.mark.parametrize("length", [0, -1, 1001, 2.0, True])
def test_an_impossible_sequence_length_is_refused(numbered, length):
    with pytest.raises(ConfigError, match="sequence_length"):
        shards.open(numbered).windows(length)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16", "nonsense"])
def test_a_dtype_that_cannot_hold_the_vocabulary_is_refused(numbered, dtype):
    data = shards.open(numbered)  # of 1,000 ids; float16 has whole numbers to 2,048
    for view in (data.windows, data.packed):
        if dtype == "float16":
            assert view(8, dtype=dtype)[0].dtype == dtype
        else:
            with pytest.raises(ConfigError, match=r"^dtype:"):
                view(8, dtype=dtype)


def test_an_empty_dataset_opens_and_says_it_holds_no_tokens(tmp_path):
    shards.Writer(tmp_path, tokenizer=TOKENIZER).close()
    data = shards.open(tmp_path, verify="full")
    assert (len(data), data.num_tokens, list(data)) == (0, 0, [])
    assert shards.verify(tmp_path).ok
    with pytest.raises(InputError, match="no tokens"):
        data.windows(8)


def test_another_tokenizer_is_refused(small):
    with pytest.raises(MismatchError, match="bytes-2"):
        shards.open(small, tokenizer=ByteTokenizer(fingerprint="bytes-2"))


def test_an_unknown_verify_level_is_refused(small):
    with pytest.raises(ConfigError, match="verify"):
        shards.open(small, verify="quick")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "upgrade corpuskit"),
        ({"format_version": "1"}, "damaged"),
        ({"complete": False}, "incomplete"),
        ({"complete": 1}, "damaged"),
        ({"tokens": 3}, "damaged"),
        ({"dtype": "uint32"}, "damaged"),
        ({"end_of_document": "sometimes"}, "damaged"),
        ({"fingerprint": "0" * 32}, "damaged"),
        ({"shards": None}, "damaged"),
        ({"columns": {"x": "string"}}, "damaged"),
        ({"tokenizer": {"fingerprint": "x", "vocab_size": 0, "end_of_text_id": None}}, "damaged"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(small, changes, message):
    edit(small, **changes)
    with pytest.raises(ArtifactError, match=message):
        shards.open(small)


def test_a_shard_name_cannot_leave_the_directory(small):
    stored = json.loads((small / "dataset.json").read_text(encoding="utf-8"))
    stored["shards"][0]["name"] = "../shard-00000.arrow"
    edit(small, shards=stored["shards"])
    with pytest.raises(ArtifactError, match="impossible"):
        shards.open(small)


def test_a_manifest_cut_short_is_damaged_and_a_folder_without_one_is_no_dataset(small, tmp_path):
    (small / "dataset.json").write_bytes((small / "dataset.json").read_bytes()[:50])
    with pytest.raises(ArtifactError, match="damaged"):
        shards.open(small)
    assert [problem.kind for problem in shards.verify(small).problems] == ["manifest"]
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.open(tmp_path)
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.verify(tmp_path)


def test_a_truncated_and_a_missing_shard_are_named(small):
    path = small / "shard-00001.arrow"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ArtifactError, match=r"shard-00001\.arrow: the shard is damaged: it is truncated"):
        shards.open(small)
    assert {p.kind for p in shards.verify(small).problems} >= {"size", "checksum", "format"}
    path.write_bytes(b"")
    with pytest.raises(ArtifactError):
        shards.open(small, verify="none")
    path.unlink()
    for level in ("none", "fast", "full"):
        with pytest.raises(ArtifactError, match=r"shard-00001\.arrow: a shard is missing"):
            shards.open(small, verify=level)
    report = shards.verify(small)
    assert [(p.kind, p.file) for p in report.problems] == [("missing", "shard-00001.arrow")]
    assert report.shards == len(shards.info(small)["shards"]) - 1
    with pytest.raises(ArtifactError, match="missing"):
        report.raise_for_problems()


def test_swapped_shards_are_caught_at_open(small):
    first, second = small / "shard-00000.arrow", small / "shard-00001.arrow"
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    with pytest.raises(ArtifactError):
        shards.open(small)


def test_any_flipped_bit_is_caught_structure_at_open_and_data_by_full_and_verify(tmp_path):
    """Every byte of a shard in turn; only token values may pass the fast check."""
    with shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer:
        writer.write_tokens(token_batch([[1, 2, 3], [], [4, 5]]))
    path = tmp_path / "shard-00000.arrow"
    whole = path.read_bytes()
    values = np.array([1, 2, 3, 256, 256, 4, 5, 256], np.uint16).tobytes()
    data = range(whole.index(values), whole.index(values) + len(values))
    for position in range(len(whole)):
        flip_bit(path, position, bit=position % 8)
        with pytest.raises(ArtifactError):
            shards.open(tmp_path, verify="full")
        if position in data:
            shards.open(tmp_path)
        else:
            with pytest.raises(ArtifactError):
                shards.open(tmp_path)
        if position % 7 == 0 or position in data:
            assert not shards.verify(tmp_path).ok
        path.write_bytes(whole)
    assert shards.verify(tmp_path).ok


def test_verify_finds_ids_outside_the_vocabulary(tmp_path):
    with shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer:
        writer.write_tokens(token_batch([[1, 2, 3]]))
    path = tmp_path / "shard-00000.arrow"
    whole = path.read_bytes()
    values = np.array([1, 2, 3, 256], np.uint16).tobytes()
    path.write_bytes(whole.replace(values, np.array([1, 999, 3, 256], np.uint16).tobytes()))
    kinds = [problem.kind for problem in shards.verify(tmp_path).problems]
    assert kinds == ["checksum", "vocabulary"]
    assert "999" in shards.verify(tmp_path).problems[1].detail


def test_ids_outside_the_vocabulary_are_found_where_the_checksums_are_right(tmp_path, monkeypatch):
    """As another program, or a tokenizer that lies about its size, would write them."""
    with monkeypatch.context() as patch:
        patch.setattr("corpuskit.shards.encoding._check_vocabulary", lambda *_: None)
        with shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer:
            writer.write_tokens(token_batch([[1, 2], [3, 999]]))
    shards.open(tmp_path)
    with pytest.raises(ArtifactError, match=r"token 4 \(in document 1\) is 999.*vocabulary has 257"):
        shards.open(tmp_path, verify="full")
    assert [problem.kind for problem in shards.verify(tmp_path).problems] == ["vocabulary"]


def test_an_id_that_is_not_utf8_is_found(tmp_path):
    ids = pa.array([b"ok", b"\xff"]).view(pa.string())
    rows = pa.RecordBatch.from_arrays([ids, pa.array([[1], [2]])], names=["id", "tokens"])
    with shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer:
        writer.write_tokens(rows)
    (problem,) = shards.verify(tmp_path).problems
    assert problem.kind == "format" and "not UTF-8" in problem.detail
    with pytest.raises(ArtifactError, match="not UTF-8"):
        shards.open(tmp_path)[1]


def test_a_shard_cut_at_any_length_is_caught_at_open(tmp_path):
    with shards.Writer(tmp_path, tokenizer=TOKENIZER) as writer:
        writer.write_tokens(token_batch([[1, 2, 3], [], [4, 5]]))
    path = tmp_path / "shard-00000.arrow"
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        for level in ("none", "fast", "full"):
            with pytest.raises(ArtifactError):
                shards.open(tmp_path, verify=level)
        assert not shards.verify(tmp_path).ok
    path.write_bytes(whole + b"\0")
    with pytest.raises(ArtifactError, match="longer than it was written"):
        shards.open(tmp_path)


@pytest.mark.parametrize("other", ["format", "tokenizer"])
def test_a_shard_of_another_version_or_tokenizer_is_caught_even_if_the_manifest_lists_it(
    tmp_path, other, monkeypatch
):
    """A file that was put in place by hand, with an entry made for it."""
    from corpuskit.shards import shardfile
    from corpuskit.shards.manifest import load_manifest

    with shards.Writer(tmp_path / "a", tokenizer=TOKENIZER) as writer:
        writer.write(batch())
    with monkeypatch.context() as patch:
        if other == "format":
            patch.setattr(shardfile, "FORMAT_VERSION", 2)
        tokenizer = TOKENIZER if other == "format" else ByteTokenizer(fingerprint="bytes-2")
        with shards.Writer(tmp_path / "b", tokenizer=tokenizer) as writer:
            writer.write(batch())
    foreign = tmp_path / "b" / "shard-00000.arrow"
    (tmp_path / "a" / "shard-00000.arrow").write_bytes(foreign.read_bytes())
    entry = shardfile.describe_shard(foreign, "shard-00000.arrow")
    dataclasses.replace(load_manifest(tmp_path / "a"), shards=(entry,)).save(tmp_path / "a")
    message = "format version 2" if other == "format" else "another tokenizer"
    with pytest.raises(ArtifactError, match=message):
        shards.open(tmp_path / "a")
    assert [problem.kind for problem in shards.verify(tmp_path / "a").problems] == ["schema"]


def test_verify_reports_an_incomplete_dataset_and_shards_it_does_not_know(small):
    edit(small, complete=False)
    (small / "shard-00099.arrow").write_bytes(b"")
    assert [p.kind for p in shards.verify(small).problems] == ["incomplete", "unlisted"]


def test_the_fingerprint_is_of_the_content(small, tmp_path):
    with shards.Writer(tmp_path / "again", tokenizer=TOKENIZER, shard_tokens=60, provenance={"a": 1}) as w:
        w.write(batch())
        w.write(batch(first=10))
    with shards.Writer(tmp_path / "other", tokenizer=TOKENIZER, shard_tokens=60) as w:
        w.write(batch())
    fingerprint = shards.open(small).fingerprint
    assert shards.open(tmp_path / "again").fingerprint == fingerprint
    assert shards.open(tmp_path / "other").fingerprint != fingerprint


def test_reading_and_numpy_batches_never_import_torch(numbered):
    program = (
        "import sys\nfrom corpuskit import shards\n"
        "data = shards.open(sys.argv[1])\n"
        "next(data.loader(16, 4, framework='numpy'))\n"
        "sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(numbered)], check=True)
