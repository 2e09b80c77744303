"""Furniture within one document: what goes, what only looks like it, and the kernels against plain Python."""

import numpy as np
import pyarrow as pa
import pytest

from corpuskit.clean.lines import (
    BoilerplateLines,
    ignored_characters,
    line_hash,
    lines_of,
    strip_lines,
    without_lines,
)
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

STEP = BoilerplateLines()


def strip(text: str, step: BoilerplateLines = STEP) -> str:
    (result,) = strip_lines(pa.array([text]), step).text.to_pylist()
    return result


def test_blank_lines_around_a_removed_line_do_not_add_up():
    text = "第一段。\n\n分享到\n\n第二段。\n\n分享到"
    array = pa.array([text])
    lines = lines_of(array)
    removed = np.array([False, True, False, True])
    assert without_lines(array, lines, removed).to_pylist() == ["第一段。\n\n第二段。"]


def test_a_button_after_every_paragraph_stays_once():
    text = "山路弯弯。\n分享 到朋友圈\n溪水潺潺。\n分享到朋友圈\n鸟鸣几声。\n分享到朋友圈\n分享到朋友圈"
    assert strip(text) == "山路弯弯。\n分享 到朋友圈\n溪水潺潺。\n鸟鸣几声。"


@pytest.mark.parametrize(
    "line",
    [
        "他说是的。",
        "记者：",
        "}",
        "return 0",
        "“好”",
        "这一行比二十个字还要长一些所以不会被当作按钮删除掉",
        "---",
        "一，",
    ],
)
def test_repeated_lines_that_may_be_text_stay(line):
    text = "\n".join(f"第{i}段的正文在这里。\n{line}" for i in range(5))
    assert strip(text) == text


def test_three_times_is_not_often():
    text = "甲段。\n再见朋友\n乙段。\n再见朋友\n丙段。\n再见朋友"
    assert strip(text) == text
    assert strip(text, BoilerplateLines(min_repeats=3)) == "甲段。\n再见朋友\n乙段。\n丙段。"


EDGES = [
    "责任编辑：王小明",
    "（责编：李雷、韩梅梅）",
    "来源：某某日报",
    "返回顶部",
    "展开全文",
    "点击查看更多",
    "上一篇：春天来了",
    "版权声明：本网站的所有文字均归作者所有，未经许可不得转载",
    "转载请注明出处。",
    "版权所有 翻印必究",
    "扫一扫下载客户端",
    "如有侵权，请联系删除。",
    "本文转自网络，版权归原作者所有，如有侵权请联系删除。",
    "声明：本文仅代表作者本人观点，与本站无关。",
    "特别声明：本站文章仅代表作者观点",
    "责任编辑：张三",
    "本文为作者原创，未经授权不得转载。",
    "Copyright © 2020 某某网 All Rights Reserved",
    "京ICP备12345678号-1",
    "扫一扫，手机看新闻",
    "长按识别二维码关注我们",
    "分享到：微信 微博 空间",
    "收藏 | 打印 | 举报",
    "相关阅读",
    "当前位置：首页 > 新闻 > 国内",
    "浏览次数：１２３４",
]
NOT_EDGES = [
    "责任编辑要对稿件负责到底。",
    "他返回顶部的营地，天已经黑了。",
    "打印店开在学校门口。",
    "下一章我们讲述他童年的故事，请看官稍候。" * 3,
    "收藏家们纷纷赶来",
    "来源可靠的消息说，桥已经修好了。",
    "文章写得再好，如果没有授权也不能发表在这里。",
    "分享到这里就结束了，谢谢大家的阅读，我们明天见。",
    "分享到这里就结束了",
    "特别声明：本店春节期间不打烊，欢迎光临…",
    "特别声明：本店春节期间不打烊，欢迎光临",
    "下一章讲述了主人公如何离开家乡。",
    "下一章讲述了主人公如何离开家乡",
    "扫一扫院子里的落叶，心情也好了起来。",
    "编辑：我们需要一位懂技术的人。",
    "未经许可，任何单位不得转载本台新闻，这是《广播条例》第五条的要求，我们应当遵守。",
    "他说：“未经许可，不得转载我的小说！”",
    "版权声明：本网站的所有文字均归作者所有。转载请先写信来问",
    "推荐阅读三体这本书给朋友",
    "本文由编辑联系作者授权发表",
    "文章写得再好如果没有授权也不能发表在这里",
]
BODY = [f"第{i}段正文讲的是山里的生活，和往年一样平静。" for i in "一二三四五六七八九十甲乙丙"]


