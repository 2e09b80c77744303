"""The steps that judge documents by language and bring them to one script.

How the language is told is in `corpuskit.clean.language`. Conversion is OpenCC's, and only of what the
same test finds in the other script: converting Simplified text to Simplified once more changes
characters that it shares with Traditional (乾隆 → 干隆).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.clean.language import (
    CHINESE,
    LABELS,
    MIN_CANTONESE_SHARE,
    MIN_LANGUAGE_SHARE,
    MIN_SCRIPT_SHARE,
    SCRIPTS,
    cantonese_share,
    chinese_share,
    label_evidence,
    script_of,
    scripts,
    simplified_share,
)
from corpuskit.clean.script_evidence import EvidenceCounts, count_evidence
from corpuskit.clean.steps import Check, Judged, Step, texts
from corpuskit.clean.variants import converter
from corpuskit.documents import DocumentBatch, replace_text
from corpuskit.errors import ConfigError

__all__ = ["LABELS", "Language", "ToSimplified", "ToTraditional", "script_of"]

TO_SIMPLIFIED = ("t2s", "tw2s", "hk2s", "tw2sp")
TO_TRADITIONAL = ("s2t", "s2tw", "s2hk", "s2twp")

_WORK = re.compile(
    "(?<=[原土巨遗拙撰卓昭])着|(?<=[名译])着(?!名)|合着者|(?<=编)着(?=[者的工，。、）)《]|$)"
    "|(?<=[^谈讨议争辩评推无不]论)着(?!急)|(?<=专)着(?!急)|彰明较着|见微知着"
    "|(?<![拿带接跟沿有看])着有(?=[《〈“成])|(?<![看读捧拿唱听演抱翻望对写念诵指凭按照靠随])着(?=[《〈])"
)
"""Words such as 原著, 卓著, 土著, 论著 that OpenCC's phrases of Taiwan lack, as they come out of it."""


@dataclass(frozen=True)
class Language(Step):
    """Fill the `language` column and drop documents in other languages.

    A language already in the column is replaced: what a page declares is often wrong.

    Attributes
    ----------
    languages : tuple of str
        What is kept, out of `LABELS`. A document in none of them is dropped as ``clean/language``
        (value: share of Chinese); where it is Chinese in a script that is not asked for, as
        ``clean/script`` (value: share of Simplified among script-specific characters); where it is
        Cantonese, which is not asked for, as ``clean/cantonese`` (value: share of Cantonese characters).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    languages: tuple[str, ...] = CHINESE

    def __post_init__(self) -> None:
        unknown = [name for name in self.languages if name not in LABELS]
        if unknown or not self.languages:
            raise ConfigError(
                f"unknown language {unknown[0]!r}" if unknown else "no language is allowed",
                where="languages",
                hint="allowed: " + ", ".join(LABELS),
            )

    def judge(self, batch: DocumentBatch) -> Judged:
        evidence = count_evidence(texts(batch))
        labels = label_evidence(evidence)
        allowed = _is_in(labels, self.languages)
        asks_chinese = any(name in CHINESE for name in self.languages)
        cantonese = _is_in(labels, ("yue",)) & asks_chinese
        script = _is_in(labels, CHINESE) & ~cantonese & asks_chinese
        checks = [
            Check(
                "language",
                chinese_share(evidence),
                MIN_LANGUAGE_SHARE,
                ~allowed & ~cantonese & ~script,
                "at least",
            ),
            Check("script", simplified_share(evidence), MIN_SCRIPT_SHARE, ~allowed & script, "at least"),
            Check("cantonese", cantonese_share(evidence), MIN_CANTONESE_SHARE, ~allowed & cantonese),
        ]
        return Judged(set_language(batch, labels), checks)


@dataclass(frozen=True)
class ToSimplified(Step):
    """Convert documents in Traditional Chinese to Simplified, with OpenCC; drops nothing.

    Of documents with both scripts, the lines that have Traditional are converted. Cantonese in
    Traditional characters is converted and stays Cantonese.

    Attributes
    ----------
    conversion : {"t2s", "tw2s", "hk2s", "tw2sp"}
        The OpenCC configuration. Those of Taiwan know that 撐著, 帶著 and 著急 have 着 while 著名 keeps its
        著; ``t2s`` and ``hk2s`` leave every 著, because Hong Kong writes 着 itself.
        ``tw2sp`` also replaces Taiwan's words by the mainland's.
    only_traditional : bool
        Leave Chinese documents alone that show neither script.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    conversion: Literal["t2s", "tw2s", "hk2s", "tw2sp"] = "tw2s"
    only_traditional: bool = True

    def __post_init__(self) -> None:
        _require_conversion(self.conversion, TO_SIMPLIFIED)

    def judge(self, batch: DocumentBatch) -> Judged:
        return Judged(_convert(batch, self.conversion, "Hant", "zh-Hans", not self.only_traditional), [])


