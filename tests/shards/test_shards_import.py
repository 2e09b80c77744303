from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exchange_fakes import DOCUMENTS, END, contents, flat, tokens_of, write_dataset, write_megatron
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shard_fakes import ByteTokenizer, flip_bit

from corpuskit import shards
from corpuskit.documents import document_id
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError
from corpuskit.shards.exchange import megatron, nanogpt
from corpuskit.shards.exchange.exporting import export
from corpuskit.shards.exchange.importing import find_files, import_tokens
from corpuskit.shards.exchange.megatron import HEADER
from corpuskit.shards.exchange.nanogpt import LlmC, TokenStreams
from corpuskit.shards.exchange.parquet import Parquet

TOKENIZER = ByteTokenizer()
FORMATS = ["nanogpt", "llm.c", "megatron", "parquet"]


def bring_in(path, directory, format, **options):
    done = import_tokens(path, directory, format, tokenizer=options.pop("tokenizer", TOKENIZER), **options)
    return shards.open(directory, "full"), done


def exported(data, directory, format, **options):
    """What to give to the import."""
    export(data, directory, format, **options)
    return directory / "train" if format == "megatron" else directory


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain") / "d")


# Round trips


@pytest.mark.parametrize("policy", ["end_of_text", "none"])
@pytest.mark.parametrize("format", FORMATS)
def test_an_export_comes_back_as_it_was(tmp_path, format, policy):
    data = write_dataset(tmp_path / "d", policy=policy)
    path = exported(data, tmp_path / "out", format)
    back, done = bring_in(path, tmp_path / "back", format, shard_tokens=120)
    assert tokens_of(back) == tokens_of(data)
    assert back.manifest.end_of_document == policy and done.ends_added == 0 and done.lost == ()
    again, _ = bring_in(path, tmp_path / "again", format, shard_tokens=120)
    assert again.fingerprint == back.fingerprint
    if format == "parquet":
        assert contents(back) == contents(data) and back.fingerprint == data.fingerprint
    assert shards.verify(tmp_path / "back").ok


@pytest.mark.parametrize("format", FORMATS)
def test_four_byte_ids_come_back(tmp_path, format):
    wide = ByteTokenizer(vocab_size=70_000, end_of_text_id=69_999, fingerprint="wide")
    data = write_dataset(tmp_path / "d", [[1, 69_998], [], [68_000] * 9], tokenizer=wide)
    back, _ = bring_in(
        exported(data, tmp_path / "out", format), tmp_path / "back", format, tokenizer=wide, shard_tokens=120
    )
    assert tokens_of(back) == tokens_of(data) and back.manifest.dtype == np.uint32


def test_parallel_columns_come_back_through_parquet(tmp_path):
    data = write_dataset(tmp_path / "d", columns=["loss_mask", "word_starts"])
    export(data, tmp_path / "out", Parquet(file_bytes=300, row_group_bytes=90, tokens_column="input_ids"))
    back, _ = bring_in(tmp_path / "out", tmp_path / "back", "parquet", shard_tokens=120)
    assert back.fingerprint == data.fingerprint and contents(back) == contents(data)


