"""Text from a language model: prompts in, continuations, answers or a conversation out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corpuskit.models.lazy import resolve

_NAMES = {
    "Chat": "corpuskit.generate.chat",
    "Dialogue": "corpuskit.generate.dialogue",
    "Generator": "corpuskit.generate.sampler",
    "Sampling": "corpuskit.generate.sampling",
    "Turn": "corpuskit.generate.dialogue",
}

__all__ = ["Chat", "Dialogue", "Generator", "Sampling", "Turn"]

if TYPE_CHECKING:
    from corpuskit.generate.chat import Chat as Chat
    from corpuskit.generate.dialogue import Dialogue as Dialogue
    from corpuskit.generate.dialogue import Turn as Turn
    from corpuskit.generate.sampler import Generator as Generator
    from corpuskit.generate.sampling import Sampling as Sampling


def __getattr__(name: str) -> Any:
    return resolve(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
