"""From logits to the next token: penalties, temperature, top-k, top-p, min-p, then one draw.

The order and the arithmetic are those of transformers' logits processors, so that the same
settings mean the same distribution. The draw is the inverse of the cumulative distribution, in the
order of the vocabulary, at a uniform number from the row's own generator: what a row draws depends
on the seed and the row alone, not on its neighbours in the batch.

Sorting 16 rows of 50,257 logits takes longer than a layer of GPT-2, so top-k and top-p sort only
candidates: the k best, or the 1,024 best where these already reach the probability asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.generate.history import History

_CANDIDATES = 1024
_CHUNK = 1024

_SMALLEST_TEMPERATURE = 1e-10
"""Logits over less may be too large for float32; with far more already only the largest can be drawn."""

_NUMBER, _WHOLE = (Real, "a number"), (Integral, "a whole number")
_COUNTS = frozenset({"top_k", "no_repeat_ngram", "beams"})
_OPTIONAL = frozenset({"top_k", "top_p", "min_p"})


class SamplingOptions(TypedDict, total=False):
    """The fields of `Sampling` as keywords."""

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    min_p: float | None
    no_repeat_ngram: int
    beams: int
    length_penalty: float
    early_stopping: bool


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes
    ----------
    temperature : float
        Divides the logits; 0 takes the most likely token (the lowest id among equals).
    top_k : int or None
        Only the k most likely tokens.
    top_p : float or None
        Only the most likely tokens that together reach this probability (Holtzman et al. 2020).
    repetition_penalty : float
        Above 1 makes tokens that have occurred less likely (Keskar et al. 2019).
    min_p : float or None
        Only tokens at least this share as likely as the most likely one (Nguyen et al. 2024).
    no_repeat_ngram : int
        No sequence of so many tokens occurs twice, the prompt's included; 0 allows all.
    beams : int
        Above 1: instead of drawing, search for the most likely text with so many candidates.
        Temperature does not matter then.
    length_penalty : float
        With beams: a finished text's log probability is divided by its length to this power.
    early_stopping : bool
        With beams: stop as soon as there are `beams` finished texts.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    min_p: float | None = None
    no_repeat_ngram: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False

    def __post_init__(self) -> None:
        for name, given in vars(self).items():
            kind, wanted = _WHOLE if name in _COUNTS else _NUMBER
            if name == "early_stopping" or (given is None and name in _OPTIONAL):
                continue
            if not isinstance(given, kind) or isinstance(given, bool):
                raise ConfigError(f"must be {wanted}, not {given!r}", where=name)
        if self.temperature != 0 and not _SMALLEST_TEMPERATURE <= self.temperature < float("inf"):
            raise ConfigError(
                f"must be 0 or at least {_SMALLEST_TEMPERATURE:g}, not {self.temperature}",
                where="temperature",
                hint="0 takes the most likely token each time",
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"must be at least 1, not {self.top_k}", where="top_k")
        for name in ("top_p", "min_p"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise ConfigError(f"must lie in (0, 1], not {share}", where=name)
        if not 0 < self.repetition_penalty < float("inf"):
            raise ConfigError(f"must be above 0, not {self.repetition_penalty}", where="repetition_penalty")
        if self.no_repeat_ngram < 0:
            raise ConfigError(f"must be 0 or more, not {self.no_repeat_ngram}", where="no_repeat_ngram")
        if self.beams < 1:
            raise ConfigError(f"must be at least 1, not {self.beams}", where="beams")
        if not -float("inf") < self.length_penalty < float("inf"):
            raise ConfigError(f"must be a number, not {self.length_penalty}", where="length_penalty")
        if self.beams > 1:
            for name in ("top_k", "top_p", "min_p"):
                if getattr(self, name) is not None:
                    raise ConfigError("does not go with beams, which draw nothing", where=name)

    @property
    def is_greedy(self) -> bool:
        """Whether each token is the one of the largest logit, and nothing else about the logits matters."""
        plain = self.repetition_penalty == 1 and self.no_repeat_ngram == 0
        return plain and self.temperature == 0 and self.beams == 1

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Sampling:
        """From keywords.

        Raises
        ------
        ConfigError
            If an option is unknown, or has an impossible value.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise ConfigError(
                    "there is no such option", where=name, hint=f"the options are {', '.join(known)}"
                )
        return cls(**options)

    def history(self, rows: Sequence[Sequence[int]], tokens: int, device: torch.device) -> History:
        """The record these settings need of rows over a vocabulary of `tokens`."""
        return History(rows, tokens, self.repetition_penalty, self.no_repeat_ngram, device)

    def next_tokens(self, logits: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Choose one token a row.

        Parameters
        ----------
        logits : Tensor of float32, shape (rows, tokens)
            As `History.constrain` leaves them.
        generators : sequence of torch.Generator
            One a row, on the CPU; not used at temperature 0.

        Returns
        -------
        Tensor of int64, shape (rows,)
        """
        if self.temperature == 0:
            return most_likely(logits)
        ids, values = self._candidates(logits)
        uniform = torch.cat([torch.rand(1, 1, generator=g, dtype=torch.float64) for g in generators])
        # float64: in float32 the rounding of the sum over 50,000 tokens is as large as a rare token
        cumulative = values.softmax(1).double().cumsum(1)
        drawn = torch.searchsorted(cumulative, uniform.to(logits.device) * cumulative[:, -1:], right=True)
        drawn = drawn.clamp(max=values.shape[1] - 1)
        return (drawn if ids is None else ids.gather(1, drawn))[:, 0]

    def filtered(self, logits: Tensor) -> Tensor:
        """Logits over the temperature, those that top-k, top-p and min-p exclude at minus infinity."""
        logits = logits / self.temperature
        if self.top_k is not None:
            smallest = logits.topk(min(self.top_k, logits.shape[1])).values[:, -1:]
            logits = logits.masked_fill(logits < smallest, -torch.inf)
        if self.top_p is not None and self.top_p < 1:
            ascending, order = logits.sort(1)
            excluded = ascending.softmax(1).cumsum(1) <= 1 - self.top_p
            excluded[:, -1] = False
            logits = logits.masked_fill(excluded.scatter(1, order, excluded), -torch.inf)
        return self._above_min_p(logits)

    def _above_min_p(self, logits: Tensor) -> Tensor:
        if self.min_p is None:
            return logits
        probabilities = logits.softmax(1)
        most = probabilities.amax(1, keepdim=True)
        excluded = (probabilities < self.min_p * most) & (probabilities < most)
        return logits.masked_fill(excluded, -torch.inf)

    def _candidates(self, logits: Tensor) -> tuple[Tensor | None, Tensor]:
        """Ids in ascending order and logits, (rows, candidates), as `filtered` leaves them.

        Ids are None where all tokens are candidates: nothing to sort, equal logits at the border of
        top-k, or a distribution so flat that few tokens do not reach top-p.
        """
        nucleus = self.top_p or 1.0
        if self.top_k is None and nucleus == 1:
            return None, self.filtered(logits)
        count = min(self.top_k or _CANDIDATES, logits.shape[1])
        values, ids = (logits / self.temperature).topk(count)
        if self.top_k is not None:
            if int((logits >= logits.gather(1, ids[:, -1:])).sum(1).max()) > count:
                return None, self.filtered(logits)
            probabilities = values.softmax(1)
        else:
            probabilities = (values - (logits / self.temperature).logsumexp(1, keepdim=True)).exp()
        if nucleus < 1:
            reached = probabilities.cumsum(1)
            if self.top_k is None and count < logits.shape[1] and float(reached[:, -1].min()) < nucleus:
                return None, self.filtered(logits)
            values = values.masked_fill(reached - probabilities >= nucleus, -torch.inf)
        ids, order = ids.sort(1)
        return ids, self._above_min_p(values.gather(1, order))


def require_numbers(logits: Tensor, chosen: Tensor | None = None) -> None:
    """Refuse logits from which nothing can be chosen.

    Parameters
    ----------
    logits : Tensor, shape (rows, tokens)
    chosen : Tensor of int64, shape (rows,), optional
        The largest one's id in each row, if known: where any is NaN, so is this.

    Raises
    ------
    ArtifactError
        If one is NaN, or the largest is infinite.
    """
    largest = logits.amax(1) if chosen is None else logits.gather(1, chosen[:, None])
    if not bool(largest.isfinite().all()):
        raise ArtifactError(
            "what the model computes is no longer a number",
            where="model",
            hint="its weights hold NaN or infinity, or are too large for their dtype: take an earlier "
            "checkpoint, or float32",
        )


def most_likely(logits: Tensor) -> Tensor:
    """The largest logit's id in each row, the lowest among equals; int64, shape (rows,).

    torch's argmax on the CPU compares one by one (1 to 2 ms for 16 x 50,257), its maximum many at a
    time (0.2 ms), so the maxima of groups come first and the place is looked for in one group only.
    """
    rows, tokens = logits.shape
    whole = tokens // _CHUNK * _CHUNK
    if logits.device.type != "cpu" or whole < 2 * _CHUNK:
        return logits.argmax(1)
    # A product for many rows leaves them transposed; copying took longer than all the rest.
    transposed = logits.t().is_contiguous()
    if transposed:
        maxima = logits.t()[:whole].reshape(-1, _CHUNK * rows).amax(0).view(_CHUNK, rows).t()
    else:
        maxima = logits[:, :whole].reshape(rows, -1, _CHUNK).amax(2)
    largest, group = maxima.max(1, keepdim=True)
    if transposed:  # group g has the tokens g, g + _CHUNK, ...: the lowest of equals may be in any
        if int((maxima == largest).sum()) > rows:
            return logits.argmax(1)
        places = group + torch.arange(0, whole, _CHUNK)
    else:
        places = group * _CHUNK + torch.arange(_CHUNK)
    inside = places.gather(1, logits.gather(1, places).argmax(1, keepdim=True))[:, 0]
    if whole == tokens:
        return inside
    best, last = logits[:, whole:].max(1)
    return torch.where(best > largest[:, 0], last + whole, inside)
