"""The pCLUE score, as its published script computes it and as it was meant.

pCLUE (https://github.com/CLUEbenchmark/pCLUE) is scored by the mean of four parts: accuracy of
classification (anaphora resolution included), accuracy of inference, ROUGE-L of generation, and of
reading comprehension the mean of exact match and an F1 of the longest common subsequence. Its README
says exact match for generation; its script, ``evaluate_pclue.py``, takes ROUGE-L, and that is what the
published numbers were made with.

``published`` repeats that script with the packages it uses. Where it departs from what one would mean:

- ``，`` becomes ``,`` in the targets only (but keywords are joined by ``，`` afterwards), so an answer with
  ``，`` is not equal to its target;
- its ROUGE-L is of *sets* of characters (package rouge), so repetitions are free, and ``.`` ends a sentence;
- an empty answer to a generation task, or one of full stops only, stops it with an error;
- two empty texts have F1 0; predictions beyond the targets are not looked at.

``strict`` treats both sides alike (`corpuskit.train.judging.answers.plain`: width, case, white space and
punctuation at the ends do not count), counts repetitions (rouge-score), scores an empty answer 0, and
refuses files that do not match. Numbers of the two are not comparable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, get_args

from corpuskit.errors import ConfigError, InputError
from corpuskit.train.judging.answers import lcs_f1, missing, plain

Mode = Literal["strict", "published"]

_PARTS = {"classify": "classify", "anaphora_resolution": "classify", "nli": "nli", "generate": "generate",
          "mrc": "mrc"}  # fmt: skip


@dataclass(frozen=True)
class PclueScore:
    """Scores from 0 to 1; a part without a task is None and does not count in the mean.

    Attributes
    ----------
    score : float
        Mean of `classify`, `nli`, `generate` and the mean of `mrc_exact_match` and `mrc_f1`.
    classify, nli, generate, mrc_exact_match, mrc_f1 : float or None
    counts : Mapping[str, int]
        Tasks of each part.
    """

    score: float
    classify: float | None
    nli: float | None
    generate: float | None
    mrc_exact_match: float | None
    mrc_f1: float | None
    counts: Mapping[str, int]


def score_pclue(
    predictions: Sequence[str], targets: Sequence[Mapping[str, Any]], mode: Mode = "strict"
) -> PclueScore:
    """Score answers to pCLUE tasks.

    Parameters
    ----------
    predictions : sequence of str
        One an example, in their order.
    targets : sequence of Mapping
        pCLUE's records: `target` (str, or a list of keywords) and `type`.
    mode : {"strict", "published"}
        See the module.

    Raises
    ------
    ConfigError
        If `mode` is unknown.
    InputError
        If there is no target, a record lacks a field or has an unknown type, or (strict) the numbers differ;
        in mode ``published`` also where the script itself stops.
    MissingExtra
        If rouge-score (strict) or rouge (published) is not installed.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"{mode!r} is not one of {', '.join(get_args(Mode))}", where="mode")
    if len(predictions) < len(targets) or (mode == "strict" and len(predictions) > len(targets)):
        raise InputError(
            f"{len(predictions)} predictions for {len(targets)} targets", hint="give one a target, in order"
        )
    if not targets:
        raise InputError("there is nothing to judge")
    pairs: dict[str, list[tuple[str, str]]] = {part: [] for part in ("classify", "nli", "generate", "mrc")}
    for number, (prediction, record) in enumerate(zip(predictions, targets, strict=False), 1):
        part, target = _target(record, number, mode)
        if mode == "strict":
            pairs[part].append((plain(prediction), plain(target)))
        else:
            pairs[part].append((_published_form(prediction), _published_form(target)))
    equal = {part: _mean([float(a == b) for a, b in found]) for part, found in pairs.items()}
    classify, nli, exact_match = equal["classify"], equal["nli"], equal["mrc"]
    # ROUGE-L over characters with equal weights is the F1 of the longest common subsequence (Lin 2004).
    generate = _mean((_f1 if mode == "strict" else _published_rouge)(pairs["generate"]))
    overlap = _mean((_f1 if mode == "strict" else _published_f1)(pairs["mrc"]))
    reading = None if exact_match is None or overlap is None else (exact_match + overlap) / 2
    parts = [value for value in (classify, nli, generate, reading) if value is not None]
    return PclueScore(
        fmean(parts), classify, nli, generate, exact_match, overlap,
        {part: len(found) for part, found in pairs.items()},
    )  # fmt: skip


def _target(record: Mapping[str, Any], number: int, mode: Mode) -> tuple[str, str]:
    try:
        part, target = _PARTS[record["type"]], record["target"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"not a pCLUE record: {json.dumps(record, ensure_ascii=False)[:80]}",
            where=f"target {number}",
            hint=f"a record has target and a type out of {', '.join(_PARTS)}",
        ) from error
    keywords = [str(word) for word in target] if isinstance(target, list) else [str(target)]
    if mode == "published":
        keywords = [word.replace("，", ",") for word in keywords]
    return part, "，".join(keywords)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _f1(pairs: Sequence[tuple[str, str]]) -> list[float]:
    return lcs_f1([a for a, _ in pairs], [b for _, b in pairs]) if pairs else []


def _published_form(text: str) -> str:
    return " ".join(text.lower().split())


def _published_f1(pairs: Sequence[tuple[str, str]]) -> list[float]:
    return [0.0 if not a and not b else value for (a, b), value in zip(pairs, _f1(pairs), strict=True)]


def _published_rouge(pairs: Sequence[tuple[str, str]]) -> list[float]:
    try:
        from rouge import Rouge
    except ModuleNotFoundError as error:
        raise missing("rouge") from error
    scores = []
    for prediction, target in pairs:
        try:
            found = Rouge().get_scores(" ".join(prediction), " ".join(target))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"the published script stops here: {error or type(error).__name__}",
                where=f"answer {prediction[:40]!r}",
                hint="use mode strict, which scores such an answer",
            ) from error
        scores.append(float(found[0]["rouge-l"]["f"]))
    return scores
