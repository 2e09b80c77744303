"""JSON Lines: one object a line, with the text under one key and the user's own data beside it.

A line's id is made from its offset in the decompressed stream, so a file gives the same ids read
whole or in byte ranges. A lone surrogate escape (half of an emoji, cut by a scraper) becomes
U+FFFD, as browsers do: it is no Unicode text, and the rest of the document is sound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from corpuskit.documents import Quarantined, document_id
from corpuskit.ingest.chunks import Chunk, ChunkBuilder, ReadOptions, Row
from corpuskit.ingest.columns import build_batch, column_names, guide_schema
from corpuskit.ingest.lines import BYTE_ORDER_MARK, Line, read_lines
from corpuskit.ingest.records import without_surrogates
from corpuskit.ingest.streams import open_file, open_stream
from corpuskit.jobs import Slice

GUIDE_RECORDS = 1_000
GUIDE_BYTES = 4 << 20
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_WHITE_SPACE = b" \t\r\n"


def read(piece: Slice, options: ReadOptions, skip: int) -> Iterator[Chunk]:
    """Read the documents whose lines begin in the slice (plain, gzip or zstd).

    Parameters
    ----------
    piece : Slice
        A file, or a byte range of an uncompressed one.
    options : ReadOptions
    skip : int
        Records to pass over; their lines are not parsed.
    """
    with open_file(piece.path) as file:
        guide, is_array = _look_at_head(open_stream(file), options)
    builder = ChunkBuilder(options, skip, lambda rows: build_batch(rows, guide))
    if is_array:
        if piece.start == 0 and not builder.skipped():
            detail = "the file is one JSON array, not one object a line (jq -c '.[]' converts it)"
            builder.quarantine(Quarantined(piece.path, 0, "ingest/bad-json", detail))
            yield builder.take(0)
        return
    with open_file(piece.path) as file:
        stream = open_stream(file, max(0, piece.start - 1))
        begin = stream.consumed_bytes
        for line in read_lines(stream, piece.start, piece.stop, options.max_document_bytes):
            if line.damage is None and not line.data.strip(_WHITE_SPACE):
                continue
            if builder.skipped():
                continue
            result = _parse(line, options)
            if isinstance(result, dict):
                text = result.pop(options.text_column)
                fields = _fields(result, options, piece)
                builder.add(Row(document_id(piece.relative_path, line.offset), text, fields), len(line.data))
            else:
                builder.quarantine(Quarantined(piece.path, line.offset, *result))
            if builder.full:
                yield builder.take(stream.consumed_bytes - begin)
        if builder.pending:
            yield builder.take(stream.consumed_bytes - begin)


def _fields(record: dict[str, Any], options: ReadOptions, piece: Slice) -> dict[str, Any]:
    names = column_names(record, options.text_column)
    fields = {names[name]: value for name, value in record.items()}
    fields.setdefault("source", piece.relative_path)
    return fields


def _parse(line: Line, options: ReadOptions) -> dict[str, Any] | tuple[str, str]:
    """The line's object with a string under the text key, or the reason and detail of its quarantine."""
    if line.damage is not None:
        detail = f"{line.damage}; {len(line.data)} bytes of an unfinished line, and all behind it, are lost"
        return f"ingest/damaged-{line.damage.compression}", detail
    if line.too_long:
        return (
            "ingest/too-large",
            f"the line has {line.size_bytes} bytes, more than {options.max_document_bytes}",
        )
    try:
        content = line.data.decode("utf-8")
    except UnicodeDecodeError as error:
        return "ingest/bad-utf8", f"byte {error.start} of the line: {error.reason}"
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        return "ingest/bad-json", str(error)
    if not isinstance(record, dict):
        return "ingest/bad-json", f"the line is a JSON {type(record).__name__}, not an object"
    if _SURROGATE_ESCAPE.search(line.data):
        record = without_surrogates(record)
    text = record.get(options.text_column)
    if not isinstance(text, str):
        keys = ", ".join(list(record)[:10])
        what = "is missing" if options.text_column not in record else f"is {type(text).__name__}"
        return "ingest/missing-text", f"{options.text_column!r} {what}; the keys are: {keys}"
    return record


def _look_at_head(stream, options: ReadOptions) -> tuple[pa.Schema, bool]:
    """The columns at the file's beginning, and whether it is one JSON array.

    Always from the start of the file, so that every slice of it gives the same columns.
    """
    fields: list[dict[str, Any]] = []
    size = 0
    for line in read_lines(stream, 0, GUIDE_BYTES, options.max_document_bytes):
        if size == 0 and line.data.lstrip(BYTE_ORDER_MARK + _WHITE_SPACE).startswith(b"["):
            return pa.schema([]), True
        size += line.size_bytes
        record = _parse(line, options)
        if isinstance(record, dict):
            del record[options.text_column]
            fields.append(_fields(record, options, Slice("")))
        if len(fields) >= GUIDE_RECORDS:
            break
    return guide_schema(fields), False
