"""Changes between two texts: they rebuild both, and read well."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.pipeline.textdiff import Run, changes, shortened

TEXT = st.text(alphabet="的一国國。，\n \u3000a😀", max_size=120)


def rebuilt(runs):
    before = "".join(run.text for run in runs if run.kind in ("same", "removed"))
    after = "".join(run.text for run in runs if run.kind in ("same", "added"))
    return before, after


@given(TEXT, TEXT)
def test_changes_rebuild_both_texts(before, after):
    runs = changes(before, after)
    assert rebuilt(runs) == (before, after)
    assert all(run.text for run in runs)


def test_conversion_to_simplified_is_shown_by_character():
    runs = changes("我們昨天在圖書館看書。", "我们昨天在图书馆看书。")
    assert Run("removed", "們") in runs and Run("added", "们") in runs
    assert Run("same", "昨天在") in runs


def test_removed_spaces_are_the_only_change():
    runs = changes("今天 天气很好，我们去公园。", "今天天气很好，我们去公园。")
    assert [run for run in runs if run.kind != "same"] == [Run("removed", " ")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("【粪】" * 6000, "【粪】" * 5990 + "x"),
        ("的" * 100_000, "的" * 99_999),
        ("\n" * 30_000 + "x", "\nx" * 15_000),
        ("国家，" * 20_000, "國家，" * 20_000),
    ],
)
def test_repetitive_texts_do_not_take_quadratic_time(before, after):
    started = time.process_time()
    assert rebuilt(changes(before, after)) == (before, after)
    assert time.process_time() - started < 30  # seconds; quadratic would take many minutes


def test_shortened_keeps_changes_with_their_surroundings():
    before = "甲" * 500 + "旧" + "乙" * 500
    short = shortened(changes(before, before.replace("旧", "新")), context=40)
    assert [run.kind for run in short] == ["omitted", "same", "removed", "added", "same", "omitted"]
    assert short[0].text == "460" and short[1].text == "甲" * 40


def test_shortened_text_without_changes_shows_both_ends():
    short = shortened(changes("字" * 1000, "字" * 1000), context=100)
    assert [(run.kind, run.text) for run in short] == [
        ("same", "字" * 100),
        ("omitted", "800"),
        ("same", "字" * 100),
    ]


def test_shortened_stops_after_so_many_changes():
    before = "".join(f"第{n}段的文字在这里写着没有变化。旧" for n in range(50))
    short = shortened(changes(before, before.replace("旧", "新")), most=5)
    assert short[-1].kind == "omitted"
    assert sum(run.kind in ("removed", "added") for run in short) == 5
