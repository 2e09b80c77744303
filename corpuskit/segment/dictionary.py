"""Dictionary and model files as jieba reads them: main dictionary, user dictionaries, HMM tables.

The tables come from the installed jieba package, found without importing it (its import costs a
third of a second and configures logging).
"""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from corpuskit.errors import ConfigError, InputError, MissingExtra
from corpuskit.kernels.hidden_markov import EMISSIONS
from corpuskit.kernels.ranked_trie import FIRST_HAN, LAST_HAN

MAX_FREQUENCY = 2**63 - 1
MIN_FLOAT = -3.14e100  # finalseg.MIN_FLOAT: the cost of an impossible step
_STATES = "BMES"
_USER_LINE = re.compile("^(.+?)( [0-9]+)?( [a-z]+)?$")
_NEGATIVE = re.compile(" -[0-9]+( [a-z]+)?$")
_MATCHABLE = re.compile(r"[\u4E00-\u9FD5a-zA-Z0-9+#&._%\-]+")
_FORMAT_HINT = "expected 'word', 'word frequency' or 'word frequency tag', separated by one space, in UTF-8"


class UserWord(NamedTuple):
    """One line of a user dictionary."""

    line: int
    word: str
    frequency: int | None
    tag: str | None


def jieba_directory() -> Path:
    """The directory of the installed jieba package.

    Raises
    ------
    MissingExtra
        If jieba is not installed.
    """
    spec = importlib.util.find_spec("jieba")
    locations = list(spec.submodule_search_locations or []) if spec else []
    if not locations:
        raise MissingExtra(
            "jieba is not installed; its dictionary and model are needed for segmentation",
            hint="pip install jieba",
        )
    return Path(locations[0])


def hmm_files() -> list[Path]:
    """The files of jieba's hidden Markov model: start, transitions, emissions."""
    folder = jieba_directory() / "finalseg"
    return [folder / f"prob_{part}.py" for part in ("start", "trans", "emit")]


def read_hmm() -> np.ndarray:
    """jieba's model as one array.

    Returns
    -------
    numpy.ndarray
        float64: 4 start probabilities (B, M, E, S), 16 transitions (from, to), then 4 emissions for
        each ideograph U+4E00 to U+9FD5, all as natural logarithms; `MIN_FLOAT` where jieba has none.
    """
    start, transitions, emissions = (_literal(path) for path in hmm_files())
    table = np.full(EMISSIONS + 4 * (LAST_HAN - FIRST_HAN + 1), MIN_FLOAT)
    for i, state in enumerate(_STATES):
        table[i] = start[state]
        for j, following in enumerate(_STATES):
            table[4 + 4 * i + j] = transitions[state].get(following, MIN_FLOAT)
        for character, value in emissions[state].items():
            if FIRST_HAN <= ord(character) <= LAST_HAN:
                table[EMISSIONS + 4 * (ord(character) - FIRST_HAN) + i] = value
    return table


def _literal(path: Path) -> dict:
    """The dictionary ``P`` assigned in one of jieba's table modules, read without executing it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        raise InputError(
            f"jieba's model cannot be read: {error}", where=str(path), hint="reinstall jieba 0.42.1"
        ) from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "P":
            return ast.literal_eval(node.value)
    raise InputError("no table P in jieba's model file", where=str(path), hint="reinstall jieba 0.42.1")


def parse_dictionary(content: bytes, where: str) -> tuple[dict[str, int], int]:
    """Words, frequencies and total of a main dictionary (``word frequency [tag]`` a line).

    As in jieba, the last of equal words gives the frequency while all count in the total.

    Raises
    ------
    InputError
        Naming the file and the line: not UTF-8, no frequency, or one outside 0 to 2**63 - 1.
    """
    words: dict[str, int] = {}
    total = 0
    number = 0
    for number, line in enumerate(io.BytesIO(content), 1):
        try:
            word, field = line.strip().decode("utf-8").split(" ")[:2]
            frequency = int(field)
        except ValueError as error:
            raise InputError(
                f"line {number} is no dictionary entry: {_shown(line)}",
                where=f"{where}:{number}",
                hint="expected 'word frequency' or 'word frequency tag', separated by one space, in UTF-8",
            ) from error
        words[word] = check_frequency(frequency, f"{where}:{number}", InputError)
        total += frequency
    return words, total


def check_frequency(frequency: int, where: str, kind: type[ConfigError | InputError]) -> int:
    """`frequency` if it is possible, else an error of the given kind."""
    if not 0 <= frequency <= MAX_FREQUENCY:
        raise kind(
            f"the frequency {frequency} is impossible",
            where=where,
            hint=f"expected an integer from 0 (never a word) to {MAX_FREQUENCY}",
        )
    return frequency


def read_user_dictionary(source: str | os.PathLike | IO) -> Iterator[UserWord]:
    """Words of a user dictionary: a path, or an open file of bytes or text.

    Each line is read with jieba's own pattern. Lines that pattern silently takes for something else
    (fields separated by tabs, negative frequencies) are refused.

    Raises
    ------
    InputError
        Naming the file and the line.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            with open(source, "rb") as handle:
                yield from _user_words(handle, os.fspath(source))
        except OSError as error:
            raise InputError(
                f"the user dictionary cannot be read: {error.strerror}", where=os.fspath(source)
            ) from error
    else:
        yield from _user_words(source, str(getattr(source, "name", repr(source))))


def _user_words(lines: Iterable[str | bytes], where: str) -> Iterator[UserWord]:
    for number, raw in enumerate(lines, 1):
        place = f"{where}:{number}"
        stripped = raw.strip()
        if isinstance(stripped, bytes):
            try:
                line = stripped.decode("utf-8").lstrip("\ufeff")
            except UnicodeDecodeError as error:
                raise InputError(f"not UTF-8: {_shown(raw)}", where=place, hint=_FORMAT_HINT) from error
        else:
            line = stripped
        if not line:
            continue
        match = _USER_LINE.match(line)
        if match is None or "\t" in line or "\x00" in line:
            raise InputError(f"a bad line: {_shown(raw)}", where=place, hint=_FORMAT_HINT)
        if _NEGATIVE.search(line):
            raise InputError(f"a negative frequency: {_shown(raw)}", where=place, hint=_FORMAT_HINT)
        word, field, tag = match.groups()
        frequency = None if field is None else check_frequency(int(field), place, InputError)
        yield UserWord(number, word, frequency, tag and tag.strip())


def is_matchable(word: str) -> bool:
    """Whether `word` can ever be found in text.

    jieba looks words up only within runs of U+4E00 to U+9FD5, ASCII letters and digits, and
    ``+#&._%-``; a word with a space, a kana or 〇 is accepted and never matches (jieba issue 300).
    """
    return _MATCHABLE.fullmatch(word) is not None


def _shown(line: str | bytes) -> str:
    text = repr(line)
    return text if len(text) <= 80 else text[:77] + "…"
