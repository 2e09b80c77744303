"""Which lines of a page are its main text.

A line with enough characters outside links and a Chinese comma or stop is prose; a line mostly of links
counts against the element it lies in, a short one without punctuation a little. The element with the
largest balance is the content. Inside it, link-heavy parts are left off, and so is what stands at its
edges without being prose: the headline (which `Page.title` holds), bylines, buttons, "related articles",
readers' comments.

Class names are a hint and no more: elements whose names speak of navigation or comments are left out of
account unless they hold most of the page's prose, and all are counted again where little was found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from enum import IntEnum
from itertools import groupby
from typing import NamedTuple

import numpy as np

from corpuskit.clean.markup import COMMENTS, GUTTER, UNLIKELY, PageLines, tables, tag_is
from corpuskit.kernels import html_layout as columns

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

MAX_HINTED_SHARE = 0.5
"""An element named like navigation that holds more than this share of a page's prose is not navigation."""

MIN_TAIL_SHARE = 0.5
"""How much of the prose must be past before "related articles" ends the text."""

MIN_COMMENTS_CHARACTERS = 100
"""How much prose must be past before a line such as 全部评论 23条 ends the text."""

MAX_BOILERPLATE_CHARACTERS = 120
"""A longer line that names its editor or a copyright also says something else."""

MAX_LEAD_CHARACTERS = 150
"""Bylines stand behind no more prose than this."""

MAX_LABEL_CHARACTERS = 60
"""A byline or label is at most this long."""


class Kind(IntEnum):
    """What a line is by itself."""

    PROSE = 0
    SHORT = 1
    LINKS = 2
    BYLINE = 3
    BOILERPLATE = 4
    CODE = 5


_BOILERPLATE = re.compile(
    "版权所有|[Cc]opyright|COPYRIGHT|[Rr]ights [Rr]eserved|ICP备|京公网安备|未经.{0,12}(?:授权|许可|允许)|"
    "(?:责任编辑|本文来源|文章来源|信息来源|责编|编辑|浏览次数|点击数|阅读次数)\\s*[：:]"
)
_BOILERPLATE_START = re.compile(
    "(?:分享到|分享至|返回顶部|上一篇|下一篇|相关阅读|相关新闻|相关文章|推荐阅读|热门推荐|延伸阅读|我要评论|网友评论|[（(]原标题|"
    "打印本页|关闭窗口|发表评论|扫一扫|字号|当前位置|您的位置|您现在的位置|点击(?:查看|阅读)(?:原文|全文|更多))"
    "(?=\\W|.{0,12}$)"
)
_HAS_LABEL = re.compile("[:：|｜【\\d]")
_LABEL = (
    "(?:来源|来自|作者|时间|日期|发布|发表|更新|编辑|责编|记者|浏览|点击|阅读|人气|评论|字号|字体|页面功能|标签|分类|"
    "分享|收藏|打印|投稿|供稿|通讯员|关键词|栏目|出处|文章来源)"
)
_BYLINE = re.compile(
    f"{_LABEL}.{{0,40}}\\d{{4}}\\s?[-年/.]\\s?\\d|"
    "\\d{4}\\s?[-年/.]\\s?\\d{1,2}\\s?[-月/.]\\s?\\d{1,2}日?\\s+\\d{1,2}:\\d\\d|"
    f"^\\W*{_LABEL}[^，。！？]{{0,6}}\\s?[:：|｜]|【{_LABEL}|{_LABEL}\\s?[：:][^：:]{{0,20}}{_LABEL}\\s?[：:]|"
    "^\\W*\\d{4}\\s?[-年/.]\\s?\\d{1,2}\\s?[-月/.]\\s?\\d{1,2}日?\\W*$"
)
_TAIL = re.compile(
    "[\\s·•■▼【\\[（(>]*(?:相关(?:阅读|新闻|报道|文章|链接|专题|推荐|资讯|内容)|延伸阅读|推荐阅读|热门推荐|为您推荐|"
    "为你推荐|猜你喜欢|大家都在看|更多(?:精彩|新闻|文章)|热门(?:文章|新闻|点击)|精彩推荐|(?:阅读)?(?:上|下)一篇|反?侵权公告)"
)
_DISCLAIMER = re.compile(
    "[\\W]*(?:特别|免责|版权|郑重|风险)?(?:声明|提示|申明)\\s*[：:]|[\\W]*(?:免责|版权|特别)声明"
)
_COMMENTS = re.compile(
    "^\\W*(?:(?:全部|热门|最新|网友|精彩|用户|更多|发表|我要|写|参与|查看)?(?:评论|留言|跟帖|回复)(?:列表|区|专区)?"
    "\\s*[（(\\[]?\\s*[\\d,]*\\s*[条件个]?\\s*[）)\\]]?|(?:共|已)?有?\\s*[\\d,]+\\s*[条件个则人]?(?:网友)?(?:评论|留言|跟帖|回复)|"
    ".{0,40}(?:已有|的)\\s?\\d+\\s?[条件个]评论|我来说两句.{0,12}|有话要说)\\W*$"
)
_COMMENT_WORD = re.compile("评论|留言|跟帖|回复|我来说两句|有话要说")  # quick to rule out
_SEPARATORS = re.compile("\\W+")
_SENTENCE = re.compile("，.*[。！？!?][”’」』）)]*$")


