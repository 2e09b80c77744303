"""What the 8-bit product excludes can never be the largest logit."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.generate.screening import Screen, can_screen


def layer(tokens, width, seed, kind):
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(tokens, width, generator=random)
    if kind == "outliers":
        weight[:, 0] += 50
        weight[:, width // 2] *= 40
    elif kind == "constant dimension":
        weight[:, 0] = 3.0
    elif kind == "twins":
        weight[tokens // 2 :] = weight[: tokens - tokens // 2].clone()
    elif kind == "lengths":
        weight *= torch.exp(2 * torch.randn(tokens, 1, generator=random))
    return weight


@settings(max_examples=60, deadline=None)
@given(
    st.integers(4, 900), st.integers(8, 70), st.integers(1, 5), st.integers(0, 999),
    st.sampled_from(["plain", "outliers", "constant dimension", "twins", "lengths"]), st.floats(1e-3, 1e3),
)  # fmt: skip
def test_the_largest_is_always_left_and_what_is_left_is_right(tokens, width, rows, seed, kind, size):
    weight = layer(tokens, width, seed, kind)
    hidden = size * torch.randn(rows, width, generator=torch.Generator().manual_seed(seed + 1))
    if seed % 3 == 0:
        hidden[:, 0] *= 100
    found = Screen(weight)(hidden)
    assert found is not None
    exact = hidden.double() @ weight.double().t()
    left = found.isfinite()
    rounding = 1e-5 * hidden.double().norm(dim=1, keepdim=True) * weight.double().norm(dim=1)
    assert ((found.double() - exact).abs() <= rounding)[left].all()
    assert (exact.amax(1, keepdim=True) - exact > 0)[~left].all()


def test_equal_rows_are_all_left():
    weight = layer(600, 32, 1, "plain")
    weight[[7, 300, 599]] = 4 * weight[7]
    found = Screen(weight)(weight[7:8])
    assert found[0].argmax() == 7
    assert found[0, [7, 300, 599]].isfinite().all()


def test_a_model_that_is_sure_leaves_a_few_of_thousands():
    weight = layer(20_000, 256, 2, "plain")
    hidden = torch.randn(8, 256, generator=torch.Generator().manual_seed(3))
    assert int(Screen(weight)(hidden).isfinite().sum()) < 8 * 40


def test_what_cannot_be_decided_is_left_to_the_whole_layer():
    weight = torch.ones(9000, 16)
    assert Screen(weight)(torch.ones(1, 16)) is None  # all are equal
    screen = Screen(layer(300, 16, 0, "plain"))
    for hidden in (torch.zeros(1, 16), torch.full((1, 16), torch.nan), torch.full((2, 16), torch.inf)):
        found = screen(hidden)
        assert found is None or found.isfinite().all()
    assert screen(torch.ones(33, 16)) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 600), st.integers(1, 3), st.sampled_from(["plain", "outliers", "lengths"]))
def test_approximate_logits_are_off_by_a_constant_and_a_hundredth(tokens, rows, kind):
    weight = layer(tokens, 64, tokens, kind)
    hidden = torch.randn(rows, 64, generator=torch.Generator().manual_seed(rows))
    found, exact = Screen(weight).approximate(hidden), hidden @ weight.t()
    assert found.shape == exact.shape
    error = found - exact
    error -= error.mean(1, keepdim=True)
    # Each of both factors is rounded to a 254th of its largest value, at most.
    size = (hidden * weight.std(0)).abs().amax(1, keepdim=True) * 64
    assert (error.abs() <= size * (weight / weight.std(0)).abs().amax() / 100).all()


def test_small_layers_other_types_and_other_processors_are_not_screened(monkeypatch):
    weight = torch.zeros(1 << 14, 1 << 9)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)
    assert can_screen(weight)
    assert not can_screen(weight[:-1])
    assert not can_screen(weight.bfloat16())
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not can_screen(weight)
