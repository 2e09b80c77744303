"""The main text of a Chinese web page, by density over the parsed tree.

English extractors count words, commas and paragraphs; a Chinese page has no spaces, often no ``<p>``,
and much of its navigation is short lines of links. So a page is cut into lines (at block elements
and ``<br>``), each line is judged by its characters outside links and its Chinese punctuation, and
the element with the largest balance of prose over links is the content. Link-heavy parts inside it
and short lines at its edges are then left off. Where that finds next to nothing, the main text of
`resiliparse` is taken, and failing that all visible text.

On 24 hand-marked Chinese pages, which its rules were also tuned on, this scores 0.977 (F1 over
character 4-grams, mean over pages);
`resiliparse` alone scores 0.885, because it keeps navigation (precision 0.81, recall 0.996).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree, NodeType

from corpuskit.clean.metadata import date_in_text, read_metadata
from corpuskit.errors import InputError

MAX_PAGE_BYTES = 10_000_000
MAX_PAGE_NODES = 200_000


class PageOverBudget(InputError):
    """A page exceeds a budget and was not parsed (further); `reason`, `value`, `threshold` say which."""

    def __init__(self, reason: str, value: float, threshold: float) -> None:
        super().__init__(
            f"{reason} is {value:.0f}, more than {threshold:.0f}", hint="the page is quarantined"
        )
        self.reason = reason
        self.value = value
        self.threshold = threshold

    def __reduce__(self):
        return PageOverBudget, (self.reason, self.value, self.threshold)


class Page(NamedTuple):
    """What was found on a page.

    Attributes
    ----------
    text : str
        The main text, one paragraph a line; empty where the page has none.
    title : str or None
        From the page's metadata, without the site's name.
    date : str or None
        Date of publication, ``YYYY-MM-DD``.
    method : str
        ``density``, ``resiliparse`` or ``all``: which way gave the text.
    """

    text: str
    title: str | None
    date: str | None
    method: str


def extract(html: str, *, max_bytes: int = MAX_PAGE_BYTES, max_nodes: int = MAX_PAGE_NODES) -> Page:
    """Main text, title and date of a page.

    Parameters
    ----------
    html : str
        The decoded page (see `corpuskit.clean.decode`).
    max_bytes : int
        Pages larger than this in UTF-8 are refused.
    max_nodes : int
        Pages with more elements and texts than this are refused.

    Raises
    ------
    PageOverBudget
        With the budget that was exceeded.
    """
    # A character is at most four bytes, so most pages are cleared without encoding them.
    if len(html) * 4 > max_bytes:
        size = len(html.encode("utf-8", "replace"))
        if size > max_bytes:
            raise PageOverBudget("clean/page_bytes", size, max_bytes)
    tree = HTMLTree.parse(html)
    metadata = read_metadata(tree)
    lines, elements, depth = _read_lines(tree, max_nodes)
    text, method = _main_text(lines, elements), "density"
    if len(text) < MIN_DENSITY_CHARACTERS:
        if depth <= MAX_FALLBACK_DEPTH:
            fallback = extract_plain_text(tree, main_content=True, alt_texts=False, list_bullets=False)
            if len(fallback) > 2 * len(text):
                text, method = _tidy(fallback), "resiliparse"
        if len(text) < MIN_DENSITY_CHARACTERS:
            visible = "\n".join(line.text for line in lines if not line.is_links)
            if len(visible) > 2 * len(text):
                text, method = visible, "all"
    date = metadata.date or date_in_text([line.text for line in lines[:MAX_DATE_LINES]])
    return Page(text, metadata.title, date, method)


MAX_FALLBACK_DEPTH = 512
"""Deeper trees (browsers cut them at 512) do not go through `resiliparse`'s main-text extraction, which
takes time quadratic in the depth: 1.6 s at 10,000."""

MIN_DENSITY_CHARACTERS = 60
"""Below this the density result is doubted: about two Chinese sentences."""

MAX_DATE_LINES = 200

PROSE_CHARACTERS = 12
"""A line with a comma or stop and this many characters outside links is prose."""

LONG_LINE_CHARACTERS = 40
"""A line of this length outside links is prose even without punctuation."""

LINK_WEIGHT = 1.0
"""How many characters of prose a character in a link line outweighs."""

SHORT_WEIGHT = 0.3
"""The same for short lines without punctuation: headings inside an article, labels outside."""


DATA_CHARACTERS = 300
"""Short lines without links of this length together are a table of data, not the labels of a page."""

DATA_MAX_LINK_SHARE = 0.05


@dataclass(slots=True)
class _Line:
    """A line as it would be shown: text, visible characters in links, and the element it lies in."""

    text: str
    link_characters: int
    element: int

    @property
    def plain_characters(self) -> int:
        return max(0, len(self.text) - self.link_characters)

    @property
    def is_links(self) -> bool:
        return self.link_characters * 2 > len(self.text)

    @property
    def is_prose(self) -> bool:
        if self.is_links or _BOILERPLATE.search(self.text) or _BYLINE.search(self.text):
            return False
        plain = self.plain_characters
        return plain >= LONG_LINE_CHARACTERS or (
            plain >= PROSE_CHARACTERS and _SENTENCE.search(self.text) is not None
        )


@dataclass(slots=True)
class _Element:
    """A block element: its parent's index, and the balance of what lies in it."""

    parent: int
    prose: float = 0.0
    links: float = 0.0
    other: float = 0.0
    balance: float = 0.0

    @property
    def is_data(self) -> bool:
        """A table or list of short items without links: content, though not prose."""
        return (
            self.other >= DATA_CHARACTERS
            and self.prose < self.other
            and self.links < DATA_MAX_LINK_SHARE * self.other
        )