@pytest.mark.parametrize("line", EDGES)
def test_furniture_goes_at_both_edges_and_stays_in_the_middle(line):
    middle = "\n".join([*BODY[:6], line, *BODY[6:]])
    assert strip("\n".join([line, *BODY, line])) == "\n".join(BODY)
    assert strip(middle) == middle


@pytest.mark.parametrize("line", NOT_EDGES)
def test_sentences_that_begin_like_furniture_stay(line):
    text = "\n".join([line, *BODY, line])
    assert strip(text) == text


def test_a_document_of_furniture_is_dropped_and_one_at_the_limit_is_not():
    step = BoilerplateLines(max_removed_share=0.5)
    body = "四字一行\n四字一行"
    batch = document_batch(["a", "b"], [f"{body}\n责任编辑：欧阳小明", f"{body}\n责任编辑：王小明"])
    kept, dropped = step(batch)
    assert kept.column("text").to_pylist() == [body]
    (row,) = dropped.to_pylist()
    assert (row["id"], row["reason"], row["threshold"]) == ("a", "clean/boilerplate_share", 0.5)
    assert row["text"] == f"{body}\n责任编辑：欧阳小明" and row["value"] == 9 / 17


@pytest.mark.parametrize(
    "text", ["返回顶部", "本文为原创，未经授权不得转载。", "一行正文。\n\n责任编辑：王小明"]
)
def test_documents_of_fewer_than_three_lines_lose_none(text):
    assert strip(text) == text


def test_one_may_do_without_patterns():
    text = "\n".join([*BODY, "返回顶部", "转载请注明出处。"])
    assert strip(text, BoilerplateLines(edge_patterns=())) == text.removesuffix("\n转载请注明出处。")
    assert strip(text, BoilerplateLines(edge_patterns=(), edge_formulas=())) == text


def test_what_was_removed_is_counted():
    stripped = strip_lines(pa.array(["\n".join(BODY) + "\n返回顶部\n展开全文", "一行"]), STEP)
    assert stripped.lines.tolist() == [2, 0] and stripped.characters.tolist() == [8, 0]


def test_an_untouched_batch_is_returned_itself(prose):
    batch = document_batch(["a", "b"], [prose, ""])
    assert STEP.judge(batch).batch is batch
    assert STEP(document_batch([], [])).kept.num_rows == 0


def test_the_hash_sees_through_spacing_and_width_and_through_digits_if_asked():
    assert line_hash("浏览 次数：１２") == line_hash("浏览次数:12") != line_hash("浏览次数:13")
    assert line_hash("浏览次数:12", True) == line_hash("浏览次数:13", True) != line_hash("浏览次数:123", True)


def test_white_space_does_not_count_and_marks_do():
    table = ignored_characters()
    assert (
        table[[ord(c) for c in " \t\u3000\u200b\r\xa0"]].all() and not table[[ord(c) for c in "，a中"]].any()
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: BoilerplateLines(min_repeats=1),
        lambda: BoilerplateLines(max_removed_share=2),
        lambda: BoilerplateLines(edge_patterns=("(",)),
        lambda: BoilerplateLines(edge_formulas=("(",)),
    ],
)
def test_impossible_values_are_refused(make):
    with pytest.raises(ConfigError):
        make()
