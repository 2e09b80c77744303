"""Slices of a run, for schedulers that start the same command many times."""

from __future__ import annotations

from dataclasses import dataclass

from corpuskit.errors import ConfigError


@dataclass(frozen=True)
class ShardOf:
    """One slice of a run, for Slurm arrays and the like: tasks with ``index % count == number``.

    Attributes
    ----------
    number, count : int
        ``--shard number/count`` with 0 <= number < count.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise ConfigError(
                f"{self.number}/{self.count} is not a slice", where="shard", hint="use 0/N to (N-1)/N"
            )

    @classmethod
    def parse(cls, text: str) -> ShardOf:
        """Read ``i/N``."""
        number, separator, count = text.partition("/")
        if not (separator and number.isdecimal() and count.isdecimal()):
            raise ConfigError(f"{text!r} is not of the form i/N", where="shard", hint="for example 0/4")
        return cls(int(number), int(count))
