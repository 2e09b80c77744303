"""New words of a corpus: strings that hold together, stand freely, and are not in the dictionary.

A candidate is a run of two or more Han characters. What is asked of it:

* *cohesion*: pointwise mutual information in bits, the least over all ways to cut the string in two, each
  probability taken over n-grams of its own length (a total over all lengths, which is common, makes long
  strings look better than they are);
* *freedom*: the branching entropy of what stands before and behind (Harris 1955; Jin and Tanaka-Ishii
  2006), a separator counting by its kind;
* *edges*: both ends are word boundaries when the dictionary cuts the text, so that 定条 out of 规定条件 is
  none; and the pieces that the dictionary leaves as single characters are characters that occur inside
  words. Function characters at the edges fall by that, without a list of them: in jieba's dictionary 的 is
  a word of its own 99 times in a hundred, 贸 never.

The score is the product of cohesion, the lesser freedom, the logarithm of the count to base 2, and the edges.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from corpuskit.errors import ConfigError, InputError
from corpuskit.segment import dictionary
from corpuskit.segment.ngrams import Corpus, Level, Neighbours
from corpuskit.segment.segmenter import Segmenter

_NUMERALS = "〇零一二三四五六七八九十百千万亿两"
_NUMBER = re.compile(
    f"[{_NUMERALS}]{{2}}|第[{_NUMERALS}几]|[几数][{_NUMERALS}]|^[{_NUMERALS}]+.$|"
    f"[{_NUMERALS}][年月日时分秒点号周天旬条款项章节编卷届次个名件位人元角倍级期度岁]"
)
"""Numbers, dates and counted things; one numeral among other characters (三聚氰胺) is none."""

_FUNCTION_TAGS = frozenset("cpudfrmqyeo")
"""Conjunction, preposition, particle, adverb, locality, pronoun, numeral, measure, interjection …: the
first letters of the tags of jieba's dictionary (the tag set of the Peking University corpus)."""

_FUNCTION_FACTOR = 0.2
"""What a piece that is a function word multiplies the score by: a name may hold one (李在明)."""

_BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class DiscoveryConfig:
    """What counts as a new word.

    Attributes
    ----------
    max_length : int
        Longest word, in characters; 2 to 12.
    min_count : int
        Least number of occurrences.
    min_cohesion : float
        Least pointwise mutual information of the weakest cut, in bits.
    min_entropy : float
        Least branching entropy on either side, in bits.
    min_aligned : float
        Least share of the occurrences whose ends are word boundaries of the dictionary.
    max_inside : float
        Greatest share of the occurrences with one and the same character before, or behind: what is
        nearly always inside a longer string is a part of it.
    min_score : float
        Least score. Around 13 half of what is found in news transcripts are words, below 1 none.
    compounds : bool
        Also take strings that the dictionary cuts into words of two and more characters throughout
        (历史建筑): most are terms or phrases rather than words.
    max_words : int
        How many of the highest score to return.
    memory_mb : int
        Memory for tables and n-grams, in MiB; at least 64. Where more n-grams are frequent than fit, the
        count asked of them is raised.

    Raises
    ------
    ConfigError
        If a value is impossible.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_length: int = 6
    min_count: int = 10
    min_cohesion: float = 3.0
    min_entropy: float = 1.5
    min_aligned: float = 0.3
    max_inside: float = 0.8
    min_score: float = 20.0
    compounds: bool = False
    max_words: int = 10_000
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "max_length": (2, 12),
            "min_count": (2, 1 << 40),
            "min_cohesion": (0, 64),
            "min_entropy": (0, 16),
            "min_aligned": (0, 1),
            "max_inside": (0, 1),
            "min_score": (0, 1e6),
            "max_words": (1, 1 << 31),
            "memory_mb": (64, 1 << 20),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{value!r} is not possible", where=name, hint=f"{least} to {most}")


SCHEMA = pa.schema([
    ("word", pa.string()), ("count", pa.int64()), ("cohesion", pa.float64()), ("left_entropy", pa.float64()),
    ("right_entropy", pa.float64()), ("aligned", pa.float64()), ("score", pa.float64()),
    ("pieces", pa.string()), ("frequency", pa.int64()),
])  # fmt: skip
"""Columns of what `discover_words` returns."""


def discover_words(
    texts: Iterable[Any],
    segmenter: Segmenter | None = None,
    config: DiscoveryConfig | None = None,
    *,
    threads: int = 1,
    directory: str | os.PathLike | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> pa.Table:
    """Find the words of a corpus that the dictionary lacks.

    Parameters
    ----------
    texts : iterable of str, pyarrow string arrays, or batches with a column `text`
        Read once, in any order.
    segmenter : Segmenter, optional
        Whose dictionary is meant, user words included; by default jieba's.
    config : DiscoveryConfig, optional
    threads : int
        For cutting with the dictionary; the result does not depend on it.
    directory : path-like, optional
        For temporary files, needed where the corpus is larger than about `memory_mb` / 13: 5 bytes a byte
        of text.
    on_progress : callable, optional
        Called with a line of text at each stage.

    Returns
    -------
    pyarrow.Table
        A row a word, of falling score: `word`; `count`; `cohesion`, `left_entropy` and `right_entropy` in
        bits; `aligned`; `score`; `pieces`, the word as the dictionary cuts it, with ``|`` between; and
        `frequency`, with which a dictionary makes it one word (`Segmenter.suggest_freq`, and at least
        `count`). The schema's metadata holds ``min_count``, the count that was asked for.

    Raises
    ------
    InputError
        If there is no Chinese text, or a text is not UTF-8.
    """
    segmenter = Segmenter() if segmenter is None else segmenter
    config = DiscoveryConfig() if config is None else config
    profile = read_profile(segmenter)
    candidates: list[_Candidate] = []
    min_count = config.min_count
    with Corpus(config.memory_mb << 20, config.max_length, directory) as corpus:
        for array in _arrays(texts):
            corpus.add(array, segmenter, threads)
        if not corpus.totals[1]:
            raise InputError("there is no Chinese text to find words in", where="texts")
        for length, levels, neighbours in corpus.levels(config.min_count, on_progress):
            min_count = levels[length].min_count
            cohesion = _cohesion(levels, corpus.totals, length)
            wanted = np.flatnonzero(cohesion >= config.min_cohesion)
            beside = neighbours(wanted)
            good = _passing(beside, config)
            numbers = wanted[good]
            words = corpus.strings(levels, length, numbers)
            facts = zip(
                words, levels[length].counts[numbers].tolist(), cohesion[numbers].tolist(),
                *(column[good].tolist() for column in beside),
            )  # fmt: skip
            for word, count, bits, left, right, _, aligned in facts:
                candidate = _judge(word, count, bits, left, right, aligned, segmenter, profile, config)
                if candidate is not None and candidate.score >= config.min_score:
                    candidates.append(candidate)
            if not levels[length].counts.size:
                break
    candidates.sort(key=lambda c: (-c.score, c.word))
    return _table(candidates[: config.max_words], segmenter, min_count)


@dataclass(frozen=True)
class _Candidate:
    word: str
    count: int
    cohesion: float
    left_entropy: float
    right_entropy: float
    aligned: float
    score: float
    pieces: str


class Profile(NamedTuple):
    """Where the dictionary's words have their characters, weighted by frequency, and its tags.

    Attributes
    ----------
    alone, first, middle, last : dict of str to int
        Frequency of each character as a word, and at each place of longer words.
    tags : dict of str to str
    """

    alone: dict[str, int]
    first: dict[str, int]
    middle: dict[str, int]
    last: dict[str, int]
    tags: dict[str, str]

    def inside_words(self, character: str, place: dict[str, int]) -> float:
        """Probability that `character` is at that place of a word rather than a word, add-one smoothed."""
        inside = sum(
            table.get(character, 0)
            for table in ([self.first, self.middle, self.last] if place is self.middle else [place])
        )
        return (inside + 1) / (inside + self.alone.get(character, 0) + 2)


def read_profile(segmenter: Segmenter) -> Profile:
    """The profile of a segmenter's main dictionary; where that has no tags, only user words have."""
    path = Path(segmenter.dictionary or dictionary.jieba_directory() / "dict.txt")
    status = path.stat()
    profile = _profile(str(path), status.st_size, status.st_mtime_ns)
    return profile._replace(tags=profile.tags | segmenter.tags)


@lru_cache(maxsize=1)
def _profile(path: str, *_: int) -> Profile:
    """The profile of a dictionary file; the further arguments tell one content from the next."""
    profile = Profile({}, {}, {}, {}, {})
    alone, first, middle, last, tags = profile
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        fields = line.split(" ")
        word, frequency = fields[0], int(fields[1])
        if len(fields) > 2:
            tags[word] = fields[2]
        if len(word) == 1:
            alone[word] = alone.get(word, 0) + frequency
            continue
        first[word[0]] = first.get(word[0], 0) + frequency
        last[word[-1]] = last.get(word[-1], 0) + frequency
        for character in word[1:-1]:
            middle[character] = middle.get(character, 0) + frequency
    return profile


