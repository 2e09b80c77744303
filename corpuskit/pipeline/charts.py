"""Histograms of a survey as bars to draw: where they stand, how high they are, what the axes say.

A rule's values lie anywhere from shares of 0.001 to lengths of millions, most of them far from the
threshold that matters. So the axis is logarithmic where a linear one would leave the threshold or
the middle document in its first fiftieth, counts are drawn as log(1 + n) where a few bars would
flatten all others, and an edge between bars always falls on the threshold: no bar holds both sides.
Positions and heights are shares of the drawing's width and height, 0 to 1, so that it stretches.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corpuskit.clean.histogram import BINS_PER_OCTAVE, bin_edges
from corpuskit.clean.survey import RuleSurvey

NUM_BARS = 48
TAIL = 0.002
"""Share of documents at either end that may lie outside the axis; they are in the outermost bar."""

ROOM_BEHIND = 0.05
"""Share of the axis behind the threshold, even where no document is there."""

MIN_VISIBLE = 0.02
"""Smallest share of a linear axis in which the threshold, or the middle document, can be told."""

MIN_VISIBLE_SHARE = 0.005
"""The same for values that are all within 0 and 1, which are expected on a linear axis."""

_FLAT = 30  # times the median bar: heights beyond it are drawn as logarithms
_ZERO_WIDTH = 0.035  # of a logarithmic axis: the bar of the zeros, and the gap behind it
_ZERO_GAP = 0.015


class Bar(NamedTuple):
    """Documents whose values lie from `low` to `high`; `passed` and `failed` are heights."""

    left: float
    width: float
    passed: float
    failed: float
    low: float
    high: float
    documents: float


class Tick(NamedTuple):
    """A mark of an axis."""

    position: float
    label: str


class Chart(NamedTuple):
    """A histogram to draw.

    Attributes
    ----------
    bars : list of Bar
    threshold : float or None
        Position of the threshold on the value axis.
    values, counts : list of Tick
        Marks of the two axes.
    logarithmic, logarithmic_counts : bool
    beyond : tuple of int
        Documents below and above the axis, drawn in its outermost bars.
    """

    bars: list[Bar]
    threshold: float | None
    values: list[Tick]
    counts: list[Tick]
    logarithmic: bool
    logarithmic_counts: bool
    beyond: tuple[int, int]


class _Mass(NamedTuple):
    """Documents spread evenly from `low` to `high` (or at one value)."""

    low: float
    high: float
    documents: int
    failed: bool


def draw(rule: RuleSurvey) -> Chart | None:
    """The histogram of a rule, or None where nothing was measured."""
    masses = sorted(_masses(rule))
    if not masses:
        return None
    low, high = _range(masses, rule.threshold, rule.relation)
    logarithmic = _wants_logarithm(masses, rule.threshold, low, high)
    axis = _Axis(masses, rule.threshold, low, high, logarithmic)
    heights = axis.fill(masses, rule.relation)
    totals = [passed + failed for passed, failed in heights]
    filled = sorted(total for total in totals if total > 0)
    top = filled[-1]
    log_counts = top > _FLAT * max(1.0, filled[(len(filled) - 1) // 2])
    scale = _height(top, top, log_counts)
    bars = []
    for (left, width, a, b), (passed, failed), total in zip(axis.boxes(), heights, totals):
        if total > 0:
            height = scale and _height(total, top, log_counts)
            bars.append(Bar(left, width, height * passed / total, height * failed / total, a, b, total))
    threshold = None if rule.threshold is None else axis.limit(rule.threshold, rule.relation)
    beyond = (
        sum(mass.documents for mass in masses if mass.high < axis.edges[0] and mass.high != 0),
        sum(mass.documents for mass in masses if mass.low > axis.edges[-1]),
    )
    return Chart(
        bars, threshold, axis.ticks(), _count_ticks(top, log_counts), logarithmic, log_counts, beyond
    )


def _masses(rule: RuleSurvey) -> Iterator[_Mass]:
    """The histogram's bins, cut at the threshold and at the extremes."""
    lowest, highest = rule.lowest, rule.highest
    if lowest is None or highest is None:
        return
    whole = all(bin_edges(index)[0].is_integer() for index in (*rule.passed, *rule.failed))
    for counts, failed in ((rule.passed, False), (rule.failed, True)):
        for index, documents in counts.items():
            low, high = bin_edges(index)
            if whole and 0 < low < BINS_PER_OCTAVE:  # a count, exactly
                high = low
            low, high = max(low, min(lowest, high)), min(high, max(highest, low))
            if rule.threshold is not None and low <= rule.threshold <= high:
                above = (rule.relation == "at least") != failed
                low, high = (rule.threshold, high) if above else (low, rule.threshold)
            yield _Mass(low, high, documents, failed)


