"""Lines of a byte stream, each with its offset, none longer than a cap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from corpuskit.ingest.streams import ByteStream, DamagedStream

_READ_BYTES = 1 << 18
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line.

    Attributes
    ----------
    offset : int
        Of its first byte in the decompressed stream.
    data : bytes
        With its end-of-line; without a byte order mark at the start of the stream; cut to the cap
        where `too_long`.
    size_bytes : int
        Its whole length.
    too_long : bool
    damage : DamagedStream or None
        Set on the last line where the stream could not be read on; `data` is what was read of it.
    """

    offset: int
    data: bytes
    size_bytes: int
    too_long: bool = False
    damage: DamagedStream | None = None


def read_lines(stream: ByteStream, start: int, stop: int | None, max_bytes: int) -> Iterator[Line]:
    """The lines that begin in ``[start, stop)``.

    Parameters
    ----------
    stream : ByteStream
        Positioned at ``start - 1`` where `start` > 0 (to see whether a line begins there), else at 0.
    start, stop : int, int or None
        Byte range; adjacent ranges give each line exactly once.
    max_bytes : int
        Longer lines are read through but not kept.
    """
    offset = max(0, start - 1)
    lines = _split(stream, offset, max_bytes)
    if start > 0:
        next(lines, None)  # it begins before the range
    for line in lines:
        if stop is not None and line.offset >= stop:
            return
        if line.offset == 0 and line.data.startswith(BYTE_ORDER_MARK):
            line = line._replace(data=line.data[len(BYTE_ORDER_MARK) :])
        yield line


def _split(stream: ByteStream, offset: int, max_bytes: int) -> Iterator[Line]:
    pieces: list[bytes] = []  # of the line that is being read, up to the cap
    kept = size = 0
    while True:
        try:
            block = stream.read(_READ_BYTES)
        except DamagedStream as damage:
            yield Line(offset, b"".join(pieces), size, damage=damage)
            return
        if not block:
            if size:
                yield Line(offset, b"".join(pieces), size, size > max_bytes)
            return
        position = 0
        while position < len(block):
            newline = block.find(b"\n", position)
            end = len(block) if newline < 0 else newline + 1
            room = max_bytes - kept
            if room > 0:
                piece = block[position : min(end, position + room)]
                pieces.append(piece)
                kept += len(piece)
            size += end - position
            position = end
            if newline >= 0:
                yield Line(offset, b"".join(pieces), size, size > max_bytes)
                offset += size
                pieces, kept, size = [], 0, 0
