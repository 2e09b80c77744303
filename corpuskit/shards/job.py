"""Encode document parts into shards in parallel, then publish them as one dataset.

A task takes a run of document parts of about `group_bytes` and writes whole shards; its last one
is as large as what is left. Grouping looks at the parts' sizes only, so the shards are the same
bytes whatever the number of workers. After each shard the task remembers which document comes
next, so a kill costs one shard at most. It also describes each shard while it is at hand (metric
``described``), so that publishing reads none: in an object store that would be the whole dataset over the
network of one machine.

`publish` then hard-links the shards, in task order, into the dataset's directory (copies where
links are not possible), and writes `dataset.json` last; `publish_appended` does so behind the shards
of a dataset that is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, get_args

import pyarrow as pa
from pyarrow import ipc

from corpuskit.documents import Tally
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError
from corpuskit.files import arrow_path
from corpuskit.jobs import IN_KEY, Entry, Outcome, Slice, Task, Workspace, group_slices, outputs_of
from corpuskit.parts import read_documents
from corpuskit.shards.directories import (
    full_disk_hint,
    link_or_copy,
    lock_directory,
    make_directory,
    remove_stale_sidecars,
    remove_temporaries_here,
)
from corpuskit.shards.encoding import appended_id, encode
from corpuskit.shards.manifest import (
    MANIFEST_NAME,
    EndOfDocument,
    Manifest,
    Operation,
    ShardEntry,
    TokenizerLike,
    TokenizerRecord,
    load_manifest,
    shard_name,
)
from corpuskit.shards.publishing import DEFAULT_SHARD_TOKENS, ShardBuffer, require_shard_tokens
from corpuskit.shards.shardfile import (
    check_size,
    map_shard,
    require_choice,
    shard_schema,
    write_shard,
)
from corpuskit.shards.word_starts import COLUMN, COLUMN_TYPE, WordCutter, open_segmenter, segmenter_version

DESCRIBED = "described"
"""Metric of an encoding task: what a manifest says of its shards, beside what the outputs say themselves.

``tokenizer`` (its fingerprint), ``end_of_document``, ``columns``, and ``shards``: for each output the tokens
and the checksum of the structure.
"""


@dataclass(frozen=True)
class EncodeConfig:
    """What an encoding task needs; the fingerprint makes a changed tokenizer a changed task."""

    tokenizer_dir: str = field(metadata={IN_KEY: False})
    tokenizer_fingerprint: str
    shard_tokens: int
    end_of_document: EndOfDocument
    word_starts: str | None = field(metadata={IN_KEY: False})
    segmenter_version: str | None


@dataclass(frozen=True)
class ShardsJob:
    """Documents to token shards, in one phase, ``encode``.

    Attributes
    ----------
    documents : tuple of Slice
        Document parts, whole files.
    tokenizer_dir : str
        Directory of a `corpuskit.vocab.Tokenizer`.
    shard_tokens : int
        Target size of a shard in tokens.
    end_of_document : {"end_of_text", "none"}
        Append the tokenizer's end-of-text id to every document, or nothing.
    word_starts : str, optional
        ``jieba`` or the file of a trained segmenter: mark the tokens that begin one of its words in a
        parallel column, `word_starts` (uint8).
    group_bytes : int
        Size on disk of the document parts of one task. The default, 192 MiB of zstd-compressed
        text, is somewhat more than one full shard.
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    documents: tuple[Slice, ...]
    tokenizer_dir: str
    shard_tokens: int = DEFAULT_SHARD_TOKENS
    end_of_document: EndOfDocument = "end_of_text"
    word_starts: str | None = None
    group_bytes: int = 192 << 20

    def __post_init__(self) -> None:
        require_shard_tokens(self.shard_tokens)
        require_choice("end_of_document", self.end_of_document, get_args(EndOfDocument))
        if self.group_bytes < 1:
            raise ConfigError(f"{self.group_bytes!r} is not a positive whole number", where="group_bytes")
        for piece in self.documents:
            if piece.start != 0 or piece.stop is not None:
                raise ConfigError("a document part cannot be split", where=piece.path)

    @property
    def name(self) -> str:
        return "shards"

    @property
    def phases(self) -> tuple[str, ...]:
        return ("encode",)

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """Tasks of consecutive parts; the same for any number of workers."""
        tokenizer = load_tokenizer(self.tokenizer_dir)
        appended_id(tokenizer, self.end_of_document)
        config = EncodeConfig(
            self.tokenizer_dir,
            tokenizer.fingerprint,
            self.shard_tokens,
            self.end_of_document,
            self.word_starts,
            None if self.word_starts is None else segmenter_version(self.word_starts),
        )
        sizes = [_size(piece) for piece in self.documents]
        groups = group_slices(self.documents, sizes, self.group_bytes)
        # A shard is held once as documents and once as the batch that is written.
        memory = 2 * 4 * self.shard_tokens + (1 << 30)
        return [Task(i, encode_task, group, config, memory) for i, group in enumerate(groups)]


