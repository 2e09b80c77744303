"""Evaluation sets as items: the strings of each record, whatever its keys are called.

Every test set has its own keys (`input` and `answer_choices`, `sentence1` and `sentence2`, a list of
turns), so by default all strings of a record count, at any depth. A record that cannot be read is an
error, not a quarantine: a training corpus must not pass for clean because its test set was damaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from corpuskit.errors import ConfigError, InputError
from corpuskit.ingest.chunks import ReadOptions, TextUnit
from corpuskit.ingest.columns import column_names
from corpuskit.ingest.csv import split_record
from corpuskit.ingest.formats import base_name, require_format
from corpuskit.ingest.lines import read_lines
from corpuskit.ingest.reader import read_slice
from corpuskit.ingest.records import read_records
from corpuskit.ingest.streams import open_file, open_stream
from corpuskit.ingest.tables import DAMAGE, open_table
from corpuskit.jobs import Slice

_ID_KEYS = ("id", "qid", "question_id")
_MAX_RECORD_BYTES = 64 << 20


@dataclass(frozen=True)
class EvaluationItem:
    """One item of an evaluation set.

    Attributes
    ----------
    set : str
        The file's path below its root.
    id : str
        The record's own `id` (or `qid`, `question_id`) where it has one, else its number from 0.
    passages : tuple of str
        Its strings.
    """

    set: str
    id: str
    passages: tuple[str, ...]


def read_evaluation(
    files: Iterable[Slice], fields: Sequence[str] = (), text_unit: TextUnit = "line", format: str = "auto"
) -> Iterator[EvaluationItem]:
    """The items of JSON Lines (or one JSON array), text, CSV, Parquet or Arrow files, in order.

    Parameters
    ----------
    files : iterable of Slice
        Whole files.
    fields : sequence of str
        The keys or columns whose strings count (with everything below them); none means all.
    text_unit : {"file", "line", "paragraph"}
        What an item of a text file is.

    Raises
    ------
    InputError
        If a record cannot be read.
    ConfigError
        If no record of a file has any of `fields`.
    """
    for piece in files:
        name = require_format(piece.path, format)
        if name == "text":
            yield from _text_items(piece, text_unit)
            continue
        readers = {"jsonl": _json_records, "parquet": _parquet_records, "arrow": _arrow_records}
        if name not in (*readers, "csv"):
            raise InputError(
                f"{name} is not a format for evaluation sets",
                where=piece.path,
                hint="use JSON Lines, text, CSV, Parquet or Arrow",
            )
        records = _csv_records(piece) if name == "csv" else readers[name](piece)
        known, matched = False, False
        for number, record in enumerate(records):
            known = True
            chosen = record if not fields else {key: record[key] for key in fields if key in record}
            matched = matched or bool(chosen)
            own = [key for key in _ID_KEYS if isinstance(record.get(key), (str, int))]
            passages = [
                text for key, value in chosen.items() if fields or key not in own for text in _strings(value)
            ]
            item = str(record[own[0]]) if own else str(number)
            yield EvaluationItem(piece.relative_path, item, tuple(dict.fromkeys(passages)))
        if known and not matched:
            raise ConfigError(
                f"no record of {piece.path} has any of: {', '.join(fields)}",
                where="fields",
                hint="name keys of the records, or none to use every string",
            )


def _strings(value: Any) -> Iterator[str]:
    """Every string inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _text_items(piece: Slice, text_unit: TextUnit) -> Iterator[EvaluationItem]:
    number = 0
    for chunk in read_slice(piece, ReadOptions(format="text", text_unit=text_unit)):
        for bad in chunk.quarantined:
            raise _unreadable(piece, f"{bad.reason} at byte {bad.offset}: {bad.detail}")
        for text in chunk.batch.column("text").to_pylist() if chunk.batch is not None else ():
            yield EvaluationItem(piece.relative_path, str(number), (text,))
            number += 1


def _json_records(piece: Slice) -> Iterator[dict[str, Any]]:
    """The objects of a file with one a line, or of one array."""
    try:
        for record in read_records(piece.path):
            yield record.value
    except InputError as error:
        raise InputError(
            f"an evaluation record cannot be read: {error.what}",
            where=error.where,
            hint="repair or remove the record: what is not read cannot be found in the training text",
        ) from error


def _csv_records(piece: Slice) -> Iterator[dict[str, Any]]:
    delimiter = "\t" if ".tsv" in base_name(piece.path) else ","
    with open_file(piece.path) as file:
        first = next(iter(read_lines(open_stream(file), 0, None, _MAX_RECORD_BYTES)), None)
    if first is None:
        return
    line = first.data.decode("utf-8", "replace")
    header = [name.strip() for name in split_record(line, lambda: "\n", delimiter)]
    text_column = header[0]
    names = {**column_names(header, text_column), text_column: "text"}
    for chunk in read_slice(piece, ReadOptions(format="csv", text_column=text_column)):
        for bad in chunk.quarantined:
            raise _unreadable(piece, f"{bad.reason} at byte {bad.offset}: {bad.detail}")
        for row in chunk.batch.to_pylist() if chunk.batch is not None else ():
            yield {name: row[column] for name, column in names.items()}


def _parquet_records(piece: Slice) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    try:
        with open_table(piece.path) as (source, _):
            for batch in pq.ParquetFile(source).iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    except DAMAGE as error:
        raise _unreadable(piece, str(error)) from error


def _arrow_records(piece: Slice) -> Iterator[dict[str, Any]]:
    from pyarrow import ipc

    try:
        with open_table(piece.path) as (source, _):
            try:
                opened = ipc.open_file(source)
                batches = (opened.get_batch(index) for index in range(opened.num_record_batches))
            except DAMAGE:
                source.seek(0)
                batches = iter(ipc.open_stream(source))
            for batch in batches:
                yield from batch.to_pylist()
    except DAMAGE as error:
        raise _unreadable(piece, str(error)) from error


def _unreadable(piece: Slice, what: str) -> InputError:
    return InputError(
        f"an evaluation record cannot be read: {what}",
        where=piece.path,
        hint="repair or remove the record: what is not read cannot be found in the training text",
    )
