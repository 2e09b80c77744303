import json
import shutil

import pytest
import typer
from training_data import TOKENIZER, write
from typer.testing import CliRunner

from corpuskit.cli import models
from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.models.loading import load

TINY = [
    f"--set={setting}"
    for setting in ("steps=2", "sequence_length=24", "eval_every=0", "threads=1", "batch_size=2",
                    "model.layers=1", "model.width=16", "model.heads=2")
]  # fmt: skip


def command(function, *arguments):
    app = typer.Typer()
    app.command()(function)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = write(tmp_path_factory.mktemp("shards") / "data")
    TOKENIZER.save(directory / "tokenizer")
    return directory


def test_train_goes_on_from_a_model_with_an_objective(data, tmp_path):
    out = command(models.train, data, "-o", tmp_path / "a", *TINY)
    assert "2 steps, 96 tokens seen" in out
    short = ["--set=steps=1", "--set=sequence_length=48", "--set=eval_every=0", "--set=threads=1"]
    further = ["--model", tmp_path / "a", "--objective", "sft", *short]
    out = command(models.train, data, "-o", tmp_path / "b", *further)
    assert "1 steps" in out and load(tmp_path / "b").config.n_layer == 1


def test_train_on_a_mixture_of_named_datasets(data, tmp_path):
    other = write(tmp_path / "tasks", "问？答。")
    mixed = ["--objective", "span_corruption", "--set=objectives.tasks=pairs",
             "--set=model.architecture=t5", *TINY]  # fmt: skip
    out = command(models.train, f"corpus={data}", f"tasks={other}", "-o", tmp_path / "out", *mixed)
    assert "2 steps" in out
    with pytest.raises(ConfigError, match="NAME=DATASET"):
        command(models.train, data, other, "-o", tmp_path / "other", *mixed)


def test_train_says_where_a_tokenizer_is_missing(data, tmp_path):
    bare = shutil.copytree(data, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer"))
    with pytest.raises(ArtifactError, match="--tokenizer"):
        command(models.train, bare, "-o", tmp_path / "out", *TINY)
    command(models.train, bare, "-o", tmp_path / "out", "--tokenizer", data / "tokenizer", *TINY)


def test_prepare_writes_a_dataset_that_train_takes(data, tmp_path):
    rows = [{"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]}] * 9
    rows.append({"conversations": []})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "chat.jsonl").write_text(text)
    out = command(models.prepare, tmp_path / "chat.jsonl", "-o", tmp_path / "chat", "--format", "sharegpt",
                  "--tokenizer", data / "tokenizer", "--turns", "each")  # fmt: skip
    assert "9 documents of 10 records" in out and "1 records left out: no answer" in out
    command(models.train, tmp_path / "chat", "-o", tmp_path / "out", "--objective", "sft", *TINY,
            "--set=sequence_length=40")  # fmt: skip


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        (["--objective", "denoise"], "--objective", "span_corruption"),
        (["--objective", "pairs"], "--objective", "pairs trains seq2seq"),
        (["--model", "huge"], "--model", "no model size"),
        (["--embedding-init", "luck"], "--embedding-init", "constituents"),
        (["--set", "steps=0"], "--set steps", "at least 1"),
        (["--set", "learning_rat=1"], "--set learning_rat", "did you mean 'learning_rate'"),
        (
            ["--set", "objective.name=masked", "--set", "objective.rate=2"],
            "--set objective",
            "between 0 and 1",
        ),
        (["--set", "steps"], "--set", "not of the form"),
    ],
)
def test_errors_name_the_option_that_was_typed(data, tmp_path, options, where, message):
    with pytest.raises(ConfigError, match=message) as caught:
        command(models.train, data, "-o", tmp_path / "out", *options)
    assert caught.value.where.startswith(where) and not (tmp_path / "out").exists()


def test_an_objective_may_be_named_beside_its_settings(data, tmp_path):
    settings = ["--objective", "masked", "--set=objective.whole_words=false", "--set=model.architecture=bert"]
    command(models.train, data, "-o", tmp_path / "out", *settings, *TINY)


def test_what_is_missing_is_named(data, tmp_path):
    with pytest.raises(ArtifactError, match="not a token dataset") as caught:
        command(models.train, tmp_path / "none", "-o", tmp_path / "out", *TINY)
    assert caught.value.where == str(tmp_path / "none")
    with pytest.raises(ArtifactError, match="no tokenizer here"):
        command(models.train, data, "-o", tmp_path / "out", "--tokenizer", tmp_path / "none", *TINY)


def test_prepare_does_not_write_into_what_it_reads(data, tmp_path):
    (tmp_path / "chat.jsonl").write_text("{}\n")
    options = [tmp_path / "chat.jsonl", "--tokenizer", data / "tokenizer", "--format"]
    for output in (data / "tokenizer", tmp_path / "chat.jsonl"):
        with pytest.raises(ConfigError, match="also an input"):
            command(models.prepare, *options, "sharegpt", "-o", output)
    with pytest.raises(ConfigError) as caught:
        command(models.prepare, *options, "alpaca", "-o", tmp_path / "out")
    assert caught.value.where == "--format"
    with pytest.raises(ConfigError) as caught:
        command(models.prepare, *options, "sharegpt", "--turns", "some", "-o", tmp_path / "out")
    assert caught.value.where == "--turns" and caught.value.hint
