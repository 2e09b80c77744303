import dataclasses
import json
import math
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, MismatchError, TaskError
from corpuskit.generate import Generator
from corpuskit.models import ModelConfig
from corpuskit.train import TrainConfig, fit, read_metrics
from corpuskit.train.data import split
from corpuskit.train.losses import TokenLoss
from corpuskit.train.objectives import CausalLM
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BYTES = tuple(bytes([i]) for i in range(256))
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": 257}))
OTHER = Tokenizer(ByteLevelBPE((*BYTES, b"ba", None), ((98, 97),), {"<|endoftext|>": 257}))

CONFIG = TrainConfig(
    model=ModelConfig(layers=2, width=16, heads=2, context_length=32, dropout=0.1),
    steps=10, batch_size=4, sequence_length=16, learning_rate=1e-2, warmup_steps=2, held_out=0.1,
    eval_every=4, checkpoint_every=3, gradient_accumulation=2, threads=1, seed=3, device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("shards") / "data", TOKENIZER, "我想去北京。天气很好。")


def _write(directory, tokenizer, sentence):
    texts = [sentence * (i % 5 + 1) for i in range(40)]
    batch = pa.record_batch(
        {
            "id": pa.array([f"{i:032x}" for i in range(40)], pa.large_string()),
            "text": pa.array(texts, pa.large_string()),
        }
    )
    with shards.Writer(directory, tokenizer=tokenizer) as writer:
        writer.write(batch)
    return directory