_DOCUMENTS = st.lists(st.lists(st.integers(0, 255), max_size=9), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(_DOCUMENTS, st.sampled_from(FORMATS), st.sampled_from(["end_of_text", "none"]), st.integers(1, 12))
def test_any_documents_come_back(monkeypatch, documents, format, policy, run_tokens):
    monkeypatch.setattr(nanogpt, "RUN_TOKENS", run_tokens)
    monkeypatch.setattr(megatron, "RUN_TOKENS", run_tokens)
    with tempfile.TemporaryDirectory() as name:
        data = write_dataset(Path(name) / "d", documents, policy=policy, shard=16)
        if not data.num_tokens:
            return
        kind = LlmC(file_tokens=run_tokens) if format == "llm.c" else format
        export(data, Path(name) / "out", kind)
        path = Path(name) / "out" / ("train.bin" if format in ("megatron", "nanogpt") else "")
        back, _ = bring_in(path, Path(name) / "back", format, shard_tokens=16)
        assert tokens_of(back) == tokens_of(data)


# Streams of others


def reference_cut(streams, end, headed):
    """One id at a time: (file, ordinal in it, ids) for each document."""
    pieces, current = [], None
    for file, part in enumerate(streams):
        for token in part:
            if current is None:
                current = (file, [])
            if token == end:
                pieces.append(current)
                current = None
            else:
                current[1].append(token)
    if current is not None:
        pieces.append(current)
    stream = flat(streams)
    if stream and stream[0] == end and (headed or stream[-1] != end):
        pieces = pieces[1:]
        if stream[-1] == end:
            last = max(file for file, part in enumerate(streams) if part)
            pieces.append((last, []))
    ordinals = [0] * len(streams)
    documents = []
    for file, tokens in pieces:
        documents.append((file, ordinals[file], tokens))
        ordinals[file] += 1
    return documents


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.lists(st.sampled_from([7, 8, END, END]), max_size=12), min_size=1, max_size=4),
    st.integers(1, 14),
    st.booleans(),
)
def test_streams_are_cut_as_one_id_at_a_time_would(monkeypatch, streams, run_tokens, headed):
    monkeypatch.setattr(nanogpt, "RUN_TOKENS", run_tokens)
    with tempfile.TemporaryDirectory() as name:
        files = [(Path(name) / f"{i}.bin", f"{i}.bin") for i in range(len(streams))]
        for (path, _), stream in zip(files, streams):
            header = nanogpt.header(np.dtype(np.uint16), len(stream)) if headed else b""
            path.write_bytes(header + np.array(stream, np.uint16).tobytes())
        found = []
        for incoming in TokenStreams(files, TOKENIZER):
            documents = incoming.documents
            for row, (start, stop) in enumerate(zip(documents.offsets, documents.offsets[1:])):
                ordinal = incoming.first + row
                assert documents.ids[row].as_py() == document_id(incoming.path.name, ordinal)
                found.append((int(incoming.path.stem), ordinal, documents.tokens[start:stop].tolist()))
    assert found == reference_cut(streams, END, headed)


def test_files_of_llm_c_may_cut_documents(tmp_path):
    stream = [END, 1, 2, END, 3, 4, 5, END, 6]
    for number, part in enumerate([stream[:6], stream[6:]]):
        header = nanogpt.header(np.dtype(np.uint16), len(part))
        (tmp_path / f"f_{number:06d}.bin").write_bytes(header + np.array(part, np.uint16).tobytes())
    back, done = bring_in(tmp_path, tmp_path / "back", "llm.c")
    assert tokens_of(back) == [[1, 2, END], [3, 4, 5, END], [6, END]]
    assert [d.id for d in back] == [document_id(f"f_00000{f}.bin", n) for f, n in [(0, 0), (0, 1), (1, 0)]]
    assert [path.name for path in done.files] == ["f_000000.bin", "f_000001.bin"]
    assert back.manifest.provenance["imported"]["files"] == ["f_000000.bin", "f_000001.bin"]


def test_another_id_may_stand_between_documents(tmp_path):
    np.array([1, 2, 0, 3, 0], np.uint16).tofile(tmp_path / "s.bin")
    back, _ = bring_in(tmp_path / "s.bin", tmp_path / "a", "nanogpt", separator_id=0)
    assert tokens_of(back) == [[1, 2, END], [3, END]]
    back, _ = bring_in(tmp_path / "s.bin", tmp_path / "b", "nanogpt", separator_id=0, end_of_document="none")
    assert tokens_of(back) == [[1, 2], [3]]
    nameless = ByteTokenizer(end_of_text_id=None)
    with pytest.raises(ConfigError, match="no end-of-text id to cut"):
        bring_in(tmp_path / "s.bin", tmp_path / "c", "nanogpt", tokenizer=nameless)


