"""A conversation with a model: what was said is written into the prompt, the oldest turns leave first.

The form is data (`ChatFormat`), by default ChatYuan's: ``用户：{question}\\n小元：{answer}``, turns joined
by a newline, and newlines written as the two characters ``\\n`` because its SentencePiece vocabulary has
none. A prompt that outgrows the context loses whole turns, a question with its answer, from the
beginning: half a turn would be a question without an answer, or the reverse, which no training text has.

An encoder-decoder reads the conversation as one text. For a causal model the pieces are encoded one by
one, and the end-of-text token follows every answer, as `corpuskit.train.prepare` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Unpack

from corpuskit.errors import ConfigError
from corpuskit.generate.sampler import Generator
from corpuskit.generate.sampling import SamplingOptions

# ChatYuan v2 reads 1,024 tokens; T5's positions are relative and set no limit.
_DEFAULT_CONTEXT = 1024


@dataclass(frozen=True)
class ChatFormat:
    """How a conversation is written down.

    Attributes
    ----------
    user, assistant : str
        What a question and an answer begin with.
    separator : str
        Between turns.
    system : str
        What every conversation begins with; it is never cut off.
    escape : bool
        Write newlines and tabs as ``\\n`` and ``\\t``, and read them back in answers.
    end_turns : bool
        The end-of-text token follows every answer (causal models).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    user: str = "用户："
    assistant: str = "小元："
    separator: str = "\n"
    system: str = ""
    escape: bool = True
    end_turns: bool = True

    def __post_init__(self) -> None:
        for name in ("user", "assistant"):
            if not getattr(self, name):
                raise ConfigError("must not be empty: it shows whose turn it is", where=name)

    def written(self, text: str) -> str:
        """Text as it stands in a prompt."""
        return text.replace("\n", "\\n").replace("\t", "\\t") if self.escape else text

    def stop(self) -> str:
        """Where an answer is over at the latest: the model begins the next question."""
        return self.written((self.separator or "") + self.user)


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


class Chat:
    """A conversation.

    Parameters
    ----------
    generator : Generator
        With a tokenizer.
    format : ChatFormat, optional
        Default: ChatYuan's.
    context_length : int, optional
        Tokens of the prompt and, for a causal model, of the answer. Default: the model's, or 1,024 where it
        has no limit.
    turns : sequence of Turn, optional
        What has been said before.
    max_turns : int, optional
        Most earlier turns in a prompt.

    Attributes
    ----------
    turns : list of Turn
        What has been said; each answer that has come to its end is added.

    Raises
    ------
    ConfigError
        If the context is longer than the model's.
    """

    def __init__(
        self,
        generator: Generator,
        format: ChatFormat | None = None,
        context_length: int | None = None,
        turns: Sequence[Turn] = (),
        max_turns: int | None = None,
    ) -> None:
        self._generator, self._format = generator, format or ChatFormat()
        limit = generator.context_length
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
        unescaped = _Unescaped(self._format.escape)
        answer = ""
        pieces = self._generator.stream(ids, max_new_tokens, seed=seed, stop=self._format.stop(), **options)
        for piece in pieces:
            if text := unescaped.push(piece):
                answer += text
                yield text
        if text := unescaped.finish():
            answer += text
            yield text
        self.turns.append(Turn(question, answer))

    def prompt(self, question: str, max_new_tokens: int) -> list[int]:
        """The tokens after which the answer to `question` comes, with as many earlier turns as fit."""
        room = self._context_length - (0 if self._generator.answers else max_new_tokens)
        earlier = len(self.turns) if self._max_turns is None else min(self._max_turns, len(self.turns))
        for kept in range(earlier, -1, -1):
            ids = self._encoded(self.turns[len(self.turns) - kept :], question)
            if len(ids) <= room:
                return ids
        answer = "" if self._generator.answers else f" and {max_new_tokens} of the answer"
        raise ConfigError(
            f"{len(ids)} tokens{answer} do not fit a context of {self._context_length}",
            where="question",
            hint="ask a shorter question" + ("" if self._generator.answers else ", or for a shorter answer"),
        )

    def _encoded(self, turns: Sequence[Turn], question: str) -> list[int]:
        form, end = self._format, self._generator.end_of_text_id
        pieces: list[str | int] = [form.system] if form.system else []
        for turn in turns:
            pieces += [form.user + turn.question + form.separator, form.assistant, turn.answer]
            if form.end_turns and not self._generator.answers and end is not None:
                pieces.append(end)
            pieces.append(form.separator)
        pieces += [form.user + question + form.separator, form.assistant]
        if self._generator.answers:
            return self._generator.encode(form.written("".join(map(str, pieces))))
        # What the tokenizer puts around every text (Llama's <s>) belongs before the first piece only.
        tokenizer = self._generator.tokenizer
        frame = list(tokenizer.encode("")) if tokenizer is not None else []
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, int):
                ids.append(piece)
            elif piece:
                tokens = self._generator.encode(form.written(piece))
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
