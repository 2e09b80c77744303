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

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corpuskit.generate.dialogue import END_OF_TEXT, Dialogue, Piece, Turn, Unusable

START_OF_TEXT = "<|startoftext|>"


__all__ = [
    "END_OF_TEXT",
    "START_OF_TEXT",
    "Dialogue",
    "Piece",
    "Reader",
    "Turn",
    "Unusable",
    "conversations",
    "delimited_text",
    "joined",
    "pairs",
    "plain_text",
    "split_dialogue",
    "written_dialogue",
]

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
