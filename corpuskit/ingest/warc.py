"""WARC and WET files: crawled pages to documents.

Responses, resources and conversions (WET) are records of documents; requests, metadata, warcinfo
and revisits describe others and are not counted. Every counted record ends as a document or in
quarantine: not text, not status 200, damaged, too large, undecodable, or empty.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from corpuskit.documents import Quarantined, document_id
from corpuskit.ingest.chunks import Chunk, ChunkBuilder, ReadOptions, Row
from corpuskit.ingest.columns import build_batch
from corpuskit.ingest.framing import Frame, read_frames
from corpuskit.ingest.http import BodyError, decode_body
from corpuskit.ingest.streams import open_file, open_stream
from corpuskit.ingest.web import PAGE_COLUMNS, looks_like_html, page_text
from corpuskit.jobs import Slice

_NOT_DOCUMENTS = ("warcinfo", "request", "metadata", "revisit")
_DOCUMENTS = ("response", "resource", "conversion")
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_TEXT_TYPES = (*_HTML_TYPES, "text/plain")


def read(piece: Slice, options: ReadOptions, skip: int) -> Iterator[Chunk]:
    """Read the documents of a WARC file (plain, gzip, lz4 or zstd).

    Parameters
    ----------
    piece : Slice
        A whole file.
    options : ReadOptions
    skip : int
        Records to pass over; they are framed, but not decoded.
    """
    builder = ChunkBuilder(options, skip, lambda rows: build_batch(rows, PAGE_COLUMNS))
    with open_file(piece.path) as file:
        stream = open_stream(file)
        for frame in read_frames(stream, options.max_record_bytes):
            if frame.problem is None and frame.record_type in _NOT_DOCUMENTS:
                continue
            if builder.skipped():
                continue
            try:
                row = _document(frame, piece, options)
                builder.add(row, len(row.text.encode()))
            except BodyError as error:
                builder.quarantine(Quarantined(piece.path, frame.offset, error.reason, error.detail))
            if builder.full:
                yield builder.take(stream.consumed_bytes)
        if builder.pending:
            yield builder.take(stream.consumed_bytes)


def _document(frame: Frame, piece: Slice, options: ReadOptions) -> Row:
    from fastwarc.warc import ArchiveIterator

    if frame.problem is not None:
        raise BodyError(*frame.problem)
    if frame.record_type not in _DOCUMENTS:
        raise BodyError("ingest/not-text", f"a record of type {frame.record_type or 'none'!r}")
    archive = ArchiveIterator(
        io.BytesIO(frame.data),
        parse_http=False,
        quirks_mode=True,
        stream_detect=False,
        max_header_len=1 << 20,
    )
    try:
        record = next(iter(archive), None)
        if record is None:
            raise BodyError("ingest/bad-record", "the record's header cannot be parsed")
        headers = record.headers
        url = headers.get("WARC-Target-URI")
        body, mime, charset = _payload(frame, record, options)
    except OSError as error:
        raise BodyError("ingest/bad-record", f"the record cannot be parsed: {error}") from error
    if mime and mime not in _TEXT_TYPES:
        raise BodyError("ingest/not-text", f"{mime} {url or ''}".strip())
    if not mime and not looks_like_html(body):
        raise BodyError("ingest/not-text", f"no content type {url or ''}".strip())
    page = page_text(body, charset, mime != "text/plain", options)
    fields = {
        "url": url.strip("<>") if url else None,
        "source": piece.relative_path,
        "date": headers.get("WARC-Date"),
        "title": page.title,
        "charset": page.charset,
    }
    return Row(document_id(piece.relative_path, frame.position), page.text, fields)


def _payload(frame: Frame, record, options: ReadOptions) -> tuple[bytes, str, str | None]:
    """Body, media type and declared charset of a record."""
    if not record.is_http:
        content_type = record.headers.get("Content-Type") or ""
        mime, _, parameters = content_type.partition(";")
        charset = parameters.partition("charset=")[2].strip("\"' ") or None
        return record.reader.read(), mime.strip().lower(), charset
    record.parse_http(auto_decode="none", quirks_mode=True, max_header_len=1 << 20)
    http = record.http_headers
    status = http.status_code if http is not None else None
    if status != 200:
        raise BodyError(
            "ingest/http-status", f"{status} {record.headers.get('WARC-Target-URI') or ''}".strip()
        )
    mime = (record.http_content_type or "").lower()
    if mime and mime not in _TEXT_TYPES:  # before the work of decoding a video
        raise BodyError("ingest/not-text", f"{mime} {record.headers.get('WARC-Target-URI') or ''}".strip())
    body = decode_body(
        record.reader.read(),
        http.get("Transfer-Encoding") or "",
        http.get("Content-Encoding") or "",
        options.max_record_bytes,
        options.max_ratio,
    )
    return body, mime, record.http_charset