_SENTENCE = re.compile("[，。！？；、,;!?]|……")
_SPACE = re.compile(r"[^\S\n]+")
_BOILERPLATE = re.compile(
    "版权所有|Copyright|All Rights Reserved|ICP备|京公网安备|未经.{0,12}(?:授权|许可|允许)|"
    "(?:责任编辑|本文来源|文章来源|信息来源|责编|编辑|浏览次数|点击数|阅读次数)\\s*[：:]|"
    "^(?:分享到|返回顶部|上一篇|下一篇|相关阅读|相关新闻|相关文章|推荐阅读|热门推荐|延伸阅读|我要评论|网友评论|"
    "打印本页|关闭窗口|发表评论|扫一扫|字号|当前位置|您的位置|您现在的位置)",
    re.IGNORECASE,
)
_BYLINE = re.compile(
    "(?:来源|作者|发布|更新|时间|点击|记者|编辑).{0,40}\\d{4}\\s?[-年/]\\s?\\d|"
    "\\d{4}\\s?[-年/]\\s?\\d{1,2}\\s?[-月/]\\s?\\d{1,2}日?\\s+\\d{1,2}:\\d\\d.{0,60}$"
)
_TAIL = re.compile(
    "[\\s·•■▼【\\[（(>]*(?:相关(?:阅读|新闻|报道|文章|链接|专题|推荐)|延伸阅读|推荐阅读|热门推荐|猜你喜欢|"
    "(?:热门|最新|网友|精彩|全部|用户|更多)(?:评论|留言|跟帖)|发表(?:评论|留言)|我来说两句|参与评论|"
    "(?:上|下)一篇|反?侵权公告|版权声明|免责声明)"
)
_SKIPPED = frozenset((
    "script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "math", "canvas",
    "select", "option", "button", "textarea", "input", "nav", "footer", "aside", "head", "audio",
    "video", "map",
))  # fmt: skip
_BLOCKS = frozenset((
    "html", "body", "div", "p", "section", "article", "main", "header", "footer", "nav", "aside", "ul",
    "ol", "li", "dl", "dt", "dd", "table", "tbody", "thead", "tfoot", "tr", "td", "th", "h1", "h2", "h3",
    "h4", "h5", "h6", "blockquote", "pre", "figure", "figcaption", "form", "fieldset", "address", "center",
    "details", "summary", "caption", "hr",
))  # fmt: skip
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_UNLIKELY = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|menu|foot|footer|side|sidebar|crumb|crumbs|breadcrumb|breadcrumbs|copyright|share|"
    r"comment|comments|related|recommend|pager|pagination|toolbar|advert|ads?|login|banner|popup|"
    r"hotlist|ranklist|tags?)(?:$|[\s_-])",
    re.IGNORECASE,
)


