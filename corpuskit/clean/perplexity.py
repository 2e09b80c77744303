"""How well a character language model of good text predicts a document: its perplexity.

CCNet (Wenzek et al. 2020, arXiv:1911.00359, §3.4) trains a 5-gram Kneser–Ney model on Wikipedia
and calls the lowest three tenths of perplexity of its crawl *head*, the next three *middle*, the
rest *tail*. Its models count SentencePiece pieces; this one counts characters, which are what
Chinese is written in, so that no segmentation decides. (A Latin letter carries far less than a Han
character, so text in Latin script has a low perplexity by nature: filter by language first.)
`corpuskit.clean.perplexity_training` makes the model.
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
from corpuskit.clean.folding import FOLDING, SKIPPED, folding_table
from corpuskit.clean.steps import Check, Judged, Step, at_least, at_most, texts
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ArtifactError, ConfigError

KIND = "character-language-model"

NUM_UNKNOWN = 1 << 17
"""Characters that share the probability of "unknown": as many code points as Unicode assigns to
letters, marks and symbols, rounded down to a power of two. Without it a text in a script that the
model never saw would be one very likely character, again and again."""

HEAD_PERCENTILE, MIDDLE_PERCENTILE = 30, 60
"""Where CCNet cuts head from middle and middle from tail."""

_ARRAYS = ("vocabulary", "unigram_costs", "unigram_backoffs", "slots", "starts", "percentiles")


@dataclass(frozen=True, eq=False)
class PerplexityModel:
    """A character n-gram language model with Kneser–Ney smoothing.

    Attributes
    ----------
    order : int
        Length of the longest n-gram.
    vocabulary : numpy.ndarray
        uint32, ascending: the (folded) characters with ids 1, 2, …; id 0 is every other one.
    unigram_costs, unigram_backoffs : numpy.ndarray
        float32[len(vocabulary) + 1], bits.
    slots, starts : numpy.ndarray
        The tables of the longer orders; see `corpuskit.kernels.charlm`.
    percentiles : numpy.ndarray
        float64[101]: perplexity at the 0th to 100th percentile of the texts that training measured.
    report : mapping
        What training measured. JSON.
    """

    order: int
    vocabulary: np.ndarray
    unigram_costs: np.ndarray
    unigram_backoffs: np.ndarray
    slots: np.ndarray
    starts: np.ndarray
    percentiles: np.ndarray
    report: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, modelfile.read_only(getattr(self, name)))

    @property
    def base(self) -> int:
        """Number of ids: the vocabulary and the unknown."""
        return len(self.vocabulary) + 1

    def costs(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Minus log2 of the probability of every text, and how many characters that is for.

        A text has no start or end symbol: its first characters are predicted from those before
        them, as many as there are.

        Returns
        -------
        bits : numpy.ndarray
            float64.
        characters : numpy.ndarray
            int64, after folding.
        """
        from corpuskit.kernels import charlm

        data, offsets = utf8_buffers(text)
        first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
        ids = np.empty(last - first + 1, np.uint16)
        id_offsets = np.empty(len(text) + 1, np.int64)
        charlm.encode(data, offsets, id_table(self.vocabulary), ids, id_offsets)
        bits = np.empty(len(text))
        charlm.costs(
            ids,
            id_offsets,
            self.base,
            self.order,
            self.unigram_costs,
            self.unigram_backoffs,
            self.slots,
            self.starts,
            np.log2(NUM_UNKNOWN),
            bits,
        )
        return bits, np.diff(id_offsets)

    def perplexities(self, text: pa.Array) -> np.ndarray:
        """The perplexity per character of every text.

        Parameters
        ----------
        text : pyarrow.Array
            A string or large_string array without nulls.

        Returns
        -------
        numpy.ndarray
            float64: 2 to the mean bits a character. A text without a visible character has that
            of a guess among all characters, known and unknown.
        """
        bits, characters = self.costs(text)
        blank = np.log2(self.base + NUM_UNKNOWN)
        return np.exp2(np.where(characters > 0, bits / np.maximum(characters, 1), blank))

    def threshold(self, percentile: int) -> float:
        """Perplexity at a percentile of the texts that training measured."""
        return float(self.percentiles[percentile])

    def buckets(self, perplexities: np.ndarray) -> np.ndarray:
        """``head``, ``middle`` or ``tail`` for each perplexity (object array of str)."""
        limits = [self.threshold(HEAD_PERCENTILE), self.threshold(MIDDLE_PERCENTILE)]
        return np.array(["head", "middle", "tail"], object)[np.searchsorted(limits, perplexities)]

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as one file."""
        header = {
            "folding": FOLDING,
            "order": self.order,
            "num_unknown": NUM_UNKNOWN,
            "report": dict(self.report),
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        modelfile.save(path, KIND, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> PerplexityModel:
        """Read a saved model; a file is read once a process, and again when it has changed.

        Raises
        ------
        ArtifactError
            If the file is missing, damaged, of another kind, or made by a newer version.
        """
        return _load(modelfile.stamp(path))


@lru_cache(maxsize=4)
def _load(state: modelfile.Stamp) -> PerplexityModel:
    header, arrays = modelfile.load(state.path, KIND)
    if header["folding"] != FOLDING or header["num_unknown"] != NUM_UNKNOWN:
        raise ArtifactError(
            f"the model sees text as {header['folding']}, this version as {FOLDING}",
            where=state.path,
            hint="train it again",
        )
    return PerplexityModel(header["order"], **arrays, report=header["report"])


def id_table(vocabulary: np.ndarray) -> np.ndarray:
    """uint16[0x110000]: the id of each code point, folding included; 0xFFFF where it is left out."""
    return _id_table(vocabulary.tobytes())


@lru_cache(maxsize=4)
def _id_table(vocabulary: bytes) -> np.ndarray:
    from corpuskit.kernels.charlm import SKIPPED_ID

    known = np.frombuffer(vocabulary, np.uint32)
    ids = np.zeros(0x110000, np.uint16)
    ids[known] = np.arange(1, len(known) + 1)
    folding = folding_table()
    skipped = folding == SKIPPED
    ids[: folding.size] = ids[np.where(skipped, 0, folding)]
    ids[: folding.size][skipped] = SKIPPED_ID
    return ids


@dataclass(frozen=True)
class Perplexity(Step):
    """Drop documents that a language model of good text finds too surprising, or not at all so.

    Attributes
    ----------
    model : str
        A file that ``corpuskit quality train-lm`` wrote. The step carries the path; every process
        loads the model once.
    max_perplexity : float or None
        ``clean/perplexity``, per character. None takes the model's 60th percentile, where CCNet's
        *tail* begins.
    min_perplexity : float
        ``clean/low_perplexity``: text that repeats itself or the training corpus has next to no
        surprises. 0 leaves the rule out.
    add_columns : bool
        Whether kept documents get the columns ``perplexity`` (float64) and ``perplexity_bucket``
        (``head``, ``middle`` or ``tail``).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: str
    max_perplexity: float | None = None
    min_perplexity: float = 0.0
    add_columns: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError(
                f"{self.model!r} is not the path of a model file",
                where="perplexity.model",
                hint="train one with `corpuskit quality train-lm`",
            )
        if not self.min_perplexity >= 0:
            raise ConfigError(f"{self.min_perplexity!r} is negative", where="min_perplexity")
        if self.max_perplexity is not None and not self.max_perplexity > self.min_perplexity:
            raise ConfigError(
                f"{self.max_perplexity!r} is not more than min_perplexity {self.min_perplexity!r}",
                where="max_perplexity",
            )

    @property
    def files(self) -> tuple[str, ...]:
        return (self.model,)

    def judge(self, batch: DocumentBatch) -> Judged:
        model = PerplexityModel.load(self.model)
        values = model.perplexities(texts(batch))
        maximum = self.max_perplexity
        if maximum is None:
            maximum = model.threshold(MIDDLE_PERCENTILE)
        checks: list[Check] = [at_most("perplexity", values, maximum)]
        if self.min_perplexity > 0:
            checks.append(at_least("low_perplexity", values, self.min_perplexity))
        if self.add_columns:
            batch = _with_column(batch, "perplexity", pa.array(values))
            batch = _with_column(batch, "perplexity_bucket", pa.array(model.buckets(values), pa.string()))
        return Judged(batch, checks)


def _with_column(batch: DocumentBatch, name: str, values: pa.Array) -> DocumentBatch:
    """`batch` with a column added or replaced."""
    place = batch.schema.get_field_index(name)
    return batch.append_column(name, values) if place < 0 else batch.set_column(place, name, values)
