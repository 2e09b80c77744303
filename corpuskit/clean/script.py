"""Which language and script a document is in, from its characters alone.

No model and no download: kana tell Japanese, hangul Korean, and Simplified from Traditional is told
by the characters that only one of them uses. That settles the question for Chinese crawls; telling
French from German is not its business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from corpuskit.clean.characters import CharacterClass, Counts, count_characters
from corpuskit.clean.steps import Check, Judged, Step, texts
from corpuskit.clean.variants import CONVERSIONS, converter
from corpuskit.documents import DocumentBatch, replace_text
from corpuskit.errors import ConfigError

LABELS = ("zh-Hans", "zh-Hant", "zh", "ja", "ko", "en", "other")
"""``zh`` is Chinese without enough script-specific characters, or with both kinds mixed."""

LATIN_LETTERS_PER_HAN = 4
"""How many Latin letters weigh as much as one Chinese character. The Universal Declaration of Human
Rights has 2,675 Han in Chinese and 8,675 letters in English, 3.2 to one; rounded up, so that the
product names and units of technical Chinese do not tip the balance."""

MIN_LANGUAGE_SHARE = 0.5
"""A language has at least this share of the weighted letters."""

MIN_KANA_SHARE = 0.1
"""Kana among kana and Han from which a text is Japanese: the Universal Declaration has 0.52 in
Japanese, and 999 of 1,000 scraped Chinese news items have less than 0.001."""

MIN_HANGUL_SHARE = 0.3

MIN_SCRIPT_SHARE = 0.8
"""Share of one script among the script-specific characters from which the text is in that script.
Quotations and names put a few of the other into most long texts."""

MIN_SCRIPT_CHARACTERS = 2

MIN_ENGLISH_SHARE = 0.1
"""Share of function words among the words of English; the Universal Declaration has 0.36."""

_WORD = re.compile("[A-Za-z\u00c0-\u024f]+")
_ENGLISH = frozenset((
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "with", "as", "was", "on", "are", "be", "by",
    "this", "have", "from", "or", "not", "at", "an",
))  # fmt: skip
_MAX_ENGLISH_SAMPLE = 20_000


@dataclass(frozen=True)
class Language(Step):
    """Fill the `language` column and drop documents in other languages.

    A language already in the column is replaced: what a page declares is often wrong.

    Attributes
    ----------
    languages : tuple of str
        What is kept, out of `LABELS`. A document in none of them is dropped as ``clean/language``
        (value: share of Chinese), or as ``clean/script`` where it is Chinese in a script that is not
        asked for (value: share of Simplified among script-specific characters).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    languages: tuple[str, ...] = ("zh-Hans", "zh-Hant", "zh")

    def __post_init__(self) -> None:
        unknown = [name for name in self.languages if name not in LABELS]
        if unknown or not self.languages:
            raise ConfigError(
                f"unknown language {unknown[0]!r}" if unknown else "no language is allowed",
                where="languages",
                hint="allowed: " + ", ".join(LABELS),
            )

    def judge(self, batch: DocumentBatch) -> Judged:
        text = texts(batch)
        counts = count_characters(text)
        labels = label_scripts(text, counts)
        allowed = np.array([label in self.languages for label in labels], bool)
        chinese = np.array([label.startswith("zh") for label in labels], bool)
        checks = [
            Check("language", chinese_share(counts), MIN_LANGUAGE_SHARE, ~allowed & ~chinese),
            Check("script", simplified_share(counts), MIN_SCRIPT_SHARE, ~allowed & chinese),
        ]
        if not any(name.startswith("zh") for name in self.languages):
            checks = [Check("language", chinese_share(counts), MIN_LANGUAGE_SHARE, ~allowed)]
        return Judged(set_language(batch, labels), checks)


