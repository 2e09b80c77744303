"""The bare streams of nanoGPT and llm.c: ids of all documents one after another, end of text between.

nanoGPT (``data/openwebtext/prepare.py``) maps ``train.bin`` and ``val.bin`` as raw ``uint16``, each
document *followed* by the end-of-text id; a vocabulary above 65,536 needs ``uint32`` and a trainer
that is told so. ``meta.pkl`` beside them gives its ``train.py`` the size of the vocabulary.

llm.c and modded-nanogpt (``dev/data/data_common.py``) read files of at most 2^31 - 1 ids behind 256
int32: magic and version (20240520, 1 for ``uint16``; 20240801, 7 for ``uint32``) and the number of
ids. There every document is *preceded* by the end-of-text id, and modded-nanogpt begins its
sequences at it.

Such a file says nothing of its own dtype, tokenizer or end; so a small note lies beside each export.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.files import atomic_path, checksum
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.exchange.common import (
    BOUNDARIES,
    DOCUMENT_IDS,
    NOTE_SUFFIX,
    RUN_TOKENS,
    ExportNote,
    HashedFile,
    IncomingDocuments,
    TokenSource,
    atomic_directory,
    make_ids,
    prepare_files,
)
from corpuskit.shards.manifest import EndOfDocument, TokenizerLike, token_dtype

HEADER_INTEGERS = 256
# dtype: (magic, version), as llm.c's data_common.py has them.
HEADERS: dict[np.dtype, tuple[int, int]] = {
    np.dtype(np.uint16): (20240520, 1),
    np.dtype(np.uint32): (20240801, 7),
}
_MAX_FILE_TOKENS = (1 << 31) - 1
_LOOKED_AT = 4096


@dataclass(frozen=True)
class NanoGPT:
    """One raw file ``NAME.bin``, with ``meta.pkl`` beside it.

    Attributes
    ----------
    name : str
        ``train`` and ``val`` are what nanoGPT looks for; both may lie in one directory.
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    format_name: ClassVar[str] = "nanogpt"
    loses: ClassVar[tuple[str, ...]] = (DOCUMENT_IDS, BOUNDARIES)

    name: str = "train"

    def __post_init__(self) -> None:
        require_file_name(self.name)

    def has_room_for(self, column: str, kind: str) -> bool:
        return False

    def write(self, source: TokenSource, directory: Path) -> tuple[Path, ...]:
        path = directory / f"{self.name}.bin"
        meta, note = directory / "meta.pkl", directory / f"{self.name}{NOTE_SUFFIX}"
        prepare_files(path, meta, note)
        vocabulary = pickle.dumps({"vocab_size": source.manifest.tokenizer.vocab_size})
        if meta.exists() and meta.read_bytes() != vocabulary:
            raise ArtifactError(
                "it belongs to other data: it does not say just the size of this vocabulary",
                where=str(meta),
                hint="export to another directory",
            )
        with atomic_path(path) as temporary:
            with open(temporary, "wb") as file:
                stream = HashedFile(file)
                for run in source.runs():
                    stream.write(followed_by_end(run, source))
            with atomic_path(meta) as other:
                other.write_bytes(vocabulary)
            files = {path.name: stream.facts}
            ExportNote.of(source, self.format_name, source.manifest.dtype, files).save(note)
        return path, meta, note


@dataclass(frozen=True)
class LlmC:
    """Files ``NAME_000000.bin`` with llm.c's header; a document is never cut by the end of a file.

    Attributes
    ----------
    name : str
    file_tokens : int
        Most ids in a file, as long as no document is longer. llm.c's own files have 10^8.
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    format_name: ClassVar[str] = "llm.c"
    loses: ClassVar[tuple[str, ...]] = (DOCUMENT_IDS, BOUNDARIES)

    name: str = "train"
    file_tokens: int = 100_000_000

    def __post_init__(self) -> None:
        require_file_name(self.name)
        if not 1 <= self.file_tokens <= _MAX_FILE_TOKENS:
            raise ConfigError(f"{self.file_tokens} is not 1 to {_MAX_FILE_TOKENS}", where="file_tokens")

    def has_room_for(self, column: str, kind: str) -> bool:
        return False

    def write(self, source: TokenSource, directory: Path) -> tuple[Path, ...]:
        marks = int(not source.ends_are_marked and source.end_of_text_id is not None)
        files: list[_HeadedFile] = []
        with atomic_directory(directory) as staging:
            for run in source.runs(min(RUN_TOKENS, self.file_tokens)):
                while len(run):
                    ends = run.offsets[1:] + marks * np.arange(1, len(run) + 1)
                    room = self.file_tokens - files[-1].count if files else 0
                    fit = int(np.searchsorted(ends, room, side="right"))
                    if not files or (not fit and files[-1].count):
                        path = staging / f"{self.name}_{len(files):06d}.bin"
                        files.append(_HeadedFile(path, source.manifest.dtype))
                        continue
                    fit = max(fit, 1)
                    files[-1].write(preceded_by_end(run.slice(0, fit), source))
                    run = run.slice(fit, len(run))
            facts = {file.path.name: file.close() for file in files}
            note = f"{self.name}{NOTE_SUFFIX}"
            ExportNote.of(source, self.format_name, source.manifest.dtype, facts).save(staging / note)
        return tuple(directory / name for name in [*facts, note])


class _HeadedFile:
    """Ids behind a header that counts them. It is open only while it is written to."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.path = path
        self.count = 0
        self._dtype = dtype
        path.write_bytes(header(dtype, 0))

    def write(self, tokens: np.ndarray) -> None:
        self.count += len(tokens)
        if self.count > _MAX_FILE_TOKENS:
            raise InputError(
                f"a document has {self.count} tokens, and the header of a file counts to {_MAX_FILE_TOKENS}",
                where=self.path.name,
                hint="export to nanogpt, megatron, parquet or nanoset",
            )
        with open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(tokens).data)

    def close(self) -> dict[str, int | str]:
        with open(self.path, "rb+") as file:
            file.write(header(self._dtype, self.count))
        return {"bytes": self.path.stat().st_size, "checksum": checksum(self.path)}


