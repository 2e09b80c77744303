"""The user's own columns beside ours: which name they get, and which Arrow type.

Names: ``id`` becomes ``source_id``; any other column whose name is then taken (a ``source_id``
beside an ``id``, a ``text`` that is not the chosen text column) becomes ``original_<name>``.
`source` is the file's relative path unless the data has its own.

Types: what one batch holds decides, guided by the beginning of the file, so that a key that is
absent or null in one batch does not change the schema. Arrow would silently truncate 1.5 to an
integer column, and silently drop unknown keys of a struct, so a type is never forced: a column is
cast to the guiding type only where the two unify without loss, else it keeps its own. Values that
share no Arrow type are kept as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from corpuskit.documents import ID, OPTIONAL_FIELDS, TEXT
from corpuskit.ingest.chunks import Row

RESERVED = ("id", "text")


def column_names(names: Iterable[str], text_column: str) -> dict[str, str]:
    """Map the user's names (without the text column) to the names they get.

    Examples
    --------
    >>> column_names(["id", "text", "body", "label"], "body")
    {'id': 'source_id', 'text': 'original_text', 'label': 'label'}
    """
    given = [name for name in names if name != text_column]
    if "text" not in given and not ("id" in given and "source_id" in given):  # nothing collides
        return {name: "source_id" if name == "id" else name for name in given}
    taken = {*RESERVED, *(name for name in given if name not in ("id", "text", "source_id"))}
    mapped: dict[str, str] = {}
    # `id` chooses first, whatever the order of the columns.
    for name in sorted(given, key=lambda name: name != "id"):
        wanted = "source_id" if name == "id" else name
        if name in ("id", "text", "source_id"):
            while wanted in taken:
                wanted = f"original_{name}" if wanted in (name, "source_id") else f"original_{wanted}"
            taken.add(wanted)
        mapped[name] = wanted
    return {name: mapped[name] for name in given}


def build_batch(rows: Sequence[Row], guide: pa.Schema | None = None) -> pa.RecordBatch:
    """A batch of rows whose fields may differ.

    Parameters
    ----------
    rows : sequence of Row
    guide : pyarrow.Schema, optional
        Columns to have in any case, in this order, and the types to prefer.
    """
    names = dict.fromkeys([*(guide.names if guide else ()), *(name for row in rows for name in row.fields)])
    arrays = [pa.array([row.id for row in rows], ID.type), pa.array([row.text for row in rows], TEXT.type)]
    fields = [ID, TEXT]
    for name in names:
        preferred = guide.field(name).type if guide is not None and name in guide.names else None
        array = to_array(name, [row.fields.get(name) for row in rows], preferred)
        arrays.append(array)
        fields.append(pa.field(name, array.type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def guide_schema(rows: Sequence[dict[str, Any]]) -> pa.Schema:
    """The columns that the first rows of a file have."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.schema([(name, to_array(name, [row.get(name) for row in rows], None).type) for name in names])


def to_array(name: str, values: list[Any], preferred: pa.DataType | None) -> pa.Array:
    """A column of Python values; see the module's docstring for its type."""
    if name in OPTIONAL_FIELDS:
        return pa.array(
            [None if value is None else _as_text(value) for value in values], OPTIONAL_FIELDS[name]
        )
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else _as_text(value) for value in values], pa.string())
    return array if preferred is None or array.type == preferred else _unify(array, preferred)


def _unify(array: pa.Array, preferred: pa.DataType) -> pa.Array:
    mine, wanted = pa.schema([("c", array.type)]), pa.schema([("c", preferred)])
    try:
        unified = pa.unify_schemas([wanted, mine], promote_options="permissive")
        return array.cast(preferred) if unified == wanted else array
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return array


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
