"""Rows that hold several documents, and attention that keeps them apart.

A batch says by ``segment_ids`` which document a token belongs to. From them come masks of shape
(batch, 1, queries, keys), which transformers hands to attention as they are: a token sees the
tokens of its own document only (for causal models, those up to itself), and counts its position
from the document's beginning. Padding is a document of its own, so that no row of a softmax is
empty.

transformers can also find document borders by itself, from position ids that fall; it does so only
without a cache and without a mask, in GPT-2 and its kin alone, and else leaks in silence
(transformers 5.23; ``use_cache`` is on by default). Masks made here are exact wherever the model takes
one, which the tests hold: with another document changed, every logit is the same to the bit.

While torch.compile traces a model, transformers also makes a mask where none is needed (it cannot see that
a row is one document), and scaled dot-product attention loses its fast causal kernels. `unmasked` is
the same attention under a name for which transformers makes no mask of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from corpuskit.models.loading import family_of

_UNMASKED = "corpuskit_sdpa"
AttentionInterface.register(_UNMASKED, sdpa_attention_forward)

# Their attention is causal over the whole row and nothing else; others have windows that need a mask.
_CAUSAL_ONLY = frozenset({"gpt2", "llama"})


def unmasked(model: PreTrainedModel) -> None:
    """Have `model` make no masks of its own, before it is compiled. Only for `forward_inputs`."""
    if model.config.model_type in _CAUSAL_ONLY and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(_UNMASKED)


@contextmanager
def masked_again(model: PreTrainedModel) -> Iterator[None]:
    """The model as transformers knows it, for generation with padded prompts."""
    before = model.config._attn_implementation
    if before == _UNMASKED:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if before == _UNMASKED:
            model.set_attn_implementation(before)


def forward_inputs(model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Any]:
    """What a causal or masked model's blocks take for a batch.

    Parameters
    ----------
    model : PreTrainedModel
    batch : dict of Tensor
        ``input_ids`` (batch, length); ``segment_ids`` (batch, length) where rows are packed or
        padded: 1, 2, … for documents, 0 for padding. Without it each row is one document.

    Returns
    -------
    dict
        Keyword arguments: ``input_ids``, and ``attention_mask`` and ``position_ids`` where needed.
    """
    inputs: dict[str, Any] = {"input_ids": batch["input_ids"]}
    causal = family_of(model) == "causal"
    if causal:
        inputs["use_cache"] = False
    segments = batch.get("segment_ids")
    if segments is not None:
        inputs["attention_mask"] = _for(model, same_segment(segments, segments, causal))
        inputs["position_ids"] = positions(segments) + _first_position(model)
    elif _first_position(model):
        length = batch["input_ids"].shape[1]
        numbers = torch.arange(length, device=batch["input_ids"].device) + _first_position(model)
        inputs["position_ids"] = numbers.expand_as(batch["input_ids"])
    return inputs


def encoder_inputs(model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Any]:
    """What an encoder-decoder model's encoder takes."""
    segments = batch["segment_ids"]
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": _for(model, same_segment(segments, segments, causal=False)),
    }


def decoder_inputs(model: PreTrainedModel, batch: dict[str, Tensor], encoded: Tensor) -> dict[str, Any]:
    """What an encoder-decoder model's decoder takes, given the encoder's output.

    ``decoder_input_ids`` and ``target_segment_ids`` have shape (batch, target length). A target sees
    the input of its own segment only.
    """
    segments, targets = batch["segment_ids"], batch["target_segment_ids"]
    return {
        "input_ids": batch["decoder_input_ids"],
        "attention_mask": _for(model, same_segment(targets, targets, causal=True)),
        "encoder_hidden_states": encoded,
        "encoder_attention_mask": _for(model, same_segment(targets, segments, causal=False)),
        "use_cache": False,
    }


def same_segment(queries: Tensor, keys: Tensor, causal: bool) -> Tensor:
    """Whether a query may see a key: bool, (batch, 1, queries, keys)."""
    mask = queries[:, None, :, None] == keys[:, None, None, :]
    if causal:
        length = queries.shape[1]
        mask = mask & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    return mask


def positions(segments: Tensor) -> Tensor:
    """Positions counted from the beginning of each segment."""
    count = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    first = segments != segments.roll(1, dims=1)
    first[:, 0] = True
    return count - torch.where(first, count, 0).cummax(dim=1).values


def _first_position(model: PreTrainedModel) -> int:
    """The number of a document's first position: RoBERTa counts from ``pad_token_id + 1``."""
    embeddings = getattr(model.base_model, "embeddings", None)
    padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def _for(model: PreTrainedModel, mask: Tensor) -> Tensor:
    """`mask` as the model's attention wants it: Boolean for SDPA, additive for transformers' own."""
    if model.config._attn_implementation != "eager":
        return mask
    return torch.zeros(mask.shape, dtype=model.dtype, device=mask.device).masked_fill(
        ~mask, torch.finfo(model.dtype).min
    )
