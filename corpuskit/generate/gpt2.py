"""GPT-2 written out for generation: what a step costs beyond its matrix products is left away.

A step of transformers' `generate` with GPT-2 124M and 16 rows grows its cache by copying it, builds a mask
and takes eight operations for a GELU. Here keys and values are written in place into buffers of their
final size, attention reads a view of them, and a mask exists only where rows are really padded. What a
step of twelve tiny layers costs, all but the products, falls from 6.0 ms to 3.6 (one row: 3.2 to 1.1).

The rest is the matrix products, and for a batch they have a shape that BLAS libraries serve badly:
50,257 x 768 by 768 x 16. MKL packs the large matrix on every call; cut into blocks of 16 outputs and
given as one batched product it is read once as it lies. On one core of an AVX-512 Xeon the 49
products of a step with 16 rows take 61 ms so, 81 ms as `addmm` on weights stored as GPT-2's Conv1D
stores them (inputs x outputs), 64 ms with MKL's and 61 ms with oneDNN's packed weights, which need
a second copy of the model. Below 4 rows a plain product is as fast as memory, above 64 MKL's
packing pays. Blocks need the other order in memory (outputs x inputs): `arrange` brings a model's
weights into it in place, a matrix at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from corpuskit.generate.padding import Padded, pad_left

_BLOCK = 16
_FEWEST_ROWS, _MOST_ROWS = 4, 64


def supports(model: PreTrainedModel) -> bool:
    """Whether `GPT2Decoder` computes what this model computes."""
    if type(model) is not GPT2LMHeadModel or model.config.add_cross_attention:
        return False
    matrices = [part for name, part in model.named_modules() if name.rpartition(".")[2].startswith("c_")]
    return all(type(matrix) is Conv1D for matrix in matrices)  # no adapters, no quantised layers


def arrange(model: PreTrainedModel) -> None:
    """Store the weights of a GPT-2 outputs x inputs; values and shapes stay as they are.

    Only for a model that nobody else holds: an optimiser's state would keep the old order.
    """
    for part in model.modules():
        if type(part) is Conv1D:
            part.weight.data = part.weight.data.t().contiguous().t()


class Linear:
    """``x @ weight.T + bias`` for few rows.

    Parameters
    ----------
    weight : Tensor, shape (outputs, inputs)
        A view of the model's own.
    bias : Tensor, shape (outputs,), optional
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight, bias
        outputs, self.inputs = weight.shape
        self._whole = outputs // _BLOCK * _BLOCK
        blocked = weight.is_contiguous() and weight.device.type == "cpu" and weight.dtype == torch.float32
        self._blocks = weight[: self._whole].view(-1, _BLOCK, self.inputs) if blocked else None
        self._column = None if bias is None else bias[:, None]

    def __call__(self, x: Tensor) -> Tensor:
        """From (rows, inputs) to (rows, outputs); the result may be a transposed view."""
        rows = x.shape[0]
        if self._blocks is None or not _FEWEST_ROWS <= rows <= _MOST_ROWS:
            return F.linear(x, self.weight, self.bias)
        columns = x.t().contiguous()
        result = x.new_empty(self.weight.shape[0], rows)
        blocks = result[: self._whole].view(-1, _BLOCK, rows)
        torch.bmm(self._blocks, columns.expand(len(blocks), -1, -1), out=blocks)
        if self._whole < len(result):
            torch.mm(self.weight[self._whole :], columns, out=result[self._whole :])
        if self._column is not None:
            result += self._column
        return result.t()


class _Norm(NamedTuple):
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.epsilon)


class _Block(NamedTuple):
    attention_norm: _Norm
    attention_in: Linear
    attention_out: Linear
    scale: float
    norm: _Norm
    widen: Linear
    narrow: Linear


