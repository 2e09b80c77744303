"""Interpolated modified Kneser–Ney with dictionaries, as Chen & Goodman (1998) write it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache


class ReferenceModel:
    """Probability of a character id given those before it.

    Parameters
    ----------
    documents : sequence of sequence of int
    base : int
        Number of ids.
    order : int
    min_counts : sequence of int
        By order, from 1.
    """

    def __init__(
        self, documents: Sequence[Sequence[int]], base: int, order: int, min_counts: Sequence[int]
    ) -> None:
        self.base, self.order = base, order
        longest = Counter(tuple(d[i : i + order]) for d in documents for i in range(len(d) - order + 1))
        self.counts: dict[int, Counter] = {order: longest}
        for n in range(order - 1, 0, -1):
            self.counts[n] = Counter(gram[1:] for gram in self.counts[n + 1])
        self.discounts = {n: self._discounts(c) for n, c in self.counts.items()}
        self.kept = self._kept(min_counts)
        self.followers: dict[int, dict] = {}
        for n, counts in self.counts.items():
            self.followers[n] = defaultdict(list)
            for gram in counts:
                self.followers[n][gram[:-1]].append(gram)
        self.probability = cache(self.probability)  # type: ignore[method-assign]

    @staticmethod
    def _discounts(counts: Counter) -> list[float]:
        n = Counter(counts.values())
        if min(n[1], n[2], n[3], n[4]) > 0:
            y = n[1] / (n[1] + 2 * n[2])
            found = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
            if all(0 <= d <= limit for d, limit in zip(found, (1, 2, 3))):
                return [0.0, *found]
        return [0.0, 0.5, 1.0, 1.5]

    def _kept(self, min_counts: Sequence[int]) -> dict[int, set]:
        able = {1: {(i,) for i in range(self.base)} & set(self.counts[1])}
        for n in range(2, self.order + 1):
            able[n] = {g for g in self.counts[n] if g[1:] in able[n - 1] and g[:-1] in able[n - 1]}
        kept = {n: {g for g in able[n] if self.counts[n][g] >= min_counts[n - 1]} for n in able}
        for n in range(self.order, 1, -1):
            kept[n - 1] |= {g[1:] for g in kept[n]} | {g[:-1] for g in kept[n]}
        return kept

    def probability(self, context: tuple[int, ...], character: int) -> float:
        """Of `character` after `context`, of which at most order - 1 characters count."""
        context = context[-(self.order - 1) :] if self.order > 1 else ()
        if not context:
            counts, discounts = self.counts[1], self.discounts[1]
            total = max(sum(counts.values()), 1)
            taken = {g[0]: c - discounts[min(c, 3)] for g, c in counts.items()}
            rest = 1 - sum(taken.values()) / total
            return taken.get(character, 0.0) / total + rest / self.base
        n = len(context) + 1
        lower = self.probability(context[1:], character)
        grams = self.followers[n].get(context, [])
        counts, discounts = self.counts[n], self.discounts[n]
        total = sum(counts[g] for g in grams)
        taken = {g[-1]: counts[g] - discounts[min(counts[g], 3)] for g in grams if g in self.kept[n]}
        if not taken:
            return lower
        return taken.get(character, 0.0) / total + (1 - sum(taken.values()) / total) * lower