@dataclass(frozen=True)
class ToTraditional(Step):
    """Convert documents in Simplified Chinese to Traditional, with OpenCC; drops nothing.

    The other direction of `ToSimplified`, by the same rules.

    Attributes
    ----------
    conversion : {"s2t", "s2tw", "s2hk", "s2twp"}
        The OpenCC configuration: OpenCC's own standard, Taiwan's, Hong Kong's, or Taiwan's with its
        words.
    only_simplified : bool
        Leave Chinese documents alone that show neither script.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    conversion: Literal["s2t", "s2tw", "s2hk", "s2twp"] = "s2t"
    only_simplified: bool = True

    def __post_init__(self) -> None:
        _require_conversion(self.conversion, TO_TRADITIONAL)

    def judge(self, batch: DocumentBatch) -> Judged:
        return Judged(_convert(batch, self.conversion, "Hans", "zh-Hant", not self.only_simplified), [])


def set_language(batch: DocumentBatch, labels: pa.Array) -> DocumentBatch:
    """`batch` with its `language` column set, added at the end where it has none."""
    labels = labels.cast(pa.string())
    index = batch.schema.get_field_index("language")
    if index >= 0:
        return batch.set_column(index, "language", labels)
    return batch.append_column("language", labels)


def _convert(
    batch: DocumentBatch, conversion: str, source: str, label: str, undecided: bool
) -> DocumentBatch:
    """`batch` with its Chinese documents in script `source` converted and labelled `label`."""
    text = texts(batch)
    evidence = count_evidence(text)
    labels = label_evidence(evidence)
    script = _chinese_scripts(evidence, labels)
    chosen = (script == source) | (script == "mixed")
    if undecided:
        chosen |= _is_in(labels, ("zh",))
    if not chosen.any():
        return batch
    convert = _converter(conversion)
    rows = np.flatnonzero(chosen)
    converted = [
        _convert_lines(value, convert, source) if kind == "mixed" else convert(value)
        for value, kind in zip(text.take(pa.array(rows)).to_pylist(), script[rows])
    ]
    mask = pa.array(chosen)
    changed = replace_text(batch, pc.replace_with_mask(text, mask, pa.array(converted, pa.large_string())))
    if "language" in batch.schema.names:
        relabelled = pa.array(chosen & ~_is_in(labels, ("yue",)))
        changed = set_language(changed, pc.if_else(relabelled, label, batch.column("language")))
    return changed


def _converter(conversion: str) -> Callable[[str], str]:
    """OpenCC's conversion; with those of Taiwan, 著 stays where it is no particle."""
    convert = converter(conversion).convert
    if not conversion.startswith("tw2s"):
        return convert
    return lambda text: _keep_works(text, convert(text), conversion == "tw2s")


def _keep_works(text: str, converted: str, leave: bool) -> str:
    """`converted` with 著 back in words for works.

    Who writes 着 for the particle, as in Hong Kong, writes 著 for works alone: there every
    著 is left, if `leave` says so (with ``tw2sp`` that would leave the words of Taiwan, too).
    """
    own = text.count("着")
    if converted.count("着") == own:
        return converted
    if leave and own > converted.count("着") - own:
        return converter("t2s").convert(text)
    return _WORK.sub(lambda word: word[0].replace("着", "著"), converted)


def _convert_lines(text: str, convert: Any, source: str) -> str:
    """Convert the lines in script `source`, or in both."""
    lines = text.split("\n")
    evidence = count_evidence(pa.array(lines, pa.large_string()))
    script = np.array(SCRIPTS)[scripts(evidence)]
    return "\n".join(
        convert(line) if kind in (source, "mixed") else line for line, kind in zip(lines, script)
    )


def _chinese_scripts(evidence: EvidenceCounts, labels: pa.Array) -> np.ndarray:
    """Name of the script of each document, "" for what is not Chinese or does not show it."""
    return np.where(_is_in(labels, CHINESE), np.array(SCRIPTS)[scripts(evidence)], "")


def _is_in(labels: pa.Array, names: tuple[str, ...]) -> np.ndarray:
    return pc.is_in(labels, pa.array(names, pa.string())).to_numpy(zero_copy_only=False)


def _require_conversion(conversion: str, allowed: tuple[str, ...]) -> None:
    if conversion not in allowed:
        raise ConfigError(
            f"unknown conversion {conversion!r}",
            where="conversion",
            hint="allowed: " + ", ".join(allowed),
        )
