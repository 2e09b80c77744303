"""The most likely token without most of the output layer: eight bits exclude, float32 decides.

The output layer of GPT-2 124M is a third of the weights, so a quarter of a greedy step goes into 50,257
logits of which one matters. Here a product of 8-bit integers gives every logit to within a bound, and all
tokens are excluded whose logit cannot reach the largest; those that are left, some tens at most, are computed
in float32 as always. The token is the same, on any model: where the bound leaves too many, all are computed.

**The bound.** Let w be a row of the output layer and h the hidden state. Adding one vector to all rows moves
all logits alike, and dividing a dimension of all rows by d while multiplying it in h moves none. So rows are
centred and each dimension is divided by its standard deviation: models have dimensions that are large in
every row, which would spoil the integers of all others. Then ``w = s q + r`` with integers q of 8 bits and a
remainder r, and ``h = t p + u`` with integers p of 15 bits (two of 8 bits each), and by Cauchy-Schwarz::

    |w.h - s t q.p| = |r.h + s q.u| <= |r| |h| + |s q| |u|

q.p is computed exactly. |r| and |s q| belong to the token and are computed once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corpuskit.generate.quantized import has_quick_integers, to_integers

_MOST_ROWS = 32
"""Above, nothing is gained: 45 ms instead of 49 with 64 rows of GPT-2's, 13 instead of 26 with 16."""

_MOST_CANDIDATES = 4096
"""Of all rows together: more take longer to compute one by one than all logits at once."""

_SMALLEST = 1 << 23
"""Weights of an output layer from which on it is worth it."""

_SLACK = 1.01
"""On the bound, for its own rounding in float32."""

_ROUNDING = 1e-5
"""The same for the logits, relative to the largest they could be; sums of 1,000 products are off by 1e-6."""

_HALF = 128
_ROWS_AT_ONCE = 4096

_CHUNK = 256
"""Tokens whose largest possible logit is looked at first; most chunks hold no candidate."""


def can_screen(weight: Tensor) -> bool:
    """Whether 8-bit products are quick here, and this output layer (tokens, width) is worth them."""
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return has_quick_integers() and plain and weight.numel() >= _SMALLEST


class Screen:
    """An output layer in 8 bits beside the one in float32, which is read for the candidates only.

    Parameters
    ----------
    weight : Tensor of float32, shape (tokens, width)
        Read, and kept; a quarter of its size is added.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        tokens, width = weight.shape
        # In float64 and in pieces: a sum of squares over 50,000 rows, and no second copy of the layer.
        pieces = weight.split(_ROWS_AT_ONCE)
        mean = torch.stack([piece.double().sum(0) for piece in pieces]).sum(0) / tokens
        square = torch.stack([(piece - mean).square().sum(0) for piece in pieces]).sum(0) / tokens
        self._deviation = square.sqrt().float()
        divisor = torch.where(self._deviation > 0, self._deviation, 1.0)
        padded = -(-tokens // _CHUNK) * _CHUNK  # whole chunks; tokens that do not exist can reach nothing
        self._integers = torch.zeros(padded, width, dtype=torch.int8)
        self._scale, self._length = torch.zeros(2, padded, dtype=torch.float32)
        self._remainder = torch.full((padded,), -torch.inf, dtype=torch.float32)
        for first, piece in zip(range(0, tokens, _ROWS_AT_ONCE), pieces, strict=True):
            here = slice(first, first + len(piece))
            rows = (piece - mean.float()) / divisor
            integers, scale = to_integers(rows)
            self._integers[here] = integers.to(torch.int8)
            self._scale[here] = scale[:, 0]
            self._remainder[here] = (rows - scale * integers).norm(dim=1)
            self._length[here] = (scale * integers).norm(dim=1)
        self._longest = float(self._length.max())

    def approximate(self, hidden: Tensor) -> Tensor:
        """About the logits after hidden states, up to a constant a row; (rows, width) to (rows, tokens)."""
        integers, scale = to_integers(hidden * self._deviation)
        product = torch._int_mm(integers.to(torch.int8), self._integers.t())
        return (product * self._scale * scale)[:, : len(self._weight)]

    def __call__(self, hidden: Tensor) -> Tensor | None:
        """The logits after hidden states; those that cannot be the largest of their row at minus infinity.

        Parameters
        ----------
        hidden : Tensor of float32, shape (rows, width)

        Returns
        -------
        Tensor of float32, shape (rows, tokens), or None
            None where too many tokens could be the largest, or a state is not finite.
        """
        rows = len(hidden)
        if rows > _MOST_ROWS:
            return None
        scaled = hidden * self._deviation
        high, step = to_integers(scaled)
        step = step / _HALF
        low = ((scaled - high * (step * _HALF)) / step).round()
        left = scaled - (high * _HALF + low) * step
        products = torch._int_mm(torch.cat([high, low]).to(torch.int8), self._integers.t())
        # In units of `step`, a row's own, so that a row takes one multiplication less.
        length = scaled.norm(dim=1, keepdim=True) / step * _SLACK
        fixed = left.norm(dim=1, keepdim=True) / step * _SLACK * self._longest
        fixed += _ROUNDING * length * self._longest
        highest = products[rows:].float().add_(products[:rows], alpha=_HALF)
        highest = highest.mul_(self._scale).addcmul_(self._remainder, length).view(rows, -1, _CHUNK)
        maxima = highest.amax(2)
        top, chunk = maxima.max(1, keepdim=True)
        best = chunk[:, 0] * _CHUNK + highest[torch.arange(rows), chunk[:, 0]].argmax(1)
        reached = top - 2 * self._remainder[best][:, None] * length - 2 * fixed
        row, chunk = (maxima >= reached).nonzero(as_tuple=True)
        if len(row) > _MOST_CANDIDATES or not bool(reached.isfinite().all()):
            return None
        place, inside = (highest[row, chunk] >= reached[row]).nonzero(as_tuple=True)
        if len(place) > _MOST_CANDIDATES:
            return None
        row, token = row[place], chunk[place] * _CHUNK + inside
        exact = (self._weight[token] * hidden[row]).sum(1)
        result = torch.full((rows, len(self._weight)), -torch.inf, dtype=torch.float32)
        return result.index_put_((row, token), exact)
