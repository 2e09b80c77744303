"""Texts that are written while a model is trained."""

import pytest
from training_data import TOKENIZER, config, losses, shape, write

from corpuskit import shards
from corpuskit.errors import ConfigError
from corpuskit.train import fit, read_metrics
from corpuskit.train.data import split
from corpuskit.train.objectives import SpanCorruption, SpecialTokens
from corpuskit.train.samples import _examples, _shown


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shards") / "data")


def test_an_encoder_decoder_answers_held_out_inputs_beside_their_targets(tmp_path):
    data = write(tmp_path / "data", "甲乙丙", 24)
    settings = config("pairs", model=shape("t5", 0.0), steps=60, checkpoint_every=0, eval_every=0,
                      gradient_accumulation=1, sequence_length=24, learning_rate=3e-2,
                      sample_every=30, sample_tokens=30)  # fmt: skip
    fit(data, settings, tmp_path / "run", TOKENIZER)
    steps = [step for step in read_metrics(tmp_path / "run") if step.sample is not None]
    assert [step.step for step in steps] == [30, 60]
    # A third of a document is read, the rest is the target; of 24 documents the last two are held out.
    assert steps[-1].sample == "甲乙\n→ 丙甲乙丙\n= 丙甲乙丙\n\n甲乙丙\n→ 甲乙丙甲乙丙\n= 甲乙丙甲乙丙"


@pytest.mark.parametrize("objective", ["pairs", "prefix", "span_corruption"])
def test_samples_do_not_change_the_training(data, tmp_path, objective):
    plain = config(objective, steps=4)
    watched = config(objective, steps=4, sample_every=1, sample_tokens=4)
    fit(data, plain, tmp_path / "plain", TOKENIZER)
    fit(data, watched, tmp_path / "watched", TOKENIZER)
    assert losses(tmp_path / "plain") == losses(tmp_path / "watched")


def test_a_prompt_is_answered_instead(data, tmp_path):
    fit(data, config("pairs", steps=1, sample_every=1, sample_prompt="问", held_out=0), tmp_path, TOKENIZER)
    (step,) = read_metrics(tmp_path)
    assert step.sample is not None and "→" not in step.sample


def test_sentinels_are_shown_by_their_names(data):
    special = SpecialTokens(258, end_of_text=257, sentinels=tuple(range(300, 260, -1)))
    _, held = split(shards.open(data), config("span_corruption"), SpanCorruption(), 24)
    (ids, target), *_ = _examples([held], special, 0)
    inputs, targets = (_shown(row, TOKENIZER, special) for row in (ids, target))
    assert "<extra_id_0>" in inputs and targets.startswith("<extra_id_0>")
    assert _shown([257, 299, 97, 450], TOKENIZER, special) == "<extra_id_1>a<450>"


@pytest.mark.parametrize(
    ("objective", "tokenizer", "changes", "message"),
    [
        ("causal", None, {}, "need a tokenizer"),
        ("masked", TOKENIZER, {}, "masked models"),
        ("pairs", TOKENIZER, {"held_out": 0, "eval_every": 0}, "no held-out input"),
    ],
)
def test_samples_that_cannot_be_written_are_refused(data, tmp_path, objective, tokenizer, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        fit(data, config(objective, sample_every=1, **changes), tmp_path, tokenizer)
    assert caught.value.hint and not list(tmp_path.iterdir())
