"""`corpuskit shards export`, `import`, `head` and `stats`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpuskit.errors import renamed

if TYPE_CHECKING:
    from corpuskit.shards.statistics import TokenStatistics

Dataset = Annotated[str, typer.Argument(help="A token dataset: a directory, or a URL.")]
OutputDirectory = Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")]
TokenizerOption = Annotated[
    Path | None, typer.Option("--tokenizer", help="A saved tokenizer; by default the dataset's own.")
]

_OPTIONS = {
    "columns": "--column",
    "compression": "--compression",
    "drop": "--drop",
    "dtype": "--dtype",
    "encoding": "--encoding",
    "end_of_document": "--end-of-document",
    "file_bytes": "--file-bytes",
    "file_tokens": "--file-tokens",
    "hashes": "--hash",
    "name": "--name",
    "separator_id": "--separator-id",
    "tokens_column": "--tokens-column",
}
"""What the library calls the options of `export` and `import`; ``format`` is another one in each."""

_BAR_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"


def shards_export(
    dataset: Dataset,
    to: Annotated[
        str, typer.Option("--to", help="nanogpt, llm.c, megatron, nanoset, parquet or mds.", metavar="FORMAT")
    ],
    output: OutputDirectory,
    name: Annotated[
        str | None,
        typer.Option(help="Files of nanogpt, llm.c, megatron and nanoset begin with it; default: train."),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(help="Leave out a parallel column that has no room, or 'boundaries'; may be repeated."),
    ] = None,
    compression: Annotated[
        str | None, typer.Option(help="parquet: zstd, lz4, snappy, gzip or none; mds: none or zstd.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="parquet: byte_stream_split, or plain for readers from before 2024.")
    ] = None,
    file_bytes: Annotated[
        int | None, typer.Option(help="parquet, mds: size of a file before compression.")
    ] = None,
    file_tokens: Annotated[int | None, typer.Option(help="llm.c: most tokens of a file.")] = None,
    tokens_column: Annotated[
        str | None, typer.Option(help="parquet: the column of ids; trainers often expect input_ids.")
    ] = None,
    hash: Annotated[
        list[str] | None, typer.Option(help="mds: checksum in its index, such as sha1; may be repeated.")
    ] = None,
) -> None:
    """Write a token dataset in the format of another trainer."""
    from corpuskit.shards import open as open_dataset
    from corpuskit.shards.exchange.exporting import export, export_format

    choices = {
        "name": name,
        "compression": compression,
        "encoding": encoding,
        "file_bytes": file_bytes,
        "file_tokens": file_tokens,
        "tokens_column": tokens_column,
        "hashes": tuple(hash) if hash else None,
    }
    with renamed({**_OPTIONS, "format": "--to"}):
        format = export_format(to, **{key: value for key, value in choices.items() if value is not None})
        data = open_dataset(dataset)
        with _progress("export", data.num_tokens * data.manifest.dtype.itemsize) as progress:
            done = export(data, output, format, drop=drop or (), progress=progress)
    print(
        f"{done.documents:,} documents, {done.tokens:,} tokens, {done.bytes / 1e6:,.1f} MB as {done.format}"
    )
    for path in done.files[:4]:
        print(f"  {path}")
    if len(done.files) > 4:
        print(f"  … {len(done.files) - 4:,} more")
    for lost in done.lost:
        print(f"not in the export: {lost}")


def shards_import(
    inputs: Annotated[list[str], typer.Argument(help="Files in order, or a directory of them.")],
    source: Annotated[
        str, typer.Option("--from", help="nanogpt, llm.c, megatron or parquet.", metavar="FORMAT")
    ],
    output: OutputDirectory,
    tokenizer: Annotated[Path, typer.Option(help="The saved tokenizer that made the ids.")],
    end_of_document: Annotated[
        str | None,
        typer.Option(help="end_of_text or none; default: as it was exported, else end_of_text."),
    ] = None,
    separator_id: Annotated[
        int | None, typer.Option(help="nanogpt, llm.c: the id between documents; default: end of text.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="nanogpt: uint16 or uint32; default: as the vocabulary needs.")
    ] = None,
    tokens_column: Annotated[str | None, typer.Option(help="parquet: the column of ids.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="parquet: keep this parallel column; may be repeated.")
    ] = None,
) -> None:
    """Make a token dataset of token ids in another format."""
    from corpuskit.shards.directories import TOKENIZER_NAME, copy_files, full_disk_hint
    from corpuskit.shards.exchange.importing import find_files, import_tokens
    from corpuskit.vocab import Tokenizer

    with renamed({**_OPTIONS, "format": "--from"}):
        size = sum(path.stat().st_size if path.exists() else 0 for path, _ in find_files(inputs, source))
        with _progress("import", size) as progress:
            done = import_tokens(
                inputs,
                output,
                source,
                tokenizer=Tokenizer.load(tokenizer),
                end_of_document=end_of_document,
                separator_id=separator_id,
                dtype=dtype,
                tokens_column=tokens_column,
                columns=column,
                progress=progress,
            )
    with full_disk_hint(f"copy {tokenizer} to {output / TOKENIZER_NAME}"):
        copy_files(tokenizer, output / TOKENIZER_NAME)
    manifest = done.manifest
    print(f"{output}: {manifest.num_documents:,} documents, {manifest.num_tokens:,} tokens")
    if done.ends_added:
        print(f"end-of-text added to {done.ends_added:,} documents that came without")
    for lost in done.lost:
        print(f"not in the dataset: {lost}")


def shards_head(
    dataset: Dataset,
    number: Annotated[int, typer.Option("-n", help="How many documents.", min=0)] = 5,
    tokenizer: TokenizerOption = None,
    characters: Annotated[int, typer.Option(help="Where a text is cut.", min=0)] = 200,
) -> None:
    """Show the first documents, decoded; words parted by /, what the loss leaves out in ⟦ ⟧."""
    from corpuskit.shards.previews import preview

    undecoded = False
    for document in preview(dataset, number, tokenizer=_load(tokenizer), max_characters=characters):
        undecoded |= not document.is_decoded
        print(f"{document.id}  {document.num_tokens:,} tokens")
        text = document.text.replace("\r", "␍").replace("\n", "⏎")
        print(f"  {text}{' …' if document.is_cut else ''}")
    if undecoded:
        print("note: the dataset has no tokenizer inside; --tokenizer decodes the ids")


def shards_stats(
    dataset: Dataset,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    sequence_length: Annotated[
        list[int] | None, typer.Option(help="Say what it would crop; may be repeated.", min=1)
    ] = None,
    top: Annotated[int, typer.Option(help="How many of the most frequent tokens.", min=0)] = 10,
    tokenizer: TokenizerOption = None,
) -> None:
    """Lengths of documents with a histogram, what a sequence length crops, which ids occur."""
    from corpuskit.shards import open as open_dataset
    from corpuskit.shards.statistics import DEFAULT_SEQUENCE_LENGTHS, token_statistics

    data = open_dataset(dataset)
    with _progress("stats", data.num_tokens * data.manifest.dtype.itemsize) as progress:
        statistics = token_statistics(
            data,
            sequence_lengths=sequence_length or DEFAULT_SEQUENCE_LENGTHS,
            num_top_tokens=top,
            tokenizer=_load(tokenizer),
            progress=progress,
        )
    if as_json:
        print(json.dumps(statistics.to_dict(), ensure_ascii=False, indent=2))
    else:
        for line in _describe(statistics):
            print(line)


def _describe(statistics: TokenStatistics) -> Iterator[str]:
    s = statistics
    yield f"documents        {s.documents:,}"
    yield f"tokens           {s.tokens:,} ({s.mean_length:,.1f} a document)"
    if not s.documents:
        return
    quantiles = [f"{q:.0%} {n:,}" for q, n in s.quantiles.items()]
    yield f"lengths          {', '.join([f'shortest {s.shortest:,}', *quantiles, f'longest {s.longest:,}'])}"
    yield f"\n{'tokens of a document':>24}  {'documents':>11}"
    largest = max(b.documents for b in s.histogram)
    for b in s.histogram:
        span = f"{b.low:,}" if b.low == b.high else f"{b.low:,} to {b.high:,}"
        yield f"  {span:>22}  {b.documents:>11,}  {bar(b.documents / largest)}".rstrip()
    if s.sequence_lengths:
        yield "\nsequence length  longer documents  tokens beyond it"
        for share in s.sequence_lengths:
            longer, beyond = f"{share.longer_documents:.2%}", f"{share.tokens_beyond:.2%}"
            yield f"{share.sequence_length:>15,}  {longer:>16}  {beyond:>16}"
            if not share.longer_documents:
                break
    used = s.vocab_size - s.unused_ids
    yield f"\nids used         {used:,} of {s.vocab_size:,} ({s.unused_ids / s.vocab_size:.2%} unused)"
    if s.characters_per_token is not None:
        yield f"characters       {s.characters_per_token:.2f} a token (of {s.sampled_documents:,} documents)"
    for name, mean in s.column_means.items():
        yield f"{name:<16} {mean:.4g} on average"
    if s.top_tokens:
        yield f"\n{'id':>10} {'count':>14}  {'share':>8}  most frequent"
    for token in s.top_tokens:
        text = "" if token.text is None else f"  {token.text!r}"
        yield f"{token.id:>10} {token.count:>14,}  {token.count / s.tokens:>8.3%}{text}"


def bar(share: float) -> str:
    """A bar of up to 40 characters, in eighths of one; anything above nothing shows."""
    eighths = round(share * _BAR_WIDTH * 8)
    if share > 0:
        eighths = max(1, eighths)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _load(directory: Path | None) -> Any:
    if directory is None:
        return None
    from corpuskit.vocab import Tokenizer

    return Tokenizer.load(directory)


@contextmanager
def _progress(label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line now and then without one."""
    from rich.console import Console

    from corpuskit.cli.progress import observer_for

    observer = observer_for(Console(stderr=True))
    observer.phase_started(label, 1, 0, total_bytes)
    try:
        yield observer.progress
    finally:
        observer.phase_finished(label)
