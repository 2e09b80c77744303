"""Files segmented as a stream: lines or documents in, the same in the same order out.

A plain text file is lines, of which as many come out as went in; every other format is documents, whose
further columns go through. What is held in memory is a batch of about 8 MiB a thread and what is made of
it, or the longest line.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, NamedTuple, Protocol, get_args

import numpy as np
import pyarrow as pa

from corpuskit.documents import Quarantined
from corpuskit.errors import ConfigError, InputError
from corpuskit.ingest.chunks import ReadOptions
from corpuskit.ingest.formats import FORMATS, compression_of, format_of
from corpuskit.ingest.inputs import InputFile, expand_inputs
from corpuskit.ingest.reader import read_slices
from corpuskit.ingest.remote import is_url
from corpuskit.ingest.streams import open_file, open_stream
from corpuskit.segment.segmenter import Segmenter
from corpuskit.segment.textlines import read_line_batches
from corpuskit.segment.wordfiles import Batch, OutputFormat, WordFile, open_words

Mode = Literal["default", "search", "full"]

STANDARD_INPUT = "-"
_BATCH_BYTES = 8 << 20


class WordCutter(Protocol):
    """A segmenter of columns: `Segmenter`, or a trained one."""

    def cut_batch(self, texts: Any, /, *, unit: Literal["bytes", "characters"], threads: int) -> Any: ...

    def words_batch(self, texts: Any, /, *, threads: int) -> Any: ...


@dataclass(frozen=True)
class SegmentOptions:
    """What is read, how it is cut, and what is written.

    Attributes
    ----------
    format : str
        ``auto`` (by extension; files whose names tell no format are text), or one of
        `corpuskit.ingest.formats.FORMATS`.
    text_column : str
        Column or key of the text.
    mode : {"default", "search", "full"}
        As of `Segmenter.cut`, `Segmenter.lcut_for_search`, and ``cut_all``; the latter two only with a
        dictionary.
    output_format : {"text", "jsonl", "arrow"}
    offsets : bool
        Write where words end instead of the words: column `word_ends` beside `text`.
    unit : {"characters", "bytes"}
        What `word_ends` counts, from the start of the text.
    separator : str
        Between the words of a line of text. If it is white space, words of white space are left out.
    threads : int

    Raises
    ------
    ConfigError
        If a value is impossible, or two do not go together.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    format: str = "auto"
    text_column: str = "text"
    mode: Mode = "default"
    output_format: OutputFormat = "text"
    offsets: bool = False
    unit: Literal["characters", "bytes"] = "characters"
    separator: str = " "
    threads: int = 1

    def __post_init__(self) -> None:
        for name, allowed in (
            ("format", ("auto", *FORMATS)),
            ("mode", get_args(Mode)),
            ("output_format", get_args(OutputFormat)),
            ("unit", ("characters", "bytes")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{getattr(self, name)!r} is not possible",
                    where=name,
                    hint=f"one of: {', '.join(allowed)}",
                )
        if self.threads < 1:
            raise ConfigError(f"must be at least 1, not {self.threads}", where="threads")
        if self.offsets and self.mode != "default":
            raise ConfigError(
                f"the words of {self.mode} mode overlap, so their ends do not give them back",
                where="offsets",
                hint="write the words, or use the default mode",
            )
        if self.offsets and self.output_format == "text":
            raise ConfigError("text holds words, not offsets", where="offsets", hint="write jsonl or arrow")
        if not self.separator or "\n" in self.separator:
            raise ConfigError(
                "the separator must be at least one character, and no line feed", where="separator"
            )
        if any("\ud800" <= character <= "\udfff" for character in self.separator):
            raise ConfigError("the separator is not UTF-8", where="separator")


class Source(NamedTuple):
    """One input: a file that is read as lines or as documents; `file` is None for standard input."""

    name: str
    format: str
    file: InputFile | None


@dataclass(frozen=True)
class SegmentReport:
    """What went through.

    Attributes
    ----------
    rows, words, text_bytes : int
        Lines and documents, words, and bytes of text.
    quarantined : int
        Records that could not become documents.
    """

    rows: int
    words: int
    text_bytes: int
    quarantined: int


def find_sources(inputs: Sequence[str | os.PathLike], format: str = "auto") -> list[Source]:
    """The inputs in the order they were named; files of a directory or pattern sorted by format and name.

    Raises
    ------
    InputError
        If one does not exist, or is named twice with ``-``.
    """
    named = [os.fspath(path) for path in inputs]
    if named.count(STANDARD_INPUT) > 1:
        raise InputError("standard input can be read only once", where=STANDARD_INPUT)
    formats = {path: _format_of(path, format) for path in named if path != STANDARD_INPUT}
    documents = [path for path in named if path != STANDARD_INPUT and formats[path] != "text"]
    root = expand_inputs(documents, format=format).root if documents else None
    sources: dict[str, Source] = {}
    for path in named:
        if path == STANDARD_INPUT:
            sources[path] = Source("standard input", "text" if format == "auto" else format, None)
            continue
        if formats[path] == "text" and Path(path).is_file():
            whole = os.path.abspath(path)  # noqa: PTH100  (links are not followed)
            file = InputFile(whole, Path(path).name, "text", Path(path).stat().st_size)
            if whole in sources:
                raise InputError("the file is named twice", where=path, hint="name it once")
            sources[whole] = Source(whole, "text", file)
            continue
        found = expand_inputs([path], root, format)
        found.warn_ignored()
        for file in found:
            sources.setdefault(file.path, Source(file.path, file.format, file))
    return list(sources.values())


def _format_of(path: str, format: str) -> str:
    """``text`` for a file to be read as lines whatever its name, else ``auto`` or a format."""
    if format != "auto" or is_url(path) or not Path(path).is_file():
        return format
    return "text" if format_of(path) in (None, "text") else format


def segment_files(
    inputs: Sequence[str | os.PathLike],
    output: str | os.PathLike | None = None,
    cutter: WordCutter | None = None,
    options: SegmentOptions | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
    on_quarantine: Callable[[Quarantined], None] | None = None,
) -> SegmentReport:
    """Segment files, keeping the order of what is in them.

    Parameters
    ----------
    inputs : sequence of path-like
        Files, directories, patterns, or ``-`` for standard input.
    output : path-like, optional
        Appears whole or not at all; standard output by default. Text and JSON Lines are compressed if the
        name ends in ``.gz`` or ``.zst``.
    cutter : WordCutter, optional
        By default a `Segmenter`.
    options : SegmentOptions, optional
    on_progress : callable, optional
        Receives bytes of input read since its last call.
    on_quarantine : callable, optional
        Receives each record that could not become a document.

    Returns
    -------
    SegmentReport

    Raises
    ------
    InputError
        If an input cannot be read; if a line of plain text is not UTF-8, with file and line; if the output
        is one of the inputs; if documents of several shapes are to go into one Arrow file.
    """
    options = SegmentOptions() if options is None else options
    cutter = Segmenter() if cutter is None else cutter
    sources = find_sources(inputs, options.format)
    if output is not None and any(_same_file(output, source) for source in sources):
        raise InputError(
            "the output is one of the inputs", where=os.fspath(output), hint="choose another output file"
        )
    cut = _cut_function(cutter, options)
    quarantined = 0

    def count_quarantined(item: Quarantined) -> None:
        nonlocal quarantined
        quarantined += 1
        if on_quarantine is not None:
            on_quarantine(item)

    rows = words = size = 0
    with open_words(output, options.output_format, options.separator) as writer:
        for batch, consumed in _batches(sources, options, count_quarantined):
            column = batch.texts
            count = _write(writer, batch, cut(column), options)
            rows += len(column)
            words += count
            size += _text_bytes(column)
            if on_progress is not None:
                on_progress(consumed)
        if quarantined and not rows:  # before the output appears
            raise InputError(
                f"none of {quarantined} records could be read",
                where=sources[0].name,
                hint=f"is {options.text_column!r} the column of the text? name it with --text-column",
            )
    return SegmentReport(rows, words, size, quarantined)


def _same_file(output: str | os.PathLike, source: Source) -> bool:
    return (
        source.file is not None
        and not is_url(source.file.path)
        and Path(output).is_file()
        and Path(output).samefile(source.file.path)
    )


def _cut_function(cutter: WordCutter, options: SegmentOptions) -> Callable[[pa.Array], pa.LargeListArray]:
    """From texts to words, or to word ends."""
    if options.mode != "default":
        if not isinstance(cutter, Segmenter):
            raise ConfigError(
                f"{options.mode} mode needs a dictionary, which a trained model has not",
                where="mode",
                hint="leave out the model, or use the default mode",
            )
        segmenter = cutter
        one = segmenter.lcut_for_search if options.mode == "search" else _full_mode(segmenter)
        kind = pa.large_list(pa.large_string())
        return lambda texts: pa.array([None if t is None else one(t) for t in texts.to_pylist()], kind)
    if options.offsets:
        return lambda texts: cutter.cut_batch(texts, unit=options.unit, threads=options.threads)
    return lambda texts: cutter.words_batch(texts, threads=options.threads)


def _full_mode(segmenter: Segmenter) -> Callable[[str], list[str]]:
    return lambda text: segmenter.cut(text, cut_all=True)


def _write(writer: WordFile, batch: Batch, cut: pa.LargeListArray, options: SegmentOptions) -> int:
    """Write a batch; return the number of words."""
    columns = batch.columns
    if options.offsets:
        columns = [*columns, ("text", batch.texts)]
        ends = cut.cast(pa.list_(pa.int32()))
        writer.write_ends(columns, ends, options.unit)
    else:
        # In the default mode the words joined are the text.
        columns = columns if options.mode == "default" else [*columns, ("text", batch.texts)]
        writer.write_words(columns, cut, batch.ends)
    return len(cut.values)


def _text_bytes(texts: pa.LargeStringArray) -> int:
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return int(offsets[-1] - offsets[0]) if len(texts) else 0


def _batches(
    sources: Sequence[Source], options: SegmentOptions, on_quarantine: Callable[[Quarantined], None]
) -> Iterator[tuple[Batch, int]]:
    """Batches of lines or documents, each with the input bytes read since the one before."""
    for number, source in enumerate(sources, 1):
        if source.format == "text":
            for batch, consumed in _line_batches(source, options):
                if number < len(sources):  # the next file's first line is another line
                    batch.ends[batch.ends == 0] = 1
                yield batch, consumed
        else:
            yield from _document_batches(source, options, on_quarantine)


def _line_batches(source: Source, options: SegmentOptions) -> Iterator[tuple[Batch, int]]:
    size = _BATCH_BYTES * options.threads
    with ExitStack() as stack:
        if source.file is None:
            stream: Any = _pipe()
            position: Callable[[], int] | None = None
        else:
            stream = open_stream(stack.enter_context(open_file(source.file.path)))
            position = lambda: stream.consumed_bytes  # noqa: E731
        before = 0
        for lines in read_line_batches(stream.read, source.name, size):
            after = before + len(lines.texts) if position is None else position()
            yield Batch([], lines.texts, lines.ends), after - before
            before = after


def _pipe() -> BinaryIO:
    stream = sys.stdin.buffer
    head = stream.peek(4)[:4] if hasattr(stream, "peek") else b""
    if head and compression_of(_Head(head)) is not None:  # type: ignore[arg-type]
        raise InputError(
            "standard input is compressed",
            where="-",
            hint="decompress it first: zcat FILE | corpuskit segment -",
        )
    return stream


class _Head:
    """Enough of a file to ask how it is compressed."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        return self._data[:size]

    def seek(self, _: int) -> None:
        pass


def _document_batches(
    source: Source, options: SegmentOptions, on_quarantine: Callable[[Quarantined], None]
) -> Iterator[tuple[Batch, int]]:
    reading = ReadOptions(
        format=source.format, text_column=options.text_column, batch_rows=100_000,
        batch_bytes=_BATCH_BYTES * options.threads,
    )  # fmt: skip
    with ExitStack() as stack:
        file = source.file if source.file is not None else stack.enter_context(_Spooled(source.format))
        before = 0
        for item in read_slices([file.as_slice()], reading):
            for record in item.quarantined:
                on_quarantine(record)
            if item.batch is not None:
                names = [name for name in item.batch.schema.names if name != "text"]
                columns = [(name, item.batch.column(name)) for name in names]
                ends = np.ones(item.batch.num_rows, np.uint8)
                yield Batch(columns, item.batch.column("text"), ends), item.consumed_bytes - before
                before = item.consumed_bytes


class _Spooled:
    """Standard input in a temporary file: readers of documents look at a file's beginning and end."""

    def __init__(self, format: str) -> None:
        self._format = format

    def __enter__(self) -> InputFile:
        with tempfile.NamedTemporaryFile(prefix="corpuskit-stdin-", delete=False) as file:
            self._path = Path(file.name)
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        return InputFile(str(self._path), "-", self._format, self._path.stat().st_size)

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def read_texts(
    inputs: Sequence[str | os.PathLike],
    format: str = "auto",
    text_column: str = "text",
    *,
    on_progress: Callable[[int], None] | None = None,
    on_quarantine: Callable[[Quarantined], None] | None = None,
) -> Iterator[pa.LargeStringArray]:
    """The texts of files: lines of plain text, and documents of other formats; see `segment_files`."""
    options = SegmentOptions(format=format, text_column=text_column)
    sources = find_sources(inputs, format)
    for batch, consumed in _batches(sources, options, on_quarantine or (lambda _: None)):
        yield batch.texts
        if on_progress is not None:
            on_progress(consumed)
