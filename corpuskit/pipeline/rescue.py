"""Turns chosen dropped documents back into input.

A threshold that was wrong should not cost a second crawl: the dropped rows hold the documents,
so choosing them by reason gives a file that a recipe takes under ``input.rescued``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from corpuskit.documents import ID, TEXT, restore_dropped
from corpuskit.errors import InputError
from corpuskit.files import arrow_path, atomic_path
from corpuskit.parts import read_documents
from corpuskit.pipeline.homes import WORK


def dropped_files(output_dir: str | Path) -> list[Path]:
    """The dropped-row files that the ledger of a run names, in order.

    `output_dir` is that of `corpuskit run`, or of `corpuskit clean`, which has no ``work`` in it.
    """
    output = Path(output_dir)
    work = output / WORK if (output / WORK).is_dir() else output
    files = []
    for entry in sorted((work / "ledger").glob("*/*/*.json")):
        if entry.name.endswith(".parts.json"):
            continue
        phase = work / entry.parent.relative_to(work / "ledger")
        outputs = json.loads(entry.read_text(encoding="utf-8"))["outputs"]
        files += [phase / output["path"] for output in outputs if output["kind"] == "dropped"]
    return files


def rescue(output_dir: str | Path, reasons: Sequence[str], target: str | Path) -> int:
    """Write the documents dropped for `reasons` to `target`.

    Parameters
    ----------
    output_dir : path-like
        A run's output directory.
    reasons : sequence of str
        ``room/rule`` names, or ``room`` for all of its rules.
    target : path-like
        Arrow file to write, with `id`, `text` and, where they had them, url, source, date, language.

    Returns
    -------
    int
        Number of documents.

    Raises
    ------
    InputError
        If there is no such run, no document was dropped for these reasons, or the run did not
        store dropped texts.
    """
    files = dropped_files(output_dir)
    if not files:
        raise InputError(
            "no dropped documents here", where=str(output_dir), hint="give the output directory of a run"
        )
    tables, seen = [], set()
    for path in files:
        for rows in read_documents(str(path)):
            names = rows.column("reason").to_pylist()
            seen.update(names)
            chosen = [any(_matches(name, reason) for reason in reasons) for name in names]
            if any(chosen):
                tables.append(_document_columns(rows.filter(pa.array(chosen))))
    if not tables:
        raise InputError(
            f"no document was dropped for {', '.join(reasons)}",
            where=str(output_dir),
            hint=f"reasons of this run: {', '.join(sorted(seen))}",
        )
    table = pa.concat_tables(tables, promote_options="default")
    lost = table.column("text").null_count
    if lost:
        raise InputError(
            f"the texts of {lost} of {table.num_rows} documents were not stored",
            where=str(output_dir),
            hint="run with dropped_text: full",
        )
    table = table.take(_first_of_each(table.column("id"))).cast(_with_required_text(table.schema))
    with (
        atomic_path(target) as temporary,
        pa.OSFile(arrow_path(temporary), "wb") as sink,
        ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=1000)
    return table.num_rows


def _matches(name: str, reason: str) -> bool:
    return name == reason or name.startswith(f"{reason}/")


def _document_columns(rows: pa.RecordBatch) -> pa.Table:
    documents = pa.Table.from_batches([restore_dropped(rows)])
    wanted = [
        name for name in ("id", "text", "url", "source", "date", "language") if name in documents.schema.names
    ]
    return documents.select(wanted)


def _first_of_each(ids: pa.ChunkedArray) -> pa.Array:
    """Position of each id's first row; a document dropped twice is rescued once."""
    order: dict[str, int] = {}
    for position, value in enumerate(ids.to_pylist()):
        order.setdefault(value, position)
    return pa.array(list(order.values()), pa.int64())


def _with_required_text(schema: pa.Schema) -> pa.Schema:
    fields = [{"id": ID, "text": TEXT}.get(f.name, f) for f in schema]
    return pa.schema(fields)
