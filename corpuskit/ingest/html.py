"""HTML files: one page a file, read as raw bytes because only the page knows its charset."""

from __future__ import annotations

from collections.abc import Iterator

from corpuskit.ingest.chunks import Chunk, ReadOptions
from corpuskit.ingest.http import BodyError
from corpuskit.ingest.pages import PageBatches
from corpuskit.ingest.sandbox import NoVerdicts, Verdicts
from corpuskit.ingest.streams import open_file
from corpuskit.ingest.web import PageRequest
from corpuskit.jobs import Slice


def read(piece: Slice, options: ReadOptions, skip: int, verdicts: Verdicts | None = None) -> Iterator[Chunk]:
    """Read the one document of an HTML file."""
    max_bytes = options.max_document_bytes
    with PageBatches(piece, options, skip, max_bytes, verdicts or NoVerdicts()) as batches:
        if batches.skipped():
            return
        with open_file(piece.path) as file:
            body = file.read(max_bytes + 1)

        def request() -> PageRequest:
            if len(body) > max_bytes:
                raise BodyError("ingest/too-large", f"the file has more than {max_bytes} bytes")
            return PageRequest(body, "text/html")

        yield from batches.add(0, 0, len(body), request)
        yield from batches.finish()
