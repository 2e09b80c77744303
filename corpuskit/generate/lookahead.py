"""A single row guesses its next tokens, and reads them together with the last one.

A step of one row is as slow as memory: it reads every weight of the model for one token, and would read
them for some more at little more cost (GPT-2 124M on two cores: 20 ms for 1 row, 21 for 3, 30 for 8). So
tokens that may follow are read along as a draft. The logits after each show whether the next guess is what
would have been chosen; if so, its logits are there already, otherwise what was read for nothing is
forgotten. What is chosen never depends on the guesses, but for the rounding of sums
(`corpuskit.generate.ties`): this is speculative decoding (Leviathan et al. 2023). Two make the drafts:

- The text's own past: what followed the same words before (prompt lookup, Saxena 2023,
  github.com/apoorvumang/prompt-lookup-decoding). It costs nothing, and is read only after guesses that came
  true: where the text repeats itself or quotes its prompt.
- The model itself with its weights in 8 bits, where there is such a copy
  (`corpuskit.generate.gpt2.RoughWeights`): a quarter of the bytes to read. It draws as the text itself will,
  from the same random numbers, so drafts come true at any temperature.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

_LONGEST = 3
"""Words of so many tokens are looked for first, then shorter ones."""

_RECALLED = (0, 2, 7)
"""Tokens of a draft from the past after no, one, two and more guesses in a row that came true."""

_SURE = 3
"""So many guesses in a row must have come true where the model could draft instead."""

_FIRST_DRAFT, _LONGEST_DRAFT = 3, 8
"""Tokens of a draft that the model makes. One more after each that came true whole, fewer otherwise."""

_EXPECTED, _NEEDED, _MEMORY = 0.8, 0.55, 0.95
"""Share of the model's guesses that come true: what is expected at first, below which nothing is gained and
the text goes on without, and the weight of the past in its moving average."""

Choose = Callable[[Tensor], Tensor]
"""From logits (1, outputs) to the next token (int64, shape (1,)); each call stands one token further on."""


class Drafter(Protocol):
    """What guesses how a text goes on."""

    def draft(self, token: int, count: int, choose: Choose) -> list[int]:
        """Tokens that may follow the decoder's text and then `token`."""
        ...


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


class _Trust:
    """How many tokens the model should draft, from how its drafts fared before."""

    def __init__(self) -> None:
        self._size, self._share = _FIRST_DRAFT, _EXPECTED

    @property
    def size(self) -> int:
        """0 where drafts are not worth it."""
        return self._size if self._share >= _NEEDED else 0

    def learn(self, true: int, drafted: int) -> None:
        """So many of a draft came true."""
        failed = true < drafted
        self._share = 1 - (1 - self._share) * _MEMORY**true
        if failed:
            self._share *= _MEMORY
        self._size = max(1, true, self._size - 2) if failed else min(self._size + 1, _LONGEST_DRAFT)


class Lookahead:
    """A decoder that drafts while it has a single row, and is its `decoder` otherwise.

    Parameters
    ----------
    decoder : RewindingDecoder
    drafter : Drafter, optional
        Guesses where the text's past does not.

    Attributes
    ----------
    decoder : RewindingDecoder
    foresee : callable, optional
        How the tokens after the last one will be chosen; without it `drafter` is not asked.
    steps, passes : int
        Tokens read one by one from outside, and passes through the model that this took.
    """

    def __init__(self, decoder: RewindingDecoder, drafter: Drafter | None = None) -> None:
        self.decoder, self._drafter = decoder, drafter
        self.foresee: Callable[[], Choose] | None = None
        self._text: Phrases | None = None
        self._ahead: deque[tuple[int, Tensor]] = deque()  # guesses still to come true, logits after each
        self._trust = _Trust()
        self._drafted = 0  # tokens of the present draft, if the drafter made it
        self._room = self._recalled = self.steps = self.passes = 0

    def start(self, windows: Sequence[Sequence[int]], room: int) -> Tensor:
        """Read the windows; the logits after each."""
        self._ahead.clear()
        self._drafted = self._recalled = 0
        self._trust = _Trust()
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
        self._recalled = self._recalled + 1 if self._text.guess(1) == [token] else 0
        self._text.append(token)
        if self._ahead:
            guess, logits = self._ahead.popleft()
            came_true = guess == token
            if self._drafted and not (came_true and self._ahead):
                self._trust.learn(self._drafted - len(self._ahead) - (not came_true), self._drafted)
            if came_true:
                return logits
            self._ahead.clear()
        self.decoder.rewind(known)
        self.passes += 1
        # The last token is chosen and never read.
        draft = self._draft(token, self._text, max(0, self._room - len(self._text) - 1))
        if not draft:
            return self.decoder.step(tokens)
        read = self.decoder.extend(torch.tensor([[token, *draft]], device=tokens.device))
        self._ahead.extend(zip(draft, read[0, 1:, None], strict=True))
        return read[:, 0]

    def _draft(self, token: int, text: Phrases, room: int) -> list[int]:
        """What to read along after `token`, at most `room` tokens."""
        drafter, foresee, size = self._drafter, self.foresee, min(self._trust.size, room)
        if drafter is not None and foresee is not None and size and self._recalled < _SURE:
            self._drafted = size
            return drafter.draft(token, size, foresee())
        self._drafted = 0
        return text.guess(min(_RECALLED[min(self._recalled, 2)], room))

    def select(self, rows: Tensor) -> None:
        """Go on with these rows; drafting ends where they become several."""
        if self._text is not None and len(rows) > 1:
            self.decoder.rewind(len(self._text))
            self._ahead.clear()
            self._text = None
        if self._text is None:
            self.decoder.select(rows)
