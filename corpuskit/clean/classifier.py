"""A quality score learned from the user's own good and raw text: hashed character n-grams, linear.

The shape is that of fastText's classifier (Joulin et al. 2016, arXiv:1607.01759), which DCLM and the
Chinese pipelines filter with, without its words: Chinese needs no segmentation when the features
are n-grams of characters, and with one output the hidden layer of fastText is no more than one
weight a bucket. A document's score is the logistic function of the *mean* weight of its n-grams, so
a longer document is surer, not better. `corpuskit.clean.classifier_training` makes the model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpuskit.clean import modelfile
from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.folding import FOLDING, fold, folding_table
from corpuskit.clean.steps import Judged, Step, at_least, require_shares, texts
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ArtifactError, ConfigError

KIND = "ngram-classifier"
HASHING = "ngram-1"
"""Name of the n-gram hash of `corpuskit.kernels.ngramscore`; a model of another one is refused."""

MAX_ORDER = 4
"""The longest n-gram that the kernel rolls."""


@dataclass(frozen=True, eq=False)
class QualityModel:
    """A trained quality score.

    Attributes
    ----------
    weights : numpy.ndarray
        float32[2**bits]: one weight a bucket.
    intercept : float
        Added to the mean weight before the logistic function.
    max_order : int
        N-grams of 1 to this many characters.
    report : mapping
        What training measured: sizes, held-out AUC, average precision, precision and recall at
        each threshold, and the fingerprint of the training data. JSON.

    Examples
    --------
    >>> model = QualityModel.load("quality.ckq")  # doctest: +SKIP
    >>> model.scores(batch.column("text"))        # doctest: +SKIP
    """

    weights: np.ndarray
    intercept: float
    max_order: int
    report: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", modelfile.read_only(self.weights))

    @property
    def bits(self) -> int:
        """Base-2 logarithm of the number of buckets."""
        return int(self.weights.size).bit_length() - 1

    def scores(self, text: pa.Array) -> np.ndarray:
        """The score of every text.

        Parameters
        ----------
        text : pyarrow.Array
            A string or large_string array without nulls.

        Returns
        -------
        numpy.ndarray
            float32, 0 to 1: the probability of being good were good and raw equally likely.
            0 for a text without a visible character.
        """
        from corpuskit.kernels.ngramscore import mean_weights

        data, offsets = utf8_buffers(text)
        means = np.empty(len(text))
        counts = np.empty(len(text), np.int64)
        mean_weights(
            data,
            offsets,
            folding_table(),
            self.weights,
            np.uint64(64 - self.bits),
            self.max_order,
            means,
            counts,
        )
        return np.where(counts > 0, logistic(means + self.intercept), 0).astype(np.float32)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as one file (4 MiB with the default 2**20 buckets)."""
        header = {
            "folding": FOLDING,
            "hashing": HASHING,
            "max_order": self.max_order,
            "intercept": self.intercept,
            "report": dict(self.report),
        }
        modelfile.save(path, KIND, header, {"weights": self.weights})

    @classmethod
    def load(cls, path: str | os.PathLike) -> QualityModel:
        """Read a saved model; a file is read once a process, and again when it has changed.

        Raises
        ------
        ArtifactError
            If the file is missing, damaged, of another kind, or made by a newer version.
        """
        return _load(modelfile.stamp(path))


@lru_cache(maxsize=4)
def _load(state: modelfile.Stamp) -> QualityModel:
    header, arrays = modelfile.load(state.path, KIND)
    if header["folding"] != FOLDING or header["hashing"] != HASHING:
        raise ArtifactError(
            f"the model sees text as {header['folding']}/{header['hashing']}, "
            f"this version as {FOLDING}/{HASHING}",
            where=state.path,
            hint="train it again",
        )
    return QualityModel(arrays["weights"], header["intercept"], header["max_order"], header["report"])


def logistic(values: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))`` without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * values)


def ngram_bucket(ngram: str, bits: int) -> int:
    """The bucket of one n-gram of folded text: the plain form of the kernel's rolling hash."""
    from corpuskit.kernels.hashing import BASE, MIX_ADD, MIX_MULTIPLY, MIX_SHIFT
    from corpuskit.kernels.ngramscore import FINAL

    total = 0
    for character in ngram:
        mixed = (ord(character) + int(MIX_ADD)) * int(MIX_MULTIPLY) % 2**64
        total = total * int(BASE) + (mixed ^ (mixed >> int(MIX_SHIFT)))
    return (total * int(FINAL) % 2**64) >> (64 - bits)


def ngrams(text: str, max_order: int) -> list[str]:
    """Every n-gram of 1 to `max_order` characters of the folded text, with repetitions."""
    folded = fold(text)
    return [
        folded[i : i + order] for order in range(1, max_order + 1) for i in range(len(folded) - order + 1)
    ]


@dataclass(frozen=True)
class QualityScore(Step):
    """Drop documents that a trained model scores low.

    Attributes
    ----------
    model : str
        A file that ``corpuskit quality train`` wrote. The step carries the path; every process
        loads the model once.
    min_score : float
        ``clean/quality_score``. 0.5 is where good and raw were equally likely in training; the
        curve that training prints tells what another value costs.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: str
    min_score: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError(
                f"{self.model!r} is not the path of a model file",
                where="quality_score.model",
                hint="train one with `corpuskit quality train`",
            )
        require_shares(self, "min_score")

    @property
    def files(self) -> tuple[str, ...]:
        return (self.model,)

    def judge(self, batch: DocumentBatch) -> Judged:
        scores = QualityModel.load(self.model).scores(texts(batch))
        return Judged(batch, [at_least("quality_score", scores, self.min_score)])
