"""A conversation with a model: what was said is written into the prompt, the oldest turns leave first.

The form is `corpuskit.generate.Dialogue`, the one that training texts are written in. A prompt that outgrows
the context loses whole turns, a question with its answer, from the beginning: half a turn would be a
question without an answer, or the reverse, which no training text has. What stands before the first question
(a system turn) stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Unpack

from corpuskit.errors import ConfigError
from corpuskit.generate.dialogue import Dialogue, Turn
from corpuskit.generate.sampler import Generator
from corpuskit.generate.sampling import SamplingOptions

# ChatYuan v2 reads 1,024 tokens; T5's positions are relative and set no limit.
_DEFAULT_CONTEXT = 1024


class Chat:
    """A conversation.

    Parameters
    ----------
    generator : Generator
        With a tokenizer.
    dialogue : Dialogue, optional
        How the training texts were written. Default: ChatYuan's.
    context_length : int, optional
        Tokens of the prompt and, for a causal model, of the answer. Default: the model's, or 1,024 where it
        has no limit.
    turns : sequence of Turn, optional
        What has been said before.
    max_turns : int, optional
        Most earlier questions in a prompt, each with its answer.

    Attributes
    ----------
    turns : list of Turn
        What has been said; a question is added with its answer, when that has come to its end.

    Raises
    ------
    ConfigError
        If the context is longer than the model's, or not positive.
    """

    def __init__(
        self,
        generator: Generator,
        dialogue: Dialogue | None = None,
        context_length: int | None = None,
        turns: Sequence[Turn] = (),
        max_turns: int | None = None,
    ) -> None:
        # An encoder-decoder reads a conversation as one text.
        form = dialogue or Dialogue()
        self._generator = generator
        self._dialogue = replace(form, turns="each") if generator.answers else form
        limit = generator.context_length
        if context_length is not None and context_length < 1:
            raise ConfigError(f"must be at least 1, not {context_length}", where="context_length")
        self._context_length = context_length or limit or _DEFAULT_CONTEXT
        if limit is not None and self._context_length > limit:
            raise ConfigError(
                f"the model's context holds {limit} tokens, not {context_length}", where="context_length"
            )
        if max_turns is not None and max_turns < 0:
            raise ConfigError(f"must be at least 0, not {max_turns}", where="max_turns")
        self._max_turns = max_turns
        self.turns = list(turns)

    def ask(
        self, question: str, max_new_tokens: int = 256, *, seed: int = 0, **options: Unpack[SamplingOptions]
    ) -> str:
        """The answer to a question, which then belongs to the conversation.

        Parameters
        ----------
        question : str
        max_new_tokens : int
            Longest answer.
        seed, **options
            As for `Generator.generate`.

        Raises
        ------
        ConfigError
            If the question is empty, or does not fit the context even without earlier turns.
        """
        return "".join(self.stream(question, max_new_tokens, seed=seed, **options))

    def stream(
        self, question: str, max_new_tokens: int = 256, *, seed: int = 0, **options: Unpack[SamplingOptions]
    ) -> Iterator[str]:
        """The answer piece by piece; a turn that is broken off does not belong to the conversation."""
        if not question.strip():
            raise ConfigError("is empty: there is nothing to answer", where="question")
        ids = self.prompt(question, max_new_tokens)
        unescaped = _Unescaped(self._dialogue.escape)
        answer = ""
        pieces = self._generator.stream(ids, max_new_tokens, seed=seed, stop=self._dialogue.stop, **options)
        for piece in pieces:
            if text := unescaped.push(piece):
                answer += text
                yield text
        if text := unescaped.finish():
            answer += text
            yield text
        self.turns += [Turn("user", question), Turn("assistant", answer)]

    def prompt(self, question: str, max_new_tokens: int) -> list[int]:
        """The tokens after which the answer to `question` comes, with as many earlier turns as fit."""
        room = self._context_length - (0 if self._generator.answers else max_new_tokens)
        said = [*self.turns, Turn("user", question)]
        begins = [place for place, turn in enumerate(said) if turn.speaker == "user"]
        earlier = len(begins) - 1 if self._max_turns is None else min(self._max_turns, len(begins) - 1)
        for first in begins[len(begins) - 1 - earlier :]:
            ids = self._encoded([*said[: begins[0]], *said[first:]])
            if len(ids) <= room:
                return ids
        answer = "" if self._generator.answers else f" and {max_new_tokens} of the answer"
        raise ConfigError(
            f"{len(ids)} tokens{answer} do not fit a context of {self._context_length}",
            where="question",
            hint="ask a shorter question" + ("" if self._generator.answers else ", or for a shorter answer"),
        )

    def _encoded(self, turns: Sequence[Turn]) -> list[int]:
        generator = self._generator
        # What the tokenizer puts around every text (Llama's <s>) belongs before the first piece only.
        frame = list(generator.tokenizer.encode("")) if generator.tokenizer is not None else []
        ids: list[int] = []
        for piece in self._dialogue.prompt_pieces(turns):
            if piece.special:  # the end of an answer
                ids += [] if generator.end_of_text_id is None else [generator.end_of_text_id]
            elif piece.text:
                tokens = generator.encode(piece.text)
                ids += tokens[len(frame) :] if ids and tokens[: len(frame)] == frame else tokens
        return ids


class _Unescaped:
    """Turns ``\\n`` and ``\\t`` into newline and tab, also where a piece ends between the two characters."""

    def __init__(self, active: bool) -> None:
        self._active, self._held = active, ""

    def push(self, piece: str) -> str:
        if not self._active:
            return piece
        text = self._held + piece
        self._held = "\\" if text.endswith("\\") else ""
        text = text[: len(text) - len(self._held)]
        return text.replace("\\n", "\n").replace("\\t", "\t")

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held
