"""Gold text of pages marked line by line: the marks are kept here, the pages are not.

The pages of the test data carry no gold text, and may not be copied. So a person read them as numbered
lines (`page_lines`) and marked those that are the main text; `extraction_marks.json` holds, for each page,
the hash of each marked line in order, and the gold text is built again from the page.

The convention is that of the 24 gold pages in ``html/gold``, as counted there: the body only. Left off are
the headline (in 21 of 24), the lead and the "original title" box above the body, and the line with date,
source and author. Kept are sub-headings, captions inside the body, lists, tables, code, and the closing
credit that belongs to the text ("记者 …", "采写 …", "来源 …" as its last paragraph). Left off again are the
site's "责任编辑" line (in 3 of 5 pages that have one), disclaimers, advertisements and account promotion
below the text, comments, and related articles, with or without a teaser. Of a forum thread only the first
post counts. Of the 66 pages two are forum indexes without a main text (netease_forum_1, tieba_1) and two
repeat the article of a third (thepaper_2 and _4 that of _1); the other 62 are marked.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import xxhash
from resiliparse.parse.html import HTMLTree, NodeType

from corpuskit.clean.decode import decode

MARKS = Path(__file__).with_name("extraction_marks.json")

_SKIPPED = frozenset((
    "script", "style", "noscript", "template", "iframe", "svg", "head", "title", "textarea", "select",
    "option",
))  # fmt: skip
_BLOCKS = frozenset((
    "html", "body", "div", "p", "section", "article", "main", "header", "footer", "nav", "aside", "ul", "ol",
    "li", "dl", "dt", "dd", "table", "tbody", "thead", "tfoot", "tr", "td", "th", "h1", "h2", "h3", "h4",
    "h5", "h6", "blockquote", "pre", "figure", "figcaption", "form", "fieldset", "address", "center",
    "details", "summary", "caption", "hr",
))  # fmt: skip


def page_lines(html: str) -> list[str]:
    """Every line of a page's text, hidden or not, broken at blocks, ``<br>``, and newlines in ``<pre>``."""
    tree = HTMLTree.parse(html)
    root = tree.body or tree.document
    lines: list[str] = []
    parts: list[str] = []

    def flush() -> None:
        text = re.sub(r"[^\S\n]+", " ", "".join(parts))
        parts.clear()
        lines.extend(line.strip() for line in text.split("\n") if line.strip())

    node = root.first_child if root is not None else None
    opened: list[tuple] = []  # (node, is a block, is <pre>) for each open element
    in_pre = 0
    while node is not None or opened:
        if node is None:
            node, is_block, is_pre = opened.pop()
            in_pre -= is_pre
            if is_block:
                flush()
        elif node.type == NodeType.TEXT:
            value = node.value or ""
            parts.append(value if in_pre else re.sub("[\r\n]", " ", value))
        elif node.type == NodeType.ELEMENT and node.tag == "br":
            flush()
        elif node.type == NodeType.ELEMENT and node.tag not in _SKIPPED:
            is_block, is_pre = node.tag in _BLOCKS, node.tag == "pre"
            if is_block:
                flush()
            in_pre += is_pre
            opened.append((node, is_block, is_pre))
            node = node.first_child
            continue
        node = node.next
    flush()
    return lines


def line_hash(line: str) -> str:
    """xxh3-64 (hex) of a line without its white space."""
    return xxhash.xxh3_64_hexdigest(re.sub(r"\s+", "", line).encode())


def gold_text(html: str, hashes: list[str]) -> str:
    """The marked lines of a page in their order; raises KeyError where the page no longer has one."""
    by_hash = {line_hash(line): line for line in page_lines(html)}
    return "\n".join(by_hash[value] for value in hashes)


def four_grams(text: str) -> Counter:
    text = re.sub(r"\s+", "", text)
    return Counter(text[i : i + 4] for i in range(len(text) - 3))


def f1(text: str, gold: str) -> float:
    """F1 over character 4-grams as multisets, white space removed."""
    found, wanted = four_grams(text), four_grams(gold)
    total = sum(found.values()) + sum(wanted.values())
    return 2 * sum((found & wanted).values()) / total if total else 1.0


def marked_pages(data: Path) -> Iterator[tuple[str, bytes, str]]:
    """Name, raw bytes and gold text of each marked page below the test data's directory."""
    for name, hashes in json.loads(MARKS.read_text(encoding="utf-8")).items():
        raw = (data / "html" / "pages" / name).read_bytes()
        yield name, raw, gold_text(decode(raw).text, hashes)


def gold_pages(data: Path) -> Iterator[tuple[str, bytes, str]]:
    """The same for the pages that came with their gold text."""
    for path in sorted((data / "html" / "gold").glob("*.html")):
        yield path.name, path.read_bytes(), path.with_suffix(".txt").read_text(encoding="utf-8")
