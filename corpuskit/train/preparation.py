"""Files of prompts, dialogues and texts, made into token datasets with a ``loss_mask``.

The result is what the objectives ``sft``, ``pairs`` and ``causal`` read: a document's tokens in
order, and for each token whether it is learned. Pieces are encoded apart, a thousand records in one
call of the tokenizer, and joined by arithmetic on their offsets. A record that cannot be used is
counted by reason; a line that is no JSON stops the work, because a file in a wrong format would
else become an empty dataset.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from corpuskit.documents import document_id
from corpuskit.errors import ConfigError, InputError
from corpuskit.ingest.records import holds_records, read_records
from corpuskit.shards import Writer
from corpuskit.train import formats
from corpuskit.train.formats import Dialogue, Piece, Reader, Unusable
from corpuskit.vocab.tokenizer import Tokenizer

Format = Literal["pclue", "pairs", "sharegpt", "messages", "chatyuan", "text", "csv", "data_text"]

_RECORDS_A_BATCH = 1000
_MAX_CELL = 1 << 26


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote.

    Attributes
    ----------
    directory : Path
    records, documents, tokens, learned_tokens : int
        Records read, documents written, their tokens (end-of-text included), those in the loss.
    unusable : Mapping[str, int]
        Records that became no document, by reason.
    """

    directory: Path
    records: int
    documents: int
    tokens: int
    learned_tokens: int
    unusable: Mapping[str, int] = field(default_factory=dict)


def prepare(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    directory: str | os.PathLike,
    tokenizer: Tokenizer,
    format: Format,
    *,
    dialogue: Dialogue | None = None,
    input_key: str = "input",
    target_key: str = "target",
    text_key: str = "text",
    limit: int | None = None,
) -> Prepared:
    """Write a token dataset with the column ``loss_mask`` from files of a task format.

    Parameters
    ----------
    paths : path-like or sequence of them
        JSON Lines, or one JSON array; ``csv``: one column with or without a header; ``text``: a document a
        line, or JSON Lines; ``data_text``: a file or its directory, with ``data_target`` beside it.
    directory : path-like
        Of the dataset; must not hold one.
    tokenizer : Tokenizer
    format : str
        See `corpuskit.train.formats`.
    dialogue : Dialogue, optional
        For conversations. Default: ChatYuan's.
    input_key, target_key, text_key : str
        For ``pairs`` and ``text``.
    limit : int, optional
        Read at most so many records.

    Raises
    ------
    ConfigError
        If the format is unknown.
    InputError
        If a file is missing or not of the format, or no record can be used.
    """
    if format not in get_args(Format):
        raise ConfigError(
            f"no format is called {format!r}", where="format", hint=f"one of {', '.join(get_args(Format))}"
        )
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    reader = _reader(format, dialogue or Dialogue(), input_key, target_key, text_key)
    records = islice(_records(format, [Path(file) for file in files], text_key), limit)
    counts: Counter[str] = Counter()
    unusable: Counter[str] = Counter()
    provenance = {"format": format, "files": [Path(file).name for file in files]}
    with (
        _removed_on_failure(Path(directory)),
        Writer(
            directory, tokenizer=tokenizer, columns={"loss_mask": "uint8"}, provenance=provenance
        ) as writer,
    ):
        while chunk := list(islice(records, _RECORDS_A_BATCH)):
            ids: list[str] = []
            documents: list[list[Piece]] = []
            for name, record in chunk:
                counts["records"] += 1
                try:
                    made = reader(record)
                except Unusable as reason:
                    unusable[str(reason)] += 1
                    continue
                documents += made
                ids += [name if len(made) == 1 else document_id(name, place) for place in range(len(made))]
            if documents:
                batch = encode_pieces(ids, documents, tokenizer)
                counts["learned"] += int(np.sum(batch.column("loss_mask").flatten().to_numpy())) + len(ids)
                counts["documents"] += len(ids)
                writer.write_tokens(batch)
        if not counts["documents"]:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in unusable.most_common(3))
            raise InputError(
                f"none of {counts['records']} records can be used" + (f" ({reasons})" if reasons else ""),
                where=", ".join(str(file) for file in files),
                hint=f"is the format {format!r} right?",
            )
        tokens = writer.close().num_tokens
    return Prepared(
        Path(directory), counts["records"], counts["documents"], tokens, counts["learned"], dict(unusable)
    )


@contextmanager
def _removed_on_failure(directory: Path) -> Iterator[None]:
    """Leave nothing of a dataset that did not come to its end, which would be in the way of the next try."""
    before = set(directory.iterdir()) if directory.is_dir() else None
    try:
        yield
    except BaseException:
        for path in directory.iterdir() if directory.is_dir() else ():
            if path not in (before or ()):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        if before is None and directory.is_dir():
            directory.rmdir()
        raise


