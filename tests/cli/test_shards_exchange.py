from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from corpuskit import shards
from corpuskit.cli import shards_exchange
from corpuskit.errors import ConfigError, InputError, MismatchError
from corpuskit.vocab import Tokenizer
from corpuskit.vocab.bytelevel import ByteLevelBPE

TEXTS = ["我们在北京。\n第二行", "天气很好" * 300, "的"]
BYTES = tuple(bytes([b]) for b in range(256))
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": 257}))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A dataset with its tokenizer inside, and the tokenizer beside it."""
    import pyarrow as pa

    home = tmp_path_factory.mktemp("home")
    TOKENIZER.save(home / "bytes")
    TOKENIZER.save(home / "shards" / "tokenizer")
    with shards.Writer(home / "shards", tokenizer=TOKENIZER, columns={"loss_mask": "uint8"}) as writer:
        tokens = [list(text.encode()) for text in TEXTS]
        masks = [[0] * len(t) if n == 0 else [1] * len(t) for n, t in enumerate(tokens)]
        batch = {"id": ["a", "b", "c"], "tokens": tokens, "loss_mask": pa.array(masks, pa.list_(pa.uint8()))}
        writer.write_tokens(pa.RecordBatch.from_pydict(batch))
    return home


@pytest.fixture
def run(home):
    app = typer.Typer()
    app.command("export")(shards_exchange.shards_export)
    app.command("import")(shards_exchange.shards_import)
    app.command("head")(shards_exchange.shards_head)
    app.command("stats")(shards_exchange.shards_stats)

    def call(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return call


def test_an_export_says_what_it_wrote_and_what_it_lost(run, home, tmp_path):
    with pytest.raises(ConfigError, match="no room for the column 'loss_mask'"):
        run("export", home / "shards", "--to", "nanogpt", "-o", tmp_path)
    out = run(
        "export", home / "shards", "--to", "nanogpt", "-o", tmp_path, "--drop", "loss_mask", "--name", "val"
    )
    assert "3 documents, 3,634 tokens" in out and f"  {tmp_path}/val.bin" in out
    assert "not in the export: document ids\nnot in the export: column loss_mask" in out
    assert len(np.fromfile(tmp_path / "val.bin", np.uint16)) == 3634
    with pytest.raises(ConfigError, match="megatron has no 'compression'"):
        run("export", home / "shards", "--to", "megatron", "-o", tmp_path, "--compression", "zstd")


def test_every_option_reaches_its_format(run, home, tmp_path):
    shards_ = home / "shards"
    run("export", shards_, "--to", "mds", "-o", tmp_path / "m", "--file-bytes", 500, "--compression", "zstd",
        "--hash", "sha1", "--hash", "md5")  # fmt: skip
    index = json.loads((tmp_path / "m" / "index.json").read_text())
    assert [s["hashes"] for s in index["shards"]] == [["md5", "sha1"]] * 3
    assert {s["size_limit"] for s in index["shards"]} == {500}
    run("export", shards_, "--to", "llm.c", "-o", tmp_path / "c", "--file-tokens", 9, "--drop", "loss_mask")
    assert len(list((tmp_path / "c").glob("*.bin"))) == 3
    out = run("export", shards_, "--to", "parquet", "-o", tmp_path / "p", "--tokens-column", "input_ids",
              "--encoding", "plain", "--file-bytes", 20)  # fmt: skip
    assert "00000.parquet" in out and "not in the export" not in out


def test_an_import_brings_the_tokenizer_along(run, home, tmp_path):
    run("export", home / "shards", "--to", "parquet", "-o", tmp_path / "p")
    out = run(
        "import", "--from", "parquet", tmp_path / "p", "-o", tmp_path / "d", "--tokenizer", home / "bytes"
    )
    assert out == f"{tmp_path}/d: 3 documents, 3,634 tokens\n"
    assert shards.open(tmp_path / "d").fingerprint == shards.open(home / "shards").fingerprint
    assert "我们在北京" in run("head", tmp_path / "d", "-n", 1)
    np.array([1, 2, 0, 300], np.uint16).tofile(tmp_path / "s.bin")
    with pytest.raises(InputError, match="id 300 is outside the vocabulary of 258"):
        run("import", "--from", "nanogpt", tmp_path / "s.bin", "-o", tmp_path / "e", "--tokenizer",
            home / "bytes", "--separator-id", 0)  # fmt: skip


def test_what_an_import_changes_is_said(run, home, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"input_ids": [[1], [2]], "text": ["x", "y"]}), tmp_path / "f.parquet")
    out = run("import", "--from", "parquet", tmp_path / "f.parquet", "-o", tmp_path / "d", "--tokenizer",
              home / "bytes")  # fmt: skip
    assert "end-of-text added to 2 documents" in out and "not in the dataset: column text" in out


def test_head_shows_documents_as_a_reader_wants_them(run, home):
    out = run("head", home / "shards", "-n", "2", "--characters", "12")
    assert out == "a  29 tokens\n  ⟦我们在北京。⏎第二行⟧ …\nb  3,601 tokens\n  天气很好天气很好天气很好 …\n"
    assert run("head", home / "shards", "-n", "0") == ""
    bare = shutil.copytree(home / "shards", home / "bare", ignore=shutil.ignore_patterns("tokenizer"))
    assert "⟦230 136 145 " in run("head", bare) and "--tokenizer decodes" in run("head", bare)
    assert "characters" not in run("stats", bare)
    other = Tokenizer(ByteLevelBPE((*BYTES, b"cd"), ((99, 100),), {}))
    other.save(home / "other")
    with pytest.raises(MismatchError):
        run("head", home / "shards", "--tokenizer", home / "other")


def test_another_tokenizer_inside_the_dataset_is_named(run, home, tmp_path):
    dataset = shutil.copytree(home / "shards", tmp_path / "d")
    Tokenizer(ByteLevelBPE((*BYTES, b"bc", None), ((98, 99),), {"<|endoftext|>": 257})).save(
        dataset / "tokenizer"
    )
    with pytest.raises(MismatchError, match="the tokenizer inside the dataset") as caught:
        run("head", dataset)
    assert caught.value.where == str(dataset / "tokenizer")
    assert "天气很好" in run("head", dataset, "--tokenizer", home / "bytes")


def test_stats_draw_a_histogram(run, home):
    out = run("stats", home / "shards", "--sequence-length", 1024, "--top", 2)
    lines = out.splitlines()
    assert lines[0] == "documents        3" and lines[1] == "tokens           3,634 (1,211.3 a document)"
    assert "shortest 4, 1% 4," in lines[2] and lines[2].endswith("longest 3,601")
    rows = [line.split() for line in lines]
    assert ["2,048", "to", "4,095", "1", "█" * 40] in rows and ["8", "to", "15", "0"] in rows
    assert ["1,024", "33.33%", "70.91%"] in rows
    assert "ids used         " in out and "characters       0.33 a token (of 3 documents)" in out
    assert "loss_mask        0.99" in out
    found = json.loads(run("stats", home / "shards", "--json"))
    assert found["tokens"] == 3634 and found["quantiles"]["0.5"] == 29


def test_bars_are_in_eighths():
    assert [shards_exchange.bar(share) for share in (0, 1e-9, 1 / 40, 1.5 / 40)] == ["", "▏", "█", "█▌"]
