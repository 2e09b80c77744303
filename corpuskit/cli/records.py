"""Files of prompts, answers and tasks, as `generate` and `judge` take them from each other."""

from __future__ import annotations

from pathlib import Path

from corpuskit.errors import InputError


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; ``InputError`` where it is none or cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "not UTF-8",
            where=f"{path}, byte {error.start}",
            hint="convert the file first, for example with iconv -f GB18030 -t UTF-8",
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), hint="check the path and its permissions"
        ) from error


def texts_under(path: Path, *keys: str) -> list[str]:
    """Of each record of a JSON Lines file, the text under the first of `keys` that it has.

    A list of texts, as pCLUE's keywords are, is joined by ``，``.
    """
    from corpuskit.ingest.records import read_records

    texts = []
    for where, record in read_records(path):
        found = next((record[key] for key in keys if key in record), None)
        if isinstance(found, list):
            found = "，".join(map(str, found))
        if not isinstance(found, str):
            raise InputError(
                f"the record has no text under {' or '.join(keys)}",
                where=where,
                hint=f"give a text file of a line each, or records with the key {keys[0]}",
            )
        texts.append(found)
    return texts
