"""One spelling for the same text, and Chinese punctuation as its writers set it."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean import Normalize, normalize_text
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError


@pytest.mark.parametrize(
    "before,after",
    [
        ("ＡＢｃ１２３", "ABc123"),
        ("，。！？：；（）「」『』《》", "，。！？：；（）「」『』《》"),
        ("第　一", "第一"),
        ("你 好 ， 世 界", "你好，世界"),
        ("你好 world 再见", "你好 world 再见"),
        ("a\u200bb\ufeff\u00ad\u2060中\x00\x07文", "ab中文"),
        ("坏\ufffd字\ue000去", "坏字去"),
        ("👨\u200d👩\u200d👧 中\u200d文", "👨\u200d👩\u200d👧 中文"),
        ("太好了！！！！！！", "太好了！！！"),
        ("等等……", "等等……"),
        ("--------", "---"),
        ("哈哈哈哈哈哈", "哈哈哈哈哈哈"),
        ("1000000", "1000000"),
        ("  甲  \r\n\t乙\t\r丙", "甲\n乙\n丙"),
        ("甲\n\n\n\n乙\n", "甲\n\n乙"),
        ("e\u0301", "é"),
        ("\uf900", "\u8c48"),
        ("甲\u2028乙\x0b丙", "甲\n乙\n丙"),
    ],
)
def test_rules(before, after):
    assert normalize_text(before) == after


@given(st.text(max_size=80) | st.text("甲a １，！\u3000\n\r\t\u200b\u200d\u0301\ue000-😀", max_size=40))
def test_normalising_twice_changes_nothing_more(text):
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert unicodedata.is_normalized("NFC", once)


def test_options_turn_rules_off():
    config = Normalize(
        fold_width=False, remove_han_spaces=False, max_repeated_punctuation=6, max_blank_lines=0
    )
    assert normalize_text("Ａ 你 好！！！！！！！！\n\n乙", config) == "Ａ 你 好！！！！！！\n乙"


def test_mojibake_is_undone_only_when_asked_and_where_sure():
    broken = "今天".encode().decode("latin-1") * 4 + "\n正常的一行"
    assert normalize_text(broken, Normalize(fix_mojibake=True)) == "今天" * 4 + "\n正常的一行"
    assert "今天" not in normalize_text(broken)
    assert normalize_text("café 与咖啡", Normalize(fix_mojibake=True)) == "café 与咖啡"


def test_what_is_empty_afterwards_is_dropped_with_its_original_text():
    batch = document_batch(
        ["a", "b"], ["\u200b \u3000\n", "字"], {"url": ["u1", "u2"], "n": pa.array([1, 2])}
    )
    kept, dropped = Normalize()(batch)
    assert kept.column("id").to_pylist() == ["b"]
    assert dropped.to_pylist() == [
        {
            "id": "a",
            "reason": "clean/empty",
            "value": 0.0,
            "threshold": 1.0,
            "text": "\u200b \u3000\n",
            "document": {"url": "u1", "n": 1},
        }
    ]


def test_impossible_values_are_refused():
    with pytest.raises(ConfigError, match="max_repeated_punctuation"):
        Normalize(max_repeated_punctuation=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"原标题：出租屋\n　　近日", "原标题：出租屋\n近日"),
        (r"第一段。\r\n\r\n第二段", "第一段。\n第二段"),
        (r"结束。\n", "结束。"),
        (r"他说。\nABC", "他说。\nABC"),
        (r"放在\new 目录", r"放在\new 目录"),
        (r"print('a\n')", r"print('a\n')"),
        (r"用\t分开", r"用\t分开"),
    ],
)
def test_a_newline_that_was_escaped_twice_becomes_one_again(text, expected):
    assert normalize_text(text) == expected
