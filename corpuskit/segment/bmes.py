"""Segmented text with a tag for each character: B, M, E for a word's begin, middle and end, S for a single.

A line is a character and its tag, with white space between them; an empty line ends a sentence. Columns
between the two (as CRF++ has them) are passed over. Text of words with white space between them is read by
`corpuskit.segment.scoring.read_segmented`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from corpuskit.errors import InputError
from corpuskit.ingest.lines import read_lines
from corpuskit.ingest.streams import open_file, open_stream
from corpuskit.segment.scoring import not_utf8

_MAX_LINE_BYTES = 1 << 20
_AFTER = {"B": "ME", "M": "ME", "E": "BS", "S": "BS"}


def read_bmes(path: str | os.PathLike) -> Iterator[list[str]]:
    """Words of each sentence of a file, plain or compressed (gzip, zstd, lz4).

    Raises
    ------
    InputError
        If the file cannot be read or is not UTF-8, a line is not a character and a tag, or a tag is none of
        B, M, E, S or cannot follow the one before; with file and line.
    """
    name = os.fspath(path)
    with open_file(name) as file:
        yield from _sentences(_decoded_lines(file, name), name)


def words_of_tags(characters: Iterable[str], tags: Iterable[str], where: str = "tags") -> list[str]:
    """The words of tagged characters.

    Raises
    ------
    InputError
        If a tag is none of B, M, E, S, cannot follow the one before, or the last word has no end, or there
        are not as many tags as characters.
    """
    pairs = list(zip(characters := list(characters), tags := list(tags)))
    if len(characters) != len(tags):
        raise InputError(
            f"{len(characters)} characters have {len(tags)} tags", where=where, hint="give one tag each"
        )
    return _words(((i, character, tag) for i, (character, tag) in enumerate(pairs, 1)), where, "character")


def _decoded_lines(file: Any, name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_lines(open_stream(file), 0, None, _MAX_LINE_BYTES), 1):
        if line.damage is not None:
            raise InputError(f"the file is damaged: {line.damage}", where=name)
        try:
            yield number, line.data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(line.data, error, name, number) from error


def _sentences(lines: Iterable[tuple[int, str]], name: str) -> Iterator[list[str]]:
    tagged: list[tuple[int, str, str]] = []
    for number, line in lines:
        columns = line.split()
        if not columns:
            if tagged:
                yield _words(tagged, name, "line")
            tagged = []
        elif len(columns) == 1 or len(columns[0]) != 1:
            raise InputError(
                f"{line.strip()[:40]!r} is not a character and its tag",
                where=f"{name}: line {number}",
                hint="expected for example '我 S'; words with white space between them are another format",
            )
        else:
            tagged.append((number, columns[0], columns[-1]))
    if tagged:
        yield _words(tagged, name, "line")


def _words(tagged: Iterable[tuple[int, str, str]], where: str, unit: str) -> list[str]:
    words: list[str] = []
    before, number = "S", 0
    for number, character, tag in tagged:
        if tag not in _AFTER:
            raise InputError(
                f"{tag[:20]!r} is no tag",
                where=f"{where}: {unit} {number}",
                hint="expected B, M, E (begin, middle, end of a word) or S (a word of one character)",
            )
        if tag not in _AFTER[before]:
            raise InputError(
                f"the tag {tag} cannot follow {before}" if words else f"a sentence cannot begin with {tag}",
                where=f"{where}: {unit} {number}",
                hint="a word is S, or B, any number of M, and E",
            )
        if tag in "BS":
            words.append(character)
        else:
            words[-1] += character
        before = tag
    if before in "BM":
        raise InputError(
            f"the last word, {words[-1]!r}, has no end",
            where=f"{where}: {unit} {number}",
            hint="its last tag must be E or S",
        )
    return words
