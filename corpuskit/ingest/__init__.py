"""Input files to batches of documents: WARC, HTML, JSON Lines, text, CSV, Parquet, Arrow.

One file per format; what cannot become a document goes to quarantine with its file, offset and
reason. Importing the room loads no format's library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "read": "corpuskit.ingest.reader",
    "read_slice": "corpuskit.ingest.reader",
    "ReadOptions": "corpuskit.ingest.chunks",
    "Chunk": "corpuskit.ingest.chunks",
    "DEFAULT_TASK_BYTES": "corpuskit.ingest.job",
    "IngestJob": "corpuskit.ingest.job",
    "InputFile": "corpuskit.ingest.inputs",
    "Inputs": "corpuskit.ingest.inputs",
    "expand_inputs": "corpuskit.ingest.inputs",
    "plan_slices": "corpuskit.ingest.inputs",
    "SplitJob": "corpuskit.ingest.split",
    "Splitter": "corpuskit.ingest.split",
}

__all__ = list(_NAMES)

if TYPE_CHECKING:
    from corpuskit.ingest.chunks import Chunk as Chunk
    from corpuskit.ingest.chunks import ReadOptions as ReadOptions
    from corpuskit.ingest.inputs import InputFile as InputFile
    from corpuskit.ingest.inputs import Inputs as Inputs
    from corpuskit.ingest.inputs import expand_inputs as expand_inputs
    from corpuskit.ingest.inputs import plan_slices as plan_slices
    from corpuskit.ingest.job import DEFAULT_TASK_BYTES as DEFAULT_TASK_BYTES
    from corpuskit.ingest.job import IngestJob as IngestJob
    from corpuskit.ingest.reader import read as read
    from corpuskit.ingest.reader import read_slice as read_slice
    from corpuskit.ingest.split import SplitJob as SplitJob
    from corpuskit.ingest.split import Splitter as Splitter


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'corpuskit.ingest' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
