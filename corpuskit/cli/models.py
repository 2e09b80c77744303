"""`corpuskit train` and `generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corpuskit.cli.road import Set


def train(
    shards: Annotated[Path, typer.Argument(help="A token dataset.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for the model.")],
    set_: Set = None,
) -> None:
    """Train a model on token shards, or resume it; fields as in a recipe's train section."""
    from rich.console import Console

    from corpuskit.cli.progress import observer_for
    from corpuskit.errors import ArtifactError
    from corpuskit.pipeline.recipe import parse_train_config
    from corpuskit.train import fit
    from corpuskit.vocab import Tokenizer

    config = parse_train_config(set_ or [])
    directory = shards / "tokenizer"
    if not directory.is_dir():
        raise ArtifactError(
            "the dataset has no tokenizer beside it", where=str(directory), hint="copy the tokenizer there"
        )
    observer = observer_for(Console(stderr=True))
    observer.stage_started("train")
    result = fit(shards, config, output, tokenizer=Tokenizer.load(directory), on_step=observer.training_step)
    observer.phase_finished("train")
    print(f"model: {result.directory}")
    print(f"  {result.steps:,} steps, {result.tokens:,} tokens seen, loss {result.loss:.3f}")
    if result.held_out_loss is not None:
        print(f"  held-out loss {result.held_out_loss:.3f} nats per token")


def generate(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    prompt: Annotated[list[str] | None, typer.Option(help="Text to go on from. May be repeated.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 100,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.7,
    top_k: Annotated[int | None, typer.Option(min=1, help="Only the k most likely tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only the likely tokens of this total share.")
    ] = None,
    repetition_penalty: Annotated[float, typer.Option(min=0.0)] = 1.0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Write text with a trained model."""
    from corpuskit.generate import Generator

    generator = Generator.load(model)
    for text in prompt or [""]:
        print(
            generator.generate(
                text,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=repetition_penalty,
                seed=seed,
            )
        )