def encode_pieces(ids: list[str], documents: list[list[Piece]], tokenizer: Tokenizer) -> pa.RecordBatch:
    """A batch for `Writer.write_tokens`: `id`, `tokens` and ``loss_mask``.

    Where what comes before the first learned piece is empty, the end-of-text token stands in for it, so
    that there is something to predict the first token from.
    """
    special = dict(getattr(tokenizer, "special_tokens", {}))
    prefixed = [_with_beginning(pieces) for pieces in documents]
    flat = [piece for pieces in prefixed for piece in pieces]
    known = [_special_id(piece, special, tokenizer) for piece in flat]
    texts = ["" if token is not None else piece.text for piece, token in zip(flat, known)]
    encoded = tokenizer.encode_batch(pa.array(texts, pa.large_string()))
    offsets = encoded.offsets.to_numpy().astype(np.int64)
    tokens = encoded.values.to_numpy()[offsets[0] : offsets[-1]].astype(np.int64)
    offsets = offsets - offsets[0]
    marked = np.flatnonzero([token is not None for token in known])
    inserted = np.array([token for token in known if token is not None], np.int64)
    tokens = np.insert(tokens, offsets[marked], inserted)
    lengths = np.diff(offsets)
    lengths[marked] = 1
    learned = np.repeat(np.array([piece.learned for piece in flat], np.uint8), lengths)
    ends = np.cumsum([0, *lengths.tolist()])
    borders = ends[np.cumsum([0, *(len(pieces) for pieces in prefixed)])]
    lists = [
        pa.LargeListArray.from_arrays(pa.array(borders), pa.array(values))
        for values in (tokens.astype(np.uint32), learned)
    ]
    return pa.record_batch([pa.array(ids, pa.string()), *lists], names=["id", "tokens", "loss_mask"])


def _with_beginning(pieces: list[Piece]) -> list[Piece]:
    before = list(takewhile(lambda piece: not piece.learned, pieces))
    if not before or any(piece.text for piece in before):
        return pieces
    return [Piece(formats.END_OF_TEXT, False, special=True), *pieces[len(before) :]]


def _special_id(piece: Piece, special: Mapping[str, int], tokenizer: Tokenizer) -> int | None:
    if not piece.special:
        return None
    if piece.text == formats.END_OF_TEXT:
        return int(tokenizer.end_of_text_id)
    return special.get(piece.text)


def _reader(name: Format, dialogue: Dialogue, input_key: str, target_key: str, text_key: str) -> Reader:
    if name in ("pclue", "data_text"):
        return formats.pairs()
    if name == "pairs":
        return formats.pairs(input_key, target_key)
    if name == "sharegpt":
        return formats.conversations(dialogue, "conversations", "from", "value")
    if name == "messages":
        return formats.conversations(dialogue, "messages", "role", "content")
    if name == "chatyuan":
        return formats.written_dialogue(dialogue, text_key)
    return formats.delimited_text("text") if name == "csv" else formats.plain_text(text_key)


def _records(name: Format, paths: list[Path], text_key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in paths:
        if name == "csv":
            rows: Iterator[Mapping[str, Any]] = cells(path)
        elif name == "data_text":
            rows = _parallel_lines(path)
        elif name in ("text", "chatyuan") and not holds_records(path):
            rows = ({text_key: line} for line in _lines(path))
        else:
            rows = (record.value for record in read_records(path))
        for number, record in enumerate(rows):
            yield document_id(path.name, number), record


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for line in file:
                yield line.rstrip("\r\n")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8: {error.reason} at byte {error.start} of a block",
            where=str(path),
            hint="convert it first, for example with iconv",
        ) from error


def cells(path: Path) -> Iterator[Mapping[str, str]]:
    """The cells of a CSV's one column; quoted ones may hold commas, quotation marks and newlines.

    A header is recognised by being ``text``; gpt-2-simple drops the first line whatever it says.
    """
    before = csv.field_size_limit(_MAX_CELL)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            for row in rows:
                if not row or (rows.line_num == 1 and row == ["text"]):
                    continue
                if len(row) > 1:
                    raise InputError(
                        f"has {len(row)} columns, not one",
                        where=f"{path}, line {rows.line_num}",
                        hint='put texts with commas between quotation marks ("), doubling those within',
                    )
                yield {"text": row[0]}
    except csv.Error as error:
        raise InputError(f"is no CSV: {error}", where=f"{path}, line {rows.line_num}") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8: {error}", where=str(path)) from error
    finally:
        csv.field_size_limit(before)


def _parallel_lines(path: Path) -> Iterator[Mapping[str, str]]:
    source = path / "data_text" if path.is_dir() else path
    target = source.with_name(source.name.replace("data_text", "data_target"))
    if target == source:
        raise InputError(
            "its name does not hold data_text",
            where=str(source),
            hint="name the files data_text and data_target, with the same ending",
        )
    targets = _lines(target)
    number = 0
    for number, line in enumerate(_lines(source), 1):
        wanted = next(targets, None)
        if wanted is None:
            raise InputError(f"has only {number - 1} lines", where=str(target), hint=f"{source} has more")
        yield {"input": line, "target": wanted}
    if next(targets, None) is not None:
        raise InputError(f"has more than the {number} lines of {source}", where=str(target))
