from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import zstandard
from exchange_fakes import DOCUMENTS, END, contents, flat, read_mds, read_megatron, tokens_of, write_dataset
from shard_fakes import ByteTokenizer, flip_bit

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError, ResourceError
from corpuskit.shards.cache import CacheConfig
from corpuskit.shards.exchange import common
from corpuskit.shards.exchange.exporting import EXPORT_FORMATS, export, export_format
from corpuskit.shards.exchange.mds import MDS, _shapes
from corpuskit.shards.exchange.megatron import Megatron
from corpuskit.shards.exchange.nanogpt import LlmC, NanoGPT
from corpuskit.shards.exchange.nanoset import Nanoset, in_words
from corpuskit.shards.exchange.parquet import Parquet
from corpuskit.shards.previews import preview
from corpuskit.shards.statistics import token_statistics

# The file (or directory) without which a reader of the format finds nothing.
COMMIT = {
    "nanogpt": "train.bin", "llm.c": "", "megatron": "train.idx", "nanoset": "train.ds", "parquet": "",
    "mds": "",
}  # fmt: skip
WIDE = ByteTokenizer(vocab_size=70_000, end_of_text_id=69_999, fingerprint="wide")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain") / "d")


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("rich") / "d", columns=["loss_mask", "word_starts"])


@pytest.fixture(scope="module")
def unmarked(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("unmarked") / "d", policy="none")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    documents = [[1, 69_998], [], [68_000] * 9]
    return write_dataset(tmp_path_factory.mktemp("wide") / "d", documents, tokenizer=WIDE)


def read_headed(path, dtype=np.uint16, kind=(20240520, 1)):
    header = np.fromfile(path, "<i4", 256)
    tokens = np.fromfile(path, dtype, offset=1024)
    assert header.tolist() == [*kind, len(tokens), *([0] * 253)]
    return tokens.tolist()


# nanoGPT and llm.c


def test_nanogpt_is_the_raw_stream_and_says_the_size_of_the_vocabulary(plain, tmp_path):
    done = export(plain, tmp_path / "out", "nanogpt")
    stream = np.memmap(tmp_path / "out" / "train.bin", np.uint16, "r")
    assert stream.tolist() == [i for document in DOCUMENTS for i in [*document, END]]
    assert pickle.loads((tmp_path / "out" / "meta.pkl").read_bytes()) == {"vocab_size": 257}
    assert done.lost == ("document ids",) and done.tokens == len(stream)
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())


def test_train_and_val_share_a_directory(plain, tmp_path):
    for name in ("train", "val"):
        export(plain, tmp_path, NanoGPT(name=name))
        export(plain, tmp_path, Megatron(name=f"m-{name}"))
    assert (tmp_path / "train.bin").read_bytes() == (tmp_path / "val.bin").read_bytes()
    with pytest.raises(ArtifactError, match=r"val\.bin: the export is there already"):
        export(plain, tmp_path, NanoGPT(name="val"))


def test_a_meta_file_of_other_data_is_not_replaced(plain, tmp_path):
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 65, "stoi": {}}))
    with pytest.raises(ArtifactError, match=r"meta\.pkl: it belongs to other data"):
        export(plain, tmp_path, "nanogpt")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_vocabulary_above_65536_takes_four_bytes(wide, tmp_path):
    export(wide, tmp_path, "nanogpt")
    assert np.fromfile(tmp_path / "train.bin", np.uint32).tolist() == flat(tokens_of(wide))
    export(wide, tmp_path, "megatron")
    (first,), *_ = read_megatron(tmp_path / "train")
    assert first.dtype == np.int32 and first.tolist() == [1, 69_998, 69_999]
    export(wide, tmp_path / "c", "llm.c")
    headed = read_headed(tmp_path / "c" / "train_000000.bin", np.uint32, (20240801, 7))
    assert headed == [69_999, 1, 69_998, 69_999, 69_999, *([68_000] * 9)]


