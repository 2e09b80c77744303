"""A token dataset from files: read, encode in parallel, publish.

The work lies in ``OUTPUT/.work`` until the dataset is whole. Its `call.json` says what the work is for, so
that the same command goes on after any interruption, another one is told what differs, and a
finished one is not done again (`dataset.json` then says the same).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import xxhash
from pyarrow import ipc

from corpuskit.documents import ID, TEXT
from corpuskit.engine import JobResult, hold
from corpuskit.errors import ArtifactError, MismatchError
from corpuskit.files import arrow_path, write_json
from corpuskit.ingest import IngestJob, ReadOptions
from corpuskit.ingest.inputs import expand_inputs
from corpuskit.ingest.remote import is_url
from corpuskit.jobs import Job, Slice
from corpuskit.shards import Manifest, Operation, ShardsJob, publish, publish_appended
from corpuskit.shards.directories import TOKENIZER_NAME, copy_files, make_directory, require_no_dataset
from corpuskit.shards.job import planned_layout, require_appendable
from corpuskit.shards.manifest import CALL_NAME, MANIFEST_NAME, WORK_NAME, EndOfDocument, load_manifest
from corpuskit.shards.word_starts import segmenter_version
from corpuskit.vocab import Tokenizer

RunJob = Callable[[str, Job, Path], JobResult]
"""Runs a job below a directory, and calls it by a name for those who watch."""


def encode_files(
    name: str,
    inputs: Sequence[str],
    output: Path,
    tokenizer_directory: Path,
    *,
    shard_tokens: int,
    end_of_document: EndOfDocument,
    word_starts: str | None,
    read_options: ReadOptions,
    run_job: RunJob,
) -> tuple[Manifest, int] | None:
    """Encode files into a dataset (`name` is ``write``) or to the end of one (``append``).

    Returns
    -------
    tuple of Manifest and int, or None
        The dataset, and how many records could not be read; None if the same call was finished before.
    """
    tokenizer = Tokenizer.load(tokenizer_directory)
    files = _identities(inputs, read_options.format)
    options = {
        "inputs": _digest(files),
        "tokenizer": tokenizer.fingerprint,
        "shard_tokens": shard_tokens,
        "end_of_document": end_of_document,
        "word_starts": None if word_starts is None else segmenter_version(word_starts),
        "text_column": read_options.text_column,
    }
    operation = Operation(name, options)
    work = output / WORK_NAME
    call = work / CALL_NAME
    if (output / MANIFEST_NAME).exists():
        stored = load_manifest(output, allow_incomplete=True)
        if _is_finished(stored, operation):
            shutil.rmtree(work, ignore_errors=True)
            return None
        if name == "append":
            layout = planned_layout(tokenizer, end_of_document, word_starts is not None)
            require_appendable(load_manifest(output), layout, operation, output)
        elif stored.complete or stored.operation is None or not stored.operation.is_same(operation):
            _refuse(output, stored, operation)
    elif name == "append":
        load_manifest(output)  # says that there is no dataset
    else:
        require_no_dataset(output)
        make_directory(output)
    make_directory(work)
    _require_same_call(call, operation, files)
    if not call.exists():
        write_json(call, {"operation": operation.to_dict(), "files": files})
    documents, unread = _documents(inputs, work, read_options, run_job)
    job = ShardsJob(
        documents=documents,
        tokenizer_dir=str(tokenizer_directory.absolute()),
        shard_tokens=shard_tokens,
        end_of_document=end_of_document,
        word_starts=word_starts,
    )
    result = run_job("encode", job, work)
    entries = result.entries["encode"]
    if name == "append":
        manifest = publish_appended(entries, output, tokenizer, operation)
    else:
        copy_files(tokenizer_directory, output / TOKENIZER_NAME)
        manifest = publish(entries, output, tokenizer, operation=operation)
    shutil.rmtree(work, ignore_errors=True)
    return manifest, unread


def _documents(
    inputs: Sequence[str], work: Path, read_options: ReadOptions, run_job: RunJob
) -> tuple[tuple[Slice, ...], int]:
    """Document parts to encode: the inputs themselves where corpuskit wrote them, else what they hold."""
    expanded = expand_inputs(inputs, format=read_options.format)
    if all(_is_part(file.path, file.format) for file in expanded.files):
        expanded.warn_ignored()
        return tuple(file.as_slice() for file in expanded.files), 0
    result = run_job("read", IngestJob(inputs=tuple(inputs), options=read_options), work)
    return tuple(part.as_slice() for part in result.outputs("kept")), result.tally.num_quarantined


def _is_part(path: str, format: str) -> bool:
    """Whether a file holds documents as corpuskit writes them, with ids that are to stay."""
    if format != "arrow" or is_url(path):
        return False
    try:
        with pa.memory_map(arrow_path(path)) as source, ipc.open_file(source) as reader:
            schema = reader.schema
    except (pa.ArrowException, OSError):
        return False
    return all(field.name in schema.names and schema.field(field.name).equals(field) for field in (ID, TEXT))


def _identities(inputs: Sequence[str], format: str) -> dict[str, str]:
    """What each input file is known by: size and modification time, or what its server says."""

    found = {}
    for file in expand_inputs(inputs, format=format).files:
        if file.identity is None:
            stat = Path(file.path).stat()
            found[file.relative_path] = f"{stat.st_size} bytes of {stat.st_mtime_ns} ns"
        else:
            found[file.relative_path] = file.identity
    return found


def _digest(files: dict[str, str]) -> str:

    return xxhash.xxh3_128_hexdigest(json.dumps(sorted(files.items())).encode())


def _is_finished(stored: Manifest, operation: Operation) -> bool:
    before = stored.operation
    return stored.complete and before is not None and before.finished and before.is_same(operation)


def _refuse(output: Path, stored: Manifest, operation: Operation) -> None:

    before = stored.operation
    reason = "" if before is None else f", which was made otherwise: {before.difference(operation)}"
    raise ArtifactError(
        f"the directory already holds a token dataset{reason}",
        where=str(output),
        hint="choose another directory, delete this one first, or use `corpuskit shards append`",
    )


def _require_same_call(call: Path, operation: Operation, files: dict[str, str]) -> None:
    """Raise unless the work that lies there is for the same call."""

    try:
        stored = json.loads(call.read_text(encoding="utf-8"))
        before = Operation(stored["operation"]["name"], stored["operation"]["options"])
        known = dict(stored["files"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        call.unlink(missing_ok=True)
        return
    if before.is_same(operation):
        return
    reason = before.difference(operation)
    if before.options.get("inputs") != operation.options["inputs"] and reason.startswith("inputs"):
        changed = sorted(path for path in {*known, *files} if known.get(path) != files.get(path))
        first = changed[0]
        what = "is new" if first not in known else "is gone" if first not in files else "has changed"
        reason = f"{len(changed)} input files are not what they were; {first} {what}"
    raise MismatchError(
        f"the unfinished work of another call lies here: {reason}",
        where=str(call.parent),
        hint=f"run the earlier command to its end, or delete {call.parent} to give it up",
    )


def give_up_work(output: Path) -> bool:
    """Remove what an interrupted `write` or `append` left to go on with; say whether there was anything.

    Raises
    ------
    LedgerError
        If one is still running.
    """

    work = output / WORK_NAME
    if not work.is_dir():
        return False
    with hold(work):
        pass
    shutil.rmtree(work)
    return True
