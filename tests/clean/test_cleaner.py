"""The cleaner: presets, overrides, and every row accounted for as it came in."""

import io
import json
import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from corpuskit.clean import Cleaner, Normalize, Quality
from corpuskit.clean.steps import field_names
from corpuskit.documents import document_batch, restore_dropped
from corpuskit.errors import ConfigError

TRADITIONAL = (
    "清晨的集市總是從一聲吆喝開始的。賣豆腐的老人推著木車，從巷口慢慢走過來，車上的銅鈴響著，鄰居們圍了上去。"
)
ENGLISH = (
    "The market always begins with a call, and the old man who sells tofu pushes his cart down the lane."
)


def test_presets_are_named_and_unknown_ones_refused(prose):
    for name in ("zh-web", "zh-web-strict", "zh-books"):
        kept, dropped = Cleaner.preset(name)(document_batch(["a"], [prose]))
        assert kept.num_rows == 1 and dropped is None
        assert kept.column("text")[0].as_py() == prose
        assert kept.column("language")[0].as_py() == "zh-Hans"
    with pytest.raises(ConfigError, match="zh-web, zh-web-strict, zh-books, none"):
        Cleaner.preset("en-web")


def test_none_changes_nothing():
    batch = document_batch(["a", "b"], ["", "\x00Ａ"])
    kept, dropped = Cleaner.preset("none")(batch)
    assert kept.equals(batch) and dropped is None


def test_traditional_becomes_simplified_unless_told_not_to():
    batch = document_batch(["a"], [TRADITIONAL])
    assert Cleaner.preset("zh-web")(batch).kept.column("text")[0].as_py().startswith("清晨的集市总是从一声")
    kept = Cleaner.preset("zh-web", to_simplified=False)(batch).kept
    assert kept.column("text")[0].as_py() == TRADITIONAL
    assert kept.column("language")[0].as_py() == "zh-Hant"


def test_dropped_rows_come_back_in_order_as_they_came_in(prose):
    texts = [ENGLISH, prose, "\u200b", "Ａ短Ｂ" * 2 + "字", prose + "\u200b", prose[:30]]
    batch = document_batch(list("abcdef"), texts, {"url": list("123456"), "n": pa.array(range(6))})
    kept, dropped = Cleaner.preset("zh-web")(batch)
    assert kept.column("id").to_pylist() == ["b", "e"]
    assert kept.column("text").to_pylist() == [prose, prose]
    assert kept.column("n").to_pylist() == [1, 4]
    assert dropped.column("reason").to_pylist() == [
        "clean/language",
        "clean/empty",
        "clean/min_characters",
        "clean/min_characters",
    ]
    assert restore_dropped(dropped).to_pylist() == batch.take(pa.array([0, 2, 3, 5])).to_pylist()


ODD = st.text("中国，。\n Ａa1！【】https://加微信\u200b\ue000のThe 們", max_size=120)


@given(st.lists(ODD, max_size=8))
@settings(max_examples=40)
def test_every_row_is_kept_or_dropped_once_whatever_the_batches(texts):
    ids = ["same"] * len(texts)  # accounting must not lean on ids
    cleaner = Cleaner.preset("zh-web", min_characters=5)
    whole = cleaner(document_batch(ids, texts))
    singles = [cleaner(document_batch(["same"], [text])) for text in texts]
    assert whole.kept.num_rows + (whole.dropped.num_rows if whole.dropped else 0) == len(texts)
    assert whole.kept.column("text").to_pylist() == [
        t for r in singles for t in r.kept.column("text").to_pylist()
    ]
    expected = [row for r in singles if r.dropped for row in r.dropped.to_pylist()]
    assert (whole.dropped.to_pylist() if whole.dropped else []) == expected


def test_overrides_reach_the_step_that_has_the_field():
    cleaner = Cleaner.preset(
        "zh-web", min_characters=100, languages=["zh-Hans"], spam=None, normalize={"fold_width": False}
    )
    assert cleaner.quality == Quality(min_characters=100)
    assert cleaner.language.languages == ("zh-Hans",)
    assert cleaner.spam is None
    assert cleaner.normalize == Normalize(fold_width=False)
    assert Cleaner.preset("none", quality=True, min_characters=7) == Cleaner(
        quality=Quality(min_characters=7)
    )