def test_the_width_of_raw_ids_is_asked_for_where_it_shows(tmp_path):
    stream = [*range(1, 20), END]
    np.array(stream, np.uint32).tofile(tmp_path / "s.bin")
    with pytest.raises(InputError, match=r"every second id is 0.*--dtype uint32"):
        bring_in(tmp_path / "s.bin", tmp_path / "a", "nanogpt")
    back, _ = bring_in(tmp_path / "s.bin", tmp_path / "b", "nanogpt", dtype="uint32")
    assert tokens_of(back) == [stream]
    back, _ = bring_in(tmp_path / "s.bin", tmp_path / "c", "nanogpt", dtype="uint16", separator_id=0)
    assert len(back) == 20


def test_ids_come_from_the_path_below_what_inputs_share(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.array([1, END], np.uint16).tofile(tmp_path / name / "s.bin")
    back, _ = bring_in([tmp_path / "a" / "s.bin", tmp_path / "b" / "s.bin"], tmp_path / "both", "nanogpt")
    assert [d.id for d in back] == [document_id("a/s.bin", 0), document_id("b/s.bin", 0)]
    moved = shutil.copytree(tmp_path / "a", tmp_path / "elsewhere")
    alone, _ = bring_in(tmp_path / "a", tmp_path / "one", "nanogpt")
    other, _ = bring_in(moved, tmp_path / "two", "nanogpt")
    assert alone.fingerprint == other.fingerprint


# Megatron's files of others


@pytest.mark.parametrize("code, dtype", [(4, np.int32), (5, np.int64), (8, np.uint16), (3, np.int16)])
def test_sequences_of_a_document_are_joined(tmp_path, code, dtype):
    documents = [[[1, 2], [3]], [], [[4, 5, END]], [[6]]]
    write_megatron(tmp_path / "m.v1", documents, code, dtype)
    back, done = bring_in(tmp_path / "m.v1", tmp_path / "back", "megatron")
    assert tokens_of(back) == [[1, 2, 3, END], [END], [4, 5, END], [6, END]]
    assert done.ends_added == 3 and done.lost == ("borders of sequences inside documents",)
    back, done = bring_in(tmp_path / "m.v1.idx", tmp_path / "none", "megatron", end_of_document="none")
    assert tokens_of(back) == [[1, 2, 3], [], [4, 5, END], [6]] and done.ends_added == 0
    assert back[0].id == document_id("m.v1.bin", 0)


def test_a_directory_of_megatron_files_is_read_by_name(tmp_path):
    for name in ("b", "a"):
        write_megatron(tmp_path / name, [[[ord(name)]]])
    back, _ = bring_in(tmp_path, tmp_path / "back", "megatron")
    assert tokens_of(back) == [[97, END], [98, END]]


def break_index(tmp_path, change):
    write_megatron(tmp_path / "m", [[[1, 2], [3]], [[4]]])
    data = bytearray((tmp_path / "m.idx").read_bytes())
    (tmp_path / "m.idx").write_bytes(bytes(change(data)))


def put(data, position, value):
    data[position : position + len(value)] = value
    return data


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: put(d, 0, b"PARQUET"), "not an index of Megatron"),
        (lambda d: put(d, 0, b"TNTIDX\0\0"), "older format"),
        (lambda d: d[:20], "truncated: 20 bytes"),
        (lambda d: d[:-1], r"truncated: 93 bytes, and 3 sequences in 3 document borders take 94"),
        (lambda d: d + b"\0", "longer than it says"),
        (lambda d: put(d, 9, b"\2"), "version 2"),
        (lambda d: put(d, 17, b"\6"), "code 6 is numbers with a fraction"),
        (lambda d: put(d, 17, b"\x63"), "code 99 is unknown"),
        (lambda d: put(d, HEADER.size, b"\5"), "sequence 1 has 1 tokens from byte 4"),
        (lambda d: put(d, HEADER.size + 3, b"\xff"), "sequence 0 has -16777214 tokens"),
        (lambda d: put(d, HEADER.size + 12 + 8, b"\2"), "sequence 1 has 1 tokens from byte 2"),
        (lambda d: put(d, len(d) - 8, b"\2"), "cover sequences 0 to 2, and there are 3"),
        (lambda d: put(d, len(d) - 16, b"\4"), "go backwards"),
    ],
)
def test_a_damaged_index_is_named(tmp_path, change, message):
    break_index(tmp_path, change)
    with pytest.raises(InputError, match=rf"m\.idx.*{message}"):
        bring_in(tmp_path / "m", tmp_path / "back", "megatron")
    assert not (tmp_path / "back").exists()


