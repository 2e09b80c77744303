"""The presets, and the page that documents them."""

import math
import re
from pathlib import Path

import pytest

from corpuskit.clean import PRESETS, Quality, Repetition, Spam

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "cleaning-thresholds.md"
STEPS = ("quality", "repetition", "spam")
NAMES = ("zh-web", "zh-web-strict", "zh-books")


def thresholds(preset: str) -> dict[str, float]:
    return {
        row.rule.removeprefix("clean/"): row.threshold
        for row in PRESETS[preset].explain("").rules
        if row.step in STEPS
    }


def test_the_page_lists_every_rule_with_the_threshold_of_every_preset():
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| [≤≥] \| (.+?) \| (.+?) \| (.+?) \|", PAGE.read_text("utf-8"), re.M
    )
    documented = {rule: cells for rule, *cells in rows}
    assert list(documented) == list(thresholds("zh-web"))
    for column, name in enumerate(NAMES):
        actual = thresholds(name)
        for rule, cells in documented.items():
            shown = cells[column].replace(",", "")
            assert shown == "off" if rule not in actual else math.isclose(float(shown), actual[rule]), (
                name,
                rule,
            )


def test_the_defaults_of_the_steps_are_those_of_zh_web():
    preset = PRESETS["zh-web"]
    assert (preset.quality, preset.repetition, preset.spam) == (Quality(), Repetition(), Spam())


def test_strict_is_nowhere_laxer_than_zh_web():
    rows = {name: PRESETS[name].explain("").rules for name in ("zh-web", "zh-web-strict")}
    for plain, strict in zip(rows["zh-web"], rows["zh-web-strict"], strict=True):
        assert (plain.rule, plain.relation) == (strict.rule, strict.relation)
        if plain.relation == "at least":
            assert strict.threshold >= plain.threshold
        else:
            assert strict.threshold <= plain.threshold


@pytest.mark.parametrize("rule", thresholds("zh-web"))
def test_every_rule_says_on_which_side_of_its_threshold_a_value_passes(rule):
    (row,) = (row for row in PRESETS["zh-web"].explain("").rules if row.rule == f"clean/{rule}")
    assert row.relation in ("at least", "at most")
