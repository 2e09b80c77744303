"""Text from a causal language model: prompts in, continuations out, whole characters only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corpuskit.models.lazy import resolve

_NAMES = {"Generator": "corpuskit.generate.sampler", "Sampling": "corpuskit.generate.sampling"}

__all__ = ["Generator", "Sampling"]

if TYPE_CHECKING:
    from corpuskit.generate.sampler import Generator as Generator
    from corpuskit.generate.sampling import Sampling as Sampling


def __getattr__(name: str) -> Any:
    return resolve(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
