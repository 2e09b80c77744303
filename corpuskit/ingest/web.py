"""One web page to one document: charset, main text, and why there may be none."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from corpuskit.ingest.chunks import ReadOptions
from corpuskit.ingest.http import BodyError

# Every page of a corpus has these columns, whether or not a batch has a value for them.
PAGE_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("url", "source", "date", "title", "charset")],
)


class PageText(NamedTuple):
    """What a page gave."""

    text: str
    title: str | None
    date: str | None
    charset: str


def page_text(body: bytes, http_charset: str | None, is_html: bool, options: ReadOptions) -> PageText:
    """Decode a page and take its main text; plain text is taken as it is.

    Raises
    ------
    BodyError
        ``ingest/unknown-charset``, ``ingest/empty``, ``ingest/too-large`` or
        ``ingest/extraction-failed``.
    """
    from corpuskit.clean.decode import decode
    from corpuskit.clean.extract import PageOverBudget, extract

    decoded = decode(body, http_charset)
    if decoded.error_rate > options.max_error_rate:
        detail = f"{decoded.error_rate:.1%} of the characters cannot be decoded as {decoded.encoding}"
        raise BodyError("ingest/unknown-charset", detail)
    if not is_html:
        result = PageText(decoded.text, None, None, decoded.encoding)
    else:
        try:
            page = extract(decoded.text)
        except PageOverBudget as error:
            raise BodyError("ingest/too-large", str(error)) from error
        except Exception as error:  # a hostile page must not end the run; the report counts them
            raise BodyError("ingest/extraction-failed", f"{type(error).__name__}: {error}") from error
        result = PageText(page.text, page.title, page.date, decoded.encoding)
    if not result.text.strip():
        raise BodyError("ingest/empty", "the page has no text")
    return result


def looks_like_html(body: bytes) -> bool:
    """Whether a body without a declared type begins like a page (as browsers sniff it)."""
    head = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<meta", b"<?xml"))
