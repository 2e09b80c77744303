"""The exceptions a user of corpuskit catches.

Each one says what was wrong, where, and what to do about it. The command line prints exactly
these three lines and exits with status 2; anything that is not a `CorpuskitError` is a bug.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class CorpuskitError(Exception):
    """Base of every error corpuskit raises on purpose.

    Parameters
    ----------
    what : str
        What was wrong, in one sentence.
    where : str, optional
        The file, offset, field or item concerned.
    hint : str, optional
        What the user can do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.hint is None else f"{text} ({self.hint})"

    def __reduce__(self):
        return _rebuild, (type(self), self.what, self.where, self.hint)


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Raise an error about one of `names` as one about what that is called here, such as an option."""
    try:
        yield
    except CorpuskitError as error:
        if error.where is None or error.where not in names:
            raise
        raise type(error)(error.what, where=names[error.where], hint=error.hint) from error


def _rebuild(kind, what, where, hint):
    return kind(what, where=where, hint=hint)


class InputError(CorpuskitError):
    """An input is missing, unreadable, empty, or not of the format it claims to be."""


class ConfigError(CorpuskitError, ValueError):
    """A parameter or a recipe field has an unknown name, a wrong type or an impossible value."""


class ArtifactError(CorpuskitError):
    """A tokenizer, token dataset, index or model directory is damaged, incomplete or too new."""


class MismatchError(ArtifactError):
    """Two artifacts that must belong together do not (tokenizer and shards, state and dataset)."""


class UnsupportedExport(ArtifactError):
    """A tokenizer cannot be written in the asked format without changing its ids."""


class LedgerError(CorpuskitError):
    """A task's documents do not add up, or another run holds the output directory."""


class ResourceError(CorpuskitError):
    """The machine ran out of something (disk, memory) that the run needs."""


class TaskError(CorpuskitError):
    """A task of a run failed; the error names the task and the underlying cause."""


class MissingExtra(CorpuskitError, ImportError):
    """A feature needs an optional dependency that is not installed."""
