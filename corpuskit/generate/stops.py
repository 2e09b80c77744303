"""Stop strings over text that comes in pieces: cut exactly before one, never show a part of one.

A stop string may begin in one token and end in the middle of another, so what is looked at is text,
not tokens, and the end of the text so far is held back while it could still become a stop string.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corpuskit.errors import ConfigError


class StopStrings:
    """Passes on the pieces of one growing text up to the first stop string.

    Parameters
    ----------
    stops : sequence of str
        Where several end in the same piece, the text is cut at the one that begins first.

    Attributes
    ----------
    stopped : bool
        Whether one was found; nothing is passed on after it.

    Raises
    ------
    ConfigError
        If one is empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if any(not stop for stop in stops):
            raise ConfigError("a stop string must not be empty", where="stop")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Add text; return what is certain to lie before any stop string."""
        if self.stopped or not self._stops:
            return "" if self.stopped else piece
        text = self._held + piece
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[len(text) - length :]):
            return length
    return 0


def as_stops(stop: str | Sequence[str]) -> tuple[str, ...]:
    """One stop string or several, as several.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    return texts_of(stop, "stop")


def texts_of(given: str | Iterable[str], where: str) -> tuple[str, ...]:
    """One text or several, as several; ``ConfigError`` at `where` if one is no text."""
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    for text in found:
        if not isinstance(text, str):
            raise ConfigError(f"must be text, or a list of texts, not {text!r}", where=where)
    return found
