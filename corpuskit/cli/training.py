"""Options of `train` and `search` as a `TrainConfig`; an error names the option that was typed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from corpuskit.errors import ConfigError

if TYPE_CHECKING:
    from corpuskit.train import TrainConfig

_FIELD = re.compile(r"^ *train\.(?P<path>[\w.]+): (?P<problem>.*)$", re.DOTALL)


def train_config(options: Mapping[str, str | None], set_: Sequence[str] | None) -> TrainConfig:
    """The configuration of named options (field: value, None where not given) and ``--set field=value``.

    ``--objective masked --set objective.rate=0.3`` is one objective with a setting.

    Raises
    ------
    ConfigError
        Naming ``--objective``, ``--model`` and so on where a field came from there, else ``--set FIELD``.
    """
    from corpuskit.pipeline.recipe import parse_train_config

    changes = list(set_ or [])
    given = {name: value for name, value in options.items() if value is not None}
    overrides = []
    for name, value in given.items():
        parts = name == "objective" and any(change.startswith("objective.") for change in changes)
        overrides.append(f"{name}{'.name' if parts else ''}={json.dumps(value)}")
    try:
        return parse_train_config([*overrides, *changes])
    except ConfigError as error:
        lines = error.what.splitlines()[1:]
        found = _FIELD.match(lines[0]) if len(lines) == 1 else None
        if found is None:
            raise
        field = found["path"].partition(".")[0]
        where = f"--{field.replace('_', '-')}" if field in given else f"--set {found['path']}"
        hint = "nothing was run; every field is described in the recipe reference, section train"
        raise ConfigError(found["problem"], where=where, hint=hint) from error
