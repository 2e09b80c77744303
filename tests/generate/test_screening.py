"""What the 8-bit product excludes can never be the largest logit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import random_gpt2, random_prompts

from corpuskit.generate import Generator, Sampling, screening
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


@pytest.fixture
def small(monkeypatch):
    """Screens are used whatever the size and the processor."""
    monkeypatch.setattr(screening, "_SMALLEST", 1)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)


@pytest.mark.parametrize("rows", [1, 5])
def test_greedy_texts_are_those_of_the_whole_layer(small, rows):
    model = random_gpt2(rows, 3.0)
    prompts = random_prompts(rows, 6, 300, seed=1).tolist()
    generator = Generator(model)
    found = generator.generate_ids(prompts, 40, stop_at_end=False)
    assert generator._screen is not None
    unscreened = Generator(model)
    unscreened._screen_for = lambda sampling, new_tokens: None
    assert found == unscreened.generate_ids(prompts, 40, stop_at_end=False)


def test_a_screen_is_for_greedy_texts_of_some_length_and_made_again_for_other_weights(small):
    generator = Generator(random_gpt2(0))
    for sampling, length in (
        (Sampling(0.5), 40), (Sampling(0, repetition_penalty=1.2), 40), (Sampling(0, no_repeat_ngram=2), 40),
        (Sampling(0), 31),
    ):  # fmt: skip
        assert generator._screen_for(sampling, length) is None
    first = generator._screen_for(Sampling(0), 40)
    assert first is not None
    assert generator._screen_for(Sampling(0), 5) is first
    with torch.no_grad():
        generator.model.transformer.wte.weight.add_(0.1)
    assert generator._screen_for(Sampling(0), 40) is not first


def test_small_layers_other_types_and_other_processors_are_not_screened(monkeypatch):
    weight = torch.zeros(1 << 14, 1 << 9)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)
    assert can_screen(weight)
    assert not can_screen(weight[:-1])
    assert not can_screen(weight.bfloat16())
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not can_screen(weight)
