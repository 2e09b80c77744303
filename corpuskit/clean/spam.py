"""Adverts, keyword soup, and pages made of "read more" stubs.

A short neutral list of advertising phrases, and measures of form that need no list. The list names
trades and calls to action, not topics: a news report about gambling uses such a phrase once or
twice, an advert every few lines, so the limit is a density and not an occurrence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pyarrow as pa

from corpuskit.clean.steps import Check, Judged, Step, at_most, require_at_least, require_shares, texts
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ConfigError

SPAM_TERMS = (
    "加微信", "加我微信", "微信号", "加QQ", "客服QQ", "咨询热线", "订购热线", "联系电话",
    "立即购买", "点击购买", "立即咨询", "在线咨询", "免费领取", "点击领取", "限时抢购", "包邮",
    "代开发票", "开发票", "办证", "刻章", "六合彩", "时时彩", "百家乐", "娱乐城",
    "博彩", "棋牌", "彩票平台", "开户送", "私服", "外挂", "刷单", "网赚",
    "日赚", "兼职", "信用卡套现", "小额贷款", "无抵押贷款", "代孕", "壮阳", "减肥药",
    "成人用品", "激情视频",
)  # fmt: skip
"""Phrases of adverts, from the trades that fill Chinese comment sections and link farms."""

MIN_STUB_LINES = 5
"""Fewer lines than this are not judged as stubs: an article scraped into one line often ends in 查看更多."""

MIN_SOUP_TOKENS = 6
MAX_SOUP_TOKEN_CHARACTERS = 8

_STUB = re.compile(
    "(?:展开全文|展开|查看更多|加载更多|阅读全文|查看全文|阅读更多|点击查看|更多|更多>+|详细|\\[详细\\]|返回顶部|"
    "下一页|上一页)[\\s>»›\\]】.…]*$"
)
_SEPARATORS = re.compile("[|｜丨/、,，;；_\\-·\\s]+")
_STOP = re.compile("[。！？!?]")
_LINK = re.compile(r"https?://|www\.|\.(?:com|cn|net|cc|top|vip|xyz)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Spam(Step):
    """Drop adverts, keyword soup and pages of link stubs.

    Attributes
    ----------
    max_spam_terms_per_1000 : float
        ``clean/spam_terms``: occurrences of `spam_terms` per 1,000 characters.
    max_links_per_1000 : float
        ``clean/links``: web addresses in the text per 1,000 characters.
    max_keyword_share : float
        ``clean/keyword_soup``: characters in lines of 6 or more short tokens between separators and
        without a full stop.
    max_bracket_share : float
        ``clean/bracket_share``: 【 and 】 per character. Chinese-Tiny-LLM: 0.1.
    max_stub_line_share : float
        ``clean/stub_lines``: lines that end in 展开全文, 更多, 返回顶部 and the like.
        Chinese-Tiny-LLM: 0.3.
    spam_terms : tuple of str
        The phrases.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    max_spam_terms_per_1000: float = 8.0
    max_links_per_1000: float = 10.0
    max_keyword_share: float = 0.5
    max_bracket_share: float = 0.1
    max_stub_line_share: float = 0.3
    spam_terms: tuple[str, ...] = SPAM_TERMS

    def __post_init__(self) -> None:
        require_at_least(self, 0, "max_spam_terms_per_1000", "max_links_per_1000")
        require_shares(self, "max_keyword_share", "max_bracket_share", "max_stub_line_share")
        if not all(self.spam_terms):
            raise ConfigError("a phrase is empty", where="spam_terms", hint="every phrase needs a character")

    def judge(self, batch: DocumentBatch) -> Judged:
        return Judged(batch, self.checks(texts(batch)))

    def checks(self, text: pa.Array) -> list[Check]:
        """The checks of a string array, in the order in which they decide."""
        rows = [self._measure(value.as_py()) for value in text]
        terms, links, soup, brackets, stubs = np.array(rows, np.float64).reshape(-1, 5).T
        return [
            at_most("spam_terms", terms, self.max_spam_terms_per_1000),
            at_most("links", links, self.max_links_per_1000),
            at_most("keyword_soup", soup, self.max_keyword_share),
            at_most("bracket_share", brackets, self.max_bracket_share),
            at_most("stub_lines", stubs, self.max_stub_line_share),
        ]

    def _measure(self, text: str) -> tuple[float, float, float, float, float]:
        length = max(len(text), 1)
        lines = [line for line in text.split("\n") if line.strip()]
        terms = len(_pattern(self.spam_terms).findall(text)) if self.spam_terms else 0
        return (
            1000 * terms / length,
            1000 * len(_LINK.findall(text)) / length,
            sum(len(line) for line in lines if _is_soup(line)) / length,
            (text.count("【") + text.count("】")) / length,
            sum(_STUB.search(line) is not None for line in lines) / len(lines)
            if len(lines) >= MIN_STUB_LINES
            else 0.0,
        )


@cache
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(terms, key=lambda term: (-len(term), term))
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def _is_soup(line: str) -> bool:
    """Many short tokens between separators, and nothing that ends a sentence."""
    if _STOP.search(line):
        return False
    tokens = [token for token in _SEPARATORS.split(line) if token]
    if len(tokens) < MIN_SOUP_TOKENS:
        return False
    return sum(map(len, tokens)) <= MAX_SOUP_TOKEN_CHARACTERS * len(tokens)
