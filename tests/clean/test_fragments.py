"""Mark-up left in texts: fragments become plain text, and prose that speaks of tags stays as it is."""

import html
import io
import json
import re
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markup_reference import plain_text

from corpuskit.clean import PRESETS, Cleaner, Markup
from corpuskit.clean.cleaner import step_kinds
from corpuskit.clean.fragments import strip_markup
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

STORY = "清晨的集市总是从一声吆喝开始的。卖豆腐的老人推着木车，从巷口慢慢走过来。"

FRAGMENTS = [
    (f"<p>{STORY}</p><p>太阳升起来了。</p>", f"{STORY}\n太阳升起来了。"),
    (f"<p><strong>本报讯</strong>（记者）：{STORY}<br></p><p>完。</p>", f"本报讯（记者）：{STORY}\n完。"),
    (f"# 集市\n\n<p>{STORY}</p>\n\n后记", f"# 集市\n\n{STORY}\n\n后记"),
    ("床前明月光，<br>疑是地上霜。<br/>\n举头望明月，<BR />低头思故乡。",
     "床前明月光，\n疑是地上霜。\n举头望明月，\n低头思故乡。"),
    ("第一段。<br><br>第二段。", "第一段。\n\n第二段。"),
    ("<div>\n  <p>第一段。</p>\n  <p>第二段。</p>\n</div>\n", "第一段。\n第二段。"),
    ("<P class=a id='b' title=\"x > y\">大写的标题也一样。</P>", "大写的标题也一样。"),
    ("<p>旧式的第一段。\n<p>旧式的第二段。\n<p>第三段。", "旧式的第一段。\n旧式的第二段。\n第三段。"),
    ("请点<a href=https://example.com/?a=1&b=2>这里</a>下载。", "请点这里下载。"),
    ("<p>研发（R&amp;D）经费&nbsp;增长&#x4e2d;&#20013;&copy;</p>", "研发（R&D）经费\u00a0增长中中©"),
    ("<p>一<!-- 广告 <b> -->二</p><script>if (a<b) write('<p>');</script><style>p{}</style>", "一二"),
    ("<table>\n<tr><td>甲</td>\n<td><p>乙</p></td></tr><tr><td>丙</td><td></td><td>丁</td></tr></table>",
     "甲\t乙\n丙\t\t丁"),
    ("<ul><li>鸡蛋</li><li>盐</li></ul>做法见下。", "鸡蛋\n盐\n做法见下。"),
    ("<ruby>汉<rp>(</rp><rt>hàn</rt><rp>)</rp></ruby>字很美。", "汉字很美。"),
    ("<p>一家<o:p></o:p>三口。</p>", "一家三口。"),
    ("<p>若a<b且<张三>在，则1<2。</p>", "若a<b且<张三>在，则1<2。"),
    (f"<p>{STORY}</p><chsdate day='1'>今天</chsdate><p>完了。</p><p>真的完了。</p><p>散了。</p>",
     f"{STORY}\n<chsdate day='1'>今天</chsdate>\n完了。\n真的完了。\n散了。"),
    ("<p>两次转义：&lt;b&gt;粗&lt;/b&gt;&lt;p&gt;段&lt;/p&gt;</p>", "两次转义：粗\n段"),
    ("<!DOCTYPE html><html><head><title>集市</title></head><body><p>开张了。</p></body></html>",
     "集市\n开张了。"),
    (f"{STORY}\n<!-- INFO END -->\n", f"{STORY}\n\n"),
]  # fmt: skip

LEFT_ALONE = [
    "",
    STORY,
    "若a<b且c>d，则a<b<c。",
    "<张三>说：<李四>来了。<笑>",
    "他在论坛里只打了一个<br，别的没说。",
    "段落要用<p>和</p>标签包起来，换行用<br>，加粗用<b>和</b>。这是学习网页制作的第一步，很容易。",
    "HTML 里的标题从<h1>到<h6>共六级，例如<h1>标题</h1>显示得最大。浏览器会自动在它前后空出一行。",
    "在C++里，vector<int> a; map<string, vector<s>> b; 模板参数写在尖括号里。std::array<a> c;",
    "泛型方法写作 List<B> items = new ArrayList<B>(); 这里的<B>是类型参数，不是变量。",
    "XML 的写法：\n<book><title>红楼梦</title><author>曹雪芹</author><b>注</b></book>\n元素名可以自己定。",
    "第一个网页\n\n新建一个文件，写入下面的代码，然后用浏览器打开它，就能看到效果：\n\n"
    "<html>\n<body>\n<h1>你好</h1>\n<p>世界</p>\n</body>\n</html>\n\n"
    "其中 h1 是一级标题，p 是段落。每个标签都有开始和结束，写漏了结束标签，页面就可能错乱。\n"
    "接下来我们学习怎样加入图片和链接，以及怎样用样式表改变文字的颜色和大小。",
    "把文字放进 `<p>` 和 `</p>` 之间。\n\n```html\n<p>你好</p>\n<p>再见</p>\n```\n\n保存后刷新即可。",
    "注释写作 <!-- 这样 -->，在 HTML 页面上看不到。",
    "公式 $f[1](2)$ 与数组 a[i](j)、[1](2)、[注](见下文)。",
    "&nbsp; 和 &amp; 在没有别的记号的文字里原样留着。",
    "Markdown 的链接写作 [文字](https://example.com/a)，图片前面加感叹号。",
    "转义的 \\[文字](https://example.com/a) 不是链接。",
    "用 `[文字](https://example.com/a)` 写链接。",
    "<s>甲乙丙丁</s><s>戊己庚辛</s><unk><mask><unk><pad>",
]  # fmt: skip

