"""Which document of a cluster stays, and what must be known of a document to say so.

The rule is applied to whole clusters, in the end, and exactly. Before that, buckets are ordered by a
64-bit *priority* close to it, so that most removed documents meet the one that stays directly: 24 bits
of the measure (exact up to 65,535 characters, to one in 32,768 beyond) and 40 bits of the id, which is a
hash (`corpuskit.documents.document_id`), or of a hash of it. So the smallest id among equals comes first
here as it does in the end, and copies need not be compared twice. Nothing of it depends on the order of
the inputs, except for ``first``; two documents of one bucket tie with probability 2**-40.
"""

from __future__ import annotations

import contextlib
import re
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpuskit.errors import ConfigError, InputError

Keep = Literal["longest", "newest", "best-quality", "first"]
"""Which document of a cluster stays; ties go to the smallest id.

``longest``: most characters. ``newest``: largest `date` as text (ISO dates sort so), documents
without one last. ``best-quality``: largest value of a numeric column, documents without one last.
``first``: first in the order of the inputs.
"""

QUALITY_COLUMN = "quality_score"

_KEEP_ORDER: dict[str, list[tuple[str, str]]] = {
    "longest": [("characters", "descending")],
    "newest": [("date", "descending")],
    "best-quality": [("quality", "descending")],
    "first": [("ordinal", "ascending")],
}

_ISO_DATE = re.compile(r"(\d{4})(?:\D?(\d\d)(?:\D?(\d\d))?)?")
_LAST = np.uint64((1 << 24) - 1)


def check_keep(keep: str) -> None:
    """Raise `ConfigError` unless `keep` is one of `Keep`."""
    if keep not in get_args(Keep):
        raise ConfigError(f"{keep!r} is not one of {', '.join(get_args(Keep))}", where="keep")


def document_columns(
    ordinal: np.ndarray, batch: pa.RecordBatch, characters: np.ndarray, quality_column: str = QUALITY_COLUMN
) -> pa.Table:
    """What the keep rules need to know of each document of a batch.

    Raises
    ------
    InputError
        If the quality column is there and holds no numbers.
    """
    if "date" in batch.schema.names:
        date = batch.column("date").cast(pa.string())
    else:
        date = pa.nulls(batch.num_rows, pa.string())
    columns = [
        pa.array(ordinal),
        batch.column("id"),
        pa.array(characters),
        date,
        _quality(batch, quality_column),
    ]
    return pa.Table.from_arrays(columns, ["ordinal", "id", "characters", "date", "quality"])


def _quality(batch: pa.RecordBatch, column: str) -> pa.Array:
    if column not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.float64())
    values = batch.column(column)
    if pa.types.is_null(values.type):
        return pa.nulls(batch.num_rows, pa.float64())
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise InputError(
            f"the column holds {values.type}, not numbers",
            where=column,
            hint="name a numeric column as quality_column, or use another keep rule",
        )
    values = values.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)


def has_quality(documents: pa.Table) -> bool:
    """Whether any document has a value in the quality column."""
    return documents.column("quality").null_count < documents.num_rows


def require_quality(keep: Keep, column: str, documents: int, found: bool) -> None:
    """Raise `ConfigError` where the keep rule needs a column that no document has."""
    if keep == "best-quality" and documents and not found:
        raise ConfigError(
            f"no document has a value in the column {column!r}, which keep: best-quality compares",
            where="quality_column",
            hint="name a numeric column of the documents, or use another keep rule",
        )


def priorities(documents: pa.Table, keep: Keep) -> np.ndarray:
    """An intrinsic order for the documents of a bucket (uint64, smaller first), close to the rule."""
    if keep == "first":
        return documents.column("ordinal").to_numpy()
    if keep == "longest":
        measure = _descending(documents.column("characters").to_numpy().astype(np.float32))
    elif keep == "newest":
        measure = _descending(np.array([_day(d) for d in documents.column("date").to_pylist()], np.float32))
    else:
        quality = documents.column("quality").to_numpy().astype(np.float32)
        measure = np.where(np.isnan(quality), _LAST, _descending(np.nan_to_num(quality)))
    ids = documents.column("id").cast(pa.binary()).to_pylist()
    return measure << np.uint64(40) | np.array([_tie(i) for i in ids], np.uint64)


def _tie(document_id: bytes) -> int:
    """40 bits that tell ids apart; of the ids that corpuskit makes, in their own order."""
    if len(document_id) == 32 and not document_id.startswith(b"0000000000"):
        with contextlib.suppress(ValueError):
            return int(document_id[:10], 16)
    return xxhash.xxh3_64_intdigest(document_id) >> 24


def _descending(values: np.ndarray) -> np.ndarray:
    """24 bits (uint64) that fall as float32 values rise: the upper bits of IEEE 754 order like integers."""
    bits = values.view(np.uint32).astype(np.uint64)
    sign = np.uint64(1 << 31)
    rising = np.where(bits & sign, ~bits & np.uint64(0xFFFFFFFF), bits | sign)
    return _LAST - (rising >> np.uint64(8))


def _day(date: str | None) -> float:
    """Days of an ISO date, about; -1 without one."""
    match = _ISO_DATE.match(date or "")
    if match is None:
        return -1.0
    year, month, day = (int(group or 0) for group in match.groups())
    return float(year * 372 + month * 31 + day)


def keep_order(keep: Keep) -> list[tuple[str, str]]:
    """The sort keys (column, direction) that put the document that stays first; nulls come last."""
    return list(dict([*_KEEP_ORDER[keep], ("id", "ascending"), ("ordinal", "ascending")]).items())
