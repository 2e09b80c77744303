"""How near answers are to references: BLEU, ROUGE, exact match, F1; and how varied they are.

Chinese has no spaces, so every measure of words must say what a word is. Here the unit is either the
character or the word of jieba's dictionary as `corpuskit.segment` cuts it. BLEU is sacrebleu's with its
``zh`` tokeniser (each Chinese character a token, Latin words and numbers whole), ROUGE is that of
Google's rouge-score, which counts repeated n-grams as often as they occur; the package named ``rouge``
takes sets (see `corpuskit.train.judging.pclue`).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from corpuskit.errors import ConfigError, InputError, MissingExtra

Unit = Literal["characters", "words"]


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU of Chinese text, 0 to 100, as sacrebleu computes it with ``tokenize="zh"``.

    Parameters
    ----------
    predictions, references : sequence of str
        As long as each other; one reference an answer.

    Raises
    ------
    InputError
        If there are none, or not as many references as predictions.
    MissingExtra
        If sacrebleu is not installed.
    """
    require_pairs(predictions, references)
    try:
        import sacrebleu
    except ModuleNotFoundError as error:
        raise missing("sacrebleu") from error
    return float(sacrebleu.corpus_bleu(list(predictions), [list(references)], tokenize="zh").score)


def rouge(
    predictions: Sequence[str], references: Sequence[str], unit: Unit = "characters"
) -> dict[str, float]:
    """Mean F-measures of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) over pairs, 0 to 1.

    Parameters
    ----------
    predictions, references : sequence of str
    unit : {"characters", "words"}
        What n-grams and subsequences are made of. White space never counts.

    Returns
    -------
    dict
        ``rouge1``, ``rouge2``, ``rougeL``.

    Raises
    ------
    ConfigError
        If `unit` is unknown.
    InputError
        If there are none, or not as many references as predictions.
    MissingExtra
        If rouge-score is not installed.
    """
    require_pairs(predictions, references)
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = _scorer(names, _cutter(unit))
    total = dict.fromkeys(names, 0.0)
    for prediction, reference in zip(predictions, references, strict=True):
        for name, score in scorer.score(reference, prediction).items():
            total[name] += score.fmeasure
    return {name: value / len(predictions) for name, value in total.items()}


def lcs_f1(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Twice the longest common subsequence over the summed lengths, in characters, of each pair.

    White space counts as any character. Two empty texts are equal: 1.
    """
    require_pairs(predictions, references)
    scorer = _scorer(["rougeL"], list)
    return [
        1.0 if prediction == reference else scorer.score(reference, prediction)["rougeL"].fmeasure
        for prediction, reference in zip(predictions, references, strict=True)
    ]


def exact_match(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Share of answers that equal their reference after `plain`."""
    require_pairs(predictions, references)
    return sum(plain(a) == plain(b) for a, b in zip(predictions, references, strict=True)) / len(predictions)


def f1(predictions: Sequence[str], references: Sequence[str], unit: Unit = "characters") -> float:
    """Mean F1 of the units of answer and reference as bags, after `plain` (SQuAD: Rajpurkar et al. 2016)."""
    require_pairs(predictions, references)
    cut = _cutter(unit)
    total = 0.0
    for prediction, reference in zip(predictions, references, strict=True):
        found, wanted = Counter(cut(plain(prediction))), Counter(cut(plain(reference)))
        size = found.total() + wanted.total()
        total += 2 * (found & wanted).total() / size if size else 1.0
    return total / len(predictions)


def distinct_ngrams(texts: Sequence[str], n: int = 2, unit: Unit = "characters") -> float:
    """Distinct n-grams over all n-grams of the texts together (distinct-n: Li et al. 2016); 0 if none."""
    if n < 1:
        raise ConfigError(f"must be at least 1, not {n}", where="n")
    cut = _cutter(unit)
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        units = cut(text)
        ngrams = [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]
        seen.update(ngrams)
        total += len(ngrams)
    return len(seen) / total if total else 0.0


def plain(text: str) -> str:
    """`text` less what does not change an answer: width (NFKC), case, spaces, punctuation at the ends."""
    text = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    kept = [i for i, character in enumerate(text) if not unicodedata.category(character).startswith("P")]
    return text[kept[0] : kept[-1] + 1] if kept else text


def require_pairs(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Raise `InputError` unless every prediction has its reference."""
    if len(predictions) != len(references):
        raise InputError(
            f"{len(predictions)} predictions for {len(references)} references",
            hint="give one prediction a reference, in the same order",
        )
    if not len(references):
        raise InputError("there is nothing to judge")


def missing(package: str) -> MissingExtra:
    """The error for a measure whose package is not there."""
    return MissingExtra(
        f"{package} is not installed", where="corpuskit.train.judging", hint="pip install 'corpuskit[judge]'"
    )


def _cutter(unit: Unit) -> Callable[[str], list[str]]:
    if unit == "characters":
        return lambda text: [character for character in text if not character.isspace()]
    if unit == "words":
        from corpuskit.segment import Segmenter

        cut = Segmenter().cut
        return lambda text: [word for word in cut(text) if not word.isspace()]
    raise ConfigError(f"{unit!r} is not one of {', '.join(get_args(Unit))}", where="unit")


class _Tokenizer:
    """What rouge-score asks of a tokenizer."""

    def __init__(self, cut: Callable[[str], list[str]]) -> None:
        self.tokenize = cut


def _scorer(names: list[str], cut: Callable[[str], list[str]]) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise missing("rouge-score") from error
    return RougeScorer(names, tokenizer=_Tokenizer(cut))
