"""Megatron-LM's indexed dataset: ``NAME.bin`` with the ids, ``NAME.idx`` with where sequences lie.

The layout is that of ``megatron/core/datasets/indexed_dataset.py``: the index is ``MMIDIDX\\0\\0``,
a version (uint64, 1), a dtype code (uint8), the numbers of sequences and of document borders
(uint64), then for every sequence its length (int32) and its first byte in ``.bin`` (int64), then the
borders of documents among the sequences (int64, from 0). A document of ours is one sequence, with
its end-of-text id as ``preprocess_data.py --append-eod`` leaves it. There is no code for ``uint32``:
ids that need four bytes become ``int32``.

The index is written in one pass beside the ids, each of its three arrays at its own place in the
file: 20 bytes a document, none of them in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from corpuskit.errors import InputError
from corpuskit.files import atomic_path, checksum
from corpuskit.shards.encoding import EncodedDocuments
from corpuskit.shards.exchange.common import (
    DOCUMENT_IDS,
    NOTE_SUFFIX,
    RUN_TOKENS,
    ExportNote,
    HashedFile,
    IncomingDocuments,
    TokenSource,
    make_ids,
    prepare_files,
)
from corpuskit.shards.exchange.nanogpt import require_file_name
from corpuskit.shards.manifest import EndOfDocument, TokenizerLike

MAGIC = b"MMIDIDX\x00\x00"
# magic, version, dtype code, sequences, document borders
HEADER = struct.Struct("<9sQBQQ")
DTYPES: dict[int, np.dtype] = {
    1: np.dtype("u1"), 2: np.dtype("i1"), 3: np.dtype("<i2"), 4: np.dtype("<i4"), 5: np.dtype("<i8"),
    8: np.dtype("<u2"),
}  # fmt: skip
_FLOATS = (6, 7)
_MAX_LENGTH = (1 << 31) - 1
_RUN_ROWS = 1 << 16


@dataclass(frozen=True)
class Megatron:
    """``NAME.bin`` and ``NAME.idx``; a trainer is given ``directory/NAME``.

    Attributes
    ----------
    name : str
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    format_name: ClassVar[str] = "megatron"
    loses: ClassVar[tuple[str, ...]] = (DOCUMENT_IDS,)

    name: str = "train"

    def __post_init__(self) -> None:
        require_file_name(self.name)

    def has_room_for(self, column: str, kind: str) -> bool:
        return False

    def write(self, source: TokenSource, directory: Path) -> tuple[Path, ...]:
        path, index = directory / f"{self.name}.bin", directory / f"{self.name}.idx"
        note = directory / f"{self.name}{NOTE_SUFFIX}"
        prepare_files(index, path, note)
        code, dtype = (8, DTYPES[8]) if source.manifest.dtype == np.uint16 else (4, DTYPES[4])
        # Nothing opens without the index: it is renamed last.
        with atomic_path(index) as temporary_index:
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                stream = HashedFile(file)
                with open(temporary_index, "wb") as index_file:
                    writer = _IndexWriter(index_file, source.manifest.num_documents, code, dtype.itemsize)
                    for run in source.runs():
                        stream.write(run.tokens.astype(dtype, copy=False))
                        writer.write(np.diff(run.offsets))
                    writer.close()
            facts = {
                path.name: stream.facts,
                index.name: {"bytes": temporary_index.stat().st_size, "checksum": checksum(temporary_index)},
            }
            ExportNote.of(source, self.format_name, dtype, facts).save(note)
        return path, index, note


