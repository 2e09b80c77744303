"""Bad input through the whole road: a quarantined item while the run goes on, or one clear error."""

import errno
import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import road

from corpuskit import files, shards
from corpuskit.errors import ConfigError, InputError, MismatchError, ResourceError
from corpuskit.pipeline.demo import CRAWL
from corpuskit.pipeline.demo.build import articles
from corpuskit.pipeline.recipe import parse_recipe
from corpuskit.pipeline.run import run_recipe
from corpuskit.vocab import Tokenizer

PAGE = "".join(f"<p>{p}</p>" for p in articles()[0].paragraphs)


def clean(path, output, **options):
    """Ingest, clean and deduplicate `path`; the run's accounts and quarantine lines."""
    data = {"output": str(output), "input": {"paths": [str(path)], "options": options}}
    report = run_recipe(parse_recipe(data))
    lines = [
        json.loads(line)
        for name in sorted(output.rglob("quarantine/*.jsonl"))
        for line in name.read_text(encoding="utf-8").splitlines()
    ]
    tally = report.tally
    assert tally.documents_in == tally.kept + tally.num_dropped + tally.num_quarantined
    assert len(lines) == tally.num_quarantined
    assert all(line["path"] and line["offset"] >= 0 and line["detail"] for line in lines)
    return tally, lines


