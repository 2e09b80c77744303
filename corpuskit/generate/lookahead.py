"""A single row guesses its next tokens from its own past, and reads them together with the last one.

A step of one row is as slow as memory: it reads every weight of the model for one token, and would read
them for some more at little more cost (GPT-2 124M on two cores: 20 ms for 1 row, 21 for 3, 30 for 8). So
tokens that followed the same words earlier in the text are read along as a draft. The logits after each show
whether the next guess is what would have been chosen; if so, its logits are there already, otherwise what
was read for nothing is forgotten. What is chosen never depends on the guesses, but for the rounding of sums
(`corpuskit.generate.ties`): this is speculative decoding (Leviathan et al. 2023) with prompt lookup
(Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding) for a draft.

A guess is made at every step, and read only after one that came true: two tokens then, and seven after a
draft that came true whole, where the text repeats itself or quotes its prompt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

_LONGEST = 3
"""Words of so many tokens are looked for first, then shorter ones."""

_DRAFTS = (0, 2, 7)
"""Tokens of a draft after no, one, two and more guesses or drafts in a row that came true."""


class RewindingDecoder(Protocol):
    """A decoder that can read several tokens and forget them."""

    def start(self, windows: Sequence[Sequence[int]], room: int) -> Tensor: ...

    def step(self, tokens: Tensor) -> Tensor: ...

    def select(self, rows: Tensor) -> None: ...

    def extend(self, tokens: Tensor) -> Tensor:
        """Add tokens (int64, (rows, new)); the logits after each, (rows, new, outputs)."""
        ...

    @property
    def rewinds(self) -> bool:
        """Whether this model's cache can be cut back; known after `start`."""
        ...

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens of each row."""
        ...


class Phrases:
    """The tokens of a text, and after each phrase of up to three of them what followed it last.

    Parameters
    ----------
    tokens : sequence of int
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._followers: dict[tuple[int, ...], int] = {}  # place of the token after a phrase
        for token in tokens:
            self.append(token)

    def __len__(self) -> int:
        return len(self._tokens)

    def append(self, token: int) -> None:
        """Add a token; what it follows is remembered."""
        for phrase in self._endings():
            self._followers[phrase] = len(self._tokens)
        self._tokens.append(token)

    def guess(self, count: int) -> list[int]:
        """What followed the longest phrase that the text ends with, where it occurred last before."""
        place = next((self._followers[p] for p in self._endings() if p in self._followers), None)
        if place is None:
            return []
        # A text that repeats itself runs into its own end, and goes on with what was guessed.
        period = len(self._tokens) - place
        return [self._tokens[place + step % period] for step in range(count)]

    def _endings(self) -> list[tuple[int, ...]]:
        longest = min(_LONGEST, len(self._tokens))
        return [tuple(self._tokens[-size:]) for size in range(longest, 0, -1)]


class Lookahead:
    """A decoder that drafts while it has a single row, and is its `decoder` otherwise.

    Parameters
    ----------
    decoder : RewindingDecoder

    Attributes
    ----------
    decoder : RewindingDecoder
    steps, passes : int
        Tokens read one by one from outside, and passes through the model that this took.
    """

    def __init__(self, decoder: RewindingDecoder) -> None:
        self.decoder = decoder
        self._text: Phrases | None = None
        self._ahead: deque[tuple[int, Tensor]] = deque()  # guesses still to come true, logits after each
        self._guess: int | None = None  # one that was not read
        self._room = self._came_true = self.steps = self.passes = 0

    def start(self, windows: Sequence[Sequence[int]], room: int) -> Tensor:
        """Read the windows; the logits after each."""
        self._ahead.clear()
        self._guess, self._came_true = None, 0
        self._room = max(map(len, windows)) + room
        logits = self.decoder.start(windows, room)
        self._text = Phrases(windows[0]) if len(windows) == 1 and self.decoder.rewinds else None
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """Add one token a row; the logits after it."""
        self.steps += 1
        if self._text is None:
            self.passes += 1
            return self.decoder.step(tokens)
        token = int(tokens[0])
        known = len(self._text)
        self._text.append(token)
        if self._ahead:
            guess, logits = self._ahead.popleft()
            if guess == token:
                self._came_true += not self._ahead
                return logits
            self._came_true = 0
            self._ahead.clear()
        elif self._guess is not None:
            self._came_true = self._came_true + 1 if token == self._guess else 0
        self.decoder.rewind(known)
        self.passes += 1
        size = min(_DRAFTS[min(self._came_true, 2)], self._room - len(self._text))
        draft = self._text.guess(max(size, 1))
        self._guess = None
        if size <= 0 or not draft:
            self._guess = draft[0] if draft else None
            return self.decoder.step(tokens)
        read = self.decoder.extend(torch.tensor([[token, *draft]], device=tokens.device))
        self._ahead.extend(zip(draft, read[0, 1:, None], strict=True))
        return read[:, 0]

    def select(self, rows: Tensor) -> None:
        """Go on with these rows; drafting ends where they become several."""
        if self._text is not None and len(rows) > 1:
            self.decoder.rewind(len(self._text))
            self._ahead.clear()
            self._text = None
        if self._text is None:
            self.decoder.select(rows)
