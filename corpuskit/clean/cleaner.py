"""All steps of the room as one, with presets.

The steps run in a fixed order, each on what the ones before it kept. Every dropped document comes
back with the row it came in as: text before normalisation, columns of the input. The statistics
behind the rules on form are computed once a batch and shared by the steps that compare them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, NamedTuple, get_args, get_type_hints

import numpy as np
import pyarrow as pa

from corpuskit.clean.classifier import QualityScore
from corpuskit.clean.fragments import Markup
from corpuskit.clean.lines import BoilerplateLines
from corpuskit.clean.normalize import Normalize
from corpuskit.clean.perplexity import Perplexity
from corpuskit.clean.pii import Pii, mask_batch
from corpuskit.clean.quality import Quality
from corpuskit.clean.repetition import Repetition
from corpuskit.clean.script import Language, ToSimplified, ToTraditional
from corpuskit.clean.spam import Spam
from corpuskit.clean.statistics import MeasuredStep, Statistics, measure
from corpuskit.clean.steps import Relation, Step, Verdict, field_names, first_failures, texts
from corpuskit.clean.urls import Urls
from corpuskit.documents import DocumentBatch, StepResult, document_batch, dropped_rows
from corpuskit.errors import ConfigError


class RuleVerdict(NamedTuple):
    """One rule applied to one text.

    Attributes
    ----------
    step : str
        Field of the `Cleaner`, e.g. ``quality``.
    rule : str
        As dropped rows name it, e.g. ``clean/han_share``.
    value, threshold : float
    relation : {"at least", "at most"}
        What the value must be to the threshold.
    verdict : {"keep", "drop"}
    """

    step: str
    rule: str
    value: float
    threshold: float
    relation: Relation
    verdict: str


class Explanation(NamedTuple):
    """What a cleaner makes of one text.

    Attributes
    ----------
    rules : list of RuleVerdict
        Every rule in the order in which it counts, whether or not an earlier one drops the text.
    before, after : str
        The text as it came in, and after the changes of all steps.
    kept : bool
        Whether no rule drops it.
    """

    rules: list[RuleVerdict]
    before: str
    after: str
    kept: bool


class StepRun(NamedTuple):
    """What one step made of the documents that reached it.

    Attributes
    ----------
    step : str
        Field of the `Cleaner`.
    rows : int64[num_documents]
        Where the documents stood in the batch that the cleaner was given.
    reached : DocumentBatch
        The documents as they came to the step.
    batch : DocumentBatch
        The documents after the step's changes, those it drops included.
    verdict : Verdict
        The step's checks, and the first that each document fails.
    """

    step: str
    rows: np.ndarray
    reached: DocumentBatch
    batch: DocumentBatch
    verdict: Verdict


@dataclass(frozen=True)
class Cleaner:
    """Filter by address and language, remove mark-up, normalise, convert to Simplified, drop what is not
    prose, mask.

    A step that is None is left out; the fields stand in the order in which the steps run. Spam comes
    before the rules on form, so that an advert is dropped as one and not for its lack of full stops.
    ``Cleaner(...)(batch)`` returns a `StepResult`; kept rows stay in order, `dropped` is in input
    order and None where nothing was dropped. What `pii` masks in kept text is masked in dropped text too.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    urls: Urls | None = None
    markup: Markup | None = None
    normalize: Normalize | None = None
    language: Language | None = None
    to_simplified: ToSimplified | None = None
    to_traditional: ToTraditional | None = None
    boilerplate_lines: BoilerplateLines | None = None
    spam: Spam | None = None
    quality: Quality | None = None
    repetition: Repetition | None = None
    quality_score: QualityScore | None = None
    perplexity: Perplexity | None = None
    pii: Pii | None = None

    @classmethod
    def preset(cls, name: str, /, **overrides: Any) -> Cleaner:
        """A named configuration, with changes.

        Parameters
        ----------
        name : str
            ``zh-web`` for crawled pages, ``zh-web-strict`` where precision counts more,
            ``zh-books`` for long prose from clean sources, ``none`` for no cleaning.
        **overrides
            Either a step by name (an instance, a mapping of its fields, True for its defaults,
            False or None to leave it out) or a field of a step that the preset has
            (``min_characters=100``).

        Raises
        ------
        ConfigError
            For an unknown preset or override, naming the allowed ones.
        """
        from corpuskit.clean.presets import PRESETS

        if name not in PRESETS:
            raise ConfigError(
                f"unknown preset {name!r}", where="preset", hint="allowed: " + ", ".join(PRESETS)
            )
        return PRESETS[name].with_changes(**overrides)

    def with_changes(self, **overrides: Any) -> Cleaner:
        """A copy with steps or fields of steps changed; see `preset`."""
        kinds = step_kinds()
        steps = {
            key: _step(key, value, getattr(self, key)) for key, value in overrides.items() if key in kinds
        }
        cleaner = replace(self, **steps)  # type: ignore[arg-type]
        changes: dict[str, dict[str, Any]] = {}
        for key, value in overrides.items():
            if key in kinds:
                continue
            home = next((name for name, kind in kinds.items() if key in field_names(kind)), None)
            if home is None or getattr(cleaner, home) is None:
                what = (
                    f"unknown option {key!r}" if home is None else f"{key!r} belongs to {home}, which is off"
                )
                raise ConfigError(what, where=key, hint="allowed: " + ", ".join(cleaner._options()))
            changes.setdefault(home, {})[key] = tuple(value) if isinstance(value, list) else value
        changed = {home: replace(getattr(cleaner, home), **values) for home, values in changes.items()}
        return replace(cleaner, **changed)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that are on, in the order they run."""
        return tuple(step for _, step in self._named_steps())

    @property
    def files(self) -> tuple[str, ...]:
        """The user's files that the steps read: lists and models."""
        return tuple(file for step in self.steps for file in step.files)

    def __call__(self, batch: DocumentBatch) -> StepResult:
        return self.sum_up(batch, self.runs(batch))

    def sum_up(self, batch: DocumentBatch, runs: Iterable[StepRun]) -> StepResult:
        """The result for a batch from its `runs` (with `drop`), for those who want to see both."""
        current = batch
        failures: dict[int, tuple[str, float, float]] = {}
        for _, rows, _, current, verdict in runs:
            kept = verdict.kept
            if not kept.all():
                failed = np.flatnonzero(~kept)
                failures.update(zip(rows[failed].tolist(), zip(*verdict.reasons(failed))))
                current = current.filter(pa.array(kept))
        if not failures:
            return StepResult(current, None)
        order = sorted(failures)
        reasons, values, thresholds = zip(*(failures[row] for row in order))
        rejected = self.masked(batch.take(pa.array(order)))
        return StepResult(current, dropped_rows(rejected, reasons, values, thresholds))

    def masked(self, batch: DocumentBatch) -> DocumentBatch:
        """`batch` with the personal data of text, title and url masked as `pii` says; else unchanged."""
        return batch if self.pii is None else mask_batch(batch, self.pii)

    def runs(self, batch: DocumentBatch, *, drop: bool = True) -> Iterator[StepRun]:
        """Run the steps one by one: what `__call__` sums up and reports are made of.

        Parameters
        ----------
        batch : DocumentBatch
        drop : bool
            Whether a step sees only what those before it kept.
        """
        rows = np.arange(batch.num_rows)
        statistics: Statistics | None = None
        for name, step in self._named_steps():
            reached = batch
            if isinstance(step, MeasuredStep):
                if statistics is None:
                    statistics = measure(texts(batch), self.spam.terms if self.spam else None)
                checks = step.checks(statistics)
            else:
                batch, checks = step.judge(batch)
                statistics = None
            verdict = first_failures(batch.num_rows, checks)
            yield StepRun(name, rows, reached, batch, verdict)
            kept = verdict.kept
            if drop and not kept.all():
                batch = batch.filter(pa.array(kept))
                rows = rows[kept]
                statistics = statistics and statistics.filter(kept)

    def explain(self, text: str, url: str | None = None) -> Explanation:
        """Every rule with its measured value for one text, and the text before and after."""
        batch = document_batch(["text"], [text], None if url is None else {"url": [url]})
        rules = []
        for run in self.runs(batch, drop=False):
            batch = run.batch
            for check in run.verdict.checks:
                decision = "drop" if check.failed[0] else "keep"
                value, threshold = float(check.values[0]), float(check.threshold)
                rules.append(
                    RuleVerdict(run.step, f"clean/{check.rule}", value, threshold, check.relation, decision)
                )
        after = batch.column("text")[0].as_py()
        return Explanation(rules, text, after, all(rule.verdict == "keep" for rule in rules))

    def _named_steps(self) -> list[tuple[str, Step]]:
        return [(name, step) for name in step_kinds() if (step := getattr(self, name)) is not None]

    def _options(self) -> list[str]:
        return [*step_kinds(), *(name for step in self.steps for name in field_names(step))]


