"""Recipes are YAML 1.2: `1e-4` is a number, `no` is a word, and a key may appear once.

PyYAML follows YAML 1.1, where `1e-4` is a string and `no` is false; both have cost people runs.
This loader keeps PyYAML's parser and replaces its scalar rules by the 1.2 core schema
(https://yaml.org/spec/1.2.2/#103-core-schema).
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from corpuskit.errors import ConfigError


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConfigError(
                    f"the key {key!r} appears twice", where=_position(key_node.start_mark), hint="remove one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value.replace("_", "")
    return int(text, 0) if text.lower().lstrip("+-").startswith(("0x", "0o")) else int(text)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.replace("_", "").replace(".inf", "inf").replace(".nan", "nan").lower())


_SCALARS = [
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    # Underscores between digits are Python's and YAML 1.1's; kept because 32_000 reads well.
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
]
for _tag, _pattern, _first in _SCALARS:
    _characters: list = [c if c != "\0" else "" for c in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _characters)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def _position(mark: yaml.Mark) -> str:
    return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"


def load_yaml(text: str, name: str = "recipe") -> Any:
    """Parse one YAML 1.2 document.

    Raises
    ------
    ConfigError
        On a syntax error or a repeated key, with line and column.
    """
    loader = _Loader(text)
    loader.name = name
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        where = name if error.problem_mark is None else _position(error.problem_mark)
        raise ConfigError(f"not valid YAML: {error.problem}", where=where) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", where=name) from error
    finally:
        loader.dispose()
