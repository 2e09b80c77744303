"""What a row has said already, for the two settings that look back.

Both follow transformers' processors, but keep their state instead of reading the whole text again at
every step: which tokens have occurred, and for each n-1 tokens what came after them. A step costs the
same however long the text is.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

_Followers = dict[tuple[int, ...], tuple[int, ...]]


class History:
    """The tokens of each row of a batch, prompts included.

    Parameters
    ----------
    rows : sequence of sequences of int
    tokens : int
        Size of the vocabulary.
    repetition_penalty : float
        1 keeps no record of tokens.
    no_repeat_ngram : int
        0 keeps no record of n-grams.
    device : torch.device
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        tokens: int,
        repetition_penalty: float,
        no_repeat_ngram: int,
        device: torch.device,
    ) -> None:
        self._penalty, self._n = repetition_penalty, no_repeat_ngram
        self._occurred: Tensor | None = None
        if self._penalty != 1:
            self._occurred = torch.zeros(len(rows), tokens, dtype=torch.bool, device=device)
            for place, row in enumerate(rows):
                self._occurred[place, torch.tensor(row, dtype=torch.int64, device=device)] = True
        # For each row the last n-1 tokens, and what has followed any n-1 tokens; the values are
        # tuples, so that a row that is taken twice shares them.
        self._last: list[tuple[int, ...]] = [() for _ in rows] if self._n else []
        self._followers: list[_Followers] = [{} for _ in rows] if self._n else []
        if self._n:
            for place, row in enumerate(rows):
                for token in row:
                    self._remember(place, int(token))

    def copy(self) -> History:
        """One that goes on by itself."""
        made = copy(self)
        if self._occurred is not None:
            made._occurred = self._occurred.clone()
        made._last, made._followers = list(self._last), [dict(row) for row in self._followers]
        return made

    def constrain(self, logits: Tensor) -> Tensor:
        """The logits (float32, (rows, tokens)) with the penalty and the forbidden n-grams applied.

        Where every token would complete a repeated n-gram, none is forbidden.
        """
        if self._occurred is not None:
            penalised = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
            logits = torch.where(self._occurred, penalised, logits)
        if not self._n:
            return logits
        forbidden = [
            followers.get(last, ()) if len(last) == self._n - 1 else ()
            for last, followers in zip(self._last, self._followers, strict=True)
        ]
        if not any(forbidden):
            return logits
        logits = logits.clone()
        for place, banned in enumerate(forbidden):
            if banned and len(set(banned)) < logits.shape[1]:
                logits[place, torch.tensor(banned, device=logits.device)] = -torch.inf
        return logits

    def extend(self, tokens: Tensor) -> None:
        """Add one token a row (int64, shape (rows,))."""
        if self._occurred is not None:
            self._occurred.scatter_(1, tokens[:, None], True)
        if self._n:
            for place, token in enumerate(tokens.tolist()):
                self._remember(place, token)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (int64), in this order; a row may be taken more than once."""
        if self._occurred is not None:
            self._occurred = self._occurred[rows]
        if self._n:
            chosen = rows.tolist()
            self._last = [self._last[row] for row in chosen]
            self._followers = [dict(self._followers[row]) for row in chosen]

    def _remember(self, place: int, token: int) -> None:
        last, followers = self._last[place], self._followers[place]
        if len(last) == self._n - 1:
            followers[last] = (*followers.get(last, ()), token)
        self._last[place] = (*last, token)[-(self._n - 1) :] if self._n > 1 else ()
