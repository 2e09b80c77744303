"""`corpuskit vocab add-words`: a token for each word of a list, and what that buys and costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corpuskit.cli.parameters import VOCABULARY
from corpuskit.errors import renamed

if TYPE_CHECKING:
    from corpuskit.vocab import Tokenizer

MEASURED_MB = 4.0
"""Megabytes of text an extension is measured on, a seeded sample."""

_SHOWN = 10


def vocab_add_words(
    words: Annotated[
        Path, typer.Argument(help="A text file, one word a line, where wanted with a tab and a count.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")],
    base: Annotated[str, typer.Option(help="Path of a BPE tokenizer, or 'gpt2'.")] = "gpt2",
    on: Annotated[
        list[str] | None,
        typer.Option("--on", help="Text to measure the list on: files, directories. May be repeated."),
    ] = None,
    skip: Annotated[
        bool,
        typer.Option("--skip", help="Leave out words that cannot be tokens instead of refusing the list."),
    ] = False,
) -> None:
    """Give each word of a list a token, without changing how the base cuts other text."""
    from corpuskit.vocab import load
    from corpuskit.vocab.artifact import require_place
    from corpuskit.vocab.word_list import add_words, read_words

    require_place(output)
    with renamed(VOCABULARY | {"words": str(words)}):
        loaded = load(base)
        tokenizer = add_words(loaded, read_words(words), problems="skip" if skip else "refuse")
    facts = tokenizer.provenance["word_list"]
    print(
        f"{facts['words']:,} words: {facts['made']:,} are tokens now, {facts['known']:,} were already; "
        f"{facts['parts']:,} tokens more for parts of words"
    )
    for word, reason in list(facts["skipped"].items())[:_SHOWN]:
        print(f"left out: {word} {reason}")
    if len(facts["skipped"]) > _SHOWN:
        print(f"left out: {len(facts['skipped']) - _SHOWN:,} more; all are in {output / 'corpuskit.json'}")
    print_cost(loaded, tokenizer, on or [])
    tokenizer.save(output)
    print(f"{tokenizer.vocab_size:,} tokens, written to {output}")


def print_cost(base: Tokenizer, extended: Tokenizer, on: list[str]) -> None:
    """What an extension buys and costs on some text; nothing without text."""
    from corpuskit.ingest import read
    from corpuskit.vocab.cost import extension_cost
    from corpuskit.vocab.sampling import sample_texts

    if on:
        sample = sample_texts(iter(read(on)), int(MEASURED_MB * 1e6), 0)
        print(extension_cost(base, extended, sample.texts))
