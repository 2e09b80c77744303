"""What `corpuskit clean --explain` prints: facts, every rule's verdict, the text before and after."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from corpuskit.clean import Cleaner, Explanation
from corpuskit.documents import Quarantined
from corpuskit.pipeline.charts import exact_number
from corpuskit.pipeline.explain import ExplainedDocument, explain_documents
from corpuskit.pipeline.textdiff import changes, shortened

_MARKS = {"removed": ("[-", "-]", "red"), "added": ("{+", "+}", "green")}
_SPACE = re.compile(r"[^\S\n]")
_MAX_FACT_CHARACTERS = 200
_MAX_CHANGES = 24


def print_explanations(inputs: Sequence[str], cleaner: Cleaner, ids: Sequence[str], limit: int) -> None:
    """Explain documents of `inputs` on standard output."""
    console = Console(highlight=False)
    for number, found in enumerate(explain_documents(inputs, cleaner, ids, limit)):
        if number:
            console.rule(characters="═")
        if isinstance(found, Quarantined):
            _print_quarantined(found, console)
        else:
            _print_document(found, console)


def _print_quarantined(record: Quarantined, console: Console) -> None:
    console.print(Text.assemble(("quarantined", "bold red"), f": {record.reason}"))
    console.print(Text(f"  {record.path}, offset {record.offset}"))
    console.print(Text(f"  {record.detail}"))


def _print_document(document: ExplainedDocument, console: Console) -> None:
    console.print(_facts(document))
    console.print()
    console.print(_verdict(document.explanation))
    if document.explanation.rules:
        console.print(_rules(document.explanation))
    _print_text(document.explanation, console)


def _facts(document: ExplainedDocument) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("id", document.id)
    for name, value in document.facts.items():
        short = value if len(value) <= _MAX_FACT_CHARACTERS else value[:_MAX_FACT_CHARACTERS] + "…"
        table.add_row(name.replace("_", " "), Text(short))
    return table


def _verdict(explanation: Explanation) -> Text:
    failed = [rule for rule in explanation.rules if rule.verdict == "drop"]
    if not failed:
        return Text.assemble(("kept", "bold green"), f" by all {len(explanation.rules)} rules")
    first = failed[0]
    needs = f"must be {first.relation} {exact_number(first.threshold)}"
    text = Text.assemble(("dropped", "bold red"), f" by {first.rule}: {exact_number(first.value)}, {needs}")
    if failed[1:]:
        text.append("; without it by " + ", ".join(rule.rule.partition("/")[2] for rule in failed[1:]))
    return text


def _rules(explanation: Explanation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("step", style="dim", no_wrap=True)
    table.add_column("rule", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    previous, dropped = None, False
    for rule in explanation.rules:
        if rule.verdict == "keep":
            verdict = Text("passes", "green")
        else:
            verdict = Text("drops, too" if dropped else "drops", "bold red")
            dropped = True
        sign = "≥" if rule.relation == "at least" else "≤"
        table.add_row(
            rule.step if rule.step != previous else "",
            Text(rule.rule.partition("/")[2], "bold" if rule.verdict == "drop" else ""),
            exact_number(rule.value),
            f"{sign} {exact_number(rule.threshold)}" if math.isfinite(rule.threshold) else "none",
            verdict,
        )
        previous = rule.step
    return table


def _print_text(explanation: Explanation, console: Console) -> None:
    before, after = explanation.before, explanation.after
    runs = changes(before, after)
    if before == after:
        console.print(Text.assemble(("text", "bold"), f", {len(after):,} characters, not changed"))
    else:
        console.print(
            Text.assemble(
                ("text", "bold"),
                f", {len(before):,} characters before and {len(after):,} after: ",
                ("[-removed-]", "red"),
                " ",
                ("{+added+}", "green"),
            )
        )
    body = Text()
    for run in shortened(runs, context=200 if before == after else 40, most=_MAX_CHANGES):
        if run.kind == "same":
            body.append(run.text)
        elif run.kind == "omitted":
            body.append(f" … {run.text} characters … ", "dim")
        else:
            opening, closing, colour = _MARKS[run.kind]
            shown = run.text.replace("\n", "⏎" if run.kind == "removed" else "⏎\n")
            shown = _SPACE.sub("␣", shown) if not shown.strip() else shown
            body.append(f"{opening}{shown}{closing}", colour)
    console.print(body, soft_wrap=False)