@dataclass(frozen=True)
class ToSimplified(Step):
    """Convert documents in Traditional Chinese to Simplified, with OpenCC; drops nothing.

    Attributes
    ----------
    conversion : str
        The OpenCC configuration.
    only_traditional : bool
        Leave documents alone that are not recognised as Traditional: converting Simplified text
        changes characters that it shares with Traditional (乾隆, 瞭望).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    conversion: Literal["t2s", "tw2s", "hk2s", "tw2sp"] = "t2s"
    only_traditional: bool = True

    def __post_init__(self) -> None:
        allowed = [name for name in CONVERSIONS if "2s" in name and not name.startswith("s2")]
        if self.conversion not in allowed:
            raise ConfigError(
                f"unknown conversion {self.conversion!r}",
                where="conversion",
                hint="allowed: " + ", ".join(allowed),
            )

    def judge(self, batch: DocumentBatch) -> Judged:
        text = texts(batch)
        labels = label_scripts(text, count_characters(text))
        chosen = [label == "zh-Hant" or (not self.only_traditional and label == "zh") for label in labels]
        if not any(chosen):
            return Judged(batch, [])
        convert = converter(self.conversion).convert
        converted = [convert(value) if yes else value for value, yes in zip(text.to_pylist(), chosen)]
        changed = replace_text(batch, pa.array(converted, pa.large_string()))
        if "language" in batch.schema.names:
            previous = batch.column("language").to_pylist()
            changed = set_language(changed, ["zh-Hans" if yes else was for was, yes in zip(previous, chosen)])
        return Judged(changed, [])


def script_of(text: str) -> str:
    """The label, out of `LABELS`, of one text."""
    array = pa.array([text], pa.large_string())
    return label_scripts(array, count_characters(array))[0]


def label_scripts(text: pa.Array, counts: Counts) -> list[str]:
    """The label, out of `LABELS`, of every document."""
    weighted = _weighted_letters(counts)
    han, kana = counts.han, counts.of(CharacterClass.KANA)
    hangul = counts.of(CharacterClass.HANGUL)
    latin = counts.of(CharacterClass.LATIN) / LATIN_LETTERS_PER_HAN
    specific = counts.of(CharacterClass.SIMPLIFIED, CharacterClass.TRADITIONAL)
    simplified = simplified_share(counts)

    labels = np.full(len(text), "other", dtype="U8")
    labels[latin >= MIN_LANGUAGE_SHARE * weighted] = "latin"
    chinese = han >= MIN_LANGUAGE_SHARE * weighted
    labels[chinese] = "zh"
    decided = chinese & (specific >= MIN_SCRIPT_CHARACTERS)
    labels[decided & (simplified >= MIN_SCRIPT_SHARE)] = "zh-Hans"
    labels[decided & (simplified <= 1 - MIN_SCRIPT_SHARE)] = "zh-Hant"
    japanese = (kana >= MIN_KANA_SHARE * (han + kana)) & (han + kana >= MIN_LANGUAGE_SHARE * weighted)
    labels[japanese & (kana > 0)] = "ja"
    labels[(hangul >= MIN_HANGUL_SHARE * weighted) & (hangul > 0)] = "ko"
    labels[weighted == 0] = "other"
    for row in np.flatnonzero(labels == "latin"):
        labels[row] = "en" if _is_english(text[int(row)].as_py()) else "other"
    return labels.tolist()


def chinese_share(counts: Counts) -> np.ndarray:
    """Share of Han among letters of all scripts, four Latin letters counting as one."""
    return counts.han / np.maximum(_weighted_letters(counts), 1)


def simplified_share(counts: Counts) -> np.ndarray:
    """Share of Simplified-only among script-specific characters; 0.5 where there are none."""
    simplified = counts.of(CharacterClass.SIMPLIFIED)
    specific = simplified + counts.of(CharacterClass.TRADITIONAL)
    return np.where(specific > 0, simplified / np.maximum(specific, 1), 0.5)


def set_language(batch: DocumentBatch, labels: list[str] | list[str | None]) -> DocumentBatch:
    """`batch` with its `language` column set, added at the end where it has none."""
    array = pa.array(labels, pa.string())
    index = batch.schema.get_field_index("language")
    if index >= 0:
        return batch.set_column(index, "language", array)
    return batch.append_column("language", array)


def _weighted_letters(counts: Counts) -> np.ndarray:
    others = counts.of(CharacterClass.LATIN, CharacterClass.LETTER)
    return counts.han + counts.of(CharacterClass.KANA, CharacterClass.HANGUL) + others / LATIN_LETTERS_PER_HAN


def _is_english(text: str) -> bool:
    words = _WORD.findall(text[:_MAX_ENGLISH_SAMPLE].lower())
    return sum(word in _ENGLISH for word in words) >= MIN_ENGLISH_SHARE * len(words)
