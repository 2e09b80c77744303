"""Token shards: write documents as memory-mappable token ids, read and load them for training.

A token dataset is a directory with `dataset.json` and Arrow IPC files; see `manifest` for what it
promises, `writer`, `publishing` and `job` for how it is made, `merging`, `rewriting` and `repairing` for
what can be done with it, `reader`, `windows`, `order` and `loader` for how samples come out of it.
Nothing here imports torch until a torch loader is asked for.
"""

from corpuskit.shards.cache import CacheConfig
from corpuskit.shards.exchange import (
    MDS,
    Exported,
    Imported,
    LlmC,
    Megatron,
    NanoGPT,
    Nanoset,
    Parquet,
    export,
    import_tokens,
)
from corpuskit.shards.interop import to_huggingface
from corpuskit.shards.job import ShardsJob, publish, publish_appended
from corpuskit.shards.loader import Loader
from corpuskit.shards.manifest import Manifest, Operation, info
from corpuskit.shards.merging import MergeResult, merge
from corpuskit.shards.mixture import Mixture, Stages, mixture_rates
from corpuskit.shards.packing import PackedSequences, PackingStatistics
from corpuskit.shards.previews import DocumentPreview, preview
from corpuskit.shards.reader import Document, TokenDataset
from corpuskit.shards.reader import open_dataset as open
from corpuskit.shards.repairing import LostShard, RepairResult, repair
from corpuskit.shards.rewriting import SplitResult, reshard, split
from corpuskit.shards.statistics import TokenStatistics, token_statistics
from corpuskit.shards.verification import Problem, Report, verify
from corpuskit.shards.verify_job import VerifyJob
from corpuskit.shards.windows import Windows
from corpuskit.shards.writer import Writer, append, write

__all__ = [
    "MDS",
    "CacheConfig",
    "Document",
    "DocumentPreview",
    "Exported",
    "Imported",
    "LlmC",
    "Loader",
    "LostShard",
    "Manifest",
    "Megatron",
    "MergeResult",
    "Mixture",
    "NanoGPT",
    "Nanoset",
    "Operation",
    "PackedSequences",
    "PackingStatistics",
    "Parquet",
    "Problem",
    "RepairResult",
    "Report",
    "ShardsJob",
    "SplitResult",
    "Stages",
    "TokenDataset",
    "TokenStatistics",
    "VerifyJob",
    "Windows",
    "Writer",
    "append",
    "export",
    "import_tokens",
    "info",
    "merge",
    "mixture_rates",
    "open",
    "preview",
    "publish",
    "publish_appended",
    "repair",
    "reshard",
    "split",
    "to_huggingface",
    "token_statistics",
    "verify",
    "write",
]
