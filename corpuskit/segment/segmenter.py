"""The segmenter: exactly jieba 0.42.1's words, for one string or for a column of documents.

One deliberate difference: a word deleted from one segmenter stays known to the others. jieba keeps
deleted words in one set for the whole process, so there a deletion changes every `Tokenizer`.
"""

from __future__ import annotations

import os
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from math import inf, log
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa

from corpuskit.errors import ConfigError, InputError, MismatchError
from corpuskit.kernels import ranked_trie as trie
from corpuskit.kernels import segmentation
from corpuskit.segment import batches, dictionary, full_mode, tables

Token = tuple[str, int, int]

_BOUNDS = struct.Struct("qq")


class Segmenter:
    """jieba's segmentation with a dictionary of its own.

    Parameters
    ----------
    dictionary : path-like, optional
        A main dictionary (``word frequency [tag]`` a line); by default the installed jieba's.
    user_dictionary : path-like or sequence of path-like, optional
        User dictionaries, loaded in order as by `load_userdict`.
    hmm : bool
        Whether to find words outside the dictionary with jieba's hidden Markov model, where a call
        does not say.

    Raises
    ------
    InputError
        If a dictionary is missing or has a bad line; the error names file and line.

    Notes
    -----
    Segmenters are independent of each other and pickle by name of the dictionary and the words that were
    added. Cutting from several threads is safe; adding words while another thread cuts is not.
    """

    def __init__(
        self,
        dictionary: str | os.PathLike | None = None,
        user_dictionary: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        *,
        hmm: bool = True,
    ) -> None:
        self.dictionary = None if dictionary is None else os.path.abspath(dictionary)  # noqa: PTH100
        self.hmm = hmm
        self.tags: dict[str, str] = {}
        """Tags of user words, as given."""
        self._added: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._lock = threading.RLock()
        self._load()
        if user_dictionary is not None:
            single = isinstance(user_dictionary, (str, os.PathLike))
            for path in [user_dictionary] if single else user_dictionary:  # type: ignore[union-attr]
                self.load_userdict(path)  # type: ignore[arg-type]

    def _load(self) -> None:
        loaded = tables.load_dictionary(self.dictionary)
        self._key = loaded.key
        self._trie = loaded.trie
        self._frequencies = loaded.frequencies
        self._others = loaded.others
        self._total = loaded.total
        self._model = tables.load_hmm(loaded.trie.ranks)

    def __getstate__(self) -> dict[str, Any]:
        names = ("dictionary", "hmm", "tags", "_added", "_deleted", "_key", "_total")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
        self._load()
        if self._key != state["_key"]:
            raise MismatchError(
                "the dictionary is not the one this segmenter was pickled with",
                where=self.dictionary or "the installed jieba",
                hint="use the same dictionary file and jieba version in every process",
            )
        for word, frequency in self._added.items():
            self._insert(word, frequency)
        for word in self._deleted:
            self._force_split(word)
        self._total = state["_total"]

    def __repr__(self) -> str:
        return f"Segmenter(dictionary={self.dictionary!r}, hmm={self.hmm}, {len(self._added)} words added)"

    @property
    def total(self) -> int:
        """Sum of all frequencies, as jieba counts it: overwriting a word only adds to it."""
        return self._total

    def cut(self, text: str, *, hmm: bool | None = None, cut_all: bool = False) -> list[str]:
        """Words of `text`, in order.

        Parameters
        ----------
        text : str
            Any text without lone surrogates.
        hmm : bool, optional
            Use the hidden Markov model; by default as the segmenter was made.
        cut_all : bool
            Full mode: every dictionary word, overlapping, with jieba's empty strings around white
            space. Otherwise the words joined are exactly `text`.

        Raises
        ------
        ConfigError
            If `text` is not a str.
        InputError
            If `text` holds a lone surrogate, or the dictionary is empty.
        """
        if cut_all:
            batches.encode(text)
            return full_mode.cut_all(self._trie, text)
        return batches.words(text, self._ends(text, hmm))

    def lcut(self, text: str, *, hmm: bool | None = None, cut_all: bool = False) -> list[str]:
        """Same as `cut`, under jieba's name for it."""
        return self.cut(text, hmm=hmm, cut_all=cut_all)

    def lcut_for_search(self, text: str, *, hmm: bool | None = None) -> list[str]:
        """Words of `text` in search mode: before each word, the two- and three-character words in it."""
        return [text[begin:end] for begin, end in self._search_spans(text, hmm)]

    def tokenize(
        self, text: str, mode: Literal["default", "search"] = "default", *, hmm: bool | None = None
    ) -> Iterator[Token]:
        """Yield (word, start, end), positions in characters, as `cut` or `lcut_for_search` finds them."""
        if mode not in ("default", "search"):
            raise ConfigError(f"unknown mode {mode!r}", where="mode", hint="allowed: 'default', 'search'")
        if mode == "search":
            spans = self._search_spans(text, hmm)
        else:
            ends = self._ends(text, hmm).tolist()
            spans = [[begin, end] for begin, end in zip([0, *ends], ends)]
        return ((text[begin:end], begin, end) for begin, end in spans)

    def cut_batch(
        self,
        texts: pa.Array | pa.ChunkedArray,
        *,
        hmm: bool | None = None,
        unit: Literal["bytes", "characters"] = "bytes",
        threads: int = 1,
    ) -> pa.LargeListArray:
        """Word ends for a column of documents.

        Parameters
        ----------
        texts : pyarrow.Array or pyarrow.ChunkedArray
            ``string``, ``large_string`` or ``string_view``.
        hmm : bool, optional
            Use the hidden Markov model; by default as the segmenter was made.
        unit : {"bytes", "characters"}
            What the ends count from the start of each document: UTF-8 bytes, or code points.
        threads : int
            Threads to use; the result does not depend on it.

        Returns
        -------
        pyarrow.LargeListArray
            ``large_list<int32>``: the exclusive end of each word; null where the document is null. A word
            begins where the one before ended, and the last end is the document's length.

        Raises
        ------
        ConfigError
            If an argument is of the wrong type or value.
        InputError
            If a document is not UTF-8 or longer than 2**31 - 1 bytes; the error names the row.
        """
        kind = batches.unit_code(unit)
        column = batches.text_column(texts)
        rows, ends = batches.cut_column(column, partial(self._run, hmm, kind), threads)
        return batches.list_array(rows, pa.array(ends), column)

    def words_batch(
        self, texts: pa.Array | pa.ChunkedArray, *, hmm: bool | None = None, threads: int = 1
    ) -> pa.LargeListArray:
        """Words for a column of documents.

        Parameters and errors are those of `cut_batch`.

        Returns
        -------
        pyarrow.LargeListArray
            ``large_list<large_string>``. The words are views: they share the text buffer of `texts`.
        """
        column = batches.text_column(texts)
        rows, ends = batches.cut_column(column, partial(self._run, hmm, segmentation.BYTES), threads)
        return batches.list_array(rows, batches.word_views(column, rows, ends), column)

    def frequency(self, word: str) -> int | None:
        """Frequency of `word`: 0 for a mere prefix of words, None for anything else."""
        ranks = self._ranks(word)
        if not ranks.size or not ranks.all():
            return self._others.get(word)
        node = trie.lookup(self._trie.slots, ranks, 0, ranks.size)
        frequency = int(self._frequencies[node]) if node else -1
        return None if frequency < 0 else frequency

    def load_userdict(self, source: str | os.PathLike | IO) -> None:
        """Add the words of a user dictionary: a path, or an open file of bytes or text.

        A line is ``word``, ``word frequency`` or ``word frequency tag``; without a frequency the word gets
        the one `suggest_freq` says at that moment. Warns once if words can never match (`is_matchable`).

        Raises
        ------
        InputError
            For a line that is not UTF-8, holds a tab, or has an impossible frequency, naming file and line;
            the words before it stay added.
        """
        unmatchable = []
        for entry in dictionary.read_user_dictionary(source):
            self.add_word(entry.word, entry.frequency, entry.tag)
            if not dictionary.is_matchable(entry.word):
                unmatchable.append(entry)
        if unmatchable:
            first = unmatchable[0]
            warnings.warn(
                f"{len(unmatchable)} words of the user dictionary can never match, as in jieba: they hold a "
                f"character outside U+4E00–U+9FD5, ASCII letters, digits and +#&._%- (first: line "
                f"{first.line}, {first.word!r})",
                UserWarning,
                stacklevel=2,
            )

    def add_word(self, word: str, freq: int | None = None, tag: str | None = None) -> None:
        """Add `word`, or change its frequency; by default one that makes it a word (`suggest_freq`).

        As in jieba, the total grows by `freq` even where an older frequency is replaced, and frequency 0
        deletes the word.

        Raises
        ------
        ConfigError
            If `word` is empty or `freq` is not an integer from 0 to 2**63 - 1.
        """
        batches.encode(word)
        if not word:
            raise ConfigError("a word must have at least one character", where="word")
        with self._lock:
            if freq is None:
                freq = self.suggest_freq(word)
            else:
                try:
                    freq = int(freq)
                except (TypeError, ValueError, OverflowError) as error:
                    raise ConfigError(
                        f"the frequency of {word!r} is no integer: {freq!r}", where="freq"
                    ) from error
            dictionary.check_frequency(freq, f"freq of {word!r}", ConfigError)
            self._insert(word, freq)
            self._added[word] = freq
            self._total += freq
            if tag:
                self.tags[word] = tag
            if freq == 0:
                self._deleted.add(word)
                self._force_split(word)

    def del_word(self, word: str) -> None:
        """Delete `word`: its frequency becomes 0, and the hidden Markov model may not rebuild it."""
        self.add_word(word, 0)

    def suggest_freq(self, segment: str | Sequence[str], tune: bool = False) -> int:
        """The frequency that makes a string one word, or that lets a word fall into parts.

        Parameters
        ----------
        segment : str or sequence of str
            The word, or the parts into which the word they form should be cut.
        tune : bool
            Also give the word that frequency.
        """
        ftotal = float(self._total)
        if ftotal == 0:
            raise _empty_dictionary()
        freq = 1.0
        known: int | None
        if isinstance(segment, str):
            word = segment
            for part in self.cut(word, hmm=False):
                known = self.frequency(part)
                freq *= (1 if known is None else known) / ftotal
            known = self.frequency(word)
            result = max(int(freq * self._total) + 1, 1 if known is None else known)
        else:
            word = "".join(segment)
            for part in segment:
                known = self.frequency(part)
                freq *= (1 if known is None else known) / ftotal
            result = min(int(freq * self._total), self.frequency(word) or 0)
        if tune:
            self.add_word(word, result)
        return result

    def _insert(self, word: str, frequency: int) -> None:
        ranks = self._ranks(word)
        matchable = (
            ranks.size if ranks.all() else int(ranks.argmin())
        )  # characters before the first that is not
        while not trie.has_room(self._trie.slots, self._trie.nodes, self._trie.header, matchable):
            self._trie, self._frequencies = tables.grown(self._trie, self._frequencies, f"word {word!r}")
        if matchable:
            slots, nodes, header = self._trie.slots, self._trie.nodes, self._trie.header
            node = int(trie.insert(self._trie.pairs, slots, nodes, header, ranks, 0, matchable))
            first = int(ranks[0])
            self._frequencies[first] = max(0, self._frequencies[first])
            if matchable == ranks.size:
                self._frequencies[node] = frequency
                nodes.view(np.float64)[2 * node] = log(frequency) if frequency else -inf
                return
        for i in range(matchable + 1, len(word)):
            self._others.setdefault(word[:i], 0)
        self._others[word] = frequency

    def _force_split(self, word: str) -> None:
        ranks = self._ranks(word)
        if ranks.all():
            node = int(trie.lookup(self._trie.slots, ranks, 0, ranks.size))
            self._trie.nodes[2 * node + 1] |= np.uint64(trie.FORCED)
            self._trie.header[trie.FORCED_WORDS] += 1

    def _ranks(self, text: str) -> np.ndarray:
        """The rank of each character: uint16."""
        batches.encode(text)
        return tables.ranks_of(text, self._trie.ranks)

    def _ends(self, text: str, hmm: bool | None) -> np.ndarray:
        """Word ends in characters: int32."""
        data = np.frombuffer(batches.encode(text), np.uint8)
        offsets = np.frombuffer(_BOUNDS.pack(0, data.size), np.int64)
        return self._run(hmm, segmentation.CHARACTERS, data, offsets, len(text))[1]

    def _search_spans(self, text: str, hmm: bool | None) -> list[list[int]]:
        ends = self._ends(text, hmm)
        spans = np.empty((3 * len(text), 2), np.int32)
        ranks = tables.ranks_of(text, self._trie.ranks)
        n = segmentation.search_spans(self._trie.slots, self._trie.nodes, ranks, ends, spans)
        return spans[:n].tolist()

    def _run(
        self,
        hmm: bool | None,
        unit: int,
        data: np.ndarray,
        offsets: np.ndarray,
        characters: int,
        first_row: int = 0,
    ) -> batches.Ends:
        if self._total <= 0:
            raise _empty_dictionary()
        out = np.empty(characters + 1, np.int32)
        rows = np.empty(offsets.size, np.int64)
        n, row, byte = segmentation.cut(
            data,
            offsets,
            *self._trie,
            log(self._total),
            self._model,
            self.hmm if hmm is None else bool(hmm),
            unit,
            out,
            rows,
        )
        batches.require_utf8(row, byte, first_row)
        return rows, out[:n]


def _empty_dictionary() -> InputError:
    return InputError(
        "the dictionary has no word with a frequency, so no text can be cut",
        hint="add words with a frequency, or use another dictionary",
    )
