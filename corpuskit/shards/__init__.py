"""Token shards: write documents as memory-mappable token ids, read and load them for training.

A token dataset is a directory with `dataset.json` and Arrow IPC files; see `manifest` for what it
promises, `writer` and `job` for how it is made, `reader`, `windows`, `order` and `loader` for how
samples come out of it. Nothing here imports torch until a torch loader is asked for.
"""

from corpuskit.shards.cache import CacheConfig
from corpuskit.shards.interop import to_huggingface
from corpuskit.shards.job import ShardsJob, publish
from corpuskit.shards.loader import Loader
from corpuskit.shards.manifest import Manifest, info
from corpuskit.shards.mixture import Mixture, Stages, mixture_rates
from corpuskit.shards.packing import PackedSequences, PackingStatistics
from corpuskit.shards.reader import Document, TokenDataset
from corpuskit.shards.reader import open_dataset as open
from corpuskit.shards.verification import Problem, Report, verify
from corpuskit.shards.windows import Windows
from corpuskit.shards.writer import Writer

__all__ = [
    "CacheConfig",
    "Document",
    "Loader",
    "Manifest",
    "Mixture",
    "PackedSequences",
    "PackingStatistics",
    "Problem",
    "Report",
    "ShardsJob",
    "Stages",
    "TokenDataset",
    "Windows",
    "Writer",
    "info",
    "mixture_rates",
    "open",
    "publish",
    "to_huggingface",
    "verify",
]
