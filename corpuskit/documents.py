"""What a document is, how its id is made, and how a run accounts for every one.

A document is a row with `id` and `text` and, where known, `url`, `source`, `date`, `language`;
whatever else the user's data holds rides along untouched. Batches are `pyarrow.RecordBatch`.
A document that is not kept leaves a *dropped* row (reason, measured value, threshold); bytes that
could not become a document leave a *quarantine* record. `Tally` holds the promise that
in = kept + dropped + quarantined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import pyarrow as pa
import xxhash

from corpuskit.errors import LedgerError

DocumentBatch: TypeAlias = pa.RecordBatch

ID = pa.field("id", pa.string(), nullable=False)
TEXT = pa.field("text", pa.large_string(), nullable=False)
OPTIONAL_FIELDS = {name: pa.string() for name in ("url", "source", "date", "language")}

DROPPED_SCHEMA_PREFIX = (
    ID,
    pa.field("reason", pa.string(), nullable=False),
    pa.field("value", pa.float64()),
    pa.field("threshold", pa.float64()),
    pa.field("text", pa.large_string()),
)

DroppedText = Literal["full", "sample", "none"]


def document_id(relative_path: str, position: int) -> str:
    """The id of the record at `position` of an input file.

    Parameters
    ----------
    relative_path : str
        The file's path below its input root, with ``/`` separators.
    position : int
        Byte offset of the record in the (decompressed) stream, or its ordinal: whatever the
        format's reader can tell without having read the records before it.

    Returns
    -------
    str
        XXH3-128 as 32 hexadecimal digits; the same for any batch size, worker or file order.
    """
    return xxhash.xxh3_128_hexdigest(f"{relative_path}\x00{position}".encode("utf-8", "surrogateescape"))


def document_batch(
    ids: Sequence[str],
    texts: Sequence[str] | pa.Array,
    columns: Mapping[str, Sequence | pa.Array] | None = None,
) -> DocumentBatch:
    """Assemble a batch from ids, texts and further columns (optional fields are cast to string)."""
    arrays = [pa.array(ids, ID.type), pa.array(texts, TEXT.type)]
    fields = [ID, TEXT]
    for name, values in (columns or {}).items():
        array = values if isinstance(values, pa.Array) else pa.array(values)
        if name in OPTIONAL_FIELDS and array.type != OPTIONAL_FIELDS[name]:
            array = array.cast(OPTIONAL_FIELDS[name])
        arrays.append(array)
        fields.append(pa.field(name, array.type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def replace_text(batch: DocumentBatch, text: pa.Array) -> DocumentBatch:
    """`batch` with its `text` column replaced."""
    return batch.set_column(batch.schema.get_field_index("text"), TEXT, text.cast(TEXT.type))


class StepResult(NamedTuple):
    """What a step made of a batch: the documents kept, and rows for those dropped."""

    kept: DocumentBatch
    dropped: pa.RecordBatch | None


def dropped_rows(
    batch: DocumentBatch,
    reasons: Sequence[str] | pa.Array,
    values: Sequence[float | None] | pa.Array,
    thresholds: Sequence[float | None] | pa.Array,
) -> pa.RecordBatch:
    """Rows for documents that are not kept.

    Parameters
    ----------
    batch : DocumentBatch
        The documents as they came in (text before cleaning where the step changed it).
    reasons : sequence of str
        ``room/rule`` for each row, e.g. ``clean/han_ratio``.
    values, thresholds : sequence of float or None
        The measured value and the limit it missed.

    Returns
    -------
    pyarrow.RecordBatch
        `id`, `reason`, `value`, `threshold`, `text`, and a struct column `document` with every
        other column of the batch, so that `rescue` can restore the row exactly.
    """
    others = [name for name in batch.schema.names if name not in ("id", "text")]
    arrays = [
        batch.column("id"),
        pa.array(reasons, pa.string()),
        pa.array(values, pa.float64()),
        pa.array(thresholds, pa.float64()),
        batch.column("text"),
    ]
    fields = list(DROPPED_SCHEMA_PREFIX)
    if others:
        columns = [batch.column(name) for name in others]
        struct = pa.StructArray.from_arrays(columns, fields=[batch.schema.field(n) for n in others])
        arrays.append(struct)
        fields.append(pa.field("document", struct.type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def restore_dropped(rows: pa.RecordBatch) -> DocumentBatch:
    """The inverse of `dropped_rows`; rows whose text was not stored come back with a null text."""
    arrays = [rows.column("id"), rows.column("text")]
    fields = [ID, pa.field("text", pa.large_string())]
    if "document" in rows.schema.names:
        struct = rows.column("document")
        for position, struct_field in enumerate(struct.type):
            arrays.append(struct.field(position))
            fields.append(struct_field)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def limit_dropped_text(rows: pa.RecordBatch, policy: DroppedText) -> pa.RecordBatch:
    """Apply `dropped_text`: ``full`` keeps every text, ``none`` no text, ``sample`` one in 64.

    The sample is chosen by the first two hexadecimal digits of the id (00 to 03), so it is the
    same whatever the order or the number of workers.
    """
    if policy == "full":
        return rows
    keep = [policy == "sample" and int(i[:2], 16) < 4 for i in rows.column("id").to_pylist()]
    texts = [text if k else None for text, k in zip(rows.column("text").to_pylist(), keep)]
    index = rows.schema.get_field_index("text")
    return rows.set_column(index, rows.schema.field(index), pa.array(texts, pa.large_string()))


@dataclass(frozen=True)
class Quarantined:
    """Bytes that could not become a document.

    Attributes
    ----------
    path : str
        The input file.
    offset : int
        Where in the file (bytes; for compressed JSONL, CSV and text in the decompressed stream;
        for row formats the row ordinal).
    reason : str
        ``room/kind``, e.g. ``ingest/truncated-record``.
    detail : str
        The error in words.
    """

    path: str
    offset: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Tally:
    """How many records came in and what became of each.

    Attributes
    ----------
    documents_in : int
        Records read, including those that went to quarantine.
    kept : int
        Documents that went on.
    dropped, quarantined : Mapping[str, int]
        Count by reason.
    """

    documents_in: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.documents_in + other.documents_in,
            self.kept + other.kept,
            _add_counts(self.dropped, other.dropped),
            _add_counts(self.quarantined, other.quarantined),
        )

    @property
    def num_dropped(self) -> int:
        return sum(self.dropped.values())

    @property
    def num_quarantined(self) -> int:
        return sum(self.quarantined.values())

    def check(self, where: str) -> None:
        """Raise `LedgerError` unless in = kept + dropped + quarantined."""
        out = self.kept + self.num_dropped + self.num_quarantined
        if out != self.documents_in:
            raise LedgerError(
                f"{self.documents_in} documents came in but {out} are accounted for "
                f"(kept {self.kept}, dropped {self.num_dropped}, quarantined {self.num_quarantined})",
                where=where,
                hint="this is a bug in the step; nothing of this task was published",
            )

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping) -> Tally:
        return cls(value["documents_in"], value["kept"], dict(value["dropped"]), dict(value["quarantined"]))


def _add_counts(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    total = dict(left)
    for reason, count in right.items():
        total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items()))
