"""What the steps of this room have in common: each may change every row, then judges every row.

A step's `judge` returns a batch of the same rows plus checks; a row is dropped by the first check
it fails. Because rows keep their places until all are judged, the cleaner can give a dropped row
back with the text it came in with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.documents import DocumentBatch, StepResult, dropped_rows
from corpuskit.errors import ConfigError

Relation = Literal["at least", "at most"]
"""Which side of its threshold a value must lie on to pass."""


class Check(NamedTuple):
    """One rule applied to every document of a batch.

    Attributes
    ----------
    rule : str
        Name without the room, e.g. ``han_share``.
    values : numpy.ndarray
        float64, the measured value of each document.
    threshold : float
        The limit; documents exactly at it pass.
    failed : numpy.ndarray
        bool, whether each document misses the limit.
    relation : {"at most", "at least"}
        What the threshold is to the value of a document that passes; for reports.
    """

    rule: str
    values: np.ndarray
    threshold: float
    failed: np.ndarray
    relation: Relation = "at most"


class Judged(NamedTuple):
    """A batch with the same rows, perhaps changed, and the checks in the order they count."""

    batch: DocumentBatch
    checks: Sequence[Check]


class Verdict(NamedTuple):
    """The first failed check of each document: index into the checks, or -1."""

    first_failed: np.ndarray
    checks: Sequence[Check]

    @property
    def kept(self) -> np.ndarray:
        return self.first_failed < 0

    def reasons(self, rows: np.ndarray) -> tuple[list[str], list[float], list[float]]:
        """Reason, value and threshold of the (dropped) rows given by index."""
        failed = [self.checks[self.first_failed[row]] for row in rows]
        return (
            [f"clean/{check.rule}" for check in failed],
            [float(check.values[row]) for check, row in zip(failed, rows)],
            [float(check.threshold) for check in failed],
        )


def at_least(rule: str, values: np.ndarray, minimum: float) -> Check:
    """Documents with a value below `minimum` fail."""
    values = np.asarray(values, np.float64)
    return Check(rule, values, minimum, values < minimum, "at least")


def at_most(rule: str, values: np.ndarray, maximum: float) -> Check:
    """Documents with a value above `maximum` fail."""
    values = np.asarray(values, np.float64)
    return Check(rule, values, maximum, values > maximum, "at most")


def first_failures(num_rows: int, checks: Sequence[Check]) -> Verdict:
    """Which check, in order, each row fails first."""
    first = np.full(num_rows, -1, np.int64)
    for index, check in enumerate(checks):
        first[(first < 0) & check.failed] = index
    return Verdict(first, checks)


class Step:
    """Base of the room's steps: calling one judges a batch and splits it."""

    @property
    def files(self) -> tuple[str, ...]:
        """The user's files and directories that it reads; a run goes by their content, not by name."""
        return ()

    def judge(self, batch: DocumentBatch) -> Judged:
        """The batch after this step's changes, and this step's checks of it."""
        raise NotImplementedError

    def __call__(self, batch: DocumentBatch) -> StepResult:
        changed, checks = self.judge(batch)
        verdict = first_failures(batch.num_rows, checks)
        kept = verdict.kept
        if kept.all():
            return StepResult(changed, None)
        rows = np.flatnonzero(~kept)
        dropped = dropped_rows(batch.take(pa.array(rows)), *verdict.reasons(rows))
        return StepResult(changed.filter(pa.array(kept)), dropped)


def texts(batch: DocumentBatch) -> pa.Array:
    """The text column as large_string without nulls."""
    column = batch.column("text").cast(pa.large_string())
    return pc.fill_null(column, "") if column.null_count else column


def require_shares(config: Any, *names: str) -> None:
    """Raise `ConfigError` unless each named field lies between 0 and 1."""
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise ConfigError(f"{value!r} is not a share", where=name, hint="allowed: 0 to 1")


def require_at_least(config: Any, minimum: float, *names: str) -> None:
    """Raise `ConfigError` unless each named field is a number of at least `minimum`."""
    for name in names:
        value = getattr(config, name)
        if not value >= minimum:
            raise ConfigError(f"{value!r} is too small", where=name, hint=f"allowed: {minimum} or more")


def field_names(config: Any) -> list[str]:
    """Names of a configuration's fields, in order."""
    return [field.name for field in fields(config)]