class _Line(NamedTuple):
    text: str
    characters: int
    plain_characters: int
    flags: int
    block: int
    kind: Kind


def visible_text(page: PageLines) -> str:
    """All lines that are not mostly links, or all lines where every one is; rows of tables joined."""
    kinds = _kinds(page.lines)
    rows = np.flatnonzero(kinds != Kind.LINKS)
    if not len(rows):
        rows = np.arange(len(kinds))
    return _join(page, _chosen_lines(page, page.lines, kinds, rows))


def main_text(page: PageLines, title: str | None = None, use_hints: bool = True) -> str:
    """The main text of a page, one paragraph a line; cells of a row are separated by tabs.

    Parameters
    ----------
    page : PageLines
    title : str, optional
        The headline, which is left off where the text begins with it.
    use_hints : bool
        Whether to go by class names.
    """
    from corpuskit.kernels.html_blocks import keep_below, weigh

    lines = page.lines
    kinds = _kinds(lines)
    parents = np.ascontiguousarray(page.blocks[:, columns.PARENT])
    if use_hints and page.blocks[:, columns.HINTS].any():
        shown = ~_hinted_out(page, kinds)[lines[:, columns.HOME]]
        lines, kinds = lines[shown], kinds[shown]
    texts = _recognise_labels(page, lines, kinds)

    homes = lines[:, columns.HOME]
    characters = lines[:, columns.CHARACTERS]
    plain = characters - lines[:, columns.LINK_CHARACTERS]
    is_prose = (kinds == Kind.PROSE) | (kinds == Kind.CODE)
    is_links = kinds == Kind.LINKS
    num_blocks = len(parents)
    prose = np.bincount(homes, plain * is_prose, num_blocks)
    links = np.bincount(homes, characters * is_links, num_blocks)
    other = np.bincount(homes, characters * ~(is_prose | is_links), num_blocks)
    balance = prose - LINK_WEIGHT * links - SHORT_WEIGHT * other
    is_data = weigh(parents, prose, links, other, balance, DATA_CHARACTERS, DATA_MAX_LINK_SHARE, SHORT_WEIGHT)
    # Of equal ones the innermost: later rows lie deeper.
    best = num_blocks - 1 - int(np.argmax(balance[::-1]))
    kept, in_data = keep_below(parents, best, prose, links, other, is_data)
    # A link is content where it is a cell of a table of data.
    in_cell = (lines[:, columns.FLAGS] & columns.IN_CELL) != 0
    shown = kept[homes] & (~is_links | (in_data[homes] & in_cell))
    inside = _chosen_lines(page, lines, kinds, np.flatnonzero(shown), texts)
    chosen = _without_edges(page, _before_the_tail(inside), in_data, title)
    return _join(page, _without_boilerplate(chosen))


