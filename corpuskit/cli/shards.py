"""`corpuskit shards`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corpuskit.cli import shards_exchange
from corpuskit.cli.documents import run_with_progress
from corpuskit.cli.road import DEFAULT_WORKERS, Address, EngineName, Workers, engine_of
from corpuskit.errors import renamed

if TYPE_CHECKING:
    from corpuskit.shards import RepairResult

shards = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Inputs = Annotated[list[str], typer.Argument(help="Files, directories or globs with documents.")]
# Not Path, which makes one slash of the two of a URL: the library refuses URLs where it cannot work on them.
OutputDirectory = Annotated[str, typer.Option("--output", "-o", help="Directory to write.")]
Dataset = Annotated[str, typer.Argument(help="A token dataset.")]
AnyDataset = Annotated[str, typer.Argument(help="A token dataset: a directory, or a URL.")]
ShardTokens = Annotated[int, typer.Option(min=1, help="Tokens of a shard, about.")]
WordStarts = Annotated[
    str | None,
    typer.Option(help="Mark the tokens that begin a word of: jieba, or a trained segmenter's file."),
]
Format = Annotated[
    str, typer.Option("--format", help="Format of the inputs: auto (by name), text, jsonl, ….")
]
TextColumn = Annotated[str, typer.Option(help="Column or key that holds the text.")]
DEFAULT_SHARD_TOKENS = 1 << 27

_OPTIONS = {
    "out": "--output",
    "seed": "--seed",
    "shard_tokens": "--shard-tokens",
    "source": "--source",
    "validation": "--validation",
}
"""What the library calls these options."""


@shards.command("write")
def shards_write(
    inputs: Inputs,
    output: OutputDirectory,
    tokenizer: Annotated[Path, typer.Option(help="A saved tokenizer.")],
    shard_tokens: ShardTokens = DEFAULT_SHARD_TOKENS,
    end_of_document: Annotated[
        Literal["end_of_text", "none"],
        typer.Option(help="Append the tokenizer's end-of-text id to every document, or nothing."),
    ] = "end_of_text",
    word_starts: WordStarts = None,
    workers: Workers = DEFAULT_WORKERS,
    format_: Format = "auto",
    text_column: TextColumn = "text",
) -> None:
    """Encode documents into a token dataset; interrupted, the same command goes on.

    Arrow files that corpuskit wrote keep their documents' ids; of other files they are made anew.
    """
    from corpuskit.pipeline.dataset_writing import encode_files
    from corpuskit.shards.directories import require_local

    made = encode_files(
        "write",
        inputs,
        require_local(output),
        tokenizer,
        shard_tokens=shard_tokens,
        end_of_document=end_of_document,
        word_starts=word_starts,
        read_options=_read_options(format_, text_column),
        run_job=partial(run_with_progress, workers=workers),
    )
    _say_made(made, output)


@shards.command("append")
def shards_append(
    dataset: Dataset,
    inputs: Inputs,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The dataset's tokenizer; by default the copy inside it.")
    ] = None,
    shard_tokens: ShardTokens = DEFAULT_SHARD_TOKENS,
    word_starts: WordStarts = None,
    workers: Workers = DEFAULT_WORKERS,
    format_: Format = "auto",
    text_column: TextColumn = "text",
) -> None:
    """Add documents to a token dataset; interrupted, the same command goes on.

    Until it is done the dataset opens as it was before.
    """
    from corpuskit.pipeline.dataset_writing import encode_files
    from corpuskit.shards.directories import TOKENIZER_NAME, require_local
    from corpuskit.shards.manifest import load_manifest

    directory = require_local(dataset)
    made = encode_files(
        "append",
        inputs,
        directory,
        tokenizer or directory / TOKENIZER_NAME,
        shard_tokens=shard_tokens,
        end_of_document=load_manifest(directory).end_of_document,
        word_starts=word_starts,
        read_options=_read_options(format_, text_column),
        run_job=partial(run_with_progress, workers=workers),
    )
    _say_made(made, dataset)


@shards.command("merge")
def shards_merge(
    datasets: Annotated[list[str], typer.Argument(help="Token datasets of one tokenizer.")],
    output: OutputDirectory,
) -> None:
    """Make one dataset of several; their shards are linked, not copied, where the disk can."""
    from corpuskit.shards import merge

    with renamed(_OPTIONS):
        result = merge(datasets, output)
    if result.repeated_documents:
        print(
            f"note: {result.repeated_documents:,} documents have the id of an earlier one, such as "
            + ", ".join(result.examples[:3])
        )
    shards_info(output)


@shards.command("split")
def shards_split(
    dataset: Dataset,
    output: Annotated[str, typer.Option("--output", "-o", help="Directory for train/ and validation/.")],
    validation: Annotated[float, typer.Option(help="Share of the documents for validation.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another split.")] = 0,
    shard_tokens: ShardTokens = DEFAULT_SHARD_TOKENS,
) -> None:
    """Split a dataset into train and validation, by a hash of each document's id."""
    from corpuskit.shards import split

    with renamed(_OPTIONS):
        result = split(dataset, output, validation=validation, seed=seed, shard_tokens=shard_tokens)
    for name, manifest in (("train", result.train), ("validation", result.validation)):
        print(f"{Path(output) / name}: {manifest.num_documents:,} documents, {manifest.num_tokens:,} tokens")