class GPT2Decoder:
    """The key-value cache of a batch of GPT-2, and the steps that extend it.

    Parameters
    ----------
    model : GPT2LMHeadModel
        One that `supports` accepts; its weights are read, never changed.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        body: Any = model.transformer
        config = model.config
        self._heads, self._width = config.n_head, config.n_embd
        self._tokens, self._positions = body.wte.weight, body.wpe.weight
        self._blocks = [_block(block) for block in body.h]
        self._norm = _norm(body.ln_f)
        head: Any = model.lm_head
        self._head = Linear(head.weight, head.bias)
        # transformers' GELU with a tanh is eight operations; torch has it as one
        tanh = config.activation_function in ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
        self._activation = _tanh_gelu if tanh else body.h[0].mlp.act
        self._padded: Padded | None = None
        self._length = 0

    def start(self, windows: Sequence[Sequence[int]], room: int) -> Tensor:
        """Read the windows; the logits after each one's last token.

        Parameters
        ----------
        windows : sequence of sequences of int
            Within the context, none empty.
        room : int
            At most so many tokens a row will follow.

        Returns
        -------
        Tensor of the model's dtype, shape (rows, outputs)
        """
        padded = pad_left(windows, self._tokens.device)
        rows, length = padded.ids.shape
        head_width = self._width // self._heads
        shape = (len(self._blocks), 2, rows, self._heads, length + room, head_width)
        self._cache = self._tokens.new_empty(shape)
        self._padded, self._length = padded, length
        mask = None if padded.starts is None else padded.causal_mask()
        x = F.embedding(padded.ids, self._tokens) + F.embedding(padded.positions(), self._positions)
        x = x.view(-1, self._width)
        for block, (keys, values) in zip(self._blocks, self._cache, strict=True):
            q, k, v = self._split(block.attention_in(block.attention_norm(x)), rows)
            keys[:, :, :length] = k
            values[:, :, :length] = v
            seen = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None and length > 1, scale=block.scale
            )
            x = self._rest(x, seen, block)
        return self._head(self._norm(x.view(rows, length, -1)[:, -1]))

    def step(self, tokens: Tensor) -> Tensor:
        """Add one token a row (int64, shape (rows,)); the logits after it."""
        padded, position = self._padded, self._length
        if padded is None:
            raise RuntimeError("step before start")
        self._length += 1
        if padded.starts is None:
            x = F.embedding(tokens, self._tokens) + self._positions[position]
        else:
            x = F.embedding(tokens, self._tokens) + F.embedding(position - padded.starts, self._positions)
        mask = padded.mask(self._length)
        rows = len(tokens)
        for block, (keys, values) in zip(self._blocks, self._cache, strict=True):
            q, k, v = self._split(block.attention_in(block.attention_norm(x)), rows)
            keys[:, :, position : position + 1] = k
            values[:, :, position : position + 1] = v
            seen = F.scaled_dot_product_attention(
                q.contiguous(),
                keys[:, :, : self._length],
                values[:, :, : self._length],
                attn_mask=mask,
                scale=block.scale,
            )
            x = self._rest(x, seen, block)
        return self._head(self._norm(x))

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (int64), in this order; a row may be taken more than once."""
        if self._padded is None:
            raise RuntimeError("select before start")
        # Only what has been written is worth copying.
        chosen = self._cache.new_empty((*self._cache.shape[:2], len(rows), *self._cache.shape[3:]))
        for old, new in zip(self._cache.flatten(0, 1), chosen.flatten(0, 1), strict=True):
            new[:, :, : self._length] = old[rows, :, : self._length]
        self._cache, self._padded = chosen, self._padded.select(rows)

    def _split(self, x: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each of shape (rows, heads, tokens, head width)."""
        head_width = self._width // self._heads
        q, k, v = x.view(rows, -1, 3, self._heads, head_width).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _rest(self, x: Tensor, seen: Tensor, block: _Block) -> Tensor:
        """From what the heads saw to the block's output."""
        x = x + block.attention_out(seen.transpose(1, 2).reshape(len(x), self._width))
        return x + block.narrow(self._activation(block.widen(block.norm(x))))


def _tanh_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _norm(norm: Any) -> _Norm:
    return _Norm(norm.weight, norm.bias, norm.eps)


def _block(block: Any) -> _Block:
    return _Block(
        attention_norm=_norm(block.ln_1),
        attention_in=_linear(block.attn.c_attn),
        attention_out=_linear(block.attn.c_proj),
        scale=block.attn.scaling,
        norm=_norm(block.ln_2),
        widen=_linear(block.mlp.c_fc),
        narrow=_linear(block.mlp.c_proj),
    )


def _linear(layer: Any) -> Linear:
    return Linear(layer.weight.t(), layer.bias)
