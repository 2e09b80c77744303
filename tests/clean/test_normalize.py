"""One spelling for the same text, and Chinese punctuation as its writers set it."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.clean import Normalize, normalize_text
from corpuskit.clean.code_points import nfc_unstable
from corpuskit.clean.normalize import PRESETS, normalize_batch
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

PIECES = [
    *"中文字你好，。！？…—“”（）「」·aAnrb1 ;-=#\t\n\r\u3000\\\u00a0\u200b\u200d\u0301\u3099",
    *"ｎＡ１２．％%.\ue000\ufffd\U00020000😀👨👩\ufe0f\uf900\u1161\u1100\u11a8가é\u2028\x85\x00\x0b\u037e\ufeffか\u0f71\u0f72\u212bä»å\u0160",
    "\\n",
    "\\r",
    "\r\n",
    "！！！！",
    "………—",
    "（ ）",
    "３．１",
    "\t \t",
]
MESSY = st.lists(st.sampled_from(PIECES), max_size=24).map("".join) | st.text(max_size=30)

CONFIGS = {
    **PRESETS,
    "keep": Normalize(white_space="keep"),
    "lines": Normalize(white_space="lines", nfc=False),
    "strict": Normalize(max_repeated_punctuation=1, max_blank_lines=0),
    "visible": Normalize(remove_invisible=False, remove_han_spaces=False, max_blank_lines=None),
    "damaged": Normalize(private_use="keep", replacement_characters="keep", fold_width=False),
}


def by_kernel(texts, config):
    """Texts and character counts through the batch path."""
    result, characters, _ = normalize_batch(pa.array(texts, pa.large_string()), config)
    return result.to_pylist(), characters.tolist()


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
        ("等等…………唉…，好………", "等等……唉…，好……"),
        ("破折——————号—", "破折——号—"),
        ("姓名\t\t \t电话\t地址", "姓名\t\t\t电话\t地址"),
        ("答案是（    ）。（　　）（ 甲 ）", "答案是（ ）。（ ）（甲）"),
        ("３．１４％，１２％", "3.14%，12%"),
        ("１．引言，％，３％％，5．６", "1．引言，％，3%％，5．6"),
        ("--------", "---"),
        ("哈哈哈哈哈哈", "哈哈哈哈哈哈"),
        ("1000000", "1000000"),
        ("  甲  \r\n\t乙\t\r丙", "甲\n乙\n丙"),
        ("甲\n\n\n\n乙\n", "甲\n\n乙"),
        ("e\u0301", "é"),
        ("\uf900", "\u8c48"),
        ("甲\u2028乙\x0b丙", "甲\n乙\n丙"),
        ("", ""),
        ("\n \u3000\n", ""),
    ],
)
def test_rules(before, after):
    assert normalize_text(before) == after
    assert by_kernel([before, "旁", before], Normalize())[0] == [after, "旁", after]


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=150)
@given(texts=st.lists(MESSY, max_size=5))
def test_a_batch_gives_what_each_text_gives(name, texts):
    config = CONFIGS[name]
    expected = [normalize_text(text, config) for text in texts]
    assert by_kernel(texts, config) == (expected, [len(text) for text in expected])


def test_a_slice_of_a_batch_is_normalised_alone(prose):
    whole = pa.array(["别的 字", prose + "！！！！", "e\u0301", "尾"], pa.large_string())
    assert normalize_batch(whole[1:3], Normalize())[0].to_pylist() == [prose + "！！！", "é"]


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if not config.join_lines])
@given(text=MESSY)
def test_normalising_twice_changes_nothing_more(name, text):
    config = CONFIGS[name]
    if config.fix_mojibake:
        config = Normalize.preset("web", fix_mojibake=False)
    once = normalize_text(text, config)
    assert normalize_text(once, config) == once
    assert not config.nfc or unicodedata.is_normalized("NFC", once)


@given(st.text(max_size=40) | MESSY)
def test_text_without_unstable_characters_is_in_nfc(text):
    unstable = set(nfc_unstable().tolist())
    assert unicodedata.is_normalized("NFC", "".join(c for c in text if ord(c) not in unstable))


def test_text_that_needs_nothing_is_handed_back_as_it_came(prose):
    batch = document_batch(["a"], [prose])
    assert Normalize().judge(batch).batch is batch


OPTIONS = [
    # option, text it changes, what becomes of it, text it nearly changes
    ({"nfc": True}, "咖啡 cafe\u0301", "咖啡 café", "①②㎡ﬁ"),
    ({"fold_width": True}, "共１２３页ＡＢｃ", "共123页ABc", "（一），“二”！？％～"),
    (
        {"remove_han_spaces": True, "white_space": "collapse"},
        "中 文，　排 版",
        "中文，排版",
        "用 Python 3 写",
    ),
    ({"white_space": "collapse"}, "甲\u3000 乙 \r\n 丙", "甲 乙\n丙", "甲 乙\n丙"),
    ({"white_space": "collapse"}, "甲 \t 乙\t\n\t丙", "甲\t乙\n丙", "甲\t乙\n丙"),
    (
        {"white_space": "collapse"},
        "甲\n    乙\n x\n\u00a0 \u3000y  z",
        "甲\n乙\nx\n   y z",
        "甲\n    if x:\n\ty",
    ),
    ({"white_space": "lines"}, "甲  乙\r\n丙\u2028丁", "甲  乙\n丙\n丁", "　　甲  乙\n\n\n丙"),
    ({"max_blank_lines": 1, "white_space": "collapse"}, "甲\n\n\n\n乙", "甲\n\n乙", "甲\n\n乙"),
    ({"unescape_newlines": True}, r"第一段。\n第二段", "第一段。\n第二段", r"放在\new 目录"),
    ({"remove_invisible": True}, "中\u200b文\ufeff字\x07", "中文字", "葛\U000e0100城👨\u200d👩"),
    ({"private_use": "remove"}, "价\ue123格", "价格", "\u3007\U00020000\ufffd"),
    ({"replacement_characters": "remove"}, "价\ufffd格", "价格", "？\ue000"),
    ({"max_repeated_punctuation": 3}, "好！！！！！", "好！！！", "好！！！哈哈哈哈……"),
    ({"fix_mojibake": True}, "ä»Šå¤©å¤©æ°”å¾ˆå¥½", "今天天气很好", "café 与 Ångström，½ 杯"),
]


@pytest.mark.parametrize("option,changed,result,unchanged", OPTIONS, ids=[next(iter(o[0])) for o in OPTIONS])
def test_each_option_changes_its_own_and_nothing_near_it(option, changed, result, unchanged):
    config = Normalize.preset("none", **option)
    assert normalize_text(changed, config) == result
    assert normalize_text(unchanged, config) == unchanged
    assert by_kernel([changed, unchanged], config)[0] == [result, unchanged]
    assert normalize_text(changed, Normalize.preset("none")) == changed


def test_options_turn_rules_off():
    config = Normalize(
        fold_width=False, remove_han_spaces=False, max_repeated_punctuation=6, max_blank_lines=0
    )
    assert normalize_text("Ａ 你 好！！！！！！！！\n\n乙", config) == "Ａ 你 好！！！！！！\n乙"


@given(MESSY)
def test_the_preset_none_changes_nothing(text):
    assert normalize_text(text, Normalize.preset("none")) == text


def test_presets_take_changes_and_refuse_what_is_unknown():
    assert Normalize.preset("web") == Normalize()
    assert Normalize.preset("books").join_lines
    assert Normalize.preset("minimal", fold_width=True).fold_width
    with pytest.raises(ConfigError, match="books"):
        Normalize.preset("novels")
    with pytest.raises(ConfigError, match="folds_width"):
        Normalize.preset("web", folds_width=True)
    minimal = Normalize.preset("minimal")
    assert normalize_text("　　第１章 \r\n\u200b中 文！！！！！", minimal) == "　　第１章 \n中 文！！！！！"


def test_mojibake_is_undone_only_when_asked_and_where_sure():
    broken = "今天".encode().decode("latin-1") * 4 + "\n正常的一行"
    assert normalize_text(broken) == "今天" * 4 + "\n正常的一行"
    assert "今天" not in normalize_text(broken, Normalize(fix_mojibake=False))
    assert normalize_text("café 与咖啡") == "café 与咖啡"


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


@pytest.mark.parametrize("kind", ["remove", "keep"])
def test_documents_full_of_holes_are_dropped_and_others_mended(kind):
    config = Normalize(private_use=kind, replacement_characters=kind)
    holes, nearly = "每\ue001字\ue002都\ufffd缺", "这一行有二十个字其中只有一个字坏" + "了" * 4 + "\ufffd"
    kept, dropped = config(document_batch(["holes", "nearly"], [holes, nearly]))
    assert kept.column("id").to_pylist() == ["nearly"]
    assert dropped.column("reason").to_pylist() == ["clean/damaged_share"]
    assert dropped.column("value").to_pylist() == [pytest.approx(3 / 7)]
    assert ("\ufffd" in kept.column("text")[0].as_py()) == (kind == "keep")


@pytest.mark.parametrize(
    "field,value",
    [
        ("max_repeated_punctuation", 0),
        ("max_blank_lines", -1),
        ("white_space", "squeeze"),
        ("private_use", "count"),
        ("max_damaged_share", 2),
    ],
)
def test_impossible_values_are_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        Normalize(**{field: value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"原标题：出租屋\n　　近日", "原标题：出租屋\n近日"),
        (r"第一段。\r\n\r\n第二段", "第一段。\n第二段"),
        (r"结束。\n", "结束。"),
        (r"他说。\nABC", "他说。\nABC"),
        (r"他说。\n\new", "他说。\n\\new"),
        (r"放在\new 目录", r"放在\new 目录"),
        (r"print('a\n')", r"print('a\n')"),
        (r"用\t分开", r"用\t分开"),
    ],
)
def test_a_newline_that_was_escaped_twice_becomes_one_again(text, expected):
    assert normalize_text(text) == expected
    assert by_kernel([text], Normalize())[0] == [expected]


def test_scraped_news_and_laws_come_out_alike_from_the_batch_and_the_reference(shared_data):
    import io
    import json

    import zstandard

    for name in ("news", "laws"):
        with (shared_data / "text" / f"{name}.jsonl.zst").open("rb") as raw:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
            texts = [json.loads(line)["text"] for line, _ in zip(lines, range(100))]
        config = Normalize.preset("books")
        assert by_kernel(texts, config)[0] == [normalize_text(text, config) for text in texts]


def test_no_character_that_nfc_changes_is_missing_from_the_table():
    unstable = set(nfc_unstable().tolist())
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000 and unicodedata.normalize("NFC", chr(code)) != chr(code):
            assert code in unstable, hex(code)
