"""A stand-in for ``import jieba``: the same names, parameters and words, faster.

``from corpuskit.segment import jieba`` and leave the rest of the code as it is. Deliberate differences:
deleting a word affects one `Tokenizer`, not the whole process; errors are corpuskit's; text with lone
surrogates is refused; nothing is logged; `cut` finds its words when it is called, not when they are asked
for. `setLogLevel`, `enable_parallel` and `disable_parallel` are accepted and change nothing (for many
documents and threads there is `Segmenter.cut_batch`). Paddle mode, `posseg`, `analyse` and the parts of jieba
that hand out its tables (`get_DAG`, `calc`, `get_dict_file`) are not here; asking for them says so. Keep
importing those from jieba itself.

Like jieba's, this module owns one default tokenizer, `dt`, which loads its dictionary on first use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import IO, Any

from corpuskit.errors import ConfigError, InputError
from corpuskit.segment.segmenter import Segmenter

Text = str | bytes
Token = tuple[str, int, int]

__version__ = "0.42.1"
"""The jieba whose words these are."""

_ELSEWHERE = {
    "analyse": "keyword extraction",
    "posseg": "part-of-speech tagging",
    "finalseg": "the hidden Markov model",
    "lac_small": "paddle mode",
    "enable_paddle": "paddle mode",
    "get_DAG": "the word graph",
    "calc": "the word graph",
    "get_dict_file": "the dictionary file",
}


class Frequencies:
    """What code reads of jieba's ``dt.FREQ``: the frequency of a word, 0 for a mere prefix of words."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    def get(self, word: str, default: int | None = None) -> int | None:
        """Frequency of `word`, or `default`."""
        frequency = self._segmenter.frequency(word)
        return default if frequency is None else frequency

    def __contains__(self, word: str) -> bool:
        return self._segmenter.frequency(word) is not None

    def __getitem__(self, word: str) -> int:
        frequency = self._segmenter.frequency(word)
        if frequency is None:
            raise KeyError(word)
        return frequency


