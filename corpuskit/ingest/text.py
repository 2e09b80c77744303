"""Text files: a document per file, per line, or per paragraph.

Whole files may be in any charset (old novels come in GB18030); lines and paragraphs must be UTF-8,
because a charset cannot be told from one line.
"""

from __future__ import annotations

from collections.abc import Iterator

from corpuskit.documents import Quarantined, document_id
from corpuskit.ingest.chunks import Chunk, ChunkBuilder, ReadOptions, Row
from corpuskit.ingest.columns import build_batch
from corpuskit.ingest.http import BodyError
from corpuskit.ingest.lines import Line, read_lines
from corpuskit.ingest.sandbox import limits_of
from corpuskit.ingest.streams import DamagedStream, open_file, open_stream, read_all
from corpuskit.ingest.web import PageRequest, page_text
from corpuskit.jobs import Slice


def read(piece: Slice, options: ReadOptions, skip: int) -> Iterator[Chunk]:
    """Read the documents of a text file (plain, gzip or zstd).

    Parameters
    ----------
    piece : Slice
        A file, or (documents are lines) a byte range of an uncompressed one.
    options : ReadOptions
        `text_unit` says what a document is.
    skip : int
        Records to pass over.
    """
    builder = ChunkBuilder(options, skip, build_batch)
    with open_file(piece.path) as file:
        if options.text_unit == "file":
            yield from _read_file(file, piece, options, builder)
        else:
            yield from _read_units(file, piece, options, builder)


def _read_file(file, piece: Slice, options: ReadOptions, builder: ChunkBuilder) -> Iterator[Chunk]:
    if builder.skipped():
        return
    stream = open_stream(file)
    try:
        data = read_all(stream, options.max_document_bytes)
        if data is None:
            raise BodyError("ingest/too-large", f"the file has more than {options.max_document_bytes} bytes")
        page = page_text(PageRequest(data, "text/plain"), limits_of(options, options.max_document_bytes))
    except DamagedStream as damage:
        reason = f"ingest/damaged-{damage.compression}"
        builder.quarantine(Quarantined(piece.path, stream.position, reason, str(damage)))
    except BodyError as error:
        builder.quarantine(Quarantined(piece.path, 0, error.reason, error.detail))
    else:
        builder.add(_row(piece, 0, page.text), len(data))
        builder.count(f"charset {page.charset}")
        if page.mojibake is not None:
            builder.count(f"mojibake {page.mojibake}")
    yield builder.take(stream.consumed_bytes)


def _read_units(file, piece: Slice, options: ReadOptions, builder: ChunkBuilder) -> Iterator[Chunk]:
    stream = open_stream(file, max(0, piece.start - 1))
    begin = stream.consumed_bytes
    lines = read_lines(stream, piece.start, piece.stop, options.max_document_bytes)
    units = lines if options.text_unit == "line" else _paragraphs(lines, options.max_document_bytes)
    for unit in units:
        if unit.damage is None and not unit.data.strip():
            continue
        if builder.skipped():
            continue
        if unit.damage is not None:
            reason, detail = f"ingest/damaged-{unit.damage.compression}", str(unit.damage)
            builder.quarantine(Quarantined(piece.path, unit.offset, reason, detail))
        elif unit.too_long:
            detail = f"{unit.size_bytes} bytes, more than {options.max_document_bytes}"
            builder.quarantine(Quarantined(piece.path, unit.offset, "ingest/too-large", detail))
        else:
            try:
                text = unit.data.rstrip(b"\r\n").decode("utf-8")
            except UnicodeDecodeError as error:
                detail = f"byte {error.start}: {error.reason} (whole files may be in other charsets)"
                builder.quarantine(Quarantined(piece.path, unit.offset, "ingest/bad-utf8", detail))
            else:
                builder.add(_row(piece, unit.offset, text), len(unit.data))
        if builder.full:
            yield builder.take(stream.consumed_bytes - begin)
    if builder.pending:
        yield builder.take(stream.consumed_bytes - begin)


def _paragraphs(lines: Iterator[Line], max_bytes: int) -> Iterator[Line]:
    """Join lines up to the next blank one."""
    pieces: list[bytes] = []
    offset = size = 0
    for line in lines:
        if line.damage is None and line.data.strip():
            if not size:
                offset = line.offset
            if size + line.size_bytes <= max_bytes:
                pieces.append(line.data)
            size += line.size_bytes
            continue
        if size and line.damage is None:
            yield Line(offset, b"".join(pieces), size, size > max_bytes)
        if line.damage is not None:
            yield line._replace(offset=offset if size else line.offset)
        pieces, size = [], 0
    if size:
        yield Line(offset, b"".join(pieces), size, size > max_bytes)


def _row(piece: Slice, offset: int, text: str) -> Row:
    return Row(document_id(piece.relative_path, offset), text, {"source": piece.relative_path})