def _arrays(texts: Iterable[Any]) -> Iterable[pa.Array]:
    """Arrow arrays of strings, Python strings being gathered into large ones."""
    waiting: list[str] = []
    size = 0
    for item in [texts] if isinstance(texts, (str, pa.Array, pa.ChunkedArray)) else texts:
        if not isinstance(item, str):
            yield item.column("text") if isinstance(item, (pa.RecordBatch, pa.Table)) else item
            continue
        waiting.append(item)
        size += 3 * len(item)
        if size >= _BATCH_BYTES:
            yield _string_array(waiting)
            waiting, size = [], 0
    if waiting:
        yield _string_array(waiting)


def _string_array(texts: list[str]) -> pa.Array:
    try:
        return pa.array(texts, pa.large_string())
    except (UnicodeEncodeError, pa.ArrowInvalid) as error:
        raise InputError(
            "a text holds a lone surrogate, which is no character",
            where="texts",
            hint="decode the original bytes without 'surrogateescape', or replace it",
        ) from error


def _cohesion(levels: list[Level], totals: np.ndarray, length: int) -> np.ndarray:
    """Pointwise mutual information of the weakest cut, in bits, for each frequent n-gram of a length."""
    counts = levels[length].counts
    share = np.log2(counts) - math.log2(max(1, totals[length]))
    beginnings = {length - 1: levels[length].prefixes}
    endings = {length - 1: levels[length].suffixes}
    for n in range(length - 2, 0, -1):
        beginnings[n] = levels[n + 1].prefixes[beginnings[n + 1]]
        endings[n] = levels[n + 1].suffixes[endings[n + 1]]
    shares = {
        n: [
            np.log2(levels[n].counts[rows]) - math.log2(max(1, totals[n]))
            for rows in (beginnings[n], endings[n])
        ]
        for n in range(1, length)
    }
    weakest = np.full(counts.size, np.inf)
    for n in range(1, length):
        weakest = np.minimum(weakest, share - shares[n][0] - shares[length - n][1])
    return weakest


def _passing(beside: Neighbours, config: DiscoveryConfig) -> np.ndarray:
    return np.flatnonzero(
        (np.minimum(beside.left, beside.right) >= config.min_entropy)
        & (beside.inside <= config.max_inside)
        & (beside.aligned >= config.min_aligned)
    )


def _judge(
    word: str,
    count: int,
    cohesion: float,
    left: float,
    right: float,
    aligned: float,
    segmenter: Segmenter,
    profile: Profile,
    config: DiscoveryConfig,
) -> _Candidate | None:
    """The candidate with its score, or None if it is a number, known, or a compound not wanted."""
    if segmenter.frequency(word) or _NUMBER.search(word):
        return None
    pieces = segmenter.cut(word, hmm=False)
    if not config.compounds and all(len(piece) > 1 for piece in pieces):
        return None
    edges = aligned
    at = 0
    for piece in pieces:
        at += len(piece)
        if len(piece) == 1:
            place = profile.first if at == 1 else profile.last if at == len(word) else profile.middle
            edges *= profile.inside_words(piece, place)
        if profile.tags.get(piece, "x")[0] in _FUNCTION_TAGS:
            edges *= _FUNCTION_FACTOR
    score = cohesion * min(left, right) * math.log2(count) * edges
    return _Candidate(word, count, cohesion, left, right, aligned, score, "|".join(pieces))


def _table(candidates: list[_Candidate], segmenter: Segmenter, min_count: int) -> pa.Table:
    frequencies = [
        min(max(segmenter.suggest_freq(c.word), c.count), dictionary.MAX_FREQUENCY) for c in candidates
    ]
    names = SCHEMA.names[:-1]
    columns: list[Any] = [[getattr(c, name) for c in candidates] for name in names]
    arrays = [pa.array(column, field.type) for column, field in zip([*columns, frequencies], SCHEMA)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA.with_metadata({"min_count": str(min_count)}))


def dictionary_lines(words: pa.Table) -> Iterable[str]:
    """Lines of a user dictionary, ``word frequency x`` (the tag of unknown words), without their ends."""
    for word, frequency in zip(words.column("word").to_pylist(), words.column("frequency").to_pylist()):
        yield f"{word} {frequency} x"
