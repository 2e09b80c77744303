"""`corpuskit judge` at the command line."""

import json

import pytest
from typer.testing import CliRunner

from corpuskit.cli.app import app
from corpuskit.errors import InputError

RECORDS = [{"target": "是的", "type": "classify"}, {"target": ["红", "绿"], "type": "mrc"}]


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in RECORDS), "utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["judge", *map(str, arguments)])


def test_perfect_answers(tasks):
    pytest.importorskip("rouge_score")
    found = json.loads(run("pclue", tasks, tasks, "--json").stdout)
    assert (found["score"], found["classify_tasks"], found["mrc_tasks"]) == (1.0, 1, 1)


def test_answers_a_line_each(tasks, tmp_path):
    pytest.importorskip("rouge_score")
    pytest.importorskip("sacrebleu")
    lines = tmp_path / "answers.txt"
    lines.write_text("是的\n红，蓝\n", "utf-8")
    found = json.loads(run("answers", lines, tasks, "--json").stdout)
    assert (found["exact_match"], found["pairs"]) == (0.5, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[1]", "not a JSON object"), ('{"text": "是"}', "no text under target")],
)
def test_records_that_are_none_are_named_by_line(tasks, tmp_path, content, message):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"target": "是"}\n' + content + "\n", "utf-8")
    result = run("pclue", bad, tasks)
    assert isinstance(result.exception, InputError)
    assert message in result.exception.what
    assert result.exception.where == f"{bad}:2"
    assert result.exception.hint
