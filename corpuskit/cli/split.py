"""`corpuskit split`: documents to train on, and documents to judge by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corpuskit.cli.documents import Inputs, OutputDirectory, run_with_progress
from corpuskit.cli.road import DEFAULT_WORKERS, Workers


def split(
    inputs: Inputs,
    output: OutputDirectory,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of the documents (of the key's values) to hold out.")
    ] = 0.01,
    key: Annotated[
        str, typer.Option(help="What stays together: a column, site, or id for each document by itself.")
    ] = "id",
    seed: Annotated[int, typer.Option(help="Another seed is another split.")] = 0,
    workers: Workers = DEFAULT_WORKERS,
) -> None:
    """Divide documents into those to train on and those to hold out."""
    from corpuskit.errors import renamed
    from corpuskit.ingest.split import HELD_OUT, TRAINING, WITHOUT_KEY, SplitJob, Splitter

    with renamed({"held_out": "--held-out", "key": "--key", "seed": "--seed"}):
        job = SplitJob(tuple(inputs), Splitter(held_out, key, seed))
        result = run_with_progress("split", job, output, workers)
    counts = result.counts
    total = result.tally.kept
    for reason, count in result.tally.quarantined.items():
        print(f"quarantined {count:,}: {reason}")
    if without := counts.get(WITHOUT_KEY):
        print(f"without {key}, each by its id: {without:,} documents")
    for side in (HELD_OUT, TRAINING):
        documents = counts[f"{side} documents"]
        characters = counts[f"{side} characters"]
        print(f"{side}: {documents:,} documents ({documents / total:.2%}), {characters:,} characters")
    for side in (HELD_OUT, TRAINING):
        for directory in sorted({Path(part.path).parent for part in result.outputs(side)}):
            print(f"{directory}/*.arrow")
