import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_data import TOKENIZER, config, losses, shape, write

from corpuskit.errors import ConfigError
from corpuskit.models.loading import load
from corpuskit.train import fit
from corpuskit.train.ranks import Ranks, shares

SCRIPT = """
import json, sys
from training_data import TOKENIZER, config, shape
from corpuskit.train import fit
name, data, output, parallel, checkpointing, *changes = sys.argv[1:]
kinds = {"causal": "gpt2", "sft": "gpt2", "span_corruption": "t5", "masked": "bert"}
fit(data, config(name, model=shape(kinds[name], 0.0), parallel=parallel,
                 gradient_checkpointing=checkpointing == "True", **json.loads(*changes or ["{}"])),
    output, TOKENIZER)
"""


def test_a_batch_that_cannot_be_shared_is_refused():
    assert Ranks(1, 4).share(8) == 2
    with pytest.raises(ConfigError, match="multiple of 4"):
        Ranks(1, 4).share(6)


def torchrun(tmp_path, processes, *arguments):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}",
               "--master-port=0", "--standalone", str(script), *map(str, arguments)]  # fmt: skip
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "parallel", "checkpointing"),
    [
        ("causal", "data", False),
        ("sft", "data", False),
        ("span_corruption", "data", False),
        ("causal", "sharded", False),
        ("causal", "sharded", True),
        ("span_corruption", "sharded", False),
        ("masked", "sharded", False),
    ],
)
def test_two_processes_have_the_losses_of_one_and_may_become_one(
    tmp_path, objective, parallel, checkpointing
):
    """The same batches; only sums are made in another order.

    A gradient is a sum of some hundred float32 terms, so two orders differ by about 100 * 2**-24 = 6e-6
    relative; AdamW divides it by its own size, so weights differ by that share of the learning rate (1e-2)
    a step, and after 7 steps a loss near 5 by less than 1e-4.
    """
    data = write(tmp_path / "data")
    model = dataclasses.replace(config(objective).shape, dropout=0.0)
    settings = config(objective, model=model, gradient_checkpointing=checkpointing)
    fit(data, settings, tmp_path / "one", TOKENIZER)
    torchrun(tmp_path, 2, objective, data, tmp_path / "two", parallel, checkpointing)
    one = losses(tmp_path / "one")
    assert_same(one, losses(tmp_path / "two"))
    ours, theirs = load(tmp_path / "one").state_dict(), load(tmp_path / "two").state_dict()
    assert {name: weight.shape for name, weight in ours.items()} == {n: w.shape for n, w in theirs.items()}
    # A run that two processes began goes on with one, and the other way round.
    for directory, processes in (("two", 1), ("one", 2)):
        shutil.rmtree(tmp_path / directory / "checkpoints" / "step-00000007")
        if processes == 1:
            assert fit(data, settings, tmp_path / directory, TOKENIZER).resumed_from == 6
        else:
            torchrun(tmp_path, 2, objective, data, tmp_path / directory, parallel, checkpointing)
        assert_same(one, losses(tmp_path / directory))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["data", "sharded"])
def test_equal_weights_have_equal_held_out_loss_whatever_the_number_of_processes(tmp_path, parallel):
    """A learning rate that changes no bit: what is measured is the same model every time."""
    data = write(tmp_path / "data", documents=90)
    changes = {"learning_rate": 1e-30, "batch_size": 6, "held_out": 0.4, "eval_every": 2}
    settings = config("causal", model=shape("gpt2", 0.0), **changes)
    fit(data, settings, tmp_path / "1", TOKENIZER)
    expected = [found[3] for found in losses(tmp_path / "1")]
    assert len(set(expected) - {None}) == 1
    for size in (2, 3):
        torchrun(tmp_path, size, "causal", data, tmp_path / str(size), parallel, False, json.dumps(changes))
        assert [found[3] for found in losses(tmp_path / str(size))] == expected


def assert_same(one, two):
    assert len(one) == len(two) == 7
    for (_, loss, norm, held_out, targets), other in zip(one, two):
        assert other[4] == targets
        assert other[1] == pytest.approx(loss, rel=1e-4) and other[2] == pytest.approx(norm, rel=1e-3)
        assert other[3] == pytest.approx(held_out, rel=1e-4) if held_out else other[3] is None


def test_one_process_has_the_whole_of_a_model_that_may_be_sharded(tmp_path):
    data = write(tmp_path / "data")
    fit(data, config("causal"), tmp_path / "data-parallel", TOKENIZER)
    fit(data, config("causal", parallel="sharded"), tmp_path / "sharded", TOKENIZER)
    assert losses(tmp_path / "sharded") == losses(tmp_path / "data-parallel")


def test_gathering_leaves_what_is_whole_as_it_is():
    state = {"step": 3, "groups": [{"lr": 0.1}], "weight": torch.ones(2)}
    assert Ranks().gathered(state) is state
    assert Ranks(sharded=True).gathered(state)["groups"] == [{"lr": 0.1}]
    assert shares(state["weight"], torch.zeros(2)) is state["weight"]


@pytest.mark.parametrize("name", ["sample_every", "new_rows_steps", "compile"])
def test_what_a_sharded_model_cannot_do_is_refused(name):
    with pytest.raises(ConfigError, match=f"train.{name}: is not for sharded"):
        config("causal", parallel="sharded", embedding_init="mean", **{name: 1})
