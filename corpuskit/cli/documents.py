"""`corpuskit dedup`, and what commands of one room have in common: documents in, documents out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpuskit.cli.road import DEFAULT_WORKERS, Workers

if TYPE_CHECKING:
    from corpuskit.documents import Tally
    from corpuskit.engine import JobResult

Inputs = Annotated[list[str], typer.Argument(help="Files, directories or globs.")]
OutputDirectory = Annotated[Path, typer.Option("--output", "-o", help="Output directory.")]


def dedup(
    inputs: Inputs,
    output: OutputDirectory,
    exact: Annotated[bool, typer.Option(help="Remove exact duplicates first.")] = True,
    near: Annotated[bool, typer.Option(help="Remove near-duplicates (MinHash).")] = True,
    index: Annotated[
        Path | None, typer.Option(help="Index of earlier crawls: compare with it, and add this one.")
    ] = None,
    workers: Workers = DEFAULT_WORKERS,
) -> None:
    """Remove exact and near-duplicate documents."""
    from corpuskit.dedup import ExactDeduplicator, MinHashDeduplicator
    from corpuskit.ingest import IngestJob

    result = ingested = run_with_progress("read", IngestJob(inputs=tuple(inputs)), output, workers)
    tally = result.tally
    against = None if index is None else str(index)
    for wanted, name, job_for in (
        (exact, "exact", ExactDeduplicator().job),
        (near, "near", partial(MinHashDeduplicator().job, index=against)),
    ):
        if wanted:
            documents = tuple(part.as_slice() for part in result.outputs("kept"))
            result = run_with_progress(f"dedup-{name}", job_for(documents), output, workers)
            tally = replace(tally + result.tally, documents_in=tally.documents_in, kept=result.tally.kept)
    print_accounts(tally, result, output, ingested.counts)


def run_with_progress(name: str, job: Any, output: Path, workers: int) -> JobResult:
    """Run a job below `output`, showing its progress under `name`."""
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


def print_accounts(
    tally: Tally, result: JobResult, output: Path, counts: Mapping[str, int] | None = None
) -> None:
    """What was dropped and why, what was kept, and where it lies.

    `counts` are of the job that read the pages, where that is not `result`.
    """
    from corpuskit.cli.summary import cut_bodies

    for kind, reasons in (("dropped", tally.dropped), ("quarantined", tally.quarantined)):
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            print(f"{kind} {count:,}: {reason}")
    print(f"kept {tally.kept:,} of {tally.documents_in:,}")
    cut = (result.counts if counts is None else counts).get("body cut", 0)
    if cut:
        print(f"note: {cut_bodies(cut)}")
    directories = sorted({Path(part.path).parent for part in result.outputs("kept")})
    for directory in directories:
        print(f"{directory}/*.arrow")
    print(f"dropped rows and quarantine lie beside them, below {output}")
