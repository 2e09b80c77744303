"""Histograms as drawn: every document is in a bar, on the right side of the threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.steps import at_least, at_most
from corpuskit.clean.survey import RuleSurvey
from corpuskit.pipeline.charts import draw, exact_number, percentage, short_number

VALUES = st.one_of(
    st.just(0.0),
    st.floats(1e-6, 1),
    st.integers(0, 3_000_000).map(float),
    st.floats(-1e4, -1e-6),
)


def measured(values, threshold, minimum):
    check = (at_least if minimum else at_most)("rule", np.array(values, np.float64), threshold)
    rule = RuleSurvey(threshold, check.relation)
    rule.count(check)
    return rule


@given(
    st.lists(VALUES, min_size=1, max_size=200),
    st.one_of(VALUES, st.sampled_from([0.3, 50.0, 2e6])),
    st.booleans(),
)
def test_no_bar_holds_both_sides_and_no_document_is_lost(values, threshold, minimum):
    rule = measured(values, threshold, minimum)
    chart = draw(rule)
    assert sum(bar.documents for bar in chart.bars) == pytest.approx(len(values))
    assert 0 <= chart.threshold <= 1
    for bar in chart.bars:
        assert bar.left >= 0 and bar.left + bar.width <= 1 + 1e-9
        assert 0 <= bar.passed + bar.failed <= 1 + 1e-9
        assert not (bar.passed and bar.failed)
        if bar.low == bar.high:
            continue
        middle = bar.left + bar.width / 2
        on_the_right = middle > chart.threshold
        assert on_the_right == (minimum != bool(bar.failed))
    assert all(0 <= tick.position <= 1 for tick in chart.values)


def test_nothing_measured_is_no_chart():
    assert draw(RuleSurvey(1.0, "at most")) is None


def test_a_rule_without_a_limit_has_a_chart_without_one():
    rule = RuleSurvey(None, "at most")
    rule.count(at_most("rule", np.array([0.0, 3.0, 5.0]), np.inf))
    assert draw(rule).threshold is None


def test_lengths_are_drawn_on_a_logarithmic_axis_and_shares_on_a_linear_one():
    random = np.random.default_rng(3)
    lengths = measured(random.lognormal(6, 1.5, 5000), 50.0, True)
    shares = measured(random.beta(20, 4, 5000), 0.3, True)
    assert draw(lengths).logarithmic and not draw(shares).logarithmic
    assert draw(lengths).values[0].label in ("0", "10") or draw(lengths).values


def test_one_value_beyond_everything_does_not_flatten_the_rest():
    values = [float(n % 9) for n in range(2000)] + [1e6]
    chart = draw(measured(values, 6.0, False))
    assert chart.beyond[1] == 1 or chart.logarithmic
    assert sum(bar.width > 0 for bar in chart.bars) >= 8


@pytest.mark.parametrize(
    ("value", "short", "exact"),
    [(0, "0", "0"), (0.125, "0.125", "0.125"), (1234, "1.23k", "1,234"), (2e6, "2M", "2,000,000"),
     (0.123456, "0.123", "0.1235"), (12345.6, "12.3k", "12,346")],
)  # fmt: skip
def test_numbers(value, short, exact):
    assert (short_number(value), exact_number(value)) == (short, exact)


def test_percentages_never_hide_something_or_invent_everything():
    assert percentage(0, 7) == "0 %"
    assert percentage(7, 7) == "100 %"
    assert percentage(1, 1_000_000) == "< 0.01 %"
    assert percentage(999_999, 1_000_000) == "> 99.99 %"
    assert percentage(1, 3) == "33.3 %"
    assert percentage(5, 0) == "–"
