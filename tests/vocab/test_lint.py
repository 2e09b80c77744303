"""Suspicious tokens: found where they are, and ordinary words left alone."""

from __future__ import annotations

import pytest

from corpuskit.vocab.lint import is_repeat, is_spam, lint


def kinds(tokens, counts=None):
    return {finding.kind: finding for finding in lint(tokens, counts)}


@pytest.mark.parametrize(
    "token",
    [
        "天天中彩票",
        " 天天中彩票app",
        "大发快三计划",
        "日本毛片免费视频",
        "無碼在線觀看",
        "加微信",
        "ＰＫ10计划",
        "时时彩平台",
    ],
)
def test_spam_is_found(token):
    assert kinds([token])["spam"].ids == (0,)


@pytest.mark.parametrize(
    "token",
    [
        "彩票",
        "买彩票",
        "成人教育",
        "理性爱国",
        "其中彩色",
        "裸露",
        "招商银行",
        "微信公众号",
        "增值税发票",
        "发票",
        "优惠券",
        "视频",
        "自拍杆",
        " the",
    ],
)
def test_words_of_the_language_are_not_spam(token):
    assert kinds([token])["spam"].ids == ()


def test_spam_is_judged_folded():
    assert is_spam("天天中彩票") and not is_spam("彩票")


def test_web_addresses():
    tokens = ["http", "://", ".com", "www", "www.example", "https://t", "baidu.com", "file.cnt", "e.g."]
    assert kinds(tokens)["urls"].ids == (4, 5, 6)


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("========", True),
        (" ------------", True),
        ("哈哈哈哈哈哈哈哈", True),
        ("ÃÂÃÂÃÂÃÂ", True),
        ("哈哈哈", False),
        ("=======", False),
        ("abababa", False),
        ("        ", False),
    ],
)
def test_repeats(token, found):
    assert is_repeat(token) is found


def test_white_space_runs():
    assert kinds(["\n\n\n\n", "a    b", "   ", "\u3000" * 4])["white_space"].ids == (0, 1, 3)


def test_near_duplicates_name_the_later_twin():
    found = kinds(["ABC", "ＡＢＣ", "国", "國", " 国", "说", "説", "abc"])
    assert found["width"].ids == (1,) and found["width"].examples == ("ABC=ＡＢＣ",)
    assert found["script"].ids == (3, 6)
    assert found["script"].examples == ("国=國", "说=説")


def test_a_twin_in_width_is_none_in_script():
    found = kinds(["，", ","])
    assert found["width"].ids == (1,) and found["script"].ids == ()


def test_tokens_that_do_not_occur():
    tokens = ["我们", "图书馆", None, "the", "龘"]
    assert kinds(tokens, [1, 0, 0, 0, 0])["unused"].ids == (1, 4)  # Chinese ones only
    assert "unused" not in kinds(tokens)


def test_shares_are_of_the_tokens_that_are_text():
    found = kinds(["彩票", "天天中彩票", None, "", "书"])
    assert found["spam"].share == pytest.approx(1 / 3)
    assert found["longest"].examples == ("天天中彩票", "彩票", "书")


def test_an_empty_vocabulary_has_no_findings():
    assert all(finding.ids == () and finding.share == 0 for finding in lint([], []))
