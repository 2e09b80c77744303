"""Names of the torch rooms that load when first used, and say which extra is missing if it is."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from corpuskit.errors import MissingExtra

_EXTRA = {"torch", "transformers", "safetensors"}


def resolve(room: str, names: Mapping[str, str], name: str) -> Any:
    """The body of a room's module-level ``__getattr__``.

    Parameters
    ----------
    room : str
        The package, for the error message.
    names : mapping of str to str
        Public name → the module that defines it.
    name : str
        What was asked for.

    Raises
    ------
    MissingExtra
        If the module needs torch, transformers or safetensors and it is not installed.
    AttributeError
        If the room has no such name.
    """
    if name not in names:
        raise AttributeError(f"module {room!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(names[name]), name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtra(
            f"{name} needs {error.name}, which is not installed",
            where=room,
            hint="pip install 'corpuskit[train]'",
        ) from error
