"""Lines of plain text as Arrow arrays: as many rows as there are lines, blank ones among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from corpuskit.errors import InputError
from corpuskit.ingest.lines import BYTE_ORDER_MARK
from corpuskit.ingest.streams import DamagedStream
from corpuskit.segment.scoring import not_utf8

_READ_BYTES = 1 << 20
_MAX_LINE_BYTES = (1 << 31) - 1


class Lines(NamedTuple):
    """Some consecutive lines.

    Attributes
    ----------
    texts : pyarrow.LargeStringArray
        Without their ends.
    ends : numpy.ndarray[uint8]
        What ended each: 0 the end of the file, 1 a line feed, 2 a carriage return and a line feed.
    """

    texts: pa.LargeStringArray
    ends: np.ndarray


def read_line_batches(read: Callable[[int], bytes], path: str, batch_bytes: int) -> Iterator[Lines]:
    """The lines of a text, a batch of about `batch_bytes` at a time (more where a line is longer).

    Parameters
    ----------
    read : callable
        Returns up to so many bytes of the text, none at its end.
    path : str
        What errors call it.
    batch_bytes : int

    Raises
    ------
    InputError
        If a line is not UTF-8 or has 2**31 bytes, or the file's compression is damaged; with the line.
    """
    waiting: list[bytes] = []
    size = number = 0
    breaks = False  # whether a line ends in what waits
    while block := _next_block(read, path, number):
        if not number and not size:
            while len(block) < len(BYTE_ORDER_MARK) and (more := _next_block(read, path, number)):
                block += more  # a pipe may give the mark in pieces
            block = block.removeprefix(BYTE_ORDER_MARK)
        waiting.append(block)
        size += len(block)
        breaks = breaks or b"\n" in block
        if not breaks:
            if size > _MAX_LINE_BYTES:
                raise InputError("a line has 2**31 bytes or more", where=f"{path}: line {number + 1}")
        elif size >= batch_bytes:
            data = b"".join(waiting)
            stop = data.rfind(b"\n") + 1
            lines = split_lines(data[:stop], path, number)
            number += len(lines.texts)
            yield lines
            waiting, size, breaks = [data[stop:]], len(data) - stop, False
    if size:
        yield split_lines(b"".join(waiting), path, number)


def _next_block(read: Callable[[int], bytes], path: str, number: int) -> bytes:
    try:
        return read(_READ_BYTES)
    except DamagedStream as damage:
        raise InputError(
            f"the {damage.compression} file is damaged: {damage}",
            where=f"{path}: somewhere after line {number}",
            hint="fetch it again",
        ) from damage


def split_lines(data: bytes, path: str, number: int) -> Lines:
    """The lines of some bytes; `number` lines of the text came before."""
    view = np.frombuffer(data, np.uint8)
    feeds = np.flatnonzero(view == 10)
    last = feeds.size == 0 or feeds[-1] != view.size - 1
    stops = np.append(feeds + 1, view.size) if last else feeds + 1
    starts = np.concatenate([np.zeros(1, np.int64), stops[:-1]])
    ends = np.ones(stops.size, np.uint8)
    returns = feeds[(feeds > 0) & (feeds > starts[: feeds.size]) & (view[feeds - 1] == 13)]
    ends[np.searchsorted(feeds, returns)] = 2
    if last:
        ends[-1] = 0
    keep = np.ones(view.size, bool)
    keep[feeds] = False
    keep[returns - 1] = False
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(stops - starts - ends)])
    texts = pa.LargeStringArray.from_buffers(
        stops.size, pa.py_buffer(offsets), pa.py_buffer(view[keep] if feeds.size else view)
    )
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for row, line in enumerate(data.split(b"\n")):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise not_utf8(line, error, path, number + row + 1) from error
        raise
    return Lines(texts, ends)
