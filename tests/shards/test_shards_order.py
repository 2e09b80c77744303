from __future__ import annotations

import functools
import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.shards.order import SampleOrder, ShardOrder, derive_key, permute

MASK = (1 << 64) - 1


def reference_permute(index: int, n: int, key: int) -> int:
    """The construction in plain integers, one index at a time."""

    def mix(value):
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
        return value ^ (value >> 31)

    height = math.isqrt(n - 1) + 1
    width = -(-n // height)
    while True:
        left, right = divmod(index, width)
        for number in range(16):
            round_key = mix((key + (number + 1) * 0x9E3779B97F4A7C15) & MASK)
            if number % 2 == 0:
                left = (left + ((mix(right ^ round_key) >> 32) * height >> 32)) % height
            else:
                right = (right + ((mix(left ^ round_key) >> 32) * width >> 32)) % width
        index = left * width + right
        if index < n:
            return index


@given(n=st.integers(1, 3000), key=st.integers(0, MASK))
def test_every_index_is_hit_exactly_once(n, key):
    assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


def test_small_domains_are_bijective_for_every_size():
    for n in range(1, 300):
        assert np.array_equal(np.sort(permute(np.arange(n), n, n * 977)), np.arange(n))


@given(n=st.integers(1, 1 << 62), key=st.integers(0, MASK), data=st.data())
def test_it_agrees_with_plain_integers_on_any_domain(n, key, data):
    indices = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=5))
    expected = [reference_permute(index, n, key) for index in indices]
    assert permute(np.array(indices), n, key).tolist() == expected


def test_keys_may_differ_by_index():
    keys = np.array([1, 2, MASK], np.uint64)
    expected = [reference_permute(5, 100, int(key)) for key in keys]
    assert permute(np.array([5, 5, 5]), 100, keys).tolist() == expected


def test_the_order_is_fixed_for_ever():
    """Golden values: a change here changes the data order of every run that is resumed."""
    assert derive_key("sample-order", "f", "windows/8/drop", 0, 0) == GOLDEN_KEY
    assert permute(np.arange(10), 10, 0).tolist() == GOLDEN_TEN
    assert permute(np.arange(5), 10**12, 12345).tolist() == GOLDEN_LARGE
    order = SampleOrder("f", "windows/8/drop", 7, 5)
    assert order(np.arange(10)).tolist() == GOLDEN_ORDER


GOLDEN_KEY = 4146721279189022021
GOLDEN_TEN = [2, 5, 7, 4, 0, 9, 6, 3, 8, 1]
GOLDEN_LARGE = [665753752756, 397574403151, 664270514455, 116664064135, 981319537730]
GOLDEN_ORDER = [3, 0, 4, 1, 2, 3, 1, 4, 2, 0]


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


def limit(cells: int) -> float:
    """Mean plus six standard deviations of chi-square with cells - 1 degrees of freedom."""
    return cells - 1 + 6 * math.sqrt(2 * (cells - 1))


