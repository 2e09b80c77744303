"""Scores of a segmentation beside a gold one: the measures of the SIGHAN bakeoffs.

A word is a span of characters. Precision is the share of the system's words that are words of the gold
text at the same place, recall the share of the gold words that the system has, F1 = 2PR / (P + R) (Sproat
and Emerson 2003). With a vocabulary, the out-of-vocabulary rate is the share of gold word tokens that are
not in it, and recall is given apart for those and for the others.

The bakeoffs' Perl script aligns the two lists of words of a line by ``diff``, which may pair equal words
at different places of a line (gold ``AA A A``, system ``A AA A``: two pairs, one common span). So its
counts can be above these by such pairs, never below.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from corpuskit.errors import InputError
from corpuskit.ingest.lines import read_lines
from corpuskit.ingest.streams import open_file, open_stream

_MAX_LINE_BYTES = (1 << 31) - 1
_SHOWN = 12


@dataclass(frozen=True)
class SegmentationScore:
    """Counts, and what follows from them.

    Attributes
    ----------
    lines, characters : int
        Lines with a word, and characters outside white space.
    gold_words, words, correct : int
        Word tokens of the gold text, of the system, and spans that are in both.
    oov_words, oov_correct : int or None
        Gold words outside the vocabulary, and those of them the system has; None without a vocabulary.
    """

    lines: int
    characters: int
    gold_words: int
    words: int
    correct: int
    oov_words: int | None = None
    oov_correct: int | None = None

    @property
    def precision(self) -> float:
        """Correct words a system word (0 where there is none)."""
        return _ratio(self.correct, self.words)

    @property
    def recall(self) -> float:
        """Correct words a gold word (0 where there is none)."""
        return _ratio(self.correct, self.gold_words)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, which is 2 correct / (gold words + system words)."""
        return _ratio(2 * self.correct, self.words + self.gold_words)

    @property
    def oov_rate(self) -> float | None:
        """Gold words outside the vocabulary, a gold word."""
        return None if self.oov_words is None else _ratio(self.oov_words, self.gold_words)

    @property
    def oov_recall(self) -> float | None:
        """Recall of the gold words outside the vocabulary; None also where there are none."""
        if self.oov_words is None or self.oov_correct is None or not self.oov_words:
            return None
        return self.oov_correct / self.oov_words

    @property
    def iv_recall(self) -> float | None:
        """Recall of the gold words in the vocabulary; None also where there are none."""
        if self.oov_words is None or self.oov_correct is None or self.oov_words == self.gold_words:
            return None
        return (self.correct - self.oov_correct) / (self.gold_words - self.oov_words)

    def to_dict(self) -> dict[str, Any]:
        """Counts and measures as plain JSON values."""
        names = ("precision", "recall", "f1", "oov_rate", "oov_recall", "iv_recall")
        return asdict(self) | {name: getattr(self, name) for name in names}


def score_segmentation(
    gold: Iterable[str | Iterable[str]],
    system: Iterable[str | Iterable[str]],
    vocabulary: Collection[str] | None = None,
    *,
    names: tuple[str, str] = ("gold", "system"),
) -> SegmentationScore:
    """Score a segmentation.

    Parameters
    ----------
    gold, system : iterable of (str or iterable of str)
        Lines: a string of words with white space between them, or the words. White space within words is
        not compared, and an empty word counts as none.
    vocabulary : collection of str, optional
        The words that are known, such as those of the training text.
    names : tuple of str
        What errors call the two.

    Raises
    ------
    InputError
        Where the two do not have the same lines, or the same characters: with the line, the position in it,
        and what both have there.
    """
    known = None if vocabulary is None else frozenset(vocabulary)
    lines = characters = gold_words = words = correct = oov_words = oov_correct = 0
    missing = object()
    for number, (left, right) in enumerate(zip_longest(gold, system, fillvalue=missing), 1):
        if left is missing or right is missing:
            short = names[0 if left is missing else 1]
            raise InputError(
                f"{short} ends after {number - 1} lines, the other goes on",
                where=f"line {number}",
                hint="compare the number of lines of the two files; they must be cut from the same text",
            )
        true, made = _words(left), _words(right)
        text = "".join(true)
        if text != (other := "".join(made)):
            raise _difference(number, text, other, names)
        if not true:
            continue
        spans = set(_spans(true))
        found = spans.intersection(_spans(made))
        lines += 1
        characters += len(text)
        gold_words += len(true)
        words += len(made)
        correct += len(found)
        if known is not None:
            for word, span in zip(true, _spans(true)):
                if word not in known:
                    oov_words += 1
                    oov_correct += span in found
    unknown = (None, None) if known is None else (oov_words, oov_correct)
    return SegmentationScore(lines, characters, gold_words, words, correct, *unknown)


