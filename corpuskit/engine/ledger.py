"""The ledger: which tasks are committed, under which key.

One JSON file a task. An entry is written after the task's files are in place (renamed on a disk, sent
under keys of their own to an object store), so what the ledger names exists, and what it does not name is
not part of the result. A task is skipped
when its entry's key still matches: the function, the configuration, the inputs (size and
modification time, or checksum for files of this run), the package's sources and the versions of
the libraries that can change a result.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import xxhash

from corpuskit.documents import Tally
from corpuskit.errors import ConfigError, InputError
from corpuskit.files import checksum, json_text
from corpuskit.jobs import IN_KEY, Entry, Outcome, Output, Slice, Task

# Libraries whose version can change the bytes a task writes.
_RESULT_LIBRARIES = (
    "numpy", "pyarrow", "numba", "xxhash", "fastwarc", "resiliparse", "opencc", "ftfy", "jieba",
    "sentencepiece", "tokenizers", "regex", "isal", "zstandard",
)  # fmt: skip


@cache
def code_version() -> str:
    """Hash of the package's sources (without the command line) and of the library versions."""
    package = Path(__file__).parent.parent
    state = xxhash.xxh3_128()
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).as_posix()
        if not relative.startswith("cli/"):
            state.update(relative.encode() + b"\x00" + path.read_bytes())
    for name in _RESULT_LIBRARIES:
        state.update(f"{name}=={metadata.version(name)}\n".encode())
    return state.hexdigest()


def task_key(task: Task, label: str) -> str:
    """The key under which a task's entry is valid.

    Parameters
    ----------
    task : Task
    label : str
        ``job/phase/index``.
    """
    content = {
        "label": label,
        "function": _plain(task.function),
        "config": _plain(task.config),
        "inputs": [_identity(piece) for piece in task.inputs],
        "partition": task.partition,
        "code": code_version(),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return xxhash.xxh3_128_hexdigest(text.encode())


def _identity(piece: Slice) -> list:
    if piece.identity is not None:
        return [piece.relative_path, piece.identity, piece.start, piece.stop]
    path = Path(piece.path)
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=piece.path, hint="check the path and its permissions"
        ) from error
    return [piece.relative_path, f"{stat.st_size}-{stat.st_mtime_ns}", piece.start, piece.stop]


def input_checksums(task: Task) -> list[str]:
    """XXH3-128 of each of the user's files that a task reads."""
    return [checksum(path) for path in sorted({p.path for p in task.inputs if p.identity is None})]


def _plain(value: Any) -> Any:
    """`value` as JSON that changes when, and only when, the configuration changes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: _plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if f.metadata.get(IN_KEY, True)
        }
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if callable(value) and hasattr(value, "__qualname__") and "<" not in value.__qualname__:
        return f"{value.__module__}:{value.__qualname__}"
    raise ConfigError(
        f"a value of type {type(value).__name__} cannot be part of a task's configuration",
        where=repr(value)[:80],
        hint="use frozen dataclasses, plain values and module-level functions",
    )


def entry_text(entry: Entry, base: str, verified_inputs: Sequence[str] | None = None) -> str:
    """What is written for a committed task; outputs relative to `base`, the phase's directory or URL."""
    outcome = entry.outcome
    content = {
        "task": entry.task,
        "key": entry.key,
        "outputs": [
            {**dataclasses.asdict(o), "path": o.path.removeprefix(f"{base}/")} for o in outcome.outputs
        ],
        "tally": None if outcome.tally is None else outcome.tally.to_dict(),
        "metrics": dict(outcome.metrics),
        "verified_inputs": None if verified_inputs is None else list(verified_inputs),
    }
    return json_text(content)


def parse_entry(text: str | bytes, base: str, key: str) -> tuple[Entry, list[str] | None] | None:
    """The entry and the recorded checksums of its inputs, or None where it is damaged or for another key."""
    try:
        stored = json.loads(text)
        if stored["key"] != key:
            return None
        outputs = tuple(Output(**{**o, "path": f"{base}/{o['path']}"}) for o in stored["outputs"])
        tally = None if stored["tally"] is None else Tally.from_dict(stored["tally"])
        entry = Entry(stored["task"], stored["key"], Outcome(outputs, tally, stored["metrics"]))
        return entry, stored["verified_inputs"]
    except (ValueError, KeyError, TypeError):
        return None


def named_outputs(text: str | bytes) -> list[str]:
    """Paths, relative to the phase's directory, that an entry or a checkpoint names; none if damaged."""
    try:
        stored = json.loads(text)
        parts = [stored] if "outputs" in stored else stored["parts"]
        return [output["path"] for part in parts for output in part["outputs"]]
    except (ValueError, KeyError, TypeError):
        return []
