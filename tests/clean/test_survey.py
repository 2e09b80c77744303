"""Measurements of cleaning: they count what happened, add up, and depend on nothing else."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean import Cleaner, Language, Normalize, Quality
from corpuskit.clean.examples import SurveyOptions
from corpuskit.clean.histogram import BINS_PER_OCTAVE, bin_edges, bins_of
from corpuskit.clean.steps import at_least, at_most
from corpuskit.clean.survey import RuleSurvey, Survey, merge_surveys
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

CLEANER = Cleaner(normalize=Normalize(), language=Language(), quality=Quality())
FINITE = st.one_of(st.just(0.0), st.floats(1e-9, 1e9), st.floats(-1e9, -1e-9))


def documents(prose):
    """Prose, texts too short, English, and one with a phone number; 40 in all."""
    lines = prose.split("\n")
    texts = []
    for number in range(40):
        kind = number % 4
        if kind == 0:
            texts.append(f"第{number}号\u3000" + prose)
        elif kind == 1:
            texts.append(lines[number % len(lines)][: 4 + number])
        elif kind == 2:
            texts.append(f"Number {number}. The market opens in the morning, and the people come to it. " * 4)
        else:
            texts.append(f"请致电手机13800138000联系我们{number}。" + prose)
    return document_batch([f"{i:032x}" for i in range(40)], texts, {"title": [f"标题{i}" for i in range(40)]})


@given(st.lists(FINITE, max_size=60))
def test_every_value_lies_in_its_bin(values):
    for value, index in zip(values, bins_of(np.array(values, np.float64)).tolist()):
        low, high = bin_edges(index)
        if value < 0:
            assert low < value <= high
        elif value == 0:
            assert (low, high) == (0, 0)
        else:
            assert low <= value < high
        assert abs(high - low) <= abs(low) / BINS_PER_OCTAVE * 2


def test_small_integers_have_bins_of_their_own_and_extremes_have_bins():
    assert len(set(bins_of(np.arange(65.0)).tolist())) == 65
    assert len(set(bins_of(np.array([1e-300, 1e-200])).tolist())) == 1
    assert len(set(bins_of(np.array([1e200, 1e300])).tolist())) == 1
    assert sorted(bins_of(np.array([3.0, -2.0, 0.0, 0.5, -7.0])).tolist()) == [
        int(b) for b in bins_of(np.array([-7.0, -2.0, 0.0, 0.5, 3.0]))
    ]


@given(st.lists(FINITE, max_size=40), FINITE, st.booleans())
def test_a_rule_counts_what_passes_and_what_fails(values, threshold, minimum):
    array = np.array(values, np.float64)
    check = (at_least if minimum else at_most)("rule", array, threshold)
    rule = RuleSurvey(threshold, check.relation)
    rule.count(check)
    assert rule.num_failed == int(check.failed.sum())
    assert sum(rule.passed.values()) == len(values) - rule.num_failed
    assert rule.limit_decides
    if values:
        assert (rule.lowest, rule.highest) == (min(values), max(values))


def test_values_that_are_no_numbers_are_counted_apart():
    rule = RuleSurvey(1.0, "at most")
    rule.count(at_most("rule", np.array([0.5, math.nan, math.inf]), 1.0))
    assert (rule.unmeasured, sum(rule.passed.values()), rule.num_failed) == (2, 1, 0)
    assert json.dumps(rule.to_dict(), allow_nan=False)


def test_watching_does_not_change_what_the_cleaner_does(prose):
    batch = documents(prose)
    plain, watched = CLEANER(batch), Survey().run(CLEANER, batch)
    assert watched.kept.equals(plain.kept)
    assert watched.dropped.equals(plain.dropped)


def test_counts_agree_with_the_result(prose):
    batch = documents(prose)
    survey = Survey()
    kept, dropped = survey.run(CLEANER, batch)
    reasons = dropped.column("reason").to_pylist()
    assert (survey.documents, survey.kept) == (40, kept.num_rows)
    assert survey.characters == sum(len(text) for text in batch.column("text").to_pylist())
    assert survey.kept_characters == sum(len(text) for text in kept.column("text").to_pylist())
    counted = {
        f"clean/{name}": rule.dropped
        for step in survey.steps.values()
        for name, rule in step.rules.items()
        if rule.dropped
    }
    assert counted == {reason: reasons.count(reason) for reason in reasons}
    reached = survey.documents
    for step in survey.steps.values():
        assert step.documents == reached
        assert all(sum((r.passed + r.failed).values()) + r.unmeasured == reached for r in step.rules.values())
        lost = sum(rule.dropped_characters for rule in step.rules.values())
        assert step.characters + step.characters_changed - lost == step.kept_characters
        reached = step.kept
    normalize = survey.steps["normalize"]
    assert normalize.changed >= 10 and normalize.characters_changed < 0  # the ideographic spaces


@pytest.mark.parametrize("size", [1, 7, 40])
def test_surveys_add_up_whatever_the_batches(prose, size):
    batch = documents(prose)
    whole = Survey()
    whole.run(CLEANER, batch)
    parts = []
    for start in range(0, 40, size):
        part = Survey()
        part.run(CLEANER, batch.slice(start, size))
        parts.append(Survey.from_dict(json.loads(json.dumps(part.take(), allow_nan=False))))
        assert part.documents == 0 and not part.steps
    assert merge_surveys(parts).to_dict() == whole.to_dict()
    mixed = merge_surveys([*parts[1::2], *parts[::2]]).to_dict()
    assert mixed == whole.to_dict()


def test_examples_are_those_nearest_to_the_threshold_and_those_with_the_smallest_hash(prose):
    survey = Survey(SurveyOptions(examples=2))
    survey.run(CLEANER, documents(prose))
    survey.settle()
    rule = survey.steps["quality"].rules["min_characters"]
    found = {kind: [example.value for example in examples] for kind, examples in rule.examples.items()}
    short = CLEANER.quality.min_characters
    assert len(found["dropped"]) == 2 and all(value < short for value in found["dropped"])
    assert found["just_dropped"] == sorted(found["just_dropped"], reverse=True)
    lengths = [len("".join(t.split())) for t in survey_texts(prose)]
    assert found["just_dropped"][0] == max(n for n in lengths if n < short)
    assert all(value >= short for value in found["just_kept"])
    assert rule.examples["dropped"][0].title.startswith("标题")
    reversed_survey = Survey(SurveyOptions(examples=2))
    batch = documents(prose)
    reversed_survey.run(CLEANER, batch.take(list(range(39, -1, -1))))
    assert reversed_survey.to_dict() == survey.to_dict()


def survey_texts(prose):
    return [t for i, t in enumerate(documents(prose).column("text").to_pylist()) if i % 4 != 2]


def test_excerpts_are_masked_before_they_are_cut(prose):
    number = "13800138000"
    for size in range(8, 30):
        text = f"联系电话{number}，" + prose
        survey = Survey(SurveyOptions(excerpt_characters=size))
        survey.run(CLEANER, document_batch(["a"], [text], {"title": [f"找我{number}"], "url": [None]}))
        survey.settle()
        (example,) = survey.examples["kept"]
        shown = example.title + example.head + example.tail
        assert number[:4] not in shown
        assert len(example.head) + len(example.tail) == size
        assert example.characters == len(text)


def test_text_that_must_not_be_stored_is_not_shown(prose):
    survey = Survey(SurveyOptions(show_dropped=False))
    survey.run(CLEANER, documents(prose))
    survey.settle()
    dropped = survey.steps["quality"].rules["min_characters"].examples
    assert all(not e.head and not e.tail for kind in ("dropped", "just_dropped") for e in dropped[kind])
    assert all(example.head for example in survey.examples["kept"])


def test_a_cleaner_without_steps_keeps_everything(prose):
    survey = Survey()
    result = survey.run(Cleaner(), documents(prose))
    assert result.dropped is None and survey.kept == 40 and not survey.steps


def test_an_empty_batch_is_measured_too():
    survey = Survey()
    survey.run(CLEANER, document_batch([], []))
    assert survey.documents == 0
    assert survey.steps["quality"].rules["min_characters"].lowest is None


@pytest.mark.parametrize("field", ["examples", "excerpt_characters"])
def test_impossible_options_are_refused(field):
    with pytest.raises(ConfigError) as caught:
        SurveyOptions(**{field: -1})
    assert caught.value.where == field
