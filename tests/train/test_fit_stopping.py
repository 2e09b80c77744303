"""What ends a run: no improvement, a signal, full memory, nothing to measure."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from training_data import TOKENIZER, Interrupted, config, interrupt_at, losses, write

from corpuskit import shards
from corpuskit.errors import ConfigError, InputError, MissingExtra, ResourceError
from corpuskit.models.loading import load
from corpuskit.train import fit, read_metrics
from corpuskit.train.losses import TokenLoss
from corpuskit.train.metrics import MetricsLog, Step
from corpuskit.train.stopping import StopSignal, out_of_memory


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shards") / "data")


def test_a_run_that_no_longer_improves_stops_and_saves_its_best_model(data, tmp_path):
    # A rate so high that the loss soon rises.
    settings = config("causal", steps=60, eval_every=1, patience=3, learning_rate=0.5, warmup_steps=0,
                      schedule="constant", checkpoint_every=4, keep_checkpoints=1)  # fmt: skip
    result = fit(data, settings, tmp_path, TOKENIZER)
    measured = {step.step: step.held_out_loss for step in read_metrics(tmp_path)}
    best = min(measured, key=measured.get)
    assert result.stopped_early and result.steps == best + 3 < 60
    assert result.held_out_loss == measured[best]
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert f"step-{best:08d}" in names and len(names) <= 2
    saved, kept = load(tmp_path), load(tmp_path / "checkpoints" / f"step-{best:08d}")
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), kept.parameters()))
    before = (tmp_path / "model.safetensors").read_bytes()
    again = fit(data, settings, tmp_path, TOKENIZER)
    assert again.stopped_early and (tmp_path / "model.safetensors").read_bytes() == before


def test_patience_counts_measurements_after_the_best():
    log = MetricsLog.__new__(MetricsLog)
    log._measured = [(1, 3.0), (2, 2.0), (3, 2.0), (4, 2.5)]
    assert log.best == (2, 2.0)
    assert log.stalled(2) and not log.stalled(3) and not log.stalled(0)


def test_sigterm_saves_and_exits_and_the_run_goes_on_exactly(data, tmp_path):
    settings = config("causal", steps=6, checkpoint_every=0)
    fit(data, settings, tmp_path / "whole", TOKENIZER)

    def terminate(step: Step):
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # schedulers repeat it; once is enough

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        fit(data, settings, tmp_path / "stopped", TOKENIZER, on_step=terminate)
    assert stopped.value.code == 143 and signal.getsignal(signal.SIGTERM) == before
    result = fit(data, settings, tmp_path / "stopped", TOKENIZER)
    assert result.resumed_from == 3  # the update in progress was finished
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


KILLED = """
import sys
from training_data import TOKENIZER, config
from corpuskit.train import fit
fit(sys.argv[1], config("masked", steps=40, checkpoint_every=2, eval_every=3), sys.argv[2], TOKENIZER)
"""


@pytest.mark.slow
def test_a_run_killed_at_random_moments_has_the_losses_of_an_uninterrupted_one(data, tmp_path):
    fit(data, config("masked", steps=40, checkpoint_every=2, eval_every=3), tmp_path / "whole", TOKENIZER)
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    moments, kills = random.Random(0), 0
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    while True:
        process = subprocess.Popen(
            [sys.executable, str(script), str(data), str(tmp_path / "killed")], env=environment
        )
        begun = len(losses(tmp_path / "killed"))
        while process.poll() is None and len(losses(tmp_path / "killed")) <= begun:
            time.sleep(0.05)  # until it trains
        try:
            process.wait(moments.uniform(0, 0.5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills >= 2
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    weights = [tmp_path / name / "model.safetensors" for name in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_training_works_in_a_thread_where_signals_cannot_be_handled(data, tmp_path):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(fit(data, config("causal", steps=1), tmp_path, TOKENIZER))
    )
    thread.start()
    thread.join()
    assert results[0].steps == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_full_memory_says_what_to_lower(data, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(TokenLoss, "__call__", full)
    with pytest.raises(ResourceError, match=r"batch_size.*gradient_checkpointing"):
        fit(data, config("causal"), tmp_path, TOKENIZER)


def test_other_errors_are_not_taken_for_full_memory(data, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("shape mismatch")

    assert not out_of_memory(RuntimeError("shape mismatch"))
    monkeypatch.setattr(TokenLoss, "__call__", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        fit(data, config("causal"), tmp_path, TOKENIZER)
    assert StopSignal.status == 143


def test_an_empty_validation_set_is_an_error(tmp_path):
    with shards.Writer(tmp_path / "one", tokenizer=TOKENIZER) as writer:
        writer.write(pa.record_batch({"id": ["a" * 32], "text": ["天气" * 9]}))
    with pytest.raises(ConfigError, match="nothing is left to hold out"):
        fit(tmp_path / "one", config("causal"), tmp_path / "run", TOKENIZER)
    assert fit(tmp_path / "one", config("causal", held_out=0), tmp_path / "run", TOKENIZER).steps == 7


def test_held_out_samples_without_a_wanted_token_are_an_error(tmp_path):
    data = write(tmp_path / "data", "天" * 40)
    # Documents are cut at 16 tokens, before the answers that make the last two thirds.
    with pytest.raises(ConfigError, match="no token of the held-out"):
        fit(data, config("sft", sequence_length=16), tmp_path / "run", TOKENIZER)


def board(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def test_tensorboard_reads_the_metrics_of_a_resumed_run_as_those_of_one(data, tmp_path):
    pytest.importorskip("tensorboard")
    settings = config("causal", tensorboard=True, sample_every=3, sample_tokens=3)
    with pytest.raises(Interrupted):
        fit(data, settings, tmp_path, TOKENIZER, on_step=interrupt_at(5))
    fit(data, settings, tmp_path, TOKENIZER)  # goes on from step 3
    steps, found = list(read_metrics(tmp_path)), board(tmp_path / "tensorboard")
    assert set(found.Tags()["scalars"]) == {
        "loss", "held_out_loss", "learning_rate", "gradient_norm", "tokens_per_s", "data_stall",
    }  # fmt: skip
    for name in found.Tags()["scalars"]:
        expected = [(s.step, getattr(s, name)) for s in steps if getattr(s, name) is not None]
        scalars = found.Scalars(name)
        assert [scalar.step for scalar in scalars] == [step for step, _ in expected], name
        # written as float32
        assert [s.value for s in scalars] == pytest.approx([value for _, value in expected], rel=1e-6)
    texts = found.Tensors("sample/text_summary")
    assert [(text.step, text.tensor_proto.string_val[0].decode()) for text in texts] == [
        (step.step, step.sample) for step in steps if step.sample is not None
    ]


def test_tensorboard_without_its_package_names_it(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"corpuskit\[tensorboard\]"):
        fit(data, config("causal", tensorboard=True), tmp_path / "run", TOKENIZER)
    assert not (tmp_path / "run").exists()


def test_metrics_say_how_fast_and_how_long_was_waited(data, tmp_path):
    fit(data, config("causal", steps=2), tmp_path, TOKENIZER)
    for step in read_metrics(tmp_path):
        assert 0 <= step.data_stall < 1 and step.tokens_per_s > 0
        assert step.targets == 8 * 47 and step.mfu is None and step.memory_bytes is None


def test_a_full_disk_is_said_wherever_it_is_met(data, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MetricsLog, "append", full)
    with pytest.raises(ResourceError, match="no space left") as caught:
        fit(data, config("causal"), tmp_path, TOKENIZER)
    assert caught.value.where == str(tmp_path) and caught.value.hint


def test_a_directory_that_cannot_be_written_or_is_read_is_refused_at_once(data, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(InputError, match="no file can be made") as caught:
            fit(data, config("causal"), place, TOKENIZER)
        assert caught.value.where == str(place) and caught.value.hint
    with pytest.raises(ConfigError, match="also an input"):
        fit(data, config("causal"), data, TOKENIZER)
    fit(data, config("causal", steps=1), tmp_path / "run", TOKENIZER)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(ConfigError, match="also an input"):
        fit(data, config("causal", model=str(tmp_path / "run")), tmp_path / "run", TOKENIZER)
