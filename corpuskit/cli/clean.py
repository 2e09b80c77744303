"""`corpuskit clean`: documents in, clean documents out, and what happened to them on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corpuskit.cli.documents import Inputs, print_accounts, run_with_progress
from corpuskit.cli.road import DEFAULT_WORKERS, Limit, Workers


def clean(
    inputs: Inputs,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output directory (not needed to explain).")
    ] = None,
    preset: Annotated[str, typer.Option(help="zh-web, zh-web-strict, zh-books or none.")] = "zh-web",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a rule: step.field=value. May be given several times."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page on what was kept and dropped (HTML).")
    ] = None,
    rescued: Annotated[
        list[Path] | None,
        typer.Option(help="File that `corpuskit rescue` wrote, to show in the report. May be repeated."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print every rule's verdict on the first document, and its text."),
    ] = False,
    id_: Annotated[
        list[str] | None,
        typer.Option("--id", help="Explain this document: an id or its beginning. May be repeated."),
    ] = None,
    workers: Workers = DEFAULT_WORKERS,
    limit: Limit = None,
    dropped_text: Annotated[
        str, typer.Option(help="How much of the dropped texts to store: full, sample or none.")
    ] = "full",
) -> None:
    """Read any supported input, clean it, and write documents as Arrow files."""
    from corpuskit.errors import ConfigError
    from corpuskit.pipeline.recipe import parse_cleaner

    cleaner = parse_cleaner(preset, set_ or [])
    if explain or id_:
        from corpuskit.cli.explanation import print_explanations

        print_explanations(inputs, cleaner, id_ or [], limit or 1)
        return
    if output is None:
        raise ConfigError(
            "there is no directory to write to", where="--output", hint="add --output DIRECTORY, or --explain"
        )
    from corpuskit.clean.examples import SurveyOptions
    from corpuskit.files import require_writable
    from corpuskit.ingest import IngestJob
    from corpuskit.pipeline.cleaning_report import make_report

    if report is not None:
        require_writable(report, option="--report")
    job = IngestJob(
        inputs=tuple(inputs),
        steps=(cleaner,),
        limit=limit,
        dropped_text=dropped_text,  # type: ignore[arg-type]  # the job refuses others
        survey=SurveyOptions(),
    )
    result = run_with_progress("clean", job, output, workers)
    if report is not None:
        make_report(preset, inputs, cleaner, result, rescued or (), job.survey).save(report)
    print_accounts(result.tally, result, output)
    if report is not None:
        print(f"report: {report}")