def load_tokenizer(directory: str) -> TokenizerLike:
    """`corpuskit.vocab.Tokenizer.load`, imported only when it is needed."""
    from corpuskit.vocab import Tokenizer

    return Tokenizer.load(directory)


@lru_cache(maxsize=1)
def _tokenizer(directory: str, fingerprint: str) -> TokenizerLike:
    """The tokenizer of this process's tasks, loaded once."""
    tokenizer = load_tokenizer(directory)
    if tokenizer.fingerprint != fingerprint:
        raise MismatchError(
            f"the tokenizer is now {tokenizer.fingerprint}; the run was planned with {fingerprint}",
            where=directory,
            hint="start the run again",
        )
    return tokenizer


@lru_cache(maxsize=1)
def _segmenter(name: str) -> WordCutter:
    """The segmenter of this process's tasks, loaded once."""
    return open_segmenter(name)


def encode_task(task: Task, workspace: Workspace) -> Outcome:
    """Encode the task's documents and publish whole shards (outputs of kind ``shard``)."""
    config: EncodeConfig = task.config
    tokenizer = _tokenizer(config.tokenizer_dir, config.tokenizer_fingerprint)
    segmenter = None if config.word_starts is None else _segmenter(config.word_starts)
    layout = planned_layout(tokenizer, config.end_of_document, segmenter is not None)
    schema = shard_schema(layout)
    parts = workspace.load_checkpoint()
    position = parts[-1]["position"] if parts else [0, 0]
    buffer = ShardBuffer(config.shard_tokens)

    def publish_shard(next_position: list[int]) -> None:
        with workspace.publish("shard", len(parts)) as publication:
            documents = buffer.take()
            publication.rows = sum(len(part) for part in documents)
            tokens = sum(part.num_tokens for part in documents)
            write_shard(publication.path, schema, documents)
            structure = map_shard(publication.path, structure=True).structure
        tally = Tally(publication.rows, publication.rows)
        parts.append({
            "outputs": [publication.output], "tally": tally.to_dict(), "position": next_position,
            "tokens": tokens, "structure": structure,
        })  # fmt: skip
        workspace.save_checkpoint(parts)

    for number, row, batch in _documents_from(task.inputs, position, workspace):
        encoded = encode(batch, tokenizer, config.end_of_document, segmenter)
        while len(encoded):
            taken = buffer.add(encoded)
            row += taken
            if taken < len(encoded):
                publish_shard([number, row])
            encoded = encoded.slice(taken, len(encoded))
    if len(buffer):
        publish_shard([len(task.inputs), 0])
    tally = sum((Tally.from_dict(part["tally"]) for part in parts), Tally())
    outputs = tuple(output for part in parts for output in part["outputs"])
    described = {
        "tokenizer": layout.tokenizer.fingerprint,
        "end_of_document": layout.end_of_document,
        "columns": dict(layout.columns),
        "shards": [[part["tokens"], part["structure"]] for part in parts],
    }
    metrics = {"tokens": sum(part["tokens"] for part in parts), "rows": tally.kept, DESCRIBED: described}
    return Outcome(outputs, tally, metrics)


