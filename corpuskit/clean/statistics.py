"""All statistics of a batch of documents, measured once; the rules of this room only compare them.

Two kernels read the Arrow buffer: `corpuskit.kernels.charstats` counts characters, lines, terms and
links, `corpuskit.kernels.ngramstats` what repeated n-grams cover. Shares are of visible characters
(without white space) or of lines with any, and 0 for an empty document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from corpuskit.clean.characters import CharacterClass, utf8_buffers
from corpuskit.clean.steps import Check, Judged, Step, texts
from corpuskit.clean.terms import TermMatcher, term_matcher
from corpuskit.documents import DocumentBatch

SHORT_LINE_CHARACTERS = 10
"""A line below this many visible characters is short: menus, tags and captions. ChineseWebText asks
for ten characters a line on average; a Chinese clause has some eight."""

LIST_LINE_CHARACTERS = 40
"""A line below this many visible characters and without 。！？ is an entry of a list: a headline, a link,
a name. Chinese headlines have 10 to 30 characters."""

SOUP_TOKENS = 6
SOUP_TOKEN_CHARACTERS = 8
"""A line without 。！？ and without another mark at its end, of six or more tokens between separators, of at
most eight characters on average and at least half Han, is keyword soup if less than one character in 16 does
the grammar of prose: a sentence of short clauses that lacks its stop has more, and code has other letters."""

NOTICE_LINE_CHARACTERS = 120
"""A notice is a line of its own: below this many visible characters. An article scraped into one line
may end in one."""

UNIQUE_WINDOW_CHARACTERS = 1000
"""The share of distinct characters falls with length (0.27 in the first thousand of the middle statute,
0.02 in all 48,000 of the longest), so it is taken from the first thousand."""

TOP_NGRAM_SIZES = (2, 3, 4)
DUPLICATE_NGRAM_SIZES = (5, 6, 7, 8, 9, 10)

LINE_RULE_MIN_LINES = 5
"""Shares of lines mean nothing in a document that was scraped into one line. With fewer lines than this
a document passes the rules on lines."""


FUNCTION_RULE_MIN_CHARACTERS = 200
"""Below this many visible characters a text may lack function characters by its kind: two quatrains of Tang
verse, a weather report, an entry of a chronicle. Such a document passes the rules on them."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of n documents.

    Attributes
    ----------
    classes : int64[n, 16]
        Characters of each `CharacterClass`.
    counts : int64[n, NUM_COUNTS]
        Columns as `corpuskit.kernels.charstats` names them.
    terms : int64[n, NUM_CATEGORIES]
        Matched terms of each category of `corpuskit.kernels.terms`.
    entropy : float64[n]
        Bits a visible character.
    covers : int64[n, 9]
        Characters covered by repeated n-grams of 2 to 10 characters, see `ngram_shares`.
    """

    classes: np.ndarray
    counts: np.ndarray
    terms: np.ndarray
    entropy: np.ndarray
    covers: np.ndarray

    def filter(self, kept: np.ndarray) -> Statistics:
        """The statistics of the documents chosen by a mask or by indices."""
        return Statistics(
            self.classes[kept], self.counts[kept], self.terms[kept], self.entropy[kept], self.covers[kept]
        )

    def of(self, *kinds: CharacterClass) -> np.ndarray:
        """Characters of these classes together, per visible character."""
        return self._share(self.classes[:, [int(kind) for kind in kinds]].sum(axis=1))

    def count(self, column: int) -> np.ndarray:
        """One column of the counts."""
        return self.counts[:, column]

    @property
    def visible(self) -> np.ndarray:
        """All characters but white space."""
        return self.classes.sum(axis=1) - self.classes[:, CharacterClass.SPACE]

    @property
    def lines(self) -> np.ndarray:
        """Lines with a visible character."""
        return self.counts[:, 0]

    @property
    def han_share(self) -> np.ndarray:
        return self.of(CharacterClass.HAN)

    @property
    def mean_line_characters(self) -> np.ndarray:
        """Visible characters a line. FineWeb's newline ratio is about its reciprocal."""
        return self.visible / np.maximum(self.lines, 1)

    @property
    def unique_share(self) -> np.ndarray:
        """Distinct characters per character among the first 1,000 visible ones; 1 if there are none."""
        from corpuskit.kernels import charstats as k

        window = self.count(k.WINDOW_CHARACTERS)
        return np.where(window > 0, self.count(k.WINDOW_DISTINCT) / np.maximum(window, 1), 1.0)

    def character_share(self, column: int) -> np.ndarray:
        """A column of the counts per visible character."""
        return self._share(self.count(column))

    def line_share(self, column: int) -> np.ndarray:
        """A column of the counts per line."""
        return self.count(column) / np.maximum(self.lines, 1)

    def per_1000(self, values: np.ndarray) -> np.ndarray:
        """Counts per 1,000 visible characters."""
        return 1000 * values / np.maximum(self.visible, 1)

    def ngram_share(self, size: int) -> np.ndarray:
        """Share of visible characters that repeated n-grams cover, each character counted once.

        Sizes 2 to 4: the occurrences of the one n-gram that covers most, if it occurs twice.
        Sizes 5 to 10: all n-grams that occurred before (the first occurrence is not counted). In
        documents of more than 131,072 characters each block of that many is counted apart.
        """
        return self._share(self.covers[:, size - TOP_NGRAM_SIZES[0]])

    def _share(self, values: np.ndarray) -> np.ndarray:
        return values / np.maximum(self.visible, 1)


