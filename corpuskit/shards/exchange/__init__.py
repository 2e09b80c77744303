"""Token datasets to and from the files of other trainers: one module a format."""

from corpuskit.shards.exchange.exporting import Exported, export
from corpuskit.shards.exchange.importing import Imported, import_tokens
from corpuskit.shards.exchange.mds import MDS
from corpuskit.shards.exchange.megatron import Megatron
from corpuskit.shards.exchange.nanogpt import LlmC, NanoGPT
from corpuskit.shards.exchange.nanoset import Nanoset
from corpuskit.shards.exchange.parquet import Parquet

__all__ = [
    "MDS",
    "Exported",
    "Imported",
    "LlmC",
    "Megatron",
    "NanoGPT",
    "Nanoset",
    "Parquet",
    "export",
    "import_tokens",
]
