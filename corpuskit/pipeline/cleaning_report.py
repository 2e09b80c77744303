"""The page that shows what a cleaning run did: funnel, histograms with thresholds, examples.

One HTML file that needs nothing else: no script, font, picture or address is loaded, so it can be
mailed, archived and opened where there is no network. It is made from the surveys that lie beside
the document parts, says nothing about time or machine, and is therefore the same for any number of
workers. Its size is bounded by the number of rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from corpuskit.clean import Cleaner
from corpuskit.clean.examples import Example, Gallery, SurveyOptions, add_examples
from corpuskit.clean.steps import field_names
from corpuskit.clean.survey import RuleSurvey, StepSurvey, Survey, merge_surveys
from corpuskit.documents import Tally
from corpuskit.engine import JobResult
from corpuskit.errors import ArtifactError, InputError
from corpuskit.files import write_text
from corpuskit.jobs import Output
from corpuskit.parts import read_documents
from corpuskit.pipeline.charts import Chart, draw, exact_number, percentage, short_number
from corpuskit.pipeline.rule_notes import RuleNote, note_for, rule_notes

TEMPLATE = "cleaning_report.html.jinja"
ROOM = "clean"


class Rescued(NamedTuple):
    """Documents of one rule that the user brought back.

    Attributes
    ----------
    documents : int
    examples : list of Example
    """

    documents: int
    examples: list[Example]


@dataclass(frozen=True)
class CleaningReport:
    """Everything the page shows.

    Attributes
    ----------
    title : str
        Heading, such as the name of the preset.
    inputs : sequence of str
        What was read, as the user gave it.
    cleaner : Cleaner
    tally : Tally
        The accounts of the run.
    survey : Survey
        The measurements of all parts.
    rescued : Mapping of str to Rescued
        By rule; see `find_rescued`.
    """

    title: str
    inputs: Sequence[str]
    cleaner: Cleaner
    tally: Tally
    survey: Survey
    rescued: Mapping[str, Rescued] = field(default_factory=dict)

    def to_html(self) -> str:
        """The page."""
        import jinja2

        source = resources.files("corpuskit.pipeline").joinpath(TEMPLATE).read_text(encoding="utf-8")
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters.update(
            number=exact_number, short=short_number, count=lambda value: f"{round(value):,}"
        )
        environment.globals.update(percentage=percentage)
        return environment.from_string(source).render(**self._view()) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the page to `path`.

        Raises
        ------
        InputError
            If it cannot be written there.
        """
        try:
            write_text(path, self.to_html())
        except OSError as error:
            raise InputError(
                f"the report cannot be written: {error.strerror}",
                where=str(path),
                hint="give --report a file in a directory that can be written",
            ) from error
        return Path(path)

    def _view(self) -> dict[str, Any]:
        self.survey.settle()
        steps = [self._step(name, step) for name, step in self.survey.steps.items()]
        return {
            "title": self.title,
            "inputs": list(self.inputs),
            "tally": self.tally,
            "survey": self.survey,
            "funnel": self._funnel(),
            "steps": steps,
            "reasons": self._reasons(),
            "kept_examples": self.survey.examples.get("kept", []),
            "rescued": sum(found.documents for found in self.rescued.values()),
            "settings": _settings(self.cleaner),
        }

    def _funnel(self) -> list[_Stage]:
        """Rows of the funnel; documents as shares of all, characters as shares of those read."""
        tally, survey = self.tally, self.survey
        quarantined = tally.num_quarantined
        stages = [_Stage("read", tally.documents_in, 0, None, None)]
        if quarantined:
            stages.append(
                _Stage("quarantine", tally.documents_in - quarantined, quarantined, survey.characters, None)
            )
        else:
            stages[0] = stages[0]._replace(characters=survey.characters)
        for name, step in survey.steps.items():
            stages.append(
                _Stage(
                    name,
                    step.kept,
                    step.documents - step.kept,
                    step.kept_characters,
                    step.characters_changed,
                    step.changed,
                )
            )
        return stages

    def _reasons(self) -> list[_Reason]:
        """Every reason with its count, the commonest first."""
        measured = {
            f"{ROOM}/{rule}": (step, result)
            for step, results in self.survey.steps.items()
            for rule, result in results.rules.items()
        }
        rows = []
        for kind, counts in (("dropped", self.tally.dropped), ("quarantined", self.tally.quarantined)):
            for reason, documents in counts.items():
                step, rule = measured.get(reason, (None, None))
                rows.append(
                    _Reason(
                        kind,
                        reason,
                        documents,
                        None if rule is None else rule.dropped_characters,
                        None if rule is None else rule.alone,
                        None if step is None else _anchor(step, reason.partition("/")[2]),
                    )
                )
        return sorted(rows, key=lambda row: (-row.documents, row.reason))

    def _step(self, name: str, step: StepSurvey) -> _Step:
        notes = rule_notes(self.cleaner)
        rules = [
            _Rule(
                rule,
                _anchor(name, rule),
                measured,
                step.documents,
                note_for(notes, name, rule, measured.threshold, self.cleaner),
                draw(measured),
                _groups(measured, self.rescued.get(f"{ROOM}/{rule}")),
            )
            for rule, measured in step.rules.items()
        ]
        return _Step(name, step, rules)


class _Stage(NamedTuple):
    """One row of the funnel: what is left, and what was taken away here."""

    name: str
    documents: int
    dropped: int
    characters: int | None
    characters_changed: int | None
    changed: int = 0


