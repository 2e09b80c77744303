"""One file for a trained quality model: numbers as Arrow, everything else as JSON in its metadata.

An Arrow IPC file of one record batch with one row, in which every array of the model is a list:
pyarrow checks that it is whole, every worker maps the same pages of it instead of reading its own
copy, and any Arrow reader opens it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash
from pyarrow import ipc

from corpuskit.errors import ArtifactError
from corpuskit.files import arrow_path, atomic_path

FORMAT = 1
"""Version of the file's layout; a file with a higher one is refused."""

_KEY = b"corpuskit.quality"


class ModelFile(NamedTuple):
    """What a model file holds: `header` (JSON) and `arrays`, memory-mapped and read-only."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Stamp(NamedTuple):
    """Tells one state of a file from the next: absolute path, size, and modification time in ns."""

    path: str
    size: int
    modified_ns: int


def stamp(path: str | os.PathLike) -> Stamp:
    """The present state of a model file; what a loaded model is cached by.

    Raises
    ------
    ArtifactError
        If there is no such file.
    """
    name = str(Path(path).absolute())
    try:
        status = Path(name).stat()
    except OSError as error:
        raise ArtifactError(
            f"the model cannot be read: {error.strerror}",
            where=name,
            hint="train one with `corpuskit quality train` or `corpuskit quality train-lm`",
        ) from error
    return Stamp(name, status.st_size, status.st_mtime_ns)


def fingerprint(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """XXH3-128 of the header but its own ``fingerprint`` and of the arrays, as 32 hexadecimal digits."""
    rest = {key: value for key, value in header.items() if key != "fingerprint"}
    state = xxhash.xxh3_128(json.dumps(rest, sort_keys=True, allow_nan=False).encode())
    for name in sorted(arrays):
        state.update(f"{name} {arrays[name].dtype.str} ".encode())
        state.update(np.ascontiguousarray(arrays[name]).view(np.uint8).data)
    return state.hexdigest()


def read_only(values: np.ndarray) -> np.ndarray:
    """A view that cannot be written: what kernels compile for, whether trained here or loaded."""
    view = values.view()
    view.flags.writeable = False
    return view


def save(
    path: str | os.PathLike, kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a model file atomically; the same model gives the same bytes.

    Parameters
    ----------
    path : path-like
    kind : str
        What loads it, e.g. ``ngram-classifier``.
    header : mapping
        JSON.
    arrays : mapping of str to numpy.ndarray
        One-dimensional.
    """
    complete = {**header, "kind": kind, "format": FORMAT}
    complete["fingerprint"] = fingerprint(complete, arrays)
    text = json.dumps(complete, ensure_ascii=False, sort_keys=True, allow_nan=False)
    fields, columns = [], []
    for name, values in arrays.items():
        array = pa.array(np.ascontiguousarray(values))
        offsets = pa.array([0, len(array)], pa.int64())
        columns.append(pa.LargeListArray.from_arrays(offsets, array))
        fields.append(pa.field(name, columns[-1].type))
    schema = pa.schema(fields, metadata={_KEY: text.encode()})
    with (
        atomic_path(path) as temporary,
        pa.OSFile(arrow_path(temporary), "wb") as sink,
        ipc.new_file(sink, schema) as writer,
    ):
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def load(path: str | os.PathLike, *kinds: str) -> ModelFile:
    """Read a model file and check that it is whole and of one of these kinds.

    Raises
    ------
    ArtifactError
        If it is missing, damaged, of a newer layout, or of another kind.
    """
    where = stamp(path).path
    header, batch = _read(where, kinds)
    arrays = {
        name: column.flatten().to_numpy(zero_copy_only=True)
        for name, column in zip(batch.schema.names, batch.columns)
    }
    if fingerprint(header, arrays) != header.get("fingerprint"):
        raise ArtifactError("the model is damaged: its checksum differs", where=where, hint="train it again")
    return ModelFile(header, arrays)


def read_header(path: str | os.PathLike, *kinds: str) -> dict[str, Any]:
    """The header of a model file, without its numbers; ``kind`` says which of these kinds it is.

    Raises
    ------
    ArtifactError
        As `load`.
    """
    return _read(stamp(path).path, kinds)[0]


def _read(where: str, kinds: tuple[str, ...]) -> tuple[dict[str, Any], pa.RecordBatch]:
    try:
        with ipc.open_file(pa.memory_map(arrow_path(where))) as reader:
            text = (reader.schema.metadata or {}).get(_KEY)
            if text is None:
                raise ArtifactError("not a quality model", where=where)
            header = json.loads(text)
            _check_header(header, kinds, where)
            return header, reader.get_batch(0)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise ArtifactError(f"not a whole model file: {error}", where=where, hint="train it again") from error


def _check_header(header: Any, kinds: tuple[str, ...], where: str) -> None:
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise ArtifactError("not a quality model", where=where)
    if header["format"] > FORMAT:
        raise ArtifactError(
            f"the model has format {header['format']}, this version reads up to {FORMAT}",
            where=where,
            hint="install a newer corpuskit",
        )
    if header.get("kind") not in kinds:
        raise ArtifactError(
            f"the model is a {header.get('kind')}, not a {' or '.join(kinds)}",
            where=where,
            hint="`corpuskit quality train` makes classifiers, `corpuskit quality train-lm` language models",
        )
