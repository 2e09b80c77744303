"""`corpuskit vocab`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corpuskit.cli.add_words import print_cost, vocab_add_words
from corpuskit.cli.compare import vocab_compare
from corpuskit.cli.parameters import VOCABULARY
from corpuskit.errors import renamed

if TYPE_CHECKING:
    import pyarrow as pa

vocab = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

vocab.command("compare")(vocab_compare)
vocab.command("add-words")(vocab_add_words)

Algorithm = Literal["bpe", "huggingface-bpe", "sentencepiece-unigram", "sentencepiece-bpe"]
Inputs = Annotated[list[str], typer.Argument(help="Files, directories or globs with documents.")]
OutputDirectory = Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")]


@vocab.command("train")
def vocab_train(
    inputs: Inputs,
    output: OutputDirectory,
    size: Annotated[int, typer.Option(min=1, help="Vocabulary size.")] = 32_000,
    algorithm: Annotated[Algorithm, typer.Option()] = "bpe",
    special_token: Annotated[
        list[str] | None, typer.Option(help="Special token; may be repeated. By default <|endoftext|>.")
    ] = None,
    sample_mb: Annotated[
        float | None, typer.Option(min=0.001, help="Megabytes of text to learn from.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the sample.")] = 0,
    pattern: Annotated[
        str, typer.Option(help="Pre-tokenisation of byte-level BPE: chinese, gpt2, cl100k, o200k or a regex.")
    ] = "chinese",
    pre_segment: Annotated[
        bool, typer.Option("--pre-segment", help="Let no token cross a border between words.")
    ] = False,
    min_count: Annotated[int, typer.Option(min=1, help="Pairs seen fewer times make no token.")] = 2,
    max_token_bytes: Annotated[int | None, typer.Option(min=2, help="Longest token of bpe.")] = None,
    required_characters: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="File of characters that SentencePiece must give a token each."
        ),
    ] = None,
    user_defined_symbol: Annotated[
        list[str] | None, typer.Option(help="Text that SentencePiece keeps in one piece; may be repeated.")
    ] = None,
    any_language: Annotated[
        bool, typer.Option("--any-language", help="Accept a corpus without a Chinese character.")
    ] = False,
) -> None:
    """Train a vocabulary from documents."""
    from corpuskit.vocab import train
    from corpuskit.vocab.artifact import require_place

    require_place(output)
    characters = None
    if required_characters is not None:
        characters = "".join(required_characters.read_text(encoding="utf-8-sig").split())
    with renamed(VOCABULARY):
        tokenizer = train(
            _batches(inputs),
            algorithm=algorithm,
            vocab_size=size,
            special_tokens=special_token or ("<|endoftext|>",),
            sample_bytes=None if sample_mb is None else int(sample_mb * 1e6),
            seed=seed,
            pattern=pattern,
            pre_segment=pre_segment,
            min_count=min_count,
            max_token_bytes=max_token_bytes,
            required_characters=characters,
            user_defined_symbols=user_defined_symbol or (),
            require_chinese=not any_language,
        )
    tokenizer.save(output)
    print(f"{tokenizer.vocab_size:,} tokens, written to {output}")


@vocab.command("extend")
def vocab_extend(
    inputs: Inputs,
    output: OutputDirectory,
    base: Annotated[str, typer.Option(help="Path of a BPE tokenizer, or 'gpt2'.")] = "gpt2",
    num_new_tokens: Annotated[int, typer.Option(min=1)] = 10_000,
    sample_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of text to learn from.")] = 100.0,
    min_count: Annotated[int, typer.Option(min=1, help="Pairs seen fewer times make no token.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the sample.")] = 0,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", help="Text to measure the result on: files, directories. May be repeated."),
    ] = None,
) -> None:
    """Add Chinese tokens to an existing byte-level or SentencePiece BPE vocabulary."""
    from corpuskit.vocab import extend, load
    from corpuskit.vocab.artifact import require_place

    require_place(output)
    with renamed(VOCABULARY):
        loaded = load(base)
        tokenizer = extend(
            loaded,
            _batches(inputs),
            num_new_tokens=num_new_tokens,
            sample_bytes=int(sample_mb * 1e6),
            min_count=min_count,
            seed=seed,
        )
    print_cost(loaded, tokenizer, on or [])
    tokenizer.save(output)
    print(f"{tokenizer.vocab_size:,} tokens ({num_new_tokens:,} new), written to {output}")


@vocab.command("encode")
def vocab_encode(
    tokenizer: Annotated[str, typer.Argument(help="A tokenizer: file, directory or 'gpt2'.")],
    text: Annotated[str, typer.Argument(help="Text to encode.")],
) -> None:
    """Show how a tokenizer cuts a text: the pieces, their ids, how many."""
    from corpuskit.errors import InputError
    from corpuskit.vocab.comparison_report import shown_token
    from corpuskit.vocab.readers import open_tokenizer

    try:
        num_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"not UTF-8: {error.reason}", where="TEXT") from error
    opened = open_tokenizer(tokenizer)
    ids = opened.ids([text])[0].tolist()
    print(" ".join(shown_token(opened.tokens[i]) for i in ids))
    print(" ".join(str(i) for i in ids))
    print(f"{len(ids)} tokens, {num_bytes} bytes, {len(text)} characters")


def _batches(inputs: list[str]) -> Iterator[pa.RecordBatch]:
    from corpuskit.ingest import read

    return iter(read(inputs))
