"""`corpuskit clean` as a user types it: report, explanation, and errors in three lines."""

import functools
import json
import re

import opencc
import pytest

from corpuskit.pipeline.demo.build import articles


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "in.jsonl"
    first, second = ("\n".join(article.paragraphs) for article in articles()[:2])
    texts = [first, "短。", opencc.OpenCC("s2t").convert(second)]
    path.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts), "utf-8")
    return path


@pytest.fixture
def clean(command):
    return functools.partial(command, "clean")


def test_a_report_is_written_beside_the_documents(clean, documents, tmp_path):
    report = tmp_path / "new" / "report.html"
    done = clean(documents, "-o", tmp_path / "out", "-w", 1, "--report", report)
    assert done.returncode == 0, done.stderr
    assert f"report: {report}" in done.stdout and "kept 2 of 3" in done.stdout
    assert "clean/min_characters" in report.read_text(encoding="utf-8")
    first = report.read_bytes()
    again = clean(documents, "-o", tmp_path / "out", "-w", 1, "--report", report)
    assert "already done" in again.stderr and report.read_bytes() == first


def test_explain_shows_rules_and_changes(clean, documents):
    done = clean("--explain", documents, "--limit", 3, "--set", "quality.min_characters=10")
    assert done.returncode == 0, done.stderr
    assert "≥ 10" in done.stdout
    assert "kept" in done.stdout and "dropped by clean/min_characters" in done.stdout
    assert "{+" in done.stdout and "characters before and" in done.stdout


def test_one_document_is_explained_by_its_id(clean, documents, tmp_path):
    clean(documents, "-o", tmp_path / "out", "-w", 1)
    done = clean("--explain", documents, "--limit", 2)
    identifier = re.findall(r"^id +([0-9a-f]{32})", done.stdout, re.MULTILINE)[1]
    one = clean(documents, "--id", identifier)
    assert identifier in one.stdout and "短。" in one.stdout


@pytest.mark.parametrize(
    ("arguments", "what", "where"),
    [
        ([], "no directory to write to", "--output"),
        (["-o", "OUT", "--preset", "zh"], "unknown preset 'zh'", "--preset"),
        (["-o", "OUT", "--set", "quality.min_han=1"], "unknown option 'min_han'", "quality.min_han"),
        (["-o", "OUT", "--set", "quality.min_characters=many"], "not 'many'", "quality.min_characters"),
        (["-o", "OUT", "--set", "quality.min_han_share=7"], "7 is not a share", "min_han_share"),
        (["-o", "OUT", "--set", "wrong"], "not of the form", "--set"),
        (["-o", "OUT", "--report", "OUT/in.jsonl/report.html"], "file cannot be written", "report.html"),
        (["-o", "OUT", "--report", "OUT"], "file cannot be written", "OUT"),
        (["-o", "OUT", "--dropped-text", "some"], "'some' is not a policy", "dropped_text"),
        (["--explain", "--id", "nothing"], "no document is called nothing", "in.jsonl"),
    ],
)
def test_wrong_use_ends_in_three_lines(clean, documents, arguments, what, where):
    target = str(documents.parent)
    done = clean(documents, *(a.replace("OUT", target) for a in arguments))
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 3, done.stderr
    assert lines[0].startswith("error: ") and what in lines[0]
    assert where.replace("OUT", target) in lines[1]
    assert lines[2].startswith("  to do: ")
