import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from corpuskit.errors import ConfigError
from corpuskit.models.configurations import ModelConfig
from corpuskit.train.config import TrainConfig
from corpuskit.train.objectives import MaskedLM, SpanCorruption


def test_cosine_warms_up_and_ends_at_a_tenth():
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [config.learning_rate_at(update) for update in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0) == rates[10]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)


def test_constant_stays_at_the_peak():
    config = TrainConfig(steps=50, warmup_steps=0, learning_rate=0.5, schedule="constant")
    assert {config.learning_rate_at(update) for update in range(50)} == {0.5}


def test_linear_ends_at_zero():
    config = TrainConfig(steps=100, warmup_steps=20, learning_rate=1.0, schedule="linear")
    rates = [config.learning_rate_at(update) for update in range(101)]
    assert rates[20] == 1 and rates[60] == pytest.approx(0.5) and rates[100] == 0
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_wsd_warms_up_stays_and_decays_by_the_root():
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0, schedule="wsd", decay_share=0.2)
    rates = [config.learning_rate_at(update) for update in range(101)]
    assert set(rates[10:81]) == {1.0}
    assert rates[85] == pytest.approx(0.5) and rates[100] == 0  # 1 - sqrt(5 / 20)
    assert rates[80:] == sorted(rates[80:], reverse=True)


def test_stages_have_their_own_tokens():
    config = TrainConfig(steps=10, batch_size=2, sequence_length=64, stages=((16, 3), (32, 2)))
    assert [config.tokens_until(update) for update in (0, 2, 3, 4, 5, 6, 10)] == [
        0, 64, 96, 160, 224, 352, 864,
    ]  # fmt: skip


def test_a_recipe_can_name_an_objective_or_set_it_up():
    adapter = TypeAdapter(TrainConfig)
    named = adapter.validate_python({"model": "t5-nano", "objective": "span_corruption"})
    assert named.objective_of(None) == SpanCorruption()
    spelled = {"name": "masked", "rate": 0.4, "whole_words": False}
    made = adapter.validate_python({"model": "bert-nano", "objective": spelled}, strict=False)
    assert made.objective_of(None) == MaskedLM(rate=0.4, whole_words=False)
    assert (
        made.identity()
        == TrainConfig(model="bert-nano", objective=MaskedLM(rate=0.4, whole_words=False)).identity()
    )
    with pytest.raises(ValidationError, match="noise"):
        adapter.validate_python({"model": "t5-nano", "objective": {"name": "span_corruption", "noise": 1}})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0), ("batch_size", 0), ("sequence_length", 1), ("sequence_length", 257),
        ("learning_rate", 0.0), ("warmup_steps", -1), ("schedule", "sawtooth"), ("betas", (0.9, 1.0)),
        ("held_out", 0.9), ("threads", 0), ("dtype", "float16"), ("keep_checkpoints", 0), ("seed", -1),
    ],
)  # fmt: skip
def test_impossible_values_are_refused_by_field(field, value):
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**{field: value})
    assert caught.value.where == f"train.{field}"


def test_a_recipe_can_name_a_size_or_spell_a_shape_and_unknown_keys_are_refused():
    adapter = TypeAdapter(TrainConfig)
    assert adapter.validate_python({"model": "gpt2", "sequence_length": 1024}).shape.width == 768
    shape = {"layers": 2, "width": 64, "heads": 2, "context_length": 128}
    assert adapter.validate_python({"model": shape}).shape == ModelConfig(2, 64, 2, 128)
    with pytest.raises(ValidationError, match="learning_rat"):
        adapter.validate_python({"learning_rat": 1})
    with pytest.raises(ValidationError, match="widht"):
        adapter.validate_python({"model": {"widht": 3}})


def test_observation_may_change_between_runs_and_the_rest_may_not():
    base = TrainConfig()
    assert (
        TrainConfig(
            checkpoint_every=7, sample_every=3, threads=5, model=ModelConfig.preset("nano")
        ).identity()
        == base.identity()
    )
    assert TrainConfig(seed=1).identity() != base.identity()


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import corpuskit as ck
from corpuskit.errors import MissingExtra
ck.train.TrainConfig()
for room, name in ((ck.train, "fit"), (ck.generate, "Generator"), (ck.models, "create")):
    try:
        getattr(room, name)
    except MissingExtra as error:
        assert "corpuskit[train]" in str(error) and "torch" in str(error), error
    else:
        raise SystemExit(f"{name} did not raise")
"""


def test_configuration_works_without_torch_and_the_rest_names_the_extra():
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_importing_the_rooms_does_not_load_torch():
    rooms = "corpuskit.train, corpuskit.generate, corpuskit.models, corpuskit.train.config"
    code = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
