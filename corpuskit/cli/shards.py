"""`corpuskit shards`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pyarrow as pa

shards = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Inputs = Annotated[list[str], typer.Argument(help="Files, directories or globs with documents.")]
OutputDirectory = Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")]
Dataset = Annotated[Path, typer.Argument(help="A token dataset.")]


@shards.command("write")
def shards_write(
    inputs: Inputs,
    output: OutputDirectory,
    tokenizer: Annotated[Path, typer.Option(help="A saved tokenizer.")],
    word_starts: Annotated[
        str | None,
        typer.Option(help="Mark the tokens that begin a word of: jieba, or a trained segmenter's file."),
    ] = None,
) -> None:
    """Encode documents into a token dataset."""
    import shutil

    from corpuskit.shards import Writer
    from corpuskit.shards.word_starts import open_segmenter
    from corpuskit.vocab import Tokenizer

    segmenter = None if word_starts is None else open_segmenter(word_starts)
    with Writer(output, tokenizer=Tokenizer.load(tokenizer), segmenter=segmenter) as writer:
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