@pytest.mark.parametrize("n", [2, 3, 7, 16, 50, 101])
def test_every_position_is_equally_likely_over_the_keys(n):
    keys = np.array([derive_key("uniform", i) for i in range(20_000)], np.uint64)
    for index in (0, n // 2, n - 1):
        images = permute(np.full(len(keys), index), n, keys)
        assert chi_square(np.bincount(images, minlength=n)) < limit(n)


@pytest.mark.parametrize("n", [4, 5, 9, 16, 30])
def test_every_pair_of_positions_is_equally_likely_over_the_keys(n):
    keys = np.array([derive_key("pairs", i) for i in range(40_000)], np.uint64)
    for first, second in [(0, 1), (0, n - 1), (n // 2, n // 2 + 1)]:
        a = permute(np.full(len(keys), first), n, keys)
        b = permute(np.full(len(keys), second), n, keys)
        cells = np.bincount(a * n + b, minlength=n * n).reshape(n, n)
        assert np.diag(cells).sum() == 0
        assert chi_square(cells[~np.eye(n, dtype=bool)]) < limit(n * (n - 1))


def test_neighbours_are_scattered_over_a_large_domain():
    n = 1_000_000
    images = permute(np.arange(100_000), n, 3)
    assert chi_square(np.bincount(images * 1000 // n, minlength=1000)) < limit(1000)
    steps = np.abs(np.diff(images)) / n  # |difference| of two uniform draws has mean 1/3, variance 1/18
    assert abs(steps.mean() - 1 / 3) < 6 * math.sqrt(1 / 18 / len(steps))


@pytest.mark.parametrize(("index", "n"), [(-1, 5), (5, 5), (0, 0)])
def test_indices_outside_the_domain_are_refused(index, n):
    with pytest.raises(ValueError):
        permute(np.array([index]), n, 0)


@given(n=st.integers(1, 40), seed=st.integers(0, 1 << 70))
def test_each_epoch_is_a_permutation_and_any_index_can_be_asked_alone(n, seed):
    order = SampleOrder("data", "policy", seed, n)
    together = order(np.arange(4 * n))
    for epoch in range(4):
        assert sorted(together[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert [int(order(np.array(g))) for g in range(4 * n)] == together.tolist()


def test_order_depends_on_data_policy_seed_and_epoch():
    orders = [
        SampleOrder("data", "policy", 0, 1000), SampleOrder("other", "policy", 0, 1000),
        SampleOrder("data", "other", 0, 1000), SampleOrder("data", "policy", 1, 1000),
    ]  # fmt: skip
    sequences = [tuple(order(np.arange(1000))) for order in orders]
    sequences.append(tuple(orders[0](np.arange(1000, 2000))))
    assert len(set(sequences)) == 5
    stored = SampleOrder("data", "policy", 0, 1000, shuffle=False)
    assert stored(np.arange(998, 1002)).tolist() == [998, 999, 0, 1]


def reference_shard_order(order: ShardOrder, epoch: int) -> list[int]:
    """An epoch in plain lists: shards permuted, taken a window at a time, each window permuted."""
    ranges = [list(range(a, b)) for a, b in zip(order.shard_starts, order.shard_starts[1:]) if b > a]
    names = (order.fingerprint, order.policy, order.seed, epoch)
    images = permute(np.arange(len(ranges)), len(ranges), derive_key("shard-order", *names))
    shards = [ranges[image] for image in images]
    result = []
    for number, first in enumerate(range(0, len(shards), order.window)):
        together = functools.reduce(operator.iadd, shards[first : first + order.window], [])
        key = derive_key("shard-window", *names, number)
        result += [together[image] for image in permute(np.arange(len(together)), len(together), key)]
    return result


@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=7).filter(any),
    window=st.integers(1, 10),
    seed=st.integers(0, 1 << 70),
)
def test_the_shard_wise_order_is_the_plain_one_and_uses_a_window_of_shards_at_a_time(sizes, window, seed):
    starts = tuple(np.cumsum([0, *sizes]).tolist())
    order = ShardOrder("data", "policy", seed, starts, window)
    n = starts[-1]
    together = order(np.arange(3 * n))
    for epoch in range(3):
        part = together[epoch * n : (epoch + 1) * n].tolist()
        assert sorted(part) == list(range(n)) and part == reference_shard_order(order, epoch)
        assert [int(order(np.array([epoch * n + i]))[0]) for i in range(0, n, 7)] == part[::7]
        shards = np.searchsorted(starts, part, side="right") - 1
        for place in range(0, n, 5):
            upcoming = order.upcoming_shards(epoch * n + place)
            assert set(shards[place : place + 1].tolist()) <= set(upcoming[:window])
            assert len(upcoming) <= 2 * window


def test_the_shard_wise_order_mixes_all_shards_in_one_window_uniformly():
    """One window over all shards is a full shuffle: each sample everywhere with the same chance."""
    images = np.array([
        ShardOrder("data", "policy", seed, (0, 3, 3, 8, 12), 4)(np.array([0]))[0] for seed in range(1500)
    ])  # fmt: skip
    assert chi_square(np.bincount(images, minlength=12)) < limit(12)


def test_the_shard_wise_order_is_fixed_for_ever():
    order = ShardOrder("f", "windows/8/drop/shards2", 7, (0, 3, 3, 8, 10, 14), 2)
    assert order(np.arange(28)).tolist() == GOLDEN_SHARDS


GOLDEN_SHARDS = [
    11, 0, 10, 2, 1, 13, 12, 8, 6, 4, 3, 5, 9, 7, 3, 7, 12, 11, 5, 10, 6, 4, 13, 2, 9, 0, 8, 1
]  # fmt: skip
