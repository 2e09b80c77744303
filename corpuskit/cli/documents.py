"""`corpuskit clean` and `dedup`: one room at a time, documents in and documents out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpuskit.cli.road import DEFAULT_WORKERS, Limit, Workers

if TYPE_CHECKING:
    from corpuskit.documents import Tally
    from corpuskit.engine import JobResult

Inputs = Annotated[list[str], typer.Argument(help="Files, directories or globs.")]
OutputDirectory = Annotated[Path, typer.Option("--output", "-o", help="Output directory.")]


def clean(
    inputs: Inputs,
    output: OutputDirectory,
    preset: Annotated[str, typer.Option(help="zh-web, zh-web-strict, zh-books or none.")] = "zh-web",
    workers: Workers = DEFAULT_WORKERS,
    limit: Limit = None,
) -> None:
    """Read any supported input, clean it, and write documents as Arrow files."""
    from corpuskit.clean import Cleaner
    from corpuskit.ingest import IngestJob

    job = IngestJob(inputs=tuple(inputs), steps=(Cleaner.preset(preset),), limit=limit)
    result = _run("clean", job, output, workers)
    _report(result.tally, result, output)


def dedup(
    inputs: Inputs,
    output: OutputDirectory,
    exact: Annotated[bool, typer.Option(help="Remove exact duplicates first.")] = True,
    near: Annotated[bool, typer.Option(help="Remove near-duplicates (MinHash).")] = True,
    workers: Workers = DEFAULT_WORKERS,
) -> None:
    """Remove exact and near-duplicate documents."""
    from corpuskit.dedup import ExactDeduplicator, MinHashDeduplicator
    from corpuskit.ingest import IngestJob

    result = _run("read", IngestJob(inputs=tuple(inputs)), output, workers)
    tally = result.tally
    for wanted, name, deduplicator in (
        (exact, "exact", ExactDeduplicator()),
        (near, "near", MinHashDeduplicator()),
    ):
        if wanted:
            documents = tuple(part.as_slice() for part in result.outputs("kept"))
            result = _run(f"dedup-{name}", deduplicator.job(documents), output, workers)
            tally = replace(tally + result.tally, documents_in=tally.documents_in, kept=result.tally.kept)
    _report(tally, result, output)


def _run(name: str, job: Any, output: Path, workers: int) -> JobResult:
    import time

    from rich.console import Console

    from corpuskit.cli.progress import observer_for
    from corpuskit.engine import hold
    from corpuskit.engine import run as run_job
    from corpuskit.pipeline.report import StageReport

    observer = observer_for(Console(stderr=True))
    observer.stage_started(name)
    started = time.monotonic()
    with hold(output):
        result = run_job(job, output, workers=workers, observer=observer)
    observer.stage_finished(
        StageReport(name, result.tally, time.monotonic() - started, result.tasks_run, result.tasks_skipped)
    )
    return result


def _report(tally: Tally, result: JobResult, output: Path) -> None:
    for kind, reasons in (("dropped", tally.dropped), ("quarantined", tally.quarantined)):
        for reason, count in reasons.items():
            print(f"{kind} {count:,}: {reason}")
    print(f"kept {tally.kept:,} of {tally.documents_in:,}")
    for part in result.outputs("kept"):
        print(part.path)
    print(f"dropped rows and quarantine lie beside them, below {output}")
