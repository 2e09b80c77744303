"""`corpuskit vocab compare`: tokenizers side by side on one text, as a table, JSON or a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corpuskit.files import require_writable

if TYPE_CHECKING:
    from rich.console import Console

    from corpuskit.vocab.comparison_result import Comparison

_LABEL_WIDTH = 26
_COLUMN_WIDTH = 9


def vocab_compare(
    tokenizers: Annotated[
        list[str],
        typer.Argument(
            help="Tokenizers: files, directories, 'gpt2'; NAME=PATH gives a name.", metavar="TOKENIZERS..."
        ),
    ],
    on: Annotated[
        list[str], typer.Option("--on", help="Text to compare on: files, directories. May be repeated.")
    ],
    limit_mb: Annotated[float, typer.Option(help="Megabytes of the text to use, a seeded sample.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the sample.")] = 0,
    sentence: Annotated[
        list[str] | None,
        typer.Option(help="A sentence that --html and --json show cut by each tokenizer. May be repeated."),
    ] = None,
    translation: Annotated[
        list[str] | None,
        typer.Option(help="The same text in another language, to measure parity. May be repeated."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file.")] = None,
) -> None:
    """Judge vocabularies on a text: compression, losses, words, characters, suspicious tokens."""
    from corpuskit.errors import ConfigError
    from corpuskit.ingest import read
    from corpuskit.vocab import comparison_report
    from corpuskit.vocab.comparison_run import Options, compare, open_all, sample_batches

    if not limit_mb > 0 or limit_mb > 1e6:
        raise ConfigError(f"{limit_mb} MB cannot be compared on", where="--limit-mb", hint="above 0")
    if html is not None:
        require_writable(html, option="--html")
    options = Options(round(limit_mb * 1_000_000), seed, tuple(sentence or ()))
    batches = read(on)
    subjects = open_all(tokenizers)
    sample = sample_batches(batches, options)
    other: list[str] = []
    if translation:
        if sample.text_bytes < sample.bytes_seen:
            raise ConfigError(
                f"only {sample.text_bytes:,} of {sample.bytes_seen:,} bytes are in the sample, and a "
                "translation can only be compared with the whole text",
                where="--translation",
                hint=f"--limit-mb {sample.bytes_seen / 1e6 + 0.01:.2f}",
            )
        other = list(sample_batches(read(translation), Options(1 << 40), "--translation").texts)
    comparison = compare(subjects, sample, options, inputs=on, translation=other, on_progress=_note)
    if html is not None:
        comparison_report.save(comparison, html)
    if json_:
        print(json.dumps(comparison.to_dict(), ensure_ascii=False, indent=2, allow_nan=False))
    else:
        from rich.console import Console

        print_comparison(comparison, Console(highlight=False))
    if html is not None:
        print(f"page: {html}", file=sys.stderr if json_ else sys.stdout)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the table, in as many blocks as the width needs, and what to beware of."""
    from rich.text import Text

    sample = comparison.sample
    part = f"{sample['sample_text_bytes'] / 1e6:,.2f} MB of {sample['corpus_text_bytes'] / 1e6:,.2f} MB"
    console.print(
        Text(
            f"{part}, {sample['sample_documents']:,} of {sample['corpus_documents']:,} documents "
            f"(seed {sample['sample_seed']}), {sample['words']:,} words"
        )
    )
    names = [judged.name for judged in comparison.judgements]
    room = console.width - _LABEL_WIDTH
    width = max(_COLUMN_WIDTH, min(14, max(map(len, names))))
    if (width + 1) * len(names) > room:
        width = _COLUMN_WIDTH
    at_once = max(1, room // (width + 1))
    for first in range(0, len(names), at_once):
        console.print()
        console.print(_block(comparison, slice(first, first + at_once), width))
    for warning in comparison.warnings:
        console.print(Text.assemble(("beware ", "bold red"), warning))
    for judged in comparison.judgements:
        for finding in judged.findings:
            if finding.kind in ("spam", "urls") and finding.ids:
                found = "、".join(example.strip() for example in finding.examples[:4])
                console.print(Text(f"{finding.title} in {judged.name}, {len(finding.ids):,}: {found} …"))


def _block(comparison: Comparison, chosen: slice, width: int):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from corpuskit.vocab.comparison_measures import format_value

    judgements = comparison.judgements[chosen]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, collapse_padding=True)
    table.add_column("", width=_LABEL_WIDTH, no_wrap=True)
    for judged in judgements:
        table.add_column(Text(judged.name), justify="right", width=width, overflow="fold")
    group = None
    for measure in comparison.measures:
        if group not in (None, measure.group):
            table.add_section()
        group = measure.group
        best = comparison.best(measure)
        cells = []
        for judged in judgements:
            value = format_value(measure, judged.values[measure.key])
            if judged.is_doubtful(measure):
                cells.append(Text(f"{value}!", "bold red"))
            else:
                cells.append(Text(value, "bold" if judged.name in best else ""))
        table.add_row(measure.title, *cells)
    table.add_section()
    for number, finding in enumerate(judgements[0].findings):
        if finding.kind != "longest":
            table.add_row(finding.title, *(f"{len(judged.findings[number].ids):,}" for judged in judgements))
    return table


def _note(line: str) -> None:
    print(f"{line} …", file=sys.stderr)
