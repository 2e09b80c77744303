"""All frequent n-grams of a corpus with their counts and neighbours, in bounded memory.

The corpus is read once, into an array of 16-bit codes (2/3 of its size as UTF-8); each length then goes over
that array. What has to fit in memory is one hash table and the n-grams found frequent: where a table
would be too large, its keys are counted in parts, and where too many n-grams are frequent, the count asked
of them is raised. Both depend on the corpus alone, and so does the result. Arrays beside the text live in
memory as long as they fit in a quarter of it, and in mapped temporary files above.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from corpuskit.kernels import discovery as kernels
from corpuskit.segment import batches
from corpuskit.segment.segmenter import Segmenter

_WINDOW = 1 << 22
_SLOT_BYTES = 20  # key, count, number of the suffix
_PLACE_BYTES = 11  # code, edge, and the numbers of two lengths
_NGRAM_BYTES = 18  # count, number of the prefix and of the suffix, last character
_LEAST_SLOTS = 1 << 16

_SEPARATORS = (
    "\n\r\u2028",
    "，,",
    "、",
    "。.",
    "；;",
    "：:",
    "“\"‘'「『《〈",
    "”’」』》〉",
    "（([【",
    "）)]】",
    "0123456789０１２３４５６７８９",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    " \t\u3000\xa0",
    "",  # all others
    "？！?!",
)
"""Separators that count as one neighbour; the place in this list, from 1, is the code."""

_HAN = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00))


def character_classes() -> tuple[np.ndarray, int]:
    """The code of each character of the Basic Multilingual Plane, and the first code that is free.

    The unified and compatibility ideographs are letters; 〇 is none, being a digit.
    """
    classes = np.full(65536, kernels.OTHER, np.uint16)
    for code, characters in enumerate(_SEPARATORS, 1):
        for character in characters:
            classes[ord(character)] = code
    free = kernels.FIRST_LETTER
    for first, stop in _HAN:
        classes[first:stop] = np.arange(free, free + stop - first)
        free += stop - first
    return classes, free


class Level(NamedTuple):
    """The frequent n-grams of one length; a number is a row of these arrays.

    Attributes
    ----------
    counts : int64
    prefixes, suffixes : int32
        Numbers, in the level below, of the first and the last n - 1 characters.
    codes : uint16
        Of the last character.
    min_count : int
        What was asked of a count.
    """

    counts: np.ndarray
    prefixes: np.ndarray
    suffixes: np.ndarray
    codes: np.ndarray
    min_count: int


class Neighbours(NamedTuple):
    """What stands beside n-grams: entropies in bits, and shares of their occurrences.

    Attributes
    ----------
    left, right : float64
        Entropy of the character, or kind of separator, before and behind.
    inside : float64
        The greater of the shares of the commonest character before and behind.
    aligned : float64
        Share whose both ends are word boundaries of the dictionary.
    """

    left: np.ndarray
    right: np.ndarray
    inside: np.ndarray
    aligned: np.ndarray


class Corpus:
    """A corpus as codes, and the counting passes over it.

    Parameters
    ----------
    memory_bytes : int
        For tables and n-grams; see the module.
    max_length : int
        Of n-grams.
    directory : path-like, optional
        For temporary files.
    """

    def __init__(
        self, memory_bytes: int, max_length: int, directory: str | os.PathLike | None = None
    ) -> None:
        self._memory_bytes = memory_bytes
        self._max_length = max_length
        self._scratch = tempfile.TemporaryDirectory(prefix="corpuskit-ngrams-", dir=directory)
        self._classes, free = character_classes()
        self._rare = np.zeros(kernels.RARE_CHARACTERS, np.uint16)
        self._free = np.array([free], np.int64)
        self._pieces: list[tuple[np.ndarray, np.ndarray]] = []
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self.places = 0
        self._run = 0
        self._character_counts = np.zeros(65536, np.int64)
        self.totals = np.zeros(max_length + 1, np.int64)
        """``totals[n]``: n-grams of each length that the runs of Han characters hold."""
        self.text_bytes = 0

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files or ():
            file.close()
        self._pieces = []
        self._scratch.cleanup()

    def add(self, texts: pa.Array | pa.ChunkedArray, segmenter: Segmenter, threads: int) -> None:
        """Append texts; nulls count as empty."""
        column = batches.text_column(texts)
        words = segmenter.cut_batch(column, hmm=False, threads=threads)
        data, offsets = batches.buffers(column)
        size = int(offsets[-1] - offsets[0])
        codes = np.empty(size + 2 * offsets.size, np.uint16)
        edges = np.empty(codes.size, np.uint8)
        rows, ends = words.offsets.to_numpy(), words.values.to_numpy()
        n = kernels.encode(data, offsets, rows, ends, self._classes, self._rare, self._free, codes, edges)
        self._run = kernels.count_characters(codes[:n], self._character_counts, self.totals, self._run)
        self.text_bytes += size
        self._store(codes[:n], edges[:n])

    def _store(self, codes: np.ndarray, edges: np.ndarray) -> None:
        self.places += codes.size
        if self._files is None and _PLACE_BYTES * self.places > self._memory_bytes // 4:
            self._files = (self._path("codes").open("wb"), self._path("edges").open("wb"))
            for piece in self._pieces:
                self._append(*piece)
            self._pieces = []
        if self._files is None:
            self._pieces.append((codes.copy(), edges.copy()))
        else:
            self._append(codes, edges)

    def _append(self, codes: np.ndarray, edges: np.ndarray) -> None:
        if self._files is not None:
            codes.tofile(self._files[0])
            edges.tofile(self._files[1])

    def _path(self, name: str) -> Path:
        return Path(self._scratch.name) / name

    def levels(
        self, min_count: int, on_progress: Callable[[str], None] | None = None
    ) -> Iterator[tuple[int, list[Level], Callable[[np.ndarray], Neighbours]]]:
        """Count length after length.

        Parameters
        ----------
        min_count : int
        on_progress : callable, optional

        Yields
        ------
        length : int
            2, 3 … up to the longest.
        levels : list of Level
            Of each length up to this one, by length (the first is empty).
        neighbours : callable
            Counts what stands beside n-grams of this length, given by number; only to be called before
            the next item is asked for.
        """
        self._close_input()
        known = self._character_counts >= min_count
        empty = np.zeros(0, np.int32)
        levels = [
            Level(empty, empty, empty, empty, 0),
            Level(self._character_counts, empty, empty, np.arange(65536, dtype=np.uint16), min_count),
        ]
        ids = self._numbers("first")
        for start, stop in self._windows():
            codes = self._codes[start:stop]
            ids[start:stop] = np.where(known[codes], codes.astype(np.int32), -1)
        ids[self.places :] = -1
        for size in range(2, self._max_length + 1):
            if on_progress is not None:
                on_progress(f"counting {size}-grams")
            taken = self._numbers(f"taken-{size % 2}")
            level = self._count(size, ids, taken, levels[-1].min_count)
            levels.append(level)
            ids = taken

            def neighbours(
                wanted: np.ndarray, size: int = size, level: Level = level, ids: np.ndarray = ids
            ) -> Neighbours:
                return self._neighbours(size, level, ids, wanted)

            yield size, levels, neighbours

    def _close_input(self) -> None:
        pad = np.full(self._max_length + 2, kernels.EDGE, np.uint16)
        ones = np.ones(pad.size, np.uint8)
        if self._files is None:
            self._codes = np.concatenate([*(codes for codes, _ in self._pieces), pad])
            self._edges = np.concatenate([*(edges for _, edges in self._pieces), ones])
            self._pieces = []
            return
        self._append(pad, ones)
        for file in self._files:
            file.close()
        self._codes = np.memmap(self._path("codes"), np.uint16, "r")
        self._edges = np.memmap(self._path("edges"), np.uint8, "r")

    def _numbers(self, name: str) -> np.ndarray:
        """An int32 for each place and one more, -1 where it matters that it is new."""
        if self._files is None:
            return np.full(self.places + 1, -1, np.int32)
        numbers = np.memmap(self._path(name), np.int32, "w+", shape=(self.places + 1,))
        for start, stop in self._windows():
            numbers[start:stop] = -1
        numbers[self.places :] = -1
        return numbers

    def _windows(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self.places, _WINDOW):
            yield start, min(start + _WINDOW, self.places)

    def _count(self, size: int, ids: np.ndarray, taken: np.ndarray, min_count: int) -> Level:
        slots = self._slots_for(size, ids)
        most = self._memory_bytes // 2 // _SLOT_BYTES
        parts = 1
        while slots > _power_below(most):
            slots //= 2
            parts *= 2
        while (found := self._count_parts(size, ids, taken, min_count, slots, parts)) is None:
            if slots < _power_below(most):
                slots *= 2
            else:
                parts *= 2
        return found

    def _slots_for(self, size: int, ids: np.ndarray) -> int:
        """Slots that should do, from a sample of keys by linear counting (Whang et al. 1990)."""
        flags = np.zeros(1 << kernels.SAMPLE_BITS, np.uint8)
        for start, stop in self._windows():
            kernels.sample_keys(size, self._codes[start : stop + size], ids[start : stop + 1], flags)
        unset = max(1, flags.size - int(np.count_nonzero(flags)))
        distinct = -flags.size * math.log(unset / flags.size) * kernels.SAMPLE
        return max(_LEAST_SLOTS, _power_below(int(2 * distinct / 0.65)))

    def _count_parts(
        self, size: int, ids: np.ndarray, taken: np.ndarray, min_count: int, slots: int, parts: int
    ) -> Level | None:
        """The frequent n-grams of a length; None if a part of the keys does not fit."""
        keys, counts = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        suffixes = np.zeros(slots, np.int32)
        labels = np.full(slots, -1, np.int32)
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        number = 0
        for part in range(parts):
            keys[:] = counts[:] = used = 0
            for start, stop in self._windows():
                used = kernels.count(
                    size, self._codes[start : stop + size], ids[start : stop + 1], taken[start:stop],
                    part, parts, keys, counts, suffixes, used,
                )  # fmt: skip
                if used < 0:
                    for begin, end in self._windows():
                        taken[begin:end] = -1
                    return None
            frequent = np.flatnonzero(counts >= min_count)
            labels[:] = -1
            labels[frequent] = np.arange(number, number + frequent.size, dtype=np.int32)
            number += frequent.size
            found.append((keys[frequent] - 1, counts[frequent], suffixes[frequent]))
            for start, stop in self._windows():
                kernels.relabel(taken[start:stop], labels)
        key, count, suffix = (np.concatenate(column) for column in zip(*found))
        level = Level(count, (key >> 16).astype(np.int32), suffix, key.astype(np.uint16), min_count)
        return self._limited(level, taken)

    def _limited(self, level: Level, taken: np.ndarray) -> Level:
        """`level` with so high a count asked for that all levels fit in an eighth of memory."""
        most = max(1, self._memory_bytes // 8 // _NGRAM_BYTES // self._max_length)
        if level.counts.size <= most:
            return level
        min_count = int(np.partition(level.counts, -most - 1)[-most - 1]) + 1
        keep = level.counts >= min_count
        labels = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
        for start, stop in self._windows():
            piece = taken[start:stop]
            taken[start:stop] = np.where(piece >= 0, labels[piece], -1)
        return Level(
            level.counts[keep], level.prefixes[keep], level.suffixes[keep], level.codes[keep], min_count
        )

    def _neighbours(self, size: int, level: Level, ids: np.ndarray, wanted: np.ndarray) -> Neighbours:
        rows = np.full(level.counts.size, -1, np.int32)
        rows[wanted] = np.arange(wanted.size, dtype=np.int32)
        counts = level.counts[wanted].astype(np.float64)
        entropies, inside = [], np.zeros(wanted.size)
        aligned = inside
        for side in (-1, 1):
            found = self._count_side(size, side, ids, rows, wanted.size)
            entropies.append(np.log2(counts) - found[:, 0] / kernels.ENTROPY_SCALE / counts)
            inside = np.maximum(inside, found[:, 1] / counts)
            aligned = found[:, 2] / counts
        left, right = entropies
        return Neighbours(left, right, inside, aligned)

    def _count_side(self, size: int, side: int, ids: np.ndarray, rows: np.ndarray, wanted: int) -> np.ndarray:
        most = _power_below(self._memory_bytes // 2 // 16)
        slots, parts = min(most, max(_LEAST_SLOTS, _power_below(32 * wanted))), 1
        while (found := self._count_side_parts(size, side, ids, rows, wanted, slots, parts)) is None:
            if slots < most:
                slots *= 2
            else:
                parts *= 2
        return found

    def _count_side_parts(
        self, size: int, side: int, ids: np.ndarray, rows: np.ndarray, wanted: int, slots: int, parts: int
    ) -> np.ndarray | None:
        found = np.zeros((wanted, 3), np.int64)
        table = np.empty((slots, 2), np.int64)
        for part in range(parts):
            table[:] = used = 0
            for start, stop in self._windows():
                # A letter never begins a text's codes, so the place before the first is never asked for.
                before = max(0, start - 1)
                shift = start - before
                begin = start if shift else start + 1
                used = kernels.count_neighbours(
                    size, side, self._codes[begin - 1 : stop + size], self._edges[begin - 1 : stop + size],
                    ids[begin:stop], rows, part, parts, table, found, used,
                )  # fmt: skip
                if used < 0:
                    return None
        return found

    def strings(self, levels: list[Level], size: int, numbers: np.ndarray) -> list[str]:
        """The n-grams of `size` characters with these numbers."""
        columns = []
        for n in range(size, 1, -1):
            columns.append(levels[n].codes[numbers])
            numbers = levels[n].prefixes[numbers]
        columns.append(numbers.astype(np.uint16))
        points = self._code_points()[np.stack(columns[::-1], axis=1)] if len(numbers) else np.zeros((0, 1))
        return [row.tobytes().decode("utf-32-le") for row in np.ascontiguousarray(points.astype("<u4"))]

    def _code_points(self) -> np.ndarray:
        points = np.zeros(65536, np.uint32)
        letters = np.flatnonzero(self._classes >= kernels.FIRST_LETTER)
        points[self._classes[letters]] = letters
        rare = np.flatnonzero(self._rare)
        points[self._rare[rare]] = rare + kernels.FIRST_RARE
        return points


def _power_below(number: int) -> int:
    """The greatest power of two that is at most `number`."""
    return 1 << max(0, number.bit_length() - 1)
