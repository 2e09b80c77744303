"""Decompressed bytes of a file, with the place of every damage.

gzip, zstd and lz4 files are sequences of members (frames); crawlers write one per record, so that
a reader can start again after a damaged one. The libraries' own readers hide the members, stop at
the first damage, or return a cut stream as if it were whole; here each member is decoded on its
own, what cannot be decoded raises `DamagedStream`, and `resync` finds the next sound member.
Output is bounded by the caller's `read(n)`, so a small file that inflates hugely costs no memory.
What the decoder had made of the last 16 KiB of input before damage is not trusted and not returned.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import zstandard
from isal import isal_zlib

from corpuskit.errors import InputError
from corpuskit.ingest.formats import MAGIC, Compression, compression_of
from corpuskit.ingest.remote import is_url, open_remote

_INPUT_BYTES = 16 << 10
# zstd's decoder returns all that its input gives; 2 KiB of run-length blocks give at most 64 MiB.
_ZSTD_INPUT_BYTES = 2 << 10
_LZ4_READ_BYTES = 1 << 20
_SEARCH_BYTES = 1 << 20
_MAX_CANDIDATES = 50_000


class DamagedStream(Exception):
    """Bytes that cannot be decompressed; `cut` where the file ends too early."""

    def __init__(self, compression: str, message: str, cut: bool) -> None:
        super().__init__(message)
        self.compression = compression
        self.cut = cut


class ByteStream(Protocol):
    """Bytes in order; `member_offset` and `member_start` say which member the last read was from.

    Attributes
    ----------
    member_offset : int
        Where in the file the current member begins.
    member_start : int
        Decompressed bytes before the current member.
    position : int
        Decompressed bytes handed out so far (for an uncompressed file: the offset in it).
    consumed_bytes : int
        Bytes of the file read so far.
    """

    member_offset: int
    member_start: int

    @property
    def position(self) -> int: ...

    @property
    def consumed_bytes(self) -> int: ...

    def read(self, size: int) -> bytes: ...

    def read_member(self, size: int) -> bytes: ...

    def resync(self, prefix: bytes) -> bool: ...


class PlainStream:
    """An uncompressed file from `start` on."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file = file
        self.member_offset = 0
        self.member_start = 0
        file.seek(start)

    @property
    def position(self) -> int:
        return self._file.tell()

    consumed_bytes = position

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self._file.read(size)

    read_member = read

    def seek(self, position: int) -> None:
        """Read on from there."""
        self._file.seek(position)

    def peek(self, position: int, size: int) -> bytes:
        """Up to `size` bytes from a place; reading goes on where it was."""
        before = self._file.tell()
        self._file.seek(position)
        data = self._file.read(size)
        self._file.seek(before)
        return data

    def resync(self, prefix: bytes) -> bool:
        """Nothing to find: an uncompressed file has no members."""
        return False


class _Member(Protocol):
    end: int

    def read(self, size: int) -> bytes: ...


class MemberStream:
    """A compressed file, member after member; a `read` never mixes two members."""

    def __init__(self, file: BinaryIO, compression: Compression) -> None:
        self._file = file
        self._compression: Compression = compression
        self._member: _Member | None = None
        self._next = 0
        self._read = 0
        self.member_offset = 0
        self.member_start = 0

    @property
    def position(self) -> int:
        return self._read

    @property
    def consumed_bytes(self) -> int:
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """1 to `size` bytes of the current or the next member; none at the end of the file.

        Raises
        ------
        DamagedStream
            If the member is damaged or cut. `resync` goes on after it.
        """
        while True:
            if self._member is None and not self._begin():
                return b""
            data = self._member.read(size) if self._member else b""
            if data:
                self._read += len(data)
                return data
            self._finish()

    def read_member(self, size: int) -> bytes:
        """Like `read`, but none at the end of the current member."""
        if self._member is None:
            return b""
        data = self._member.read(size)
        if not data:
            self._finish()
        self._read += len(data)
        return data

    def resync(self, prefix: bytes) -> bool:
        """Go to the next member after the current whose text begins with `prefix`, if any.

        Looks at no more than `_MAX_CANDIDATES` places that begin like a member (in compressed data a
        false one comes once in 16 MB), so that a file made of beginnings does not take for ever.
        """
        magic = MAGIC[self._compression]
        self._member = None
        position = self.member_offset + 1
        candidates = 0
        while candidates < _MAX_CANDIDATES:
            self._file.seek(position)
            window = self._file.read(_SEARCH_BYTES)
            found = window.find(magic)
            while found >= 0 and candidates < _MAX_CANDIDATES:
                candidates += 1
                if self._begins_with(position + found, prefix):
                    self._next = position + found
                    return True
                found = window.find(magic, found + 1)
            position += len(window)
            if len(window) < _SEARCH_BYTES:
                break
            position -= len(magic) - 1
        self._next = self._file.seek(0, io.SEEK_END)
        return False

    def _begins_with(self, offset: int, prefix: bytes) -> bool:
        try:
            return _open_member(self._compression, self._file, offset).read(len(prefix)).startswith(prefix)
        except DamagedStream:
            return False

    def _begin(self) -> bool:
        offset = self._next
        self._file.seek(offset)
        head = self._file.read(4)
        while head and not head.strip(b"\0"):  # tapes and some writers pad with zeros
            offset = self._file.tell()
            head = self._file.read(4)
        if not head:
            return False
        self.member_offset = offset + len(head) - len(head.lstrip(b"\0"))
        self.member_start = self._read
        self._member = _open_member(self._compression, self._file, self.member_offset)
        return True

    def _finish(self) -> None:
        if self._member is not None:
            self._next = self._member.end
            self._member = None


