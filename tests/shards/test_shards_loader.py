from __future__ import annotations

import json

import numpy as np
import pytest

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, MismatchError

LENGTH = 16  # 1,000 tokens are 62 windows


def numpy_loader(directory, batch_size=4, **options):
    data = shards.open(directory)
    return data.loader(LENGTH, batch_size, framework="numpy", **options)


def take(loader, count):
    return [next(loader)["input_ids"] for _ in range(count)]


def same(left, right):
    return len(left) == len(right) and all(np.array_equal(a, b) for a, b in zip(left, right))


def window_numbers(batches):
    """Windows of the numbered dataset begin at multiples of 16: the first token says which it is."""
    rows = np.concatenate([np.asarray(batch) for batch in batches])
    assert np.array_equal(rows, rows[:, :1] + np.arange(LENGTH)) and not (rows[:, 0] % LENGTH).any()
    return rows[:, 0] // LENGTH


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_restoring_at_every_step_gives_all_that_remains(numbered, world_size, batch_size):
    """Grain's test: 70 samples and more, so an epoch end (62) lies inside."""
    steps = 70 // (batch_size * world_size) + 2
    for rank in range(world_size):
        options = {"batch_size": batch_size, "seed": 3, "rank": rank, "world_size": world_size}
        loader = numpy_loader(numbered, **options)
        states, batches = [loader.state_dict()], []
        for batch in loader:
            batches.append(batch["input_ids"])
            states.append(json.loads(json.dumps(loader.state_dict())))
            if len(batches) == steps:
                break
        for step, state in enumerate(states):
            resumed = numpy_loader(numbered, **options, state=state)
            assert same(take(resumed, steps - step), batches[step:])
            loader.load_state_dict(state)
            assert same(take(loader, min(2, steps - step)), batches[step : step + 2])


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_one_sequence_of_samples(numbered, world_size):
    expected = np.concatenate(take(numpy_loader(numbered, 12), 8))
    ranks = [
        take(numpy_loader(numbered, 12 // world_size, rank=rank, world_size=world_size), 8)
        for rank in range(world_size)
    ]
    together = np.concatenate([batch for step in zip(*ranks) for batch in step])
    assert np.array_equal(together, expected)


def test_each_epoch_holds_every_window_once_across_batches(numbered):
    numbers = window_numbers(take(numpy_loader(numbered, 4), 31))  # 124 samples: two epochs
    assert sorted(numbers[:62]) == list(range(62)) == sorted(numbers[62:])
    assert numbers[:62].tolist() != numbers[62:].tolist() != list(range(62))


def test_a_run_goes_on_with_another_number_of_ranks_and_batch_size(numbered):
    whole = window_numbers(take(numpy_loader(numbered, 1), 60)).tolist()
    first = numpy_loader(numbered, 3, rank=1, world_size=2)
    take(first, 5)
    state = first.state_dict()
    assert state["samples_consumed"] == 30
    ranks = [take(numpy_loader(numbered, 2, rank=rank, world_size=3, state=state), 5) for rank in range(3)]
    rest = window_numbers([batch for step in zip(*ranks) for batch in step]).tolist()
    assert rest == whole[30:]


def test_far_ahead_the_order_is_the_same_as_step_by_step(numbered):
    loader = numpy_loader(numbered, 4)
    batches = take(loader, 1200)  # beyond the order that is computed at once
    state = {**loader.state_dict(), "samples_consumed": 4 * 1100}
    assert same(take(numpy_loader(numbered, 4, state=state), 100), batches[1100:])


def test_stored_order_and_a_number_of_epochs(numbered):
    loader = numpy_loader(numbered, 4, shuffle=False, epochs=2)
    numbers = window_numbers([batch["input_ids"] for batch in loader]).tolist()
    assert numbers == [*range(62), *range(62)] and loader.epoch == 2
    assert list(loader) == []


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_last_global_batch_is_dropped_or_short(numbered, world_size):
    options = {"batch_size": 5, "epochs": 1, "shuffle": False, "world_size": world_size}
    dropped = [[b["input_ids"] for b in numpy_loader(numbered, rank=r, **options)] for r in range(world_size)]
    assert {len(batches) for batches in dropped} == {62 // (5 * world_size)}
    kept = [
        [b["input_ids"] for b in numpy_loader(numbered, rank=r, drop_last=False, **options)]
        for r in range(world_size)
    ]
    numbers = [number for batches in kept for number in window_numbers(batches)]
    assert sorted(numbers) == list(range(62))


def test_a_batch_owns_its_memory(numbered):
    loader = numpy_loader(numbered, 4)
    first = next(loader)["input_ids"]
    copy = first.copy()
    assert first.flags.owndata and first.flags.writeable and first.dtype == np.int64
    take(loader, 20)
    assert np.array_equal(first, copy)
    first[:] = 0
    assert same(take(numpy_loader(numbered, 4), 1), [copy])


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": "x"}, {"policy": "windows/8/drop/shuffled"}, {"seed": 1}],
)
def test_a_state_of_other_data_or_settings_is_refused(numbered, change):
    loader = numpy_loader(numbered)
    with pytest.raises(MismatchError, match="was saved with"):
        loader.load_state_dict({**loader.state_dict(), **change})
    with pytest.raises(MismatchError):
        shards.open(numbered).loader(8, 4, framework="numpy", state=loader.state_dict())


@pytest.mark.parametrize("consumed", [None, -1, "5", True, 1.5, 10**30])
def test_a_state_that_is_none_is_refused(numbered, consumed):
    with pytest.raises(ArtifactError, match="samples_consumed"):
        numpy_loader(numbered, state={"samples_consumed": consumed})


@pytest.mark.parametrize("state", [[], "5", 5])
def test_a_state_that_is_no_mapping_is_refused(numbered, state):
    with pytest.raises(ArtifactError, match="not a mapping"):
        numpy_loader(numbered, state=state)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"rank": 2, "world_size": 2}, "rank"),
        ({"rank": -1}, "rank"),
        ({"world_size": 0}, "world_size"),
        ({"seed": -1}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1, "batch_size": 63}, "batch_size"),
    ],
)
def test_impossible_options_are_refused(numbered, options, field):
    with pytest.raises(ConfigError, match=f"^{field}:"):
        numpy_loader(numbered, **options)


