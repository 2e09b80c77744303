"""What a document of Chinese prose looks like in numbers, and the limits beyond which it is not one.

The published rules count words of spaced languages: stop marks without 。！？, lines split on
spaces, a mean word length. Here every measure is a share of characters or of lines. Each limit's
source, and where the corpora it was set on lie, is in ``docs/explanation/cleaning-thresholds.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpuskit.clean.characters import CharacterClass
from corpuskit.clean.statistics import (
    FUNCTION_RULE_MIN_CHARACTERS,
    LINE_RULE_MIN_LINES,
    MeasuredStep,
    Statistics,
)
from corpuskit.clean.steps import Check, at_least, at_most, require_at_least, require_shares
from corpuskit.errors import ConfigError


@dataclass(frozen=True)
class Quality(MeasuredStep):
    """Drop documents whose character and line statistics are not those of prose.

    Lengths are visible characters, that is without white space; shares are of visible characters or
    of lines with any. Documents of fewer than five lines pass the rules on lines, and
    documents below 200 characters those on function characters.

    Attributes
    ----------
    min_characters, max_characters : int
        ``clean/min_characters``, ``clean/max_characters``.
    min_han_share : float
        ``clean/han_share``: Han.
    max_digit_share, max_punctuation_share, max_symbol_share : float
        ``clean/digit_share``, ``clean/punctuation_share``, ``clean/symbol_share``.
    min_stops_per_1000 : float
        ``clean/stops``: marks 。！？…； per 1,000 characters.
    min_function_share : float
        ``clean/function_share``: characters that do the grammar of prose (的了是在…), see
        `corpuskit.clean.characters.FUNCTION_CHARACTERS`.
    min_function_characters : int
        ``clean/function_characters``: how many different ones of them.
    min_terminated_line_share : float
        ``clean/terminated_line_share``: lines ending in a terminal mark (closing quotes may follow).
    max_short_line_share : float
        ``clean/short_line_share``: lines below 10 characters.
    min_mean_line_characters : float
        ``clean/mean_line_characters``: characters a line.
    max_bullet_line_share : float
        ``clean/bullet_line_share``: lines that begin with a bullet.
    max_ellipsis_line_share : float
        ``clean/ellipsis_line_share``: lines that end in … or three full stops.
    max_list_share : float
        ``clean/list_share``: characters in lines below 40 characters without 。！？, as in lists of
        headlines and links.
    max_dated_line_share : float
        ``clean/dated_line_share``: such lines that hold a date (2024-03, 3月5日, 05/03/24), as on index
        pages.
    min_unique_share : float
        ``clean/unique_share``: distinct characters among the first 1,000.
    min_entropy : float
        ``clean/entropy``: bits a character.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    min_characters: int = 50
    max_characters: int = 2_000_000
    min_han_share: float = 0.3
    max_digit_share: float = 0.3
    max_punctuation_share: float = 0.3
    max_symbol_share: float = 0.1
    min_stops_per_1000: float = 2.0
    min_function_share: float = 0.01
    min_function_characters: int = 3
    min_terminated_line_share: float = 0.05
    max_short_line_share: float = 0.7
    min_mean_line_characters: float = 7.0
    max_bullet_line_share: float = 0.6
    max_ellipsis_line_share: float = 0.3
    max_list_share: float = 0.9
    max_dated_line_share: float = 0.5
    min_unique_share: float = 0.1
    min_entropy: float = 4.5

    def __post_init__(self) -> None:
        require_at_least(
            self,
            0,
            "min_characters",
            "max_characters",
            "min_stops_per_1000",
            "min_function_characters",
            "min_mean_line_characters",
            "min_entropy",
        )
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
            "min_function_share",
            "min_terminated_line_share",
            "max_short_line_share",
            "max_bullet_line_share",
            "max_ellipsis_line_share",
            "max_list_share",
            "max_dated_line_share",
            "min_unique_share",
        )

    def checks(self, statistics: Statistics) -> Sequence[Check]:
        from corpuskit.kernels import charstats as k

        s, kinds = statistics, CharacterClass
        enough = s.lines >= LINE_RULE_MIN_LINES
        long = s.visible >= FUNCTION_RULE_MIN_CHARACTERS

        def of_lines(values: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
            return np.where(enough, values, otherwise)

        return [
            at_least("min_characters", s.visible, self.min_characters),
            at_most("max_characters", s.visible, self.max_characters),
            at_least("han_share", s.han_share, self.min_han_share),
            at_most("digit_share", s.of(kinds.DIGIT), self.max_digit_share),
            at_most("punctuation_share", s.of(kinds.PUNCTUATION), self.max_punctuation_share),
            at_most("symbol_share", s.of(kinds.SYMBOL), self.max_symbol_share),
            at_least("stops", s.per_1000(s.count(k.SENTENCES)), self.min_stops_per_1000),
            at_least(
                "function_share",
                np.where(long, s.character_share(k.FUNCTIONS), 1.0),
                self.min_function_share,
            ),
            at_least(
                "function_characters",
                np.where(long, s.count(k.DISTINCT_FUNCTIONS), np.inf),
                self.min_function_characters,
            ),
            at_least(
                "terminated_line_share",
                of_lines(s.line_share(k.TERMINATED_LINES), 1.0),
                self.min_terminated_line_share,
            ),
            at_most("short_line_share", of_lines(s.line_share(k.SHORT_LINES)), self.max_short_line_share),
            at_least(
                "mean_line_characters",
                of_lines(s.mean_line_characters, np.inf),
                self.min_mean_line_characters,
            ),
            at_most("bullet_line_share", of_lines(s.line_share(k.BULLET_LINES)), self.max_bullet_line_share),
            at_most(
                "ellipsis_line_share", of_lines(s.line_share(k.ELLIPSIS_LINES)), self.max_ellipsis_line_share
            ),
            at_most("list_share", of_lines(s.character_share(k.LIST_CHARACTERS)), self.max_list_share),
            at_most("dated_line_share", of_lines(s.line_share(k.DATED_LINES)), self.max_dated_line_share),
            at_least("unique_share", s.unique_share, self.min_unique_share),
            at_least("entropy", s.entropy, self.min_entropy),
        ]
