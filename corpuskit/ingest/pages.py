"""Web pages of a reader to documents: in batches through the sandbox, back in the reader's order.

A reader hands over each record as it finds it (`PageBatches.add`): a page to work on, or the reason
why it is none. What comes back goes into the reader's chunks in that order, so the chunks are the
same as if every page had been worked on at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pyarrow as pa

from corpuskit.documents import Quarantined, document_id
from corpuskit.ingest.chunks import Chunk, ChunkBuilder, ReadOptions, Row
from corpuskit.ingest.columns import build_batch
from corpuskit.ingest.http import BodyError
from corpuskit.ingest.sandbox import Failure, Result, Sandbox, Verdicts, borrow, limits_of
from corpuskit.ingest.web import PageLimits, PageRequest, PageText, page_text
from corpuskit.jobs import Slice

# Every page of a corpus has these columns, whether or not a batch has a value for them.
PAGE_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("url", "source", "date", "title", "author", "charset")],
)

BATCH_PAGES = 32
BATCH_BYTES = 4 << 20


@dataclass
class _Record:
    """A record of the file; `outcome` is a page's request until it has a result."""

    position: int
    offset: int
    consumed_bytes: int
    outcome: PageRequest | Result
    size_bytes: int
    url: str | None
    date: str | None


@dataclass
class PageBatches:
    """Collects the records of one slice and yields its chunks.

    Parameters
    ----------
    piece : Slice
    options : ReadOptions
    skip : int
        Records to pass over.
    max_bytes : int
        Bound of a decoded body.
    verdicts : Verdicts
        Pages that ended their process before.
    """

    piece: Slice
    options: ReadOptions
    skip: int
    max_bytes: int
    verdicts: Verdicts
    _collected: list[_Record] = field(default_factory=list)
    _collected_bytes: int = 0
    _in_flight: list[_Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._limits: PageLimits = limits_of(self.options, self.max_bytes)
        self._builder = ChunkBuilder(self.options, self.skip, lambda rows: build_batch(rows, PAGE_COLUMNS))
        self._stack = ExitStack()
        self._sandbox: Sandbox | None = None

    def __enter__(self) -> PageBatches:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def skipped(self) -> bool:
        """Count a record that `skip` covers; False once the records to collect begin."""
        return self._builder.skipped()

    def add(
        self,
        position: int,
        offset: int,
        consumed_bytes: int,
        make: Callable[[], PageRequest],
        url: str | None = None,
        date: str | None = None,
    ) -> Iterator[Chunk]:
        """Take a record; `make` gives its request or raises `BodyError`. Yields the chunks that are full."""
        outcome: PageRequest | Result
        try:
            outcome = make()
        except BodyError as error:
            outcome = error
        size = 0
        if isinstance(outcome, PageRequest):
            size = len(outcome.body)
            verdict = self.verdicts.get(document_id(self.piece.relative_path, position))
            if verdict is not None:
                outcome = BodyError(*verdict)
            elif outcome.is_plain:
                outcome = _here(outcome, self._limits)
        self._collected.append(_Record(position, offset, consumed_bytes, outcome, size, url, date))
        self._collected_bytes += size
        if len(self._collected) >= BATCH_PAGES or self._collected_bytes >= BATCH_BYTES:
            yield from self._turn()

    def finish(self) -> Iterator[Chunk]:
        """The chunks of what is left."""
        consumed = 0
        while self._collected or self._in_flight:
            consumed = (self._collected or self._in_flight)[-1].consumed_bytes
            yield from self._turn()
        if self._builder.pending:
            yield self._builder.take(consumed)

    def _turn(self) -> Iterator[Chunk]:
        """Send what was collected, once the batch in flight is back, and build chunks of that."""
        finished = self._in_flight
        self._take_results(finished)
        self._in_flight, self._collected, self._collected_bytes = self._collected, [], 0
        requests = [r.outcome for r in self._in_flight if isinstance(r.outcome, PageRequest)]
        if requests:
            if self._sandbox is None:
                self._sandbox = self._stack.enter_context(borrow())
            self._sandbox.submit(requests, self._limits)
        for record in finished:
            self._collect(record)
            if self._builder.full:
                yield self._builder.take(record.consumed_bytes)

    def _take_results(self, records: list[_Record]) -> None:
        waiting = [record for record in records if isinstance(record.outcome, PageRequest)]
        if not waiting or self._sandbox is None:
            return
        for record, result in zip(waiting, self._sandbox.results(), strict=True):
            record.outcome = result
            if isinstance(result, Failure):
                record_id = document_id(self.piece.relative_path, record.position)
                self.verdicts.add(record_id, self.piece.path, record.offset, result.reason, result.detail)

    def _collect(self, record: _Record) -> None:
        outcome, builder = record.outcome, self._builder
        if not isinstance(outcome, PageText):
            reason, detail = getattr(outcome, "reason", ""), getattr(outcome, "detail", "")
            builder.quarantine(Quarantined(self.piece.path, record.offset, reason, detail))
            return
        fields = {
            "url": record.url,
            "source": self.piece.relative_path,
            "date": record.date or outcome.date,
            "title": outcome.title,
            "author": outcome.author,
            "charset": outcome.charset,
        }
        row = Row(document_id(self.piece.relative_path, record.position), outcome.text, fields)
        builder.add(row, len(outcome.text.encode()))
        builder.count(f"charset {outcome.charset}")
        if outcome.mojibake is not None:
            builder.count(f"mojibake {outcome.mojibake}")
        if outcome.cut:
            builder.count("body cut")


def _here(request: PageRequest, limits: PageLimits) -> Result:
    try:
        return page_text(request, limits)
    except BodyError as error:
        return error
