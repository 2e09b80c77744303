"""The loss of a batch, with the output layer computed in chunks and only where a token is wanted.

A GPT-2 vocabulary makes the logits by far the largest tensor of a small model: 32 x 1024 x 50257
in float32 is 6.6 GB, and the usual forward and backward pass over them several times. Here a
chunk of logits lives only until its softmax has become its gradient, in place. It is the same
arithmetic, and a whole update of the nano model with 55,257 tokens takes 0.84 s instead of 1.35 s
of one CPU core (batch 8 x 128). Masked models and fine-tuning want a token in a fraction of the
places, and the others have no logits at all.
`torch.nn.functional.linear_cross_entropy` (torch 2.13) is the same idea; this runs on older ones.

Losses are sums, to be divided by the number of wanted tokens of the whole update. The mean of the
means of several batches would weigh a token by how few stand beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from corpuskit.errors import ConfigError
from corpuskit.models.heads import Head, head_of
from corpuskit.models.loading import family_of
from corpuskit.models.packed import decoder_inputs, encoder_inputs, forward_inputs, unmasked

_LOGITS_PER_CHUNK = 1 << 24  # 64 MB of float32


class TokenLoss(nn.Module):
    """The summed cross-entropy of a batch in nats.

    A module, so that FSDP brings together the weights outside the blocks before it runs; and the head is
    looked up in every call, because FSDP exchanges the tensors.

    Parameters
    ----------
    model : PreTrainedModel
        Causal, masked or encoder-decoder.
    compile : bool
        Run its blocks through torch.compile; the loss itself stays as it is.
    """

    def __init__(self, model: PreTrainedModel, compile: bool = False) -> None:
        super().__init__()
        self.model = model
        self._family = family_of(model)
        if compile:
            unmasked(model)
        whole: list[Any] = [model]
        if self.head is not None:
            seq2seq = self._family == "seq2seq"
            whole = [model.get_encoder(), model.get_decoder()] if seq2seq else [model.base_model]
        self._blocks = [torch.compile(blocks) for blocks in whole] if compile else whole

    @property
    def head(self) -> Head | None:
        """The model's head, with the tensors it has now."""
        return head_of(self.model)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The sum over the wanted tokens of a batch that `corpuskit.train.batches` made."""
        head = self.head
        if head is None:
            return self._from_logits(batch)
        hidden = self.hidden(batch).flatten(0, 1).index_select(0, batch["places"])
        return linear_cross_entropy(head.transform(hidden), head.weight, batch["targets"], head.bias)

    def hidden(self, batch: dict[str, Tensor]) -> Tensor:
        """What stands before the head: (batch, length, width), of the decoder if there is one."""
        if self._family == "seq2seq":
            encoder, decoder = self._blocks
            encoded = encoder(**encoder_inputs(self.model, batch)).last_hidden_state
            output: Any = decoder(**decoder_inputs(self.model, batch, encoded))
        else:
            output = self._blocks[0](**forward_inputs(self.model, batch))
        return output.last_hidden_state

    def _from_logits(self, batch: dict[str, Tensor]) -> Tensor:
        if self._family == "seq2seq":
            inputs = self._unpacked(batch)
        else:
            inputs = forward_inputs(self.model, batch)
        logits = self._blocks[0](**inputs).logits.flatten(0, 1).index_select(0, batch["places"])
        return torch.nn.functional.cross_entropy(logits.float(), batch["targets"], reduction="sum")

    def _unpacked(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        if int(batch["segment_ids"].max()) > 1:
            raise ConfigError(
                f"models of type {self.model.config.model_type} cannot keep packed documents apart here",
                where="train.sequences",
                hint="choose documents, or a T5",
            )
        return {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["segment_ids"],
            "decoder_input_ids": batch["decoder_input_ids"],
            "decoder_attention_mask": batch["target_segment_ids"],
            "use_cache": False,
        }


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None
) -> Tensor:
    """``cross_entropy(hidden @ weight.T + bias, targets, reduction="sum")``.

    Parameters
    ----------
    hidden : Tensor, shape (n, width)
    weight : Tensor, shape (vocabulary, width)
    targets : Tensor of int64, shape (n,)
    bias : Tensor, shape (vocabulary,), optional
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, bias)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradients are made on the way forward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        needs_gradient = any(ctx.needs_input_grad)
        rows = max(1, min(len(hidden), _LOGITS_PER_CHUNK // len(weight)))
        buffer = hidden.new_empty((rows, len(weight)), dtype=torch.float32)
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_gradient = torch.empty_like(hidden, dtype=torch.float32)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        bias_gradient = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        with torch.autocast(device, enabled=False):
            matrix = weight.to(dtype)
            for start in range(0, len(hidden), rows):
                part = hidden[start : start + rows].to(dtype)
                wanted = targets[start : start + rows, None]
                logits = buffer[: len(part)]
                _multiply(part, matrix.T, logits)
                if bias is not None:
                    logits += bias
                largest, picked = logits.amax(1), logits.gather(1, wanted)[:, 0]
                torch.softmax(logits, 1, out=logits)
                # logsumexp = largest - log(largest probability), and that is at least 1 / vocabulary
                total += (largest - logits.amax(1).log() - picked).sum()
                if needs_gradient:
                    # d loss / d logits = softmax - one_hot
                    logits.scatter_add_(1, wanted, logits.new_full(wanted.shape, -1))
                    slope = logits.to(dtype)
                    _multiply(slope, matrix, hidden_gradient[start : start + rows])
                    _multiply(slope.T, part, weight_gradient, add=True)
                    if bias_gradient is not None:
                        bias_gradient += logits.sum(0)
        if needs_gradient:
            ctx.save_for_backward(hidden_gradient, weight_gradient, bias_gradient)
            ctx.dtypes = hidden.dtype, weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, Tensor | None]:
        hidden_gradient, weight_gradient, bias_gradient = ctx.saved_tensors
        scale = upstream[0]
        return (
            (hidden_gradient * scale).to(ctx.dtypes[0]),
            (weight_gradient * scale).to(ctx.dtypes[1]),
            None,
            None if bias_gradient is None else (bias_gradient * scale).to(ctx.dtypes[1]),
        )


def _multiply(left: Tensor, right: Tensor, out: Tensor, add: bool = False) -> None:
    """``out = left @ right``, or ``out += …``, without an intermediate where the types agree."""
    if left.dtype == out.dtype:
        torch.addmm(out, left, right, beta=float(add), out=out)
    elif add:
        out += left @ right
    else:
        out.copy_(left @ right)
