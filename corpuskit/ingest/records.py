"""JSON records that must be read whole: evaluation sets, prompts and answers, task files.

A corpus sets a line that is no JSON aside and goes on; of these files every record counts, so the first
that cannot be read is an error that names its line. A file holds one object a line, or one array of objects,
as many test sets are published; it may be compressed or lie behind a URL. Half an emoji, cut by a scraper,
becomes U+FFFD: it is no Unicode text, and no tokenizer takes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, BinaryIO, NamedTuple

from corpuskit.errors import InputError
from corpuskit.ingest.formats import base_name
from corpuskit.ingest.lines import BYTE_ORDER_MARK, read_lines
from corpuskit.ingest.streams import DamagedStream, open_file, open_stream

_MAX_RECORD_BYTES = 64 << 20
_READ_BYTES = 1 << 20
_COMPRESSED = (".gz", ".zst", ".lz4")


class Record(NamedTuple):
    """An object of a file.

    Attributes
    ----------
    where : str
        ``path:line``, or ``path, item n`` of an array: what an error about it names.
    value : dict
    """

    where: str
    value: dict[str, Any]


def holds_records(path: str | os.PathLike) -> bool:
    """Whether a file's name says JSON or JSON Lines, compressed or not."""
    name = PurePath(base_name(os.fspath(path)))
    return (name.with_suffix("") if name.suffix in _COMPRESSED else name).suffix in (".jsonl", ".json")


def read_records(path: str | os.PathLike) -> Iterator[Record]:
    """The records of a file, in order; empty lines do not count.

    Raises
    ------
    InputError
        If the file cannot be opened, or a record is not UTF-8, no JSON, no object or larger than 64 MiB.
    """
    name = os.fspath(path)
    with open_file(name) as file:
        array = _array(name, file)
    if array is not None:
        for number, value in enumerate(array, 1):
            yield Record(f"{name}, item {number}", _object(value, f"{name}, item {number}"))
        return
    with open_file(name) as file:
        for number, line in enumerate(read_lines(open_stream(file), 0, None, _MAX_RECORD_BYTES), 1):
            where = f"{name}:{number}"
            if line.damage is not None:
                raise InputError(
                    f"the file is damaged: {line.damage}", where=where, hint="copy or compress it again"
                )
            if line.too_long:
                raise InputError("the line is larger than 64 MiB", where=where)
            if line.data.strip():
                yield Record(where, _object(_parsed(line.data, where), where))


def _parsed(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8: {error.reason} at byte {error.start} of the line",
            where=where,
            hint="convert the file first, for example with iconv -f GB18030 -t UTF-8",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where=where, hint="give one JSON object a line") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=where, hint="give one JSON object a line")
    found: dict[str, Any] = without_surrogates(value)
    return found


def _array(path: str, file: BinaryIO) -> list[Any] | None:
    """The items of a file that is one JSON array; None where it does not begin like one."""
    try:
        stream = open_stream(file)
        data = stream.read(_READ_BYTES)
        if not data.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"["):
            return None
        while block := stream.read(_READ_BYTES):
            data += block
        items: list[Any] = json.loads(data.decode("utf-8-sig"))
        return items
    except DamagedStream:
        return None  # read as lines, it has a line to name
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the file begins like a JSON array and is none: {error}",
            where=path,
            hint="give one JSON object a line, or one array of them",
        ) from error


def without_surrogates(value: Any) -> Any:
    """A JSON value in which half an emoji is U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value
