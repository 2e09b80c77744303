"""The trained segmenter: words as a segmented text taught them, for strings and columns of documents.

It scores each character for the tags B, M, E, S (begin, middle and end of a word, and a word by itself) by a
linear model of character n-grams, character classes and dictionary words, and takes the best path (Ng and Low
2004; Xue 2003). It scores as a perceptron does; `corpuskit.segment.train_segmenter` learns the weights as a
conditional random field, which came out better. Unlike jieba's dictionary, a model follows whatever standard
its training text has, and knows words by their surroundings.

White space ends a sentence: each white-space character is a word by itself (a carriage return with its line
feed is one), and no word goes across it. All else, Latin letters and numbers too, is cut as the training text
does it. The words joined are exactly the text.

A user's word is cut out wherever it stands, unless it overlaps another user's word (then the model decides
between the two) or would end within a run of ASCII digits or of Latin letters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa

from corpuskit.errors import ConfigError, InputError
from corpuskit.kernels import perceptron as kernels
from corpuskit.kernels import trie as tries
from corpuskit.segment import batches, dictionary
from corpuskit.segment.perceptron_model import SegmenterModel, folded_codes, larger_trie, word_trie

LONGEST_USER_WORD = kernels.MARGIN // 2


class PerceptronSegmenter:
    """A segmenter with trained weights.

    Parameters
    ----------
    model : SegmenterModel
        From `train_segmenter` or `SegmenterModel.load`.
    user_dictionary : path-like or sequence of path-like, optional
        User dictionaries, as jieba's (``word [frequency] [tag]`` a line); only the words count.

    Raises
    ------
    InputError
        If a user dictionary is missing or has a bad line; the error names file and line.

    Notes
    -----
    It pickles with its model and words. Cutting from several threads is safe; adding words while another
    thread cuts is not.
    """

    def __init__(
        self,
        model: SegmenterModel,
        user_dictionary: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    ) -> None:
        self.model = model
        self._tables = model.tables()
        self._trie = word_trie(model.words, model.word_sources)
        self._added: dict[str, None] = {}
        if user_dictionary is not None:
            single = isinstance(user_dictionary, (str, os.PathLike))
            for path in [user_dictionary] if single else user_dictionary:  # type: ignore[union-attr]
                self.load_userdict(path)  # type: ignore[arg-type]

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        user_dictionary: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    ) -> PerceptronSegmenter:
        """The segmenter of a model file.

        Raises
        ------
        InputError
            If a file cannot be read or a user dictionary has a bad line.
        ArtifactError
            If the model file is no model, damaged, or of another format.
        """
        return cls(SegmenterModel.load(path), user_dictionary)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model, without user words, as one file that appears whole or not at all."""
        self.model.save(path)

    def __reduce__(self) -> tuple:
        return _restored, (self.model.to_bytes(), list(self._added))

    def __repr__(self) -> str:
        return f"PerceptronSegmenter({self.model.word_sources.size} words, {len(self._added)} user words)"

    @property
    def information(self) -> dict[str, Any]:
        """How the model was trained: plain JSON values."""
        return dict(self.model.information)

    def add_word(self, word: str) -> None:
        """Cut out `word` wherever it stands.

        Raises
        ------
        ConfigError
            If `word` is empty, has white space, or is longer than `LONGEST_USER_WORD` characters.
        InputError
            If it holds a lone surrogate.
        """
        batches.encode(word)
        if not word or word.split() != [word] or len(word) > LONGEST_USER_WORD:
            raise ConfigError(
                f"{word[:40]!r} cannot be a user's word",
                where="word",
                hint=f"it needs 1 to {LONGEST_USER_WORD} characters, none of them white space",
            )
        codes = folded_codes(word)
        while not tries.has_room(self._trie, codes.size):
            self._trie = larger_trie(self._trie)
        at = tries.insert(self._trie, codes, 0, codes.size)
        self._trie[at + 1] = int(self._trie[at + 1]) | kernels.USER
        self._added[word] = None

    def load_userdict(self, source: str | os.PathLike | IO) -> None:
        """Add the words of a user dictionary: a path, or an open file of bytes or text.

        Raises
        ------
        InputError
            For a line that is no entry, or a word that cannot match, naming file and line.
        """
        for entry in dictionary.read_user_dictionary(source):
            try:
                self.add_word(entry.word)
            except ConfigError as error:
                is_path = isinstance(source, (str, os.PathLike))
                name = os.fspath(source) if is_path else getattr(source, "name", repr(source))  # type: ignore[arg-type]
                raise InputError(error.what, where=f"{name}:{entry.line}", hint=error.hint) from error

    def cut(self, text: str) -> list[str]:
        """Words of `text`, in order; joined they are exactly `text`.

        Raises
        ------
        ConfigError
            If `text` is not a str.
        InputError
            If it holds a lone surrogate.
        """
        return batches.words(text, self._ends(text))

    def lcut(self, text: str) -> list[str]:
        """Same as `cut`, under jieba's name for it."""
        return self.cut(text)

    def tokenize(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Yield (word, start, end), positions in characters, as `cut` finds them."""
        ends = self._ends(text).tolist()
        return ((text[begin:end], begin, end) for begin, end in zip([0, *ends], ends))

    def cut_batch(
        self,
        texts: pa.Array | pa.ChunkedArray,
        *,
        unit: Literal["bytes", "characters"] = "bytes",
        threads: int = 1,
    ) -> pa.LargeListArray:
        """Word ends for a column of documents: arguments, result and errors are those of
        `Segmenter.cut_batch`."""
        kind = batches.unit_code(unit)
        column = batches.text_column(texts)
        rows, ends = batches.cut_column(column, partial(self._run, kind), threads)
        return batches.list_array(rows, pa.array(ends), column)

    def words_batch(self, texts: pa.Array | pa.ChunkedArray, *, threads: int = 1) -> pa.LargeListArray:
        """Words for a column of documents, as `Segmenter.words_batch` returns them."""
        column = batches.text_column(texts)
        rows, ends = batches.cut_column(column, partial(self._run, kernels.BYTES), threads)
        return batches.list_array(rows, batches.word_views(column, rows, ends), column)

    def _ends(self, text: str) -> np.ndarray:
        """Word ends in characters: int32."""
        data = np.frombuffer(batches.encode(text), np.uint8)
        offsets = np.array((0, data.size), np.int64)
        offsets.flags.writeable = False
        return self._run(kernels.CHARACTERS, data, offsets, len(text))[1]

    def _run(
        self, unit: int, data: np.ndarray, offsets: np.ndarray, characters: int, first_row: int = 0
    ) -> batches.Ends:
        out = np.empty(characters, np.int32)
        rows = np.empty(offsets.size, np.int64)
        n, row, byte = kernels.cut(data, offsets, self._trie, *self._tables, unit, out, rows)
        batches.require_utf8(row, byte, first_row)
        return rows, out[:n]


def _restored(content: bytes, words: list[str]) -> PerceptronSegmenter:
    segmenter = PerceptronSegmenter(SegmenterModel.from_bytes(content))
    for word in words:
        segmenter.add_word(word)
    return segmenter