def _quantile(masses: Iterable[_Mass], share: float) -> _Mass:
    masses = list(masses)
    wanted = share * sum(mass.documents for mass in masses)
    seen = 0
    for mass in masses:
        seen += mass.documents
        if seen >= wanted:
            return mass
    return masses[-1]


def _range(masses: list[_Mass], threshold: float | None, relation: str) -> tuple[float, float]:
    """What the axis shows: nearly all documents, and both sides of the threshold."""
    low, high = _quantile(masses, TAIL).low, _quantile(masses, 1 - TAIL).high
    if threshold is not None:
        failed = [mass for mass in masses if mass.failed] or masses
        low, high = min(low, threshold), max(high, threshold)
        if relation == "at most":
            high = max(high, min(_quantile(failed, 0.95).high, threshold + 9 * (threshold - low)))
        else:
            low = min(low, _quantile(failed, 0.05).low)
    if 0 < low < 0.5 * high:
        low = 0.0
    if threshold is not None and high <= threshold:
        high = threshold + ROOM_BEHIND * (threshold - low or abs(high) or 1.0)
    if low == high:
        low, high = min(low, 0.0), max(masses[-1].high, high, low + 1)
    return low, high


def _wants_logarithm(masses: list[_Mass], threshold: float | None, low: float, high: float) -> bool:
    positive = [mass for mass in masses if mass.high > 0]
    if low < 0 or not positive:
        return False
    points = [_quantile(positive, 0.5).high]
    if threshold is not None and threshold > 0:
        points.append(threshold)
    return min(points) < (MIN_VISIBLE if high > 1 else MIN_VISIBLE_SHARE) * high