def test_no_two_steps_share_a_field_name():
    names = [name for step in Cleaner.preset("zh-web").steps for name in field_names(step)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "overrides,where",
    [
        ({"min_chars": 5}, "min_characters"),
        ({"quality": {"min_chars": 5}}, "min_characters"),
        ({"quality": 5}, "quality"),
        ({"spam": False, "max_bracket_share": 0.2}, "spam, which is off"),
    ],
)
def test_unknown_overrides_are_refused_with_the_allowed_names(overrides, where):
    with pytest.raises(ConfigError, match=where):
        Cleaner.preset("zh-web", **overrides)


def test_explain_lists_every_rule_with_its_value():
    cleaner = Cleaner.preset("zh-web")
    rules, before, after, kept = cleaner.explain("短文Ａ。")
    assert (before, after, kept) == ("短文Ａ。", "短文A。", False)
    assert ("quality", "clean/min_characters", 4.0, 50.0, "at least", "drop") in rules
    assert ("quality", "clean/digit_share", 0.0, 0.3, "at most", "keep") in rules
    assert len({row.rule for row in rules}) == len(rules)
    assert {row.step for row in rules} >= {"normalize", "language", "quality", "repetition", "spam"}
    assert Cleaner.preset("none").explain("x") == ([], "x", "x", True)


def test_explain_and_call_agree(prose):
    cleaner = Cleaner.preset("zh-web")
    for text in (prose, prose[:40], ENGLISH, prose * 3, ""):
        explanation = cleaner.explain(text)
        kept, dropped = cleaner(document_batch(["a"], [text]))
        assert explanation.kept == (kept.num_rows == 1)
        if dropped is not None:
            first = next(row for row in explanation.rules if row.verdict == "drop")
            assert dropped.column("reason").to_pylist() == [first.rule]
            assert dropped.column("value").to_pylist() == [first.value]


def test_runs_tell_what_reached_each_step(prose):
    batch = document_batch(list("abcd"), [ENGLISH, prose, "短文。", prose * 2])
    rows = {run.step: run.rows.tolist() for run in Cleaner.preset("zh-web").runs(batch)}
    assert rows["normalize"] == [0, 1, 2, 3]
    assert rows["spam"] == rows["quality"] == [1, 2, 3]
    assert rows["repetition"] == [1, 3]
    everything = {run.step: run.rows.tolist() for run in Cleaner.preset("zh-web").runs(batch, drop=False)}
    assert everything["repetition"] == [0, 1, 2, 3]


def test_shared_statistics_give_what_each_step_gives_alone(prose):
    cleaner = Cleaner.preset("zh-web", min_spam_terms=1, spam_terms=["豆腐"])
    batch = document_batch(list("abc"), [prose, prose * 2, prose[:80]])
    for run in cleaner.runs(batch, drop=False):
        alone = getattr(cleaner, run.step).judge(run.batch).checks
        assert [c.rule for c in alone] == [c.rule for c in run.verdict.checks]
        for together, single in zip(run.verdict.checks, alone):
            assert together.values.tolist() == single.values.tolist()


def test_a_cleaner_pickles_and_validates_strictly():
    cleaner = Cleaner.preset("zh-web", min_characters=9)
    assert pickle.loads(pickle.dumps(cleaner)) == cleaner
    adapter = TypeAdapter(Cleaner)
    assert adapter.validate_python(json.loads(adapter.dump_json(cleaner))) == cleaner
    with pytest.raises(ValidationError, match="min_chars"):
        adapter.validate_python({"quality": {"min_chars": 5}})
    with pytest.raises(ValidationError, match="min_han_share"):
        adapter.validate_python({"quality": {"min_han_share": 5}})


def test_real_prose_is_kept(shared_data):
    zstandard = pytest.importorskip("zstandard")
    for name, every, least in (("laws", 40, 0.97), ("broadcast", 40, 0.94), ("news", 30, 0.80)):
        with open(shared_data / "text" / f"{name}.jsonl.zst", "rb") as file:
            stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
            texts = [json.loads(line)["text"] for number, line in enumerate(stream) if number % every == 0]
        kept, _ = Cleaner.preset("zh-web")(document_batch([str(i) for i in range(len(texts))], texts))
        assert kept.num_rows >= least * len(texts), name