def test_modes_of_multimodal_data_may_follow(tmp_path):
    break_index(tmp_path, lambda data: data + b"\0\0\0")
    assert len(bring_in(tmp_path / "m", tmp_path / "back", "megatron")[0]) == 2


def test_ids_that_do_not_fit_their_index(tmp_path):
    write_megatron(tmp_path / "m", [[[1, 2]]])
    for data, message in [(b"\1\0", "truncated: 2 bytes instead of 4"), (b"\1\0" * 3, "longer")]:
        (tmp_path / "m.bin").write_bytes(data)
        with pytest.raises(InputError, match=rf"m\.bin.*{message}"):
            bring_in(tmp_path / "m", tmp_path / "back", "megatron")
    (tmp_path / "m.bin").unlink()
    with pytest.raises(InputError, match=r"m\.bin.*no such file"):
        bring_in(tmp_path / "m.idx", tmp_path / "back", "megatron")


# Parquet files of others


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)


def test_columns_of_others_are_kept_by_name_or_said_to_be_lost(tmp_path):
    masks = pa.array([[True, False], [True]])
    write_parquet(tmp_path / "f.parquet", text=["一", "二"], input_ids=[[1, 2], [3]], attention_mask=masks)
    back, done = bring_in(tmp_path, tmp_path / "a", "parquet")
    assert tokens_of(back) == [[1, 2, END], [3, END]] and done.ends_added == 2
    assert done.lost == ("column text", "column attention_mask")
    assert [d.id for d in back] == [document_id("f.parquet", n) for n in (0, 1)]
    back, done = bring_in(tmp_path, tmp_path / "b", "parquet", columns=["attention_mask"])
    assert back[0].columns["attention_mask"].tolist() == [1, 0, 1] and done.lost == ("column text",)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64(), 2), pa.large_list(pa.uint32()), pa.list_(pa.int32())])
def test_lists_of_any_kind_and_integer(tmp_path, kind):
    write_parquet(tmp_path / "f.parquet", tokens=pa.array([[1, 2], [3, 4]], kind), id=pa.array([5, 6]))
    back, _ = bring_in(tmp_path / "f.parquet", tmp_path / "back", "parquet")
    assert [(d.id, d.tokens.tolist()) for d in back] == [("5", [1, 2, END]), ("6", [3, 4, END])]


def test_a_value_that_the_end_of_text_had_is_said_to_change(tmp_path):
    write_parquet(tmp_path / "f.parquet", tokens=[[1, END]], loss_mask=[[1, 0]])
    back, done = bring_in(tmp_path, tmp_path / "back", "parquet", columns=["loss_mask"])
    assert back[0].columns["loss_mask"].tolist() == [1, 1] and done.ends_added == 0
    assert done.lost == ("values other than 1 of loss_mask at the end-of-text id",)


@pytest.mark.parametrize(
    "columns, options, message",
    [
        ({"text": ["a"]}, {}, "no column is called tokens or input_ids.*there are text"),
        ({"tokens": ["a"]}, {}, "holds string, no lists"),
        ({"tokens": [[0.5]]}, {}, "holds double, no token ids"),
        ({"tokens": [[1]]}, {"tokens_column": "ids"}, "no column 'ids'"),
        ({"tokens": [[1]]}, {"columns": ["mask"]}, "no column 'mask'"),
        ({"tokens": [[1]], "m": [["x"]]}, {"columns": ["m"]}, "holds lists of string"),
        ({"tokens": [[1], [2, 3]], "m": [[1], [1]]}, {"columns": ["m"]}, "not one value per token.*row 1"),
        ({"tokens": [[1], None]}, {}, "'tokens' has nulls"),
        ({"tokens": [[1, None]]}, {}, "'tokens' has nulls"),
        ({"tokens": [[1]], "id": pa.array([None], pa.string())}, {}, "has no id"),
        ({"tokens": [[1], [2, 300]]}, {}, "id 300 is outside the vocabulary of 257.*document 1, token 1"),
        ({"tokens": [[-1]]}, {}, "id -1 is outside the vocabulary"),
        ({"tokens": pa.array([], pa.list_(pa.int32()))}, {}, "hold no documents"),
    ],
)
def test_rows_that_are_no_documents(tmp_path, columns, options, message):
    write_parquet(tmp_path / "f.parquet", **columns)
    with pytest.raises(InputError) as raised:
        bring_in(tmp_path / "f.parquet", tmp_path / "back", "parquet", **options)
    error = raised.value
    assert re.search(message, f"{error.what} {error.where}")
    if (tmp_path / "back").exists():
        with pytest.raises(ArtifactError, match="incomplete"):
            shards.open(tmp_path / "back")


