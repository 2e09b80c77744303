"""Rows of different lengths in one batch: padding on the left, so that all end where the next token comes.

Padding is masked and positions count from each row's first token, so a row continues in a batch as
it would alone. A batch of equal lengths has no mask at all, which attention is faster without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Padded:
    """A left-padded batch.

    Attributes
    ----------
    ids : Tensor of int64, shape (rows, longest)
    starts : Tensor of int64, shape (rows,), or None
        Place of each row's first token; None where no row is padded.
    """

    ids: Tensor
    starts: Tensor | None

    def positions(self) -> Tensor:
        """Each token's place in its own row, int64, (rows or 1, longest); 0 on padding."""
        places = torch.arange(self.ids.shape[1], device=self.ids.device)[None]
        return places if self.starts is None else (places - self.starts[:, None]).clamp(min=0)

    def mask(self, length: int) -> Tensor | None:
        """Which of the first `length` places a new token sees: bool, (rows, 1, 1, length), or None."""
        if self.starts is None:
            return None
        return (torch.arange(length, device=self.ids.device) >= self.starts[:, None])[:, None, None]

    def causal_mask(self) -> Tensor:
        """Which places each place sees: bool, (rows or 1, 1, longest, longest).

        Padding sees itself: a softmax over nothing is NaN, and would reach the other tokens.
        """
        length = self.ids.shape[1]
        itself = torch.eye(length, dtype=torch.bool, device=self.ids.device)
        earlier = itself.logical_not().triu().logical_not()
        real = self.mask(length)
        return (earlier if real is None else earlier & real) | itself

    def select(self, rows: Tensor) -> Padded:
        """These rows, in this order."""
        return Padded(self.ids[rows], None if self.starts is None else self.starts[rows])


def pad_left(windows: Sequence[Sequence[int]], device: torch.device) -> Padded:
    """The windows as one tensor; the padding is token 0."""
    longest = max(map(len, windows))
    ids = torch.zeros(len(windows), longest, dtype=torch.int64)
    starts = torch.tensor([longest - len(window) for window in windows])
    for row, window in enumerate(windows):
        ids[row, longest - len(window) :] = torch.as_tensor(window)
    return Padded(ids.to(device), starts.to(device) if starts.any() else None)
