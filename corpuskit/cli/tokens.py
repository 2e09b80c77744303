"""`corpuskit vocab` and `corpuskit shards`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import pyarrow as pa

vocab = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
shards = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Algorithm = Literal["bpe", "sentencepiece-unigram", "sentencepiece-bpe"]
Inputs = Annotated[list[str], typer.Argument(help="Files, directories or globs with documents.")]
OutputDirectory = Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")]
Dataset = Annotated[Path, typer.Argument(help="A token dataset.")]


@vocab.command("train")
def vocab_train(
    inputs: Inputs,
    output: OutputDirectory,
    size: Annotated[int, typer.Option(min=1, help="Vocabulary size.")] = 32_000,
    algorithm: Annotated[Algorithm, typer.Option()] = "bpe",
) -> None:
    """Train a vocabulary from documents."""
    from corpuskit.vocab import train

    tokenizer = train(_batches(inputs), algorithm=algorithm, vocab_size=size)
    tokenizer.save(output)
    print(f"{tokenizer.vocab_size:,} tokens, written to {output}")


@vocab.command("extend")
def vocab_extend(
    inputs: Inputs,
    output: OutputDirectory,
    base: Annotated[str, typer.Option(help="Path of a byte-level BPE tokenizer, or 'gpt2'.")] = "gpt2",
    num_new_tokens: Annotated[int, typer.Option(min=1)] = 10_000,
) -> None:
    """Add Chinese tokens to an existing byte-level BPE vocabulary."""
    from corpuskit.vocab import extend

    tokenizer = extend(base, _batches(inputs), num_new_tokens=num_new_tokens)
    tokenizer.save(output)
    print(f"{tokenizer.vocab_size:,} tokens ({num_new_tokens:,} new), written to {output}")


@vocab.command("encode")
def vocab_encode(
    tokenizer: Annotated[Path, typer.Argument(help="A saved tokenizer.")],
    text: Annotated[str, typer.Argument(help="Text to encode.")],
) -> None:
    """Show how a tokenizer splits a text."""
    from corpuskit.vocab import Tokenizer

    loaded = Tokenizer.load(tokenizer)
    ids = loaded.encode(text)
    print(" ".join(str(i) for i in ids))
    print(f"{len(ids)} tokens, {len(text.encode())} bytes, {len(text)} characters")


@shards.command("write")
def shards_write(
    inputs: Inputs,
    output: OutputDirectory,
    tokenizer: Annotated[Path, typer.Option(help="A saved tokenizer.")],
) -> None:
    """Encode documents into a token dataset."""
    import shutil

    from corpuskit.shards import Writer
    from corpuskit.vocab import Tokenizer

    with Writer(output, tokenizer=Tokenizer.load(tokenizer)) as writer:
        for batch in _batches(inputs):
            writer.write(batch)
    shutil.copytree(tokenizer, output / "tokenizer", dirs_exist_ok=True)
    shards_info(output)


@shards.command("info")
def shards_info(dataset: Dataset) -> None:
    """Say what a token dataset holds."""
    from corpuskit.shards import info

    facts = info(dataset)
    tokenizer = facts["tokenizer"]
    print(f"{facts['directory']}: {'complete' if facts['complete'] else 'INCOMPLETE'}")
    print(f"  documents        {facts['documents']:,}")
    print(f"  tokens           {facts['tokens']:,} ({facts['mean_document_tokens']:,.0f} a document)")
    print(f"  shards           {facts['num_shards']:,}, {facts['bytes'] / 1e6:,.1f} MB, {facts['dtype']}")
    print(f"  tokenizer        {tokenizer['vocab_size']:,} tokens, {tokenizer['fingerprint']}")
    print(f"  end of document  {facts['end_of_document']}")
    print(f"  fingerprint      {facts['fingerprint']}")


@shards.command("verify")
def shards_verify(dataset: Dataset) -> None:
    """Check every byte of a token dataset; exit status 2 if anything is wrong."""
    from corpuskit.shards import verify

    report = verify(dataset)
    for problem in report.problems:
        print(f"problem: {problem}")
    report.raise_for_problems()
    print(f"every shard is whole: {report.documents:,} documents, {report.tokens:,} tokens")


def _batches(inputs: list[str]) -> Iterator[pa.RecordBatch]:
    from corpuskit.ingest import read

    return iter(read(inputs))
