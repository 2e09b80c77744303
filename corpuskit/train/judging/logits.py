"""Logits where they are judged, and nowhere else, a chunk at a time.

Over a large vocabulary the output layer is most of a small model's work, and its result the largest
tensor by far: 8 windows of 1,024 places over 60,257 tokens are 2 GB. Of windows that overlap by half only the
later half is judged, of hidden words a sixth of the places.

A chunk is small enough to stay in caches and for the allocator to hand out again: over 60,257 tokens
16 MB at a time take 0.4 of the time of 64 MB, each of which is fresh pages.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_LOGITS_PER_CHUNK = 1 << 22  # 16 MB of float32


def logits_at(
    model: PreTrainedModel, inputs: dict[str, Any], places: torch.Tensor, vocabulary: int
) -> Iterator[torch.Tensor]:
    """The logits of some places of a batch, in the order of `places`.

    Parameters
    ----------
    model : PreTrainedModel
        Causal or masked, in evaluation mode. If its logits are not known to be one product (`head_of`), its
        own forward pass makes them: from the first column on that any row wants where it lets itself be
        told (``logits_to_keep``), else all.
    inputs : dict
        What its blocks take; ``input_ids`` has shape (batch, length).
    places : Tensor of int64, shape (n,)
        Positions in the batch read as one row of batch * length tokens, on the model's device.
    vocabulary : int
        Rows beyond are padding.

    Yields
    ------
    Tensor of float32, shape (at most 2^22 / vocabulary, vocabulary)
    """
    import torch

    from corpuskit.models.heads import head_of

    rows = max(1, _LOGITS_PER_CHUNK // vocabulary)
    head = head_of(model)
    if head is None:
        yield from (part[:, :vocabulary].float() for part in _own_logits(model, inputs, places, rows))
        return
    output: Any = model.base_model(**inputs)
    hidden = output.last_hidden_state.flatten(0, 1)
    weight = head.weight[:vocabulary]
    bias = None if head.bias is None else head.bias[:vocabulary]
    for part in places.split(rows):
        wanted = head.transform(hidden.index_select(0, part))
        yield torch.nn.functional.linear(wanted, weight, bias).float()


def _own_logits(
    model: PreTrainedModel, inputs: dict[str, Any], places: torch.Tensor, rows: int
) -> Iterator[torch.Tensor]:
    length = inputs["input_ids"].shape[1]
    first = 0
    if "logits_to_keep" in inspect.signature(model.forward).parameters and len(places):
        first = int((places % length).min())
        inputs = {**inputs, "logits_to_keep": length - first}
    output: Any = model(**inputs)
    for part in places.split(rows):
        yield output.logits[part // length, part % length - first]
