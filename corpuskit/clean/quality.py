"""What a document of Chinese prose looks like in numbers, and the limits below which it is not one.

The published rules count words of spaced languages: stop marks without 。！？, lines split on
spaces, a mean word length. Here every measure is a share of characters or of lines, and every limit
was set on samples of three corpora (701 statutes, 285 days of television news, 2,451 scraped news
items), whose whole articles must pass: the rules below drop 0.1 % of the statutes, 2.5 % of the
transcripts (days that hold nothing but headlines) and 11 % of the news, most of it shorter than 50
characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from corpuskit.clean.characters import SHORT_LINE_CHARACTERS, CharacterClass, count_characters
from corpuskit.clean.steps import (
    Check,
    Judged,
    Step,
    at_least,
    at_most,
    require_at_least,
    require_shares,
    texts,
)
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ConfigError

UNIQUE_WINDOW_CHARACTERS = 1000
"""The share of distinct characters falls with length (0.27 in the first
thousand of the middle statute, 0.02 in all 48,000 of the longest), so it is taken
from the first thousand."""


LINE_RULE_MIN_LINES = 5
"""Shares of lines mean nothing in a document that was scraped into one line, as the scraped news
was. With fewer lines than this a document passes the two rules on lines."""


@dataclass(frozen=True)
class Quality(Step):
    """Drop documents whose character and line statistics are not those of prose.

    Lengths are visible characters, that is without white space; shares are of visible characters or
    of lines with any.

    Attributes
    ----------
    min_characters, max_characters : int
        ``clean/min_characters``, ``clean/max_characters``. Chinese-Tiny-LLM takes 50 to 10,000; its
        upper limit would drop a tenth of the statutes, half the transcripts and every book.
    min_han_share : float
        ``clean/han_share``: Han per visible character. ChineseWebText asks for 0.3.
    max_digit_share : float
        ``clean/digit_share``. Chinese-Tiny-LLM: 0.3.
    max_punctuation_share : float
        ``clean/punctuation_share``. Nine tenths of the three corpora have
        0.06 to 0.15; lists of titles and rows of emoticons have more.
    max_symbol_share : float
        ``clean/symbol_share``. Gopher's limit on symbols, 0.1.
    min_stops_per_1000 : float
        ``clean/stops``: marks 。！？…； per 1,000 characters. Statutes and transcripts have
        13 to 26; menus, tables and lists of headlines next to none.
    min_terminated_line_share : float
        ``clean/terminated_line_share``: lines ending in a terminal mark (closing quotes may
        follow), in documents of at least `LINE_RULE_MIN_LINES` lines. FineWeb 0.12, FineWeb-2 0.106
        for Chinese; a fortieth of the television transcripts, which end headlines without a mark,
        would miss 0.1 (most of those hold nothing but headlines).
    max_short_line_share : float
        ``clean/short_line_share``: lines below 10 characters. FineWeb 0.67; FineWeb-2 leaves it out
        for Chinese because its lines were counted in words.
    min_unique_share : float
        ``clean/unique_share``: distinct characters among the first 1,000. Chinese-Tiny-LLM: 0.1 of
        the whole.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    min_characters: int = 50
    max_characters: int = 2_000_000
    min_han_share: float = 0.3
    max_digit_share: float = 0.3
    max_punctuation_share: float = 0.35
    max_symbol_share: float = 0.1
    min_stops_per_1000: float = 2.0
    min_terminated_line_share: float = 0.05
    max_short_line_share: float = 0.7
    min_unique_share: float = 0.1

    def __post_init__(self) -> None:
        require_at_least(self, 0, "min_characters", "max_characters", "min_stops_per_1000")
        if self.max_characters < self.min_characters:
            raise ConfigError(
                f"{self.max_characters} is less than min_characters {self.min_characters}",
                where="max_characters",
            )
        require_shares(
            self,
            "min_han_share",
            "max_digit_share",
            "max_punctuation_share",
            "max_symbol_share",
            "min_terminated_line_share",
            "max_short_line_share",
            "min_unique_share",
        )

    def judge(self, batch: DocumentBatch) -> Judged:
        text = texts(batch)
        return Judged(batch, self.checks(text))

    def checks(self, text: pa.Array) -> list[Check]:
        """The checks of a string array, in the order in which they decide."""
        counts = count_characters(text, short_line=SHORT_LINE_CHARACTERS)
        kinds = CharacterClass
        enough_lines = counts.num_lines >= LINE_RULE_MIN_LINES
        terminated = np.where(enough_lines, counts.terminated_line_share, 1.0)
        short = np.where(enough_lines, counts.short_line_share, 0.0)
        return [
            at_least("min_characters", counts.visible, self.min_characters),
            at_most("max_characters", counts.visible, self.max_characters),
            at_least("han_share", counts.share(counts.han), self.min_han_share),
            at_most("digit_share", counts.share(counts.of(kinds.DIGIT)), self.max_digit_share),
            at_most(
                "punctuation_share", counts.share(counts.of(kinds.PUNCTUATION)), self.max_punctuation_share
            ),
            at_most("symbol_share", counts.share(counts.of(kinds.SYMBOL)), self.max_symbol_share),
            at_least("stops", counts.stops_per_1000, self.min_stops_per_1000),
            at_least("terminated_line_share", terminated, self.min_terminated_line_share),
            at_most("short_line_share", short, self.max_short_line_share),
            at_least("unique_share", unique_shares(text), self.min_unique_share),
        ]


def unique_shares(text: pa.Array) -> np.ndarray:
    """Distinct characters per character in the first `UNIQUE_WINDOW_CHARACTERS` of each document."""
    shares = np.ones(len(text))
    for row, value in enumerate(text):
        window = value.as_py()[:UNIQUE_WINDOW_CHARACTERS]
        if window:
            shares[row] = len(set(window)) / len(window)
    return shares
