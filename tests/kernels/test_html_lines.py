"""The scan of a page against plain references: a renderer of trees, `html.unescape`, resiliparse's DOM."""

import html
import html.entities

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.clean.markup import COMMENTS, MAX_OPEN_ELEMENTS, UNLIKELY, cut_into_lines, tables
from corpuskit.kernels import html_layout as columns


def scan(source: str, **options):
    return cut_into_lines(source.encode("utf-8", "surrogatepass"), max_nodes=10**6, **options)


def texts(source: str, **options) -> list[str]:
    page = scan(source, **options)
    return [page.text[start:stop].decode() for start, stop in page.lines[:, :2].tolist()]


# A tree is text, an inline element, a link, or a block with children; the renderer below is the reference.
WORDS = st.text(st.sampled_from("中文，。abc 3<&>é😀\u3000\n"), min_size=1, max_size=8)


def trees(children):
    return st.one_of(
        st.tuples(st.sampled_from(["span", "b", "em", "font"]), st.lists(children, max_size=3)),
        st.tuples(st.just("a"), st.lists(WORDS, max_size=2)),
        st.tuples(st.sampled_from(["div", "section", "blockquote", "h2"]), st.lists(children, max_size=4)),
        st.tuples(st.sampled_from(["ul", "tr"]), st.lists(children, max_size=3)),
    )


TREE = st.recursive(WORDS, trees, max_leaves=20)


def write(tree, close: bool) -> str:
    """As HTML; without the end tags that may be left out where not `close`."""
    if isinstance(tree, str):
        return html.escape(tree, quote=False)
    name, children = tree
    inner = "".join(write(child, close) for child in children)
    if name == "a":
        return f'<a class=x href="/y">{inner}</a>'
    if name == "ul":
        end = "</li>" if close else ""
        items = "".join(f"<li>{write(child, close)}{end}" for child in children)
        return f"<ul>{items}</ul>"
    if name == "tr":
        end = "</td>" if close else ""
        cells = "".join(f"<td>{write(child, close)}{end}" for child in children)
        return f"<table><tr>{cells}</table>"
    return f"<{name}>{inner}</{name}>"


def render(tree) -> list[str]:
    """The lines of a tree, by recursion over Python strings."""
    pieces: list[str] = [""]

    def walk(node) -> None:
        if isinstance(node, str):
            pieces[-1] += node
            return
        name, children = node
        block = name not in ("span", "b", "em", "font", "a")
        if block:
            pieces.append("")
        for child in children:
            if name in ("ul", "tr"):
                pieces.append("")
            walk(child)
        if block:
            pieces.append("")

    walk(tree)
    return [line for line in (" ".join(piece.split()) for piece in pieces) if line]


@given(TREE, st.booleans())
@settings(max_examples=300)
def test_lines_are_those_of_a_plain_renderer(tree, close):
    assert texts(write(tree, close)) == render(tree)


@given(TREE)
def test_counts_are_those_of_the_text(tree):
    page = scan(write(tree, True))
    for row in page.lines.tolist():
        text = page.text[row[columns.START] : row[columns.STOP]].decode()
        assert row[columns.CHARACTERS] == len("".join(text.split()))
        assert row[columns.HAN] == sum("\u4e00" <= c <= "\u9fff" for c in text)
        assert row[columns.CLAUSE_MARKS] == sum(c in "，。！？；、…,;!?" for c in text)
        assert row[columns.STOP_MARKS] == sum(c in "。！？…!?" for c in text)
        assert 0 <= row[columns.LINK_CHARACTERS] <= row[columns.CHARACTERS]
    parents = page.blocks[:, columns.PARENT].tolist()
    assert parents[0] == -1 and all(0 <= parent < i for i, parent in enumerate(parents) if i)