def _chosen_lines(
    page: PageLines,
    lines: np.ndarray,
    kinds: np.ndarray,
    chosen: np.ndarray,
    texts: Mapping[int, str] | None = None,
) -> list[_Line]:
    """The lines of some rows; `texts` holds those that are decoded already."""
    texts = texts or {}
    result = []
    for row, values, kind in zip(chosen.tolist(), lines[chosen].tolist(), kinds[chosen].tolist()):
        start, stop, characters, link_characters = values[:4]
        text = texts.get(row)
        if text is None:
            text = page.text[start:stop].decode()
        plain = characters - link_characters
        result.append(_Line(text, characters, plain, values[columns.FLAGS], values[columns.HOME], Kind(kind)))
    return result


def _text(page: PageLines, lines: np.ndarray, row: int) -> str:
    return page.text[lines[row, columns.START] : lines[row, columns.STOP]].decode()


def _kinds(lines: np.ndarray) -> np.ndarray:
    """The kind of each line as far as its counts tell."""
    characters = lines[:, columns.CHARACTERS]
    plain = characters - lines[:, columns.LINK_CHARACTERS]
    kinds = np.full(len(lines), Kind.SHORT, np.int8)
    has_marks = lines[:, columns.CLAUSE_MARKS] > 0
    kinds[(plain >= LONG_LINE_CHARACTERS) | ((plain >= PROSE_CHARACTERS) & has_marks)] = Kind.PROSE
    kinds[lines[:, columns.LINK_CHARACTERS] * 2 > characters] = Kind.LINKS
    kinds[(lines[:, columns.FLAGS] & columns.IN_PRE) != 0] = Kind.CODE
    return kinds


def _recognise_labels(page: PageLines, lines: np.ndarray, kinds: np.ndarray) -> dict[int, str]:
    """Set the kind of bylines and boilerplate; returns the texts that were looked at, by row."""
    characters = lines[:, columns.CHARACTERS]
    judged = (kinds <= Kind.SHORT) & (characters <= MAX_BOILERPLATE_CHARACTERS)
    no_stop = (lines[:, columns.STOP_MARKS] == 0) & (characters <= MAX_LABEL_CHARACTERS)
    texts = {}
    for row, may_be_byline in zip(np.flatnonzero(judged).tolist(), no_stop[judged].tolist()):
        text = texts[row] = _text(page, lines, row)
        if _BOILERPLATE_START.match(text) or _BOILERPLATE.search(text):
            kinds[row] = Kind.BOILERPLATE
        elif may_be_byline and _HAS_LABEL.search(text) and _BYLINE.search(text):
            kinds[row] = Kind.BYLINE
    return texts


def _hinted_out(page: PageLines, kinds: np.ndarray) -> np.ndarray:
    """Which blocks lie in elements named like navigation, comments or line numbers (bool[num_blocks])."""
    from corpuskit.kernels.html_blocks import inherit, sum_up

    parents = np.ascontiguousarray(page.blocks[:, columns.PARENT])
    hints = np.ascontiguousarray(page.blocks[:, columns.HINTS])
    plain = page.lines[:, columns.CHARACTERS] - page.lines[:, columns.LINK_CHARACTERS]
    prose = np.bincount(page.lines[:, columns.HOME], plain * (kinds == Kind.PROSE), len(parents))
    comments = hints & COMMENTS
    inherit(parents, comments)
    total = prose[comments == 0].sum()
    sum_up(parents, prose)
    hints[prose > MAX_HINTED_SHARE * total] &= ~UNLIKELY
    hints &= UNLIKELY | COMMENTS | GUTTER
    inherit(parents, hints)
    return hints != 0


def _before_the_tail(lines: list[_Line]) -> list[_Line]:
    """Leave off everything from "related articles" or readers' comments on, once enough prose is past."""
    total = sum(line.plain_characters for line in lines if line.kind == Kind.PROSE)
    seen = 0
    for index, line in enumerate(lines):
        if seen >= MIN_TAIL_SHARE * total and (
            (line.characters <= 20 and _TAIL.match(line.text)) or _DISCLAIMER.match(line.text)
        ):
            return lines[:index]
        if (
            line.characters <= 60
            and seen >= MIN_COMMENTS_CHARACTERS
            and _COMMENT_WORD.search(line.text)
            and _COMMENTS.match(line.text)
        ):
            return lines[:index]
        seen += line.plain_characters if line.kind == Kind.PROSE else 0
    return lines


