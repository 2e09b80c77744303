"""What changed between two texts, as runs of characters: for a reader, not for a machine.

Chinese has no words to compare and paragraphs of hundreds of characters, so lines are aligned first,
the clauses of those that differ next, and the characters of differing clauses last. Comparing costs at
least the product of the lengths, so it is bounded: a longer passage counts as replaced as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

MAX_CHARACTER_PAIRS = 250_000
MAX_PIECE_PAIRS = 25_000_000
"""Largest product of the lengths of two passages that are compared, in characters and in lines or
clauses. Beyond 500 characters difflib may take seconds where a character is repeated all over."""

MIN_SAME = 3
"""Fewer characters in common than this between two changes are shown as part of one change."""


_CLAUSE = re.compile(r"[^，。！？；：\s]*[，。！？；：\s]+|[^，。！？；：\s]+")


class Run(NamedTuple):
    """Consecutive characters that are in both texts, or in one of them."""

    kind: Literal["same", "removed", "added", "omitted"]
    text: str


def changes(before: str, after: str) -> list[Run]:
    """The runs that make `after` out of `before`: same, removed, added."""
    runs = _aligned(before.splitlines(keepends=True), after.splitlines(keepends=True), _by_clause)
    return list(_joined(_without_slivers(list(_joined(runs)))))


def shortened(runs: Iterable[Run], context: int = 40, most: int = 60) -> list[Run]:
    """The runs as they fit on a page.

    Parameters
    ----------
    runs : iterable of Run
    context : int
        Characters shown on either side of a change; what lies between becomes a run ``omitted``
        whose text is its number of characters. Changes are cut to four times as many.
    most : int
        Changes shown; the rest is omitted.
    """
    runs = list(runs)
    short: list[Run] = []
    shown = 0
    for index, run in enumerate(runs):
        if shown >= most:
            rest = sum(len(r.text) for r in runs[index:] if r.kind != "added")
            return [*short, Run("omitted", f"{rest:,}")]
        if run.kind != "same":
            shown += 1
        first, last = index == 0, index == len(runs) - 1
        keep_left = 0 if first and run.kind == "same" and not last else context
        keep_right = 0 if last and run.kind == "same" and not first else context
        if run.kind != "same":
            keep_left = keep_right = 2 * context
        hidden = len(run.text) - keep_left - keep_right
        if hidden > context // 2:
            head, tail = run.text[:keep_left], run.text[len(run.text) - keep_right :]
            pieces = (Run(run.kind, head), Run("omitted", f"{hidden:,}"), Run(run.kind, tail))
            short += [piece for piece in pieces if piece.text]
        else:
            short.append(run)
    return short


def _aligned(left: list[str], right: list[str], compare: Callable[[str, str], list[Run]]) -> list[Run]:
    """Align pieces of two texts; passages that differ go to `compare`."""
    common = 0
    while common < min(len(left), len(right)) and left[common] == right[common]:
        common += 1
    runs = [Run("same", "".join(left[:common]))]
    left, right = left[common:], right[common:]
    if len(left) * len(right) > MAX_PIECE_PAIRS:
        return [*runs, Run("removed", "".join(left)), Run("added", "".join(right))]
    for kind, a, b, c, d in SequenceMatcher(None, left, right).get_opcodes():
        old, new = "".join(left[a:b]), "".join(right[c:d])
        runs += [Run("same", old)] if kind == "equal" else compare(old, new)
    return runs


def _by_clause(old: str, new: str) -> list[Run]:
    return _aligned(_CLAUSE.findall(old), _CLAUSE.findall(new), _by_character)


def _by_character(old: str, new: str) -> list[Run]:
    if not old or not new:
        return [Run("removed", old), Run("added", new)]
    if len(old) == len(new) and sum(a == b for a, b in zip(old, new)) * 2 > len(old):
        return _place_by_place(old, new)  # conversion between scripts: no need to align
    if len(old) * len(new) > MAX_CHARACTER_PAIRS:
        return [Run("removed", old), Run("added", new)]
    runs: list[Run] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            runs.append(Run("same", old[a:b]))
        else:
            runs += [Run("removed", old[a:b]), Run("added", new[c:d])]
    return runs


def _place_by_place(old: str, new: str) -> list[Run]:
    runs: list[Run] = []
    for a, b in zip(old, new):
        runs += [Run("same", a)] if a == b else [Run("removed", a), Run("added", b)]
    return runs


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Neighbouring changes as one removal and one addition, neighbouring equal runs as one."""
    same = removed = added = ""
    for run in runs:
        if run.kind == "same":
            yield from (r for r in (Run("removed", removed), Run("added", added)) if r.text)
            removed = added = ""
            same += run.text
        else:
            if same:
                yield Run("same", same)
                same = ""
            removed += run.text if run.kind == "removed" else ""
            added += run.text if run.kind == "added" else ""
    yield from (r for r in (Run("same", same), Run("removed", removed), Run("added", added)) if r.text)


def _without_slivers(runs: list[Run]) -> Iterator[Run]:
    """A few equal characters between two changes read better as part of the change."""
    for index, run in enumerate(runs):
        inside = 0 < index < len(runs) - 1
        if run.kind == "same" and inside and len(run.text) < MIN_SAME and "\n" not in run.text:
            yield Run("removed", run.text)
            yield Run("added", run.text)
        else:
            yield run
