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


def test_answers_as_generate_writes_them(tasks, tmp_path):
    pytest.importorskip("rouge_score")
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"prompt": "是吗？", "text": "是的"}\n{"prompt": "", "text": "红，\\n绿"}\n', "utf-8")
    found = json.loads(run("pclue", answers, tasks, "--json").stdout)
    assert (found["score"], found["classify_tasks"], found["mrc_tasks"]) == (1.0, 1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[1]", "not a JSON object"), ('{"answer": "是"}', "no text under target")],
)
def test_records_that_are_none_are_named_by_line(tasks, tmp_path, content, message):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"target": "是"}\n' + content + "\n", "utf-8")
    result = run("pclue", bad, tasks)
    assert isinstance(result.exception, InputError)
    assert message in result.exception.what
    assert result.exception.where == f"{bad}:2"
    assert result.exception.hint


def test_a_corpus_without_a_document_is_an_error(tmp_path):
    from corpuskit.models import ModelConfig, create, save
    from corpuskit.vocab.bytelevel import ByteLevelBPE
    from corpuskit.vocab.tokenizer import Tokenizer

    letters = (*(bytes([i]) for i in range(256)), b"ab", None)
    tokenizer = Tokenizer(ByteLevelBPE(letters, ((97, 98),), {"<|endoftext|>": 257}))
    model = create(ModelConfig(layers=1, width=16, heads=2, context_length=16), 258, 0, 257)
    save(model, tmp_path / "model", tokenizer)
    (tmp_path / "none.jsonl").write_text('{"other": "key"}\n')
    (tmp_path / "some.txt").write_text("春天", encoding="utf-8")
    result = run("perplexity", tmp_path / "model", tmp_path / "none.jsonl")
    assert isinstance(result.exception, InputError) and "no document" in result.exception.what
    assert result.exception.where == str(tmp_path / "none.jsonl") and result.exception.hint
    found = json.loads(run("perplexity", tmp_path / "model", tmp_path / "some.txt", "--json").stdout)
    assert found["bytes"] == 6