def _open_member(compression: Compression, file: BinaryIO, offset: int) -> _Member:
    if compression == "lz4":
        return _Lz4Frame(file, offset)
    if compression == "gzip":
        return _Inflater(file, offset, "gzip", lambda: isal_zlib.decompressobj(31), _INPUT_BYTES)
    return _Inflater(
        file, offset, "zstd", lambda: zstandard.ZstdDecompressor().decompressobj(), _ZSTD_INPUT_BYTES
    )


class _Inflater:
    """A gzip member or zstd frame."""

    def __init__(
        self, file: BinaryIO, offset: int, compression: str, decoder: Callable[[], Any], input_bytes: int
    ) -> None:
        self._file = file
        self._offset = offset  # of the next compressed byte to read
        self._compression = compression
        self._decoder = decoder()
        self._input_bytes = input_bytes
        self._tail = b""
        self._output = b""
        self.end = offset

    def read(self, size: int) -> bytes:
        while not self._output and not self._decoder.eof:
            data = self._tail
            if not data:
                self._file.seek(self._offset)
                data = self._file.read(self._input_bytes)
                self._offset += len(data)
            if not data:
                raise DamagedStream(self._compression, "the file ends inside a compressed member", cut=True)
            self._output = self._decode(data, size)
            if self._decoder.eof:
                self.end = self._offset - len(self._decoder.unused_data)
        result, self._output = self._output[:size], self._output[size:]
        return result

    def _decode(self, data: bytes, size: int) -> bytes:
        try:
            if self._compression == "zstd":
                return self._decoder.decompress(data)
            output = self._decoder.decompress(data, size)
        except (isal_zlib.error, zstandard.ZstdError) as error:  # type: ignore[misc]  # a wrong stub
            raise DamagedStream(self._compression, str(error), cut=False) from error
        self._tail = self._decoder.unconsumed_tail
        return output


class _Lz4Frame:
    """An lz4 frame; its extent is read from its block sizes before it is decoded."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        from fastwarc.stream_io import Lz4Reader

        self.end = _lz4_frame_end(file, offset)
        self._reader = Lz4Reader(_Part(file, offset, self.end))

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read(min(size, _LZ4_READ_BYTES))
        except OSError as error:
            raise DamagedStream("lz4", str(error), cut=False) from error


def _lz4_frame_end(file: BinaryIO, offset: int) -> int:
    """Where the frame ends, by the LZ4 frame format 1.6.x (magic, descriptor, blocks, end mark)."""
    file.seek(offset)
    head = file.read(6)
    if not head.startswith(MAGIC["lz4"]):
        raise DamagedStream("lz4", "not an lz4 frame", cut=False)
    flags = head[4] if len(head) == 6 else 0
    position = offset + 7 + 8 * bool(flags & 8) + 4 * bool(flags & 1)
    size_of_file = file.seek(0, io.SEEK_END)
    while True:
        file.seek(position)
        size = int.from_bytes(file.read(4), "little") & 0x7FFFFFFF
        position += 4
        if size:
            position += size + 4 * bool(flags & 16)
        else:
            position += 4 * bool(flags & 4)
        if position > size_of_file:
            raise DamagedStream("lz4", "the file ends inside a frame, or a block size is damaged", cut=True)
        if not size:
            return position


class _Part(io.RawIOBase):
    """A byte range of a file as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file = file
        self._start = start
        self._position = start
        self._stop = stop

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._position, io.SEEK_END: self._stop}[whence]
        self._position = base + offset
        return self._position - self._start

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._position)
        data = self._file.read(min(len(buffer), self._stop - self._position))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """A user's file, open for reading; `path` may be a URL (`corpuskit.ingest.remote`).

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    if is_url(path):
        with open_remote(path) as remote:
            yield remote
        return
    try:
        file = open(path, "rb", buffering=1 << 18)  # noqa: SIM115  (closed below)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=path, hint="check the path and its permissions"
        ) from error
    with file:
        yield file


def open_stream(file: BinaryIO, start: int = 0) -> ByteStream:
    """The decompressed bytes of an open file, from `start` on where it is not compressed."""
    compression = compression_of(file)
    return PlainStream(file, start) if compression is None else MemberStream(file, compression)


def read_all(stream: ByteStream, max_bytes: int) -> bytes | None:
    """Everything a stream holds, or None where that is more than `max_bytes`."""
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(1 << 20):
        size += len(piece)
        if size > max_bytes:
            return None
        pieces.append(piece)
    return b"".join(pieces)
