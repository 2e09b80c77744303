"""The recipes of docs/recipes for T5 and chat run: their own commands, on made-up data of the same formats.

The pages were made from corpora that are not part of the project and take many minutes, so their blocks
are marked as not run. Here every one of them runs all the same, in order and in one process, with the
numbers that make it long (updates, sizes, lengths) replaced by small ones.
"""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpuskit.cli.app import app

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALLER = {
    r"\bsteps=\d+": "steps=2",
    r"\bwarmup_steps=\d+": "warmup_steps=1",
    r"\b(eval|checkpoint)_every=\d+": r"\1_every=1",
    r"\bbatch_size=\d+": "batch_size=2",
    r"\bsequence_length=\d+": "sequence_length=64",
    r"\bmodel\.layers=\d+": "model.layers=1",
    r"\bmodel\.width=\d+": "model.width=16",
    r"\bmodel\.heads=\d+": "model.heads=2",
    r"\bthreads=\d+": "threads=1",
    r"--model nano": "--set model.layers=1 --set model.width=16 --set model.heads=2",
    r"-100\b": "-8",  # conversations that are held out
    r"--size \d+": "--size 350",
    r"--max-new-tokens \d+": "--max-new-tokens 3",
    r"max_new_tokens=\d+": "max_new_tokens=3",
    r"^corpuskit shards write": "corpuskit shards write --workers 1",
}

SUBJECTS = ["老师", "学生", "医生", "邻居", "朋友", "司机", "记者", "农民", "工人", "店主"]
PLACES = ["北京", "上海", "车站", "学校", "医院", "公园", "市场", "河边", "山上", "城里"]
DEEDS = [
    "买了一本书",
    "看见一只鸟",
    "等一位客人",
    "讲一个故事",
    "修一辆车",
    "写一封信",
    "种一棵树",
    "喝一杯茶",
]


def sentence(draw: random.Random) -> str:
    return f"{draw.choice(SUBJECTS)}在{draw.choice(PLACES)}{draw.choice(DEEDS)}。"


def paragraph(draw: random.Random, sentences: int) -> str:
    return "".join(sentence(draw) for _ in range(sentences))


def write(path: Path, records: list[dict]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")


def news(path: Path) -> None:
    draw = random.Random(1)
    write(path, [{"id": f"{n}", "title": sentence(draw), "text": paragraph(draw, 8)} for n in range(60)])


def pclue(path: Path, count: int, seed: int) -> None:
    """Tasks of the five types; those that ask for text have no options."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        kind = ("classify", "nli", "mrc", "generate", "anaphora_resolution")[number % 5]
        text = sentence(draw)
        if kind in ("mrc", "generate"):
            asked, target, options = f"{text}\n问题：是谁？\n答案：", text[:2], None
        else:
            options = ["是的", "不是"] if kind != "classify" else ["体育", "财经", "科技"]
            asked, target = f"{text}选项：{'，'.join(options)}\n答案：", draw.choice(options)
        record = {"input": asked, "target": target, "type": kind}
        made.append(record if options is None else {**record, "answer_choices": options})
    write(path, made)


def conversations(path: Path, count: int) -> None:
    draw = random.Random(3)
    made: list[dict] = [{"conversations": [{"from": "human", "value": "在吗"}]}]
    for number in range(1, count):
        turns = []
        for _ in range(1 + number % 3):
            turns.append({"from": "human", "value": f"{draw.choice(SUBJECTS)}做什么了？"})
            turns.append({"from": "gpt", "value": f"{sentence(draw)}\n{sentence(draw)}"})
        made.append({"conversations": turns})
    write(path, made)


def smaller(code: str) -> str:
    for pattern, replacement in SMALLER.items():
        code = re.sub(pattern, replacement, code, flags=re.MULTILINE)
    return code


def run_bash(code: str) -> None:
    """Lines of a block: ``corpuskit`` in this process, with what stands before a pipe as its input."""
    for line in code.replace("\\\n", " ").splitlines():
        before, pipe, after = line.rpartition(" | ")
        if not after.startswith("corpuskit "):
            subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True)
            continue
        given = subprocess.run(["bash", "-c", before], check=True, capture_output=True) if pipe else None
        words = shlex.split(after)[1:]
        result = CliRunner().invoke(app, words, input=None if given is None else given.stdout)
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


def run_page(name: str) -> None:
    text = (ROOT / "docs" / "recipes" / name).read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for language, code in _FENCE.findall(text):
        if language == "python":
            exec(compile(smaller(code), name, "exec"), namespace)
        else:
            run_bash(smaller(code))


@pytest.fixture
def judged():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for package in ("sacrebleu", "rouge_score", "rouge"):
        pytest.importorskip(package)
    yield
    torch.set_num_threads(threads)


def test_the_recipe_for_t5_runs(judged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    news(tmp_path / "news.jsonl")
    pclue(tmp_path / "pclue_train.jsonl", 60, seed=1)
    pclue(tmp_path / "pclue_test.jsonl", 20, seed=2)
    run_page("t5-pclue.md")
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text(encoding="utf-8").splitlines()]
    tasks = [json.loads(line) for line in Path("pclue_test.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer["prompt"] for answer in answers] == [task["input"] for task in tasks]


def test_the_recipe_for_chat_runs(judged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    news(tmp_path / "news.jsonl")
    conversations(tmp_path / "sharegpt.jsonl", 40)
    run_page("chat.md")
    assert json.loads(Path("chat/config.json").read_text(encoding="utf-8"))["model_type"] == "gpt2"