def test_documents_without_marks_get_them_where_the_format_needs_them(unmarked, tmp_path):
    export(unmarked, tmp_path, "nanogpt")
    expected = [i for document in DOCUMENTS for i in [*document, END]]
    assert np.fromfile(tmp_path / "train.bin", np.uint16).tolist() == expected
    export(unmarked, tmp_path / "c", "llm.c")
    assert read_headed(tmp_path / "c" / "train_000000.bin") == [END, *expected[:-1]]
    export(unmarked, tmp_path, "megatron")
    assert [s.tolist() for (s,) in read_megatron(tmp_path / "train")] == DOCUMENTS


@pytest.mark.parametrize("policy", ["end_of_text", "none"])
@pytest.mark.parametrize("file_tokens", [1, 2, 40, 1 << 20])
def test_files_of_llm_c_begin_with_a_document(tmp_path, policy, file_tokens):
    data = write_dataset(tmp_path / "d", policy=policy)
    export(data, tmp_path / "out", LlmC(file_tokens=file_tokens))
    stream = []
    for path in sorted((tmp_path / "out").glob("train_*.bin")):
        tokens = read_headed(path)
        assert tokens[0] == END and (len(tokens) <= file_tokens or tokens.count(END) == 1)
        stream += tokens
    assert stream == [i for document in DOCUMENTS for i in [END, *document]]


def test_streams_without_an_end_of_text_id_need_consent(tmp_path):
    tokenizer = ByteTokenizer(end_of_text_id=None)
    data = write_dataset(tmp_path / "d", policy="none", tokenizer=tokenizer)
    for format in ("nanogpt", "llm.c"):
        with pytest.raises(ConfigError, match="run together"):
            export(data, tmp_path / format, format)
        assert not (tmp_path / format).exists()
        done = export(data, tmp_path / format, format, drop=["boundaries"])
        assert done.lost == ("document ids", "boundaries")
    assert np.fromfile(tmp_path / "nanogpt" / "train.bin", np.uint16).tolist() == flat(DOCUMENTS)
    assert read_headed(tmp_path / "llm.c" / "train_000000.bin") == flat(DOCUMENTS)
    export(data, tmp_path, "megatron")  # has an index of its own


def test_documents_that_hold_the_mark_are_counted(tmp_path):
    for policy in ("end_of_text", "none"):
        data = write_dataset(tmp_path / policy, [[1, END, 2], [END], [3]], policy=policy)
        for format in ("nanogpt", "llm.c"):
            (_, said) = export(data, tmp_path / f"{policy}-{format}", format).lost
            assert said == "which end-of-text ids are boundaries (2 stand inside documents)"
        assert export(data, tmp_path / f"{policy}-m", "megatron").lost == ("document ids",)


# Megatron and nanoset


def test_megatron_has_a_sequence_a_document(plain, tmp_path):
    done = export(plain, tmp_path, "megatron")
    documents = read_megatron(tmp_path / "train")
    assert [len(sequences) for sequences in documents] == [1] * len(DOCUMENTS)
    assert [s.tolist() for (s,) in documents] == tokens_of(plain)
    assert documents[0][0].dtype == np.uint16 and done.lost == ("document ids",)


def test_nanoset_has_ends_and_the_loss(rich, tmp_path):
    with pytest.raises(ConfigError, match=r"no room for the column 'word_starts'.*--drop word_starts"):
        export(rich, tmp_path, "nanoset")
    done = export(rich, tmp_path, "nanoset", drop=["word_starts"])
    assert done.lost == ("document ids", "column word_starts")
    ends = np.fromfile(tmp_path / "train.ds.index", np.uint64)
    assert ends.tolist() == np.cumsum([len(d) + 1 for d in DOCUMENTS]).tolist()
    loss = np.fromfile(tmp_path / "train.ds.loss", np.uint8)
    assert loss.tolist() == flat(values["loss_mask"] for _, _, values in contents(rich))
    stream = np.fromfile(tmp_path / "train.ds", np.uint16)
    assert stream.tolist() == flat(tokens_of(rich))
    name, count, words = (tmp_path / "train.ds.metadata").read_text().split("\n")
    assert name == "corpuskit:bytes-1|2" and int(count) == len(stream) and words == in_words(len(stream))