def test_an_unknown_framework_is_refused(numbered):
    with pytest.raises(ConfigError, match="framework"):
        shards.open(numbered).loader(8, 1, framework="jax")


def test_torch_batches_are_the_numpy_batches_and_resume(numbered):
    torch = pytest.importorskip("torch")
    from corpuskit.shards.torch import loader as torch_loader

    data = shards.open(numbered)
    batches = take(numpy_loader(numbered, 4, seed=5), 30)
    loader = torch_loader(data, LENGTH, 4, seed=5)
    states = []
    for expected in batches:
        states.append(loader.state_dict())
        tensor = next(loader)["input_ids"]
        assert tensor.dtype == torch.int64 and tensor.shape == (4, LENGTH) and tensor.is_contiguous()
        assert np.array_equal(tensor.numpy(), expected)
    for step, state in enumerate(states):
        resumed = data.loader(LENGTH, 4, seed=5, state=state)
        assert same([batch.numpy() for batch in take(resumed, 30 - step)], batches[step:])


def test_windows_serve_a_torch_data_loader(numbered):
    torch = pytest.importorskip("torch")

    windows = shards.open(numbered).windows(100)
    batches = list(torch.utils.data.DataLoader(windows, batch_size=5))
    assert torch.equal(torch.cat(batches).reshape(-1), torch.arange(1000))


def test_the_order_of_a_dataset_is_fixed_for_ever(numbered):
    """Golden values, with the fingerprint held fixed: resumed runs depend on them."""
    windows = shards.open(numbered).windows(LENGTH)
    windows.fingerprint = "golden"
    loader = shards.Loader(windows, 6, seed=1)
    assert window_numbers(take(loader, 2)).tolist() == GOLDEN_WINDOWS


GOLDEN_WINDOWS = [26, 21, 43, 45, 29, 5, 59, 58, 33, 48, 47, 51]
