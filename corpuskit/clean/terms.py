"""Lists of phrases, and the matcher that finds all of them in one pass.

Five categories: what makes a run of ASCII a web address, what ends a teaser ("read more"), notices of
the site's machinery, phrases of adverts, and the user's own lists. The lists here are short and
neutral on purpose: they name trades and calls to action, never topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from corpuskit.clean.characters import tables, utf8_buffers
from corpuskit.errors import InputError

LINK_MARKS = (
    "://", "www.", ".com", ".cn", ".net", ".org", ".cc", ".top", ".vip", ".xyz", ".info", ".tw", ".hk",
)  # fmt: skip
"""A run of visible ASCII that holds one of these is a web address."""

READ_MORE = (
    "展开全文", "展开阅读", "展开", "收起", "查看更多", "加载更多", "了解更多", "阅读更多", "更多",
    "阅读全文", "查看全文", "查看原文", "阅读原文", "点击查看", "查看详情", "点击进入", "详情", "详细",
    "全文", "返回顶部", "回到顶部", "返回首页", "返回列表", "返回上页", "下一页", "上一页", "下一篇",
    "上一篇", "展開全文", "閱讀全文", "閱讀更多", "查看詳情", "返回頂部", "回到頂部", "下一頁", "上一頁",
    "read more", "more",
)  # fmt: skip
"""Endings of teasers and of paging. Chinese-Tiny-LLM looks for lines ending in 展开 and 更多 alone."""

NOTICES = (
    "启用javascript", "启用 javascript", "开启javascript", "开启 javascript", "打开javascript",
    "不支持javascript", "支持javascript", "javascript脚本", "禁用了javascript", "浏览器版本过低",
    "浏览器版本太低", "升级浏览器", "升级您的浏览器", "升级你的浏览器", "请更换浏览器", "浏览器不支持",
    "使用cookie", "使用 cookie", "启用cookie", "启用 cookie", "cookie政策", "cookie 政策", "隐私权政策",
    "lorem ipsum", "enable javascript", "use cookies", "页面不存在", "页面已经不存在", "页面未找到",
    "您访问的页面", "访问的地址有错误", "404 not found", "请先登录", "登录后才能", "登录后查看", "扫码登录",
    "请输入验证码", "收藏本站", "加入收藏", "设为首页", "ctrl+d", "最新网址", "永久网址", "版权所有",
    "all rights reserved", "icp备", "未经授权", "未满18", "网站地图", "友情链接", "啟用javascript",
    "啟用 javascript", "瀏覽器版本過低", "登入後", "未滿18", "版權所有",
)  # fmt: skip
"""Notices of scripts, browsers, cookies, missing pages, logins and page footers: what C4 (Raffel et al.
2020) takes out of English pages line by line as "javascript", "lorem ipsum" and "cookie policy"."""

SPAM_TERMS = (
    "加微信", "加我微信", "加v信", "加QQ", "客服QQ", "咨询热线", "订购热线", "立即购买", "点击购买",
    "立即咨询", "在线咨询", "免费领取", "点击领取", "限时抢购", "包邮", "欢迎来电", "厂家直销", "批发价",
    "诚招代理", "招代理", "招商加盟", "代开发票", "代办证件", "办证刻章", "刻章办证", "代写论文",
    "贷款咨询", "无抵押贷款", "小额贷款公司", "无抵押小额贷款", "黑户贷款", "不成功不收费", "信用卡套现",
    "网赚", "日赚", "稳赚", "兼职日结", "刷单兼职加", "上门服务", "彩票平台", "时时彩平台", "时时彩计划",
    "六合彩资料", "特码", "平特一肖", "百家乐平台", "真人荷官", "棋牌下载", "pk10计划", "赛车计划",
    "飞艇计划", "计划群", "倍投", "开户送", "注册送", "首存", "首充", "彩金", "返水", "包赔", "信誉平台",
    "投注平台", "在线投注", "线上娱乐", "娱乐平台", "娱乐城", "官方网站注册", "官网注册", "裸聊", "约炮",
    "激情视频", "成人用品", "成人视频", "成人电影", "成人小说", "黄色小说", "情色小说", "口交", "肛交",
    "淫荡", "淫水", "一本道", "国产自拍", "偷拍自拍", "无码", "色图", "av在线", "免费观看日本", "壮阳药",
)  # fmt: skip
"""Phrases of adverts, gambling and adult pages, from the trades that fill Chinese comment sections and
link farms: calls to action and names of offers, not of topics, which reports and warnings repeat
(刷单, 博彩, 六合彩 alone are not in it)."""


@dataclass(frozen=True, eq=False)
class TermMatcher:
    """A trie over terms of all categories; see `corpuskit.kernels.terms`.

    Attributes
    ----------
    pairs, edges, nodes, node_terms : numpy.ndarray
    properties : uint16[0x110000]
        `tables().properties` with the flag of characters that begin a term.
    """

    pairs: np.ndarray
    edges: np.ndarray
    nodes: np.ndarray
    node_terms: np.ndarray
    properties: np.ndarray


@cache
def term_matcher(spam_terms: tuple[str, ...] = SPAM_TERMS, term_files: tuple[str, ...] = ()) -> TermMatcher:
    """The matcher of the built-in lists, `spam_terms`, and the terms of the user's files.

    Built once a process for each set of lists.

    Parameters
    ----------
    spam_terms : tuple of str
    term_files : tuple of str
        See `read_terms`.

    Raises
    ------
    InputError
        Where `read_terms` does.
    """
    from corpuskit.kernels import charstats
    from corpuskit.kernels import terms as kernel

    listed = tuple(term for path in term_files for term in read_terms(path))
    terms: list[str] = []
    categories: list[int] = []
    for category, words in (
        (kernel.LINK, LINK_MARKS),
        (kernel.STUB, READ_MORE),
        (kernel.NOTICE, NOTICES),
        (kernel.SPAM, spam_terms),
        (kernel.LISTED, listed),
    ):
        terms += words
        categories += [1 << category] * len(words)
    data, offsets = utf8_buffers(pa.array(terms, pa.large_string()))
    characters = sum(map(len, terms))
    slots = 1 << max(4, (2 * characters).bit_length())
    edges, nodes = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
    node_terms = np.zeros(characters + 1, np.uint8)
    pairs = np.zeros(1 << 16, np.uint8)
    kernel.insert_terms(data, offsets, np.array(categories, np.uint8), pairs, edges, nodes, node_terms)
    properties = tables().properties.copy()
    first = {ord(case) for term in terms for case in _ascii_cases(term[0])}
    properties[sorted(first)] |= charstats.TERM_START
    properties[sorted(first)] &= ~np.uint16(charstats.PLAIN)
    return TermMatcher(pairs, edges, nodes, node_terms, properties)


def read_terms(path: str) -> list[str]:
    """Terms of a text file in UTF-8: one a line; blank lines and lines beginning with # do not count.

    Raises
    ------
    InputError
        If the file is missing or not UTF-8, or a term is a single ASCII character; with the line.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"the list of terms cannot be read: {error.strerror}", where=path, hint="one term a line, UTF-8"
        ) from error
    terms = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            term = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise InputError(
                "a term is not UTF-8", where=f"{path}:{number}", hint="save the list as UTF-8"
            ) from error
        if not term or term.startswith("#"):
            continue
        if len(term) == 1 and term.isascii():
            raise InputError(
                f"the term {term!r} would match nearly everywhere",
                where=f"{path}:{number}",
                hint="use a longer term",
            )
        terms.append(term)
    return terms


def _ascii_cases(character: str) -> set[str]:
    return {character, character.lower(), character.upper()} if character.isascii() else {character}
