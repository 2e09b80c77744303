"""Errors name a parameter of the library; here they name the option that the user typed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corpuskit.errors import CorpuskitError

VOCABULARY = {
    "algorithm": "--algorithm",
    "base": "--base",
    "max_token_bytes": "--max-token-bytes",
    "min_count": "--min-count",
    "num_new_tokens": "--num-new-tokens",
    "pattern": "--pattern",
    "pre_segment": "--pre-segment",
    "required_characters": "--required-characters",
    "sample_bytes": "--sample-mb",
    "seed": "--seed",
    "special_tokens": "--special-token",
    "user_defined_symbols": "--user-defined-symbol",
    "vocab_size": "--size",
}
"""Options of `corpuskit vocab`."""


@contextmanager
def options_named(options: dict[str, str]) -> Iterator[None]:
    """Raise an error about a parameter in `options` as one about its option."""
    try:
        yield
    except CorpuskitError as error:
        if error.where not in options:
            raise
        raise type(error)(error.what, where=options[error.where], hint=error.hint) from error