def test_every_reference_to_one_character_is_read_as_python_reads_it():
    names = [name for name, value in html.entities.html5.items() if len(value) == 1 and value.strip()]
    zero_width = {"\u200b", "\ufeff"}
    for name in names:
        expected = html.unescape(f"&{name}")
        if expected not in zero_width and expected.strip("\u2002\u2003\u2004\u2005\u2007\u2008\u2009\u200a"):
            assert texts(f"<p>中&{name}</p>") == [f"中{expected}"], name


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("&#20013;&#x6587;", "中文"),
        ("&#150;&#x93;", "–“"),
        ("&#0;&#xD800;&#x110000;", "\ufffd\ufffd\ufffd"),
        ("&nbsp;中&nbsp;&nbsp;文", "中 文"),
        ("AT&T & co &unknown; &", "AT&T & co &unknown; &"),
        ("&amp;lt;", "&lt;"),
        ("1 < 2 <3", "1 < 2 <3"),
    ],
)
def test_references_and_stray_marks(source, expected):
    assert texts(f"<p>{source}</p>") == [expected]


def test_paragraphs_items_and_cells_end_where_their_end_tags_are_implied():
    assert texts("<p>一<p>二<div>三</div>四") == ["一", "二", "三", "四"]
    page = scan("<ul><li>一<li>二<ul><li>三</ul><li>四</ul>")
    names = tables().names
    homes = [names[page.blocks[row[columns.HOME], columns.TAG]] for row in page.lines.tolist()]
    assert homes == ["li"] * 4
    depth = [page.lines[i, columns.HOME] for i in range(4)]
    assert page.blocks[depth[0], 0] == page.blocks[depth[3], 0] != page.blocks[depth[2], 0]


def test_an_end_tag_does_not_leave_its_table_cell():
    page = scan("<div><table><tr><td>一</div>二</td><td>三</table>四</div>")
    parents = page.blocks[:, columns.PARENT]
    rows = page.lines[:, columns.HOME]
    assert rows[0] == rows[1] and parents[rows[2]] == parents[rows[0]] and rows[3] == 1


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>if (a < b) { '中' }</script>",
        "<STYLE>p { content: '</p>' }</STYLE >",
        "<!-- <p>中</p> -->",
        "<![CDATA[ 中 ]]>",
        "<noscript><div>中</div><p>中</noscript>",
        '<span style="color:red; display : none">中<span>中</span>中</span>',
        "<div hidden>中</div>",
        '<div style="DISPLAY:none"><div>中</div></div>',
        "<select><option>中<option>中</select>",
        "<textarea><p>中</textarea>",
        "<template>中</template><svg><text>中</text></svg>",
    ],
)
def test_what_is_not_shown_is_not_read(hidden):
    assert texts(f"<p>前{hidden}后</p>") in (["前后"], ["前", "后"])


def test_hidden_elements_are_read_on_request():
    assert texts('<div style="display:none">中文</div>', show_hidden=True) == ["中文"]


def test_readings_beside_characters_are_left_out():
    assert texts("<ruby>漢<rp>(</rp><rt>hàn</rt><rp>)</rp>字<rt>zì</ruby>典") == ["漢字典"]


def test_preformatted_text_keeps_its_lines_and_indentation():
    source = "<pre><code>for x in y:\n    print(x)\n\n\t<b>return</b></code></pre>"
    assert texts(source) == ["for x in y:", "    print(x)", "", "\treturn"]


def test_a_link_without_a_target_or_left_open_is_no_link_beyond_its_cell():
    page = scan("<a name=top>一二</a><table><tr><td><a href=x>三四<td>五六</table>")
    assert page.lines[:, columns.LINK_CHARACTERS].tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    ("attribute", "hint"),
    [
        ("class='main-nav'", UNLIKELY),
        ("id=leftNav2", UNLIKELY),
        ('class="a Sidebar_b"', UNLIKELY),
        ("class=comment-list", COMMENTS),
        ("id=articleBody", 0),
        ("class=navigator", 0),
        ("class=unavailable", 0),
        ("title=nav", 0),
    ],
)
def test_hints_are_whole_words_of_class_and_id(attribute, hint):
    assert scan(f"<div {attribute}>中</div>").blocks[1, columns.HINTS] == hint


