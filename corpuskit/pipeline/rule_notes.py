"""What each rule measures and which field sets its limit, read off the steps' own documentation.

A step documents every rule beside the field that sets it: under ``Attributes``, an entry
``max_links_per_1000 : float`` says "``clean/links``: web addresses …". Reports quote these lines, so
that there is one place where a rule is described. Where Python runs without docstrings (``-OO``)
there are no notes.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

from corpuskit.clean import Cleaner
from corpuskit.clean.steps import field_names

_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : .*$", re.MULTILINE)
_RULE = re.compile(r"``clean/(\w+)``")
_DIGITS = re.compile(r"\d+")
_MAX_CHARACTERS = 400


class RuleNote(NamedTuple):
    """How a rule is documented.

    Attributes
    ----------
    field : str
        What sets the limit, as ``--set`` takes it: ``quality.min_han_share``.
    text : str
        What it measures; empty where the documentation says nothing more.
    """

    field: str
    text: str


def rule_notes(cleaner: Cleaner) -> dict[str, dict[str, RuleNote]]:
    """The notes of each step of a cleaner, by step and rule (numbers in rule names left out).

    Use `note_for` to look one up.
    """
    return {
        name: _notes(name, step)
        for name in field_names(cleaner)
        if (step := getattr(cleaner, name)) is not None
    }


def note_for(
    notes: dict[str, dict[str, RuleNote]], step: str, rule: str, threshold: float | None, cleaner: Cleaner
) -> RuleNote | None:
    """The note of a rule; of several fields in one entry the one that holds the threshold."""
    note = notes.get(step, {}).get(_DIGITS.sub("#", rule))
    if note is None or ", " not in note.field:
        return note
    names = note.field.split(", ")
    holding = [name for name in names if getattr(getattr(cleaner, step), name, None) == threshold] or names
    alike = [name for name in holding if rule in name] or holding
    return RuleNote(f"{step}.{alike[0]}", note.text)


def _notes(name: str, step: Any) -> dict[str, RuleNote]:
    documentation = inspect.cleandoc(type(step).__doc__ or "")
    _, _, attributes = documentation.partition("Attributes\n----------\n")
    entries = list(_ENTRY.finditer(attributes))
    found: dict[str, RuleNote] = {}
    for entry, following in zip(entries, [*entries[1:], None]):
        body = attributes[entry.end() : following.start() if following else None]
        text = " ".join(body.split())
        fields = entry[1]
        for rule in _RULE.findall(text):
            field = fields if ", " in fields else f"{name}.{fields}"
            found.setdefault(_DIGITS.sub("#", rule), RuleNote(field, _sentence(text)))
        for field in fields.split(", "):  # a rule for each kind of something: pii_email of pii.email
            found.setdefault(f"{name}_{field}", RuleNote(f"{name}.{field}", _sentence(text)))
    return found


def _sentence(text: str) -> str:
    """The entry without the rule names that lead it, cut at a sentence."""
    text = re.sub(r"^(?:``clean/\w+``(?:, | to | and )?)+[:.]? ?", "", text).replace("`", "")
    if len(text) > _MAX_CHARACTERS:
        cut = text[:_MAX_CHARACTERS]
        text = cut[: cut.rfind(". ") + 1] or cut + "…"
    return text[:1].upper() + text[1:]