@shards.command("reshard")
def shards_reshard(
    dataset: Dataset, output: OutputDirectory, shard_tokens: ShardTokens = DEFAULT_SHARD_TOKENS
) -> None:
    """Write a dataset again with shards of another size."""
    from corpuskit.shards import reshard

    with renamed(_OPTIONS):
        reshard(dataset, output, shard_tokens=shard_tokens)
    shards_info(output)


@shards.command("info")
def shards_info(dataset: AnyDataset) -> None:
    """Say what a token dataset holds."""
    from corpuskit.shards import info

    facts = info(dataset)
    tokenizer, operation = facts["tokenizer"], facts["operation"]
    print(f"{facts['directory']}: {'complete' if facts['complete'] else 'INCOMPLETE'}")
    print(f"  documents        {facts['documents']:,}")
    print(f"  tokens           {facts['tokens']:,} ({facts['mean_document_tokens']:,.0f} a document)")
    print(f"  shards           {facts['num_shards']:,}, {facts['bytes'] / 1e6:,.1f} MB, {facts['dtype']}")
    print(f"  tokenizer        {tokenizer['vocab_size']:,} tokens, {tokenizer['fingerprint']}")
    print(f"  end of document  {facts['end_of_document']}")
    if facts["columns"]:
        print(f"  columns          {', '.join(facts['columns'])}")
    if operation is not None and not operation["finished"]:
        print(f"  unfinished       {operation['name']}; run it again to go on")
    elif facts["begun"] is not None:
        print(f"  unfinished       {facts['begun']}; if it does not run, the same command goes on")
    print(f"  fingerprint      {facts['fingerprint']}")


@shards.command("verify")
def shards_verify(
    dataset: AnyDataset,
    workers: Workers = DEFAULT_WORKERS,
    engine: EngineName = "local",
    address: Address = None,
) -> None:
    """Check every byte of a token dataset; exit status 2 if anything is wrong."""
    from rich.console import Console

    from corpuskit.cli.progress import observer_for
    from corpuskit.pipeline.verifying import verify_on

    report = verify_on(dataset, engine_of(engine, address, workers), observer_for(Console(stderr=True)))
    for problem in report.problems:
        print(f"problem: {problem.file}: {problem.kind}: {problem.detail}")
    report.raise_for_problems()
    print(f"every shard is whole: {report.documents:,} documents, {report.tokens:,} tokens")


@shards.command("repair")
def shards_repair(
    dataset: Dataset,
    source: Annotated[
        str | None, typer.Option(help="A copy of the dataset, to take whole shards from.")
    ] = None,
    drop: Annotated[
        bool,
        typer.Option("--drop", help="Drop what stays damaged, and a write or append that did not finish."),
    ] = False,
    lost_ids: Annotated[
        Path | None, typer.Option(help="Write the ids of lost documents to this file, one a line.")
    ] = None,
) -> None:
    """Put damaged shards back from a copy, or drop them and say what is lost."""
    from corpuskit.files import require_writable, write_text
    from corpuskit.pipeline.dataset_writing import give_up_work
    from corpuskit.shards import repair
    from corpuskit.shards.directories import require_local

    if lost_ids is not None:
        require_writable(lost_ids, option="--lost-ids")
    with renamed(_OPTIONS):
        result = repair(dataset, source=source, drop=drop)
    _say_repaired(result)
    if drop and give_up_work(require_local(dataset)):
        print("gave up what an interrupted write or append had begun")
    if lost_ids is not None:
        ids = [id for shard in result.lost for id in shard.ids or ()]
        write_text(lost_ids, "".join(f"{id}\n" for id in ids))
        print(f"{len(ids):,} ids: {lost_ids}")


def _say_repaired(result: RepairResult) -> None:
    for name in result.restored:
        print(f"restored {name}")
    for shard in result.lost:
        known = "their ids cannot be read" if shard.ids is None else "their ids are known"
        print(f"lost {shard.name}: {shard.documents:,} documents, {shard.tokens:,} tokens; {known}")
    for name in result.set_aside:
        print(f"set aside {name}")
    manifest = result.manifest
    print(f"the dataset is whole: {manifest.num_documents:,} documents, {manifest.num_tokens:,} tokens")


def _say_made(made: Any, output: str) -> None:
    if made is None:
        print("nothing to do: the same command was finished before")
    elif made[1]:
        print(f"note: {made[1]:,} records could not be read and are left out")
    shards_info(output)


def _read_options(format_: str, text_column: str) -> Any:
    from corpuskit.ingest import ReadOptions

    return ReadOptions(format=format_, text_column=text_column)


shards.command("export")(shards_exchange.shards_export)
shards.command("import")(shards_exchange.shards_import)
shards.command("head")(shards_exchange.shards_head)
shards.command("stats")(shards_exchange.shards_stats)
