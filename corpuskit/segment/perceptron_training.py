"""Training the segmenter: from lines of words to a model, with early stopping on development text.

Weights are learnt as a conditional random field (`corpuskit.kernels.crf`), kept where an n-gram occurs at
least twice, and rounded to int8 (0.0001 of F1 lost on development text of People's Daily). Without
development text a twentieth of the lines, whole blocks of them, is set aside to find how many epochs are
best; then the model is trained on all lines for that many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from corpuskit.errors import ConfigError, InputError
from corpuskit.kernels import crf
from corpuskit.kernels import perceptron as kernels
from corpuskit.segment import dictionary as dictionaries
from corpuskit.segment.perceptron import PerceptronSegmenter
from corpuskit.segment.perceptron_model import SegmenterModel
from corpuskit.segment.training_text import (
    Lines,
    TrainingText,
    character_classes,
    character_features,
    character_ids,
    checked_lines,
    encode,
    folds_of,
    vocabulary_trie,
    word_list,
)

_MIN_LINES = 20  # with fewer, none is set aside
_SET_ASIDE = 20  # one block of so many
_BLOCK_LINES = 100
# Distances from the character to where the n-gram begins: one role each.
_ROLES = {
    "unigrams": (-2, -1, 0, 1, 2), "bigrams": (-2, -1, 0, 1), "skips": (-1,), "trigrams": (-2, -1, 0),
    "windows": (0,), "repeats": (0,), "vocabulary": (0,), "vocabulary_junctions": (0, 1),
    "dictionary": (0,), "dictionary_junctions": (0, 1),
}  # fmt: skip


@dataclass(frozen=True)
class EpochReport:
    """How training stands after an epoch.

    Attributes
    ----------
    epoch, epochs : int
        This one, counted from 1, and the most there will be.
    loss : float
        Negative log probability of the right tags, in nats a character.
    precision, recall, f1, oov_recall : float or None
        On the development text (words outside the training vocabulary for the last); None without one.
    best : bool
        Whether no epoch before was better.
    final : bool
        Whether this is the training on all lines.
    """

    epoch: int
    epochs: int
    loss: float
    precision: float | None
    recall: float | None
    f1: float | None
    oov_recall: float | None
    best: bool
    final: bool


def train_segmenter(
    training: Iterable[Sequence[str]],
    development: Iterable[Sequence[str]] | None = None,
    *,
    dictionary: str | os.PathLike | Collection[str] | None = "jieba",
    epochs: int = 10,
    patience: int = 2,
    learning_rate: float = 0.05,
    min_count: int = 2,
    seed: int = 0,
    progress: Callable[[EpochReport], None] | None = None,
) -> PerceptronSegmenter:
    """Train a segmenter on segmented text.

    Parameters
    ----------
    training : iterable of sequences of str
        The words of each line, without white space. Empty words and lines are passed over.
    development : iterable of sequences of str, optional
        Text to choose the number of epochs by. Without it, blocks of training lines are set aside for
        that, and the model is then trained on all lines; with fewer than 20 lines, all epochs are run.
    dictionary : {"jieba"}, path-like, collection of str, or None
        Words the model may look up as a feature beside its own vocabulary: those of the installed jieba, of a
        file as jieba's (``word frequency [tag]`` a line), or given; None for the training text alone.
        They become part of the model.
    epochs : int
        The most passes over the text.
    patience : int
        Stop after so many epochs without a better F1.
    learning_rate : float
        Step width of AdaGrad.
    min_count : int
        N-grams and characters that occur less often get no weights of their own.
    seed : int
        Of the lines set aside and the order of sentences. Equal input and seed give an equal model.
    progress : callable, optional
        Called with an `EpochReport` after each epoch.

    Raises
    ------
    ConfigError
        If a parameter is impossible, or a line is not a sequence of words.
    InputError
        If there is no word, a word has white space in it, or the dictionary is missing or has a bad line.
    """
    _check(epochs, patience, learning_rate, min_count, seed)
    lines = checked_lines(training, "training text")
    known = _dictionary_words(dictionary)
    held_out: Lines | None = None
    if development is not None:
        held_out = checked_lines(development, "development text")
    facts: dict[str, Any] = {
        "lines": len(lines), "words": sum(map(len, lines)), "dictionary_words": len(known),
        "min_count": min_count, "learning_rate": learning_rate, "seed": seed,
    }  # fmt: skip
    part: Lines = lines
    if development is None and len(lines) >= _MIN_LINES:
        part, held_out = set_aside(lines, seed)
    search = _Training(part, known, min_count, held_out)
    best, report = search.run(epochs, patience, learning_rate, seed, progress, final=part is lines)
    if part is not lines:
        search = _Training(lines, known, min_count, None)
        search.run(report.epoch, patience, learning_rate, seed, progress, final=True)
        best = search.weights, search.steps
    facts["epochs"] = report.epoch
    facts["development_f1"], facts["development_oov_recall"] = report.f1, report.oov_recall
    return PerceptronSegmenter(search.model(*best, facts))


def set_aside(lines: Lines, seed: int) -> tuple[Lines, Lines]:
    """A twentieth of the lines as development text, in blocks of up to 100, and the rest.

    Neighbouring lines share a topic and its words, so single lines would flatter the model.
    """
    size = max(1, min(_BLOCK_LINES, len(lines) // (2 * _SET_ASIDE)))
    blocks = -(-len(lines) // size)
    chosen = np.random.default_rng(seed).permutation(blocks)[: max(1, blocks // _SET_ASIDE)]
    aside = np.zeros(blocks, bool)
    aside[chosen] = True
    return (
        [line for i, line in enumerate(lines) if not aside[i // size]],
        [line for i, line in enumerate(lines) if aside[i // size]],
    )


class _Training:
    """Features, weights and development text of one training."""

    def __init__(
        self, lines: Lines, dictionary: Collection[str], min_count: int, development: Lines | None
    ) -> None:
        self._lines, self._dictionary = lines, dictionary
        self._classes = character_classes()
        self._text = encode(lines)
        self._ids_of = character_ids(self._text, self._classes, min_count)
        trie = vocabulary_trie(lines, dictionary)
        ids, rows = character_features(self._text, trie, self._ids_of, self._classes, folds_of(len(lines)))
        self._keys: list[np.ndarray] = []
        grams = []
        for keys in _ngram_keys(ids):
            unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
            kept = (counts >= min_count) & (unique > 0)
            number = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
            grams.append(number[inverse.reshape(-1)])
            self._keys.append(unique[kept])
        self._rows = np.concatenate([ids[None].astype(np.int32), np.array(grams), rows])
        table_rows = [
            max(int(self._ids_of.max()) + 1, kernels.FIRST_CHARACTER),
            *(keys.size for keys in self._keys), kernels.CLASS_WINDOWS, kernels.REPEATS,
            *(2 * (kernels.TRIPLES, kernels.JUNCTIONS)),
        ]  # fmt: skip
        self._layout, self._templates, size = _layout(table_rows)
        self.weights, self._squares = np.zeros(size, np.float32), np.full(size, 1e-6, np.float32)
        self.steps, self._step_squares = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
        self._development = None if development is None else self._held_out(development, trie)

    def _held_out(self, lines: Lines, trie: np.ndarray) -> tuple[TrainingText, np.ndarray, np.ndarray]:
        """Development text, its rows, and where its unknown words begin."""
        text = encode(lines)
        ids, rows = character_features(text, trie, self._ids_of, self._classes, np.full(len(lines), -1))
        grams = [_places(known, keys) for known, keys in zip(self._keys, _ngram_keys(ids))]
        vocabulary = set(chain.from_iterable(self._lines))
        unknown = np.zeros(text.codes.size, np.uint8)
        is_new = [word not in vocabulary for line in lines for word in line]
        unknown[text.starts[np.array(is_new, bool)]] = 1
        return text, np.concatenate([ids[None].astype(np.int32), np.array(grams), rows]), unknown

    def run(
        self, epochs: int, patience: int, rate: float, seed: int,
        progress: Callable[[EpochReport], None] | None, *, final: bool,
    ) -> tuple[tuple[np.ndarray, np.ndarray], EpochReport]:  # fmt: skip
        """Train; the weights of the best epoch (the last without development text), and its report."""
        random = np.random.default_rng(seed)
        best: tuple[np.ndarray, np.ndarray] = (self.weights, self.steps)
        best_report: EpochReport | None = None
        for epoch in range(1, epochs + 1):
            loss = crf.train_epoch(
                self.weights, self._squares, self.steps, self._step_squares, self._rows, self._templates,
                self._text.pieces, self._text.tags, random.permutation(len(self._text.pieces)), rate,
            )  # fmt: skip
            scores = self._score()
            better = best_report is None or scores is None or scores[2] > (best_report.f1 or 0.0)
            characters = int((self._text.lines[:, 1] - self._text.lines[:, 0]).sum())
            precision, recall, f1, oov_recall = scores or (None, None, None, None)
            report = EpochReport(
                epoch, epochs, loss / characters, precision, recall, f1, oov_recall, better, final
            )
            if better:
                best_report = report
                best = (self.weights.copy(), self.steps.copy()) if scores else (self.weights, self.steps)
            if progress is not None:
                progress(report)
            if best_report is not None and epoch - best_report.epoch >= patience:
                break
        if best_report is None:
            raise ConfigError("no epoch was run", where="epochs")
        return best, best_report

    def _score(self) -> tuple[float, float, float, float | None] | None:
        """Precision, recall, F1 and recall of unknown words on the development text."""
        if self._development is None:
            return None
        text, rows, unknown = self._development
        wanted, found, right, unknown_right = crf.evaluate(
            self.weights, self.steps, rows, self._templates, text.lines, text.tags, unknown
        )
        total = int(unknown.sum())
        return (
            right / max(found, 1), right / wanted, 2 * right / (wanted + found),
            unknown_right / total if total else None,
        )  # fmt: skip

    def model(self, weights: np.ndarray, steps: np.ndarray, facts: dict[str, Any]) -> SegmenterModel:
        """The model of rounded weights; n-grams whose weights all round to 0 are left out."""
        scale = 127 / max(float(np.abs(weights).max()), 1e-9)
        tables = {}
        for name, (begin, rows, roles) in self._layout.items():
            part = weights[begin : begin + rows * roles * 4].reshape(rows, roles, 4)
            tables[name] = np.rint(part * scale).astype(np.int8)
        keys = {}
        for name, known in zip(("bigrams", "skips", "trigrams"), self._keys):
            kept = tables[name].any(axis=(1, 2))
            keys[name], tables[name] = known[kept].astype(np.uint64), tables[name][kept]
        words, sources = word_list({word for line in self._lines for word in line}, self._dictionary)
        return SegmenterModel(
            self._ids_of, self._classes, keys["bigrams"], keys["skips"], keys["trigrams"],
            tables["unigrams"], tables["bigrams"], tables["skips"], tables["trigrams"],
            tables["windows"][:, 0], tables["repeats"][:, 0],
            np.stack([tables["vocabulary"][:, 0], tables["dictionary"][:, 0]]),
            np.stack([tables["vocabulary_junctions"], tables["dictionary_junctions"]]),
            np.rint(steps * scale).astype(np.int32), words, sources, facts,
        )  # fmt: skip


def _ngram_keys(ids: np.ndarray) -> list[np.ndarray]:
    """Keys of the bigram, the bigram with a gap, and the trigram that begin at each character: int64."""
    wide = np.concatenate([ids, [0, 0]]).astype(np.int64)
    a, b, c = wide[:-2], wide[1:-1], wide[2:]
    return [a << 16 | b, a << 16 | c, a << 32 | b << 16 | c]


def _places(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Index of each key in the sorted `known`, or -1: int32."""
    if not known.size:
        return np.full(keys.size, -1, np.int32)
    at = np.minimum(np.searchsorted(known, keys), known.size - 1)
    return np.where(known[at] == keys, at, -1).astype(np.int32)


