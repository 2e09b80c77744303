"""From logits to the next token: penalty, temperature, top-k, top-p, then one draw.

The order and the arithmetic are those of transformers' logits processors, so that the same
settings mean the same distribution. The draw is the inverse of the cumulative distribution at a
uniform number from the row's own generator: what a row draws depends on the seed and the row
alone, not on its neighbours in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from corpuskit.errors import ConfigError


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
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"must be 0 or more, not {self.temperature}", where="temperature")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"must be at least 1, not {self.top_k}", where="top_k")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"must lie in (0, 1], not {self.top_p}", where="top_p")
        if not 0 < self.repetition_penalty < float("inf"):
            raise ConfigError(f"must be above 0, not {self.repetition_penalty}", where="repetition_penalty")

    def next_tokens(self, logits: Tensor, occurred: Tensor, generators: list[torch.Generator]) -> Tensor:
        """Choose one token a row.

        Parameters
        ----------
        logits : Tensor of float32, shape (rows, tokens)
        occurred : Tensor of bool, shape (rows, tokens)
            Which tokens the row holds already, its prompt included.
        generators : list of torch.Generator
            One a row, on the CPU.

        Returns
        -------
        Tensor of int64, shape (rows,)
        """
        if self.repetition_penalty != 1:
            penalised = torch.where(
                logits < 0, logits * self.repetition_penalty, logits / self.repetition_penalty
            )
            logits = torch.where(occurred, penalised, logits)
        if self.temperature == 0:
            return logits.argmax(1)
        probabilities = self.filtered(logits).softmax(1)
        uniform = torch.cat([torch.rand(1, 1, generator=g, dtype=torch.float64) for g in generators])
        # float64: in float32 the rounding of the sum over 50,000 tokens is as large as a rare token
        cumulative = probabilities.double().cumsum(1)
        drawn = torch.searchsorted(cumulative, uniform.to(logits.device) * cumulative[:, -1:], right=True)
        return drawn[:, 0]

    def filtered(self, logits: Tensor) -> Tensor:
        """Logits over the temperature, those that top-k and top-p exclude at minus infinity."""
        logits = logits / self.temperature
        if self.top_k is not None:
            smallest = logits.topk(min(self.top_k, logits.shape[1])).values[:, -1:]
            logits = logits.masked_fill(logits < smallest, -torch.inf)
        if self.top_p is not None and self.top_p < 1:
            ascending, order = logits.sort(1)
            excluded = ascending.softmax(1).cumsum(1) <= 1 - self.top_p
            excluded[:, -1] = False
            logits = logits.masked_fill(excluded.scatter(1, order, excluded), -torch.inf)
        return logits
