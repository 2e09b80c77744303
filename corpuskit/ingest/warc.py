"""WARC and WET files: crawled pages to documents.

Responses, resources and conversions (WET) are records of documents; requests, metadata, warcinfo
and revisits describe others and are not counted. Every counted record ends as a document or in
quarantine: not text, not status 200, damaged, too large, undecodable, or empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from corpuskit.ingest.chunks import Chunk, ReadOptions
from corpuskit.ingest.framing import Frame, read_frames
from corpuskit.ingest.http import BodyError, media_type, parse_head
from corpuskit.ingest.pages import PageBatches
from corpuskit.ingest.sandbox import NoVerdicts, Verdicts
from corpuskit.ingest.streams import open_file, open_stream
from corpuskit.ingest.web import TEXT_TYPES, PageRequest
from corpuskit.jobs import Slice

_NOT_DOCUMENTS = ("warcinfo", "request", "metadata", "revisit")
_DOCUMENTS = ("response", "resource", "conversion")


def read(piece: Slice, options: ReadOptions, skip: int, verdicts: Verdicts | None = None) -> Iterator[Chunk]:
    """Read the documents of a WARC file (plain, gzip, lz4 or zstd).

    Parameters
    ----------
    piece : Slice
        A whole file.
    options : ReadOptions
    skip : int
        Records to pass over; they are framed, but not decoded.
    verdicts : Verdicts, optional
        Records that ended their process in an earlier run of the task.
    """
    batches = PageBatches(piece, options, skip, options.max_record_bytes, verdicts or NoVerdicts())
    with open_file(piece.path) as file, batches:
        stream = open_stream(file)
        for frame in read_frames(stream, options.max_record_bytes, options.max_ratio):
            if frame.problem is None and frame.record_type in _NOT_DOCUMENTS:
                continue
            if batches.skipped():
                continue
            url = frame.fields.get("warc-target-uri", "").strip("<>") or None
            date = frame.fields.get("warc-date")
            consumed = stream.consumed_bytes
            yield from batches.add(
                frame.position, frame.offset, consumed, partial(_request, frame, url or ""), url, date
            )
        yield from batches.finish()


def _request(frame: Frame, url: str) -> PageRequest:
    """What there is to extract of a record, or the reason why it is no page."""
    if frame.problem is not None:
        raise BodyError(*frame.problem)
    if frame.record_type not in _DOCUMENTS:
        raise BodyError("ingest/not-text", f"a record of type {frame.record_type or 'none'!r}")
    content_type = frame.fields.get("content-type", "")
    start, transfer, encodings = frame.content_start, "", ""
    cut = bool(frame.fields.get("warc-truncated"))
    if content_type.lower().startswith("application/http"):
        head = parse_head(frame.data, start)
        if head.status is None:
            raise BodyError("ingest/bad-record", f"the HTTP message has no status line {url}".strip())
        if head.status != 200:
            raise BodyError("ingest/http-status", f"{head.status} {url}".strip())
        content_type, start = head.fields.get("content-type", ""), head.body_start
        transfer = head.fields.get("transfer-encoding", "")
        encodings = head.fields.get("content-encoding", "")
        cut |= not transfer and _is_short(head.fields.get("content-length", ""), len(frame.data) - start)
    mime, charset = media_type(content_type)
    if mime and mime not in TEXT_TYPES:
        raise BodyError("ingest/not-text", f"{mime} {url}".strip())
    return PageRequest(frame.data[start:], mime, charset, transfer, encodings, url, cut)


def _is_short(content_length: str, body_bytes: int) -> bool:
    """Whether fewer bytes came than the HTTP header promises.

    More are no sign of anything: crawlers that store a body decoded leave its length as it was.
    """
    said = content_length.isascii() and content_length.isdecimal() and len(content_length) < 16
    return said and int(content_length) > body_bytes