class _Reason(NamedTuple):
    kind: str
    reason: str
    documents: int
    characters: int | None
    alone: int | None
    anchor: str | None


class _Group(NamedTuple):
    """Examples of one kind under a heading."""

    kind: str
    heading: str
    explanation: str
    examples: list[Example]


class _Rule(NamedTuple):
    name: str
    anchor: str
    measured: RuleSurvey
    documents: int
    note: RuleNote | None
    chart: Chart | None
    groups: list[_Group]

    @property
    def relation(self) -> str:
        """What a value that passes is to the threshold."""
        return "≥" if self.measured.relation == "at least" else "≤"


class _Step(NamedTuple):
    name: str
    measured: StepSurvey
    rules: list[_Rule]


def _groups(rule: RuleSurvey, rescued: Rescued | None) -> list[_Group]:
    """The examples of a rule, each text once (crawls hold many copies)."""
    shown: set[tuple[str, str]] = set()
    groups = []
    for kind, heading, explanation in (
        ("dropped", "Dropped", "any documents that this rule dropped"),
        ("just_dropped", "Just dropped", "dropped, with the values nearest to the limit"),
        ("just_kept", "Just kept", "kept by all rules, with the values nearest to the limit"),
    ):
        found = []
        for example in rule.examples.get(kind, []):
            look = (example.head or example.id, example.tail)
            if look not in shown:
                shown.add(look)
                found.append(example)
        if found:
            groups.append(_Group(kind, heading, explanation, found))
    if rescued is not None:
        heading = f"Rescued ({rescued.documents:,})"
        groups.append(_Group("rescued", heading, "dropped by this rule, and brought back", rescued.examples))
    return groups


def _anchor(step: str, rule: str) -> str:
    return f"rule-{step}-{rule}"


def _settings(cleaner: Cleaner) -> list[tuple[str, str]]:
    """Every field of the configuration as ``--set`` takes it."""
    settings = []
    for name in field_names(cleaner):
        step = getattr(cleaner, name)
        if step is None:
            settings.append((name, "off"))
            continue
        for key in field_names(step):
            value = getattr(step, key)
            text = json.dumps(value, ensure_ascii=False, default=str)
            settings.append((f"{name}.{key}", text if len(text) <= 200 else text[:200] + "…"))
    return settings


def read_surveys(outputs: Iterable[Output], options: SurveyOptions | None = None) -> Survey:
    """The survey of a run from its files of kind ``survey``, in task and part order.

    Raises
    ------
    ArtifactError
        If a file is damaged.
    """

    def load(path: str) -> Survey:
        try:
            return Survey.from_dict(json.loads(Path(path).read_text(encoding="utf-8")), options)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"not a survey: {error}", where=path, hint="run again with --verify to rebuild it"
            ) from error

    return merge_surveys((load(output.path) for output in outputs), options)


def make_report(
    title: str,
    inputs: Sequence[str],
    cleaner: Cleaner,
    result: JobResult,
    rescued: Sequence[str | Path] = (),
    options: SurveyOptions | None = None,
) -> CleaningReport:
    """The report of an `IngestJob` that ran with a survey.

    Parameters
    ----------
    title : str
    inputs : sequence of str
    cleaner : Cleaner
    result : JobResult
    rescued : sequence of path-like
        Files written by `corpuskit rescue` from this run.
    options : SurveyOptions, optional
        Those of the job.
    """
    found = find_rescued(result.outputs("dropped"), rescued, options)
    survey = read_surveys(result.outputs("survey"), options)
    return CleaningReport(title, inputs, cleaner, result.tally, survey, found)


def find_rescued(
    dropped: Iterable[Output], rescued: Sequence[str | Path], options: SurveyOptions | None = None
) -> dict[str, Rescued]:
    """Which rule had dropped each of the documents that were brought back.

    Parameters
    ----------
    dropped : iterable of Output
        Files of kind ``dropped`` of the run that dropped them.
    rescued : sequence of path-like
        Files written by `corpuskit rescue`.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    options = options or SurveyOptions()
    wanted: set[str] = set()
    for path in rescued:
        try:
            wanted.update(id_ for rows in read_documents(str(path), ["id"]) for id_ in rows["id"].to_pylist())
        except (ArtifactError, KeyError) as error:
            raise InputError(
                "not a file of rescued documents", where=str(path), hint="see: corpuskit rescue"
            ) from error
    counts: dict[str, int] = {}
    examples: dict[str, list[Example]] = {}
    for output in dropped if wanted else ():
        for rows in read_documents(output.path):
            chosen = rows.filter(pa.array([id_ in wanted for id_ in rows.column("id").to_pylist()]))
            for reason in set(chosen.column("reason").to_pylist()):
                found = chosen.filter(pa.array([r == reason for r in chosen.column("reason").to_pylist()]))
                counts[reason] = counts.get(reason, 0) + found.num_rows
                add_examples(examples, {reason: _examples(found, options)}, options.examples)
    return {reason: Rescued(count, examples[reason]) for reason, count in sorted(counts.items())}


def _examples(rows: pa.RecordBatch, options: SurveyOptions) -> list[Example]:
    import numpy as np

    gallery = Gallery(options)
    gallery.enter(rows)
    found: dict[str, list[Example]] = {}
    values = rows.column("value").to_numpy(zero_copy_only=False)
    everything = np.arange(rows.num_rows)
    gallery.offer(found, "rescued", rows, everything, everything, values=values)
    gallery.hang()
    return found.get("rescued", [])
