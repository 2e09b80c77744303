"""8-bit copies of a model's weights that make its texts quicker and not different, made when first of use.

Whether a copy is still that of the weights cannot be asked of torch alone: its version counters miss what
changes a weight through ``.data``, through numpy, or in a fused optimiser (torch 2.x, ``AdamW(fused=True)``).
A stale guess costs time, but a stale `Screen` would exclude the wrong tokens. So each text begins with one
product of the output layer and a fixed vector, which differs where any of its rows does; it takes as long as
that layer does for one token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from corpuskit.generate.gpt2 import RoughWeights, supports
from corpuskit.generate.quantized import has_quick_integers
from corpuskit.generate.screening import Screen, can_screen

_WORTH_TOKENS = 32
"""Making the copies takes as long as they save in so many steps, about."""

_LARGE = 1 << 25
"""Weights of the layers from which on reading them takes longer than all else in a step."""


class Shortcuts:
    """The copies of one model; made again when its weights have changed.

    Parameters
    ----------
    model : PreTrainedModel
    vocab_size : int
        Tokens that can be emitted; the output layer may have more rows.
    """

    def __init__(self, model: PreTrainedModel, vocab_size: int) -> None:
        self._model, self._vocab_size = model, vocab_size
        self._state: tuple[tuple[int, int], ...] = ()
        self._screen: Screen | None = None
        self._rough: RoughWeights | None = None
        self._screened = self._drafted = b""  # the marks of what the copies were made of

    def screen(self, new_tokens: int) -> Screen | None:
        """For a text of so many tokens, of which each has the largest logit; None where it is no gain."""
        head: Any = self._model.get_output_embeddings()
        if not self._is_current() or head.bias is not None:
            return None
        weight = head.weight.detach()[: self._vocab_size]
        if self._screen is not None and self._screened != _mark(weight):
            self._screen = self._rough = None
        if self._screen is None and new_tokens >= _WORTH_TOKENS and can_screen(weight):
            self._screen, self._screened = Screen(weight), _mark(weight)
        return self._screen

    def rough(self, new_tokens: int) -> RoughWeights | None:
        """For a single row of so many tokens; None where it is no gain."""
        if not self._is_current():
            return None
        body: Any = self._model.base_model
        first = body.h[0].attn.c_proj.weight.detach().t()  # optimisers change all layers
        if self._rough is not None and self._drafted != _mark(first):
            self._rough = None
        if self._rough is None and new_tokens >= _WORTH_TOKENS and _can_draft(self._model):
            screen, self._drafted = self.screen(new_tokens), _mark(first)
            self._rough = RoughWeights(self._model, screen.approximate if screen else None)
        return self._rough

    def _is_current(self) -> bool:
        """Whether there can be copies; drops those of other weights."""
        if not supports(self._model):
            return False
        weights = list(self._model.parameters())
        # a weight that was made in inference mode counts no versions
        state = tuple((w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights)
        if state != self._state:
            self._state, self._screen, self._rough = state, None, None
        return True


def _mark(weight: Tensor) -> bytes:
    """What differs where a row of `weight` (float32, on the CPU) does by more than rounding."""
    direction = torch.arange(1, weight.shape[1] + 1, dtype=torch.float32).cos()
    with torch.autocast("cpu", enabled=False):
        return (weight @ direction).numpy().tobytes()


def _can_draft(model: PreTrainedModel) -> bool:
    body: Any = model.base_model
    layers = list(body.h.parameters())
    plain = all(weight.device.type == "cpu" and weight.dtype == torch.float32 for weight in layers)
    return has_quick_integers() and plain and sum(weight.numel() for weight in layers) >= _LARGE
