"""Main text: what is kept, what is left off, on written pages and on hand-marked ones."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.clean import PageOverBudget, decode, extract

PARAGRAPHS = [
    "清晨的集市总是从一声吆喝开始的，卖豆腐的老人推着木车，从巷口慢慢走过来。",
    "几个赶早的邻居围了上去，有人要一块老豆腐，有人只想喝碗热豆浆，说说笑笑好不热闹。",
    "到了中午，人群渐渐散去，石板路上只剩下几片菜叶和一地水痕，明天这里又会热闹起来。",
]
NAVIGATION = "".join(
    f'<li><a href="/{n}">{n}频道</a></li>' for n in ["新闻", "体育", "财经", "娱乐", "科技", "汽车"]
)
PAGE = """<html><head><title>集市的早晨_本地新闻_样例网</title>
<meta name="pubdate" content="2024-03-05 08:00">
<style>.a{{color:red}}</style>
<script>var 变量 = "不是正文，绝对不是。";</script></head><body>
<div class="top"><ul>{navigation}</ul></div>
<div id="main"><h1>集市的早晨</h1><div class="info">2024年03月05日 08:00 来源：样例日报</div>
<div class="content">{body}</div>
<div>相关阅读</div><ul>{navigation}</ul></div>
<div class="footer">版权所有 样例网 京ICP备00000000号，未经授权不得转载。</div></body></html>"""


def build(body: str) -> str:
    return PAGE.format(navigation=NAVIGATION, body=body)


@pytest.mark.parametrize(
    "body",
    [
        "".join(f"<p>{p}</p>" for p in PARAGRAPHS),
        "<br><br>　　".join(PARAGRAPHS),
        "".join(f"<div><span>{p}</span></div>" for p in PARAGRAPHS),
        "<table><tr><td>" + "</td></tr><tr><td>".join(PARAGRAPHS) + "</td></tr></table>",
    ],
    ids=["p", "br", "div", "table"],
)
def test_paragraphs_become_lines_whatever_marks_them_up(body):
    page = extract(build(body))
    assert page.text.split("\n") == PARAGRAPHS
    assert (page.title, page.date, page.method) == ("集市的早晨", "2024-03-05", "density")


def test_links_inside_prose_stay_and_lists_of_links_go():
    body = f'<p>{PARAGRAPHS[0]}<a href="/x">豆腐</a>真香。</p><ul>{NAVIGATION}</ul><p>{PARAGRAPHS[1]}</p>'
    text = extract(build(body)).text
    assert text == f"{PARAGRAPHS[0]}豆腐真香。\n{PARAGRAPHS[1]}"


def test_a_short_heading_between_paragraphs_stays():
    body = f"<p>{PARAGRAPHS[0]}</p><p>午后</p><p>{PARAGRAPHS[1]}</p>"
    assert extract(build(body)).text.split("\n") == [PARAGRAPHS[0], "午后", PARAGRAPHS[1]]


def test_hidden_parts_and_scripts_never_show():
    body = "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + f'<p style="display: none">{PARAGRAPHS[0]}隐藏</p>'
    text = extract(build(body)).text
    assert "隐藏" not in text and "变量" not in text and "color" not in text


def test_a_data_table_below_the_prose_is_content():
    rows = "".join(f"<tr><td>第{i}号摊位</td><td>豆腐和豆浆</td><td>每日清晨</td></tr>" for i in range(40))
    text = extract(build("".join(f"<p>{p}</p>" for p in PARAGRAPHS) + f"<table>{rows}</table>")).text
    assert "第39号摊位" in text and text.startswith(PARAGRAPHS[0])


def test_a_page_without_prose_falls_back_to_what_is_visible():
    page = extract("<html><body><p>你好</p><p>世界</p></body></html>")
    assert page.text.split() == ["你好", "世界"]
    assert page.method != "density"


@pytest.mark.parametrize(
    "html", ["", "   ", "<html></html>", "\x00", "<", "<!---->", "<body><script>x</script>"]
)
def test_an_empty_page_has_empty_text(html):
    assert extract(html).text.strip("\x00\ufffd<") == ""


def test_the_date_is_taken_from_the_byline_when_the_page_declares_none():
    html = build("".join(f"<p>{p}</p>" for p in PARAGRAPHS)).replace('name="pubdate"', 'name="other"')
    assert extract(html).date == "2024-03-05"


def test_pages_over_a_budget_are_refused_with_the_numbers():
    html = build("".join(f"<p>{p}</p>" for p in PARAGRAPHS))
    size = len(html.encode())
    assert extract(html, max_bytes=size).text
    with pytest.raises(PageOverBudget) as caught:
        extract(html, max_bytes=size - 1)
    assert (caught.value.reason, caught.value.value, caught.value.threshold) == (
        "clean/page_bytes",
        size,
        size - 1,
    )
    with pytest.raises(PageOverBudget, match="page_nodes"):
        extract("<p>中" * 100, max_nodes=100)


@pytest.mark.parametrize(
    "html", ["<div>" * 30_000 + "中", "<b><i>" * 3_000, "<table>" * 5_000, "<a>" * 20_000]
)
def test_hostile_nesting_ends(html):
    assert len(extract(html).text) <= 1


@given(
    st.lists(
        st.sampled_from(
            [
                "<p>",
                "</p>",
                "<div class=nav>",
                "</div>",
                "<a href=x>",
                "</a>",
                "<br>",
                "<td>",
                "<table>",
                "中文，",
                "今天。",
                "<!--",
                "-->",
                "<script>",
                "&nbsp;",
                "\x00",
                "<form>",
            ]
        ),
        max_size=60,
    )
)
@settings(max_examples=150)
def test_any_soup_of_tags_extracts(parts):
    page = extract("".join(parts))
    page.text.encode("utf-8")


def _four_grams(text: str) -> Counter:
    text = re.sub(r"\s+", "", text)
    return Counter(text[i : i + 4] for i in range(len(text) - 3))


def test_f1_on_hand_marked_pages_is_at_least_095(shared_data):
    scores = []
    for path in sorted((shared_data / "html" / "gold").glob("*.html")):
        got = _four_grams(extract(decode(path.read_bytes()).text).text)
        gold = _four_grams(path.with_suffix(".txt").read_text(encoding="utf-8"))
        common = sum((got & gold).values())
        scores.append(2 * common / (sum(got.values()) + sum(gold.values())))
    assert len(scores) == 24
    assert sum(scores) / len(scores) >= 0.95


def test_every_real_page_gives_chinese_text(shared_data):
    short = []
    for path in sorted((shared_data / "html" / "pages").glob("*.html")):
        page = extract(decode(path.read_bytes()).text)
        if len(re.findall("[\u4e00-\u9fff]", page.text)) < 60:
            short.append(path.name)
    assert len(short) <= 1
