"""Lines that are furniture, within one document: the share button after every paragraph, the editor's name.

Two rules, both careful: a line that comes back is removed from its second occurrence on only where it looks
like no sentence (short, some Han, no mark at its end and no number of a section before it, so that neither
answers in an interview, nor speakers' names, headings or brackets of code are touched); and lines of known
form (责任编辑：…, 返回顶部, 版权所有) only among the first and last
of a document, and no sentence but of fixed wording. Lines that a whole
site shares are the concern of `corpuskit.clean.boilerplate`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from corpuskit.clean.characters import CLOSING, TERMINAL, utf8_buffers
from corpuskit.clean.steps import (
    Check,
    Judged,
    Step,
    at_most,
    require_at_least,
    require_shares,
    texts,
)
from corpuskit.documents import DocumentBatch, replace_text
from corpuskit.errors import ConfigError

EDGE_PATTERNS = (
    r"[(\[【]?(?:责任编辑|责编|编辑|编审|校对|审核|监制|终审|值班编委|来源|稿源|供稿)[:]"
    r"(?!.*[我你您他她它们])[^,]{1,30}",
    r"(?:微信)?(?:点击|长按|扫描?|识别|扫一扫).{0,20}(?:二维码|关注|分享|下载).{0,20}",
    r"扫一扫(?:[, ]?(?:手机|用手机|微信|打开|查看|观看|添加|加).{0,16})?",
    r"(?:返回|回到)(?:顶部|首页|列表|上一页|页首)|(?i:top)",
    r"(?:点击)?(?:展开|查看|阅读|显示|加载)(?:全文|更多|原文|全部|剩余.{0,6}).{0,6}|更多[>»]*",
    r"[上下]一(?:篇|页|章|条)(?:[: ].{0,40})?",
    r"(?:版权|免责|法律)声明[:].{0,200}",
    r"(?:特别|郑重)?声明[:](?=.*(?:转载|版权|侵权|立场|本站|本网|本文)).{0,200}",
    r"(?=.*(?:转载|版权|授权|侵权|删除|出处))"
    r"(?=.*(?:不得|请勿|禁止|严禁|谢绝|注明|请.{0,8}联系|联系.{0,10}删除|告知|归.{1,12}所有|仅代表|保留))"
    r"(?:本文|本站|文章|转载|未经|如有|若有).{0,120}",
    r"(?:Copyright|©|\(c\)|版权所有(?![者人])).{0,120}"
    r"|.{0,40}(?:All [Rr]ights [Rr]eserved|版权所有(?![者人])).{0,60}",
    r".{0,20}(?:ICP[备证]|公网安备).{0,40}",
    r"(?:分享|转发)(?:到|至)(?:[: ].{0,30}|"
    r"(?:(?:新浪|腾讯)?(?:微信|微博|朋友圈|好友|QQ|空间|豆瓣|贴吧|群)[、/ ]?){0,6})",
    r"(?:[|/·、 ]*(?:(?:加入)?收藏|点赞|打印(?:本页)?|举报|纠错|评论|分享|关闭(?:窗口|本页)|设为首页)){1,8}"
    r"[|/·、 ]*",
    r"(?:相关(?:阅读|新闻|链接|推荐|文章|专题)|推荐阅读|热门推荐|猜你喜欢|延伸阅读)(?:[:>» ].{0,20})?",
    r"(?:当前位置|您(?:现在)?(?:所在)?的位置(?:是)?)[:].{0,60}|首页 ?[>»].{0,60}",
    r"(?:发布时间|发布日期|更新时间|浏览(?:次数|量)|阅读(?:量|次数)|点击(?:量|数|次数))[:].{0,60}",
)
"""Forms of lines that stand above and below the text of Chinese pages, each as a regular expression that must
match the whole line (fullwidth marks as ASCII, white space as one space). Never compared with a line that
ends like a sentence: what follows the label is then text. 记者： and 作者： are not among them: an interview
has them before every question."""

_USES = "(?:转载|复制|使用|摘编)"
_FORBIDDEN = f"(?:不得|请勿|禁止|严禁|谢绝)(?:擅自|私自|任意)?{_USES}(?:[、或和及]{_USES})*"
_RESERVATION = "(?:,(?:不|与)(?:代表)?本[站网](?:的)?(?:立场|无关))?"

EDGE_FORMULAS = (
    rf"(?:(?:本文|文章|此文)?(?:为|系)?(?:作者|本站|本网|平台)?原创(?:文章|作品|内容)?,)?"
    rf"(?:转载请注明(?:出处|来源|作者)(?:[及和]?(?:出处|来源|作者|链接))*"
    rf"|未经(?:本站|本网|本报|作者|书面|授权|许可|允许|同意){{1,4}},?{_FORBIDDEN})(?:,违者必究)?[。!]?",
    r"版权所有,? ?(?:翻印必究|侵权必究|违者必究|未经(?:授权|许可|允许)(?:不得|禁止|请勿)转载)[。!]?",
    r"(?:本文|文章)?版权归(?:原?作者|本站|本网)所有(?:,(?:转载请注明(?:出处|来源)|侵权(?:必究|必删|请联系删除)))?[。!]?",
    r"(?:如|若)(?:有|果有)?(?:侵权|侵犯(?:您的)?版权),?请(?:及时)?(?:联系|告知)(?:我们|本站|作者)?,?(?:进行)?(?:删除|处理)?[。!]?",
    r"(?:本文|文章|图片|内容|素材)(?:转载?自|来自|来源于|摘自)(?:互联)?网络?,(?:版权归原?作者所有,)?"
    r"如有?(?:侵权|侵犯版权),?请?(?:及时)?联系(?:我们|本站)?删除[。!]?",
    rf"(?:(?:特别|郑重|免责)?声明:)?(?:本文|文章)(?:内容)?(?:仅|只)代表作者(?:个人|本人)?(?:的)?观点{_RESERVATION}[。!]?",
    r"扫一扫,?(?:下载|关注|加|手机看).{0,12}[。!]?",
    r"(?:(?:点击|长按|扫描|识别)(?:上方|下方|图中|左侧|右侧)?二维码),?(?:即可)?(?:关注|下载|添加).{0,12}[。!]?",
)
"""Fixed wordings of rights and of calls to scan, which may end in 。 like the sentence that they are."""

MAX_FORMULA_CHARACTERS = 30
"""The longest line that is compared with `EDGE_FORMULAS`."""

MIN_EDGE_LINES = 3
"""Documents of fewer lines lose none by a pattern: the line may be all that there is."""

_SENTENCE = re.compile(f".*[。!?…][{re.escape(CLOSING)}]*|.*。.*")
_NO_END = TERMINAL + "：:，,、"
_MIN_HAN = 2
_HEADING = re.compile(
    r"#|[-*•·] |第 ?[一二三四五六七八九十百零〇0-9]+ ?[章节條条编編篇回部卷]"
    r"|\(?[一二三四五六七八九十0-9]+[).、]"
)
_MASK64 = (1 << 64) - 1


@dataclass(frozen=True)
class BoilerplateLines(Step):
    """Remove lines that a document repeats, and lines of known form at its edges.

    The check ``clean/boilerplate_share`` drops a document that would lose more than `max_removed_share`;
    ``clean/boilerplate_lines`` only counts the lines removed.

    Attributes
    ----------
    min_repeats : int
        A line that occurs at least this often stays where it stands first and goes elsewhere.
    max_repeat_characters : int
        Longer lines are not removed as repeats. Visible characters; a Chinese clause has some eight, a button
        two to six.
    edge_lines : int
        How many of the first and of the last lines with text are compared with the patterns.
    max_edge_characters : int
        Longer lines are not compared.
    edge_patterns : tuple of str
        Regular expressions; each must match a whole line. Lines that hold 。 or end in ！, ？ or … (closing
        quotes may follow) are sentences and not compared, nor are documents of fewer than three lines.
    edge_formulas : tuple of str
        Further ones, of fixed wordings, that lines of up to 30 characters are compared with, sentence or not.
    max_removed_share : float
        Removed per visible character.

    Raises
    ------
    ConfigError
        For an impossible value or a pattern that is not a regular expression.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    min_repeats: int = 4
    max_repeat_characters: int = 20
    edge_lines: int = 5
    max_edge_characters: int = 200
    edge_patterns: tuple[str, ...] = EDGE_PATTERNS
    edge_formulas: tuple[str, ...] = EDGE_FORMULAS
    max_removed_share: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self, 2, "min_repeats")
        require_at_least(self, 0, "max_repeat_characters", "edge_lines", "max_edge_characters")
        require_shares(self, "max_removed_share")
        for name in ("edge_patterns", "edge_formulas"):
            for pattern in getattr(self, name):
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ConfigError(
                        f"not a regular expression: {error}", where=name, hint=repr(pattern)
                    ) from error

    def judge(self, batch: DocumentBatch) -> Judged:
        stripped = strip_lines(texts(batch), self)
        changed = replace_text(batch, stripped.text) if stripped.lines.any() else batch
        never = np.zeros(batch.num_rows, bool)
        return Judged(
            changed,
            [
                Check("boilerplate_lines", stripped.lines.astype(np.float64), np.inf, never),
                at_most("boilerplate_share", stripped.shares, self.max_removed_share),
            ],
        )


