"""`corpuskit decontaminate` and `corpuskit dedup-substrings`: passages to have once, or never."""

from __future__ import annotations

from typing import Annotated

import typer

from corpuskit.cli.documents import Inputs, OutputDirectory, print_accounts, run_with_progress
from corpuskit.cli.road import DEFAULT_WORKERS, Workers


def decontaminate(
    inputs: Inputs,
    against: Annotated[
        list[str], typer.Option("--against", help="Evaluation files, directories or globs. May be repeated.")
    ],
    output: OutputDirectory,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", help="Key of the evaluation records to use (default: all). May be repeated."),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option("--background", help="Documents whose phrases do not count. May be repeated."),
    ] = None,
    mark: Annotated[
        bool, typer.Option("--mark", help="Keep every document, with a column of its overlaps.")
    ] = False,
    ngram: Annotated[int, typer.Option(help="Characters per n-gram.")] = 13,
    min_share: Annotated[float, typer.Option(help="Share of an item's n-grams in one place.")] = 0.5,
    text_unit: Annotated[
        str, typer.Option(help="What an item of a text file is: line, paragraph or file.")
    ] = "line",
    workers: Workers = DEFAULT_WORKERS,
) -> None:
    """Remove (or mark) documents that overlap evaluation sets."""
    from dataclasses import replace

    from corpuskit.dedup.contamination import Decontaminator
    from corpuskit.ingest import IngestJob

    decontaminator = Decontaminator(
        fields=tuple(field or ()),
        ngram=ngram,
        min_share=min_share,
        text_unit=text_unit,  # type: ignore[arg-type]  # the configuration refuses others
        action="mark" if mark else "remove",
    )
    read = run_with_progress("read", IngestJob(inputs=tuple(inputs)), output, workers)
    documents = tuple(part.as_slice() for part in read.outputs("kept"))
    job = decontaminator.job(documents, against, background=background or ())
    result = run_with_progress("decontaminate", job, output, workers)
    found = result.entries["index"][0].outcome.metrics
    print(
        f"looked for {found['items_checked']:,} of {found['items']:,} items "
        f"({found['items_too_short']:,} too short, {found['items_too_common']:,} too common)"
    )
    tally = replace(read.tally + result.tally, documents_in=read.tally.documents_in, kept=result.tally.kept)
    print_accounts(tally, result, output)


def dedup_substrings(
    inputs: Inputs,
    output: OutputDirectory,
    min_characters: Annotated[int, typer.Option(help="Shortest repeated passage, in characters.")] = 50,
    boundary: Annotated[
        str, typer.Option(help="Cut at any character, or remove whole sentences: character or sentence.")
    ] = "character",
    mark: Annotated[
        bool, typer.Option("--mark", help="Keep every text, with a column of its repeated passages.")
    ] = False,
    max_fraction: Annotated[float, typer.Option(help="Share of a document that may be removed.")] = 0.5,
    beyond: Annotated[str, typer.Option(help="Documents beyond that share: drop or keep.")] = "drop",
    workers: Workers = DEFAULT_WORKERS,
) -> None:
    """Remove (or mark) passages that occur earlier in the corpus."""
    from dataclasses import replace

    from corpuskit.dedup.substrings import SubstringDeduplicator
    from corpuskit.ingest import IngestJob
    from corpuskit.parts import add_counts

    deduplicator = SubstringDeduplicator(
        min_characters=min_characters,
        boundary=boundary,  # type: ignore[arg-type]  # the configuration refuses others
        action="mark" if mark else "remove",
        max_fraction=max_fraction,
        beyond=beyond,  # type: ignore[arg-type]
    )
    read = run_with_progress("read", IngestJob(inputs=tuple(inputs)), output, workers)
    documents = tuple(part.as_slice() for part in read.outputs("kept"))
    result = run_with_progress("dedup-substrings", deduplicator.job(documents), output, workers)
    counts = add_counts(entry.outcome.metrics.get("counts", {}) for entry in result.entries["apply"])
    for name, count in counts.items():
        print(f"{name}: {count:,}")
    tally = replace(read.tally + result.tally, documents_in=read.tally.documents_in, kept=result.tally.kept)
    print_accounts(tally, result, output)
