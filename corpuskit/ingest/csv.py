"""CSV and TSV: quoted fields with separators and line ends in them, every column kept as text.

Written here rather than taken from `csv`, whose field size limit (128 KiB) is a global of the
process and whose parser lets one stray quotation mark swallow the rest of the file. A record that
does not parse costs its own first line: reading goes on at the next. Columns stay strings, because
a guess of types would turn 007 into 7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa

from corpuskit.documents import Quarantined, document_id
from corpuskit.ingest.chunks import Chunk, ChunkBuilder, ReadOptions, Row
from corpuskit.ingest.columns import build_batch, column_names
from corpuskit.ingest.formats import base_name
from corpuskit.ingest.lines import Line, read_lines
from corpuskit.ingest.streams import open_file, open_stream
from corpuskit.jobs import Slice

MAX_RECORD_LINES = 100_000


class _BadRecord(Exception):
    """A record that cannot be split; its arguments are reason and detail."""


def read(piece: Slice, options: ReadOptions, skip: int) -> Iterator[Chunk]:
    """Read the documents of a CSV or TSV file (plain, gzip or zstd) with a header line.

    Parameters
    ----------
    piece : Slice
        A whole file.
    options : ReadOptions
    skip : int
        Records to pass over.
    """
    delimiter = "\t" if ".tsv" in base_name(piece.path) else ","
    with open_file(piece.path) as file:
        stream = open_stream(file)
        records = _Records(
            read_lines(stream, 0, None, options.max_document_bytes), delimiter, options.max_document_bytes
        )
        first = next(records, None)
        if first is None:
            return
        header = _unique(first[1]) if isinstance(first[1], list) else []
        names = column_names(header, options.text_column)
        guide = pa.schema([(names[name], pa.string()) for name in header if name in names])
        builder = ChunkBuilder(options, skip, lambda rows: build_batch(rows, guide))
        if options.text_column not in header:
            if not builder.skipped():
                builder.quarantine(_no_text_column(piece, first, header, options))
                yield builder.take(0)
            return
        for ordinal, (offset, record) in enumerate(records):
            if builder.skipped():
                continue
            if isinstance(record, list) and len(record) != len(header):
                record = ("ingest/bad-csv", f"{len(record)} fields, the header has {len(header)}")
            if isinstance(record, tuple):
                builder.quarantine(Quarantined(piece.path, offset, *record))
            else:
                values = dict(zip(header, record))
                text = values.pop(options.text_column)
                fields = {names[name]: value for name, value in values.items()}
                fields.setdefault("source", piece.relative_path)
                row = Row(document_id(piece.relative_path, ordinal), text, fields)
                builder.add(row, sum(map(len, record)) * 3)
            if builder.full:
                yield builder.take(stream.consumed_bytes)
        if builder.pending:
            yield builder.take(stream.consumed_bytes)


def split_record(line: str, more: Callable[[], str], delimiter: str) -> list[str]:
    """The fields of the record that begins with `line`, as RFC 4180 has them.

    Parameters
    ----------
    line : str
        With its line end.
    more : callable
        The next line, for a quoted field that goes on there; raises where there is none.
    delimiter : str

    Raises
    ------
    _BadRecord
        If something follows a closing quote.
    """
    fields: list[str] = []
    position = 0
    while True:
        if line.startswith('"', position):
            pieces: list[str] = []
            position += 1
            while True:
                end = line.find('"', position)
                if end < 0:
                    pieces.append(line[position:])
                    line, position = more(), 0
                elif line.startswith('"', end + 1):
                    pieces.append(line[position : end + 1])
                    position = end + 2
                else:
                    pieces.append(line[position:end])
                    position = end + 1
                    break
            fields.append("".join(pieces))
            stop = len(line.rstrip("\r\n"))
            if position < stop and not line.startswith(delimiter, position):
                raise _BadRecord("ingest/bad-csv", f"character {position}: text behind a closing quote")
        else:
            stop = len(line.rstrip("\r\n"))
            end = line.find(delimiter, position, stop)
            fields.append(line[position : stop if end < 0 else end])
            position = stop if end < 0 else end
        if position >= stop:
            return fields
        position += len(delimiter)


class _Records:
    """Records of lines, each with its offset: a list of fields, or reason and detail."""

    def __init__(self, lines: Iterator[Line], delimiter: str, max_bytes: int) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._max_bytes = max_bytes
        self._pushed_back: deque[Line] = deque()

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> tuple[int, list[str] | tuple[str, str]]:
        line = self._next_line()
        while line is not None and line.damage is None and not line.data.strip(b"\r\n"):
            line = self._next_line()
        if line is None:
            raise StopIteration
        taken = [line]
        size = line.size_bytes

        def more() -> str:
            nonlocal size
            following = self._next_line()
            if following is None:
                raise _BadRecord("ingest/bad-csv", "a quoted field is not closed")
            taken.append(following)
            size += following.size_bytes
            if size > self._max_bytes or len(taken) > MAX_RECORD_LINES:
                raise _BadRecord("ingest/bad-csv", f"a quoted field is not closed within {len(taken)} lines")
            return _text(following)

        try:
            return line.offset, split_record(_text(line), more, self._delimiter)
        except _BadRecord as bad:
            self._pushed_back.extendleft(reversed(taken[1:]))
            return line.offset, (bad.args[0], bad.args[1])

    def _next_line(self) -> Line | None:
        return self._pushed_back.popleft() if self._pushed_back else next(self._lines, None)


def _text(line: Line) -> str:
    if line.damage is not None:
        raise _BadRecord(f"ingest/damaged-{line.damage.compression}", str(line.damage))
    if line.too_long:
        raise _BadRecord("ingest/too-large", f"the line has {line.size_bytes} bytes")
    try:
        return line.data.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the line: {error.reason}; the file must be UTF-8"
        raise _BadRecord("ingest/bad-utf8", detail) from error


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in (name.strip() for name in names):
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def _no_text_column(piece: Slice, first, header: list[str], options: ReadOptions) -> Quarantined:
    if not header:
        return Quarantined(piece.path, first[0], *first[1])
    detail = f"the file has no column {options.text_column!r}; its columns are: {', '.join(header)}"
    return Quarantined(piece.path, 0, "ingest/missing-text", detail)
