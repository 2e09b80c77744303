"""The page of a comparison: every number, plots, sentences cut by each tokenizer, suspicious tokens.

One HTML file that loads nothing else, like the cleaning report: it can be mailed, archived and opened
without a network, and is the same for the same inputs. It computes nothing but widths of bars.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from corpuskit.errors import InputError
from corpuskit.files import write_text
from corpuskit.vocab.comparison import LENGTH_BINS
from corpuskit.vocab.comparison_measures import MEASURES, Measure, format_share, format_value
from corpuskit.vocab.comparison_result import Comparison, Judgement, Piece

TEMPLATE = "comparison_report.html.jinja"

_PLOTS = (
    ("Compression",
     "bytes/token in Simplified and in Traditional characters; orange: share of the text that is lost",
     ("simplified_bytes_per_token", "traditional_bytes_per_token"), "unknown_characters"),
    ("Characters with a token of their own", "GB 2312 levels 1 and 2, Big5 level 1",
     ("gb2312_1", "gb2312_2", "big5_1"), None),
    ("Tokens and words", "precision and recall of word boundaries, and tokens that cross one",
     ("boundary_precision", "boundary_recall", "cross_word"), None),
    ("Pieces of characters", "byte-fallback tokens, and characters cut into several",
     ("partial_tokens", "split_characters"), None),
)  # fmt: skip

_LENGTH_TITLES = dict(
    zip(LENGTH_BINS, ("part of a character", "1 character", "2 characters", "3 characters", "4 or more"))
)
_RUN = re.compile(r"(.{1,4}?)\1{7,}", re.DOTALL)
_VISIBLE = str.maketrans({" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u3000": "□", "\xa0": "⍽"})


class Bar(NamedTuple):
    """A bar of a plot: its measure, what it says, how wide it is (0 to 100) and how much of it is red."""

    title: str
    label: str
    width: float
    bad: float
    series: int


class Plot(NamedTuple):
    title: str
    explanation: str
    legend: list[str]
    rows: list[tuple[str, list[Bar]]]


def to_html(comparison: Comparison) -> str:
    """The page."""
    import jinja2

    source = resources.files("corpuskit.vocab").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        count=lambda value: f"{value:,}", share=format_share, visible=visible, shortened=shortened
    )
    return environment.from_string(source).render(**_view(comparison)) + "\n"


def save(comparison: Comparison, path: str | Path) -> Path:
    """Write the page to `path`.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    try:
        write_text(path, to_html(comparison))
    except OSError as error:
        raise InputError(
            f"the page cannot be written: {error.strerror}",
            where=str(path),
            hint="give --html a file in a directory that can be written",
        ) from error
    return Path(path)


def visible(text: str) -> str:
    """Text in which white space can be seen."""
    return text.translate(_VISIBLE)


def shown_token(token: bytes | None) -> str:
    """One token for a reader: white space visible, part of a character as its bytes."""
    if token is None:
        return "<unknown>"
    try:
        return visible(token.decode())
    except UnicodeDecodeError:
        return f"<{token.hex().upper()}>"


def shortened(text: str) -> str:
    """A token with long runs of a few characters given as their number."""
    return _RUN.sub(lambda run: f"{run[1] * 2}…(×{len(run[0]) // len(run[1])})", text)


def _view(comparison: Comparison) -> dict[str, Any]:
    judgements = comparison.judgements
    return {
        "names": [judged.name for judged in judgements],
        "judgements": judgements,
        "inputs": comparison.inputs,
        "sample": comparison.sample,
        "warnings": comparison.warnings,
        "groups": _groups(comparison),
        "plots": _plots(judgements),
        "lengths": _lengths(judgements),
        "length_titles": list(_LENGTH_TITLES.values()),
        "sentences": [
            (
                sentence,
                [
                    (judged.name, judged.sentences[i], _num_tokens(judged.sentences[i]))
                    for judged in judgements
                ],
            )
            for i, sentence in enumerate(comparison.sentences)
        ],
    }


def _groups(comparison: Comparison) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of the table by group, in the order of `MEASURES`."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for measure in comparison.measures:
        best = comparison.best(measure)
        cells = [
            {
                "text": format_value(measure, judged.values[measure.key]),
                "best": judged.name in best,
                "bad": judged.is_doubtful(measure),
            }
            for judged in comparison.judgements
        ]
        groups.setdefault(measure.group, []).append({"measure": measure, "cells": cells})
    return list(groups.items())


def _plots(judgements: Sequence[Judgement]) -> list[Plot]:
    by_key = {measure.key: measure for measure in MEASURES}
    plots = []
    for title, explanation, keys, bad in _PLOTS:
        measures = [by_key[key] for key in keys]
        top = _top(judgements, measures)
        rows = []
        for judged in judgements:
            share = judged.lost if bad else 0.0
            bars = [
                Bar(
                    measure.title,
                    format_value(measure, judged.values[measure.key])
                    + ("!" if judged.is_doubtful(measure) else ""),
                    min(100.0, 100 * (judged.values[measure.key] or 0.0) / top),
                    100 * share,
                    series,
                )
                for series, measure in enumerate(measures)
            ]
            rows.append((judged.name, bars))
        plots.append(Plot(title, explanation, [measure.title for measure in measures], rows))
    return plots


def _top(judgements: Sequence[Judgement], measures: Sequence[Measure]) -> float:
    """Where the axis ends: at 1 for shares, else at the highest value that no loss flatters."""
    if all(measure.form == "share" for measure in measures):
        return 1.0
    honest = [
        judged.values[measure.key] or 0.0
        for judged in judgements
        for measure in measures
        if not judged.is_doubtful(measure)
    ]
    return (
        max(honest, default=0.0)
        or max(
            (judged.values[measure.key] or 0.0 for judged in judgements for measure in measures), default=0.0
        )
        or 1.0
    )


def _lengths(judgements: Sequence[Judgement]) -> list[tuple[str, list[tuple[str, str, float]]]]:
    """Of each tokenizer: title, label and width of the parts of its bar."""
    return [
        (
            judged.name,
            [
                (_LENGTH_TITLES[key], format_share(share), 100 * share)
                for key, share in judged.han_lengths.items()
            ],
        )
        for judged in judgements
    ]


def _num_tokens(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.ids) for piece in pieces)
