"""The body of an HTTP message as bytes of the page: chunking and content encoding undone, bounded.

Headers that lie are common in crawls: ClueWeb's pages say ``Content-Encoding: gzip`` and are in
the clear, others say ``chunked`` and are whole. fastwarc's decoder raises on those, which would
lose the page; here an encoding is undone only where the bytes really have it.
"""

from __future__ import annotations

import io
import zlib

_INITIAL_ALLOWANCE_BYTES = 8 << 20
_BROTLI_READ_BYTES = 1 << 16


class BodyError(Exception):
    """A body that cannot be decoded, with its quarantine reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode_body(body: bytes, transfer: str, encodings: str, max_bytes: int, max_ratio: int) -> bytes:
    """Undo the transfer and content encodings of a body.

    Parameters
    ----------
    body : bytes
    transfer, encodings : str
        Values of ``Transfer-Encoding`` and ``Content-Encoding``; empty where there is none.
    max_bytes, max_ratio : int
        The result may have at most `max_bytes`, and at most `max_ratio` times the bytes that were
        decoded (from 8 MiB on).

    Returns
    -------
    bytes
        A body whose compressed stream is cut is returned as far as it goes: its page is whole
        enough to be judged by its text.

    Raises
    ------
    BodyError
        ``ingest/too-large``, or ``ingest/bad-encoding`` for an encoding that is unknown or damaged.
    """
    if "chunked" in transfer.lower():
        body = _join_chunks(body)
    names = [name.strip().lower() for name in encodings.split(",") if name.strip()]
    for name in reversed(names):
        limit = min(max_bytes, max(_INITIAL_ALLOWANCE_BYTES, max_ratio * len(body)))
        body = _decode(body, name, limit)
        if len(body) > limit:
            raise BodyError("ingest/too-large", f"the {name} body inflates to more than {limit} bytes")
    if len(body) > max_bytes:
        raise BodyError("ingest/too-large", f"the body has {len(body)} bytes, more than {max_bytes}")
    return body


def _decode(body: bytes, name: str, limit: int) -> bytes:
    """At most ``limit + 1`` decoded bytes."""
    if name in ("identity", "none", "utf-8"):
        return body
    if name in ("gzip", "x-gzip"):
        return _inflate(body, 31, limit) if body.startswith(b"\x1f\x8b") else body
    if name == "deflate":  # RFC 9110 says zlib; many servers send the bare stream
        is_zlib = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflate(body, 15 if is_zlib else -15, limit)
    if name == "br":
        return _decode_brotli(body, limit)
    raise BodyError("ingest/bad-encoding", f"Content-Encoding is {name!r}")


def _inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    try:
        return zlib.decompressobj(window_bits).decompress(body, limit + 1)
    except zlib.error as error:
        if _looks_like_markup(body):
            return body
        raise BodyError("ingest/bad-encoding", f"the compressed body is damaged: {error}") from error


def _decode_brotli(body: bytes, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader

    reader = BrotliReader(io.BytesIO(body))
    pieces: list[bytes] = []
    size = 0
    try:
        while size <= limit and (piece := reader.read(_BROTLI_READ_BYTES)):
            pieces.append(piece)
            size += len(piece)
    except OSError as error:
        if _looks_like_markup(body):
            return body
        raise BodyError("ingest/bad-encoding", f"the brotli body is damaged: {error}") from error
    return b"".join(pieces)[: limit + 1]


def _looks_like_markup(body: bytes) -> bool:
    return body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _join_chunks(body: bytes) -> bytes:
    """The chunks' data; `body` itself where it is not chunked, and what there is of a cut one."""
    pieces: list[bytes] = []
    position = 0
    while position < len(body):
        end = body.find(b"\n", position, position + 1024)
        size_text = body[position : max(end, position)].split(b";")[0].strip()
        try:
            size = int(size_text, 16)
        except ValueError:
            size = -1
        if size < 0:
            return b"".join(pieces) + body[position:] if pieces else body
        if size == 0:
            break
        pieces.append(body[end + 1 : end + 1 + size])
        position = end + 1 + size
        position += 2 if body[position : position + 2] == b"\r\n" else body[position : position + 1] == b"\n"
    return b"".join(pieces)
