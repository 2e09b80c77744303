"""What should make one look again at a vocabulary: tokens that show where its text came from.

Crawls that were not cleaned leave their adverts in the vocabulary. OpenAI's o200k_base has tokens for
天天中彩票 and 无码不卡高清免费 (openai/tiktoken#368): text nobody writes, never seen again in training, and
a cause of nonsense where a prompt holds it. A finding is a reason to look, not a verdict.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from corpuskit.clean.code_points import HAN
from corpuskit.clean.terms import LINK_MARKS, SPAM_TERMS
from corpuskit.clean.variants import converter

SPAM_TOPICS = (
    "彩票", "时时彩", "快三", "快3", "六合彩", "北京赛车", "飞艇", "百家乐", "老虎机", "棋牌", "博彩", "赌场",
    "娱乐城", "娱乐平台", "投注", "赔率", "毛片", "黄片", "av片", "三级片", "无码", "高清免费", "免费视频",
    "视频免费", "在线观看", "在线视频", "免费观看", "色情", "情色", "自拍", "久久热", "久久精品", "久久综合",
    "久久免费", "私服", "代开", "办证", "加微信", "微信号", "提现", "返利", "优惠券",
)  # fmt: skip
"""Words of the trades that fill crawls. Each is a word of the language, so that a token *longer* than it is
asked for: 彩票 is fit for a vocabulary, 天天中彩票 is not."""

MIN_SPAM_CHARACTERS = 4
"""Shortest token with a word of `SPAM_TOPICS` that counts: 买彩票, 裸露 are words."""

MIN_REPEATS, MIN_REPEAT_CHARACTERS = 4, 8
MIN_WHITE_SPACE = 4
NUM_EXAMPLES = 12
NUM_LONGEST = 12

_REPEAT = re.compile(rf"(.{{1,4}}?)\1{{{MIN_REPEATS - 1},}}", re.DOTALL)
_WHITE = re.compile(rf"\s{{{MIN_WHITE_SPACE},}}")
_HOSTS = "|".join(
    sorted((re.escape(mark[1:]) for mark in LINK_MARKS if mark[0] == "."), key=len, reverse=True)
)
_LINK = re.compile(rf"://\w|www\.\w|\w\.(?:{_HOSTS})(?![a-z])", re.IGNORECASE | re.ASCII)
_HAN = re.compile(f"[{HAN}]")
_ALL_HAN = re.compile(f"[{HAN}]+")


@dataclass(frozen=True)
class Finding:
    """One kind of suspicious token.

    Attributes
    ----------
    kind, title, explanation : str
    ids : tuple of int
        All of them; for near-duplicates, those that have an earlier twin.
    examples : tuple of str
        Some, as text; of near-duplicates the groups, joined by ``=``.
    share : float
        Of the ordinary tokens.
    """

    kind: str
    title: str
    explanation: str
    ids: tuple[int, ...]
    examples: tuple[str, ...]
    share: float


def lint(tokens: Sequence[str | None], counts: Sequence[int] | None = None) -> list[Finding]:
    """Findings in a vocabulary.

    Parameters
    ----------
    tokens : sequence of str or None
        Text of each id; None for special tokens, single bytes and parts of characters.
    counts : sequence of int, optional
        How often each id occurs in some text: adds the finding ``unused``.

    Returns
    -------
    list of Finding
        One of every kind, empty ones too, in a fixed order.
    """
    texts = {token_id: token for token_id, token in enumerate(tokens) if token}
    total = max(1, len(texts))
    plain = _folded(texts)
    found = [
        _finding(
            "spam",
            "spam words",
            "hold a phrase of adverts, gambling or adult pages, or are longer than such a word",
            [i for i, text in plain.items() if is_spam(text)],
            texts,
            total,
        ),
        _finding(
            "urls",
            "web addresses",
            "hold a host name or the start of one",
            [i for i, text in texts.items() if _LINK.search(text)],
            texts,
            total,
        ),
        _finding(
            "repeats",
            "overlong repeats",
            f"one to four characters {MIN_REPEATS} times or more, {MIN_REPEAT_CHARACTERS} characters in all",
            [i for i, text in texts.items() if is_repeat(text)],
            texts,
            total,
        ),
        _finding(
            "white_space",
            "white-space runs",
            f"hold {MIN_WHITE_SPACE} white-space characters or more in a row; useful for source code only",
            [i for i, text in texts.items() if _WHITE.search(text)],
            texts,
            total,
        ),
        *_near_duplicates(texts, total),
    ]
    if counts is not None:
        unused = [i for i in texts if counts[i] == 0 and _HAN.search(texts[i])]
        found.append(
            _finding(
                "unused",
                "Chinese tokens not used",
                "hold Han characters and do not occur on this text; more text, fewer of them",
                unused,
                texts,
                total,
            )
        )
    longest = sorted(
        (i for i, text in texts.items() if _ALL_HAN.fullmatch(text.strip())),
        key=lambda i: (-len(texts[i].strip()), i),
    )
    found.append(
        _finding(
            "longest",
            "longest Chinese tokens",
            "are no fault; what a crawl repeats most shows in them",
            longest[:NUM_LONGEST],
            texts,
            total,
        )
    )
    return found


def is_spam(folded: str) -> bool:
    """Whether a token (NFKC, lower case, Simplified) looks like spam."""
    if any(term in folded for term in _PHRASES):
        return True
    size = len(folded.strip())
    return size >= MIN_SPAM_CHARACTERS and any(word in folded and size > len(word) for word in SPAM_TOPICS)


_PHRASES = tuple(term.lower() for term in SPAM_TERMS if len(term) > 2)


def is_repeat(text: str) -> bool:
    """Whether a token is a short unit over and over, white space left out."""
    bare = text.strip()
    return len(bare) >= MIN_REPEAT_CHARACTERS and _REPEAT.fullmatch(bare) is not None


def _folded(texts: dict[int, str]) -> dict[int, str]:
    """Tokens as NFKC, lower case and Simplified."""
    return _simplified({i: unicodedata.normalize("NFKC", text).lower() for i, text in texts.items()})


def _simplified(texts: dict[int, str]) -> dict[int, str]:
    """Tokens in Simplified characters; one conversion each, so that no token is context of another."""
    convert = converter("t2s").convert
    return {i: convert(text) if _HAN.search(text) else text for i, text in texts.items()}


def _near_duplicates(texts: dict[int, str], total: int) -> list[Finding]:
    wide = {i: unicodedata.normalize("NFKC", text) for i, text in texts.items()}
    found = []
    for kind, title, explanation, keys, before in (
        (
            "width",
            "the same in another width",
            "equal another token after NFKC (fullwidth and halfwidth forms, ligatures)",
            wide,
            texts,
        ),
        (
            "script",
            "the same in another script",
            "equal another token in Simplified characters; a vocabulary for both scripts has many",
            _simplified(wide),
            wide,
        ),
    ):
        groups: dict[str, dict[str, int]] = {}
        for i in texts:
            groups.setdefault(keys[i], {}).setdefault(before[i], i)
        twins = [list(group.values()) for group in groups.values() if len(group) > 1]
        ids = tuple(sorted(i for group in twins for i in group[1:]))
        examples = tuple("=".join(texts[i] for i in group[:4]) for group in twins[:NUM_EXAMPLES])
        found.append(Finding(kind, title, explanation, ids, examples, len(ids) / total))
    return found


def _finding(
    kind: str, title: str, explanation: str, ids: Sequence[int], texts: dict[int, str], total: int
) -> Finding:
    chosen = sorted(ids, key=lambda i: (-len(texts[i]), i)) if kind != "unused" else list(ids)
    examples = tuple(texts[i] for i in chosen[:NUM_EXAMPLES])
    return Finding(kind, title, explanation, tuple(sorted(ids)), examples, len(ids) / total)