def measure(text: pa.Array, terms: TermMatcher | None = None) -> Statistics:
    """Measure every document of a string array.

    Parameters
    ----------
    text : pyarrow.Array
        string or large_string, without nulls.
    terms : TermMatcher, optional
        The lists of terms; the built-in ones by default.
    """
    from corpuskit.kernels import charstats, ngramstats
    from corpuskit.kernels.terms import NUM_CATEGORIES

    terms = terms or term_matcher()
    data, offsets = utf8_buffers(text)
    n = len(text)
    classes = np.zeros((n, 16), np.int64)
    counts = np.zeros((n, charstats.NUM_COUNTS), np.int64)
    hits = np.zeros((n, NUM_CATEGORIES), np.int64)
    entropy = np.zeros(n)
    covers = np.zeros((n, ngramstats.NUM_SIZES), np.int64)
    limits = np.array(
        [
            SHORT_LINE_CHARACTERS,
            LIST_LINE_CHARACTERS,
            SOUP_TOKENS,
            SOUP_TOKEN_CHARACTERS,
            UNIQUE_WINDOW_CHARACTERS,
            NOTICE_LINE_CHARACTERS,
        ]
    )
    charstats.document_statistics(
        data,
        offsets,
        terms.properties,
        terms.pairs,
        terms.edges,
        terms.nodes,
        terms.node_terms,
        limits,
        np.zeros(0x110000, np.int32),
        classes,
        counts,
        hits,
        entropy,
    )
    longest = min(int(np.diff(offsets).max(initial=1)), ngramstats.BLOCK_CHARACTERS)
    ngramstats.ngram_covers(
        data,
        offsets,
        terms.properties,
        charstats.CLASS_MASK,
        charstats.SPACE,
        ngramstats.BLOCK_CHARACTERS,
        np.zeros(_power_of_two(ngramstats.COUNTERS_PER_CHARACTER * longest), np.uint8),
        np.zeros(2 * _power_of_two(ngramstats.SLOTS_PER_CHARACTER * longest), np.uint64),
        covers,
    )
    return Statistics(classes, counts, hits, entropy, covers)


def _power_of_two(slots: int) -> int:
    """The least power of two that is at least `slots` and 16."""
    return 1 << max(4, (slots - 1).bit_length())


class MeasuredStep(Step):
    """A step that changes no text and compares statistics; the cleaner measures once for all of them."""

    @property
    def terms(self) -> TermMatcher | None:
        """The lists of terms it needs; None for the built-in ones."""
        return None

    def checks(self, statistics: Statistics) -> Sequence[Check]:
        """The checks in the order in which they decide."""
        raise NotImplementedError

    def judge(self, batch: DocumentBatch) -> Judged:
        return Judged(batch, self.checks(measure(texts(batch), self.terms)))
