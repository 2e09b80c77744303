"""A segmented text as the arrays that training reads: characters, tags, features, held-out vocabulary.

Dictionary features overfit if the training text sees its own words as known: then every word is in the
vocabulary, and the model trusts it blindly (development text of People's Daily: recall of unknown words 0.59
where words seen but once were left out, 0.65 with what follows). So the text is divided into `FOLDS` runs of
lines, and a word that occurs in one of them only is not in the vocabulary that this one sees: it sees what an
unseen text will see.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from corpuskit.errors import ConfigError, InputError
from corpuskit.kernels import crf
from corpuskit.kernels import perceptron as kernels
from corpuskit.segment.perceptron_model import folded, folded_codes, word_trie

FOLDS = 10
_GAP = 3  # zeros between lines
_STOPS = "。！？；，、：!?;,:"
_NUMERALS = "一二三四五六七八九十百千万亿零〇○两壹贰叁肆伍陆柒捌玖拾佰仟"

Lines = Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class TrainingText:
    """Arrays over all characters, with gaps of zeros between lines.

    Attributes
    ----------
    codes : numpy.ndarray
        uint32, folded.
    lines, pieces : numpy.ndarray
        int64, begin and end of each line, and of each piece that ends with a punctuation mark.
    tags : numpy.ndarray
        uint8.
    starts : numpy.ndarray
        int64, where each word begins.
    """

    codes: np.ndarray
    lines: np.ndarray
    pieces: np.ndarray
    tags: np.ndarray
    starts: np.ndarray


def checked_lines(lines: Iterable[Sequence[str]], what: str) -> list[list[str]]:
    """The lines that have words.

    Raises
    ------
    ConfigError
        If a line is a string, or a word is none.
    InputError
        If there is no word at all, or a word has white space in it or a lone surrogate; with the line.
    """
    kept = []
    for number, line in enumerate(lines, 1):
        if isinstance(line, str):
            raise ConfigError(
                "a line is a str, not a sequence of words",
                where=f"{what}, line {number}",
                hint="give line.split()",
            )
        words = [word for word in line if word]
        for word in words:
            if not isinstance(word, str):
                raise ConfigError(
                    f"a word is a {type(word).__name__}, not a str", where=f"{what}, line {number}"
                )
        if not words:
            continue
        if " ".join(words).split() != words:
            bad = next(word for word in words if word.split() != [word])
            raise InputError(
                f"the word {bad!r} has white space in it",
                where=f"{what}, line {number}",
                hint="white space always ends a word: split it, or take the space out",
            )
        try:
            "".join(words).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"a word holds a lone surrogate U+{ord(error.object[error.start]):04X}",
                where=f"{what}, line {number}",
                hint="decode the original bytes without 'surrogateescape'",
            ) from error
        kept.append(words)
    if not kept:
        raise InputError(
            "there is no word in it",
            where=what,
            hint="expected words separated by white space, one sentence a line",
        )
    return kept


def encode(lines: Lines) -> TrainingText:
    """Characters and tags of lines of words."""
    texts = ["".join(line) for line in lines]
    gap = "\0" * _GAP
    codes = folded_codes(gap + gap.join(texts) + gap)
    lengths = np.array([len(text) for text in texts], np.int64)
    begins = _GAP + np.concatenate([[0], np.cumsum(lengths + _GAP)[:-1]])
    bounds = np.stack([begins, begins + lengths], axis=1)
    words = np.array([len(word) for line in lines for word in line], np.int64)
    per_line = np.array([len(line) for line in lines], np.int64)
    gaps = _GAP * (1 + np.repeat(np.arange(len(lines)), per_line))
    starts = np.concatenate([[0], np.cumsum(words)[:-1]]) + gaps
    tags = np.full(codes.size, kernels.M, np.uint8)
    tags[starts + words - 1] = kernels.E
    tags[starts] = kernels.B
    single = starts[words == 1]
    tags[single] = kernels.S
    stops = single[np.isin(codes[single], [ord(c) for c in folded(_STOPS)])] + 1
    ends = np.union1d(stops, bounds[:, 1])
    pieces = np.stack([np.concatenate([bounds[:1, 0], ends[:-1]]), ends], axis=1)
    after_line = np.isin(pieces[:, 0], bounds[:, 1])
    pieces[after_line, 0] += _GAP
    return TrainingText(codes, bounds, pieces, tags, starts)


def vocabulary_trie(lines: Lines, dictionary: Collection[str]) -> np.ndarray:
    """Trie of the words of the lines, each with its only fold where it has but one, and of the dictionary."""
    fold_of: dict[str, int] = {}
    for i, line in enumerate(lines):
        fold = i * FOLDS // len(lines)
        for word in line:
            if fold_of.setdefault(word, fold) != fold:
                fold_of[word] = -1
    vocabulary: dict[str, int] = {}
    for word, fold in fold_of.items():
        if vocabulary.setdefault(folded(word), fold) != fold:
            vocabulary[folded(word)] = -1
    words, sources = word_list(vocabulary, dictionary)
    folds = np.array([vocabulary.get(word, -1) + 1 for word in words.split("\n")], np.int64)
    return word_trie(words, sources | folds << kernels.FOLD_SHIFT if sources.size else sources)


def word_list(vocabulary: Iterable[str], dictionary: Iterable[str]) -> tuple[str, np.ndarray]:
    """`words` and `word_sources` of a `SegmenterModel`: those that are short enough to be features."""
    sources: dict[str, int] = {}
    for words, source in ((vocabulary, kernels.VOCABULARY), (dictionary, kernels.DICTIONARY)):
        for word in words:
            if len(word) <= kernels.LONGEST:
                name = folded(word)
                sources[name] = sources.get(name, 0) | source
    ordered = sorted(sources)
    return "\n".join(ordered), np.array([sources[word] for word in ordered], np.uint8)


def folds_of(count: int) -> np.ndarray:
    """The fold of each of so many lines: int64."""
    return np.arange(count, dtype=np.int64) * FOLDS // max(count, 1)


def character_ids(text: TrainingText, classes: np.ndarray, min_count: int) -> np.ndarray:
    """Ids by code point, as `corpuskit.kernels.perceptron.identify` uses them: uint16.

    Characters that occur less than `min_count` times share the id of their class, so that the model learns
    what an unknown character is like.
    """
    ids = classes.astype(np.uint16)
    found, counts = np.unique(text.codes, return_counts=True)
    known = found[(counts >= min_count) & (found > 0) & (found < 65536)]
    known = known[(classes[known] != kernels.DIGIT) & (classes[known] != kernels.SPACE)]
    ids[known] = kernels.FIRST_CHARACTER + np.arange(known.size)
    ids[0xFF01:0xFF5F] = ids[0x21:0x7F]
    return ids


def character_features(
    text: TrainingText, trie: np.ndarray, ids_of: np.ndarray, classes: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all characters (uint16), and their rows of `crf.context_rows` (int32, shape (6, characters))."""
    size = text.codes.size
    ids, kinds = np.zeros(size, np.uint16), np.zeros(size, np.uint8)
    states, favoured = np.zeros((size, kernels.STATES), np.uint8), np.zeros(size, np.uint8)
    rows = np.zeros((6, size), np.int32)
    crf.read_lines(text.codes, text.lines, folds, trie, ids_of, classes, ids, kinds, states, favoured, rows)
    return ids, rows


@cache
def character_classes() -> np.ndarray:
    """Class of each code point below 65536: uint8; from Unicode's general category."""
    classes = np.full(65536, kernels.OTHER, np.uint8)
    for code in range(65536):
        character = chr(code)
        category = unicodedata.category(character)
        if character.isspace():
            classes[code] = kernels.SPACE
        elif "0" <= character <= "9" or "０" <= character <= "９":
            classes[code] = kernels.DIGIT
        elif character in _NUMERALS:
            classes[code] = kernels.NUMERAL
        elif "CJK" in (name := unicodedata.name(character, "")) and category == "Lo":
            classes[code] = kernels.HAN
        elif "LATIN" in name and category[0] == "L":
            classes[code] = kernels.LATIN
        elif category[0] in "PS":
            classes[code] = kernels.PUNCTUATION
    classes.flags.writeable = False
    return classes
