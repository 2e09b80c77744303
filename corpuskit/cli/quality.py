"""`corpuskit quality`: train a quality score or a language model, and score documents with either."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from corpuskit.files import require_writable

quality = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ModelOutput = Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")]
Seed = Annotated[int, typer.Option(min=0, help="Chooses the sample and what is held out.")]


@quality.command("train")
def quality_train(
    good: Annotated[list[str], typer.Option("--good", help="Good text. May be repeated.")],
    raw: Annotated[list[str], typer.Option("--raw", help="Text to be filtered. May be repeated.")],
    output: ModelOutput,
    max_documents: Annotated[int, typer.Option(help="Documents of each class at most.")] = 10_000,
    max_order: Annotated[int, typer.Option(help="N-grams of 1 to this many characters.")] = 3,
    bits: Annotated[int, typer.Option(help="Base-2 logarithm of the number of weights.")] = 20,
    seed: Seed = 0,
) -> None:
    """Learn to tell good text from raw text; writes the model and its curve (SVG) beside it."""
    from corpuskit.clean.classifier_curve import curve_table, draw_curve
    from corpuskit.clean.classifier_training import ClassifierConfig, train_quality_model
    from corpuskit.ingest import read

    picture = output.with_suffix(".svg")
    require_writable(output, picture)
    config = ClassifierConfig(max_documents=max_documents, max_order=max_order, bits=bits, seed=seed)
    model = train_quality_model(read(good), read(raw), config, on_progress=_note)
    model.save(output)
    draw_curve(model.report, picture)
    print(curve_table(model.report))
    print(f"model: {output}\ncurve: {picture}")


@quality.command("train-lm")
def quality_train_lm(
    reference: Annotated[list[str], typer.Argument(help="Text that reads as the result should.")],
    output: ModelOutput,
    raw: Annotated[
        list[str] | None,
        typer.Option("--raw", help="Text to be filtered: percentiles are of it. May be repeated."),
    ] = None,
    order: Annotated[int, typer.Option(help="Length of the longest n-gram, 2 to 6.")] = 5,
    max_characters: Annotated[int, typer.Option(help="Of training text; bounds memory.")] = 20_000_000,
    prune: Annotated[int, typer.Option(help="Leave out n-grams of 3 and more below this count.")] = 2,
    seed: Seed = 0,
) -> None:
    """Train a character language model; writes one file with the thresholds of head and middle."""
    from corpuskit.clean.perplexity_training import LanguageModelConfig, train_perplexity_model
    from corpuskit.clean.scoring import describe
    from corpuskit.ingest import read

    require_writable(output)
    config = LanguageModelConfig(order=order, max_characters=max_characters, prune=prune, seed=seed)
    ranked = read(raw) if raw else None
    model = train_perplexity_model(read(reference), config, ranked=ranked, on_progress=_note)
    model.save(output)
    print(describe(model))
    print(f"model: {output}")


@quality.command("score")
def quality_score(
    model: Annotated[Path, typer.Argument(help="A model file of either kind.")],
    inputs: Annotated[list[str], typer.Argument(help="Files, directories or globs with documents.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the lines here instead of printing them.")
    ] = None,
) -> None:
    """Score documents: one tab-separated line each."""
    from corpuskit.clean.scoring import load_model, score_lines
    from corpuskit.files import atomic_path
    from corpuskit.ingest import read

    lines = score_lines(load_model(model), read(inputs))
    if output is None:
        for line in lines:
            print(line)
        return
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    print(f"written to {output}")


def _note(line: str) -> None:
    print(f"{line} …", file=sys.stderr)
