"""Pinyin that annotates Chinese goes; Latin letters that are text stay."""

import pytest

from corpuskit.clean.pinyin import remove_pinyin


@pytest.mark.parametrize(
    ("annotated", "plain"),
    [
        ("汉(hàn)语(yǔ)很有意思。", "汉语很有意思。"),
        ("饕餮（tāo tiè）是传说中的神兽。", "饕餮是传说中的神兽。"),
        ("他姓仇（qiú），不姓愁。", "他姓仇，不姓愁。"),
        ("一曝十寒（yī pù shí hán）的意思", "一曝十寒的意思"),
        ("重(chong2)庆", "重庆"),
        ("西安（Xī’ān）", "西安"),
        ("chūn mián bù jué xiǎo\n春眠不觉晓\nchù chù wén tí niǎo\n处处闻啼鸟", "春眠不觉晓\n处处闻啼鸟"),
        ("春眠不觉晓，\nchūn mián bù jué xiǎo，", "春眠不觉晓，"),
    ],
)
def test_readings_are_removed(annotated, plain):
    assert remove_pinyin(annotated) == plain


@pytest.mark.parametrize(
    "text",
    [
        "国内生产总值（GDP）增长百分之五。",
        "咖啡馆（café）在街角。",
        "选项(a)和选项(b)",
        "函数f(x)的值，变量（num1）",
        "汉语拼音 hàn yǔ 是这样写的。",
        "他说（我觉得hàn字写错了）然后走了。",
        "Beijing\n北京",
        "José visited Málaga\n中文没有这么多的字在这一行里面出现",
        "",
    ],
)
def test_other_latin_letters_stay(text):
    assert remove_pinyin(text) == text
