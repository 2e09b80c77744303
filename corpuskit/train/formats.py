"""Task and dialogue formats as pieces of text, each learned or only read.

A record becomes one or more lists of `Piece`: what a person or a task says is read, what the model
shall say is learned. Pieces are encoded one by one (see `preparation`), so a response's first token
never melts into its prompt and is learned like the others.

==============  ============================================================================
format          a record
==============  ============================================================================
pclue           JSON with ``input`` and ``target`` (``answer_choices`` and ``type`` are for scoring)
pairs           JSON with an input and a target key of one's choice
sharegpt        JSON with ``conversations``: turns with ``from`` (human, gpt, system) and ``value``
messages        JSON with ``messages``: turns with ``role`` (user, assistant, system) and ``content``
text            a line, or JSON with ``text``: everything is learned
csv             one column; ``<|startoftext|>`` and ``<|endoftext|>`` are put around each cell
data_text       a line of input; the line of the same number beside it in ``data_target`` is the target
==============  ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from corpuskit.errors import ConfigError

Turns = Literal["whole", "each"]
START_OF_TEXT, END_OF_TEXT = "<|startoftext|>", "<|endoftext|>"


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
    """How a conversation is written down.

    The defaults are ChatYuan's: ``用户：{question}\\n小元：{answer}``, turns joined by a newline, and
    every newline written as the two characters ``\\n`` (a tab as ``\\t``), because its SentencePiece
    vocabulary has none.

    Attributes
    ----------
    user, assistant, system : str
        What a turn begins with.
    separator : str
        Between turns.
    escape : bool
        Write newlines and tabs as ``\\n`` and ``\\t``, those of the separator included.
    turns : {"whole", "each"}
        A conversation is one document in which every answer is learned, or one document an answer
        with the turns before it as input (for encoder-decoder models).
    max_history : int or None
        With ``each``: at most so many earlier turns.
    end_turns : bool
        Put the end-of-text token after every answer, so that a causal model learns to stop.
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
        if self.turns not in get_args(Turns):
            raise ConfigError(f"must be whole or each, not {self.turns!r}", where="dialogue.turns")
        if self.max_history is not None and self.max_history < 0:
            raise ConfigError(f"must be at least 0, not {self.max_history}", where="dialogue.max_history")

    def prompt(self, turns: Sequence[Turn]) -> str:
        """The text after which the assistant answers the last of `turns`."""
        return self._escaped("".join(self._said(turn) for turn in turns) + self.assistant)

    def documents(self, turns: Sequence[Turn]) -> list[list[Piece]]:
        """The documents of a conversation; turns after the last answer are left out.

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
            return [self._whole(turns[: answers[-1] + 1])]
        return [self._one(turns[:place], turns[place]) for place in answers]

    def _whole(self, turns: Sequence[Turn]) -> list[Piece]:
        pieces: list[Piece] = []
        for place, turn in enumerate(turns):
            if turn.speaker != "assistant" or not turn.text:
                pieces.append(Piece(self._escaped(self._said(turn)), False))
                continue
            pieces.append(Piece(self._escaped(self.assistant), False))
            pieces.append(Piece(self._escaped(turn.text), True))
            if place + 1 < len(turns):
                if self.end_turns:
                    pieces.append(Piece(END_OF_TEXT, True, special=True))
                pieces.append(Piece(self._escaped(self.separator), False))
        return pieces

    def _one(self, history: Sequence[Turn], answer: Turn) -> list[Piece]:
        *earlier, question = history
        if self.max_history is not None:
            earlier = earlier[len(earlier) - min(len(earlier), self.max_history) :]
        return [Piece(self.prompt([*earlier, question]), False), Piece(self._escaped(answer.text), True)]

    def _said(self, turn: Turn) -> str:
        return getattr(self, turn.speaker) + turn.text + self.separator

    def _escaped(self, text: str) -> str:
        return text.replace("\n", "\\n").replace("\t", "\\t") if self.escape else text


Record = Mapping[str, Any]
Reader = Callable[[Record], list[list[Piece]]]


def pairs(input_key: str = "input", target_key: str = "target") -> Reader:
    """Records with an input and a target."""

    def read(record: Record) -> list[list[Piece]]:
        source, target = _text(record, input_key), _text(record, target_key)
        if not target:
            raise Unusable("empty target")
        return [[Piece(source, False), Piece(target, True)]]

    return read


def conversations(dialogue: Dialogue, key: str, speaker_key: str, text_key: str) -> Reader:
    """Records with a list of turns."""

    def read(record: Record) -> list[list[Piece]]:
        turns = record.get(key)
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise Unusable(f"no list {key}")
        said = [Turn(_speaker(turn.get(speaker_key)), _text(turn, text_key)) for turn in turns]
        return dialogue.documents(said)

    return read


def plain_text(key: str = "text") -> Reader:
    """Records whose whole text is learned."""

    def read(record: Record) -> list[list[Piece]]:
        text = _text(record, key)
        if not text:
            raise Unusable("empty text")
        return [[Piece(text, True)]]

    return read


def delimited_text(key: str) -> Reader:
    """Short texts between ``<|startoftext|>`` and ``<|endoftext|>``, as gpt-2-simple reads a CSV."""

    def read(record: Record) -> list[list[Piece]]:
        text = _text(record, key)
        if not text:
            raise Unusable("empty text")
        return [[Piece(START_OF_TEXT, True, special=True), Piece(text, True)]]

    return read


_SPEAKERS = {
    "user": ("human", "user", "用户", "question", "prompter"),
    "assistant": ("gpt", "assistant", "bot", "chatgpt", "小元", "bing", "bard", "answer"),
    "system": ("system",),
}


def _speaker(name: Any) -> str:
    for speaker, names in _SPEAKERS.items():
        if name in names:
            return speaker
    raise Unusable("unknown speaker")


def _text(record: Record, key: str) -> str:
    text = record.get(key)
    if not isinstance(text, str):
        raise Unusable(f"no text {key}")
    return text


def split_dialogue(text: str, dialogue: Dialogue | None = None) -> list[Turn]:
    """The turns of a text in the form that `Dialogue` writes: ``用户：…\\n小元：…``.

    Newlines may be real ones or escaped. A line that begins no turn belongs to the turn before it.

    Raises
    ------
    Unusable
        If it does not begin with a turn.
    """
    shape = dialogue or Dialogue()
    plain = text.replace("\\n", "\n").replace("\\t", "\t") if shape.escape else text
    turns: list[Turn] = []
    for line in plain.split("\n"):
        for speaker in ("user", "assistant"):
            mark = getattr(shape, speaker)
            if line.startswith(mark):
                turns.append(Turn(speaker, line[len(mark) :]))
                break
        else:
            if not turns:
                raise Unusable("no turn at the beginning")
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text}\n{line}")
    return turns


def written_dialogue(dialogue: Dialogue, key: str = "text") -> Reader:
    """Records whose text is a dialogue as `Dialogue` writes it."""

    def read(record: Record) -> list[list[Piece]]:
        return dialogue.documents(split_dialogue(_text(record, key), dialogue))

    return read


def joined(documents: Iterator[list[Piece]]) -> Iterator[str]:
    """The text of documents, for looking at."""
    for pieces in documents:
        yield "".join(piece.text for piece in pieces)