def _layout(counts: list[int]) -> tuple[dict[str, tuple[int, int, int]], np.ndarray, int]:
    """Begin, rows and roles of each kind's weights; the templates; and the number of all weights."""
    layout, templates, begin = {}, [], 0
    for kind, ((name, distances), rows) in enumerate(zip(_ROLES.items(), counts, strict=True)):
        width = 4 * len(distances)
        layout[name] = (begin, rows, len(distances))
        templates += [(kind, distance, begin + 4 * role, width) for role, distance in enumerate(distances)]
        begin += rows * width
    return layout, np.array(templates, np.int64), begin


def _dictionary_words(source: str | os.PathLike | Collection[str] | None) -> frozenset[str]:
    """Words of the dictionary that can be features."""
    if source is None:
        return frozenset()
    if isinstance(source, (str, os.PathLike)):
        path = dictionaries.jieba_directory() / "dict.txt" if source == "jieba" else Path(source)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"the dictionary cannot be read: {error.strerror}", where=str(path), hint="check the path"
            ) from error
        words, _ = dictionaries.parse_dictionary(content, str(path))
        return frozenset(word for word, count in words.items() if count and len(word) <= kernels.LONGEST)
    for word in source:
        if not isinstance(word, str) or word.split() != [word]:
            raise ConfigError(
                f"{word!r} is no word", where="dictionary", hint="give strings without white space"
            )
    return frozenset(word for word in source if len(word) <= kernels.LONGEST)


def _check(epochs: int, patience: int, learning_rate: float, min_count: int, seed: int) -> None:
    for name, value, least in (
        ("epochs", epochs, 1), ("patience", patience, 1), ("min_count", min_count, 1), ("seed", seed, 0),
    ):  # fmt: skip
        if not isinstance(value, int) or value < least:
            raise ConfigError(
                f"impossible value {value!r}", where=name, hint=f"give an integer of at least {least}"
            )
    if not 0 < learning_rate <= 10:
        raise ConfigError(
            f"impossible value {learning_rate!r}", where="learning_rate", hint="above 0, at most 10"
        )
