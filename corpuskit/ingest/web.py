"""One web page to one document: encodings undone, charset, main text, and why there may be none.

`page_text` is what runs in the sandbox (`corpuskit.ingest.sandbox`): a pure function of one request
and the limits. So this module loads nothing that it does not need for a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from corpuskit.ingest.http import BodyError, decode_body

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = (*HTML_TYPES, "text/plain")


@dataclass(frozen=True)
class PageLimits:
    """The budgets of a page; see `corpuskit.ingest.ReadOptions`."""

    max_bytes: int
    max_ratio: int
    max_error_rate: float
    max_seconds: float


class PageRequest(NamedTuple):
    """A page as it was served.

    Attributes
    ----------
    body : bytes
    mime : str
        Lower-cased media type; empty where none was declared, and the body then tells.
    charset : str or None
        Of the HTTP header.
    transfer, encodings : str
        Values of ``Transfer-Encoding`` and ``Content-Encoding``.
    url : str
        For messages.
    cut : bool
        Whether the archive shows that the end of the body is missing.
    """

    body: bytes
    mime: str = ""
    charset: str | None = None
    transfer: str = ""
    encodings: str = ""
    url: str = ""
    cut: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is text as it stands, which takes a decoder and no parser."""
        return self.mime == "text/plain" and not self.transfer and not self.encodings


class PageText(NamedTuple):
    """What a page gave; `mojibake` is that of `corpuskit.clean.decode.Decoded`.

    `cut` says that the end of its body is missing; the text goes as far as the body does.
    """

    text: str
    title: str | None
    date: str | None
    author: str | None
    charset: str
    mojibake: str | None
    cut: bool = False


def page_text(request: PageRequest, limits: PageLimits) -> PageText:
    """Undo a page's encodings, decode it and take its main text; plain text is taken as it is.

    Raises
    ------
    BodyError
        ``ingest/bad-encoding``, ``ingest/not-text``, ``ingest/unknown-charset``, ``ingest/empty``,
        ``ingest/too-large`` or ``ingest/extraction-failed``.
    """
    from corpuskit.clean.decode import decode
    from corpuskit.clean.extract import MAX_PAGE_BYTES, PageOverBudget, extract

    body, mime, cut = request.body, request.mime, request.cut
    if request.transfer or request.encodings:
        body, ends_early = decode_body(
            body, request.transfer, request.encodings, limits.max_bytes, limits.max_ratio
        )
        cut |= ends_early
    if not mime and not looks_like_html(body):
        raise BodyError("ingest/not-text", f"no content type {request.url}".strip())
    # Text in UTF-8 is at least half as long as the same in any other charset of the web.
    if mime != "text/plain" and len(body) > 2 * MAX_PAGE_BYTES:
        raise BodyError("ingest/too-large", f"the page has {len(body)} bytes, more than {2 * MAX_PAGE_BYTES}")
    decoded = decode(body, request.charset)
    if decoded.error_rate > limits.max_error_rate:
        detail = f"{decoded.error_rate:.1%} of the characters cannot be decoded as {decoded.encoding}"
        raise BodyError("ingest/unknown-charset", detail)
    if mime == "text/plain":
        result = PageText(decoded.text, None, None, None, decoded.encoding, decoded.mojibake, cut)
    else:
        try:
            page = extract(decoded.text)
        except PageOverBudget as error:
            raise BodyError("ingest/too-large", str(error)) from error
        except MemoryError:
            raise
        except Exception as error:  # a hostile page must not end the run; the report counts them
            raise BodyError("ingest/extraction-failed", f"{type(error).__name__}: {error}") from error
        result = PageText(
            page.text, page.title, page.date, page.author, decoded.encoding, decoded.mojibake, cut
        )
    if not result.text.strip():
        raise BodyError("ingest/empty", "the page has no text")
    return result


def looks_like_html(body: bytes) -> bool:
    """Whether a body without a declared type begins like a page (as browsers sniff it)."""
    head = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<meta", b"<?xml"))
