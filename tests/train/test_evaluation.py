"""Held-out loss: the same batches for any number of processes, added up in the same order."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from training_data import config, write

from corpuskit import shards
from corpuskit.errors import ConfigError
from corpuskit.train.batches import held_out_batches
from corpuskit.train.data import Source, split
from corpuskit.train.evaluation import held_out_batch_size, held_out_loss
from corpuskit.train.objectives import CausalLM, SpecialTokens, SupervisedFineTuning
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


class Numbered:
    """Rows that hold their own number."""

    fingerprint, policy, sequence_length = "numbered", "numbered", 48

    def gather(self, indices, out):
        out[:] = np.asarray(indices)[:, None]


def numbered(start, stop):
    return Source(Numbered(), CausalLM(), 48, start, stop, whole=True)


def rows_of(source):
    return [int(sample.tokens[0]) for sample in source.samples(np.arange(len(source)))]


@pytest.mark.parametrize(("size", "count"), [(1000, 16), (17, 16), (16, 16), (5, 16), (1000, 1), (999, 998)])
def test_samples_spread_over_the_whole_held_out_part(size, count):
    found = rows_of(numbered(50, 50 + size).spread(count))
    if count >= size:
        assert found == list(range(50, 50 + size))
        return
    middles = [50 + (part + 0.5) * size / count for part in range(count)]
    assert all(middle - 1 < row <= middle for row, middle in zip(found, middles, strict=True))
    gaps = {after - before for before, after in pairwise(found)}
    assert gaps <= {size // count, size // count + 1}


def test_every_dataset_is_measured_all_over_at_every_evaluation():
    sources = [numbered(100, 200), numbered(0, 3)]
    special = SpecialTokens(258, end_of_text=257)

    def rows(batch_size):
        made = held_out_batches(sources, batch_size, 5, special, seed=3, fixed=False)
        return [row[0] for batch in made for row in batch["input_ids"].tolist()]

    assert rows(2) == rows(2) == rows(5) == [110, 130, 150, 170, 190, 0, 1, 2]


@pytest.mark.parametrize("sequences", ["windows", "packed", "documents"])
def test_samples_that_are_spread_keep_their_documents_and_columns(tmp_path, sequences):
    dataset = shards.open(write(tmp_path / "data"))
    _, held = split(dataset, config(sequences=sequences, held_out=0.4), SupervisedFineTuning(), 48)
    few = held.spread(3)
    assert len(few) == 3 < len(held)
    places = [(2 * i + 1) * len(held) // 6 for i in range(3)]
    for found, expected in zip(few.samples(np.arange(3)), held.samples(np.array(places)), strict=True):
        assert found.tokens.tolist() == expected.tokens.tolist()
        assert found.starts.tolist() == expected.starts.tolist()
        assert found.columns["loss_mask"].tolist() == expected.columns["loss_mask"].tolist()
    ids = np.empty((1, few._rows.sequence_length), np.int64)
    few.gather(np.array([2]), ids)
    last = few.samples(np.array([2]))[0].tokens
    assert ids[0, : len(last)].tolist() == last.tolist()


def test_batches_are_bounded_in_tokens():
    assert held_out_batch_size(config("causal", batch_size=4)) == 4
    assert held_out_batch_size(config("causal", batch_size=512, eval_sequences=64)) == 64
    assert held_out_batch_size(config("causal", batch_size=512, eval_sequences=999)) == 8192 // 48
