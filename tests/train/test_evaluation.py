"""Held-out loss: the same batches for any number of processes, added up in the same order."""

import math
import random

import pytest
import torch
from training_data import config

from corpuskit.errors import ConfigError
from corpuskit.train.evaluation import held_out_batch_size, held_out_loss
from corpuskit.train.ranks import Ranks

CPU = torch.device("cpu")


class Recorded(Ranks):
    """One of several processes; what it would send to the others is kept."""

    def sum(self, values, device):
        self.__dict__["sent"] = values
        return values + 1  # so that nobody divides by nothing


def batches(sizes):
    return [{"targets": torch.zeros(size), "number": number} for number, size in enumerate(sizes)]


@pytest.mark.parametrize("size", [2, 3, 4, 8])
@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_what_the_processes_find_adds_up_to_the_bits_of_one(size, count):
    draw = random.Random(count)
    made = batches(draw.randrange(9) for _ in range(count))
    made[0]["targets"] = torch.zeros(5)
    values = [draw.uniform(0, 1000) / 3 for _ in made]

    def loss_of(batch):
        return torch.tensor(values[batch["number"]], dtype=torch.float64)

    alone = held_out_loss(made, loss_of, Ranks(), CPU)
    ranks = [Recorded(rank, size) for rank in range(size)]
    for one in ranks:
        held_out_loss(iter(made), loss_of, one, CPU)
    sent = torch.stack([one.sent for one in ranks])
    assert ((sent != 0).sum(0) <= 1).all()  # each batch in one process: sums with zeros are exact
    losses, counts = sent.sum(0).T.tolist()
    assert sum(losses) / sum(counts) == alone
    assert max((one.sent[:, 1] != 0).sum() for one in ranks) <= math.ceil(count / size)


def test_every_process_of_a_sharded_model_makes_as_many_passes():
    for size in (2, 3, 5):
        for count in (1, 4, 5, 6):
            calls = []
            for rank in range(size):
                passes = []

                def loss_of(batch, passes=passes):
                    passes.append(batch)
                    return torch.tensor(1.0)

                held_out_loss(batches([3] * count), loss_of, Recorded(rank, size, sharded=True), CPU)
                calls.append(len(passes))
            assert set(calls) == {math.ceil(count / size)}


def test_nothing_to_learn_is_an_error():
    for made in ([], batches([0, 0])):
        with pytest.raises(ConfigError, match="no token of the held-out"):
            held_out_loss(made, lambda _: torch.tensor(0.0), Ranks(), CPU)


def test_batches_are_bounded_in_tokens():
    assert held_out_batch_size(config("causal", batch_size=4)) == 4
    assert held_out_batch_size(config("causal", batch_size=512, eval_sequences=64)) == 64
    assert held_out_batch_size(config("causal", batch_size=512, eval_sequences=999)) == 8192 // 48
