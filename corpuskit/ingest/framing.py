"""Where the records of a WARC file begin and end, also after damage.

fastwarc's iterator returns a cut record without an error, stops at the first damaged gzip member
and so loses all that follow, and inflates without bound (measured: a member damaged in the middle
of ten cost the five behind it). So the frames are found here: every record is compared with its
Content-Length, a member is believed only when its checksum has been verified, and after damage the
search goes on at the next member, or the next line, that begins with ``WARC/``; so it does inside
a record that says it is longer than records may be, unless it ends where it says. A member that
inflates hugely is given up on the way by a budget of bytes and ratio, and reading goes on at the
next, so a record costs no more time than its own bytes are worth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from corpuskit.ingest.streams import ByteStream, DamagedStream, PlainStream

MAX_HEADER_BYTES = 64 << 10
_READ_BYTES = 128 << 10
_MAGIC = b"WARC/"
_VERSION_LINE = re.compile(rb"WARC/\d+\.\d+\r?\n")
_NEXT_RECORD = re.compile(rb"(?<=\n)WARC/\d+\.\d+\r?\n")
_VERSION_LINE_BYTES = 16
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
# A record's number in its member goes above the member's file offset (256 TB).
_INNER_SHIFT = 48


@dataclass(frozen=True)
class Frame:
    """A record, or a stretch of the file that holds none.

    Attributes
    ----------
    position : int
        What the record's id is made from: its byte offset in the file. For a further record in the
        same compressed member, the member's offset plus the record's offset in it times 2^48.
    offset : int
        Where to look in the file: offset of the record, or of its compressed member.
    record_type : str
        Lower-cased WARC-Type; empty where the header could not be read.
    fields : dict
        The header's lower-cased names to values.
    data : bytes
        Header and content; empty if there is a problem.
    content_start : int
        Where in `data` the content begins.
    problem : tuple of (str, str) or None
        Reason (``ingest/…``) and detail, for a record that is damaged or too large.
    """

    position: int
    offset: int
    record_type: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    content_start: int = 0
    problem: tuple[str, str] | None = None


def read_frames(stream: ByteStream, max_record_bytes: int, max_ratio: int = 200) -> Iterator[Frame]:
    """Every record of a WARC stream, and every damage, in order.

    Parameters
    ----------
    stream : ByteStream
        At the start of the file.
    max_record_bytes : int
        Records that say they are larger are skipped and reported, not kept; one that does not end
        where it says ends where the next record begins.
    max_ratio : int
        Where more than `max_record_bytes` lie between two records (or in a record that is too
        large) and they are more than this times their compressed size, the rest of their member is
        not decompressed: a bomb. A large record of real content is read through.
    """
    return _Framer(stream, max_record_bytes, max_ratio).frames()


class _Bomb(Exception):
    """What is being read inflates beyond the budget."""


class _CutRecord(Exception):
    """The stream, or the record's member, ends `size` bytes into the buffer, before the record does."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class _Framer:
    def __init__(self, stream: ByteStream, max_record_bytes: int, max_ratio: int) -> None:
        self._stream = stream
        self._max_record_bytes = max_record_bytes
        self._max_ratio = max_ratio
        # Decompressed position and compressed bytes consumed when the record began.
        self._begun = (0, 0)
        self._buffer = bytearray()
        # (decompressed start, file offset) of the members in the buffer, in order
        self._members: list[tuple[int, int]] = []

    def frames(self) -> Iterator[Frame]:
        while True:
            place = None
            try:
                if not self._skip_blank():
                    return
                place = self._place()
                self._begun = (self._stream.position, self._stream.consumed_bytes)
                yield self._record(*place)
            except _Bomb as bomb:
                damaged = self._stream.member_offset
                position, offset = place or (damaged, damaged)
                self._stream.resync(_MAGIC)
                self._buffer.clear()
                self._members.clear()
                yield Frame(position, offset, problem=("ingest/too-large", str(bomb)))
            except DamagedStream as damage:
                damaged = self._stream.member_offset
                position, offset = place or (damaged, damaged)
                recovered = self._stream.resync(_MAGIC)
                self._buffer.clear()
                self._members.clear()
                lost_tail = damage.cut and not recovered
                reason = "truncated-record" if lost_tail else f"damaged-{damage.compression}"
                detail = f"{damage} (member at byte {damaged})"
                yield Frame(position, offset, problem=(f"ingest/{reason}", detail))

    def _record(self, position: int, offset: int) -> Frame:
        header = self._header()
        if header is None:
            cut = self._buffer.startswith(_MAGIC) and len(self._buffer) < MAX_HEADER_BYTES
            skipped = self._skip_junk()
            if cut:
                problem = ("ingest/truncated-record", "the file ends inside a record's header")
            else:
                problem = ("ingest/bad-record", f"{skipped} bytes that are no WARC record")
            return Frame(position, offset, problem=problem)
        fields = _fields(header)
        record_type = fields.get("warc-type", "").lower()
        length = _content_length(fields)
        if length is None:
            self._skip_junk()
            detail = f"Content-Length is {fields.get('content-length')!r}"
            return Frame(position, offset, record_type, fields, problem=("ingest/bad-record", detail))
        total = len(header) + length
        if total > self._max_record_bytes:
            skipped = self._skip_large(total)
            detail = f"the record has {total} bytes, more than {self._max_record_bytes}"
            if skipped < total:
                detail += f", by its Content-Length; reading goes on after {skipped}"
            return Frame(position, offset, record_type, fields, problem=("ingest/too-large", detail))
        try:
            self._fill(total)
        except _CutRecord as cut_record:
            nested = _NEXT_RECORD.search(self._buffer, len(header), cut_record.size)
            end = cut_record.size if nested is None else nested.start()
            self._drop(end)
            return _cut_frame(position, offset, record_type, length, end - len(header))
        data = bytes(self._buffer[:total])
        self._drop(total)
        if not self._ends_cleanly():
            nested = _NEXT_RECORD.search(data, len(header))
            if nested is not None:  # the writer died inside this record and wrote on behind it
                self._buffer[:0] = data[nested.start() :]
                present = nested.start() - len(header)
                return _cut_frame(position, offset, record_type, length, present)
        return Frame(position, offset, record_type, fields, data, len(header))

    def _header(self) -> bytes | None:
        """The header block up to its blank line, or None where no WARC header begins here."""
        while True:
            if not _MAGIC.startswith(bytes(self._buffer[: len(_MAGIC)])):
                return None
            end = _BLANK_LINE.search(self._buffer, 0, MAX_HEADER_BYTES)
            if end is not None:
                return bytes(self._buffer[: end.end()]) if _VERSION_LINE.match(self._buffer) else None
            if len(self._buffer) >= MAX_HEADER_BYTES or not self._more():
                return None

    def _fill(self, size: int) -> None:
        """Read until the buffer holds `size` bytes.

        A record may cross members (bgzip and pigz cut anywhere), but a member that begins with a
        WARC header is the next record.
        """
        while len(self._buffer) < size:
            before = len(self._buffer)
            members = len(self._members)
            if not self._more():
                raise _CutRecord(before)
            if len(self._members) > members and self._begins_record(before):
                raise _CutRecord(before)

    def _begins_record(self, index: int) -> bool:
        while len(self._buffer) < index + _VERSION_LINE_BYTES and self._more():
            pass
        return _VERSION_LINE.match(self._buffer, index) is not None

    def _ends_cleanly(self) -> bool:
        """Look past the blank lines behind a record; whether a record or the end follows.

        Stays in the member, and reads it to its end, so that a wrong checksum shows here.
        """
        while True:
            following = self._buffer.lstrip(b"\r\n")
            if len(following) >= len(_MAGIC):
                return following.startswith(_MAGIC)
            if len(self._buffer) > MAX_HEADER_BYTES:  # nothing but line ends; they are not looked at again
                self._buffer[:] = following
            data = self._stream.read_member(_READ_BYTES)
            if not data:
                return not following
            self._append(data)
            self._check_ratio()

    def _skip_blank(self) -> bool:
        """Drop line ends before a record; False at the end of the stream."""
        while True:
            self._drop(len(self._buffer) - len(self._buffer.lstrip(b"\r\n")))
            if self._buffer:
                return True
            if not self._more():
                return False

    def _skip_large(self, size: int) -> int:
        """Drop a record of `size` bytes, or up to the next record where that is not its size."""
        if isinstance(self._stream, PlainStream):
            # One look at where it should end, so a file of lies is still read only once.
            end = self._stream.position - len(self._buffer) + size
            around = self._stream.peek(end - 1, 1 + _VERSION_LINE_BYTES)
            following = around[1:].lstrip(b"\r\n")
            if around and _MAGIC.startswith(following[: len(_MAGIC)]):
                self._buffer.clear()
                self._stream.seek(end)
                return size
        return self._skip_junk(size)

    def _skip_junk(self, limit: int | None = None) -> int:
        """Drop at least a byte, up to the next line or member that begins a record; return how many.

        With a `limit`, no more than that.
        """
        dropped = 0
        while True:
            found = _NEXT_RECORD.search(self._buffer, 1)
            if limit is not None and dropped + (found.start() if found else len(self._buffer)) >= limit:
                self._drop(limit - dropped)
                return limit
            if found is not None:
                self._drop(found.start())
                return dropped + found.start()
            # A version line may be cut by the buffer's end.
            excess = max(0, len(self._buffer) - 2 * _VERSION_LINE_BYTES)
            self._drop(excess)
            dropped += excess
            before, members = len(self._buffer), len(self._members)
            if not self._more():
                self._drop(before)
                return dropped + before
            if len(self._members) > members and self._begins_record(before):
                self._drop(before)
                return dropped + before

    def _more(self) -> bool:
        data = self._stream.read(_READ_BYTES)
        self._append(data)
        self._check_ratio()
        return bool(data)

    def _check_ratio(self) -> None:
        position, consumed = self._begun
        inflated = self._stream.position - position
        if inflated <= self._max_record_bytes + _READ_BYTES:
            return
        compressed = self._stream.consumed_bytes - consumed + _READ_BYTES
        if inflated > self._max_ratio * compressed:
            raise _Bomb(
                f"inflates to more than {inflated} bytes, {self._max_ratio} times its compressed size; "
                "reading goes on at the next member"
            )

    def _append(self, data: bytes) -> None:
        member = (self._stream.member_start, self._stream.member_offset)
        if data and (not self._members or self._members[-1] != member):
            self._members.append(member)
        self._buffer += data

    def _drop(self, count: int) -> None:
        del self._buffer[:count]

    def _place(self) -> tuple[int, int]:
        """Position and file offset of the buffer's first byte."""
        start = self._stream.position - len(self._buffer)
        if isinstance(self._stream, PlainStream):
            return start, start
        while len(self._members) > 1 and self._members[1][0] <= start:
            self._members.pop(0)
        member_start, offset = self._members[0]
        return offset + (start - member_start << _INNER_SHIFT), offset


def _cut_frame(position: int, offset: int, record_type: str, length: int, present: int) -> Frame:
    detail = f"Content-Length is {length}, but {present} bytes follow"
    return Frame(position, offset, record_type, problem=("ingest/truncated-record", detail))


def _fields(header: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in header.decode("utf-8", "replace").splitlines()[1:]:
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


def _content_length(fields: dict[str, str]) -> int | None:
    value = fields.get("content-length", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 16 else None
