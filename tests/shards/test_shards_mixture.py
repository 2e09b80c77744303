from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.errors import ConfigError, MismatchError
from corpuskit.shards.loader import Loader
from corpuskit.shards.mixture import Mixture, Stages, largest_remainder, mixture_rates


class Numbers:
    """A source whose sample i is `length` times the number ``base + i``."""

    def __init__(self, name: str, count: int, base: int = 0, length: int = 4) -> None:
        self.fingerprint, self.policy = name, f"numbers/{length}"
        self.sequence_length, self._count, self._base = length, count, base

    def __len__(self) -> int:
        return self._count

    def gather(self, indices, out) -> None:
        out[:] = (np.asarray(indices) + self._base)[:, None]


def sources(length=4):
    return {
        "a": Numbers("a", 50, 0, length),
        "b": Numbers("b", 20, 1000, length),
        "c": Numbers("c", 7, 2000, length),
    }


def drawn(loader, count):
    return np.concatenate([next(loader)["input_ids"][:, 0] for _ in range(count)]).tolist()


@given(
    weights=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6),
    seats=st.integers(1, 5000),
)
def test_largest_remainder_gives_every_source_its_share_rounded_up_or_down(weights, seats):
    quotas = largest_remainder(weights, seats)
    total = sum(map(Fraction, weights))
    assert sum(quotas) == seats
    for quota, weight in zip(quotas, weights):
        assert abs(quota - Fraction(weight) * seats / total) < 1


def test_largest_remainder_is_hamiltons():
    # The textbook example: 100,000 votes, 10 seats.
    assert largest_remainder([47_000, 16_000, 15_900, 12_000, 6_000, 3_100], 10) == [5, 2, 1, 1, 1, 0]


