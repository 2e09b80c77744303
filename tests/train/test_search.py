"""Searches: reproducible, resumable, pruned; every trial an ordinary run."""

import dataclasses
import json

import pyarrow as pa
import pytest

from corpuskit import shards
from corpuskit.errors import ConfigError, MismatchError, TaskError
from corpuskit.models import ModelConfig
from corpuskit.train import TrainConfig
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

pytest.importorskip("optuna")

from corpuskit.train import search as module
from corpuskit.train.search import Choice, Range, parse_space, plot_importance, search

TOKENIZER = Tokenizer(ByteLevelBPE((*(bytes([i]) for i in range(256)), None), (), {"<|endoftext|>": 256}))
CONFIG = TrainConfig(
    model=ModelConfig(layers=1, width=8, heads=1, context_length=16),
    steps=4, batch_size=2, sequence_length=8, warmup_steps=0, held_out=0.2, eval_every=2, eval_sequences=4,
    checkpoint_every=2, threads=1, device="cpu",
)  # fmt: skip
SPACE = {"learning_rate": Range(1e-4, 1e-1, log=True), "warmup_steps": Range(0, 3)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shards") / "data"
    texts = ["我想去北京。天气很好。" * (i % 3 + 1) for i in range(12)]
    batch = pa.record_batch(
        {"id": [f"{i:032x}" for i in range(12)], "text": pa.array(texts, pa.large_string())}
    )
    with shards.Writer(directory, tokenizer=TOKENIZER) as writer:
        writer.write(batch)
    return directory


def table(result):
    return [(trial.parameters, trial.loss, trial.state) for trial in result.trials]


class Killed(BaseException):
    pass


def test_an_interrupted_search_comes_to_the_same_trials(data, tmp_path, monkeypatch):
    whole = search(data, CONFIG, tmp_path / "whole", SPACE, trials=4)
    assert [trial.state for trial in whole.trials] == ["complete"] * 4
    assert whole.best.loss == min(trial.loss for trial in whole.trials)
    assert json.loads((tmp_path / "whole" / "search.json").read_text())["best"] == whole.best.number

    calls = []

    def killed_in_the_middle(*arguments, on_step, **named):
        def watch(step):
            on_step(step)
            if len(calls) == 2 and step.step == 3:
                raise Killed

        calls.append(1)
        return original(*arguments, on_step=watch, **named)

    original = module.fit
    monkeypatch.setattr(module, "fit", killed_in_the_middle)
    with pytest.raises(Killed):
        search(data, CONFIG, tmp_path / "cut", SPACE, trials=4)
    monkeypatch.setattr(module, "fit", original)
    resumed = search(data, CONFIG, tmp_path / "cut", SPACE, trials=4)
    assert table(resumed) == table(whole)
    again = search(data, CONFIG, tmp_path / "cut", SPACE, trials=4)
    assert table(again) == table(whole)


def test_a_grid_tries_every_combination(data, tmp_path):
    space = {"learning_rate": Choice((1e-3, 1e-2)), "schedule": Choice(("cosine", "constant"))}
    result = search(data, dataclasses.replace(CONFIG, steps=2), tmp_path, space, sampler="grid")
    tried = {(trial.parameters["learning_rate"], trial.parameters["schedule"]) for trial in result.trials}
    assert len(result.trials) == len(tried) == 4


def test_a_hopeless_trial_is_pruned_and_a_diverging_one_is_said_to_be(data, tmp_path, monkeypatch):
    rates = Choice((1e-2, 1.1e-2, 1.2e-2, 1.3e-2, 1.4e-2, 1e-9, 2.0))

    def diverging(data, config, *arguments, **named):
        if config.learning_rate == 2.0:
            raise TaskError("the loss is no longer a number")
        return original(data, config, *arguments, **named)

    original = module.fit
    monkeypatch.setattr(module, "fit", diverging)
    seen = []
    result = search(data, CONFIG, tmp_path, {"learning_rate": rates}, sampler="grid", on_trial=seen.append)
    assert [trial.state for trial in result.trials] == ["complete"] * 5 + ["pruned", "diverged"]
    assert result.trials[5].loss > result.best.loss
    assert result.trials[6].loss is None
    assert seen == list(result.trials)
    with pytest.raises(ConfigError, match="two parameters"):
        plot_importance(result, tmp_path / "importance.png")


def test_importance_is_drawn(data, tmp_path):
    pytest.importorskip("matplotlib")
    result = search(data, dataclasses.replace(CONFIG, steps=2), tmp_path, SPACE, sampler="random", trials=5)
    assert set(result.importance) == {"learning_rate", "warmup_steps"}
    plot_importance(result, tmp_path / "importance.png")
    assert (tmp_path / "importance.png").read_bytes().startswith(b"\x89PNG")


def test_spaces_on_the_command_line():
    assert parse_space(["learning_rate=1e-4:1e-2:log", "warmup_steps=0:10", "schedule=cosine,constant",
                        "batch_size=8,16"]) == {
        "learning_rate": Range(1e-4, 1e-2, log=True), "warmup_steps": Range(0, 10),
        "schedule": Choice(("cosine", "constant")), "batch_size": Choice((8, 16)),
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["learning_rate", "learning_rate=", "learning_rate=1:2:3", "a=x:y", "a=2:1", "a=0:1:log"]
)
def test_bad_spaces_on_the_command_line(text):
    with pytest.raises(ConfigError):
        parse_space([text])


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({"learningrate": Choice((1,))}, {}, "no parameter of training"),
        ({}, {}, "nothing to search"),
        (SPACE, {"sampler": "luck"}, "luck"),
        (SPACE, {"sampler": "grid"}, "not a range"),
        (SPACE, {"trials": 0}, "at least 1"),
        ({"batch_size": Choice((2, "many"))}, {}, "wrong type"),
        ({"batch_size": Choice((2, 0))}, {}, "at least 1"),
        ({"warmup_steps": Range(-3, 3)}, {}, "at least 0"),
        ({"schedule": Choice(("cosine", 3))}, {}, "must be one of cosine"),
    ],
)
def test_bad_arguments(data, tmp_path, space, options, message):
    with pytest.raises(ConfigError, match=message):
        search(data, CONFIG, tmp_path, space, **options)


def test_without_held_out_sequences_and_in_another_search_directory(data, tmp_path):
    with pytest.raises(ConfigError, match="held-out"):
        search(data, dataclasses.replace(CONFIG, held_out=0), tmp_path, SPACE)
    search(data, dataclasses.replace(CONFIG, steps=2), tmp_path, SPACE, trials=1)
    with pytest.raises(ConfigError, match="another space"):
        search(data, CONFIG, tmp_path, {"learning_rate": Range(1e-4, 1)})


def test_a_search_goes_on_with_its_own_data_and_settings_only(data, tmp_path):
    short = dataclasses.replace(CONFIG, steps=2)
    search(data, short, tmp_path / "s", SPACE, trials=1)
    with pytest.raises(MismatchError, match="with other settings"):
        search(data, dataclasses.replace(short, batch_size=1), tmp_path / "s", SPACE, trials=2)
    other = tmp_path / "other"
    with shards.Writer(other, tokenizer=TOKENIZER) as writer:
        writer.write(pa.record_batch({"id": ["a" * 32], "text": ["别的文字。" * 40]}))
    with pytest.raises(MismatchError, match="of other token shards"):
        search(other, short, tmp_path / "s", SPACE, trials=2)
    assert len(search(data, short, tmp_path / "s", SPACE, trials=1).trials) == 1