class _Axis:
    """The value axis: edges of bars, and where a value stands."""

    def __init__(
        self, masses: list[_Mass], threshold: float | None, low: float, high: float, logarithmic: bool
    ) -> None:
        self._logarithmic = logarithmic
        self._has_zero = logarithmic and any(mass.high == 0 for mass in masses)
        if logarithmic:
            positive = [mass for mass in masses if mass.high > 0]
            low = _quantile(positive, TAIL).low or high * 1e-6
            if threshold is not None and 0 < threshold <= low:
                low = threshold * (1 - ROOM_BEHIND)
        elif threshold is not None and threshold <= low:
            low = threshold - ROOM_BEHIND * (high - threshold)
        self._start, self._stop = self._scale(low), self._scale(high)
        step = (self._stop - self._start) / NUM_BARS
        anchored = threshold is not None and (threshold > 0 or not logarithmic)
        anchor = self._scale(threshold) if anchored and threshold is not None else self._start
        before = math.ceil((anchor - self._start) / step - 1e-9)
        if not logarithmic and all(mass.low == mass.high and mass.low.is_integer() for mass in masses):
            step = max(1.0, math.ceil(step - 1e-9))  # as many whole numbers in each bar as in the next
            before = math.ceil((anchor - self._start) / step - 1e-9)
        elif before > 0:  # bars as wide as lets one begin at the start: a cut one would look like a dip
            before = max(1, round((anchor - self._start) / step))
            step = max((anchor - self._start) / before, step / 2)
        after = math.ceil((self._stop - anchor) / step - 1e-9)
        points = [anchor + k * step for k in range(-before, after + 1)]
        if not logarithmic and low >= 0:
            points[0] = max(points[0], 0.0)
        self.edges = [self._unscale(point) for point in points]
        if anchored and threshold is not None:
            self.edges[before] = threshold
        self._start, self._stop = points[0], points[-1]
        self._offset = _ZERO_WIDTH + _ZERO_GAP if self._has_zero else 0.0

    def _scale(self, value: float) -> float:
        return math.log(value) if self._logarithmic else value

    def _unscale(self, value: float) -> float:
        return math.exp(value) if self._logarithmic else value

    def position(self, value: float) -> float:
        """Where `value` stands, from 0 to 1."""
        if self._logarithmic and value <= 0:
            return _ZERO_WIDTH / 2 if self._has_zero else 0.0
        share = (self._scale(value) - self._start) / (self._stop - self._start)
        return self._offset + (1 - self._offset) * min(1.0, max(0.0, share))

    def limit(self, threshold: float, relation: str) -> float:
        """Where the threshold stands: zeros that pass lie on its passing side."""
        if self._logarithmic and threshold <= 0 and self._has_zero:
            return _ZERO_WIDTH + _ZERO_GAP / 2 if relation == "at most" else 0.0
        return self.position(threshold)

    def boxes(self) -> list[tuple[float, float, float, float]]:
        """Left, width, low and high of each bar; the bar of the zeros comes first."""
        zero = [(0.0, _ZERO_WIDTH, 0.0, 0.0)] if self._has_zero else []
        places = [self.position(edge) for edge in self.edges]
        pairs = zip(places, places[1:], self.edges, self.edges[1:])
        return zero + [(left, right - left, a, b) for left, right, a, b in pairs]

    def fill(self, masses: Iterable[_Mass], relation: str) -> list[list[float]]:
        """Documents passed and failed of each bar, in the order of `boxes`."""
        shift = int(self._has_zero)
        counts = [[0.0, 0.0] for _ in range(len(self.edges) - 1 + shift)]
        for mass in masses:
            if self._logarithmic and mass.high <= 0:
                counts[0][mass.failed] += mass.documents
                continue
            for bar, documents in self._spread(mass, (relation == "at most") != mass.failed):
                counts[bar + shift][mass.failed] += documents
        return counts

    def _spread(self, mass: _Mass, closed_above: bool) -> Iterator[tuple[int, float]]:
        """The bars that a mass falls into; a single value on an edge belongs to the side it passed on."""
        last = len(self.edges) - 2
        if mass.low == mass.high:
            find = bisect_left if closed_above else bisect_right
            yield min(last, max(0, find(self.edges, mass.low) - 1)), mass.documents
            return
        first_bar = min(last, max(0, bisect_right(self.edges, mass.low) - 1))
        for bar in range(first_bar, last + 1):
            low = mass.low if bar == 0 else max(mass.low, self.edges[bar])
            high = mass.high if bar == last else min(mass.high, self.edges[bar + 1])
            if high > low:
                yield bar, mass.documents * (high - low) / (mass.high - mass.low)
            if mass.high <= self.edges[bar + 1]:
                return

    def ticks(self) -> list[Tick]:
        """Round values along the axis."""
        low, high = self.edges[0], self.edges[-1]
        marks = [Tick(_ZERO_WIDTH / 2, "0")] if self._has_zero else []
        values = _decades(low, high) if self._logarithmic else _round_steps(low, high)
        return marks + [Tick(self.position(value), short_number(value)) for value in values]


def _round_steps(low: float, high: float, most: int = 8) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most `most` of them."""
    rough = (high - low) / most
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
    values = [10.0**k * factor for k in range(first, last + 1) for factor in factors]
    return [value for value in values if low <= value <= high]


def _height(documents: float, top: float, logarithmic: bool) -> float:
    if logarithmic:
        return math.log1p(documents) / math.log1p(top)
    return documents / top


def _count_ticks(top: float, logarithmic: bool) -> list[Tick]:
    if logarithmic:
        powers = [10**k for k in range(math.floor(math.log10(max(top, 1))) + 1)]
        chosen = powers if len(powers) <= 4 else powers[::2]
        return [Tick(_height(value, top, True), short_number(value)) for value in chosen]
    return [Tick(value / top, short_number(value)) for value in _round_steps(0, top, 4) if value >= 1]


def short_number(value: float) -> str:
    """A number as an axis shows it: three digits, k and M for thousands and millions."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def exact_number(value: float) -> str:
    """A number as a table shows it: whole numbers with separators, others with four digits."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def percentage(part: float, whole: float) -> str:
    """A share in per cent; small ones keep two digits, and something is never shown as nothing."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if share == 0:
        return "0 %"
    if share < 0.01:
        return "< 0.01 %"
    if 99.99 < share < 100:
        return "> 99.99 %"
    return f"{share:.3g} %" if share >= 1 else f"{share:.2g} %"