@pytest.fixture
def jsonl(tmp_path):
    road.write_inputs(tmp_path / "in")
    return tmp_path / "in" / "00.jsonl"


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere"):
        clean(tmp_path / "nowhere.jsonl", tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_path_is_named(jsonl, tmp_path):
    jsonl.chmod(0)
    with pytest.raises(InputError, match="permission"):
        clean(jsonl, tmp_path / "out")


def test_an_empty_directory_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty"):
        clean(tmp_path / "empty", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.jsonl", "a.warc", "a.warc.gz", "a.csv", "a.txt", "a.html", "a.parquet"])
def test_an_empty_file_ends_in_one_message_and_no_shards(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        clean(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out" / "shards").exists()


@pytest.mark.parametrize("seed", range(4))
def test_a_warc_cut_anywhere_keeps_what_came_before(tmp_path, seed):
    data = CRAWL.read_bytes()
    cut = tmp_path / "cut.warc.gz"
    cut.write_bytes(data[: random.Random(seed).randrange(len(data) // 4, len(data) - 1000)])
    tally, lines = clean(cut, tmp_path / "out")
    assert tally.kept > 5
    assert len([line for line in lines if line["reason"] == "ingest/truncated-record"]) <= 1


def test_reading_goes_on_behind_a_damaged_gzip_member(tmp_path):
    data = bytearray(CRAWL.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    (tmp_path / "bad.warc.gz").write_bytes(bytes(data))
    whole, _ = clean(CRAWL, tmp_path / "whole")
    tally, lines = clean(tmp_path / "bad.warc.gz", tmp_path / "out")
    assert "ingest/damaged-gzip" in {line["reason"] for line in lines}
    assert tally.kept >= whole.kept - 2


def test_a_page_in_no_known_charset_goes_to_quarantine(tmp_path):
    noise = random.Random(0).randbytes(4000).replace(b"<", b"")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "bad.html").write_bytes(b"<html><body><p>" + noise + b"</p></body></html>")
    (tmp_path / "pages" / "good.html").write_bytes(f"<html><body>{PAGE}</body></html>".encode())
    tally, lines = clean(tmp_path / "pages", tmp_path / "out")
    assert [(line["reason"], Path(line["path"]).name) for line in lines] == [
        ("ingest/unknown-charset", "bad.html")
    ]
    assert tally.kept == 1


def test_broken_lines_are_quarantined_with_their_offsets(jsonl, tmp_path):
    good = jsonl.read_bytes()
    bad = [b'{"text": "cut off\n', b'{"title": "no text"}\n', b'{"text": 7}\n', b'{"text": "\xff\xfe"}\n']
    jsonl.write_bytes(b"".join(bad) + good)
    tally, lines = clean(jsonl, tmp_path / "out")
    assert [line["offset"] for line in lines] == [sum(map(len, bad[:i])) for i in range(4)]
    assert [line["reason"] for line in lines] == [
        "ingest/bad-json", "ingest/missing-text", "ingest/missing-text", "ingest/bad-utf8",
    ]  # fmt: skip
    assert tally.documents_in == 4 + 10


def test_an_absurdly_large_document_is_quarantined(jsonl, tmp_path):
    huge = json.dumps({"text": "字" * 2_000_000}, ensure_ascii=False)
    jsonl.write_text(huge + "\n" + jsonl.read_text(encoding="utf-8"), encoding="utf-8")
    tally, lines = clean(jsonl, tmp_path / "out", max_document_bytes=1_000_000)
    assert [line["reason"] for line in lines] == ["ingest/too-large"]
    assert tally.documents_in == 11


def make_shards(inputs, output):
    run_recipe(parse_recipe(road.recipe(inputs, output)))
    return {path.name: path.read_bytes() for path in (output / "shards").glob("*.arrow")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Inputs, and the shards that they become when nothing goes wrong."""
    root = tmp_path_factory.mktemp("whole")
    road.write_inputs(root / "in")
    return root / "in", make_shards(root / "in", root / "out")


@pytest.mark.parametrize("writes", [1, 4, 9, 16])
def test_a_full_disk_is_one_clear_error_and_resumes_to_the_same_shards(whole, tmp_path, monkeypatch, writes):
    inputs, expected = whole
    left = [writes]

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(ResourceError, match="no space left"):
            make_shards(inputs, tmp_path / "full")
    assert not (tmp_path / "full" / "shards").exists()
    assert not [p for p in (tmp_path / "full").rglob("*") if files.is_temporary(p)]
    assert expected and make_shards(inputs, tmp_path / "full") == expected


def test_a_vocabulary_the_corpus_cannot_reach_publishes_nothing(jsonl, tmp_path):
    data = road.recipe(jsonl, tmp_path / "out")
    for algorithm in ("bpe", "sentencepiece-unigram", "sentencepiece-bpe"):
        data["vocabularies"] = [{"name": "zh", "algorithm": algorithm, "vocab_size": 60_000}]
        with pytest.raises((ConfigError, InputError), match=r"[0-9]{3}"):
            run_recipe(parse_recipe(data))
    assert not (tmp_path / "out" / "vocabularies").exists()
    assert not (tmp_path / "out" / "shards").exists()


def test_shards_of_another_tokenizer_are_refused(jsonl, tmp_path):
    data = road.recipe(jsonl, tmp_path / "out")
    data["vocabularies"] = [
        {"name": "zh", "vocab_size": 500},
        {"name": "other", "vocab_size": 600},
    ]
    run_recipe(parse_recipe(data))
    other = Tokenizer.load(tmp_path / "out" / "vocabularies" / "other")
    with pytest.raises(MismatchError, match="tokenizer"):
        shards.open(tmp_path / "out" / "shards", tokenizer=other)


def test_the_command_line_prints_what_where_and_what_to_do(command, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("inptu: {paths: [x]}\n", encoding="utf-8")
    done = command("run", recipe)
    assert done.returncode == 2
    assert "did you mean 'input'" in done.stderr and "to do:" in done.stderr
    recipe.write_text(f"input: {{paths: [{tmp_path / 'gone.jsonl'}]}}\n", encoding="utf-8")
    done = command("run", recipe, "-o", tmp_path / "out")
    assert done.returncode == 2 and "gone.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_is_a_file_is_refused(command, jsonl):
    done = command("clean", jsonl, "-o", jsonl)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and str(jsonl) in done.stderr


def test_it_runs_on_any_locale(jsonl, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "corpuskit.cli", "clean", jsonl, "-o", tmp_path / "出", "-w", "1"],
        capture_output=True, text=True, env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_gzip_that_is_none_is_quarantined(jsonl, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "bad.jsonl.gz").write_bytes(gzip.compress(jsonl.read_bytes())[:-300])
    (folder / "good.jsonl").write_bytes(jsonl.read_bytes())
    tally, lines = clean(folder, tmp_path / "out")
    assert [line["reason"] for line in lines] == ["ingest/damaged-gzip"]
    assert tally.kept > 3
