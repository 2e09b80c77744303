"""Every rule: a document that trips it, one that nearly does, and prose that is far from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean import Quality, Repetition, Spam
from corpuskit.clean.repetition import duplicate_line_share, duplicate_ngram_share, top_ngram_share
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

QUALITY, REPETITION, SPAM = Quality(), Repetition(), Spam()
SENTENCE = "山路弯弯曲曲通向云雾深处，远处传来几声鸟鸣和溪水流过石头的声音。"  # 32 characters, 2 marks
HAN = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈"


def han(count: int, start: int = 0x4E00) -> str:
    """`count` different characters with a stop after each twenty."""
    text = "".join(map(chr, range(start, start + count)))
    return "。".join(text[i : i + 20] for i in range(0, count, 20)) + "。"


def reason(step, text):
    kept, dropped = step(document_batch(["d"], [text]))
    assert kept.num_rows + (dropped.num_rows if dropped else 0) == 1
    return dropped.column("reason")[0].as_py() if dropped else None


CASES = [
    # rule, step, trips it, nearly trips it
    ("min_characters", QUALITY, han(46), han(47)),
    ("max_characters", Quality(min_characters=5, max_characters=100), han(96), han(95)),
    ("han_share", QUALITY, han(24) + "ab" * 30 + "。", han(28) + "ab" * 30 + "。"),
    ("digit_share", QUALITY, han(60) + "1" * 28, han(60) + "1" * 26),
    ("punctuation_share", QUALITY, han(60) + "、" * 32, han(60) + "、" * 28),
    ("symbol_share", QUALITY, han(80) + "+" * 10, han(80) + "+" * 9),
    (
        "stops",
        QUALITY,
        "".join(map(chr, range(0x4E00, 0x4FF5))) + "。",
        "".join(map(chr, range(0x4E00, 0x4FF3))) + "。",
    ),
    (
        "terminated_line_share",
        QUALITY,
        "\n".join([han(20)] + [han(60, 0x5000 + 60 * i)[:-1] for i in range(20)]),
        "\n".join([han(20)] + [han(60, 0x5000 + 60 * i)[:-1] for i in range(19)]),
    ),
    (
        "short_line_share",
        QUALITY,
        "\n".join([han(40)] * 2 + ["第一章。"] * 5),
        "\n".join([han(40)] * 3 + ["第一章。"] * 7),
    ),
    ("unique_share", QUALITY, (HAN[:9] + "。") * 30, (HAN[:29] + "。") * 10),
    (
        "duplicate_line_share",
        REPETITION,
        "\n".join([HAN, SENTENCE, HAN, SENTENCE]),
        "\n".join([HAN + SENTENCE, SENTENCE, SENTENCE]),
    ),
    (
        "top_ngram_share",
        REPETITION,
        "".join(f"联系我们吧{chr(0x4E00 + 19 * i)}" + han(15, 0x5000 + 20 * i)[:15] for i in range(20)),
        "".join(f"联系我们吧{chr(0x4E00 + 19 * i)}" + han(19, 0x5000 + 20 * i)[:20] for i in range(20)),
    ),
    (
        "duplicate_ngram_share",
        REPETITION,
        (han(300) + "\n") + han(300)[:290],
        (han(300) + "\n") + han(300)[:180],
    ),
    (
        "spam_terms",
        SPAM,
        han(200) + "加微信" + han(60, 0x6000) + "包邮" + "代开发票",
        han(300) + "加微信" + "包邮",
    ),
    ("links", SPAM, han(150) + "http://a.b " * 2, han(150) + "http://a.b "),
    (
        "keyword_soup",
        SPAM,
        "租房|二手房|新房|装修|家具|家电\n" * 4 + han(50),
        "租房|二手房|新房|装修|家具|家电\n" * 2 + han(50),
    ),
    ("bracket_share", SPAM, "【新】【热】【荐】" + han(40), "【新】【热】" + han(40)),
    (
        "stub_lines",
        SPAM,
        f"{SENTENCE}展开全文\n" * 2 + f"{SENTENCE}\n" * 3,
        f"{SENTENCE}展开全文\n" + f"{SENTENCE}\n" * 4,
    ),
]


@pytest.mark.parametrize("rule,step,trips,nearly", CASES, ids=[case[0] for case in CASES])
def test_the_rule_drops_what_trips_it_and_keeps_what_nearly_does(rule, step, trips, nearly, prose):
    assert reason(step, trips) == f"clean/{rule}"
    assert reason(step, nearly) is None
    if not rule.startswith("max_"):
        assert reason(step, prose) is None


def test_every_rule_has_a_case():
    batch = document_batch(["d"], ["x"])
    rules = {check.rule for step in (QUALITY, REPETITION, SPAM) for check in step.judge(batch).checks}
    assert rules == {case[0] for case in CASES}


def test_a_dropped_row_carries_value_and_threshold():
    _, dropped = Quality(min_characters=10)(document_batch(["d"], ["七个字的短文。 "]))
    assert dropped.select(["reason", "value", "threshold"]).to_pylist() == [
        {"reason": "clean/min_characters", "value": 7.0, "threshold": 10.0}
    ]


def test_an_article_scraped_into_one_line_is_judged_by_its_stops_not_its_lines(prose):
    assert reason(QUALITY, prose.replace("\n", "") + "责编") is None
    assert reason(SPAM, prose.replace("\n", "") + "返回首页，查看更多") is None


def test_quoted_speech_terminates_a_line():
    speech = "\n".join(f"他第{i}次说道：“今天的天气真是不错，我们一起出去走一走吧。”" for i in range(8))
    assert reason(Quality(min_terminated_line_share=1.0, min_unique_share=0), speech) is None


@given(st.text("甲乙丙\n", max_size=60), st.integers(2, 5))
def test_ngram_measures_equal_a_plain_count(text, size):
    visible = "".join(text.split())
    codes = np.array([ord(c) for c in visible], np.uint64)
    grams = [visible[i : i + size] for i in range(len(visible) - size + 1)]
    most = max(map(grams.count, grams), default=0)
    expected_top = min(1.0, most * size / len(visible)) if most > 1 else 0.0
    assert top_ngram_share(codes, size) == pytest.approx(expected_top)
    expected_duplicates = 1 - len(set(grams)) / len(grams) if grams else 0.0
    assert duplicate_ngram_share(codes, size) == pytest.approx(expected_duplicates)


def test_duplicate_lines_are_weighed_by_characters():
    assert duplicate_line_share("甲甲甲\n 甲甲甲\n\n\n乙") == 3 / 7
    assert duplicate_line_share("\n\n") == 0.0


@pytest.mark.parametrize("step", [QUALITY, REPETITION, SPAM])
def test_an_empty_batch_passes_through(step):
    kept, dropped = step(document_batch([], []))
    assert kept.num_rows == 0 and dropped is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quality(min_han_share=1.2),
        lambda: Quality(min_characters=-1),
        lambda: Quality(max_characters=10),
        lambda: Repetition(top_ngram_size=1),
        lambda: Spam(max_links_per_1000=-1),
        lambda: Spam(spam_terms=("",)),
    ],
)
def test_impossible_values_are_refused(make):
    with pytest.raises(ConfigError):
        make()