LINKS = [
    ("[查看原文](https://example.com/a/b_(c).shtml)", "查看原文", 1),
    ('见[这里](http://example.com "标题")和[那里](https://example.com)。', "见这里和那里。", 2),
    ("前![图](https://example.com/a.png)后![](img/b.JPG?x=1)", "前后", 2),
    ("[![图标](a.png)](https://example.com)正文", "正文", 2),
    ("[https://example.com/x](https://example.com/x)", "https://example.com/x", 1),
    ("太好了![注](见下)", "太好了![注](见下)", 0),
]


def strip(texts, config=None):
    result = strip_markup(pa.array(texts, pa.large_string()), config or Markup())
    assert len(result.text) == len(result.tags) == len(result.links) == len(texts)
    return result


@pytest.mark.parametrize(("text", "plain"), FRAGMENTS)
def test_a_fragment_becomes_plain_text(text, plain):
    result = strip([text])
    assert result.text.to_pylist() == [plain]
    assert result.tags[0] > 0


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_prose_that_speaks_of_markup_stays_as_it_is(text):
    assert strip([text]).text.to_pylist() == [text]


@pytest.mark.parametrize(("text", "plain", "links"), LINKS)
def test_links_become_their_words_and_pictures_nothing(text, plain, links):
    result = strip([text])
    assert (result.text.to_pylist(), result.links.tolist()) == ([plain], [links])
    assert strip([text], Markup(markdown_links=False)).text.to_pylist() == [text]


CASES = [case[0] for case in (*FRAGMENTS, *LINKS)] + LEFT_ALONE


def test_a_batch_gives_what_its_texts_give_alone():
    whole = strip(CASES)
    for row, text in enumerate(CASES):
        alone = strip([text])
        assert whole.text[row] == alone.text[0]
        assert (whole.tags[row], whole.links[row]) == (alone.tags[0], alone.links[0])
    sliced = strip_markup(pa.array(["<p>前</p>", *CASES], pa.large_string()).slice(1), Markup())
    assert sliced.text.to_pylist() == whole.text.to_pylist()
    assert strip([]).text.to_pylist() == []


PIECES = st.sampled_from(
    [
        "<p>", "</p>", "<p class='a'>", "<br>", "<br />", "<b>", "</b>", "<td>", "</td>", "<tr>",
        "</table>", "<li>", "</li>", "<div", "<script>", "</script>", "</SCRIPT >", "<style>", "<!--", "-->",
        "<!x>", "<?a?>", "<o:p>", "</o:p>", "<x-y>", "<T>", "<rt>", "</rt>", "<hr/>", "<a href=\"", "\">",
        "='", "<", ">", "/", "&lt;", "&gt;", "&amp;", "&nbsp;", "&#1;", "&#xD800;", "&x;", "`", "```\n",
        "~~~", "\n", " ", "\u3000", "\u00a0", "[", "](https://a.b)", "](a.png)", "![", "]", "(", ")", "\\",
        "标签", "html", ".html", "注释", "甲乙丙", "，", "𠀀", "é", "a", "\x00", "\t", "\r", "語法",
    ]
)  # fmt: skip
MADE = st.lists(PIECES, max_size=24).map("".join)
CONFIGS = st.sampled_from(
    [Markup(), Markup(html=False), Markup(markdown_links=False), Markup(min_tags=1, min_covered_share=0.0),
     Markup(min_matched_share=0.0, min_covered_share=0.95)]
)  # fmt: skip


@given(st.lists(st.one_of(MADE, st.sampled_from(CASES), st.text(max_size=20)), max_size=4), CONFIGS)
@settings(max_examples=400)
def test_the_kernel_agrees_with_the_reference(texts, config):
    result = strip(texts, config)
    found = list(zip(result.text.to_pylist(), result.tags.tolist(), result.links.tolist()))
    assert found == [plain_text(text, config) for text in texts]


