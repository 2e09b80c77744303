"""The command tree."""

from __future__ import annotations

from typing import Annotated

import typer

import corpuskit
from corpuskit.cli import (
    clean,
    dedup_more,
    documents,
    generate,
    judge,
    models,
    quality,
    road,
    search,
    segment,
    shards,
    split,
    vocab,
)

app = typer.Typer(
    name="corpuskit",
    help="Clean, deduplicate, tokenize and shard Chinese text for language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(corpuskit.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("run")(road.run)
app.command("demo")(road.demo)
app.command("rescue")(road.rescue)
app.command("gc")(road.gc)
app.command("clean")(clean.clean)
app.command("dedup")(documents.dedup)
app.command("dedup-substrings")(dedup_more.dedup_substrings)
app.command("decontaminate")(dedup_more.decontaminate)
app.command("split")(split.split)
app.command("prepare")(models.prepare)
app.command("train")(models.train)
app.command("search")(search.search)
app.command("generate")(generate.generate)
app.add_typer(judge.judge, name="judge", help="Perplexity, scores of answers, what was learned by heart.")
app.add_typer(quality.quality, name="quality", help="Train quality models and score documents.")
app.add_typer(segment.segment, name="segment", help="Cut text into words; train, score, find new words.")
app.add_typer(vocab.vocab, name="vocab", help="Train, extend and inspect vocabularies.")
app.add_typer(shards.shards, name="shards", help="Write, inspect and verify token shards.")
