"""The last layer of a language model, taken apart: hidden states to logits as one matrix product.

A loss that makes logits in chunks, and only where a token is wanted, needs what stands before the
product (BERT's transform, T5's scaling) and the product's own weight and bias. Models whose logits
are more than that (soft caps, scales) are not here, and are trained through their own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

# Their logits are ``hidden @ weight.T + bias`` and nothing else (modeling files of transformers 5.23).
_PLAIN = frozenset(
    {"gpt2", "gpt_neo", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gpt_bigcode", "phi", "opt"}
)


class Head(NamedTuple):
    """Logits are ``transform(hidden) @ weight.T + bias``."""

    transform: Callable[[Tensor], Tensor]
    weight: Tensor
    bias: Tensor | None


def head_of(model: PreTrainedModel) -> Head | None:
    """The head of a model, or None if its logits are not known to be one product."""
    kind = model.config.model_type
    output = model.get_output_embeddings()
    if output is None:
        return None
    before: Any
    if kind in _PLAIN:
        before = _unchanged
    elif kind in ("t5", "mt5"):
        scaled = getattr(model.config, "scale_decoder_outputs", False)
        before = _Scaled(model.config.d_model**-0.5) if scaled else _unchanged
    elif kind == "bert":
        before = model.cls.predictions.transform  # type: ignore[union-attr]
    elif kind in ("roberta", "xlm-roberta"):
        before = _Chain(model.lm_head.dense, _gelu, model.lm_head.layer_norm)
    elif kind == "distilbert":
        before = _Chain(model.vocab_transform, model.activation, model.vocab_layer_norm)
    else:
        return None
    return Head(before, output.weight, getattr(output, "bias", None))


def _unchanged(hidden: Tensor) -> Tensor:
    return hidden


class _Scaled:
    def __init__(self, factor: float) -> None:
        self._factor = factor

    def __call__(self, hidden: Tensor) -> Tensor:
        return hidden * self._factor


class _Chain:
    def __init__(self, *steps: Any) -> None:
        self._steps = steps

    def __call__(self, hidden: Tensor) -> Tensor:
        for step in self._steps:
            hidden = step(hidden)
        return hidden


def _gelu(hidden: Tensor) -> Tensor:
    from torch.nn.functional import gelu

    return gelu(hidden)
