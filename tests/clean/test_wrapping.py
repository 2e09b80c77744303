"""Wrapped prose is joined; verse, lists, headings and unwrapped prose are left alone."""

import textwrap

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.clean import Normalize, normalize_text, wrapping
from corpuskit.clean.wrapping import columns, join_batch, join_lines, parse, wrap_width

STORY = [
    "那年冬天，老陈第一次离开镇子，跟着修路队去了北边的山里。山里的雪下得早，十月刚过，工棚顶上就积了厚厚一层。夜里风从木板缝里"
    "钻进来，大家挤在一起睡，谁也不敢先把脚伸出被子。",
    "“你听，”有人在黑暗里说，“外面是不是有狼？”没有人答话。过了很久，老陈才听见自己的心跳慢慢平下来，和风声混在一起，"
    "分不清哪个是哪个。",
    "第二天清早，雪停了。他推开门，看见工棚前面的雪地上有一串脚印，从山坡上下来，绕着工棚走了一圈，又回到山坡上去。脚印很小，"
    "像是孩子的。老陈站在门口看了半天，心里想，这山里怎么会有孩子呢？他没有告诉别人，拿起铁锹把门前的雪铲干净，脚印也就没有了。",
    "修路的人一共十二个，来自八个地方，说话口音都不一样。工头姓马，是个沉默的人，每天天不亮就起来，把火生好，把水烧开，"
    "然后一个一个地叫大家起床。雪下得大的时候，他们就在工棚里打牌，雪停了就出去修路。路一天一天地往山里伸，工棚也一次一次地往山里搬。",
    "到了腊月，路修到了山口。老陈站在山口往回看，来时的路像一条灰色的带子，弯弯曲曲地绕在白色的山腰上。他忽然觉得，"
    "这条路是他一锹一锹铲出来的，以后不管谁从这里走过，脚底下踩着的都有他的一份力气。",
]


def wrap(paragraph: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width` columns, no punctuation at the beginning of one."""
    lines, line = [], indent
    for character in paragraph:
        if columns(line + character) > width and character not in wrapping.NEVER_FIRST:
            lines.append(line)
            line = ""
        line += character
    return [*lines, line]


@pytest.mark.parametrize("width", [36, 60, 72])
@pytest.mark.parametrize("style", ["indent", "blank"])
def test_a_wrapped_story_becomes_its_paragraphs_again(width, style):
    indent = "　　" if style == "indent" else ""
    blank = [""] if style == "blank" else []
    lines = [line for paragraph in STORY for line in [*wrap(paragraph, width, indent), *blank]]
    for end in ("\n", "\r\n"):
        joined = join_lines(end.join(lines))
        assert [line.strip() for line in joined.split("\n") if line.strip()] == STORY
        assert join_batch(pa.array([end.join(lines)], pa.large_string())).to_pylist() == [joined]


def test_headings_items_and_separators_stay_lines_of_their_own():
    story = [line for paragraph in STORY for line in wrap(paragraph, 60, "　　")]
    # a full line before each, so that only what the next line is keeps it apart
    full = next(line for line in story if columns(line) >= 59 and not parse(line).ended)
    for start in (
        "第二章　雪夜",
        "1、修路的人和他们的故事",
        "（三）山口",
        "- 铁锹",
        "==========",
        "　　“谁？”",
    ):
        text = "\n".join([*story, full, start])
        assert join_lines(text).split("\n")[-1] == start
    assert join_lines("\n".join([*story, full, "接着往下说"])).endswith(full + "接着往下说")


def test_english_mail_gets_its_spaces_back():
    paragraphs = [
        "The road had been closed since the first snow, and nobody in the village expected it to open "
        "again before the spring. Even so, the men went out every morning with their shovels, because there "
        "was nothing else to do. In the evening they came back and said very little.",
        "One of them kept a diary. He wrote of the weather, the number of metres that they had cleared, and "
        "what there had been to eat; he never wrote down what he thought about it. After a month the pages "
        "looked so much alike that he stopped reading them.",
    ]
    mail = "\n\n".join(textwrap.fill(paragraph, 72) for paragraph in paragraphs)
    assert join_lines(mail) == "\n\n".join(paragraphs)


LEFT_ALONE = {
    "prose with a paragraph a line": "\n".join(STORY * 3),
    "verse": "\n".join(
        [
            "山中无日月，岁尽不知年。",
            "门外三尺雪，炉边一缕烟。",
            "客来茶当酒，话到月西偏。",
            "明日登高去，云深何处天？",
        ]
        * 4
    ),
    "verse in long lines": "\n".join(
        [
            "山中无日月，岁尽不知年；门外三尺雪，炉边一缕烟。",
            "客来茶当酒，话到月西偏；明日登高去，云深何处天？",
        ]
        * 6
    ),
    "headlines cut at one width": "\n".join(
        f"{a}{b}{c}今天正式对外公布最新"
        for a, b, c in zip(
            [
                "本市三条地铁线",
                "南方多地暴雨！",
                "高校招生办公室",
                "国家图书馆分馆",
                "冬季运动会开幕",
                "长江大桥检修，",
            ],
            [
                "建设工作方案，",
                "防汛抢险指挥部",
                "录取分数线查询",
                "读者服务时间，",
                "代表团入场顺序",
                "绕行路线及时间",
            ],
            [
                "由市政府批准并",
                "向社会各界发布",
                "自今年秋季起在",
                "经过多次讨论后",
                "将于下周一上午",
                "请广大市民注意",
            ],
        )
    ),
    "a menu": "\n".join(["首页", "新闻中心", "产品展示", "联系我们", "关于我们", "人才招聘"] * 3),
    "source code": "\n".join(
        f"def handler_{i}(request, context):\n    return {{'status': {i}}}" for i in range(9)
    ),
}


@pytest.mark.parametrize("text", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_was_not_wrapped_is_left_alone(text):
    assert wrap_width([parse(line) for line in text.split("\n")]) == 0
    assert join_lines(text) == text


def test_the_preset_books_joins_and_web_does_not():
    text = "\n".join(line for paragraph in STORY for line in wrap(paragraph, 60, "　　"))
    assert normalize_text(text, Normalize.preset("books")).split("\n") == STORY
    assert len(normalize_text(text, Normalize.preset("web")).split("\n")) == len(text.split("\n"))


PIECES = [*"中文字，。！？“”（(一二第章1234.a b-- \t\u3000\r:：…·*十", *["\n"] * 8, "第一章", "1、", "（二）"]


@settings(max_examples=300)
@given(texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), max_size=4))
def test_the_kernel_joins_what_the_reference_joins(texts):
    loose = {
        "MIN_WIDTH": 4,
        "MIN_LINES": 2,
        "MIN_FULL_LINES": 1,
        "MIN_FULL_SHARE": 0.1,
        "MIN_BROKEN_SHARE": 0.1,
        "MIN_INNER_STOP_SHARE": 0.0,
        "MIN_INNER_PAUSE_SHARE": 0.0,
        "MIN_LINKED": 0,
        "MIN_LINKED_SHARE": 0.0,
        "DENSE_LINES": 3,
        "MAX_OVERLONG_SHARE": 0.4,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in loose.items():
            patch.setattr(wrapping, name, value)
        assert join_batch(pa.array(texts, pa.large_string())).to_pylist() == [join_lines(t) for t in texts]


@given(st.lists(st.text(max_size=80), max_size=4))
def test_the_kernel_agrees_on_any_text(texts):
    assert join_batch(pa.array(texts, pa.large_string())).to_pylist() == [join_lines(t) for t in texts]