def losses(directory):
    return [
        (step.step, step.loss, step.gradient_norm, step.held_out_loss) for step in read_metrics(directory)
    ]


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def on_step(progress):
        if progress.step == step:
            raise Interrupted

    return on_step


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The directory of an uninterrupted run."""
    directory = tmp_path_factory.mktemp("whole")
    fit(data, CONFIG, directory, TOKENIZER)
    return directory


@pytest.mark.parametrize("at", [1, 3, 4, 6, 8])
def test_a_resumed_run_has_the_losses_and_weights_of_an_uninterrupted_one(data, whole, tmp_path, at):
    with pytest.raises(Interrupted):
        fit(data, CONFIG, tmp_path, TOKENIZER, on_step=interrupt_at(at))
    torch.manual_seed(99)
    result = fit(data, CONFIG, tmp_path, TOKENIZER)
    assert result.resumed_from == (at // 3 * 3 or None)
    assert losses(tmp_path) == losses(whole)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_finished_run_is_not_trained_again(data, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    seen = []
    result = fit(data, CONFIG, tmp_path, TOKENIZER, on_step=seen.append)
    assert seen == [] and result.resumed_from == 10
    assert (result.steps, result.tokens, result.loss) == (10, 10 * 4 * 2 * 16, losses(whole)[-1][1])


def test_the_model_learns_and_writes(data, tmp_path):
    config = dataclasses.replace(CONFIG, steps=150, gradient_accumulation=1, checkpoint_every=0)
    steps = []
    result = fit(shards.open(data), config, tmp_path, TOKENIZER, on_step=steps.append)
    assert steps[0].loss == pytest.approx(math.log(258), rel=0.1)
    assert result.loss < 1 and result.held_out_loss < 1
    assert [step.step for step in steps] == list(range(1, 151)) and steps == list(read_metrics(tmp_path))
    text = Generator.load(tmp_path, device="cpu").generate("我想", 40, temperature=0)
    assert text.startswith("我想去北京。")
    assert AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True).config.n_layer == 2


def test_a_stride_shows_more_sequences_and_none_that_touches_the_held_out_tokens(data):
    dataset = shards.open(data)
    plain = dataclasses.replace(CONFIG, stride=None)
    strided = dataclasses.replace(CONFIG, stride=3)
    learned, held_out = split(dataset, plain, CausalLM(), CONFIG.sequence_length)
    more, same = split(dataset, strided, CausalLM(), CONFIG.sequence_length)
    assert len(more) == (len(learned) - 1) * CONFIG.sequence_length // 3 + 1
    assert len(same) == len(held_out)
    row = np.empty((1, CONFIG.sequence_length), np.int64)
    more.gather(np.array([len(more) - 1]), row)
    begin = (len(more) - 1) * 3
    assert begin + CONFIG.sequence_length <= len(learned) * CONFIG.sequence_length
    stream = np.concatenate([document.tokens for document in dataset])
    assert row[0].tolist() == stream[begin : begin + CONFIG.sequence_length].tolist()


def test_only_the_last_checkpoints_stay_and_each_is_a_model(whole):
    names = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert names == ["step-00000009", "step-00000010"]
    assert Generator.load(whole / "checkpoints" / names[0], device="cpu").generate_ids([[1]], 2)


def test_accumulation_gives_the_gradient_of_the_large_batch(data, tmp_path):
    plain = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.shape, dropout=0.0), steps=3)
    large = dataclasses.replace(plain, batch_size=8, gradient_accumulation=1)
    small = dataclasses.replace(plain, batch_size=2, gradient_accumulation=4)
    fit(data, large, tmp_path / "large")
    fit(data, small, tmp_path / "small")
    for (_, one, norm, _), (_, other, other_norm, _) in zip(
        losses(tmp_path / "large"), losses(tmp_path / "small"), strict=True
    ):
        # float32 sums in another order: 2**-23 for each of some hundred terms
        assert one == pytest.approx(other, rel=1e-4) and norm == pytest.approx(other_norm, rel=1e-3)


def test_samples_and_evaluation_do_not_change_the_training(data, whole, tmp_path):
    watched = dataclasses.replace(CONFIG, sample_every=2, sample_prompt="我", eval_every=1, sample_tokens=5)
    fit(data, watched, tmp_path, TOKENIZER)
    assert [loss[:3] for loss in losses(tmp_path)] == [loss[:3] for loss in losses(whole)]
    steps = list(read_metrics(tmp_path))
    assert [step.step for step in steps if step.sample is not None] == [2, 4, 6, 8, 10]
    assert all(step.held_out_loss is not None for step in steps)


@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(data, whole, tmp_path, damage):
    with pytest.raises(Interrupted):
        fit(data, CONFIG, tmp_path, TOKENIZER, on_step=interrupt_at(7))
    newest = tmp_path / "checkpoints" / "step-00000006"
    _damage(newest, damage)
    with pytest.warns(RuntimeWarning, match="step-00000006"):
        result = fit(data, CONFIG, tmp_path, TOKENIZER)
    assert result.resumed_from == 3
    assert losses(tmp_path) == losses(whole)


def _damage(checkpoint, how):
    path = checkpoint / "training.pt"
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        (checkpoint / "state.json").unlink()


def test_when_every_checkpoint_is_damaged_nothing_is_overwritten(data, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "checkpoints").iterdir():
        _damage(path, "cut")
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.warns(RuntimeWarning), pytest.raises(ArtifactError, match="all 2 checkpoints"):
        fit(data, CONFIG, tmp_path, TOKENIZER)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_other_shards_tokenizer_or_configuration_are_refused(data, whole, tmp_path):
    other_text = _write(tmp_path / "other-text", TOKENIZER, "别的文字。")
    with pytest.raises(MismatchError, match="other token shards"):
        fit(other_text, CONFIG, whole, TOKENIZER)
    with pytest.raises(MismatchError, match="another tokenizer"):
        fit(data, CONFIG, whole, OTHER)
    with pytest.raises(MismatchError, match=r"learning_rate was 0\.01, is 0\.02"):
        fit(data, dataclasses.replace(CONFIG, learning_rate=0.02), whole, TOKENIZER)
    with pytest.raises(MismatchError, match="threads was 1, is 2"):
        fit(data, dataclasses.replace(CONFIG, threads=2), whole, TOKENIZER)


def test_the_thread_count_is_restored_and_torch_is_left_as_it_was(data, tmp_path):
    before = torch.get_num_threads()
    three = dataclasses.replace(CONFIG, threads=3, steps=4)
    seen = []
    with pytest.raises(Interrupted):
        fit(data, three, tmp_path, on_step=interrupt_at(3))
    fit(
        data,
        dataclasses.replace(three, threads=None),
        tmp_path,
        on_step=lambda _: seen.append(torch.get_num_threads()),
    )
    assert seen == [3] and torch.get_num_threads() == before


def test_metrics_are_cut_back_to_the_checkpoint_even_if_the_last_line_is_torn(data, whole, tmp_path):
    with pytest.raises(Interrupted):
        fit(data, CONFIG, tmp_path, TOKENIZER, on_step=interrupt_at(5))
    with open(tmp_path / "metrics.jsonl", "a") as log:
        log.write('{"step": 6, "los')
    fit(data, CONFIG, tmp_path, TOKENIZER)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 11))


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(data, tmp_path, monkeypatch):
    exact, calls = TokenLoss.__call__, []

    def breaking(*arguments):
        calls.append(1)
        return exact(*arguments) * (math.nan if len(calls) == 14 else 1)

    monkeypatch.setattr(TokenLoss, "__call__", breaking)
    config = dataclasses.replace(CONFIG, eval_every=0)
    with pytest.raises(TaskError, match=r"nan.*step 7, in batch 2 of 2 \(samples 52 to 55 .*step-00000006"):
        fit(data, config, tmp_path, TOKENIZER)
    assert [step.step for step in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "config.json").exists()


def test_samples_without_a_tokenizer_and_unknown_devices_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="sample_every"):
        fit(data, dataclasses.replace(CONFIG, sample_every=1), tmp_path)
    with pytest.raises(ConfigError, match=r"train\.device"):
        fit(data, dataclasses.replace(CONFIG, device="abacus"), tmp_path)


def test_sequences_longer_than_the_data_are_refused(tmp_path):
    batch = pa.record_batch({"id": ["a" * 32], "text": ["短"]})
    with shards.Writer(tmp_path / "data", tokenizer=TOKENIZER) as writer:
        writer.write(batch)
    with pytest.raises(ConfigError, match="sequence_length"):
        fit(tmp_path / "data", CONFIG, tmp_path / "run")


def test_bfloat16_trains_on_the_cpu_too(data, tmp_path):
    result = fit(data, dataclasses.replace(CONFIG, dtype="bfloat16", steps=3), tmp_path)
    assert result.loss < 7
