"""How readers are configured, and the chunks of records they yield.

A chunk ends where its records reach `batch_rows` or `batch_bytes`, counted from the chunk before.
So the boundaries depend only on the records, and a reader that skips to the end of any chunk goes
on with exactly the chunks of an uninterrupted read: that is what makes a resumed task byte-identical.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import pyarrow as pa

from corpuskit.documents import Quarantined
from corpuskit.errors import ConfigError
from corpuskit.ingest.formats import FORMATS

TextUnit = Literal["file", "line", "paragraph"]


@dataclass(frozen=True)
class ReadOptions:
    """How input files become documents.

    Attributes
    ----------
    format : str
        ``auto`` (by extension), or one of `corpuskit.ingest.formats.FORMATS` for every file.
    text_column : str
        Column or key that holds the text (JSONL, CSV, Parquet, Arrow).
    text_unit : {"file", "line", "paragraph"}
        What one document of a text file is; paragraphs are separated by blank lines.
    batch_rows : int
        Most records in a batch.
    batch_bytes : int
        Input bytes of text after which a batch ends.
    max_document_bytes : int
        Larger documents go to quarantine; nothing larger is held in memory.
    max_record_bytes : int
        The same for a WARC record and for its decoded body.
    max_ratio : int
        A web page may not inflate to more than this times its compressed size (beyond 8 MiB).
        HTML compresses 4 to 20 times; only made-up input reaches hundreds.
    max_error_rate : float
        Web pages and text files with a larger share of undecodable characters go to quarantine.
    max_page_seconds : float
        Processor time after which the work on one web page is given up (`corpuskit.ingest.sandbox`;
        four times that of wall time). It protects the run and judges no content: a page takes
        milliseconds, and its budgets of bytes, tags and depth are checked without a clock.

    Raises
    ------
    ConfigError
        If a value is impossible.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    format: str = "auto"
    text_column: str = "text"
    text_unit: TextUnit = "file"
    batch_rows: int = 1_000
    batch_bytes: int = 8 << 20
    max_document_bytes: int = 64 << 20
    max_record_bytes: int = 64 << 20
    max_ratio: int = 200
    max_error_rate: float = 0.05
    max_page_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise ConfigError(
                f"{self.format!r} is not a format", where="format", hint=f"one of: auto, {', '.join(FORMATS)}"
            )
        if self.text_unit not in get_args(TextUnit):
            raise ConfigError(
                f"{self.text_unit!r} is not a unit of text",
                where="text_unit",
                hint=f"one of: {', '.join(get_args(TextUnit))}",
            )
        if not self.text_column:
            raise ConfigError("must name a column", where="text_column", hint="for example text or content")
        for name in ("batch_rows", "batch_bytes", "max_document_bytes", "max_record_bytes", "max_ratio"):
            if getattr(self, name) < 1:
                raise ConfigError(f"must be at least 1, not {getattr(self, name)}", where=name)
        if not 0 < self.max_page_seconds <= 3600:
            raise ConfigError(
                f"must be above 0 and at most 3600, not {self.max_page_seconds}", where="max_page_seconds"
            )
        if not 0 <= self.max_error_rate <= 1:
            raise ConfigError(
                f"must be between 0 and 1, not {self.max_error_rate}",
                where="max_error_rate",
                hint="0.05 allows one undecodable character in twenty",
            )


@dataclass(frozen=True)
class Chunk:
    """Some consecutive records of a slice.

    Attributes
    ----------
    batch : pyarrow.RecordBatch or None
        The documents; None where every record went to quarantine.
    quarantined : list of Quarantined
    records : int
        Records this chunk accounts for: rows of `batch` plus `quarantined`.
    position : int
        Records of the slice consumed up to the end of this chunk; what `skip` takes.
    consumed_bytes : int
        Input bytes of the slice read so far (compressed bytes for compressed files), for progress.
    counts : dict
        What is worth knowing of its web pages, by name: ``charset gb18030``, ``mojibake
        repaired:gb18030-as-latin-1``, ``body cut`` ….
    """

    batch: pa.RecordBatch | None
    quarantined: list[Quarantined]
    records: int
    position: int
    consumed_bytes: int
    counts: dict[str, int] = field(default_factory=dict)


class Row(NamedTuple):
    """A document before it is in a batch; `fields` are its further columns."""

    id: str
    text: str
    fields: dict[str, Any]


@dataclass
class ChunkBuilder:
    """Collects rows and quarantined items of one slice into chunks.

    Parameters
    ----------
    options : ReadOptions
    skip : int
        Records to pass over before the first that is collected.
    build : callable
        Makes a batch of rows.
    """

    options: ReadOptions
    skip: int
    build: Callable[[list[Row]], pa.RecordBatch]
    position: int = 0
    _rows: list[Row] = field(default_factory=list)
    _quarantined: list[Quarantined] = field(default_factory=list)
    _size: int = 0
    _counts: dict[str, int] = field(default_factory=dict)

    def skipped(self) -> bool:
        """Count a record that `skip` covers; False once the records to collect begin."""
        if self.position < self.skip:
            self.position += 1
            return True
        return False

    def add(self, row: Row, size_bytes: int) -> None:
        """Collect a document."""
        self._rows.append(row)
        self._size += size_bytes
        self.position += 1

    def quarantine(self, item: Quarantined) -> None:
        """Collect a record that is no document."""
        self._quarantined.append(item)
        self.position += 1

    def count(self, name: str) -> None:
        """Count something about the record collected last."""
        self._counts[name] = self._counts.get(name, 0) + 1

    @property
    def full(self) -> bool:
        records = len(self._rows) + len(self._quarantined)
        return records >= self.options.batch_rows or self._size >= self.options.batch_bytes

    @property
    def pending(self) -> bool:
        return bool(self._rows or self._quarantined)

    def take(self, consumed_bytes: int) -> Chunk:
        """The chunk of what was collected since the last one."""
        batch = self.build(self._rows) if self._rows else None
        records = len(self._rows) + len(self._quarantined)
        chunk = Chunk(batch, self._quarantined, records, self.position, consumed_bytes, self._counts)
        self._rows, self._quarantined, self._size, self._counts = [], [], 0, {}
        return chunk
