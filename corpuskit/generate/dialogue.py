"""How a conversation is written down, for training and for talking: one definition, so they cannot differ.

`Dialogue` is the form, by default ChatYuan's: ``用户：{question}\\n小元：{answer}``, turns joined by a
newline, and every newline written as the two characters ``\\n`` (a tab as ``\\t``), because its SentencePiece
vocabulary has none. It makes pieces of text, each learned or only read; training
(`corpuskit.train.prepare`) and `corpuskit.generate.Chat` encode them one by one. So the prompt of a chat is
token for token the beginning of the training text of the same conversation, and the first token of an answer
never melts into its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

from corpuskit.errors import ConfigError

Turns = Literal["whole", "each"]
Speaker = Literal["user", "assistant", "system"]

END_OF_TEXT = "<|endoftext|>"


class Piece(NamedTuple):
    """A piece of a document.

    Attributes
    ----------
    text : str
    learned : bool
        Whether its tokens are in the loss.
    special : bool
        It names a special token: one id where the tokenizer has it, else plain text.
    """

    text: str
    learned: bool
    special: bool = False


class Unusable(Exception):
    """A record that cannot be trained on; its argument is the reason, two or three words."""


class Turn(NamedTuple):
    """One turn of a conversation; `speaker` is user, assistant or system."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Dialogue:
    """The form of a conversation.

    Attributes
    ----------
    user, assistant, system : str
        What a turn begins with.
    separator : str
        Between turns.
    escape : bool
        Write newlines and tabs as ``\\n`` and ``\\t``, those of the separator included; in answers they are
        read back.
    turns : {"whole", "each"}
        In training, a conversation is one document in which every answer is learned, or one document an
        answer with the turns before it as input. Encoder-decoder models always read the second form.
    max_history : int or None
        With ``each``: at most so many earlier turns.
    end_turns : bool
        With ``whole``: the end-of-text token follows every answer, so that a causal model learns to stop.

    Raises
    ------
    ConfigError
        If user or assistant begins with nothing, or another field is impossible.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    user: str = "用户："
    assistant: str = "小元："
    system: str = ""
    separator: str = "\n"
    escape: bool = True
    turns: Turns = "whole"
    max_history: int | None = None
    end_turns: bool = True

    def __post_init__(self) -> None:
        for name in ("user", "assistant"):
            if not getattr(self, name):
                raise ConfigError("must not be empty: it shows whose turn it is", where=f"dialogue.{name}")
        if self.turns not in get_args(Turns):
            raise ConfigError(
                f"must be whole or each, not {self.turns!r}",
                where="dialogue.turns",
                hint="whole for causal models, each for encoder-decoders",
            )
        if self.max_history is not None and self.max_history < 0:
            raise ConfigError(f"must be at least 0, not {self.max_history}", where="dialogue.max_history")

    def written(self, text: str) -> str:
        """Text as it stands in a document."""
        return text.replace("\n", "\\n").replace("\t", "\\t") if self.escape else text

    @property
    def stop(self) -> str:
        """Where an answer is over at the latest: the model begins the next question."""
        return self.written(self.separator + self.user)

    def prompt(self, turns: Sequence[Turn]) -> str:
        """The text after which the assistant answers the last of `turns`, in the form ``each``."""
        *earlier, question = turns
        if self.max_history is not None:
            earlier = earlier[max(0, len(earlier) - self.max_history) :]
        said = "".join(getattr(self, turn.speaker) + turn.text + self.separator for turn in earlier)
        return self.written(
            said + getattr(self, question.speaker) + question.text + self.separator + self.assistant
        )

    def prompt_pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """What the assistant reads before it answers the last of `turns`, in the form of this dialogue."""
        if self.turns == "each":
            return [Piece(self.prompt(turns), False)]
        return [*self._pieces(turns, more=True), Piece(self.written(self.assistant), False)]

    def documents(self, turns: Sequence[Turn]) -> list[list[Piece]]:
        """The training documents of a conversation; turns after the last answer are left out.

        Raises
        ------
        Unusable
            If nobody answers, or the assistant speaks first.
        """
        answers = [place for place, turn in enumerate(turns) if turn.speaker == "assistant" and turn.text]
        if not answers:
            raise Unusable("no answer")
        if not any(turn.speaker != "assistant" for turn in turns[: answers[0]]):
            raise Unusable("answer without question")
        if self.turns == "whole":
            return [self._pieces(turns[: answers[-1] + 1], more=False)]
        return [
            [*self.prompt_pieces(turns[:place]), Piece(self.written(turns[place].text), True)]
            for place in answers
        ]

    def _pieces(self, turns: Sequence[Turn], more: bool) -> list[Piece]:
        """The pieces of `turns`, one document; `more` says that it goes on after the last one."""
        pieces: list[Piece] = []
        for place, turn in enumerate(turns):
            if turn.speaker != "assistant" or not turn.text:
                said = getattr(self, turn.speaker) + turn.text + self.separator
                pieces.append(Piece(self.written(said), False))
                continue
            pieces += [Piece(self.written(self.assistant), False), Piece(self.written(turn.text), True)]
            if more or place + 1 < len(turns):
                if self.end_turns:
                    pieces.append(Piece(END_OF_TEXT, True, special=True))
                pieces.append(Piece(self.written(self.separator), False))
        return pieces