def header(dtype: np.dtype, count: int) -> bytes:
    """llm.c's 1,024 bytes before `count` ids."""
    integers = np.zeros(HEADER_INTEGERS, "<i4")
    integers[:3] = (*HEADERS[dtype], count)
    return integers.tobytes()


def followed_by_end(run: EncodedDocuments, source: TokenSource) -> np.ndarray:
    """The ids of a run with the end-of-text id after each document (as they are, where there is none)."""
    end = source.end_of_text_id
    if source.ends_are_marked or end is None:
        return run.tokens
    return np.insert(run.tokens, run.offsets[1:], end)


def preceded_by_end(run: EncodedDocuments, source: TokenSource) -> np.ndarray:
    """The ids of a run with the end-of-text id before each document."""
    end = source.end_of_text_id
    if end is None:
        return run.tokens
    if source.ends_are_marked:
        return np.concatenate([np.array([end], run.tokens.dtype), run.tokens[:-1]])
    return np.insert(run.tokens, run.offsets[:-1], end)


class TokenStreams:
    """Raw or headed files read as one stream that is cut at an id (for `import_tokens`).

    k marks cut a stream into k + 1 pieces. Where marks follow the documents, an empty last piece is no
    document; where they precede them, the first piece is none. They precede in exports to llm.c, in
    other files with its header that begin with a mark, and in raw files that begin with one and do
    not end with one.

    Parameters
    ----------
    files : sequence of (Path, str)
        In order, each with the path that ids are made from. A document may go on in the next file.
    tokenizer : TokenizerLike
    separator_id : int, optional
        The id to cut at; by default the tokenizer's end-of-text id.
    dtype : {"uint16", "uint32"}, optional
        Of raw files; by default as the vocabulary needs.

    Raises
    ------
    InputError
        If a file is truncated, damaged, or no such file.
    ConfigError
        If there is no id to cut at.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, str]],
        tokenizer: TokenizerLike,
        separator_id: int | None = None,
        dtype: str | None = None,
    ) -> None:
        separator = tokenizer.end_of_text_id if separator_id is None else separator_id
        if separator is None:
            raise ConfigError(
                "the tokenizer has no end-of-text id to cut the stream at",
                where="separator_id",
                hint="give the id that stands between the documents",
            )
        self._separator = separator
        self._files = list(files)
        notes = {path: _note_of(path) for path, _ in files}
        for path, note in notes.items():
            if note is not None:
                note.check([path], tokenizer)
        policies = {None if note is None else note.end_of_document for note in notes.values()}
        self.end_of_document: EndOfDocument | None = policies.pop() if len(policies) == 1 else None
        given = None if dtype is None else np.dtype(dtype)
        self._streams = [_map_tokens(path, tokenizer, notes[path], given) for path, _ in files]
        self._marks_precede = self._find_marks(notes.get(self._files[0][0]))

    @property
    def columns(self) -> Mapping[str, str]:
        return {}

    @property
    def lost(self) -> tuple[str, ...]:
        return ()

    def __iter__(self) -> Iterator[IncomingDocuments]:
        filled = [number for number, stream in enumerate(self._streams) if len(stream)]
        if not filled:
            return
        parts: list[np.ndarray] = []  # of the document that is open, which began at `begun`
        begun, begins = (0, 0), True
        for number in filled:
            # Documents that began in this file; the empty piece before the first mark is none.
            ordinal = -1 if self._marks_precede and number == filled[0] else 0
            stream = self._streams[number]
            for start in range(0, len(stream), RUN_TOKENS):
                chunk = stream[start : start + RUN_TOKENS]
                if begins:
                    begun, ordinal = (number, ordinal), ordinal + 1
                marks = np.flatnonzero(chunk == self._separator)
                if len(marks):
                    yield from self._closed(begun, (number, ordinal), parts, chunk[: marks[-1]], marks)
                    ordinal += len(marks) - 1
                    parts, chunk = [], chunk[marks[-1] + 1 :]
                    if len(chunk):
                        begun, ordinal = (number, ordinal), ordinal + 1
                begins = not len(chunk)
                if len(chunk):
                    parts.append(chunk)
        if begins and self._marks_precede:
            begun, parts = (number, ordinal), [chunk]
        if parts:
            yield self._documents(begun, np.array([0, sum(map(len, parts))]), np.concatenate(parts))

    def _find_marks(self, note: ExportNote | None) -> bool:
        """Whether marks stand before the documents."""
        filled = [stream for stream in self._streams if len(stream)]
        if note is not None or not filled:
            return note is not None and note.format == LlmC.format_name
        begins = bool(filled[0][0] == self._separator)
        has_header = getattr(filled[0], "offset", 0) > 0
        return begins and (has_header or bool(filled[-1][-1] != self._separator))

    def _closed(
        self,
        begun: tuple[int, int],
        following: tuple[int, int],
        parts: Sequence[np.ndarray],
        chunk: np.ndarray,
        marks: np.ndarray,
    ) -> Iterator[IncomingDocuments]:
        """The open document and those after it, up to the last mark of a chunk."""
        tokens = np.concatenate([*parts, chunk[chunk != self._separator]])
        lengths = np.diff(marks, prepend=-1) - 1
        lengths[0] += sum(map(len, parts))
        borders = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        if begun[1] >= 0:
            yield self._documents(begun, borders[:2], tokens[: borders[1]])
        if len(marks) > 1:
            yield self._documents(following, borders[1:] - borders[1], tokens[borders[1] :])

    def _documents(
        self, begun: tuple[int, int], offsets: np.ndarray, tokens: np.ndarray
    ) -> IncomingDocuments:
        (path, relative), first = self._files[begun[0]], begun[1]
        ids = make_ids(relative, first, len(offsets) - 1)
        return IncomingDocuments(path, first, EncodedDocuments(ids, offsets, tokens))


def require_file_name(name: str) -> None:
    """Raise `ConfigError` unless `name` can begin a file name."""
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise ConfigError(f"{name!r} cannot be the name of a file", where="name")


def _note_of(path: Path) -> ExportNote | None:
    """The note of the export that a file belongs to: named like the file, or without its number."""
    for stem in (path.stem, path.stem.rpartition("_")[0]):
        note = ExportNote.load(path.with_name(f"{stem}{NOTE_SUFFIX}")) if stem else None
        if note is not None and path.name in note.files:
            return note
    return None


def _map_tokens(
    path: Path, tokenizer: TokenizerLike, note: ExportNote | None, given: np.dtype | None
) -> np.ndarray:
    """The ids of a file, mapped; its header tells the dtype, or `given`, or its note, or the vocabulary."""
    size = path.stat().st_size
    head = np.fromfile(path, "<i4", 3)
    for dtype, (magic, version) in HEADERS.items():
        if len(head) == 3 and head[0] == magic and 0 < head[1] < 100:
            expected = HEADER_INTEGERS * 4 + int(head[2]) * dtype.itemsize
            if head[1] != version:
                raise InputError(
                    f"the header has version {head[1]}; version {version} is known", where=str(path)
                )
            if size != expected:
                kind = "truncated" if size < expected else "longer than its header says"
                raise InputError(
                    f"the file is {kind}: {size} bytes, and {head[2]} tokens take {expected}",
                    where=str(path),
                    hint="copy it again",
                )
            return _mapped(path, dtype, HEADER_INTEGERS * 4, int(head[2]))
    dtype = given or (token_dtype(tokenizer.vocab_size) if note is None else np.dtype(note.dtype))
    if size % dtype.itemsize:
        raise InputError(
            f"the file has {size} bytes, no multiple of the {dtype.itemsize} of a {dtype.name} token",
            where=str(path),
            hint="it is truncated, or not a stream of token ids",
        )
    tokens = _mapped(path, dtype, 0, size // dtype.itemsize)
    halves = tokens[1 : 2 * _LOOKED_AT : 2]
    if given is None and note is None and dtype == np.uint16 and len(halves) >= 8 and not halves.any():
        raise InputError(
            "every second id is 0: the file seems to hold uint32 ids, though uint16 would do",
            where=str(path),
            hint="say which it is with dtype= (--dtype uint32)",
        )
    return tokens


def _mapped(path: Path, dtype: np.dtype, offset: int, count: int) -> np.ndarray:
    if not count:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", offset, (count,))
