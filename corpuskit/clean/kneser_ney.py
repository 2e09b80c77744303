"""Interpolated modified Kneser–Ney estimation over n-grams that are exact 64-bit numbers.

Chen & Goodman (1998, §3; their ``ikn-mod``) discount the count of every n-gram by D1, D2 or D3+ and
give what that frees to the next shorter order, whose counts are numbers of distinct left
neighbours. KenLM computes the same (Heafield et al. 2013), with disk; a character model of some ten
million n-grams fits in memory, where sorting the keys does all of the counting. What pruning frees
goes to the shorter order as well, so the probabilities over the vocabulary sum to one in every
context, pruned or not.

Peak memory is about 100 bytes a character of training text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""KenLM's ``--discount_fallback``: for corpora too small for D1, D2, D3+ to be estimated."""


class Level(NamedTuple):
    """The n-grams of one order.

    Attributes
    ----------
    keys : numpy.ndarray
        uint64, ascending. Key of ``w1 … wn`` is ``sum wi * base**(n - i)``.
    counts : numpy.ndarray
        int64: occurrences in the longest order, distinct left neighbours in the others.
    """

    keys: np.ndarray
    counts: np.ndarray


@dataclass
class Estimates:
    """What one order of the model holds of the n-grams that are kept.

    Attributes
    ----------
    keys : numpy.ndarray
        uint64, ascending.
    probabilities : numpy.ndarray
        float64: of the last character given the others, interpolated.
    backoffs : numpy.ndarray
        float64: the share of the n-gram, as a context, that the shorter order gets; 1 where no
        longer n-gram begins with it.
    """

    keys: np.ndarray
    probabilities: np.ndarray
    backoffs: np.ndarray


def count_levels(keys: np.ndarray, base: int, order: int) -> list[Level]:
    """Sorted n-grams of order 1 to `order` from all keys of the longest order, in any order."""
    levels = [Level(*np.unique(keys, return_counts=True))]
    for n in range(order - 1, 0, -1):
        suffixes = levels[0].keys % np.uint64(base**n)
        levels.insert(0, Level(*np.unique(suffixes, return_counts=True)))
    return levels


def discounts(counts: np.ndarray) -> np.ndarray:
    """``[0, D1, D2, D3+]`` of one order (Chen & Goodman 1998, equation 26)."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) > 0:
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if all(0 <= d <= limit for d, limit in zip(found, (1, 2, 3))):
            return np.array([0.0, *found])
    return np.array([0.0, *FALLBACK_DISCOUNTS])


def estimate(levels: Sequence[Level], base: int, min_counts: Sequence[int]) -> list[Estimates]:
    """The model from its counts.

    Parameters
    ----------
    levels : sequence of Level
        As `count_levels` gives them.
    base : int
        Size of the vocabulary.
    min_counts : sequence of int
        For each order the count below which an n-gram is pruned. N-grams that a longer kept one
        begins or ends with stay; so do all single characters.

    Returns
    -------
    list of Estimates
        Orders 1 to N; order 1 has all `base` characters.
    """
    kept = kept_ngrams(levels, base, min_counts)
    first = levels[0]
    counts = np.zeros(base)
    counts[first.keys.astype(np.int64)] = first.counts
    discounted = counts - discounts(first.counts)[np.minimum(counts, 3).astype(np.int64)]
    total = max(counts.sum(), 1.0)
    # The shortest order shares what it freed among all characters alike.
    lower = discounted / total + (1 - discounted.sum() / total) / base
    results = [Estimates(np.arange(base, dtype=np.uint64), lower, np.ones(base))]
    lower_keys = results[0].keys
    for n, level in enumerate(levels[1:], 2):
        contexts = level.keys // np.uint64(base)
        begins = np.flatnonzero(np.diff(contexts, prepend=contexts[:1] + np.uint64(1)))
        sizes = np.diff(begins, append=len(contexts))
        steps = discounts(level.counts)[np.minimum(level.counts, 3)]
        discounted = np.where(kept[n - 1], level.counts - steps, 0.0)
        totals = np.add.reduceat(level.counts, begins).astype(np.float64)
        freed = np.maximum(1 - np.add.reduceat(discounted, begins) / totals, 0)
        suffixes = np.searchsorted(lower_keys, level.keys % np.uint64(base ** (n - 1)))
        probabilities = discounted / np.repeat(totals, sizes) + np.repeat(freed, sizes) * lower[suffixes]
        _set_backoffs(results[-1], contexts[begins], freed)
        chosen = kept[n - 1]
        count = int(np.count_nonzero(chosen))
        results.append(Estimates(level.keys[chosen], probabilities[chosen], np.ones(count)))
        lower, lower_keys = probabilities, level.keys
    return results


def kept_ngrams(levels: Sequence[Level], base: int, min_counts: Sequence[int]) -> list[np.ndarray]:
    """Which n-grams of each order stay (bool arrays).

    An n-gram can stay only if its first and its last n - 1 characters are n-grams of the model,
    so that both can be found. (Those that open a document may not be: nothing stands left of them.)
    """
    possible = [np.ones(len(levels[0].keys), bool)]
    parents: list[tuple[np.ndarray, np.ndarray]] = []
    for n in range(2, len(levels) + 1):
        keys, shorter = levels[n - 1].keys, levels[n - 2].keys
        prefixes, has_prefix = _positions(shorter, keys // np.uint64(base))
        suffixes, _ = _positions(shorter, keys % np.uint64(base ** (n - 1)))
        possible.append(has_prefix & possible[-1][prefixes] & possible[-1][suffixes])
        parents.append((prefixes, suffixes))
    kept = [able & (level.counts >= minimum) for able, level, minimum in zip(possible, levels, min_counts)]
    for n in range(len(levels) - 1, 0, -1):
        for needed in parents[n - 1]:
            kept[n - 1][needed[kept[n]]] = True
    return kept


def _positions(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted key is among the ascending `keys`, and whether it is."""
    if len(keys) == 0:
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return places, keys[places] == wanted


def _set_backoffs(shorter: Estimates, contexts: np.ndarray, freed: np.ndarray) -> None:
    """Write what each context gives to the shorter order, where the context is kept."""
    places, found = _positions(shorter.keys, contexts)
    shorter.backoffs[places[found]] = freed[found]