def publish(
    entries: Sequence[Entry],
    directory: str | os.PathLike,
    tokenizer: TokenizerLike,
    provenance: Mapping[str, Any] | None = None,
    *,
    operation: Operation | None = None,
    files: bool = True,
) -> Manifest:
    """Make the shards of finished `ShardsJob` tasks a dataset.

    Of each shard only the size is looked at; `verify` reads them.

    The directory belongs to the run: a dataset that an earlier run left there is replaced, and says
    it is incomplete from the first change until the last. Killed and called again, it comes to
    the same result; called on a finished one, it changes nothing.

    Parameters
    ----------
    entries : sequence of Entry
        Of the phase ``encode``.
    directory : path-like
        Its ``tokenizer/`` is left to the caller.
    tokenizer : corpuskit.vocab.Tokenizer
        The one that the tasks used.
    provenance : Mapping, optional
        Free JSON for `dataset.json`.
    operation : Operation, optional
        What is being done, for `dataset.json`.
    files : bool
        False only writes `dataset.json`: the shards are not on this machine, and the caller copies them
        to where it belongs, named as it names them, in their order.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If there are no documents.
    MismatchError
        If the shards were made with another tokenizer.
    ArtifactError
        If a shard is missing or has another size.
    """
    directory = Path(directory)
    made = _manifest_of(entries, directory, tokenizer, files)
    shards = tuple(replace(shard, name=shard_name(index)) for index, shard in enumerate(made.shards))
    begun = replace(made, shards=(), provenance=dict(provenance or {}), operation=operation)
    manifest = replace(begun, shards=shards).finish()
    with _held(directory):
        if not files:
            manifest.save(directory)
        elif not _is_published(directory, manifest):
            begun.save(directory)
            _link_all(entries, directory, shards)
            names = {shard.name for shard in manifest.shards}
            for path in directory.glob("shard-*.arrow"):
                if path.name not in names:
                    path.unlink()
            manifest.save(directory)
        remove_stale_sidecars(directory, manifest.fingerprint)
    return manifest


def publish_appended(
    entries: Sequence[Entry],
    directory: str | os.PathLike,
    tokenizer: TokenizerLike,
    operation: Operation,
) -> Manifest:
    """Add the shards of finished `ShardsJob` tasks to a complete dataset.

    It opens as it was before until all of them are in place. Killed and called again with the same
    `operation`, it comes to the same result; called once more, it changes nothing.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If there are no documents.
    MismatchError
        If the dataset has another tokenizer, policy or columns, or an unfinished append of another kind.
    ArtifactError
        If there is no complete dataset.
    """
    directory = Path(directory)
    made = _manifest_of(entries, directory, tokenizer)
    with _held(directory):
        stored = load_manifest(directory)
        require_appendable(stored, made, operation, directory)
        before = stored.operation
        if before is not None and before.finished and before.is_same(operation):
            return stored
        manifest = begun = replace(stored, operation=operation)
        begun.save(directory)
        for shard in made.shards:
            manifest = manifest.with_shard(replace(shard, name=manifest.next_shard_name))
        waiting = () if manifest.operation is None else manifest.operation.waiting
        _link_all(entries, directory, waiting)
        finished = manifest.finish()
        finished.save(directory)
        remove_stale_sidecars(directory, finished.fingerprint)
    return finished


def require_appendable(stored: Manifest, layout: Manifest, operation: Operation, directory: Path) -> None:
    """Raise `MismatchError` unless shards of `layout` may be added to a dataset by `operation`."""
    stored.require_same_layout(layout, str(directory))
    before = stored.operation
    if stored.is_appending and before is not None and not before.is_same(operation):
        raise MismatchError(
            f"another append did not finish: {before.difference(operation)}",
            where=str(directory),
            hint="finish it first, or give it up with `corpuskit shards repair --drop`",
        )