def test_a_mask_that_is_no_mask_is_refused(tmp_path):
    data = write_dataset(tmp_path / "d", [[1, 2, 3]])
    assert Nanoset().has_room_for("loss_mask", "uint8") and not Nanoset().has_room_for("loss_mask", "float")
    with shards.Writer(tmp_path / "m", tokenizer=ByteTokenizer(), columns={"loss_mask": "uint8"}) as writer:
        batch = {"id": ["a"], "tokens": [[1, 2]], "loss_mask": [[0, 7]]}
        writer.write_tokens(pyarrow.RecordBatch.from_pydict(batch))
    with pytest.raises(InputError, match="a value of 7"):
        export(tmp_path / "m", tmp_path / "out", "nanoset")
    assert not list((tmp_path / "out").iterdir()) and data.num_documents == 1


@pytest.mark.parametrize(
    "count, text", [(0, "0 T"), (999, "999 T"), (1234, "1.23 kT"), (41_491_000, "41.5 MT"), (10**12, "1 TT")]
)
def test_counts_in_words(count, text):
    assert in_words(count) == text


# Parquet


@pytest.mark.parametrize("encoding", ["byte_stream_split", "plain"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_parquet_rows_are_the_documents(rich, tmp_path, compression, encoding):
    done = export(rich, tmp_path / "out", Parquet(compression=compression, encoding=encoding))
    assert done.lost == () and [path.name for path in done.files] == ["00000.parquet"]
    rows = pyarrow.dataset.dataset(tmp_path / "out").to_table().to_pylist()
    expected = [{"id": i, "tokens": t, **columns} for i, t, columns in contents(rich)]
    assert rows == expected
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(tmp_path / "out" / "*.parquet")
    assert frame.schema["tokens"] == polars.List(polars.UInt16) and frame.to_dicts() == expected
    duckdb = pytest.importorskip("duckdb")
    query = f"select sum(len(tokens)), list(id order by id) from '{tmp_path}/out/*.parquet'"
    found = duckdb.connect().execute(query).fetchone()
    assert found == (rich.num_tokens, [row["id"] for row in expected])


def test_hugging_face_loads_the_directory_with_its_splits(plain, rich, tmp_path):
    datasets = pytest.importorskip("datasets")
    for split in ("train", "validation"):
        export(rich, tmp_path / "hub" / split, Parquet(tokens_column="input_ids"))
    loaded = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "validation"}
    assert list(loaded["train"]["input_ids"]) == tokens_of(rich)
    assert loaded["train"].column_names == ["id", "input_ids", "loss_mask", "word_starts"]


def test_any_number_of_threads_writes_the_same_files(rich, tmp_path):
    for threads in (1, 3):
        choices = Parquet(file_bytes=100, row_group_bytes=40, threads=threads)
        export(rich, tmp_path / str(threads), choices)
    assert files_below(tmp_path / "1") == files_below(tmp_path / "3")
    assert len(files_below(tmp_path / "1")) > 3


def test_parquet_is_cut_into_files_and_row_groups(plain, tmp_path):
    done = export(plain, tmp_path / "out", Parquet(file_bytes=400, row_group_bytes=80))
    tables = [pq.read_table(path) for path in done.files]
    assert len(tables) > 1 and sum(table.num_rows for table in tables) == len(DOCUMENTS)
    assert [t for table in tables for t in table["tokens"].to_pylist()] == tokens_of(plain)
    for path, table in zip(done.files, tables):
        assert 2 * sum(map(len, table["tokens"].to_pylist())) <= 400 or table.num_rows == 1
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            assert 2 * sum(map(len, rows["tokens"].to_pylist())) <= 80 or rows.num_rows == 1


# MDS


@pytest.mark.parametrize("file_bytes", [1, 600, 1 << 26])
def test_mds_samples_are_the_documents(rich, tmp_path, file_bytes):
    done = export(rich, tmp_path / "out", MDS(file_bytes=file_bytes))
    samples = read_mds(tmp_path / "out")
    found = [(s.pop("id"), s.pop("tokens").tolist(), {n: v.tolist() for n, v in s.items()}) for s in samples]
    assert found == contents(rich) and done.lost == ()
    for path in (tmp_path / "out").glob("*.mds"):
        assert path.stat().st_size <= file_bytes or np.fromfile(path, np.uint32, 1)[0] == 1


def test_mds_compressed_and_hashed(plain, tmp_path):
    import hashlib
    import json

    import xxhash

    done = export(plain, tmp_path / "out", MDS(compression="zstd", hashes=("xxh64", "sha1")))
    (shard,) = json.loads((tmp_path / "out" / "index.json").read_text())["shards"]
    packed = (tmp_path / "out" / "shard.00000.mds.zstd").read_bytes()
    raw = zstandard.decompress(packed)
    assert shard["compression"] == "zstd:3" and shard["hashes"] == ["sha1", "xxh64"]
    assert shard["zip_data"]["hashes"]["sha1"] == hashlib.sha1(packed).hexdigest()
    assert shard["raw_data"]["hashes"]["xxh64"] == xxhash.xxh64_hexdigest(raw)
    assert shard["raw_data"]["bytes"] == len(raw)
    export(plain, tmp_path / "raw", "mds")
    other = (tmp_path / "raw" / "shard.00000.mds").read_bytes()
    assert raw.split(b"}", 1)[1] == other.split(b"}", 1)[1] and len(done.files) == 3


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65_535, 65_536])
def test_shapes_of_mds_are_as_wide_as_they_must_be(length):
    shape, sizes = _shapes(np.array([3, length]))
    width = max(1, (length.bit_length() + 7) // 8)
    width = {3: 4}.get(width, width)
    expected = bytes([1 << 2 | width.bit_length() - 1]) + length.to_bytes(width, "little")
    assert shape.to_pylist() == [b"\x04\x03", expected] and sizes.tolist() == [2, 1 + width]


# What can go wrong


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_damaged_shard_does_not_leave(tmp_path, format):
    data = write_dataset(tmp_path / "d")
    path = tmp_path / "d" / "shard-00001.arrow"
    at = path.read_bytes().index(bytes([*DOCUMENTS[2]][:0]) + np.array(DOCUMENTS[2][:8], np.uint16).tobytes())
    flip_bit(path, at)
    with pytest.raises(ArtifactError, match=r"shard-00001\.arrow.*checksum"):
        export(data, tmp_path / "out", format)
    assert not (tmp_path / "out" / COMMIT[format]).exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("format", ["nanogpt", "llm.c", "megatron"])
def test_columns_without_room_stop_the_export_until_they_are_dropped(rich, tmp_path, format):
    with pytest.raises(ConfigError, match="no room for the column 'loss_mask'"):
        export(rich, tmp_path / "out", format)
    done = export(rich, tmp_path / "out", format, drop=["word_starts", "loss_mask"])
    assert done.lost == ("document ids", "column word_starts", "column loss_mask")


def test_dropped_columns_are_left_out_where_there_is_room(rich, tmp_path):
    done = export(rich, tmp_path / "out", "parquet", drop=["word_starts"])
    assert pq.read_schema(done.files[0]).names == ["id", "tokens", "loss_mask"]
    assert done.lost == ("column word_starts",)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: export_format("csv"), "'csv' is not one of nanogpt"),
        (lambda: export_format("mds", name="x"), "mds has no 'name'"),
        (lambda: NanoGPT(name="a/b"), "cannot be the name of a file"),
        (lambda: Megatron(name=""), "cannot be the name of a file"),
        (lambda: LlmC(file_tokens=1 << 31), "is not 1 to"),
        (lambda: Parquet(compression="br"), "'br' is not one of"),
        (lambda: Parquet(file_bytes=0), "0 is not a size"),
        (lambda: Parquet(threads=0), "0 is not a number of threads"),
        (lambda: Parquet(row_group_bytes=0), "is not 1 to"),
        (lambda: Parquet(tokens_column="id"), "cannot be the column"),
        (lambda: MDS(hashes=("crc32",)), "'crc32' is not one of"),
        (lambda: MDS(hashes=("md5", "md5")), "named twice"),
        (lambda: MDS(file_bytes=1 << 32), "is not 1 to"),
        (lambda: MDS(compression_level=0), "is not 1 to 22"),
    ],
)
def test_impossible_choices_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_cannot_be_exported_is_named(plain, tmp_path):
    with pytest.raises(ConfigError, match="no 'loss_mask' to drop; parallel columns are: none"):
        export(plain, tmp_path / "out", "mds", drop=["loss_mask"])
    with pytest.raises(ConfigError, match="into the dataset itself"):
        export(plain, plain.directory, "nanogpt")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export(plain, tmp_path / "file" / "below", "nanogpt")
    with pytest.raises(ArtifactError, match="not empty"):
        export(plain, plain.directory.parent, "parquet")
    with shards.Writer(tmp_path / "empty", tokenizer=ByteTokenizer()):
        pass
    for format in EXPORT_FORMATS:
        with pytest.raises(InputError, match="holds no tokens"):
            export(tmp_path / "empty", tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_the_same_dataset_gives_the_same_bytes(rich, tmp_path):
    for format in EXPORT_FORMATS:
        drop = [n for n in ("loss_mask", "word_starts") if not export_format(format).has_room_for(n, "uint8")]
        first, second = (export(rich, tmp_path / f"{n}-{format}", format, drop=drop) for n in "ab")
        assert [p.read_bytes() for p in first.files] == [p.read_bytes() for p in second.files]


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_whatever_rename_fails_nothing_incomplete_looks_whole(plain, tmp_path, monkeypatch, format):
    export(plain, tmp_path / "whole", format)
    whole = files_below(tmp_path / "whole")
    rename = Path.replace
    for failing in range(8):
        directory = tmp_path / f"out-{failing}"
        calls = iter(range(100))

        def replace(self, target, failing=failing, calls=calls):
            if next(calls) == failing:
                raise OSError(errno.EIO, "the disk went away")
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        try:
            export(plain, directory, format)
            break
        except InputError as error:
            assert "cannot be written: the disk went away" in str(error)
        monkeypatch.setattr(Path, "replace", rename)
        left = files_below(directory) if directory.exists() else {}
        commit = COMMIT[format]
        assert commit not in left if commit else not left
        assert not [name for name in left if name.endswith(".tmp")]
        assert export(plain, directory, format).tokens == plain.num_tokens
        assert files_below(directory) == whole
    assert failing > 0 and files_below(directory) == whole


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from corpuskit.shards.exchange.exporting import EXPORT_FORMATS, export
for format in EXPORT_FORMATS:
    if os.fork() == 0:
        export(sys.argv[2], sys.argv[3] + "/" + format, format, progress=lambda done: os.kill(os.getpid(), 9))
    assert os.wait()[1] == 9
"""


def test_a_killed_export_leaves_nothing_that_opens_and_the_next_one_clears_up(plain, tmp_path):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(plain.directory), str(tmp_path)]
    subprocess.run(command, check=True)
    for format, commit in COMMIT.items():
        directory = tmp_path / format
        assert not (directory / commit).exists()
        export(plain, directory, format)
        assert (directory / commit).exists()
    left = [path.name for path in tmp_path.iterdir()]
    assert sorted(left) == sorted(EXPORT_FORMATS)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("format", ["nanogpt", "megatron", "nanoset"])
def test_a_full_disk_is_said(plain, tmp_path, monkeypatch, format):
    def write(self, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(common.HashedFile, "write", write)
    with pytest.raises(ResourceError, match="no space left"):
        export(plain, tmp_path / "out", format)
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_leaves_no_directory(plain, tmp_path, monkeypatch):
    def write(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
    with pytest.raises(ResourceError, match="no space left"):
        export(plain, tmp_path / "out", Parquet(file_bytes=100, row_group_bytes=40))
    assert not list(tmp_path.iterdir())


def test_a_dataset_behind_a_url_is_exported_and_measured(plain, tmp_path):
    system = fsspec.filesystem("memory")
    for path in Path(plain.directory).iterdir():
        system.pipe_file(f"/exported/{path.name}", path.read_bytes())
    try:
        data = shards.open("memory://exported", cache=CacheConfig(str(tmp_path / "cache")))
        export(data, tmp_path / "there", "parquet")
        export(plain, tmp_path / "here", "parquet")
        assert files_below(tmp_path / "there") == files_below(tmp_path / "here")
        assert token_statistics(data) == token_statistics(plain)
        assert next(preview(data, 1)) == next(preview(plain, 1))
    finally:
        system.rm("/exported", recursive=True)


def test_progress_adds_up(plain, tmp_path):
    seen = []
    for format in EXPORT_FORMATS:
        export(plain, tmp_path / format, format, progress=seen.append)
        assert sum(seen) == 2 * plain.num_tokens
        seen.clear()
