import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.generate.sampling import Sampling, most_likely, require_numbers


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
    sampling = Sampling(0, repetition_penalty=5.0)
    history = sampling.history(ids.tolist(), 20, logits.device)
    assert sampling.next_tokens(history.constrain(logits), []).equal(expected)


def test_draws_follow_the_probabilities_and_never_take_an_excluded_token():
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    rows = 20_000
    logits = probabilities.log().expand(rows, -1)
    generators = [torch.Generator().manual_seed(i) for i in range(rows)]
    drawn = Sampling(1.0).next_tokens(logits, generators)
    shares = torch.bincount(drawn, minlength=6) / rows
    assert shares[[0, 2, 5]].eq(0).all()
    # 5 standard deviations of a binomial share: 5 * sqrt(0.25 / 20000) < 0.018
    torch.testing.assert_close(shares, probabilities, atol=0.018, rtol=0)


def test_greedy_takes_the_lowest_of_equal_tokens():
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    assert Sampling(0).next_tokens(logits, []).tolist() == [1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("temperature", 1e-40),
        ("temperature", "0.7"),
        ("top_k", 2.5),
        ("top_k", True),
        ("beams", None),
        ("temperature", float("nan")),
        ("top_k", 0),
        ("top_p", 0),
        ("top_p", 1.5),
        ("repetition_penalty", 0),
        ("min_p", 0),
        ("min_p", 1.1),
        ("no_repeat_ngram", -1),
        ("beams", 0),
        ("length_penalty", float("nan")),
    ],
)
def test_impossible_settings_are_refused_by_name(field, value):
    with pytest.raises(ConfigError) as caught:
        Sampling(**{field: value})
    assert caught.value.where == field


def test_numbers_of_numpy_are_numbers():
    assert Sampling(np.float32(0.5), top_k=np.int64(3)).top_k == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(value):
    logits = torch.tensor([[1.0, 2.0], [value, 0.0]])
    for chosen in (None, torch.tensor([1, 0])):
        with pytest.raises(ArtifactError, match="no longer a number"):
            require_numbers(logits, chosen)
    require_numbers(torch.tensor([[-torch.inf, 0.0]]))


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(1, 3000),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_k=st.none() | st.integers(1, 80),
    top_p=st.none() | st.floats(0.01, 0.99),
    min_p=st.none() | st.floats(0.01, 1.0),
    distinct=st.sampled_from([3, 1_000_000]),
    seed=st.integers(0, 10_000),
)
def test_candidates_have_the_distribution_of_the_warpers(
    tokens, temperature, top_k, top_p, min_p, distinct, seed
):
    random = torch.Generator().manual_seed(seed)
    # few distinct values make ties, at the borders of top-k and top-p too
    logits = (2 * torch.randn(2, tokens, generator=random) * distinct).round() / distinct
    expected = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p is not None:
        expected = TopPLogitsWarper(top_p)(None, expected)
    if min_p is not None:
        expected = MinPLogitsWarper(min_p)(None, expected)
    sampling = Sampling(temperature, top_k, top_p, min_p=min_p)
    ids, values = sampling._candidates(logits)
    found = torch.zeros_like(logits)
    found.scatter_(1, torch.arange(tokens).expand(2, -1) if ids is None else ids, values.softmax(1))
    # Among equal tokens at top-p's border the order of the sort decides which are kept, and a sum that
    # meets top-p to the last bit may fall on either side: then one token of the border differs.
    theirs, border = expected.softmax(1), 0.0
    if not torch.allclose(found, theirs, atol=1e-5):
        assert top_p is not None
        kept, other = (found > 0).sum(1), (theirs > 0).sum(1)
        border = float((kept - other).abs().max())
        assert border <= 1
        assert torch.allclose(found.sort(1).values, theirs.sort(1).values, atol=1e-5) or border == 1


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 4), max_size=30), min_size=1, max_size=3),
    n=st.integers(1, 4),
    new=st.lists(st.integers(0, 4), max_size=6),
)
def test_forbidden_ngrams_are_those_of_transformers(rows, n, new):
    length = min(map(len, rows))
    rows = [row[:length] for row in rows]
    logits = torch.randn(len(rows), 6, generator=torch.Generator().manual_seed(0))  # token 5 never occurred
    history = Sampling(no_repeat_ngram=n).history(rows, 6, logits.device)
    for token in new:
        history.extend(torch.full((len(rows),), token))
    whole = torch.tensor([[*row, *new] for row in rows], dtype=torch.int64)
    if whole.shape[1] + 1 < n:
        assert history.constrain(logits).equal(logits)
        return
    expected = NoRepeatNGramLogitsProcessor(n)(whole, logits.clone())
    assert history.constrain(logits).equal(expected)


def test_where_every_token_is_forbidden_none_is():
    logits = torch.tensor([[1.0, 2.0]])
    history = Sampling(no_repeat_ngram=1).history([[0, 1]], 2, logits.device)
    assert history.constrain(logits).equal(logits)


def test_rows_of_a_history_can_be_doubled_and_then_part():
    sampling = Sampling(repetition_penalty=2.0, no_repeat_ngram=2)
    history = sampling.history([[0], [1]], 4, torch.device("cpu"))
    history.select(torch.tensor([1, 1, 0]))
    history.extend(torch.tensor([2, 3, 0]))
    history.extend(torch.tensor([1, 1, 1]))
    expected = sampling.history([[1, 2, 1], [1, 3, 1], [0, 0, 1]], 4, torch.device("cpu"))
    logits = torch.tensor([[1.0, -1.0, 2.0, -2.0]]).expand(3, -1)
    assert history.constrain(logits).equal(expected.constrain(logits))


@pytest.mark.parametrize("tokens", [5, 1024, 2048, 2049, 5000])
def test_the_most_likely_token_is_the_first_of_the_largest(tokens):
    logits = torch.randint(0, 40, (7, tokens), generator=torch.Generator().manual_seed(tokens)).float()
    expected = [row.index(max(row)) for row in logits.tolist()]
    assert most_likely(logits).tolist() == expected
    transposed = logits.t().contiguous().t()
    assert most_likely(transposed).tolist() == expected
    distinct = torch.rand(7, tokens, generator=torch.Generator().manual_seed(tokens)).t().contiguous().t()
    assert most_likely(distinct).tolist() == [row.index(max(row)) for row in distinct.tolist()]


def test_unknown_options_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"topk.*no such option.*top_k"):
        Sampling.of({"topk": 3})


def test_beams_and_what_only_a_draw_knows_exclude_each_other():
    with pytest.raises(ConfigError, match=r"top_p.*beams"):
        Sampling(beams=2, top_p=0.9)
