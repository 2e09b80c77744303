import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_data import TOKENIZER, config, losses, write

from corpuskit.errors import ConfigError
from corpuskit.models.loading import load
from corpuskit.train import fit
from corpuskit.train.ranks import Ranks

SCRIPT = """
import sys
from training_data import TOKENIZER, config, shape
from corpuskit.train import fit
name, data, output, steps = sys.argv[1:]
fit(data, config(name, model=shape({"causal": "gpt2", "sft": "gpt2", "span_corruption": "t5"}[name], 0.0),
                 steps=int(steps)), output, TOKENIZER)
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
@pytest.mark.parametrize("objective", ["causal", "sft", "span_corruption"])
def test_two_processes_have_the_losses_of_one_and_may_become_one(tmp_path, objective):
    """The same batches; only sums are made in another order.

    A gradient is a sum of some hundred float32 terms, so two orders differ by about 100 * 2**-24 = 6e-6
    relative; AdamW divides it by its own size, so weights differ by that share of the learning rate (1e-2)
    a step, and after 7 steps a loss near 5 by less than 1e-4.
    """
    data = write(tmp_path / "data")
    architecture = "t5" if objective == "span_corruption" else "gpt2"
    model = dataclasses.replace(config(objective).shape, dropout=0.0, architecture=architecture)
    settings = config(objective, model=model)
    fit(data, settings, tmp_path / "one", TOKENIZER)
    torchrun(tmp_path, 2, objective, data, tmp_path / "two", 7)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 7
    for (_, loss, norm, held_out, targets), other in zip(one, two):
        assert other[4] == targets
        assert other[1] == pytest.approx(loss, rel=1e-4) and other[2] == pytest.approx(norm, rel=1e-3)
        assert other[3] == pytest.approx(held_out, rel=1e-4) if held_out else other[3] is None
    assert load(tmp_path / "two").config.model_type == architecture
    # A run that two processes began goes on with one.
    newest = tmp_path / "two" / "checkpoints" / "step-00000007"
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    assert fit(data, settings, tmp_path / "two", TOKENIZER).resumed_from == 6
    assert losses(tmp_path / "two")[-1][1] == pytest.approx(one[-1][1], rel=1e-4)