def test_rates_are_t5s():
    """min(n * scale, cap) ** (1 / T), by hand."""
    rates = mixture_rates({"a": 400, "b": 100}, temperature=2.0)
    assert rates == pytest.approx({"a": 20 / 30, "b": 10 / 30})
    assert mixture_rates({"a": 400, "b": 100}, cap=100) == {"a": 0.5, "b": 0.5}
    assert mixture_rates({"a": 400, "b": 100}, cap=200, scale=2.0) == {"a": 0.5, "b": 0.5}
    assert mixture_rates({"a": 300, "b": 100}) == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_block_holds_the_proportions_exactly(shuffle):
    mixture = Mixture(sources(), {"a": 5, "b": 3, "c": 2}, block_samples=10)
    numbers = np.array(drawn(Loader(mixture, 10, shuffle=shuffle), 40)) // 1000
    assert all(Counter(block) == {0: 5, 1: 3, 2: 2} for block in numbers.reshape(-1, 10).tolist())
    assert mixture.rates == {"a": 0.5, "b": 0.3, "c": 0.2}
    if not shuffle:  # as even as it can be
        assert len(set(map(tuple, numbers.reshape(-1, 10).tolist()))) == 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_source_gives_its_own_order_and_wraps_in_its_own_epoch(shuffle):
    """At every place the source has given exactly the beginning of the order it has alone."""
    mixture = Mixture(sources(), {"a": 0.55, "b": 0.3, "c": 0.15}, block_samples=64)
    numbers = drawn(Loader(mixture, 1, seed=4, shuffle=shuffle), 200)
    for index, source in enumerate(mixture.leaves):
        own = [number for number in numbers if number // 1000 == index]
        alone = Loader(source, 1, seed=4, shuffle=shuffle)
        assert own == drawn(alone, len(own))
        for epoch in range(len(own) // len(source)):
            part = own[epoch * len(source) : (epoch + 1) * len(source)]
            assert len(set(part)) == len(source)


def staged():
    short, long = sources(4), sources(8)
    return Stages(
        [
            (Mixture(short, {"a": 2, "b": 1, "c": 1}, block_samples=16), 40),
            (Mixture(short, {"a": 1, "b": 2, "c": 1}, block_samples=16), 56),
            (long["a"], 48),
            (Mixture(long, block_samples=16), None),
        ]
    )


def test_stages_change_length_and_weights_and_go_on_in_a_source():
    loader = Loader(staged(), 8, seed=1)
    batches = [next(loader)["input_ids"] for _ in range(24)]
    assert [batch.shape[1] for batch in batches] == [4] * 12 + [8] * 12
    first = np.concatenate([batch[:, 0] for batch in batches[:12]]).tolist()
    for index, source in enumerate(sources(4).values()):
        own = [number for number in first if number // 1000 == index]
        assert own == drawn(Loader(source, 1, seed=1), len(own))  # across the border at 40


def remaining(make, state, steps, **options):
    loader = make(state=state, **options)
    return [next(loader)["input_ids"] for _ in range(steps)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_restoring_a_mixture_with_stages_at_every_step(world_size, workers):
    """Grain's test, for every rank; 24 divides every global batch here, so no stage leaves any out."""

    def make(**options):
        return Loader(staged(), 24 // world_size, seed=3, world_size=world_size, workers=workers, **options)

    steps = 9
    for rank in {0, world_size - 1}:
        with make(rank=rank) as loader:
            states, batches = [loader.state_dict()], []
            for _ in range(steps):
                batches.append(next(loader)["input_ids"])
                states.append(json.loads(json.dumps(loader.state_dict())))
            for step, state in enumerate(states):
                loader.load_state_dict(state)
                again = [next(loader)["input_ids"] for _ in range(steps - step)]
                assert all(np.array_equal(a, b) for a, b in zip(again, batches[step:], strict=True))
        with make(rank=rank, state=states[4]) as resumed:
            for expected in batches[4:]:
                assert np.array_equal(next(resumed)["input_ids"], expected)


def test_a_mixture_goes_on_with_another_world_size():
    def part(world_size, first, last, state=None):
        ranks = [
            Loader(staged(), 24 // world_size, rank=rank, world_size=world_size, state=state)
            for rank in range(world_size)
        ]
        rows = [
            row.tolist() for _ in range(first, last) for loader in ranks for row in next(loader)["input_ids"]
        ]
        return rows, ranks[0].state_dict()

    whole, _ = part(1, 0, 9)
    state, together = None, []
    for world_size, first, last in [(2, 0, 2), (8, 2, 3), (3, 3, 6), (1, 6, 9)]:
        rows, state = part(world_size, first, last, state)
        together += rows
    assert together == whole


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_left_where_the_length_changes_and_at_the_end(drop_last, workers):
    """13 samples, then 9: with batches of 4 a rest of 1 and of 1."""
    stages = Stages([(Numbers("a", 30), 13), (Numbers("b", 30, length=8), 9)])
    with Loader(stages, 4, drop_last=drop_last, workers=workers) as loader:
        shapes = [batch["input_ids"].shape for batch in loader]
        assert next(loader, None) is None
    rest = [] if drop_last else [(1, 4)], [] if drop_last else [(1, 8)]
    assert shapes == [(4, 4)] * 3 + rest[0] + [(4, 8)] * 2 + rest[1]


def test_the_order_of_a_mixture_is_fixed_for_ever():
    mixture = Mixture(sources(), {"a": 5, "b": 3, "c": 2}, block_samples=10)
    assert drawn(Loader(mixture, 20, seed=1), 1) == GOLDEN_MIXTURE


GOLDEN_MIXTURE = [
    48, 31, 14, 42, 1009, 2, 1019, 2003, 1008, 2001, 2002, 1004, 7, 27, 18, 1001, 2000, 35, 1016, 1
]  # fmt: skip


def test_a_state_of_another_mixture_is_refused():
    first = Mixture(sources(), {"a": 5, "b": 3, "c": 2})
    state = Loader(first, 4).state_dict()
    with pytest.raises(MismatchError, match="policy"):
        Loader(Mixture(sources(), {"a": 5, "b": 3, "c": 1}), 4, state=state)
    changed = {**sources(), "c": Numbers("d", 7, 2000)}
    with pytest.raises(MismatchError, match="dataset"):
        Loader(Mixture(changed, {"a": 5, "b": 3, "c": 2}), 4, state=state)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Mixture({}), "sources"),
        (lambda: Mixture(sources(), {"a": 1}), "weights"),
        (lambda: Mixture(sources(), {"a": 1, "b": 0, "c": 1}), "weights"),
        (lambda: Mixture(sources(), {"a": 1, "b": float("nan"), "c": 1}), "weights"),
        (lambda: Mixture(sources(), {"a": 1e9, "b": 1, "c": 1}), "weights"),
        (lambda: Mixture(sources(), {"a": 1, "b": 1, "c": 1}, temperature=2), "weights"),
        (lambda: Mixture(sources(), temperature=0), "temperature"),
        (lambda: Mixture(sources(), cap=-1), "cap"),
        (lambda: Mixture(sources(), block_samples=2), "block_samples"),
        (lambda: Mixture({"a": Numbers("a", 5), "b": Numbers("a", 5)}), "sources"),
        (lambda: Mixture({"a": Numbers("a", 5), "b": Numbers("b", 5, length=8)}), "sources"),
        (lambda: Mixture({"a": Mixture(sources())}), "sources"),
        (lambda: Stages([]), "stages"),
        (lambda: Stages([(Numbers("a", 5), None), (Numbers("b", 5), 3)]), "stages"),
        (lambda: Stages([(Numbers("a", 5), 0)]), "stages"),
        (lambda: Stages([(staged(), 5)]), "stages"),
        (lambda: Loader(Mixture(sources()), 4, epochs=1), "epochs"),
        (lambda: Loader(Stages([(Numbers("a", 5), 9)]), 4, epochs=2), "epochs"),
        (lambda: Loader(Numbers("a", 50), 4, shuffle_window=2), "shuffle_window"),
        (lambda: Loader(Numbers("a", 50), 4, fields=("labels",)), "fields"),
    ],
)  # fmt: skip
def test_impossible_mixtures_are_refused(make, field):
    with pytest.raises(ConfigError, match=f"^{field}:"):
        make()
