"""The body of an HTTP message as bytes of the page: chunking and content encoding undone, bounded.

Headers that lie are common in crawls: ClueWeb's pages say ``Content-Encoding: gzip`` and are in
the clear, others say ``chunked`` and are whole. fastwarc's decoder raises on those, which would
lose the page; here an encoding is undone only where the bytes really have it.
"""

from __future__ import annotations

import io
import re
from typing import NamedTuple

import zstandard
from isal import isal_zlib

MAX_ENCODINGS = 4
MAX_CHUNKS = 1_000_000
MAX_FIELDS = 1_000
_MAX_HEAD_BYTES = 1 << 20
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_FOLDED = re.compile(rb"\r?\n[ \t]+")
_INITIAL_ALLOWANCE_BYTES = 8 << 20
_BROTLI_READ_BYTES = 1 << 16
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_HEADER_BYTES = 18
_CUT_SIZE_LINE = re.compile(rb"\r?[0-9A-Fa-f]{0,16}\r?")


class BodyError(Exception):
    """A body that cannot be decoded, with its quarantine reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Body(NamedTuple):
    """A decoded body; `cut` where its encodings show that its end is missing."""

    data: bytes
    cut: bool


class Head(NamedTuple):
    """The head of an HTTP response.

    Attributes
    ----------
    status : int or None
        None where the message does not begin with a status line.
    fields : dict
        Lower-cased names to values; of a repeated field the first, encodings joined by commas.
    body_start : int
        Offset of the body in the message.
    """

    status: int | None
    fields: dict[str, str]
    body_start: int


def parse_head(message: bytes, start: int = 0) -> Head:
    """Parse the head of the HTTP response that begins at `start`, leniently.

    Lines may end in LF alone, be folded, or have no colon (passed over); a message that is cut in
    its head has no body.
    """
    match = _STATUS_LINE.match(message, start)
    if match is None:
        return Head(None, {}, start)
    end = _END_OF_HEAD.search(message, start, start + _MAX_HEAD_BYTES)
    block = message[match.end() : end.start() if end else min(len(message), start + _MAX_HEAD_BYTES)]
    fields: dict[str, str] = {}
    for line in _FOLDED.sub(b" ", block).split(b"\n", MAX_FIELDS + 1)[1 : MAX_FIELDS + 1]:
        name, separator, value = line.decode("latin-1").partition(":")
        if separator:
            name, value = name.strip().lower(), value.strip()
            if name in fields and name.endswith("-encoding"):
                fields[name] += f", {value}"
            else:
                fields.setdefault(name, value)
    return Head(int(match.group(1)), fields, end.end() if end else len(message))


def media_type(content_type: str) -> tuple[str, str | None]:
    """Lower-cased media type and charset of a Content-Type value."""
    mime, _, parameters = content_type.partition(";")
    charset = None
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'") or None
            break
    return mime.strip().lower(), charset


def decode_body(body: bytes, transfer: str, encodings: str, max_bytes: int, max_ratio: int) -> Body:
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
    Body
        A body whose chunks or whose gzip, deflate or zstd stream are cut is returned as far as it
        goes, and says so: its page is judged by its text.

    Raises
    ------
    BodyError
        ``ingest/too-large``, or ``ingest/bad-encoding`` for an encoding that is unknown or damaged.
    """
    cut = False
    if "chunked" in transfer.lower():
        body, cut = _join_chunks(body)
    names = [name.strip().lower() for name in encodings.split(",") if name.strip()]
    if len(names) > MAX_ENCODINGS:
        raise BodyError("ingest/bad-encoding", f"{len(names)} content encodings, more than {MAX_ENCODINGS}")
    for name in reversed(names):
        limit = min(max_bytes, max(_INITIAL_ALLOWANCE_BYTES, max_ratio * len(body)))
        body, ends_early = _decode(body, name, limit)
        cut |= ends_early
        if len(body) > limit:
            raise BodyError("ingest/too-large", f"the {name} body inflates to more than {limit} bytes")
    if len(body) > max_bytes:
        raise BodyError("ingest/too-large", f"the body has {len(body)} bytes, more than {max_bytes}")
    return Body(body, cut)


def _decode(body: bytes, name: str, limit: int) -> Body:
    """At most ``limit + 1`` decoded bytes."""
    if name in ("identity", "none", "utf-8"):
        return Body(body, False)
    if name in ("gzip", "x-gzip"):
        return _inflate(body, 31, limit) if body.startswith(b"\x1f\x8b") else Body(body, False)
    if name == "deflate":  # RFC 9110 says zlib; many servers send the bare stream
        is_zlib = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflate(body, 15 if is_zlib else -15, limit)
    if name == "br":
        return Body(_decode_brotli(body, limit), False)  # a cut one looks like a damaged one: an error
    if name == "zstd":
        return _decode_zstd(body, limit)
    raise BodyError("ingest/bad-encoding", f"Content-Encoding is {name!r}")


def _inflate(body: bytes, window_bits: int, limit: int) -> Body:
    decoder = isal_zlib.decompressobj(window_bits)
    try:
        data = decoder.decompress(body, limit + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # the stub has an instance
        if _looks_like_markup(body):
            return Body(body, False)
        raise BodyError("ingest/bad-encoding", f"the compressed body is damaged: {error}") from error
    return Body(data, not decoder.eof)


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


def _decode_zstd(body: bytes, limit: int) -> Body:
    if not body.startswith(_ZSTD_MAGIC):
        if _looks_like_markup(body):
            return Body(body, False)
        raise BodyError("ingest/bad-encoding", "the body is not zstd")
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True)
    try:
        data = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise BodyError("ingest/bad-encoding", f"the zstd body is damaged: {error}") from error
    return Body(data, _zstd_is_cut(body))


def _zstd_is_cut(body: bytes) -> bool:
    """Whether a frame goes on behind the end, by its block sizes (RFC 8878, section 3.1.1).

    The decoder returns what there is of a cut frame without an error.
    """
    position = 0
    while body.startswith(_ZSTD_MAGIC, position):
        try:
            header = zstandard.get_frame_parameters(body[position : position + _ZSTD_HEADER_BYTES])
            position += zstandard.frame_header_size(body[position : position + _ZSTD_HEADER_BYTES])
        except zstandard.ZstdError:
            return True
        is_last = False
        while not is_last:
            block = int.from_bytes(body[position : position + 3], "little")
            is_last, is_run = bool(block & 1), block >> 1 & 3 == 1
            position += 3 + (1 if is_run else block >> 3)
            if position > len(body):
                return True
        position += 4 * header.has_checksum
    return position > len(body)


def _looks_like_markup(body: bytes) -> bool:
    return body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _join_chunks(body: bytes) -> Body:
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
        if size < 0 and not pieces:
            return Body(body, False)
        if size < 0:
            rest = body[position:]
            # A size line that the end of the body cuts; anything else is text of a wrong chunk size.
            cut = end < 0 and _CUT_SIZE_LINE.fullmatch(rest) is not None
            return Body(b"".join(pieces) + (b"" if cut else rest), cut)
        if size == 0:
            return Body(b"".join(pieces), False)
        if len(pieces) >= MAX_CHUNKS:
            raise BodyError("ingest/bad-encoding", f"the body has more than {MAX_CHUNKS} chunks")
        pieces.append(body[end + 1 : end + 1 + size])
        position = end + 1 + size
        position += 2 if body[position : position + 2] == b"\r\n" else body[position : position + 1] == b"\n"
    return Body(b"".join(pieces), bool(body))  # the chunk of size 0 is missing
