"""Language models in the Hugging Face layout: sizes, creation from a seed, saving and loading.

Every name resolves on first use, so that a recipe can be checked and `corpuskit --help` printed on
a machine without torch; what does need it raises `MissingExtra` there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corpuskit.models.lazy import resolve

_NAMES = {
    "ModelConfig": "corpuskit.models.configurations",
    "create": "corpuskit.models.loading",
    "load": "corpuskit.models.loading",
    "load_tokenizer": "corpuskit.models.loading",
    "save": "corpuskit.models.loading",
}

__all__ = ["ModelConfig", "create", "load", "load_tokenizer", "save"]

if TYPE_CHECKING:
    from corpuskit.models.configurations import ModelConfig as ModelConfig
    from corpuskit.models.loading import create as create
    from corpuskit.models.loading import load as load
    from corpuskit.models.loading import load_tokenizer as load_tokenizer
    from corpuskit.models.loading import save as save


def __getattr__(name: str) -> Any:
    return resolve(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
