"""`corpuskit prepare` and `train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from corpuskit.cli.road import Set


def train(
    shards: Annotated[
        list[str], typer.Argument(help="A token dataset; several, of a mixture, as NAME=DATASET.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for the model.")],
    model: Annotated[
        str | None,
        typer.Option(help="A size with fresh weights, or a model's directory or hub name to go on from."),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="causal, sft, span_corruption, prefix, pairs or masked.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer of the shards; by default the one beside them.")
    ] = None,
    embedding_init: Annotated[
        str | None,
        typer.Option(help="How rows begin for tokens that the model has none for: constituents, mean, …"),
    ] = None,
    set_: Set = None,
) -> None:
    """Train a model on token shards, or resume it; fields as in a recipe's train section."""
    from rich.console import Console

    from corpuskit.cli.progress import observer_for
    from corpuskit.cli.training import train_config
    from corpuskit.errors import ArtifactError
    from corpuskit.shards import open as open_dataset
    from corpuskit.train import fit
    from corpuskit.vocab import Tokenizer

    options = {"model": model, "objective": objective, "embedding_init": embedding_init}
    config = train_config(options, set_)
    datasets = _named(shards)
    opened = {name: open_dataset(path) for name, path in datasets.items()}
    directory = tokenizer or Path(next(iter(datasets.values()))) / "tokenizer"
    if tokenizer is None and not directory.is_dir():
        raise ArtifactError(
            "the dataset has no tokenizer beside it",
            where=str(directory),
            hint="copy the tokenizer there, or give it with --tokenizer",
        )
    observer = observer_for(Console(stderr=True))
    observer.stage_started("train")
    result = fit(
        opened if len(opened) > 1 else next(iter(opened.values())),
        config,
        output,
        tokenizer=Tokenizer.load(directory),
        on_step=observer.training_step,
    )
    observer.phase_finished("train")
    if os.environ.get("RANK", "0") != "0":  # torchrun's processes say it once
        return
    print(f"model: {result.directory}")
    print(f"  {result.steps:,} steps, {result.tokens:,} tokens seen, loss {result.loss:.3f}")
    if result.stopped_early:
        print("  stopped early; the model is the best one measured")
    if result.held_out_loss is not None:
        print(f"  held-out loss {result.held_out_loss:.3f} nats per token")


def _named(shards: list[str]) -> dict[str, str]:
    """Datasets by name; a single one needs none."""
    from corpuskit.errors import ConfigError

    if len(shards) == 1 and "=" not in shards[0]:
        return {"data": shards[0]}
    named = {}
    for item in shards:
        name, equals, path = item.partition("=")
        if not equals or not name or name in named:
            raise ConfigError(
                f"{item!r} is not NAME=DATASET, or the name is there twice",
                where="SHARDS",
                hint="for example: corpus=out/shards tasks=out/pclue",
            )
        named[name] = path
    return named


def prepare(
    inputs: Annotated[list[Path], typer.Argument(help="Files of prompts, dialogues or texts.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for the token dataset.")],
    tokenizer: Annotated[Path, typer.Option(help="A saved tokenizer.")],
    format_: Annotated[
        str,
        typer.Option("--format", help="pclue, pairs, sharegpt, messages, chatyuan, text, csv or data_text."),
    ],
    turns: Annotated[
        str, typer.Option(help="Of a conversation: whole (one document) or each (one an answer).")
    ] = "whole",
    input_key: Annotated[str, typer.Option(help="For pairs: the key of the input.")] = "input",
    target_key: Annotated[str, typer.Option(help="For pairs: the key of the target.")] = "target",
    limit: Annotated[int | None, typer.Option(min=1, help="Read at most this many records.")] = None,
) -> None:
    """Make token shards with a loss mask from prompts, dialogues or texts."""
    import shutil
    from typing import Any, cast

    from corpuskit.errors import renamed
    from corpuskit.train import Dialogue
    from corpuskit.train import prepare as write
    from corpuskit.train.outputs import require_directory
    from corpuskit.vocab import Tokenizer

    require_directory(output, [*inputs, tokenizer])
    with renamed({"format": "--format", "dialogue.turns": "--turns"}):
        made = write(
            inputs,
            output,
            Tokenizer.load(tokenizer),
            cast(Any, format_),
            dialogue=Dialogue(turns=cast(Any, turns)),
            input_key=input_key,
            target_key=target_key,
            limit=limit,
        )
    shutil.copytree(tokenizer, output / "tokenizer", dirs_exist_ok=True)
    print(f"{output}: {made.documents:,} documents of {made.records:,} records")
    print(f"  {made.tokens:,} tokens, {made.learned_tokens:,} of them in the loss")
    for reason, count in sorted(made.unusable.items()):
        print(f"  {count:,} records left out: {reason}")
