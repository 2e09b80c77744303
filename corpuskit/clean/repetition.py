"""Documents that say the same thing over and over.

The published n-gram limits do not carry over: they count words, and the Chinese ones of FineWeb-2
were computed with joined spaces in the numerator only, which inflates them by half or more. So
n-grams here are of characters, each covered character counts once, and the denominator is all
visible characters: a share can never exceed 1. The limits were set on Chinese prose; statutes and news
bulletins, the most formulaic of it, must pass nearly whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpuskit.clean.statistics import (
    DUPLICATE_NGRAM_SIZES,
    LINE_RULE_MIN_LINES,
    TOP_NGRAM_SIZES,
    MeasuredStep,
    Statistics,
)
from corpuskit.clean.steps import Check, at_most, require_shares
from corpuskit.errors import ConfigError


@dataclass(frozen=True)
class Repetition(MeasuredStep):
    """Drop documents dominated by repeated lines or repeated runs of characters.

    Attributes
    ----------
    max_duplicate_lines : float
        ``clean/duplicate_lines``: lines that stood before in the same document, of documents with
        five lines or more. Lines are compared without white space.
    max_duplicate_line_share : float
        ``clean/duplicate_line_share``: characters in such lines.
    max_top_ngram_shares : tuple of 3 floats
        ``clean/top_2gram_share`` to ``clean/top_4gram_share``: characters covered by the one n-gram
        that covers most.
    max_duplicate_ngram_shares : tuple of 6 floats
        ``clean/duplicate_5gram_share`` to ``clean/duplicate_10gram_share``: characters covered by
        n-grams that occurred before.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    max_duplicate_lines: float = 0.4
    max_duplicate_line_share: float = 0.3
    max_top_ngram_shares: tuple[float, float, float] = (0.2, 0.18, 0.16)
    max_duplicate_ngram_shares: tuple[float, float, float, float, float, float] = (
        0.7,
        0.65,
        0.6,
        0.56,
        0.53,
        0.49,
    )

    def __post_init__(self) -> None:
        require_shares(self, "max_duplicate_lines", "max_duplicate_line_share")
        for name, sizes in (
            ("max_top_ngram_shares", TOP_NGRAM_SIZES),
            ("max_duplicate_ngram_shares", DUPLICATE_NGRAM_SIZES),
        ):
            values = getattr(self, name)
            if len(values) != len(sizes) or not all(0 <= value <= 1 for value in values):
                raise ConfigError(
                    f"{values!r} are not {len(sizes)} shares",
                    where=name,
                    hint=f"one from 0 to 1 for n-grams of {', '.join(map(str, sizes))} characters each",
                )

    def checks(self, statistics: Statistics) -> Sequence[Check]:
        from corpuskit.kernels import charstats as k

        s = statistics
        lines = np.where(s.lines >= LINE_RULE_MIN_LINES, s.line_share(k.DUPLICATE_LINES), 0.0)
        repeated = s.character_share(k.DUPLICATE_LINE_CHARACTERS)
        checks = [
            at_most("duplicate_lines", lines, self.max_duplicate_lines),
            at_most("duplicate_line_share", repeated, self.max_duplicate_line_share),
        ]
        for size, limit in zip(TOP_NGRAM_SIZES, self.max_top_ngram_shares):
            checks.append(at_most(f"top_{size}gram_share", s.ngram_share(size), limit))
        for size, limit in zip(DUPLICATE_NGRAM_SIZES, self.max_duplicate_ngram_shares):
            checks.append(at_most(f"duplicate_{size}gram_share", s.ngram_share(size), limit))
        return checks