@given(st.one_of(MADE, st.sampled_from(CASES)), CONFIGS)
@settings(max_examples=200)
def test_applied_again_it_changes_nothing(text, config):
    once = strip([text], config)
    assert strip([once.text[0].as_py()], config).text == once.text


class Visible(HTMLParser):
    """What a browser's parser takes for text: the oracle."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text = []

    def handle_data(self, data):
        self.text.append(data)


def visible(fragment):
    parser = Visible()
    parser.feed(fragment)
    parser.close()
    return "".join("".join(parser.text).split())


SENTENCE = st.text("清晨的集市总是从一声吆喝开始，。；“”！1aB &", min_size=1, max_size=30)
INLINE = st.sampled_from(
    ["{}", "<b>{}</b>", "<span style='color: red'>{}</span>", "<a href='/x'>{}</a>", "{}<br>"]
)
BLOCK = st.sampled_from(
    ["<p>{}</p>", "<div>{}</div>", "<h2>{}</h2>\n", "<ul><li>{}</li></ul>", "<p>{}<!-- x --></p>"]
)


@given(
    st.lists(
        st.tuples(BLOCK, st.lists(st.tuples(INLINE, SENTENCE), min_size=1, max_size=4)),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=100)
def test_no_character_outside_tags_is_lost(blocks):
    text = "".join(block.format("".join(i.format(s) for i, s in inside)) for block, inside in blocks)
    result = strip([text])
    assert "".join(result.text[0].as_py().split()) == visible(text)
    assert result.tags[0] == text.count("<")


def test_the_thresholds_decide():
    mostly_plain = f"{STORY}\n{STORY}\n<b>完</b>了。"
    assert strip([mostly_plain]).tags.tolist() == [0]
    assert strip([mostly_plain], Markup(min_covered_share=0.01)).tags.tolist() == [2]
    assert strip(["<p>只有一段。</p>"], Markup(min_tags=3)).tags.tolist() == [0]
    unmatched = f"<b>{STORY}</b><i>{STORY}"
    assert strip([unmatched]).tags.tolist() == [0]
    assert strip([unmatched], Markup(min_matched_share=0.6)).tags.tolist() == [3]


@pytest.mark.parametrize(
    "wrong", [{"min_tags": 0}, {"min_matched_share": 1.5}, {"min_covered_share": -0.1}], ids=str
)
def test_impossible_thresholds_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Markup(**wrong)


def test_hostile_texts_take_linear_time():
    # Each of these costs hours where time is quadratic in the number of openings.
    for unit in ("<", "<!--", "<p ", "<script>", '<a b="', "[](", "![](http://a", "`<p>", "&lt;", "<b></i>"):
        strip([unit * 200_000])


def test_the_step_counts_and_the_rules_behind_it_see_plain_text(prose):
    marked = "".join(f"<p>{line}</p>" for line in prose.split("\n"))
    batch = document_batch(["a", "b"], [marked + "[原文](https://example.com)", prose])
    cleaner = Cleaner.preset("zh-web")
    kept, dropped = cleaner(batch)
    assert dropped is None
    assert kept.column("text").to_pylist() == [prose + "\n原文", prose]
    run = next(run for run in cleaner.runs(batch) if run.step == "markup")
    counts = {check.rule: check.values.tolist() for check in run.verdict.checks}
    assert counts == {"markup_tags": [10.0, 0.0], "markup_links": [1.0, 0.0]}
    plain = document_batch(["a"], [prose])
    assert Markup().judge(plain).batch is plain


def test_it_stands_before_all_that_counts_in_every_preset_but_none():
    for name, cleaner in PRESETS.items():
        steps = [step for step in step_kinds() if getattr(cleaner, step) is not None]
        assert steps[:2] == (["markup", "normalize"] if name != "none" else [])


def read(shared_data, name):
    zstandard = pytest.importorskip("zstandard")
    with open(shared_data / "text" / f"{name}.jsonl.zst", "rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        return [json.loads(line)["text"] for number, line in enumerate(stream) if number % 10 == 0]


def test_no_tag_is_left_in_transcripts_and_no_character_lost(shared_data):
    texts = read(shared_data, "broadcast")
    plain = strip(texts, Markup(markdown_links=False)).text.to_pylist()
    assert not any(re.search("</?[A-Za-z]|<!--", text) for text in plain)
    for before, after in zip(texts, plain):
        assert "".join(html.unescape(after).split()) == visible(before)


@pytest.mark.parametrize("name", ["news", "laws"])
def test_plain_prose_loses_nothing_but_comments(shared_data, name):
    texts = read(shared_data, name)
    for before, after in zip(texts, strip(texts, Markup(markdown_links=False)).text.to_pylist()):
        assert after in (before, re.sub("(?s)<!--.*?-->", "", before))
