"""Reading any input: one slice by its format, and `read`, the iterator of document batches."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from corpuskit.documents import DocumentBatch, Quarantined
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.chunks import Chunk, ReadOptions, TextUnit
from corpuskit.ingest.formats import require_format
from corpuskit.ingest.inputs import expand_inputs
from corpuskit.ingest.remote import is_url
from corpuskit.jobs import Slice

if TYPE_CHECKING:
    from corpuskit.ingest.sandbox import Verdicts

# A list of its own: the modules are loaded by the format that needs them.
_MODULES = {
    "warc": "corpuskit.ingest.warc",
    "html": "corpuskit.ingest.html",
    "jsonl": "corpuskit.ingest.jsonl",
    "text": "corpuskit.ingest.text",
    "csv": "corpuskit.ingest.csv",
    "parquet": "corpuskit.ingest.parquet",
    "arrow": "corpuskit.ingest.arrow",
}


# Formats of web pages; their readers take verdicts.
_PAGES = ("warc", "html")


def read_slice(
    piece: Slice, options: ReadOptions, skip: int = 0, verdicts: Verdicts | None = None
) -> Iterator[Chunk]:
    """Read one slice by the reader of its format.

    Parameters
    ----------
    piece : Slice
    options : ReadOptions
    skip : int
        Records to pass over: the `position` of a chunk that this function yielded.
    verdicts : Verdicts, optional
        Web pages that ended the process which worked on them; see `corpuskit.ingest.sandbox`.
    """
    format_name = require_format(piece.path, options.format)
    module = importlib.import_module(_MODULES[format_name])
    more = (verdicts,) if format_name in _PAGES else ()
    chunks = module.read(piece, options, skip, *more)
    return _redacted(chunks) if is_url(piece.path) else chunks


def _redacted(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """A signed URL must not be stored with what is quarantined."""
    for chunk in chunks:
        items = [replace(item, path=redact(item.path)) for item in chunk.quarantined]
        yield replace(chunk, quarantined=items)


class Read:
    """Consecutive chunks as one: what a step gets, and where the input then stands.

    Attributes
    ----------
    batch : pyarrow.RecordBatch or None
    quarantined : list of Quarantined
    records : int
    slice_index, position : int
        The slice that the last chunk is from, and the records of it that are consumed.
    consumed_bytes : int
        Of that slice.
    counts : dict
        Sums of the chunks' counts.
    """

    def __init__(self) -> None:
        self.batch: pa.RecordBatch | None = None
        self.quarantined: list[Quarantined] = []
        self.records = 0
        self.slice_index = 0
        self.position = 0
        self.consumed_bytes = 0
        self.counts: dict[str, int] = {}
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0

    def takes(self, chunk: Chunk, options: ReadOptions) -> bool:
        """Whether `chunk` fits: small chunks (small files) are joined, full ones stay alone."""
        if not self.records:
            return True
        if self.records + chunk.records > options.batch_rows:
            return False
        if chunk.batch is None or not self._batches:
            return True
        fits = self._bytes + chunk.batch.nbytes <= options.batch_bytes
        return fits and chunk.batch.schema == self._batches[0].schema

    def add(self, chunk: Chunk, slice_index: int) -> None:
        if chunk.batch is not None:
            self._batches.append(chunk.batch)
            self._bytes += chunk.batch.nbytes
        self.quarantined.extend(chunk.quarantined)
        self.records += chunk.records
        self.slice_index, self.position = slice_index, chunk.position
        self.consumed_bytes = chunk.consumed_bytes
        for name, count in chunk.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def joined(self) -> Read:
        if self._batches:
            self.batch = self._batches[0] if len(self._batches) == 1 else pa.concat_batches(self._batches)
        return self

    def cut(self, records: int) -> None:
        """Keep the first `records` records (documents first)."""
        if self.records > records:
            rows = self.batch.num_rows if self.batch is not None else 0
            if self.batch is not None:
                self.batch = self.batch.slice(0, records)
            self.quarantined = self.quarantined[: max(0, records - rows)]
            self.records = records


def read_slices(
    slices: Sequence[Slice],
    options: ReadOptions,
    slice_index: int = 0,
    position: int = 0,
    verdicts: Verdicts | None = None,
) -> Iterator[Read]:
    """Read slices one after the other, joining small chunks across them.

    Starting from the `slice_index` and `position` of any item that was yielded gives exactly the
    items behind it.
    """
    current = Read()
    for index in range(slice_index, len(slices)):
        skip = position if index == slice_index else 0
        for chunk in read_slice(slices[index], options, skip, verdicts):
            if not current.takes(chunk, options):
                yield current.joined()
                current = Read()
            current.add(chunk, index)
    if current.records:
        yield current.joined()


def read(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    format: str = "auto",
    root: str | None = None,
    text_column: str = "text",
    text_unit: TextUnit = "file",
    batch_rows: int = 1_000,
    on_quarantine: Callable[[Quarantined], None] | None = None,
    options: ReadOptions | None = None,
) -> Iterator[DocumentBatch]:
    """Iterate over the documents of files, directories or patterns.

    Parameters
    ----------
    paths : path-like or iterable of path-like
        See `corpuskit.ingest.inputs.expand_inputs`.
    format, text_column, text_unit, batch_rows
        See `ReadOptions`.
    root : str, optional
        What the ids' relative paths are below.
    on_quarantine : callable, optional
        Called with each record that could not become a document. Without it, one `UserWarning` at
        the end says how many there were and why.
    options : ReadOptions, optional
        Everything at once, instead of the parameters above.

    Yields
    ------
    pyarrow.RecordBatch
        `id`, `text`, and the further columns. Batches of different files, and of files whose
        records differ, may have different columns.

    Raises
    ------
    InputError
        At the call, if a path is missing or unreadable, or there is nothing to read.

    Examples
    --------
    >>> for batch in corpuskit.read("crawl/*.warc.gz"):  # doctest: +SKIP
    ...     print(batch.num_rows, batch.schema.names)
    """
    if options is None:
        options = ReadOptions(
            format=format, text_column=text_column, text_unit=text_unit, batch_rows=batch_rows
        )
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    inputs = expand_inputs(given, root, options.format)
    inputs.warn_ignored()
    slices = [file.as_slice() for file in inputs]
    return _batches(slices, options, on_quarantine)


def _batches(
    slices: Sequence[Slice], options: ReadOptions, on_quarantine: Callable[[Quarantined], None] | None
) -> Iterator[DocumentBatch]:
    reasons: dict[str, int] = {}
    for item in read_slices(slices, options):
        for quarantined in item.quarantined:
            if on_quarantine is not None:
                on_quarantine(quarantined)
            reasons[quarantined.reason] = reasons.get(quarantined.reason, 0) + 1
        if item.batch is not None:
            yield item.batch
    if reasons and on_quarantine is None:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        message = (
            f"{sum(reasons.values())} records could not become documents: {counts}. "
            "Give on_quarantine= to see each"
        )
        warnings.warn(message, UserWarning, stacklevel=2)
