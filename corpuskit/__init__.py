"""corpuskit: from Chinese crawl output to vocabularies, token shards and a first model.

`import corpuskit` loads nothing but the standard library; every public name resolves on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = (
    "ingest", "clean", "dedup", "segment", "vocab", "shards", "models", "generate", "train",
    "engine", "pipeline", "documents", "errors", "jobs",
)  # fmt: skip
_NAMES = {"read": "corpuskit.ingest", "run": "corpuskit.engine", "CorpuskitError": "corpuskit.errors"}

__all__ = ["__version__", *_ROOMS, *_NAMES]

if TYPE_CHECKING:
    from corpuskit.engine import run as run
    from corpuskit.errors import CorpuskitError as CorpuskitError
    from corpuskit.ingest import read as read


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"corpuskit.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'corpuskit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