def planned_layout(tokenizer: TokenizerLike, end_of_document: EndOfDocument, word_starts: bool) -> Manifest:
    """Tokenizer, policy and columns of what a `ShardsJob` will write."""
    columns = {COLUMN: COLUMN_TYPE} if word_starts else {}
    return Manifest(TokenizerRecord.of(tokenizer), end_of_document, columns=columns)


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    with full_disk_hint("run the same command again"):
        make_directory(directory)
        lock = lock_directory(directory)
        try:
            remove_temporaries_here(directory)
            yield
        finally:
            if lock is not None:
                os.close(lock)


def _manifest_of(
    entries: Sequence[Entry], directory: Path, tokenizer: TokenizerLike, files: bool = True
) -> Manifest:
    """The shards that the tasks made, as a manifest says it; their names are still to be given."""
    described = [entry.outcome.metrics[DESCRIBED] for entry in entries if entry.outputs("shard")]
    if not described:
        raise InputError(
            "no document reached the shards",
            where=str(directory),
            hint="the report says which step dropped them and why",
        )
    layout = described[0]
    outputs = outputs_of(entries, "shard")
    if layout["tokenizer"] != tokenizer.fingerprint:
        raise MismatchError(
            f"the shard was written with tokenizer {layout['tokenizer']}, not with {tokenizer.fingerprint}",
            where=outputs[0].path,
            hint="publish with the tokenizer of the job",
        )
    facts = [fact for task in described for fact in task["shards"]]
    shards = tuple(
        ShardEntry(shard_name(index), output.rows, tokens, output.bytes, output.checksum, structure)
        for index, (output, (tokens, structure)) in enumerate(zip(outputs, facts, strict=True))
    )
    for output, shard in zip(outputs, shards) if files else ():
        check_size(Path(output.path), shard)
    return Manifest(TokenizerRecord.of(tokenizer), layout["end_of_document"], shards, dict(layout["columns"]))


def _link_all(entries: Sequence[Entry], directory: Path, shards: Sequence[ShardEntry]) -> None:
    for output, shard in zip(outputs_of(entries, "shard"), shards, strict=True):
        link_or_copy(Path(output.path), directory / shard.name)


def _documents_from(
    inputs: Sequence[Slice], position: Sequence[int], workspace: Workspace
) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """Batches from document `position` = [input, row] on, as (input, row, batch)."""
    for number, piece in enumerate(inputs):
        size, reported = _size(piece), 0
        batches = _num_batches(piece.path) if number >= position[0] else 0
        skip = position[1] if number == position[0] else 0
        row = 0
        for count, batch in enumerate(read_documents(piece.path, ("id", "text")) if batches else (), 1):
            first = min(max(skip - row, 0), batch.num_rows)
            if first < batch.num_rows:
                yield number, row + first, batch.slice(first)
            row += batch.num_rows
            workspace.report_progress(size * count // batches - reported)
            reported = size * count // batches
        workspace.report_progress(size - reported)


def _num_batches(path: str) -> int:
    try:
        with pa.memory_map(arrow_path(path)) as source, ipc.open_file(source) as reader:
            return reader.num_record_batches
    except (pa.ArrowInvalid, OSError):
        return 1  # read_documents says what is wrong with the file


def _size(piece: Slice) -> int:
    if piece.size_bytes is not None:
        return piece.size_bytes
    try:
        return Path(piece.path).stat().st_size
    except OSError as error:
        raise InputError(f"cannot read a document part: {error.strerror}", where=piece.path) from error


def _is_published(directory: Path, manifest: Manifest) -> bool:
    if not (directory / MANIFEST_NAME).exists():
        return False
    try:
        if load_manifest(directory) != manifest:
            return False
    except ArtifactError:
        return False
    present = sorted(path.name for path in directory.glob("shard-*.arrow"))
    return present == [shard.name for shard in manifest.shards] and all(
        (directory / shard.name).stat().st_size == shard.bytes for shard in manifest.shards
    )