class _IndexWriter:
    """Writes the three arrays of an index side by side."""

    def __init__(self, file, count: int, code: int, itemsize: int) -> None:
        self._file, self._count, self._itemsize = file, count, itemsize
        self._rows = self._bytes = 0
        file.write(HEADER.pack(MAGIC, 1, code, count, count + 1))

    def write(self, lengths: np.ndarray) -> None:
        if len(lengths) and lengths.max() > _MAX_LENGTH:
            raise InputError(
                f"a document has {lengths.max()} tokens, and the index counts to {_MAX_LENGTH}",
                hint="export to nanogpt, nanoset or parquet",
            )
        ends = self._bytes + np.cumsum(lengths, dtype=np.int64) * self._itemsize
        begins = ends - lengths * self._itemsize
        borders = np.arange(self._rows, self._rows + len(lengths))
        base = HEADER.size
        for array, start, item in [
            (lengths.astype("<i4"), base, 4),
            (begins.astype("<i8"), base + 4 * self._count, 8),
            (borders.astype("<i8"), base + 12 * self._count, 8),
        ]:
            self._file.seek(start + self._rows * item)
            self._file.write(array.tobytes())
        self._rows += len(lengths)
        self._bytes = int(ends[-1])

    def close(self) -> None:
        self._file.seek(HEADER.size + 20 * self._count)
        self._file.write(struct.pack("<q", self._count))


@dataclass(frozen=True)
class MegatronIndex:
    """What an ``.idx`` file says; the arrays are mapped.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the ids in ``.bin``.
    lengths, begins : numpy.ndarray[int32], numpy.ndarray[int64]
        Tokens of every sequence, and its first byte.
    borders : numpy.ndarray[int64]
        Document i is sequences borders[i] to borders[i + 1].
    """

    dtype: np.dtype
    lengths: np.ndarray
    begins: np.ndarray
    borders: np.ndarray

    @classmethod
    def open(cls, path: Path) -> MegatronIndex:
        """Read and check an index.

        Raises
        ------
        InputError
            If it is another format, truncated, or its arrays do not fit together.
        """
        head = path.open("rb").read(HEADER.size)
        if not head.startswith(MAGIC):
            old = head.startswith(b"TNTIDX\x00\x00")
            raise _bad(
                path,
                "it is an index of the older format without memory mapping"
                if old
                else f"not an index of Megatron: it begins with {head[:9]!r}, not {MAGIC!r}",
                "write the dataset again with a current Megatron"
                if old
                else "give the .idx file beside .bin",
            )
        if len(head) < HEADER.size:
            raise _bad(path, f"the index is truncated: {len(head)} bytes", "copy it again")
        _, version, code, sequences, borders = HEADER.unpack(head)
        if version != 1:
            raise _bad(path, f"the index has version {version}; version 1 is known", "")
        if code not in DTYPES:
            what = "numbers with a fraction, no token ids" if code in _FLOATS else "unknown"
            raise _bad(path, f"dtype code {code} is {what}", f"known are {', '.join(map(str, DTYPES))}")
        size, needed = path.stat().st_size, HEADER.size + 12 * sequences + 8 * borders
        if size not in (needed, needed + sequences):  # the modes of multimodal data may follow
            kind = "truncated" if size < needed else "longer than it says"
            raise _bad(
                path, f"the index is {kind}: {size} bytes, and {sequences} sequences in {borders} document "
                f"borders take {needed}", "copy it again",
            )  # fmt: skip
        starts = np.cumsum([HEADER.size, 4 * sequences, 8 * sequences])
        arrays = [
            np.memmap(path, dtype, "r", int(start), (count,)) if count else np.empty(0, dtype)
            for dtype, start, count in zip(("<i4", "<i8", "<i8"), starts, (sequences, sequences, borders))
        ]
        index = cls(DTYPES[code], *arrays)
        index._check(path)
        return index

    def _check(self, path: Path) -> None:
        count = len(self.lengths)
        if not len(self.borders) or self.borders[0] != 0 or self.borders[-1] != count:
            ends = f"{self.borders[0]} to {self.borders[-1]}" if len(self.borders) else "nothing"
            raise _bad(path, f"documents cover sequences {ends}, and there are {count}", "")
        if (np.diff(self.borders) < 0).any():
            raise _bad(path, "the borders of documents go backwards", "")
        expected = 0
        for start in range(0, count, _RUN_ROWS):
            lengths = self.lengths[start : start + _RUN_ROWS].astype(np.int64)
            begins = self.begins[start : start + _RUN_ROWS]
            wanted = expected + (np.cumsum(lengths) - lengths) * self.dtype.itemsize
            wrong = np.flatnonzero((lengths < 0) | (begins != wanted))
            if len(wrong):
                row = int(wrong[0])
                raise _bad(
                    path, f"sequence {start + row} has {lengths[row]} tokens from byte {begins[row]}; the "
                    f"one before ends at byte {wanted[row]}", "",
                )  # fmt: skip
            expected = int(wanted[-1] + lengths[-1] * self.dtype.itemsize)

    @property
    def num_tokens(self) -> int:
        if not len(self.lengths):
            return 0
        return int(self.begins[-1]) // self.dtype.itemsize + int(self.lengths[-1])