@pytest.mark.parametrize(
    "source",
    [
        "<div>" * 30_000 + "中",
        "<b><i>" * 30_000 + "中",
        "<p>" * 30_000 + "中",
        "<div>" * 9_000 + "</p>" * 9_000,
    ],
)
def test_deep_pages_are_read_flat_beyond_the_limit(source):
    page = scan(source)
    assert page.depth <= MAX_OPEN_ELEMENTS and page.text in ("中".encode(), b"")


def test_reading_stops_behind_the_allowed_number_of_tags():
    page = cut_into_lines(b"<p>x" * 1000, max_nodes=10)
    assert page.nodes == 11 and len(page.lines) == 10


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_that_are_utf8_are_read(data):
    page = cut_into_lines(data.decode("utf-8", "replace").encode(), max_nodes=1000)
    page.text.decode()
    assert (page.lines[:, columns.START] <= page.lines[:, columns.STOP]).all()


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    "<div>",
                    "</div>",
                    "<p",
                    ">",
                    "<a href='x",
                    '"',
                    "</",
                    "<!--",
                    "-->",
                    "<!",
                    "<?",
                    "&#",
                    "&",
                ),
                *(
                    ";",
                    "=",
                    "中",
                    "<script",
                    "</script",
                    "<pre>",
                    "\n",
                    "<td>",
                    "<table>",
                    "</table>",
                    "<rt>",
                ),
                *("<ruby>", "</ruby>", "<span hidden>", "</span>", "/", "'"),
            ]
        ),
        max_size=80,
    )
)
@settings(max_examples=300)
def test_any_soup_of_syntax_is_read_to_its_end(parts):
    page = scan("".join(parts))
    page.text.decode()


@pytest.mark.parametrize(
    "unit", ["<", "<!", "<!--", "<script>", "&#x", "<a b=", "<a b='", "</x", "<![CDATA["]
)
def test_unfinished_syntax_is_read_in_linear_time(unit):
    """Were it quadratic, a million repetitions would not come back."""
    assert scan(unit * 1_000_000).nodes <= 10**6 + 1


def test_the_text_of_real_pages_is_that_of_a_browser_like_parser(shared_data):
    """Four-grams of what is shown, against the DOM of resiliparse (lexbor) with the same parts left out."""
    from collections import Counter

    from resiliparse.parse.html import HTMLTree, NodeType

    from corpuskit.clean import decode

    left_out = {
        "script",
        "style",
        "noscript",
        "template",
        "object",
        "svg",
        "math",
        "canvas",
        "select",
        "button",
    }
    left_out |= {"audio", "video", "map", "iframe", "textarea", "title", "rt", "rp", "option"}

    def shown(node, pieces):
        for child in node.child_nodes:
            if child.type == NodeType.TEXT:
                pieces.append(child.value)
            elif child.type == NodeType.ELEMENT and child.tag not in left_out:
                style = (child.getattr("style") or "").replace(" ", "").lower()
                if "display:none" not in style and child.getattr("hidden") is None:
                    shown(child, pieces)

    def grams(text):
        text = "".join(text.replace("\ufeff", "").replace("\u200b", "").split())
        return Counter(text[i : i + 4] for i in range(len(text) - 3))

    for path in sorted((shared_data / "html" / "gold").glob("*.html")):
        source = decode(path.read_bytes()).text
        pieces: list[str] = []
        shown(HTMLTree.parse(source).body, pieces)
        theirs, ours = grams("".join(pieces)), grams(scan(source).text.decode())
        common = sum((theirs & ours).values())
        assert common >= 0.97 * sum(theirs.values()), path.name
        assert common >= 0.97 * sum(ours.values()), path.name
