"""`corpuskit vocab compare` as a user types it: table, JSON, page, and errors in three lines."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from corpuskit import vocab
from corpuskit.cli.app import app
from corpuskit.cli.compare import print_comparison
from corpuskit.errors import CorpuskitError
from corpuskit.vocab.comparison_run import Options, compare, open_all, sample_batches

TEXTS = ["我们在图书馆看书，后来又去了书店。", "他说这本书很好看，值得再读一遍。" * 3, "OpenAI 的模型。"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    vocab.train(TEXTS * 3, vocab_size=280).save(root / "one")
    vocab.train(TEXTS * 3, vocab_size=300).save(root / "two")
    (root / "bert").mkdir()
    (root / "bert" / "vocab.txt").write_text("[UNK]\n我\n们\n书\n，\n", "utf-8")
    rows = [json.dumps({"id": str(i), "text": text}, ensure_ascii=False) for i, text in enumerate(TEXTS)]
    (root / "texts.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    (root / "english.txt").write_text("We read books in the library.\n", "utf-8")
    (root / "empty.jsonl").write_text('{"text": ""}\n', "utf-8")
    (root / "broken").mkdir()
    (root / "broken" / "tokenizer.json").write_text("{", "utf-8")
    return root


def run(*arguments):
    return CliRunner().invoke(app, ["vocab", "compare", *map(str, arguments)], catch_exceptions=False)


def test_table_and_page(place, tmp_path):
    page = tmp_path / "new" / "page.html"
    done = run(place / "one", place / "two", place / "bert", "--on", place / "texts.jsonl", "--html", page)
    assert done.exit_code == 0, done.output
    for shown in (
        "bytes/token",
        "boundary precision",
        "GB 2312 level 1",
        "one",
        "two",
        "spam words",
        f"page: {page}",
    ):
        assert shown in done.stdout
    assert "beware bert loses" in done.stdout
    assert "one (1 of 3)" in done.stderr
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_json_is_what_the_table_shows(place):
    arguments = (place / "one", place / "bert", "--on", place / "texts.jsonl")
    stored = json.loads(run(*arguments, "--json", "--sentence", "我们看书").stdout)
    values = stored["tokenizers"][0]["values"]
    assert stored["sentences"] == ["我们看书"]
    assert f" {values['bytes_per_token']:.2f} " in run(*arguments).stdout


def test_a_translation_gives_parity(place):
    done = run(place / "one", "--on", place / "texts.jsonl", "--translation", place / "english.txt", "--json")
    values = json.loads(done.stdout)["tokenizers"][0]["values"]
    english = len(vocab.load(place / "one").encode("We read books in the library.\n"))
    assert values["parity"] == pytest.approx(values["tokens"] / english, rel=0.05)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(place, width):
    from corpuskit.ingest import read

    sources = [f"a-rather-long-name-{i}={place / 'one'}" for i in range(8)]
    options = Options()
    sample = sample_batches(read([str(place / "texts.jsonl")]), options)
    comparison = compare(open_all(sources), sample, options)
    console = Console(width=width, record=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115
    print_comparison(comparison, console)
    lines = console.export_text().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert sum(
        line.startswith(" bytes/token  ") or line.startswith("bytes/token  ")
        for line in map(str.lstrip, lines)
    ) == (2 if width == 80 else 1)


@pytest.mark.parametrize(
    ("arguments", "what", "where"),
    [
        (["one", "one", "--on", "texts.jsonl"], "two tokenizers are called 'one'", "one"),
        (["nothing", "--on", "texts.jsonl"], "no such file or directory", "nothing"),
        (["broken", "--on", "texts.jsonl"], "unreadable", "tokenizer.json"),
        ([".", "--on", "texts.jsonl"], "no tokenizer in this directory", "."),
        (["one", "--on", "empty.jsonl"], "no text to compare on", "--on"),
        (["one", "--on", "texts.jsonl", "--limit-mb", "0"], "cannot be compared on", "--limit-mb"),
        (["one", "--on", "texts.jsonl", "--html", "one"], "the file cannot be written", "one"),
        (
            ["one", "--on", "texts.jsonl", "--html", "texts.jsonl/x.html"],
            "the file cannot be written",
            "x.html",
        ),
        (
            ["one", "--on", "texts.jsonl", "--translation", "english.txt", "--limit-mb", "0.0001"],
            "a translation can only be compared",
            "--translation",
        ),
    ],
)
def test_wrong_use_is_an_error_that_says_where(place, monkeypatch, arguments, what, where):
    monkeypatch.chdir(place)
    with pytest.raises(CorpuskitError, match=what) as caught:
        run(*arguments)
    assert where in caught.value.where and caught.value.hint


def test_an_error_ends_in_three_lines(place, monkeypatch, command):
    monkeypatch.chdir(place)
    done = command("vocab", "compare", "nothing", "--on", "texts.jsonl")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert [line[:9] for line in lines] == ["error: no", "  where: ", "  to do: "], done.stderr
