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
        extract("<p>中" * 101, max_nodes=100)


@pytest.mark.parametrize(
    "tail",
    [
        "<div>相关阅读</div><p>{0}</p>",
        "<p>全部评论 23条</p><p>{0}</p><p>{0}</p>",
        "<div>4,060 条评论</div><p>{0}</p>",
        "<p>特别声明：以上内容为用户上传，本平台仅提供信息存储服务。</p><p>{0}</p>",
        "<div class=comment-list><p>{0}</p><p>{0}</p><p>{0}</p><p>{0}</p><p>{0}</p></div>",
        "<div id=sideBar><p>{0}</p></div>",
        "<aside><p>{0}</p></aside>",
    ],
)
def test_what_follows_the_article_is_left_off(tail):
    stranger = "楼上说得有道理，不过我们那里的集市可比这热闹得多，天不亮就挤满了人。"
    body = "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + tail.format(stranger)
    assert extract(build(body)).text.split("\n") == PARAGRAPHS


@pytest.mark.parametrize(
    "part",
    [
        "<p>这条新闻的评论区里，有人提到了特别声明这四个字。</p>",
        "<p>他在评论里写道：这样的集市如今不多见了。</p>",
        "<p>相关阅读的书单，老人也说得上来几本，都是孙子教他的。</p>",
    ],
)
def test_words_of_a_tail_inside_prose_do_not_end_the_article(part):
    body = "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + part + f"<p>{PARAGRAPHS[0]}</p>"
    assert len(extract(build(body)).text.split("\n")) == 5


DIALOGUE = ["“喂？”", *PARAGRAPHS, "“你是谁？”", "“是我。”", "门关上了。"]


@pytest.mark.parametrize(
    "body",
    [
        "".join(f"<p>{x}</p>" for x in DIALOGUE),
        "<br>".join(DIALOGUE),
        "".join(f"<div>{x}</div>" for x in DIALOGUE),
    ],
    ids=["p", "br", "div"],
)
def test_short_lines_at_the_edges_of_an_article_stay(body):
    assert extract(build(body)).text.split("\n") == DIALOGUE


def test_the_list_and_the_table_that_an_article_ends_with_stay():
    items = "".join(f"<li>第{i}步：磨豆子</li>" for i in range(4))
    rows = "".join(f"<tr><td><a href=/{i}>盐</a></td><td>适量</td></tr>" for i in range(3))
    body = "".join(f"<p>{p}</p>" for p in PARAGRAPHS)
    text = extract(build(f"{body}<ol>{items}</ol>")).text
    assert text.endswith("第2步：磨豆子\n第3步：磨豆子")
    assert extract(build(f"{body}<table>{rows}</table>")).text.startswith(PARAGRAPHS[0])
    assert extract(
        f"<body><h1>配料</h1><table>{rows.replace('<a', '<b').replace('</a', '</b')}</table>"
    ).text == ("配料\n盐\t适量\n盐\t适量\n盐\t适量")


def test_a_sentence_that_sounds_like_a_notice_stays_inside_the_article():
    sentence = "未经父母允许，他就一个人去了河边，结果掉进水里了。"
    body = "".join(f"<p>{p}</p>" for p in [PARAGRAPHS[0], sentence, *PARAGRAPHS[1:]])
    assert sentence in extract(build(body)).text


@pytest.mark.parametrize(
    "html",
    [
        "<a href=/>首页<div>" + "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + "</div>",
        "<title>没有关上的标题<body>" + "".join(f"<p>{p}</p>" for p in PARAGRAPHS),
        "<textarea>" + "".join(f"<p>{p}</p>" for p in PARAGRAPHS),
    ],
    ids=["link", "title", "textarea"],
)
def test_an_element_that_is_never_closed_does_not_swallow_the_page(html):
    text = extract(html).text
    assert all(paragraph in text for paragraph in PARAGRAPHS)


def test_class_names_are_not_believed_against_most_of_the_prose():
    body = "<div class='tags share nav'>" + "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + "</div>"
    assert extract(build(body)).text.split("\n") == PARAGRAPHS


def test_an_article_that_a_script_unhides_is_found():
    html = "<body style='display:none'>" + "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + "</body>"
    page = extract(html)
    assert (page.text.split("\n"), page.method) == (PARAGRAPHS, "density of hidden text")


def test_a_headline_that_reads_like_prose_is_left_to_the_title():
    headline = "集市的早晨，从一声吆喝开始，也从一碗豆浆开始"
    body = f"<h2>{headline}</h2><p>2024年03月05日 08:00 来源：样例日报</p>" + "".join(
        f"<p>{p}</p>" for p in PARAGRAPHS
    )
    page = extract(build(body).replace("<title>集市的早晨_", f"<title>{headline}_"))
    assert (page.title, page.text.split("\n")) == (headline, PARAGRAPHS)


def test_rows_of_a_table_are_lines_with_tabs_and_items_of_a_list_are_lines():
    rows = "".join(f"<tr><td>第{i}号<td>豆腐<td>清晨" for i in range(60))
    items = "".join(f"<li>第{i}步，把豆子洗净，再泡上一夜" for i in range(3))
    text = extract(build(f"<p>{PARAGRAPHS[0]}<ol>{items}</ol><table>{rows}</table>")).text
    assert "第7号\t豆腐\t清晨\n第8号\t豆腐\t清晨" in text
    assert "第1步，把豆子洗净，再泡上一夜\n第2步" in text


def test_code_keeps_its_indentation_and_loses_its_line_numbers():
    code = "<table><tr><td class=gutter><pre>1\n2\n3</pre><td><pre>if x:\n    f(x)\n\nend</pre></table>"
    body = "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + code + f"<p>{PARAGRAPHS[0]}</p>"
    text = extract(build(body)).text
    assert "\nif x:\n    f(x)\n\nend\n" in text and "1\n2" not in text


@pytest.mark.parametrize(
    ("head", "author"),
    [
        ('<meta name="author" content="王小明">', "王小明"),
        (
            '<script type="application/ld+json">{"author": {"@type": "Person", "name": "王小明"}}</script>',
            "王小明",
        ),
        ('<meta name="author" content="https://example.com/u/1">', None),
        ("", None),
    ],
)
def test_the_author_is_taken_where_it_is_stated(head, author):
    html = build("".join(f"<p>{p}</p>" for p in PARAGRAPHS)).replace("<style>", head + "<style>")
    assert extract(html).author == author


def test_the_author_of_a_byline_is_found():
    html = build("".join(f"<p>{p}</p>" for p in PARAGRAPHS)).replace(
        "来源：样例日报", "来源：样例日报 作者：李四"
    )
    assert extract(html).author == "李四"


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


def test_f1_on_hand_marked_pages_is_at_least_0955(shared_data):
    scores = []
    for path in sorted((shared_data / "html" / "gold").glob("*.html")):
        got = _four_grams(extract(decode(path.read_bytes()).text).text)
        gold = _four_grams(path.with_suffix(".txt").read_text(encoding="utf-8"))
        common = sum((got & gold).values())
        scores.append(2 * common / (sum(got.values()) + sum(gold.values())))
    assert len(scores) == 24
    assert sum(scores) / len(scores) >= 0.955
    assert min(scores) >= 0.5


def test_every_real_page_gives_chinese_text(shared_data):
    short = []
    for path in sorted((shared_data / "html" / "pages").glob("*.html")):
        page = extract(decode(path.read_bytes()).text)
        if len(re.findall("[\u4e00-\u9fff]", page.text)) < 60:
            short.append(path.name)
    assert len(short) <= 1
