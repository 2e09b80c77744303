"""What each number of a comparison is called, means, and looks like: the text around `MEASURES`.

One list for the table, the JSON and the page, so that none of them can show a number under another name.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Measure(NamedTuple):
    """A row of the comparison.

    Attributes
    ----------
    key, group, title : str
    form : {"count", "ratio", "share"}
    better : {"higher", "lower", ""}
        Which direction is better as far as this measure alone goes; "" where neither is.
    explanation : str
    """

    key: str
    group: str
    title: str
    form: Literal["count", "ratio", "share"]
    better: Literal["higher", "lower", ""]
    explanation: str


_M = Measure
MEASURES = (
    _M("vocab_size", "vocabulary", "vocabulary size", "count", "", "ids, special tokens included"),
    _M("bytes_per_token", "compression", "bytes/token", "ratio", "higher",
       "UTF-8 bytes of the text per token; unknown text counts as if it had been encoded"),
    _M("unknown_characters", "compression", "lost as <unk>", "share", "lower",
       "characters (not white space) that became <unk>: not in the tokens, yet counted as compressed"),
    _M("known_bytes_per_token", "compression", "bytes/token without <unk>", "ratio", "higher",
       "bytes in known tokens per known token"),
    _M("dropped_characters", "compression", "dropped", "share", "lower",
       "characters (not white space) that are in no token"),
    _M("changed_characters", "compression", "changed", "share", "lower",
       "characters (not white space) that normalisation replaces, as NFKC does with ，"),
    _M("unknown_tokens", "compression", "<unk> tokens", "share", "lower", "share of the tokens"),
    _M("partial_tokens", "compression", "byte-fallback tokens", "share", "lower",
       "tokens that are only part of a character"),
    _M("split_characters", "compression", "split characters", "share", "lower",
       "characters beyond ASCII that are cut into several tokens"),
    _M("characters_per_token", "compression", "characters/token", "ratio", "higher", "code points per token"),
    _M("fertility", "words", "tokens/word", "ratio", "lower", "fertility: tokens per jieba word"),
    _M("boundary_precision", "words", "boundary precision", "share", "higher",
       "token boundaries at Han characters that are word boundaries"),
    _M("boundary_recall", "words", "boundary recall", "share", "higher",
       "word boundaries at Han characters that are token boundaries"),
    _M("cross_word", "words", "cross-word tokens", "share", "lower", "tokens with a word boundary inside"),
    _M("gb2312_1", "characters", "GB 2312 level 1", "share", "higher",
       "of its 3,755 characters, those with a token of their own"),
    _M("gb2312_2", "characters", "GB 2312 level 2", "share", "higher",
       "of its 3,008 characters, those with a token of their own"),
    _M("big5_1", "characters", "Big5 level 1", "share", "higher",
       "of its 5,401 (Traditional) characters, those with a token of their own"),
    _M("simplified_bytes_per_token", "scripts", "bytes/token, Simplified", "ratio", "higher",
       "of the text in Simplified characters"),
    _M("traditional_bytes_per_token", "scripts", "bytes/token, Traditional", "ratio", "higher",
       "of the same text in Traditional characters"),
    _M("traditional_premium", "scripts", "Traditional premium", "ratio", "lower",
       "tokens of the text in Traditional per token in Simplified"),
    _M("parity", "scripts", "parity", "ratio", "lower",
       "tokens of the text per token of its translation (Petrov et al. 2023)"),
    _M("renyi", "tokens", "Rényi efficiency", "share", "",
       "order 2.5, over the whole vocabulary; rewards tokens across words, so report it, do not chase it"),
    _M("renyi_used", "tokens", "Rényi, used types", "share", "",
       "the same over the types that occur, as tokenization-scorer counts them"),
    _M("used", "tokens", "tokens used", "share", "higher",
       "ordinary tokens that occur on this text; grows with the text"),
    _M("unreachable", "tokens", "unreachable tokens", "count", "lower",
       "ordinary tokens that no text gives"),
    _M("partial_utf8", "tokens", "partial UTF-8 tokens", "count", "lower",
       "tokens of two bytes or more that are no whole characters"),
)  # fmt: skip
"""Every measure, in the order in which it is shown."""


def format_value(measure: Measure, value: float | None) -> str:
    """A value as it is shown everywhere: counts whole, ratios with two decimals, shares in per cent."""
    if value is None:
        return "–"
    if measure.form == "count":
        return f"{value:,.0f}"
    if measure.form == "ratio":
        return f"{value:.2f}"
    return format_share(value)


def format_share(value: float) -> str:
    """A share in per cent; what is not nothing does not look like it."""
    if 0 < value < 0.0005:
        return "<0.1%"
    if 0.9995 <= value < 1:
        return ">99.9%"
    return f"{value:.1%}"
