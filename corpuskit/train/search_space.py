"""What a search tries: ranges and choices of fields of `TrainConfig`, checked before anything is trained."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from corpuskit.errors import ConfigError
from corpuskit.train.config import TrainConfig

_MOST_CHECKED = 1000


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; whole ones where the field of `TrainConfig` is whole.

    Attributes
    ----------
    low, high : float
        Both may occur.
    log : bool
        Uniform in the logarithm, as for learning rates.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or not math.isfinite(self.high - self.low):
            raise ConfigError(f"{self.low} to {self.high} is no range", where="space")
        if self.log and self.low <= 0:
            raise ConfigError(f"a logarithmic range cannot begin at {self.low}", where="space")


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("there is nothing to choose from", where="space")


Space = Mapping[str, Range | Choice]


def parse_space(texts: Sequence[str]) -> dict[str, Range | Choice]:
    """Read ``name=low:high``, ``name=low:high:log`` and ``name=a,b,c``.

    Raises
    ------
    ConfigError
        If a text is of another form.
    """
    space: dict[str, Range | Choice] = {}
    for text in texts:
        name, separator, values = text.partition("=")
        parts = values.split(":")
        try:
            if not separator or not values:
                raise ValueError
            if len(parts) == 1:
                space[name] = Choice(tuple(json.loads(_quoted(value)) for value in values.split(",")))
            elif len(parts) == 2 or (len(parts) == 3 and parts[2] == "log"):
                space[name] = Range(float(parts[0]), float(parts[1]), log=len(parts) == 3)
            else:
                raise ValueError
        except ValueError as error:
            raise ConfigError(
                f"{text!r} is no parameter to search",
                where="space",
                hint="for example learning_rate=1e-4:1e-2:log, warmup_steps=0:100, batch_size=8,16",
            ) from error
    return space


def check_values(config: TrainConfig, space: Space) -> None:
    """Make the configurations of all choices and ends of ranges, so that no trial fails hours later."""
    ends = [
        part.values if isinstance(part, Choice) else tuple(
            round(end) if isinstance(getattr(config, name), int) else end for end in (part.low, part.high)
        )
        for name, part in space.items()
    ]  # fmt: skip
    for values in itertools.islice(itertools.product(*ends), _MOST_CHECKED):
        chosen = dict(zip(space, values, strict=True))
        try:
            replace(config, **chosen)
        except TypeError as error:
            shown = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
            raise ConfigError(
                f"a value is of the wrong type: {shown}", where="space", hint="numbers for numbers"
            ) from error


def combinations(space: Space) -> list[dict[str, Any]]:
    """Every combination of the choices, the last parameter changing fastest."""
    values = [part.values for part in space.values() if isinstance(part, Choice)]
    return [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*values)]


def _quoted(value: str) -> str:
    """A JSON value: what is no number, truth value or null is text."""
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value)
    return value
