"""GPT-2 written out for generation: what a step costs beyond its matrix products is left away.

A step of transformers' `generate` with GPT-2 124M and 16 rows grows its cache by copying it, builds a mask
and takes eight operations for a GELU. Here keys and values are written in place into buffers of their
final size, attention reads a view of them, and a mask exists only where rows are really padded. What a
step of twelve tiny layers costs, all but the products, falls from 6.0 ms to 3.6 (one row: 3.2 to 1.1).

The rest is the matrix products, and a batch gives them a shape that BLAS libraries serve badly:
50,257 x 768 by 768 x 16, where MKL packs the large matrix on every call. Cut into blocks of 16 outputs and
given as one batched product it is read once as it lies. Milliseconds for the 48 products of the layers on
one core of an AVX-512 Xeon, weights stored outputs x inputs, the best of 6:

| rows | `mm` | blocks of outputs, rows beside them | blocks of outputs, rows below them |
|---|---|---|---|
| 1 to 3 | 30 | 51 to 76 | 31 |
| 4 | 56 | 52 | 37 |
| 8 | 66 | 49 | 43 |
| 12 | 78 | 42 | 41 |
| 16 | 57 | 43 | 54 |
| 32 | 77 | 75 | 104 |

(GPT-2 stores inputs x outputs: 29, 34, 55 and 80 ms for 1, 4, 8 and 16 rows. Packed weights of MKL and oneDNN
take as long as blocks and need a second copy of the model.) `arrange` brings a model's weights into
the order outputs x inputs in place, a matrix at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from corpuskit.generate.lookahead import Choose
from corpuskit.generate.padding import Padded, pad_left
from corpuskit.generate.quantized import QuantizedLinear
from corpuskit.generate.screening import Screen

_BLOCK = 16
_ROWS_BELOW = range(4, 13)
_ROWS_BESIDE = range(13, 65)
_MOST_REFUSED = 8


def supports(model: PreTrainedModel) -> bool:
    """Whether `GPT2Decoder` computes what this model computes."""
    if type(model) is not GPT2LMHeadModel or model.config.add_cross_attention:
        return False
    parts = dict(model.named_modules())
    # What somebody has hung on to a part, or put in its place, is seen by the model's own forward pass only.
    if any(x._forward_hooks or x._forward_pre_hooks or "forward" in vars(x) for x in parts.values()):
        return False
    matrices = [part for name, part in parts.items() if name.rpartition(".")[2].startswith("c_")]
    plain = all(type(matrix) is Conv1D for matrix in matrices)  # no adapters, no quantised layers
    return plain and type(parts["lm_head"]) is torch.nn.Linear


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

    def __call__(self, x: Tensor) -> Tensor:
        """From (rows, inputs) to (rows, outputs); the result may be a transposed view."""
        rows = x.shape[0]
        if self._blocks is None or not _ROWS_BELOW[0] <= rows <= _ROWS_BESIDE[-1]:
            return F.linear(x, self.weight, self.bias)
        return self._below(x) if rows in _ROWS_BELOW else self._beside(x)

    def _below(self, x: Tensor) -> Tensor:
        """Each block's product is (rows, block)."""
        blocks = cast(Tensor, self._blocks).transpose(1, 2)
        result = torch.bmm(x.expand(len(blocks), -1, -1), blocks).transpose(0, 1).reshape(len(x), self._whole)
        if self._whole < len(self.weight):
            result = torch.cat([result, x @ self.weight[self._whole :].t()], dim=1)
        return result if self.bias is None else result.add_(self.bias)

    def _beside(self, x: Tensor) -> Tensor:
        """Each block's product is (block, rows): the result is transposed."""
        blocks, columns = cast(Tensor, self._blocks), x.t().contiguous()
        result = x.new_empty(len(self.weight), len(x))
        out = result[: self._whole].view(-1, _BLOCK, len(x))
        torch.bmm(blocks, columns.expand(len(blocks), -1, -1), out=out)
        if self._whole < len(result):
            torch.mm(self.weight[self._whole :], columns, out=result[self._whole :])
        if self.bias is not None:
            result += self.bias[:, None]
        return result.t()


class _Norm(NamedTuple):
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.epsilon)


class Block(NamedTuple):
    """A layer: what its norms and its four products compute."""

    attention_norm: _Norm
    attention_in: Callable[[Tensor], Tensor]
    attention_out: Callable[[Tensor], Tensor]
    scale: float
    norm: _Norm
    widen: Callable[[Tensor], Tensor]
    narrow: Callable[[Tensor], Tensor]


class RoughWeights:
    """The weights of a GPT-2 in 8 bits, to guess with.

    Parameters
    ----------
    model : GPT2LMHeadModel
        In float32 on the CPU, one that `supports` accepts. A quarter of its layers' size is kept.
    logits : callable, optional
        About the logits of its output layer, from hidden states (rows, width); default: the exact ones.
    """

    def __init__(self, model: PreTrainedModel, logits: Callable[[Tensor], Tensor] | None = None) -> None:
        body: Any = model.transformer
        self.blocks = [block_of(layer, QuantizedLinear) for layer in body.h]
        self.logits = logits


