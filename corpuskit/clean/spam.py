"""Adverts, keyword soup, notices of the site's machinery, and pages made of "read more" stubs.

Measures of form, and the density of phrases from short lists (`corpuskit.clean.terms`): a news report
about gambling uses such a phrase once or twice, an advert every few lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpuskit.clean.statistics import LINE_RULE_MIN_LINES, MeasuredStep, Statistics
from corpuskit.clean.steps import Check, at_most, require_at_least, require_shares
from corpuskit.clean.terms import SPAM_TERMS, TermMatcher, term_matcher
from corpuskit.errors import ConfigError

MAX_DISTINCT_TERMS = 8
"""Different terms of a document are counted up to here."""


@dataclass(frozen=True)
class Spam(MeasuredStep):
    """Drop adverts, keyword soup and pages of notices or link stubs.

    Attributes
    ----------
    max_spam_terms_per_1000 : float
        ``clean/spam_terms``: occurrences of `spam_terms` per 1,000 characters, in documents with at
        least `min_spam_terms` different ones (a report repeats the one word that it is about).
    min_spam_terms : int
    max_listed_terms_per_1000 : float
        ``clean/listed_terms``: the same for the terms of `term_files`.
    max_links_per_1000 : float
        ``clean/links``: web addresses in the text per 1,000 characters, in documents with at least
        `min_links` of them (a short text may name its source). E-mail addresses do not count.
    max_link_share : float
        ``clean/link_share``: characters in web addresses, in the same documents.
    min_links : int
    max_keyword_share : float
        ``clean/keyword_soup``: characters in lines of 6 or more short tokens between separators, at
        least half of them Han, without a full stop.
    max_bracket_share : float
        ``clean/bracket_share``: 【 and 】 per character.
    max_stub_line_share : float
        ``clean/stub_lines``: lines that end in 展开全文, 更多, 返回顶部 and the like, in documents of
        five lines or more.
    max_notice_share : float
        ``clean/notice_share``: characters in lines below 120 characters with a notice such as
        请启用JavaScript or 版权所有.
    spam_terms : tuple of str
        The phrases; ASCII letters match in either case.
    term_files : tuple of str
        Files of further phrases, one a line, # for comments; see `corpuskit.clean.terms.read_terms`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    max_spam_terms_per_1000: float = 2.5
    min_spam_terms: int = 3
    max_listed_terms_per_1000: float = 4.0
    max_links_per_1000: float = 10.0
    max_link_share: float = 0.3
    min_links: int = 3
    max_keyword_share: float = 0.35
    max_bracket_share: float = 0.05
    max_stub_line_share: float = 0.3
    max_notice_share: float = 0.3
    spam_terms: tuple[str, ...] = SPAM_TERMS
    term_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_at_least(
            self, 0, "max_spam_terms_per_1000", "max_listed_terms_per_1000", "max_links_per_1000"
        )
        require_at_least(self, 1, "min_links")
        if not 1 <= self.min_spam_terms <= MAX_DISTINCT_TERMS:
            raise ConfigError(
                f"{self.min_spam_terms!r} is not possible",
                where="min_spam_terms",
                hint=f"allowed: 1 to {MAX_DISTINCT_TERMS}",
            )
        require_shares(
            self,
            "max_link_share",
            "max_keyword_share",
            "max_bracket_share",
            "max_stub_line_share",
            "max_notice_share",
        )
        if not all(term.strip() and "\n" not in term for term in self.spam_terms):
            raise ConfigError(
                "a phrase is blank or holds a line break", where="spam_terms", hint="one line of text each"
            )

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self.term_files)

    @property
    def terms(self) -> TermMatcher:
        return term_matcher(tuple(self.spam_terms), tuple(self.term_files))

    def checks(self, statistics: Statistics) -> Sequence[Check]:
        from corpuskit.kernels import charstats as k
        from corpuskit.kernels.terms import LISTED, SPAM

        s = statistics
        enough = s.count(k.DISTINCT_SPAM) >= self.min_spam_terms
        terms = np.where(enough, s.per_1000(s.terms[:, SPAM]), 0.0)
        linked = s.count(k.LINKS) >= self.min_links
        links = np.where(linked, s.per_1000(s.count(k.LINKS)), 0.0)
        link_share = np.where(linked, s.character_share(k.LINK_CHARACTERS), 0.0)
        stubs = np.where(s.lines >= LINE_RULE_MIN_LINES, s.line_share(k.STUB_LINES), 0.0)
        return [
            at_most("spam_terms", terms, self.max_spam_terms_per_1000),
            at_most("listed_terms", s.per_1000(s.terms[:, LISTED]), self.max_listed_terms_per_1000),
            at_most("links", links, self.max_links_per_1000),
            at_most("link_share", link_share, self.max_link_share),
            at_most("keyword_soup", s.character_share(k.SOUP_CHARACTERS), self.max_keyword_share),
            at_most("bracket_share", s.character_share(k.BRACKETS), self.max_bracket_share),
            at_most("stub_lines", stubs, self.max_stub_line_share),
            at_most("notice_share", s.character_share(k.NOTICE_CHARACTERS), self.max_notice_share),
        ]