def _read_lines(tree: Any, max_nodes: int) -> tuple[list[_Line], list[_Element], int]:
    """Walk the tree once, without recursion, into lines and block elements; also its depth."""
    elements = [_Element(-1)]
    lines: list[_Line] = []
    parts: list[str] = []
    link_characters = 0
    block = 0

    def flush() -> None:
        nonlocal link_characters
        text = _SPACE.sub(" ", "".join(parts).replace("\n", " ")).strip()
        parts.clear()
        if text:
            lines.append(_Line(text, min(link_characters, len(text)), block))
        link_characters = 0

    root = tree.body or tree.document
    if root is None:
        return lines, elements, 0
    node: Any = root.first_child
    depth_in_links = 0
    opened: list[tuple[Any, int, bool]] = []  # (node, enclosing block, is link) for each open element
    visited = depth = 0
    while node is not None or opened:
        if node is None:
            node, enclosing, is_link = opened.pop()
            depth_in_links -= is_link
            if enclosing >= 0:
                flush()
                block = enclosing
            node = node.next
            continue
        visited += 1
        if visited > max_nodes:
            raise PageOverBudget("clean/page_nodes", visited, max_nodes)
        kind = node.type
        if kind == NodeType.TEXT:
            value = node.value
            if value:
                parts.append(value)
                if depth_in_links:
                    link_characters += len(value.strip())
        elif kind == NodeType.ELEMENT:
            tag = node.tag
            if tag == "br":
                flush()
            elif not _skipped(node, tag):
                is_link = tag == "a"
                enclosing = -1
                if tag in _BLOCKS:
                    flush()
                    enclosing = block
                    elements.append(_Element(block))
                    block = len(elements) - 1
                opened.append((node, enclosing, is_link))
                depth = max(depth, len(opened))
                depth_in_links += is_link
                node = node.first_child
                continue
        node = node.next
    flush()
    return lines, elements, depth


def _skipped(node: Any, tag: str) -> bool:
    if tag in _SKIPPED:
        return True
    if tag not in _BLOCKS and tag != "span":
        return False
    style = node.getattr("style")
    if style and _HIDDEN.search(style):
        return True
    name = f"{node.getattr('class') or ''} {node.getattr('id') or ''}"
    return len(name) > 1 and tag != "body" and _UNLIKELY.search(name) is not None


def _main_text(lines: list[_Line], elements: list[_Element]) -> str:
    for line in lines:
        element = elements[line.element]
        if line.is_prose:
            element.prose += line.plain_characters
            element.balance += line.plain_characters
        elif line.is_links:
            element.links += len(line.text)
            element.balance -= LINK_WEIGHT * len(line.text)
        else:
            element.other += len(line.text)
            element.balance -= SHORT_WEIGHT * len(line.text)
    # Children have larger indices than their parents, so one pass backwards sums up subtrees.
    for element in reversed(elements[1:]):
        if element.is_data:
            element.balance = max(element.balance, element.prose + SHORT_WEIGHT * element.other)
        parent = elements[element.parent]
        parent.balance += element.balance
        parent.prose += element.prose
        parent.links += element.links
        parent.other += element.other

    best = max(range(len(elements)), key=lambda i: (elements[i].balance, i))
    kept = [False] * len(elements)
    in_data = [False] * len(elements)
    kept[best] = True
    for index in range(best + 1, len(elements)):
        element = elements[index]
        heavy_links = element.links > element.prose and element.links > 0.5 * element.other
        kept[index] = kept[element.parent] and not heavy_links
        in_data[index] = kept[index] and (in_data[element.parent] or element.is_data)

    inside = _before_the_tail([line for line in lines if kept[line.element] and not line.is_links])
    body = [i for i, line in enumerate(inside) if line.is_prose or in_data[line.element]]
    if not body:
        return ""
    first, last = body[0], body[-1]
    homes = {inside[first].element, inside[last].element}
    # A short line at an edge belongs to the text where it lies in the same element as its end.
    while first > 0 and inside[first - 1].element in homes and not _is_byline(inside[first - 1].text):
        first -= 1
    while last + 1 < len(inside) and inside[last + 1].element in homes:
        last += 1
    return "\n".join(line.text for line in inside[first : last + 1] if not _BOILERPLATE.search(line.text))


def _before_the_tail(lines: list[_Line]) -> list[_Line]:
    """Leave off everything from "related articles" or "comments" on, once half the prose is past."""
    total = sum(line.plain_characters for line in lines if line.is_prose)
    seen = 0
    for index, line in enumerate(lines):
        if seen * 2 >= total and len(line.text) <= 20 and _TAIL.match(line.text):
            return lines[:index]
        seen += line.plain_characters if line.is_prose else 0
    return lines


def _is_byline(text: str) -> bool:
    return date_in_text([text]) is not None or _BOILERPLATE.search(text) is not None


def _tidy(text: str) -> str:
    return "\n".join(line for line in (_SPACE.sub(" ", line).strip() for line in text.split("\n")) if line)
