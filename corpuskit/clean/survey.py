"""What a cleaning run measured, in a form that adds up: counts, histograms and a few examples.

A `Survey` watches a cleaner at work, batch by batch. Two surveys add up to the survey of both inputs
together, so each output part carries its own, and the report of a run is the same whatever the number
of workers and however often it was killed. That rules out everything that depends on the order of
documents or on having seen them all:

- Histograms have fixed bins (`corpuskit.clean.histogram`); what passed and what failed is counted apart.
- Examples are chosen by hash, or by the distance from the threshold (`corpuskit.clean.examples`).

Size is bounded by the number of rules, never by the input: 200 kB for 40 rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.clean.cleaner import Cleaner, StepRun
from corpuskit.clean.examples import (
    Example,
    Gallery,
    SurveyOptions,
    add_examples,
    plain_examples,
    read_examples,
)
from corpuskit.clean.histogram import bin_edges, bins_of
from corpuskit.clean.steps import Check, texts
from corpuskit.documents import DocumentBatch, StepResult


@dataclass
class RuleSurvey:
    """One rule over all documents that reached its step.

    Attributes
    ----------
    threshold : float or None
        None where the rule has no limit.
    relation : str
        ``at least`` or ``at most``: what a value that passes is to the threshold.
    passed, failed : Counter
        Documents by bin; see `bins_of`.
    unmeasured : int
        Documents without a (finite) value.
    lowest, highest : float or None
    dropped, dropped_characters : int
        Documents for which this was the first rule they failed.
    alone : int
        Documents that this rule drops and no other rule of its step would have.
    examples : dict
        ``dropped`` (any of them), ``just_dropped`` and ``just_kept`` (nearest to the threshold;
        those kept were kept by all steps).
    """

    threshold: float | None
    relation: str
    passed: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    unmeasured: int = 0
    lowest: float | None = None
    highest: float | None = None
    dropped: int = 0
    dropped_characters: int = 0
    alone: int = 0
    examples: dict[str, list[Example]] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        return sum(self.failed.values())

    @property
    def num_nonzero(self) -> int:
        """Documents with any of what the rule counts."""
        return sum(counts.total() - counts.get(0, 0) for counts in (self.passed, self.failed))

    @property
    def limit_decides(self) -> bool:
        """Whether all values on one side of the threshold passed and all on the other failed."""
        if self.threshold is None:
            return False
        passed_above = any(bin_edges(index)[0] > self.threshold for index in self.passed)
        passed_below = any(bin_edges(index)[1] < self.threshold for index in self.passed)
        failed_above = any(bin_edges(index)[0] > self.threshold for index in self.failed)
        failed_below = any(bin_edges(index)[1] < self.threshold for index in self.failed)
        if self.relation == "at least":
            return not (passed_below or failed_above)
        return not (passed_above or failed_below)

    def count(self, check: Check) -> None:
        """Add a batch's values to the histograms."""
        values, failed = np.asarray(check.values, np.float64), np.asarray(check.failed, bool)
        finite = np.isfinite(values)
        if not finite.all():
            self.unmeasured += int((~finite).sum())
            values, failed = values[finite], failed[finite]
        if not len(values):
            return
        bins, counts = np.unique(2 * bins_of(values) + failed, return_counts=True)
        for code, count in zip(bins.tolist(), counts.tolist()):
            counter = self.failed if code % 2 else self.passed
            counter[code // 2] += count
        self._widen(float(values.min()), float(values.max()))

    def add(self, other: RuleSurvey, examples: int) -> None:
        self.passed.update(other.passed)
        self.failed.update(other.failed)
        self.unmeasured += other.unmeasured
        if other.lowest is not None and other.highest is not None:
            self._widen(other.lowest, other.highest)
        self.dropped += other.dropped
        self.dropped_characters += other.dropped_characters
        self.alone += other.alone
        add_examples(self.examples, other.examples, examples)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; see `Survey.to_dict`."""
        return {
            **{name: getattr(self, name) for name in _RULE_TOTALS},
            "passed": sorted(self.passed.items()),
            "failed": sorted(self.failed.items()),
            "examples": plain_examples(self.examples),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RuleSurvey:
        """The inverse of `to_dict`."""
        return cls(
            **{name: data[name] for name in _RULE_TOTALS},
            passed=Counter(dict(map(tuple, data["passed"]))),
            failed=Counter(dict(map(tuple, data["failed"]))),
            examples=read_examples(data["examples"]),
        )

    def _widen(self, lowest: float, highest: float) -> None:
        self.lowest = lowest if self.lowest is None else min(self.lowest, lowest)
        self.highest = highest if self.highest is None else max(self.highest, highest)


@dataclass
class StepSurvey:
    """One step: what reached it, what it changed, what it passed on.

    Attributes
    ----------
    documents, characters : int
        What reached the step.
    changed : int
        Documents whose text the step changed.
    characters_changed : int
        By how much the texts of all documents that reached it grew or shrank.
    kept, kept_characters : int
        What it passed on, after its changes.
    rules : dict of str to RuleSurvey
        In the order in which they count.
    """

    documents: int = 0
    characters: int = 0
    changed: int = 0
    characters_changed: int = 0
    kept: int = 0
    kept_characters: int = 0
    rules: dict[str, RuleSurvey] = field(default_factory=dict)

    def add(self, other: StepSurvey, examples: int) -> None:
        for name in _STEP_TOTALS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for rule, measured in other.rules.items():
            if rule not in self.rules:
                self.rules[rule] = RuleSurvey(measured.threshold, measured.relation)
            self.rules[rule].add(measured, examples)


class Survey:
    """Measurements of cleaning, added up batch by batch.

    Parameters
    ----------
    options : SurveyOptions, optional

    Attributes
    ----------
    documents, characters : int
        What came to the first step.
    kept, kept_characters : int
        What the last step passed on.
    steps : dict of str to StepSurvey
        In the order in which they ran.
    examples : dict
        ``kept``: documents kept by all steps, any of them. These and those of rules are there
        once the survey is settled (see `settle`).
    """

    def __init__(self, options: SurveyOptions | None = None) -> None:
        self.options = options or SurveyOptions()
        self._begin()

    def _begin(self) -> None:
        self.documents = self.characters = self.kept = self.kept_characters = 0
        self.steps: dict[str, StepSurvey] = {}
        self.examples: dict[str, list[Example]] = {}
        self._gallery = Gallery(self.options)

    def run(self, cleaner: Cleaner, batch: DocumentBatch) -> StepResult:
        """Clean a batch, as ``cleaner(batch)`` does, and take its measurements."""
        runs = list(cleaner.runs(batch))
        result = cleaner.sum_up(batch, runs)
        lengths = _lengths(batch)
        self.documents += batch.num_rows
        self.characters += int(lengths.sum())
        survivors = runs[-1].rows[runs[-1].verdict.kept] if runs else np.arange(batch.num_rows)
        kept = np.zeros(batch.num_rows, bool)
        kept[survivors] = True
        self._gallery.enter(batch)
        for run in runs:
            lengths = self._count(run, lengths, kept)
        self.kept += result.kept.num_rows
        self.kept_characters += int(lengths.sum())
        self._gallery.offer(self.examples, "kept", result.kept, np.arange(len(survivors)), survivors)
        return result

    def _count(self, run: StepRun, lengths: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Measure one step; return the lengths of the texts it passes on."""
        step = self.steps.setdefault(run.step, StepSurvey())
        verdict = run.verdict
        before, after = texts(run.reached), lengths
        step.documents += run.batch.num_rows
        step.characters += int(lengths.sum())
        if run.batch is not run.reached and not _same_buffers(before, texts(run.batch)):
            after = _lengths(run.batch)
            step.changed += pc.sum(pc.not_equal(before, texts(run.batch))).as_py() or 0
            step.characters_changed += int(after.sum() - lengths.sum())
        step.kept += int(verdict.kept.sum())
        step.kept_characters += int(after[verdict.kept].sum())
        failures = sum((np.asarray(check.failed, np.int64) for check in verdict.checks), np.zeros(len(after)))
        for index, check in enumerate(verdict.checks):
            threshold = float(check.threshold) if math.isfinite(check.threshold) else None
            rule = step.rules.setdefault(check.rule, RuleSurvey(threshold, check.relation))
            rule.count(check)
            first = verdict.first_failed == index
            rule.dropped += int(first.sum())
            rule.dropped_characters += int(after[first].sum())
            rule.alone += int((first & (failures == 1)).sum())
            values = np.asarray(check.values, np.float64)
            dropped, passed = np.flatnonzero(first), np.flatnonzero(kept[run.rows])
            show = partial(self._gallery.offer, rule.examples, batch=run.batch, values=values)
            show("dropped", rows=dropped, input_rows=run.rows[dropped])
            if threshold is not None:
                distances = np.abs(values - threshold)
                show("just_dropped", rows=dropped, input_rows=run.rows[dropped], distances=distances)
                show("just_kept", rows=passed, input_rows=run.rows[passed], distances=distances)
        return after[verdict.kept]

    def settle(self) -> None:
        """Put the examples in place that were chosen so far; done before they leave the survey."""
        self._gallery.hang()

    def add(self, other: Survey) -> None:
        """Take in the measurements of other documents, cleaned by the same steps."""
        self.settle()
        other.settle()
        for name in _TOTALS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for step, measured in other.steps.items():
            self.steps.setdefault(step, StepSurvey()).add(measured, self.options.examples)
        add_examples(self.examples, other.examples, self.options.examples)

    def take(self) -> dict[str, Any]:
        """`to_dict`, and begin anew."""
        result = self.to_dict()
        self._begin()
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; lists keep the order of steps and rules."""
        self.settle()
        return {
            **{name: getattr(self, name) for name in _TOTALS},
            "examples": plain_examples(self.examples),
            "steps": [
                {
                    "step": name,
                    **{total: getattr(step, total) for total in _STEP_TOTALS},
                    "rules": [{"rule": rule, **measured.to_dict()} for rule, measured in step.rules.items()],
                }
                for name, step in self.steps.items()
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], options: SurveyOptions | None = None) -> Survey:
        """The inverse of `to_dict`."""
        survey = cls(options)
        for name in _TOTALS:
            setattr(survey, name, data[name])
        survey.examples = read_examples(data["examples"])
        for stored in data["steps"]:
            step = StepSurvey(**{total: stored[total] for total in _STEP_TOTALS})
            step.rules = {rule["rule"]: RuleSurvey.from_dict(rule) for rule in stored["rules"]}
            survey.steps[stored["step"]] = step
        return survey


_TOTALS = ("documents", "characters", "kept", "kept_characters")
_RULE_TOTALS = (
    "threshold", "relation", "unmeasured", "lowest", "highest", "dropped", "dropped_characters", "alone",
)  # fmt: skip
_STEP_TOTALS = ("documents", "characters", "changed", "characters_changed", "kept", "kept_characters")


def merge_surveys(surveys: Iterable[Survey], options: SurveyOptions | None = None) -> Survey:
    """The survey of all documents together."""
    total = Survey(options)
    for survey in surveys:
        total.add(survey)
    return total


def _same_buffers(left: pa.Array, right: pa.Array) -> bool:
    """Whether two arrays share their memory: a step that changes other columns leaves the text."""
    here, there = ([b and (b.address, b.size) for b in array.buffers()] for array in (left, right))
    return here == there and (left.offset, len(left)) == (right.offset, len(right))


def _lengths(batch: DocumentBatch) -> np.ndarray:
    """Characters (code points) of each text."""
    return pc.utf8_length(texts(batch)).to_numpy(zero_copy_only=False).astype(np.int64)
