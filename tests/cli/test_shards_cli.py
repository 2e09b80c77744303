"""`corpuskit shards`: what the commands say, and that they go on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from corpuskit import shards, vocab
from corpuskit.cli.app import app
from corpuskit.errors import ArtifactError, ConfigError, CorpuskitError, InputError, MismatchError
from corpuskit.shards.manifest import WORK_NAME

TEXTS = [f"第{i}篇，今天天气很好，我们去公园散步吧！" * (1 + i % 4) for i in range(60)]


def run(*arguments) -> str:
    result = CliRunner().invoke(app, ["shards", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return vocab.train(TEXTS, vocab_size=330).save(tmp_path_factory.mktemp("bpe") / "bpe")


@pytest.fixture
def articles(tmp_path):
    """Three files of twenty documents, and one line that is none."""
    directory = tmp_path / "articles"
    directory.mkdir()
    for part in range(3):
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS[20 * part : 20 * part + 20]]
        (directory / f"{part}.jsonl").write_text("\n".join([*lines, "{"][: 21 if part == 1 else 20]) + "\n")
    return directory


def write(articles, output, tokenizer, *options) -> str:
    return run("write", articles, "--output", output, "--tokenizer", tokenizer, "--workers", 1, *options)


def contents(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_write_says_what_it_made_and_leaves_nothing_behind(articles, tmp_path, tokenizer):
    said = write(articles, tmp_path / "d", tokenizer, "--shard-tokens", 300)
    assert "documents        60" in said and "note: 1 records could not be read" in said
    data = shards.open(
        tmp_path / "d", verify="full", tokenizer=vocab.Tokenizer.load(tmp_path / "d" / "tokenizer")
    )
    texts = [data_tokenizer.decode(d.tokens[:-1]) for data_tokenizer in [vocab.load(tokenizer)] for d in data]
    assert texts == TEXTS and len(data.manifest.shards) > 1
    assert {path.name.split("-")[0] for path in (tmp_path / "d").iterdir()} == {
        "dataset.json", "shard", "tokenizer"
    }  # fmt: skip


def test_the_same_command_again_has_nothing_to_do_and_another_is_told_why_not(articles, tmp_path, tokenizer):
    write(articles, tmp_path / "d", tokenizer)
    before = contents(tmp_path / "d")
    assert "nothing to do" in write(articles, tmp_path / "d", tokenizer)
    with pytest.raises(ArtifactError, match="made otherwise: shard_tokens was 134217728, now it is 300"):
        write(articles, tmp_path / "d", tokenizer, "--shard-tokens", 300)
    with pytest.raises(ArtifactError, match="made otherwise: end_of_document"):
        write(articles, tmp_path / "d", tokenizer, "--end-of-document", "none")
    assert contents(tmp_path / "d") == before


@pytest.mark.parametrize("fatal", ["encode_task", "publish"])
def test_it_goes_on_where_it_was_interrupted_with_any_number_of_workers(
    articles, tmp_path, tokenizer, monkeypatch, fatal
):
    options = ("--shard-tokens", 300)
    write(articles, tmp_path / "whole", tokenizer, *options)
    with monkeypatch.context() as patch:
        stop = CorpuskitError("stop")
        if fatal == "publish":
            patch.setattr(
                "corpuskit.pipeline.dataset_writing.publish", lambda *_, **__: (_ for _ in ()).throw(stop)
            )
        else:
            patch.setattr("corpuskit.shards.job.write_shard", lambda *_: (_ for _ in ()).throw(stop))
        with pytest.raises(CorpuskitError, match="stop"):
            write(articles, tmp_path / "d", tokenizer, *options)
    work = tmp_path / "d" / WORK_NAME
    assert work.is_dir()
    for command in ("info", "verify"):
        with pytest.raises(ArtifactError, match=r"`corpuskit shards write` has begun.*same command goes on"):
            run(command, tmp_path / "d")
    with pytest.raises(MismatchError, match=r"unfinished work of another call.*end_of_document"):
        write(articles, tmp_path / "d", tokenizer, *options, "--end-of-document", "none")
    kept = (articles / "1.jsonl").read_bytes(), (articles / "1.jsonl").stat()
    (articles / "1.jsonl").write_text('{"text": "别的"}\n')
    with pytest.raises(MismatchError, match=r"1 input files are not what they were; 1\.jsonl has changed"):
        write(articles, tmp_path / "d", tokenizer, *options)
    (articles / "1.jsonl").write_bytes(kept[0])
    os.utime(articles / "1.jsonl", ns=(kept[1].st_atime_ns, kept[1].st_mtime_ns))
    write(articles, tmp_path / "d", tokenizer, *options, "--workers", 2)
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")


def test_another_tokenizer_does_not_go_on(articles, tmp_path, tokenizer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "corpuskit.pipeline.dataset_writing.publish",
            lambda *_, **__: (_ for _ in ()).throw(CorpuskitError("stop")),
        )
        with pytest.raises(CorpuskitError, match="stop"):
            write(articles, tmp_path / "d", tokenizer)
    other = vocab.train(TEXTS[::2], vocab_size=300).save(tmp_path / "other")
    with pytest.raises(MismatchError, match=r"another call lies here: tokenizer was"):
        write(articles, tmp_path / "d", other)


def test_documents_that_corpuskit_wrote_keep_their_ids(articles, tmp_path, tokenizer):
    result = CliRunner().invoke(
        app, ["dedup", str(articles), "-o", str(tmp_path / "out"), "--no-near", "--workers", "1"]
    )
    assert result.exit_code == 0, result.output
    write(tmp_path / "out" / "ingest" / "documents" / "kept", tmp_path / "d", tokenizer)
    write(articles, tmp_path / "direct", tokenizer)
    ids = [{document.id for document in shards.open(tmp_path / name)} for name in ("d", "direct")]
    assert ids[0] == ids[1] and len(ids[0]) == 60


def test_append_adds_once_and_refuses_another_tokenizer(articles, tmp_path, tokenizer):
    write(articles / "0.jsonl", tmp_path / "d", tokenizer)
    for _ in range(2):
        said = run("append", tmp_path / "d", articles / "2.jsonl", "--workers", 1)
        assert "documents        40" in said
    assert "nothing to do" in said
    other = vocab.train(TEXTS[::2], vocab_size=300).save(tmp_path / "other")
    with pytest.raises(MismatchError, match="tokenizer"):
        run("append", tmp_path / "d", articles / "1.jsonl", "--tokenizer", other, "--workers", 1)
    with pytest.raises(MismatchError, match="parallel columns"):
        run("append", tmp_path / "d", articles / "1.jsonl", "--word-starts", "jieba", "--workers", 1)
    assert shards.verify(tmp_path / "d").ok and not (tmp_path / "d" / WORK_NAME).exists()


def test_an_append_that_stopped_is_named_and_goes_on(articles, tmp_path, tokenizer, monkeypatch):
    write(articles / "0.jsonl", tmp_path / "d", tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(
            "corpuskit.shards.job.link_or_copy", lambda *_: (_ for _ in ()).throw(CorpuskitError("stop"))
        )
        with pytest.raises(CorpuskitError, match="stop"):
            run("append", tmp_path / "d", articles / "1.jsonl", "--workers", 1)
    assert len(shards.open(tmp_path / "d")) == 20
    assert "unfinished       append" in run("info", tmp_path / "d")
    with pytest.raises(MismatchError, match="another append did not finish: inputs was"):
        run("append", tmp_path / "d", articles / "2.jsonl", "--workers", 1)
    run("append", tmp_path / "d", articles / "1.jsonl", "--workers", 1)
    assert len(shards.open(tmp_path / "d")) == 40


def test_repair_gives_up_an_append_that_stopped_while_it_encoded(articles, tmp_path, tokenizer, monkeypatch):
    write(articles / "0.jsonl", tmp_path / "d", tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr("corpuskit.pipeline.dataset_writing._documents", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run("append", tmp_path / "d", articles / "1.jsonl", "--workers", 1)
    with pytest.raises(MismatchError, match="unfinished work of another call"):
        run("append", tmp_path / "d", articles / "2.jsonl", "--workers", 1)
    assert "gave up" in run("repair", tmp_path / "d", "--drop")
    assert "gave up" not in run("repair", tmp_path / "d", "--drop")
    run("append", tmp_path / "d", articles / "2.jsonl", "--workers", 1)
    assert len(shards.open(tmp_path / "d")) == 40 and not (tmp_path / "d" / ".work").exists()


def test_merge_split_reshard_verify_and_repair(articles, tmp_path, tokenizer):
    write(articles, tmp_path / "d", tokenizer)
    assert "train: " in run("split", tmp_path / "d", "-o", tmp_path / "s", "--validation", 0.2)
    assert "documents        60" in run(
        "merge", tmp_path / "s" / "train", tmp_path / "s" / "validation", "-o", tmp_path / "m"
    )
    assert "note: 60 documents have the id of an earlier one" in run(
        "merge", tmp_path / "d", tmp_path / "m", "-o", tmp_path / "twice"
    )
    run("reshard", tmp_path / "m", "-o", tmp_path / "r", "--shard-tokens", 300)
    for name in ("m", "r"):
        vocab.Tokenizer.load(tmp_path / name / "tokenizer")
        assert "every shard is whole: 60 documents" in run("verify", tmp_path / name)
    shutil.copytree(tmp_path / "r", tmp_path / "copy")
    (tmp_path / "r" / "shard-00001.arrow").unlink()
    with pytest.raises(ArtifactError, match="1 problem"):
        run("verify", tmp_path / "r")
    with pytest.raises(ArtifactError, match="1 shards stay damaged"):
        run("repair", tmp_path / "r")
    assert "restored shard-00001.arrow" in run("repair", tmp_path / "r", "--source", tmp_path / "copy")
    path = tmp_path / "r" / "shard-00001.arrow"
    path.write_bytes(path.read_bytes().replace("天".encode(), "地".encode(), 1))
    flipped = bytearray(path.read_bytes())
    flipped[-10] ^= 1
    path.write_bytes(flipped)
    said = run("repair", tmp_path / "r", "--drop", "--lost-ids", tmp_path / "ids.txt")
    assert "lost shard-00001.arrow" in said and "the dataset is whole" in said


def test_a_directory_without_documents_is_refused(tmp_path, tokenizer):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no input files"):
        write(tmp_path / "empty", tmp_path / "d", tokenizer)
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
def test_killed_again_and_again_it_comes_to_the_same_bytes(tmp_path, tokenizer):
    """The whole command with worker processes, killed 0.8 s later each time."""
    directory = tmp_path / "articles"
    directory.mkdir()
    for part in range(4):
        lines = [json.dumps({"text": f"{part}-{i}：" + "".join(TEXTS[i % 60 :])}) for i in range(1500)]
        (directory / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "corpuskit.cli", "shards", "write", str(directory)]
    command += ["--tokenizer", str(tokenizer), "--workers", "2", "--shard-tokens", "200000", "--output"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    killed = 0
    for attempt in range(1, 40):
        process = subprocess.Popen([*command, str(tmp_path / "d")], start_new_session=True)
        try:
            process.wait(timeout=0.8 * attempt)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            if (tmp_path / "d" / "dataset.json").exists():
                with contextlib.suppress(ArtifactError):
                    assert len(shards.open(tmp_path / "d")) == 6000
            continue
        assert process.returncode == 0
        break
    assert killed and contents(tmp_path / "d") == contents(tmp_path / "whole")


def test_a_file_where_a_dataset_should_be_is_said_to_be_none(articles, tmp_path, tokenizer):
    file = tmp_path / "notes.txt"
    file.write_text("x")
    with pytest.raises(InputError, match="cannot be used as output directory"):
        write(articles, file, tokenizer)
    for command in ("info", "verify", "repair"):
        with pytest.raises(ArtifactError, match="not a token dataset"):
            run(command, file)
    assert file.read_text() == "x"


def test_errors_name_the_option_that_was_typed(articles, tmp_path, tokenizer):
    write(articles, tmp_path / "d", tokenizer)
    for command in (
        ("split", tmp_path / "d", "--output", tmp_path / "p", "--validation", 2),
        ("reshard", tmp_path / "d", "--output", tmp_path / "d"),
        ("merge", tmp_path / "d", "--output", tmp_path / "d"),
        ("repair", tmp_path / "d", "--source", tmp_path / "d"),
        ("export", tmp_path / "d", "--output", tmp_path / "e", "--to", "zip"),
        ("export", tmp_path / "d", "--output", tmp_path / "e", "--to", "mds", "--hash", "crc"),
        ("import", tmp_path / "d", "--output", tmp_path / "i", "--tokenizer", tokenizer, "--from", "zip"),
    ):
        with pytest.raises(CorpuskitError) as caught:
            run(*command)
        assert caught.value.where == command[-2]


def test_info_names_an_append_that_has_published_nothing_yet(articles, tmp_path, tokenizer, monkeypatch):
    write(articles / "0.jsonl", tmp_path / "d", tokenizer)
    assert "unfinished" not in run("info", tmp_path / "d")
    with monkeypatch.context() as patch:
        patch.setattr("corpuskit.pipeline.dataset_writing._documents", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run("append", tmp_path / "d", articles / "1.jsonl", "--workers", 1)
    assert "unfinished       append; if it does not run, the same command goes on" in run(
        "info", tmp_path / "d"
    )
    run("append", tmp_path / "d", articles / "1.jsonl", "--workers", 1)
    assert "unfinished" not in run("info", tmp_path / "d")


def test_info_and_verify_take_urls_and_what_changes_a_dataset_does_not(articles, tmp_path, tokenizer):
    import fsspec

    write(articles / "0.jsonl", tmp_path / "d", tokenizer)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "d"), "/cli/d", recursive=True)
    try:
        here, there = run("info", tmp_path / "d"), run("info", "memory://cli/d")
        assert there.replace("memory://cli/d", str(tmp_path / "d")) == here
        assert run("verify", "memory://cli/d/") == run("verify", tmp_path / "d")
        assert run("info", f"file://{tmp_path}/d") == here
        for command in ("info", "verify"):
            with pytest.raises(ArtifactError, match="memory://cli/none: not a token dataset"):
                run(command, "memory://cli/none")
        for arguments in (
            ("split", "memory://cli/d", "-o", tmp_path / "x"),
            ("reshard", tmp_path / "d", "-o", "memory://cli/x"),
            ("merge", tmp_path / "d", "memory://cli/d", "-o", tmp_path / "x"),
            ("append", "memory://cli/d", articles / "1.jsonl"),
            ("write", articles / "1.jsonl", "-o", "memory://cli/x", "--tokenizer", tokenizer),
            ("repair", "memory://cli/d", "--drop"),
        ):
            with pytest.raises(ConfigError, match=r"memory://cli/.*only datasets on this machine.*copy"):
                run(*arguments)
    finally:
        memory.rm("/cli", recursive=True)
