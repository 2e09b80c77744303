"""HTML files: one page a file, read as raw bytes because only the page knows its charset."""

from __future__ import annotations

from collections.abc import Iterator

from corpuskit.documents import Quarantined, document_id
from corpuskit.ingest.chunks import Chunk, ChunkBuilder, ReadOptions, Row
from corpuskit.ingest.columns import build_batch
from corpuskit.ingest.http import BodyError
from corpuskit.ingest.streams import open_file
from corpuskit.ingest.web import PAGE_COLUMNS, page_text
from corpuskit.jobs import Slice


def read(piece: Slice, options: ReadOptions, skip: int) -> Iterator[Chunk]:
    """Read the one document of an HTML file."""
    builder = ChunkBuilder(options, skip, lambda rows: build_batch(rows, PAGE_COLUMNS))
    if builder.skipped():
        return
    with open_file(piece.path) as file:
        body = file.read(options.max_document_bytes + 1)
    try:
        if len(body) > options.max_document_bytes:
            raise BodyError("ingest/too-large", f"the file has more than {options.max_document_bytes} bytes")
        page = page_text(body, None, True, options)
    except BodyError as error:
        builder.quarantine(Quarantined(piece.path, 0, error.reason, error.detail))
    else:
        fields = {
            "url": None,
            "source": piece.relative_path,
            "date": page.date,
            "title": page.title,
            "charset": page.charset,
        }
        builder.add(Row(document_id(piece.relative_path, 0), page.text, fields), len(body))
    yield builder.take(len(body))