def score_files(
    gold: str | os.PathLike, system: str | os.PathLike, vocabulary: str | os.PathLike | None = None
) -> SegmentationScore:
    """Score a file of segmented text, plain or compressed, beside a gold one.

    Parameters
    ----------
    gold, system : path-like
        Words with white space between them, the same text line by line.
    vocabulary : path-like, optional
        A segmented text or a list of words: every string between white space is a known word.

    Raises
    ------
    InputError
        If a file cannot be read or is not UTF-8, the texts differ, or there is no word in them.
    """
    known = None
    if os.fspath(gold) == os.fspath(system) == "-":
        raise InputError("standard input can be read only once", where="-", hint="name one file")
    if vocabulary is not None:
        known = {word for line in read_segmented(vocabulary) for word in line}
        if not known:
            raise InputError("there is no word in the vocabulary", where=os.fspath(vocabulary))
    names = (os.fspath(gold), os.fspath(system))
    score = score_segmentation(read_segmented(gold), read_segmented(system), known, names=names)
    if not score.gold_words:
        raise InputError("there is no word to score", where=os.fspath(gold))
    return score


def read_segmented(path: str | os.PathLike) -> Iterator[list[str]]:
    """The words of each line of a file, plain or compressed (gzip, zstd, lz4); ``-`` is standard input.

    Raises
    ------
    InputError
        If the file cannot be read, or a line is not UTF-8; with file, line and byte.
    """
    name = os.fspath(path)
    if name == "-":
        yield from _lines_of_words(_Pipe(), "standard input")
        return
    with open_file(name) as file:
        yield from _lines_of_words(open_stream(file), name)


class _Pipe:
    """Standard input as `read_lines` reads it."""

    def read(self, size: int) -> bytes:
        return sys.stdin.buffer.read(size)


def _lines_of_words(stream: Any, name: str) -> Iterator[list[str]]:
    for number, line in enumerate(read_lines(stream, 0, None, _MAX_LINE_BYTES), 1):
        if line.damage is not None:
            raise InputError(f"the file is damaged: {line.damage}", where=name)
        try:
            yield line.data.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise not_utf8(line.data, error, name, number) from error


def not_utf8(data: bytes, error: UnicodeDecodeError, path: str, line: int) -> InputError:
    """The error for a line of bytes that are not UTF-8."""
    return InputError(
        f"the text is not UTF-8: byte 0x{data[error.start]:02x}, {error.reason}",
        where=f"{path}: line {line}, byte {error.start + 1} of it",
        hint="convert it first, for example with iconv -f GB18030 -t UTF-8",
    )


def _words(line: Any) -> list[str]:
    if isinstance(line, str):
        return line.split()
    return [word for word in ("".join(word.split()) for word in line) if word]


def _spans(words: list[str]) -> Iterator[tuple[int, int]]:
    begin = 0
    for word in words:
        end = begin + len(word)
        yield begin, end
        begin = end


def _difference(number: int, left: str, right: str, names: tuple[str, str]) -> InputError:
    at = next((i for i, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))
    shown = [
        repr(text[max(0, at - 2) : at + _SHOWN]) if at < len(text) else "the end of the line"
        for text in (left, right)
    ]
    return InputError(
        f"the texts differ: {names[0]} has {shown[0]} where {names[1]} has {shown[1]}",
        where=f"line {number}, character {at + 1} (white space not counted)",
        hint="both must be the same text, line by line, cut in two ways",
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