class Tokenizer:
    """jieba's ``Tokenizer``: a dictionary, loaded on first use, and the functions on it.

    Parameters
    ----------
    dictionary : path-like, optional
        A main dictionary; by default the installed jieba's.
    """

    def __init__(self, dictionary: str | os.PathLike | None = None) -> None:
        self.dictionary = None if dictionary is None else os.path.abspath(dictionary)  # noqa: PTH100
        self.tmp_dir: str | None = None
        self.cache_file: str | None = None
        """Both accepted and without effect: the cache lies in ``$XDG_CACHE_HOME/corpuskit``."""
        self._segmenter: Segmenter | None = None

    def __repr__(self) -> str:
        return f"<Tokenizer dictionary={self.dictionary!r}>"

    @property
    def segmenter(self) -> Segmenter:
        """The `Segmenter` that does the work; reading this loads the dictionary."""
        if self._segmenter is None:
            self._segmenter = Segmenter(self.dictionary)
        return self._segmenter

    @property
    def initialized(self) -> bool:
        """Whether the dictionary is loaded."""
        return self._segmenter is not None

    @property
    def total(self) -> int:
        """Sum of all frequencies."""
        return self.segmenter.total

    @property
    def FREQ(self) -> Frequencies:
        """Frequencies of words, to read; `add_word` changes them."""
        return Frequencies(self.segmenter)

    @property
    def user_word_tag_tab(self) -> dict[str, str]:
        """Tags of user words."""
        return self.segmenter.tags

    def initialize(self, dictionary: str | os.PathLike | None = None) -> None:
        """Load the dictionary now, or another one."""
        if dictionary:
            path = os.path.abspath(dictionary)  # noqa: PTH100
            if path != self.dictionary:
                self.dictionary, self._segmenter = path, None
        _ = self.segmenter

    def check_initialized(self) -> None:
        """Load the dictionary unless it is loaded."""
        _ = self.segmenter

    def set_dictionary(self, dictionary_path: str | os.PathLike) -> None:
        """Use another main dictionary from now on; added words are forgotten."""
        path = os.path.abspath(dictionary_path)  # noqa: PTH100
        if not os.path.isfile(path):  # noqa: PTH113
            raise InputError("the dictionary does not exist", where=path)
        self.dictionary, self._segmenter = path, None

    def lcut(
        self, sentence: Text, cut_all: bool = False, HMM: bool = True, use_paddle: bool = False
    ) -> list[str]:
        """Words as a list; see `Segmenter.cut`."""
        if use_paddle:
            raise ConfigError("paddle mode is not supported", where="use_paddle", hint="use jieba itself")
        return self.segmenter.cut(_decoded(sentence), hmm=HMM, cut_all=cut_all)

    def cut(
        self, sentence: Text, cut_all: bool = False, HMM: bool = True, use_paddle: bool = False
    ) -> Iterator[str]:
        """Words as an iterator; see `Segmenter.cut`."""
        return iter(self.lcut(sentence, cut_all, HMM, use_paddle))

    def lcut_for_search(self, sentence: Text, HMM: bool = True) -> list[str]:
        """Words in search mode as a list; see `Segmenter.lcut_for_search`."""
        return self.segmenter.lcut_for_search(_decoded(sentence), hmm=HMM)

    def cut_for_search(self, sentence: Text, HMM: bool = True) -> Iterator[str]:
        """Words in search mode as an iterator; see `Segmenter.lcut_for_search`."""
        return iter(self.lcut_for_search(sentence, HMM))

    def tokenize(self, unicode_sentence: str, mode: str = "default", HMM: bool = True) -> Iterator[Token]:
        """Words with their positions; any `mode` but ``"default"`` is search mode, as in jieba."""
        return self.segmenter.tokenize(
            unicode_sentence, "default" if mode == "default" else "search", hmm=HMM
        )

    def load_userdict(self, f: str | os.PathLike | IO) -> None:
        """Add the words of a user dictionary; see `Segmenter.load_userdict`."""
        self.segmenter.load_userdict(f)

    def add_word(self, word: Text, freq: int | None = None, tag: str | None = None) -> None:
        """Add a word; see `Segmenter.add_word`."""
        self.segmenter.add_word(_decoded(word), freq, tag)

    def del_word(self, word: Text) -> None:
        """Delete a word; see `Segmenter.del_word`."""
        self.segmenter.del_word(_decoded(word))

    def suggest_freq(self, segment: Text | Sequence[Text], tune: bool = False) -> int:
        """The frequency that joins a word or splits it; see `Segmenter.suggest_freq`."""
        if isinstance(segment, (str, bytes)):
            return self.segmenter.suggest_freq(_decoded(segment), tune)
        return self.segmenter.suggest_freq([_decoded(part) for part in segment], tune)

    def get_FREQ(self, k: str, d: int | None = None) -> int | None:
        """Frequency of `k`, or `d` where jieba's table would not hold it."""
        frequency = self.segmenter.frequency(k)
        return d if frequency is None else frequency


def _decoded(text: Text) -> str:
    """Bytes are taken for UTF-8, else for GBK with errors dropped, as jieba does."""
    if not isinstance(text, bytes):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("gbk", "ignore")


def setLogLevel(log_level: int) -> None:
    """Accepted and without effect: nothing is logged here."""


def enable_parallel(processnum: int | None = None) -> None:
    """Accepted and without effect: one thread here outruns jieba's processes, and the words are the same."""


def disable_parallel() -> None:
    """Accepted and without effect."""


dt = Tokenizer()

add_word = dt.add_word
cut = dt.cut
cut_for_search = dt.cut_for_search
del_word = dt.del_word
get_FREQ = dt.get_FREQ
initialize = dt.initialize
lcut = dt.lcut
lcut_for_search = dt.lcut_for_search
load_userdict = dt.load_userdict
set_dictionary = dt.set_dictionary
suggest_freq = dt.suggest_freq
tokenize = dt.tokenize


class NotInStandIn(ConfigError, AttributeError):
    """Something of jieba that is not here; an `AttributeError`, so that ``hasattr`` says no."""


def __getattr__(name: str) -> Any:
    if name == "user_word_tag_tab":
        return dt.user_word_tag_tab
    if name in _ELSEWHERE:
        raise NotInStandIn(
            f"{_ELSEWHERE[name]} is not part of the stand-in for jieba",
            where=name,
            hint=f"import it from jieba itself: from jieba import {name}",
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