class GPT2Decoder:
    """The key-value cache of a batch of GPT-2, and the steps that extend it.

    Parameters
    ----------
    model : GPT2LMHeadModel
        One that `supports` accepts; its weights are read, never changed.
    screen : Screen, optional
        Of the output layer, where only the largest logit is asked for: all that cannot be it are then at
        minus infinity.
    rough : RoughWeights, optional
        Of the same model, for `draft`.
    """

    rewinds = True

    def __init__(
        self, model: PreTrainedModel, screen: Screen | None = None, rough: RoughWeights | None = None
    ) -> None:
        body: Any = model.transformer
        config = model.config
        self._heads, self._width = config.n_head, config.n_embd
        self._tokens, self._positions = body.wte.weight, body.wpe.weight
        self._blocks = [block_of(layer) for layer in body.h]
        self._norm = _norm(body.ln_f)
        head: Any = model.lm_head
        self._output, self._screen, self._refused = Linear(head.weight, head.bias), screen, 0
        self._rough = rough
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
        shape = (len(self._blocks), 2, rows, self._heads, length + room, self._width // self._heads)
        self._cache = self._tokens.new_empty(shape)
        self._padded, self._length = padded, 0
        mask = None if padded.starts is None else padded.causal_mask()
        x = self._read(padded.ids, F.embedding(padded.positions(), self._positions), mask)
        return self._head(x.view(rows, length, -1)[:, -1])

    def step(self, tokens: Tensor) -> Tensor:
        """Add one token a row (int64, shape (rows,)); the logits after it."""
        return self._head(self._read_on(tokens[:, None]))

    def extend(self, tokens: Tensor) -> Tensor:
        """Add tokens (int64, (rows, new)); the logits after each, (rows, new, outputs)."""
        return self._head(self._read_on(tokens)).view(*tokens.shape, -1)

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens of each row, padding included."""
        self._length = length

    def draft(self, token: int, count: int, choose: Choose) -> list[int]:
        """Guess what follows `token`, with the rough weights; the cache's content is as long as before.

        Their keys and values stand where the tokens that are really read will overwrite them.
        """
        rough, length = self._rough, self._length
        if rough is None:
            return []
        last, guesses = torch.tensor([token]), list[int]()
        for _ in range(count):
            hidden = self._read_on(last[:, None], rough.blocks)
            last = choose(self._output(hidden) if rough.logits is None else rough.logits(hidden))
            guesses.append(int(last))
        self.rewind(length)
        return guesses

    def _head(self, x: Tensor) -> Tensor:
        """Logits (rows, outputs) from the last norm's output."""
        if self._screen is not None:
            found = self._screen(x)
            if found is not None:
                return found
            self._refused += 1
            if self._refused == _MOST_REFUSED:  # a model that is rarely sure
                self._screen = None
        return self._output(x)

    def _read_on(self, tokens: Tensor, blocks: Sequence[Block] | None = None) -> Tensor:
        """What `_read` gives for tokens that follow."""
        padded = self._padded
        if padded is None:
            raise RuntimeError("step before start")
        old, length = self._length, self._length + tokens.shape[1]
        if padded.starts is None:
            positions = self._positions[old:length]
        else:
            places = torch.arange(old, length, device=tokens.device)
            positions = F.embedding(places - padded.starts[:, None], self._positions)
        mask = padded.mask(length)
        if tokens.shape[1] > 1:
            earlier = torch.ones(tokens.shape[1], length, dtype=torch.bool, device=tokens.device).tril(old)
            mask = earlier if mask is None else earlier & mask
        return self._read(tokens, positions, mask, blocks)

    def _read(
        self, tokens: Tensor, positions: Tensor, mask: Tensor | None, blocks: Sequence[Block] | None = None
    ) -> Tensor:
        """The last norm's output, (rows * new, width), for tokens (rows, new) that follow the cache's.

        Without a mask a single token sees everything, and several, of an empty cache, what is before each.
        """
        (rows, new), old = tokens.shape, self._length
        self._length = length = old + new
        x = (F.embedding(tokens, self._tokens) + positions).view(rows * new, self._width)
        for block, cache in zip(blocks or self._blocks, self._cache, strict=True):
            # One copy of a transposed result is quicker than one each of its three parts.
            qkv = block.attention_in(block.attention_norm(x)).contiguous()
            parts = qkv.view(rows, new, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            cache[:, :, :, old:length] = parts[1:]
            keys, values = cache[:, :, :, :length]
            seen = F.scaled_dot_product_attention(
                parts[0],
                keys,
                values,
                attn_mask=mask,
                is_causal=mask is None and new > 1,
                scale=block.scale,
            )
            x = x + block.attention_out(seen.transpose(1, 2).reshape(len(x), self._width))
            x = x + block.narrow(self._activation(block.widen(block.norm(x))))
        return self._norm(x)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (int64), in this order; a row may be taken more than once."""
        if self._padded is None:
            raise RuntimeError("select before start")
        # Only what has been written is worth copying.
        chosen = self._cache.new_empty((*self._cache.shape[:2], len(rows), *self._cache.shape[3:]))
        for old, new in zip(self._cache.flatten(0, 1), chosen.flatten(0, 1), strict=True):
            new[:, :, : self._length] = old[rows, :, : self._length]
        self._cache, self._padded = chosen, self._padded.select(rows)


def _tanh_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _norm(norm: Any) -> _Norm:
    return _Norm(norm.weight, norm.bias, norm.eps)


def block_of(layer: Any, product: Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]] = Linear) -> Block:
    """A layer of transformers' GPT-2, its products made from weights (outputs, inputs) and biases."""

    def made(matrix: Any) -> Callable[[Tensor], Tensor]:
        return product(matrix.weight.t(), matrix.bias)

    return Block(
        attention_norm=_norm(layer.ln_1),
        attention_in=made(layer.attn.c_attn),
        attention_out=made(layer.attn.c_proj),
        scale=layer.attn.scaling,
        norm=_norm(layer.ln_2),
        widen=made(layer.mlp.c_fc),
        narrow=made(layer.mlp.c_proj),
    )