def test_a_truncated_parquet_file_and_files_that_differ(tmp_path):
    write_parquet(tmp_path / "a.parquet", tokens=[[1]])
    write_parquet(tmp_path / "b.parquet", tokens=[[1]], id=["x"])
    with pytest.raises(InputError, match=r"b\.parquet.*some have none"):
        bring_in(tmp_path, tmp_path / "back", "parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-9])
    with pytest.raises(InputError, match=r"a\.parquet: not a whole Parquet file"):
        bring_in(tmp_path / "a.parquet", tmp_path / "back", "parquet")


# Bad streams, other tokenizers, other mistakes


def test_a_stream_that_is_cut_short(tmp_path, plain):
    (tmp_path / "odd.bin").write_bytes(b"\1\0\2")
    with pytest.raises(InputError, match="3 bytes, no multiple of the 2 of a uint16 token"):
        bring_in(tmp_path / "odd.bin", tmp_path / "back", "nanogpt")
    (tmp_path / "none.bin").write_bytes(b"")
    with pytest.raises(InputError, match="hold no documents"):
        bring_in(tmp_path / "none.bin", tmp_path / "empty", "nanogpt")
    header = nanogpt.header(np.dtype(np.uint16), 5)
    for body, message in [
        (b"\0" * 8, "truncated: 1032 bytes, and 5 tokens take 1034"),
        (b"\0" * 12, "longer"),
    ]:
        (tmp_path / "h.bin").write_bytes(header + body)
        with pytest.raises(InputError, match=message):
            bring_in(tmp_path / "h.bin", tmp_path / "back", "llm.c")
    (tmp_path / "h.bin").write_bytes(put(bytearray(header), 4, b"\3") + b"\0" * 10)
    with pytest.raises(InputError, match="version 3"):
        bring_in(tmp_path / "h.bin", tmp_path / "back", "llm.c")


def test_an_id_outside_the_vocabulary_is_found_in_its_document(tmp_path):
    np.array([1, END, 2, 3, 999, END], np.uint16).tofile(tmp_path / "s.bin")
    with pytest.raises(InputError, match=r"s\.bin: document 1, token 2: token id 999 is outside"):
        bring_in(tmp_path / "s.bin", tmp_path / "back", "nanogpt")


@pytest.mark.parametrize("format", ["nanogpt", "llm.c", "megatron"])
def test_the_note_of_an_export_finds_what_bare_ids_cannot(plain, tmp_path, format):
    path = exported(plain, tmp_path / "out", format)
    other = ByteTokenizer(fingerprint="another")
    with pytest.raises(MismatchError, match="made with tokenizer bytes-1, not with another"):
        bring_in(path, tmp_path / "back", format, tokenizer=other)
    (data,) = sorted((tmp_path / "out").glob("*.bin"))
    flip_bit(data, data.stat().st_size - 30)
    with pytest.raises(InputError, match="damaged: its checksum"):
        bring_in(path, tmp_path / "back", format)
    data.write_bytes(data.read_bytes()[:-2])
    with pytest.raises(InputError, match="truncated"):
        bring_in(path, tmp_path / "back", format)
    (note,) = (tmp_path / "out").glob("*.corpuskit.json")
    note.write_text("{")
    with pytest.raises(ArtifactError, match="note of the export is damaged"):
        bring_in(path, tmp_path / "back", format)


def test_parquet_names_its_tokenizer(plain, tmp_path):
    export(plain, tmp_path / "out", "parquet")
    with pytest.raises(MismatchError, match="made with tokenizer bytes-1"):
        bring_in(tmp_path / "out", tmp_path / "back", "parquet", tokenizer=ByteTokenizer(fingerprint="x"))


@pytest.mark.parametrize(
    "format, options, message",
    [
        ("csv", {}, "'csv' is not one of nanogpt"),
        ("parquet", {"separator_id": 1}, "separator_id is not for files of parquet"),
        ("nanogpt", {"tokens_column": "x"}, "tokens_column is not for files of nanogpt"),
        ("megatron", {"columns": ["x"]}, "columns is not for files of megatron"),
        ("nanogpt", {"dtype": "int16"}, "'int16' is not one of uint16"),
        ("megatron", {"dtype": "uint16"}, "dtype is not for files of megatron"),
        ("nanogpt", {"separator_id": 257}, "257 is not in the vocabulary"),
        ("nanogpt", {"end_of_document": "yes"}, "'yes' is not one of"),
        ("nanogpt", {"shard_tokens": 0}, "not a positive whole number"),
    ],
)
def test_options_that_do_not_fit(tmp_path, format, options, message):
    np.array([1, END], np.uint16).tofile(tmp_path / "s.bin")
    with pytest.raises(ConfigError, match=message):
        bring_in(tmp_path / "s.bin", tmp_path / "back", format, **options)
    assert not (tmp_path / "back").exists()


def test_inputs_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        find_files(tmp_path / "x.bin", "nanogpt")
    with pytest.raises(InputError, match=r"no \.parquet files"):
        find_files(tmp_path, "parquet")
    with pytest.raises(InputError, match="no input files"):
        find_files([], "parquet")
    for name in ("train.bin", "val.bin"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"2 streams: train\.bin, val\.bin"):
        find_files(tmp_path, "nanogpt")


def test_an_import_into_a_dataset_is_refused(tmp_path, plain):
    np.array([1, END], np.uint16).tofile(tmp_path / "s.bin")
    with pytest.raises(ArtifactError):
        bring_in(tmp_path / "s.bin", plain.directory, "nanogpt")


def test_progress_counts_bytes(plain, tmp_path):
    seen = []
    export(plain, tmp_path / "out", "nanogpt")
    bring_in(tmp_path / "out", tmp_path / "back", "nanogpt", progress=seen.append)
    assert sum(seen) == 2 * (plain.num_tokens - len(DOCUMENTS))


def test_an_import_that_was_refused_or_killed_is_run_again(tmp_path, plain):
    export(plain, tmp_path / "out", "nanogpt")
    source = tmp_path / "out" / "train.bin"
    np.array([1, END, 300], np.uint16).tofile(tmp_path / "wrong.bin")
    with pytest.raises(InputError, match="outside the vocabulary"):
        bring_in(tmp_path / "wrong.bin", tmp_path / "back", "nanogpt")
    bring_in(source, tmp_path / "back", "nanogpt", shard_tokens=50)
    stored = json.loads((tmp_path / "back" / "dataset.json").read_text())
    (tmp_path / "back" / "dataset.json").write_text(json.dumps({**stored, "complete": False}))
    back, _ = bring_in(source, tmp_path / "back", "nanogpt")
    assert tokens_of(back) == tokens_of(plain) and len(back.manifest.shards) == 1
    assert shards.verify(tmp_path / "back").ok


def test_an_import_does_not_replace_what_is_whole_or_another_writers(tmp_path, plain):
    export(plain, tmp_path / "out", "nanogpt")
    source = tmp_path / "out" / "train.bin"
    bring_in(source, tmp_path / "whole", "nanogpt")
    shards.Writer(tmp_path / "begun", tokenizer=TOKENIZER).abort()
    for name in ("whole", "begun"):
        before = (tmp_path / name / "dataset.json").read_bytes()
        with pytest.raises(ArtifactError, match="already holds"):
            bring_in(source, tmp_path / name, "nanogpt")
        assert (tmp_path / name / "dataset.json").read_bytes() == before
