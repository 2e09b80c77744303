"""Models by their name on the Hugging Face hub: fetched once into its cache, and a directory from then on.

The fetching is huggingface_hub's, as transformers does it: the cache lies where HF_HOME says, what is there
is not fetched again, and with HF_HUB_OFFLINE=1 nothing is. A name is ``owner/model`` or
``owner/model@revision``. Nothing stands in for a model that cannot be had.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from corpuskit.errors import InputError, MissingExtra

_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
# Of the top folder: configuration and tokenizer, then weights in one of two formats. No code.
_PLAIN = ["*.json", "*.model", "*.txt", "*.bpe", "*.tiktoken"]
_WEIGHTS = (["*.safetensors"], ["pytorch_model*.bin"])


def is_hub_name(name: str) -> bool:
    """Whether `name` has the form of a hub name; a local directory goes before it everywhere."""
    return _NAME.fullmatch(name) is not None


def local_directory(source: str | os.PathLike) -> Path:
    """The directory of a model that is given by its directory or its hub name.

    Parameters
    ----------
    source : path-like
        What is a directory is returned as it is. A path that is neither directory nor name as well.

    Raises
    ------
    InputError
        If the hub has no such model, cannot be reached or may not be, and it is not in the cache.
    MissingExtra
        If huggingface_hub is not installed.
    """
    path = Path(source)
    if path.is_dir() or not isinstance(source, str) or not is_hub_name(source):
        return path
    for patterns in _WEIGHTS:
        directory = _fetched(source, [*_PLAIN, *patterns])
        if any(file for pattern in patterns for file in directory.glob(pattern)):
            return directory
    raise InputError(
        "the hub's model has no weights that can be read here",
        where=source,
        hint="it needs *.safetensors or pytorch_model*.bin in its top folder (offline: in the cache)",
    )


def _fetched(source: str, patterns: list[str]) -> Path:
    match: Any = _NAME.fullmatch(source)
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra(
            "hub names need huggingface_hub, which is not installed",
            where=source,
            hint="pip install 'corpuskit[train]'",
        ) from error
    try:
        return Path(
            snapshot_download(
                match["repo"], revision=match["revision"], allow_patterns=patterns, ignore_patterns=["*/*"]
            )
        )
    # it raises errors of its own, of the HTTP library and of the system, in that order of likelihood
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"there is no such directory, and the hub's model cannot be had: {reason}",
            where=source,
            hint="check the name and the network; for a private model log in with `hf auth login`",
        ) from error