def _without_edges(
    page: PageLines, lines: list[_Line], in_data: np.ndarray, title: str | None
) -> list[_Line]:
    """Cut to the part from the first to the last prose, with the short lines that stand beside it.

    Beside it is what lies in the same element, or where that is a paragraph, in the element around it:
    dialogue, signatures, verse, the list or table that an article ends with.
    """
    headline = _SEPARATORS.sub("", title or "")
    for index, line in enumerate(lines):
        # A long headline looks like prose; the text begins behind it.
        if headline and _is_headline(line.text, headline):
            lines = lines[index + 1 :]
            break
        if line.kind == Kind.PROSE:
            break
    body = [
        i
        for i, line in enumerate(lines)
        if line.kind in (Kind.PROSE, Kind.CODE) or (in_data[line.block] and line.kind == Kind.SHORT)
    ]
    if not body:
        return []
    first, last = body[0], body[-1]
    parents = page.blocks[:, columns.PARENT].tolist()
    lines_of_block = Counter(line.block for line in lines)
    homes = set()
    for line in (lines[first], lines[last]):
        is_paragraph = lines_of_block[line.block] == 1 or tag_is(page, line.block, "p")
        homes.add(parents[line.block] if is_paragraph and line.block else line.block)

    def is_beside(line: _Line) -> bool:
        block = line.block
        while block > 0 and block not in homes:
            block = parents[block]
        return block in homes

    while first > 0 and lines[first - 1].kind == Kind.SHORT and is_beside(lines[first - 1]):
        first -= 1
    end_block = lines[last].block
    while last + 1 < len(lines) and (
        lines[last + 1].block == end_block
        or (lines[last + 1].kind == Kind.SHORT and is_beside(lines[last + 1]))
    ):
        last += 1
    return _without_bylines(lines[first : last + 1])


def _without_boilerplate(lines: list[_Line]) -> list[_Line]:
    """Leave off labels and notices, but not sentences with prose behind them that only sound like one."""
    last = max((i for i, line in enumerate(lines) if line.kind == Kind.PROSE), default=-1)
    return [
        line
        for i, line in enumerate(lines)
        if line.kind != Kind.BOILERPLATE or (i < last and _SENTENCE.search(line.text))
    ]


def _without_bylines(lines: list[_Line]) -> list[_Line]:
    """Leave off bylines that stand behind a subtitle or lead."""
    seen = 0
    kept = []
    for line in lines:
        if line.kind != Kind.BYLINE or seen > MAX_LEAD_CHARACTERS:
            kept.append(line)
        seen += line.plain_characters if line.kind == Kind.PROSE else 0
    return kept


def _is_headline(text: str, headline: str) -> bool:
    bare = _SEPARATORS.sub("", text)
    if len(bare) < 6:
        return False
    return headline.startswith(bare) or (headline in bare and len(bare) <= len(headline) + 8)


def _join(page: PageLines, lines: list[_Line]) -> str:
    """Lines as text; the cells of a table row that hold one line each become one line."""
    if not any(line.flags & columns.IN_CELL for line in lines):
        return "\n".join(line.text for line in lines).strip("\n")
    cells, rows = _cells_and_rows(page)
    texts: list[str] = []
    for row, group in groupby(lines, key=lambda line: rows[line.block]):
        members = list(group)
        homes = [cells[line.block] for line in members]
        separator = "\t" if row >= 0 and len(set(homes)) == len(homes) else "\n"
        texts.append(separator.join(line.text for line in members))
    return "\n".join(texts).strip("\n")


def _cells_and_rows(page: PageLines) -> tuple[list[int], list[int]]:
    """The innermost table cell and row of each block; -1 outside tables."""
    cell_tags = {tables().number("td"), tables().number("th")}
    row_tag, table_tag = tables().number("tr"), tables().number("table")
    cells, rows = [-1], [-1]
    for index, (parent, tag, _) in enumerate(page.blocks[1:].tolist(), start=1):
        cells.append(-1 if tag == table_tag else index if tag in cell_tags else cells[parent])
        rows.append(-1 if tag == table_tag else index if tag == row_tag else rows[parent])
    return cells, rows
