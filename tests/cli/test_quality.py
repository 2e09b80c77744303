"""`corpuskit quality`: each kind of model from files to a file, and its scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpuskit.cli.quality import quality
from corpuskit.errors import InputError

STORY = "清晨的时候，老人在第{}座桥头望着远处的云，{}只白鸽落在他的肩上，河边的柳树轻轻摇着。"
ADVERT = "特价包邮第{}款面膜限时抢购仅需{}元加微信咨询立即下单关注店铺领取优惠券正品保证假一赔十"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two files of different documents of two kinds; numbers are spelled, since digits are folded."""
    root = tmp_path_factory.mktemp("corpus")
    for name, form in (("good", STORY), ("raw", ADVERT)):
        rows = [
            {"id": f"{name}{i}", "text": form.format(chr(0x4E00 + i), chr(0x5E00 + i)) * 4}
            for i in range(120)
        ]
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (root / f"{name}.jsonl").write_text(content, encoding="utf-8")
    return root


def run(*arguments: object) -> str:
    result = CliRunner().invoke(quality, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_score_is_trained_drawn_and_applied(corpus, tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    model = tmp_path / "质量.ckq"
    good, raw = corpus / "good.jsonl", corpus / "raw.jsonl"
    printed = run("train", "--good", good, "--raw", raw, "--output", model, "--bits", 12)
    assert "AUC 1.0000" in printed and "min_score" in printed
    assert model.exists() and "<svg" in model.with_suffix(".svg").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in run("score", model, good, raw).splitlines()]
    assert lines[0] == ["score", "id", "opening"]
    assert min(float(s) for s, name, _ in lines[1:] if name.startswith("good")) > 0.5
    assert max(float(s) for s, name, _ in lines[1:] if name.startswith("raw")) < 0.5


def test_a_language_model_is_trained_and_applied(corpus, tmp_path):
    model, scores = tmp_path / "lm.ckq", tmp_path / "scores.tsv"
    good, raw = corpus / "good.jsonl", corpus / "raw.jsonl"
    printed = run("train-lm", good, "--raw", raw, "--output", model, "--order", 4)
    assert "percentiles of 120 documents (text to be ranked)" in printed
    run("score", model, good, "--output", scores)
    header, *lines = scores.read_text(encoding="utf-8").splitlines()
    assert header == "perplexity\tbucket\tid\topening"
    assert len(lines) == 120 and all(line.split("\t")[1] == "head" for line in lines)


def test_the_same_file_twice_is_an_error_and_leaves_nothing(corpus, tmp_path):
    pytest.importorskip("sklearn")
    good = corpus / "good.jsonl"
    with pytest.raises(InputError, match="in both"):
        run("train", "--good", good, "--raw", good, "--output", tmp_path / "m.ckq")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "train-lm"])
@pytest.mark.parametrize("place", ["/proc/m.ckq", "{}", "{}/file/m.ckq"])
def test_an_output_that_cannot_be_written_is_refused_before_training(
    corpus, tmp_path, command, place, monkeypatch
):
    def train(*arguments, **more):
        pytest.fail("it was trained first")

    monkeypatch.setattr("corpuskit.clean.classifier_training.train_quality_model", train)
    monkeypatch.setattr("corpuskit.clean.perplexity_training.train_perplexity_model", train)
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc on this system")
    (tmp_path / "file").write_text("x")
    good, raw = corpus / "good.jsonl", corpus / "raw.jsonl"
    inputs = ["--good", good, "--raw", raw] if command == "train" else [good]
    with pytest.raises(InputError, match="cannot be written") as caught:
        run(command, *inputs, "--output", place.format(tmp_path))
    assert caught.value.where == place.format(tmp_path) and "--output" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
