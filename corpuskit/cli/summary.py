"""What a run prints at its end: what came in, what was dropped and why, what came out, what next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from corpuskit.pipeline.report import FILE_NAME, Report
from corpuskit.pipeline.stages import CLEANING_PAGE


def print_summary(report: Report, console: Console, next_steps: Sequence[str]) -> None:
    """Print the end of a run."""
    console.print()
    console.print(_funnel(report))
    for line in _pages(report):
        console.print(line, highlight=False)
    if report.vocabularies:
        console.print(_vocabularies(report.vocabularies))
    if report.shards is not None:
        shards = report.shards
        console.print(
            f"[bold]shards[/]  {shards['tokens']:,} tokens in {shards['documents']:,} documents, "
            f"{shards['num_shards']} file{'s' if shards['num_shards'] != 1 else ''}, {shards['dtype']}",
            highlight=False,
        )
    if report.model is not None:
        console.print(f"[bold]model[/]   {_model_line(report.model)}", highlight=False)
    for sample in report.samples:
        console.print(f"\n[bold]generated[/] from {sample['prompt']!r}:", highlight=False)
        console.print(f"  {escape(sample['text'])}", highlight=False)
    console.print("\n[bold]where[/]")
    for name, path in _places(report):
        console.print(f"  {name:<13} {escape(path)}", highlight=False, soft_wrap=True)
    console.print("\n[bold]next[/]")
    for step in next_steps:
        console.print(f"  {escape(step)}", highlight=False, soft_wrap=True)


def _pages(report: Report) -> list[str]:
    """What happened to web pages besides: text repaired, processes that had to be ended."""
    lines = []
    for stage in report.stages:
        for name, count in stage.metrics.get("counts", {}).items():
            if name.startswith("mojibake "):
                lines.append(f"[bold]mojibake[/]  {escape(name.removeprefix('mojibake '))}: {count:,}")
            elif name == "body cut":
                lines.append(f"[bold]pages[/]  {cut_bodies(count)}")
        verdicts = stage.metrics.get("verdicts", ())
        if verdicts:
            lines.append(f"[bold]pages[/]  {len(verdicts):,} ended their process and are in quarantine")
    return lines


def cut_bodies(count: int) -> str:
    """What is said of pages whose body came without its end."""
    if count == 1:
        return "1 body was cut short and is kept as far as it goes"
    return f"{count:,} bodies were cut short and are kept as far as they go"


def _funnel(report: Report) -> Table:
    tally = report.tally
    table = Table(title="documents", title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("came in", f"{tally.documents_in - report.rescued:,}")
    if report.rescued:
        table.add_row("rescued", f"{report.rescued:,}")
    for kind, reasons in (("dropped", tally.dropped), ("quarantined", tally.quarantined)):
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            table.add_row(f"{kind}: {reason}", f"-{count:,}")
    table.add_row("[bold]kept[/]", f"[bold]{tally.kept:,}[/]")
    return table


def _vocabularies(vocabularies: Mapping[str, Mapping]) -> Table:
    table = Table(title="vocabularies", title_justify="left", box=None, padding=(0, 2))
    table.add_column("name")
    table.add_column("tokens", justify="right")
    table.add_column("bytes/token", justify="right")
    for name, facts in vocabularies.items():
        ratio = facts.get("bytes_per_token")
        table.add_row(name, f"{facts['vocab_size']:,}", "" if ratio is None else f"{ratio:.2f}")
    return table


def _model_line(model: Mapping) -> str:
    line = f"{model['steps']:,} steps, {model['tokens']:,} tokens seen, loss {model['loss']:.3f}"
    if model["held_out_loss"] is not None:
        line += f", held-out loss {model['held_out_loss']:.3f}"
    return line


def _places(report: Report) -> list[tuple[str, str]]:
    output = short_path(report.output)
    places = [
        ("report", f"{output}/{FILE_NAME}"),
        ("cleaning", f"{output}/{CLEANING_PAGE}"),
        ("dropped rows", f"{output}/work/*/*/dropped"),
    ]
    if report.vocabularies:
        places.append(("vocabularies", f"{output}/vocabularies"))
    if report.shards is not None:
        places.append(("shards", short_path(report.shards["path"])))
    if report.model is not None:
        places.append(("model", short_path(report.model["path"])))
    return places


def short_path(path: str) -> str:
    """`path` relative to the current directory where it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
