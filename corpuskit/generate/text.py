"""Tokens to text as they come, never half a character.

A byte-level token can end inside a character: 我 is three bytes, and a small vocabulary may need
three tokens for it. Until the rest has come, a tokenizer decodes the part as U+FFFD, so a tail of
U+FFFD is held back. If nothing ever completes it, it is never shown; where valid text follows it,
the bytes really were broken, and the U+FFFD is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from corpuskit.models.tokenizers import TextTokenizer

_REPLACEMENT = "\ufffd"


class TextStream:
    """Decodes one growing sequence of tokens.

    Parameters
    ----------
    tokenizer : TextTokenizer
    prompt : sequence of int
        Tokens before the first one pushed. They are context only: a tokenizer that marks words
        with spaces decodes a token differently at the start of a text.
    """

    def __init__(self, tokenizer: TextTokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        # The last tokens that ended with a whole character, and those that came since. Decoding
        # only these keeps the cost per token constant.
        self._context, self._pending = list(prompt), list[int]()
        self._shown = len(tokenizer.decode(self._context))

    def push(self, token: int) -> str:
        """Add a token; return the text that is complete with it and was not returned before."""
        self._pending.append(token)
        text = self._tokenizer.decode(self._context + self._pending)
        complete = text.rstrip(_REPLACEMENT)
        piece = complete[self._shown :]
        self._shown = max(self._shown, len(complete))
        if complete == text:
            self._context, self._pending = self._pending, []
            self._shown = len(self._tokenizer.decode(self._context))
        return piece