class Lines(NamedTuple):
    """The lines of a string array that have a visible character, in order; one entry each.

    Attributes
    ----------
    documents, starts, stops : numpy.ndarray
        int64: document, and byte range in the array's buffer without the newline.
    hashes : numpy.ndarray
        uint64, of the visible characters; see `corpuskit.kernels.linehash`.
    characters, han, last : numpy.ndarray
        int32: visible characters, Han among them, code point of the last.
    """

    documents: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    hashes: np.ndarray
    characters: np.ndarray
    han: np.ndarray
    last: np.ndarray

    def per_document(self, num_documents: int, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many of `lines` (bool) each document has, and how many characters are in them (int64)."""
        documents = self.documents[lines]
        characters = np.bincount(documents, self.characters[lines], num_documents)
        return np.bincount(documents, minlength=num_documents), characters.astype(np.int64)


class Stripped(NamedTuple):
    """Texts without their furniture: the array, and for each document lines, characters and share removed."""

    text: pa.Array
    lines: np.ndarray
    characters: np.ndarray
    shares: np.ndarray


def lines_of(text: pa.Array, fold_digits: bool = False) -> Lines:
    """Hashes and measures of the lines of a string array without nulls.

    Parameters
    ----------
    text : pyarrow.Array
    fold_digits : bool
        Lines that differ only in digits get the same hash.
    """
    from corpuskit.kernels.linehash import hash_lines

    data, offsets = utf8_buffers(text)
    room = len(text) + int(np.count_nonzero(data[offsets[0] : offsets[-1]] == 10))
    documents, starts, stops = np.empty((3, room), np.int64)
    hashes = np.empty(room, np.uint64)
    characters, han, last = np.empty((3, room), np.int32)
    lines = Lines(documents, starts, stops, hashes, characters, han, last)
    found = hash_lines(data, offsets, ignored_characters(), fold_digits, *lines)
    return Lines(*(column[:found] for column in lines))


def line_hash(line: str, fold_digits: bool = False) -> int:
    """The hash of one line in plain Python; 0 where nothing is visible."""
    from corpuskit.kernels import linehash as kernel
    from corpuskit.kernels.hashing import finish

    table = ignored_characters()
    total = 0
    visible = False
    for code in map(ord, line):
        if code < 65536 and table[code]:
            continue
        if 0xFF01 <= code <= 0xFF5E:
            code -= 0xFEE0
        if fold_digits and 48 <= code <= 57:
            code = 48
        mixed = (code + int(kernel.MIX_ADD)) * int(kernel.MIX_MULTIPLY) & _MASK64
        mixed ^= mixed >> int(kernel.MIX_SHIFT)
        total = (total * int(kernel.BASE) + mixed) & _MASK64
        visible = True
    return int(finish(np.uint64(total))) if visible else 0


def without_lines(text: pa.Array, lines: Lines, removed: np.ndarray) -> pa.Array:
    """The texts without some of their lines.

    Parameters
    ----------
    text : pyarrow.Array
        The array that `lines_of` was given.
    lines : Lines
    removed : numpy.ndarray
        bool, one a line.
    """
    from corpuskit.kernels.linehash import remove_lines

    data, offsets = utf8_buffers(text)
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    out_offsets = np.empty(len(offsets), np.int64)
    places = (lines.documents[removed], lines.starts[removed], lines.stops[removed])
    remove_lines(data, offsets, *places, out, out_offsets)
    kept = out[: out_offsets[-1]]
    return pa.LargeStringArray.from_buffers(len(text), pa.py_buffer(out_offsets), pa.py_buffer(kept))


def strip_lines(text: pa.Array, config: BoilerplateLines) -> Stripped:
    """Remove repeated lines and edge lines from the texts of an array.

    Parameters
    ----------
    text : pyarrow.Array
        string or large_string without nulls.
    config : BoilerplateLines
    """
    lines = lines_of(text)
    removed = _repeats(text, lines, config) | _edges(text, lines, config)
    count, characters = lines.per_document(len(text), removed)
    _, total = lines.per_document(len(text), np.ones(len(removed), bool))
    stripped = without_lines(text, lines, removed) if removed.any() else text
    return Stripped(stripped, count, characters, characters / np.maximum(total, 1))


def _repeats(text: pa.Array, lines: Lines, config: BoilerplateLines) -> np.ndarray:
    """Every occurrence but the first of lines that look like furniture and occur often enough in a
    document."""
    last = lines.last
    ends = np.isin(last, [ord(c) for c in _NO_END])
    closes = np.isin(last, [ord(c) for c in CLOSING])
    looks = (lines.han >= _MIN_HAN) & (lines.characters <= config.max_repeat_characters) & ~ends & ~closes
    places = np.flatnonzero(looks)
    removed = np.zeros(len(looks), bool)
    order = places[np.lexsort((places, lines.hashes[places], lines.documents[places]))]
    if not len(order):
        return removed
    first = np.ones(len(order), bool)
    first[1:] = (lines.hashes[order[1:]] != lines.hashes[order[:-1]]) | (
        lines.documents[order[1:]] != lines.documents[order[:-1]]
    )
    group = np.cumsum(first) - 1
    often = np.bincount(group)[group] >= config.min_repeats
    data, _ = utf8_buffers(text)
    headings: dict[int, bool] = {}
    for line, number in zip(order[often].tolist(), group[often].tolist()):
        if number not in headings:
            raw = bytes(data[lines.starts[line] : lines.stops[line]]).decode("utf-8")
            headings[number] = _HEADING.match(raw.translate(_fold_table()).strip()) is not None
            continue
        removed[line] = not headings[number]
    return removed


def _edges(text: pa.Array, lines: Lines, config: BoilerplateLines) -> np.ndarray:
    """Lines of known form among the first and last of each document."""
    removed = np.zeros(len(lines.documents), bool)
    if not config.edge_lines or not (config.edge_patterns or config.edge_formulas):
        return removed
    labels, formulas = _pattern(config.edge_patterns), _pattern(config.edge_formulas)
    data, _ = utf8_buffers(text)
    view = memoryview(data.data)
    bounds = np.searchsorted(lines.documents, np.arange(len(text) + 1))
    edge = np.zeros(len(removed), bool)
    for step in range(config.edge_lines):
        inside = bounds[:-1] + step < bounds[1:]
        edge[(bounds[:-1] + step)[inside]] = True
        edge[(bounds[1:] - 1 - step)[inside]] = True
    edge &= lines.characters <= config.max_edge_characters
    edge &= np.diff(bounds)[lines.documents] >= MIN_EDGE_LINES
    for line in np.flatnonzero(edge).tolist():
        raw = bytes(view[lines.starts[line] : lines.stops[line]]).decode("utf-8")
        folded = " ".join(raw.translate(_fold_table()).split())
        removed[line] = (not _SENTENCE.fullmatch(folded) and labels.fullmatch(folded) is not None) or (
            lines.characters[line] <= MAX_FORMULA_CHARACTERS and formulas.fullmatch(folded) is not None
        )
    return removed


@cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or "(?!)")


@cache
def _fold_table() -> dict[int, str]:
    return {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}


@cache
def ignored_characters() -> np.ndarray:
    """uint8[65536] with 1 at white space and invisible characters, by the categories of Unicode 3.2 (frozen
    in Python as `unicodedata.ucd_3_2_0`), so that hashes do not change with the Python release."""
    table = np.zeros(65536, np.uint8)
    for code in range(65536):
        table[code] = unicodedata.ucd_3_2_0.category(chr(code)) in ("Zs", "Zl", "Zp", "Cc", "Cf")
    table.setflags(write=False)
    return table
