"""`corpuskit search`: hyper-parameters of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corpuskit.cli.road import Set

if TYPE_CHECKING:
    from corpuskit.train.search import Trial


def search(
    shards: Annotated[Path, typer.Argument(help="A token dataset.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for the trials.")],
    space: Annotated[
        list[str],
        typer.Option(help="name=low:high, name=low:high:log or name=a,b,c. May be repeated."),
    ],
    sampler: Annotated[Literal["tpe", "random", "grid"], typer.Option()] = "tpe",
    trials: Annotated[int, typer.Option(min=1, help="How many in all; a grid tries every combination.")] = 20,
    prune: Annotated[bool, typer.Option(help="Stop trials that are worse than the median.")] = True,
    set_: Set = None,
) -> None:
    """Search the hyper-parameters of training with optuna; the same command resumes."""
    from corpuskit.cli.training import train_config
    from corpuskit.shards import open as open_dataset
    from corpuskit.train.search import parse_space, plot_importance
    from corpuskit.train.search import search as run
    from corpuskit.vocab import Tokenizer

    data = open_dataset(shards)
    result = run(
        data,
        train_config({}, set_),
        output,
        parse_space(space),
        tokenizer=Tokenizer.load(shards / "tokenizer"),
        sampler=sampler,
        trials=trials,
        prune=prune,
        on_trial=_print,
    )
    print(f"best: trial {result.best.number}, held-out loss {result.best.loss:.4f}, {result.best.directory}")
    for name, share in result.importance.items():
        print(f"  importance {share:4.0%}  {name}")
    if result.importance:
        plot_importance(result, output / "importance.png")


def _print(trial: Trial) -> None:
    values = "  ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
                       for name, value in trial.parameters.items())  # fmt: skip
    loss = "" if trial.loss is None else f"{trial.loss:.4f}"
    print(f"trial {trial.number:3}  {trial.state:9} {loss:8}  {values}", flush=True)
