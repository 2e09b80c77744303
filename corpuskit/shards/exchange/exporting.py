"""Token datasets for other trainers: nanoGPT, llm.c, Megatron, datatrove's nanoset, Parquet, MDS.

Nothing is lost in silence: a parallel column or the boundaries of documents that a format has no room
for stop the export unless they are dropped by name, and what the format cannot hold at all (document
ids, in those of bare ids) is in the result and on the screen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from corpuskit.errors import ConfigError, InputError
from corpuskit.shards.exchange.common import BOUNDARIES, DOCUMENT_IDS, ExportFormat, TokenSource
from corpuskit.shards.exchange.mds import MDS
from corpuskit.shards.exchange.megatron import Megatron
from corpuskit.shards.exchange.nanogpt import LlmC, NanoGPT
from corpuskit.shards.exchange.nanoset import Nanoset
from corpuskit.shards.exchange.parquet import Parquet
from corpuskit.shards.reader import TokenDataset, open_dataset
from corpuskit.shards.shardfile import Verify, require_choice

EXPORT_FORMATS: Mapping[str, type] = {
    "nanogpt": NanoGPT, "llm.c": LlmC, "megatron": Megatron, "nanoset": Nanoset, "parquet": Parquet,
    "mds": MDS,
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes
    ----------
    format : str
    files : tuple of Path
    documents, tokens : int
        Of the dataset.
    bytes : int
        Of all files.
    lost : tuple of str
        What is in the dataset and not in the export: ``document ids``, ``boundaries``, ``column NAME``;
        and, where documents of a bare stream hold the end-of-text id themselves, that they are cut there.
    """

    format: str
    files: tuple[Path, ...]
    documents: int
    tokens: int
    bytes: int
    lost: tuple[str, ...]


def export(
    dataset: TokenDataset | str | os.PathLike,
    directory: str | os.PathLike,
    format: str | ExportFormat = "parquet",
    *,
    drop: Sequence[str] = (),
    verify: Verify = "full",
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Write a token dataset in the format of another trainer.

    Parameters
    ----------
    dataset : TokenDataset or path-like
        Or a URL.
    directory : path-like
        Where the files go. For formats of several files (parquet, mds, llm.c) it must be new or
        empty, and it appears when all of them are whole.
    format : str or ExportFormat
        ``nanogpt``, ``llm.c``, ``megatron``, ``nanoset``, ``parquet`` or ``mds``, as they come; or one
        of `NanoGPT`, `LlmC`, `Megatron`, `Nanoset`, `Parquet`, `MDS` with its fields set.
    drop : sequence of str
        Parallel columns to leave out, and ``boundaries`` where documents may run together.
    verify : {"full", "fast", "none"}
        What is checked of a shard before it leaves; ``full`` compares its checksum.
    progress : callable, optional
        Called with the bytes of tokens dealt with since the last call.

    Returns
    -------
    Exported

    Raises
    ------
    ConfigError
        If the format is unknown, or it has no room for something that is not dropped.
    InputError
        If the dataset holds no tokens, a document is longer than the format can say, or the directory
        cannot be written.
    ArtifactError
        If a shard is damaged, or the export is there already.
    ResourceError
        If the disk is full.
    """
    chosen = export_format(format) if isinstance(format, str) else format
    data = dataset if isinstance(dataset, TokenDataset) else open_dataset(dataset, "fast")
    manifest = data.manifest
    lost = _losses(data, chosen, drop)
    columns = [name for name in sorted(manifest.columns) if name not in drop]
    if not data.num_tokens:
        raise InputError("the dataset holds no tokens", where=str(data.directory))
    target = Path(directory)
    if data.remote is None and target.absolute() == Path(data.directory).absolute():
        raise ConfigError("the export would go into the dataset itself", where=str(directory))
    source = TokenSource(data, columns, verify, progress, count_ends=BOUNDARIES in chosen.loses)
    try:
        files = chosen.write(source, target)
    except OSError as error:
        raise InputError(
            f"the export cannot be written: {error.strerror or error}",
            where=str(directory),
            hint="check the directory and its permissions; nothing incomplete was published",
        ) from error
    if BOUNDARIES in chosen.loses:
        inside = source.num_end_ids - (data.num_documents if source.ends_are_marked else 0)
        if inside > 0:
            lost += (f"which end-of-text ids are boundaries ({inside} stand inside documents)",)
    size = sum(path.stat().st_size for path in files)
    return Exported(chosen.format_name, files, data.num_documents, data.num_tokens, size, lost)


def export_format(name: str, /, **choices: Any) -> ExportFormat:
    """The export format of this name with these of its fields set.

    Raises
    ------
    ConfigError
        If there is no such format, or it does not leave a choice open.
    """
    require_choice("format", name, tuple(EXPORT_FORMATS))
    kind = EXPORT_FORMATS[name]
    known = [field.name for field in fields(kind)]
    for choice in choices:
        if choice not in known:
            raise ConfigError(
                f"the format {name} has no {choice!r}", where=choice, hint=f"it has: {', '.join(known)}"
            )
    return kind(**choices)


def _losses(data: TokenDataset, format: ExportFormat, drop: Sequence[str]) -> tuple[str, ...]:
    """What the export will not hold; `ConfigError` unless that is said or asked for."""
    manifest = data.manifest
    name = format.format_name
    for dropped in drop:
        if dropped not in manifest.columns and dropped != BOUNDARIES:
            known = ", ".join(sorted(manifest.columns)) or "none"
            raise ConfigError(
                f"there is no {dropped!r} to drop; parallel columns are: {known}",
                where="drop",
            )
    for column, kind in sorted(manifest.columns.items()):
        if column not in drop and not format.has_room_for(column, kind):
            raise ConfigError(
                f"the format {name} has no room for the column {column!r} ({kind})",
                where="format",
                hint=f"leave it out with drop=[{column!r}] (--drop {column}), or export to parquet or mds",
            )
    marked = manifest.tokenizer.end_of_text_id is not None
    if BOUNDARIES in format.loses and not marked and BOUNDARIES not in drop:
        raise ConfigError(
            f"the tokenizer has no end-of-text id, so documents would run together in {name}",
            where="format",
            hint=f"accept that with drop=[{BOUNDARIES!r}] (--drop {BOUNDARIES}), or export to megatron, "
            "parquet or mds",
        )
    lost = [DOCUMENT_IDS] if DOCUMENT_IDS in format.loses else []
    if BOUNDARIES in format.loses and not marked:
        lost.append(BOUNDARIES)
    return (*lost, *(f"column {column}" for column in drop if column != BOUNDARIES))
