"""One document at a time through a cleaner, with everything that was measured on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpuskit.clean import Cleaner, Explanation, decode, extract
from corpuskit.documents import Quarantined
from corpuskit.errors import InputError
from corpuskit.ingest import ReadOptions, expand_inputs, read
from corpuskit.ingest.formats import require_format

_COLUMNS = ("title", "author", "url", "source", "date", "charset", "mojibake", "source_id", "language")


@dataclass(frozen=True)
class ExplainedDocument:
    """A document, where it came from, and what the cleaner makes of it.

    Attributes
    ----------
    id : str
    facts : dict of str to str
        What is known about it: title, address, charset with its evidence, how the text was found …
    explanation : Explanation
    """

    id: str
    facts: dict[str, str]
    explanation: Explanation


def explain_documents(
    inputs: Sequence[str],
    cleaner: Cleaner,
    ids: Sequence[str] = (),
    limit: int = 1,
    options: ReadOptions | None = None,
) -> Iterator[ExplainedDocument | Quarantined]:
    """Explain the first documents of the inputs, or those with given ids.

    Parameters
    ----------
    inputs : sequence of str
        As for a run; ids are those of a run over the same inputs.
    cleaner : Cleaner
    ids : sequence of str
        Ids, the beginnings of ids, the user's own ids (`source_id`) or addresses.
    limit : int
        Without `ids`: how many records.
    options : ReadOptions, optional

    Yields
    ------
    ExplainedDocument or Quarantined
        In the order of the input; a record that could not become a document as why not (without
        `ids` only, for it has none).

    Raises
    ------
    InputError
        If an input cannot be read, or no document has one of the ids.
    """
    quarantined: list[Quarantined] = []
    missing = set(ids)
    options = options or ReadOptions(batch_rows=max(1, min(limit, 100)))
    pages = _html_files(inputs, options)
    shown = 0
    for batch in read(inputs, options=options, on_quarantine=quarantined.append):
        for row in batch.to_pylist():
            matched = {wanted for wanted in ids if _is_named(row, wanted)}
            if ids and not matched:
                continue
            missing -= matched
            yield _explain(row, cleaner, pages)
            shown += 1
            if (not ids and shown == limit) or (ids and not missing):
                return
    if not ids:
        yield from quarantined[: limit - shown]
    if missing:
        raise InputError(
            f"no document is called {sorted(missing)[0]}",
            where=", ".join(inputs),
            hint="give the inputs of the run that named it: an id is made of the path below them",
        )


def page_facts(body: bytes, http_charset: str | None = None) -> dict[str, str]:
    """How a page was decoded and where its text was found."""
    decoded = decode(body, http_charset)
    facts = {
        "charset": decoded.encoding,
        "charset evidence": ", ".join(decoded.evidence) or "none",
        "undecodable": f"{decoded.error_rate:.2%}",
    }
    page = extract(decoded.text)._asdict()
    del page["text"]
    return facts | {name: str(value) for name, value in page.items() if value is not None}


def _explain(row: dict[str, Any], cleaner: Cleaner, pages: dict[str, str]) -> ExplainedDocument:
    facts = {name: str(row[name]) for name in _COLUMNS if row.get(name) is not None}
    if facts.get("source") in pages:
        facts |= page_facts(Path(pages[facts["source"]]).read_bytes())
    return ExplainedDocument(row["id"], facts, cleaner.explain(row["text"], row.get("url")))


def _is_named(row: dict[str, Any], wanted: str) -> bool:
    return row["id"].startswith(wanted) or wanted in (str(row.get("source_id")), row.get("url"))


def _html_files(inputs: Sequence[str], options: ReadOptions) -> dict[str, str]:
    """Relative to absolute path of the inputs that are pages by themselves."""
    files = expand_inputs(inputs, None, options.format).files
    return {
        file.relative_path: str(file.path)
        for file in files
        if require_format(str(file.path), options.format) == "html"
    }
