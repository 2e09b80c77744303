"""A token dataset verified by an engine's workers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from corpuskit.engine import Engine, Local, run
from corpuskit.engine.protocol import Observer
from corpuskit.ingest.remote import is_url, local_path
from corpuskit.shards import Report, VerifyJob

_BYTES_A_WORKER = 256 << 20
"""Reading so much takes about as long as starting a worker process."""


def verify_on(dataset: str, engine: Engine, observer: Observer | None = None) -> Report:
    """What `corpuskit.shards.verify` finds, the shards shared out among an engine's workers.

    Parameters
    ----------
    dataset : str
        A directory that all workers see, or a URL.
    engine : Engine
        Of the local one no more workers are started than there is work for.
    observer : Observer, optional

    Raises
    ------
    ArtifactError
        Only if there is no dataset at all.
    InputError, ResourceError
        As `corpuskit.shards.verify`.
    """
    address = local_path(dataset) if is_url(dataset) else dataset
    job = VerifyJob(dataset if address is None else str(Path(address).absolute()))
    tasks = job.plan("shards", {})
    if isinstance(engine, Local):
        size = sum(task.input_bytes for task in tasks)
        engine = Local(min(engine.workers, 1 + size // _BYTES_A_WORKER))
    with tempfile.TemporaryDirectory(prefix="corpuskit-verify-") as ledger:
        result = run(job, ledger, engine=engine, observer=observer)
    return job.report(result.entries["shards"])
