import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from corpuskit.errors import ConfigError
from corpuskit.generate.sampling import Sampling


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 4),
    tokens=st.integers(1, 60),
    temperature=st.sampled_from([0.1, 0.7, 1.0, 3.0]),
    top_k=st.none() | st.integers(1, 80),
    top_p=st.none() | st.floats(0.01, 0.99),
    seed=st.integers(0, 10_000),
)
def test_filters_keep_what_the_warpers_of_transformers_keep(rows, tokens, temperature, top_k, top_p, seed):
    logits = 3 * torch.randn(rows, tokens, generator=torch.Generator().manual_seed(seed))
    expected = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p is not None:
        expected = TopPLogitsWarper(top_p)(None, expected)
    found = Sampling(temperature, top_k, top_p).filtered(logits)
    assert torch.equal(found, expected)


def test_repetition_penalty_is_that_of_transformers():
    logits = torch.randn(2, 20, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[3, 4, 3], [0, 19, 7]])
    expected = RepetitionPenaltyLogitsProcessor(5.0)(ids, logits.clone()).argmax(1)
    occurred = torch.zeros(2, 20, dtype=torch.bool).scatter(1, ids, True)
    assert Sampling(0, repetition_penalty=5.0).next_tokens(logits, occurred, []).equal(expected)


def test_draws_follow_the_probabilities_and_never_take_an_excluded_token():
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    rows = 20_000
    logits = probabilities.log().expand(rows, -1)
    generators = [torch.Generator().manual_seed(i) for i in range(rows)]
    drawn = Sampling(1.0).next_tokens(logits, torch.zeros(rows, 6, dtype=torch.bool), generators)
    shares = torch.bincount(drawn, minlength=6) / rows
    assert shares[[0, 2, 5]].eq(0).all()
    # 5 standard deviations of a binomial share: 5 * sqrt(0.25 / 20000) < 0.018
    torch.testing.assert_close(shares, probabilities, atol=0.018, rtol=0)


def test_greedy_takes_the_lowest_of_equal_tokens():
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    assert Sampling(0).next_tokens(logits, torch.zeros(1, 4, dtype=torch.bool), []).tolist() == [1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("temperature", float("nan")),
        ("top_k", 0),
        ("top_p", 0),
        ("top_p", 1.5),
        ("repetition_penalty", 0),
    ],
)
def test_impossible_settings_are_refused_by_name(field, value):
    with pytest.raises(ConfigError) as caught:
        Sampling(**{field: value})
    assert caught.value.where == field