class MegatronFiles:
    """Indexed datasets, document by document (for `import_tokens`).

    Raises
    ------
    InputError
        If a file is missing, truncated or damaged, or ids and index do not belong together.
    """

    def __init__(self, files: Sequence[tuple[Path, str]], tokenizer: TokenizerLike) -> None:
        self._files: list[tuple[Path, str, MegatronIndex]] = []
        policies: set[EndOfDocument | None] = set()
        for path, relative in files:
            prefix, name = path.with_suffix(""), Path(relative).with_suffix("").as_posix()
            note = ExportNote.load(prefix.with_name(f"{prefix.name}{NOTE_SUFFIX}"))
            bin_path, index_path = (
                prefix.with_name(f"{prefix.name}.bin"),
                prefix.with_name(f"{prefix.name}.idx"),
            )
            for part in (bin_path, index_path):
                if not part.is_file():
                    raise _bad(part, "no such file", "an indexed dataset is a .bin and an .idx file")
            if note is not None:
                note.check([bin_path, index_path], tokenizer)
            policies.add(None if note is None else note.end_of_document)
            index = MegatronIndex.open(index_path)
            size, needed = bin_path.stat().st_size, index.num_tokens * index.dtype.itemsize
            if size != needed:
                kind = "truncated" if size < needed else "longer than its index says"
                raise _bad(bin_path, f"the file is {kind}: {size} bytes instead of {needed}", "copy it again")
            self._files.append((bin_path, f"{name}.bin", index))
        self.end_of_document: EndOfDocument | None = policies.pop() if len(policies) == 1 else None

    @property
    def columns(self) -> Mapping[str, str]:
        return {}

    @property
    def lost(self) -> tuple[str, ...]:
        cut = any((np.diff(index.borders) > 1).any() for _, _, index in self._files)
        return ("borders of sequences inside documents",) if cut else ()

    def __iter__(self) -> Iterator[IncomingDocuments]:
        for path, relative, index in self._files:
            if not index.num_tokens:
                tokens = np.empty(0, index.dtype)
            else:
                tokens = np.memmap(path, index.dtype, "r")
            row, count = 0, len(index.borders) - 1
            while row < count:
                borders = index.borders[row : min(row + _RUN_ROWS, count) + 1]
                ends = _token_positions(index, borders)
                stop = int(np.searchsorted(ends, ends[0] + RUN_TOKENS, side="right")) - 1
                stop = min(max(stop, 1), len(ends) - 1)
                ids = make_ids(relative, row, stop)
                piece = tokens[ends[0] : ends[stop]]
                yield IncomingDocuments(path, row, EncodedDocuments(ids, ends[: stop + 1] - ends[0], piece))
                row += stop


def _token_positions(index: MegatronIndex, sequences: np.ndarray) -> np.ndarray:
    """The first token of each sequence; the number of tokens for the one after the last."""
    positions = np.full(len(sequences), index.num_tokens, np.int64)
    inside = sequences < len(index.lengths)
    positions[inside] = index.begins[sequences[inside]] // index.dtype.itemsize
    return positions


def _bad(path: Path, what: str, hint: str) -> InputError:
    return InputError(what, where=str(path), hint=hint or "it is damaged: copy it or write it again")