@cache
def step_kinds() -> Mapping[str, type[Step]]:
    """The steps by name, in the order they run, read off the fields of `Cleaner`."""
    return {name: get_args(kind)[0] for name, kind in get_type_hints(Cleaner).items() if get_args(kind)[1:]}


def _step(name: str, value: Any, current: Step | None) -> Step | None:
    """What an override of a whole step means."""
    kind = step_kinds()[name]
    if value is None or value is False:
        return None
    if value is True:
        return current or _new_step(name, kind, {})
    if isinstance(value, kind):
        return value
    if isinstance(value, Mapping):
        unknown = [key for key in value if key not in field_names(kind)]
        if unknown:
            raise ConfigError(
                f"unknown option {unknown[0]!r}",
                where=f"{name}.{unknown[0]}",
                hint="allowed: " + ", ".join(field_names(kind)),
            )
        values = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return replace(current, **values) if current else _new_step(name, kind, values)  # type: ignore[type-var]
    raise ConfigError(
        f"{value!r} does not configure a step",
        where=name,
        hint=f"allowed: true, false, a mapping, or {kind.__name__}(…)",
    )


def _new_step(name: str, kind: type[Step], values: Mapping[str, Any]) -> Step:
    missing = [
        field.name
        for field in fields(kind)  # type: ignore[arg-type]
        if field.default is MISSING and field.default_factory is MISSING and field.name not in values
    ]
    if missing:
        raise ConfigError(
            f"{name} needs {missing[0]}", where=f"{name}.{missing[0]}", hint=f"{name}: {{{missing[0]}: …}}"
        )
    return kind(**values)
