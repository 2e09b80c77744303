"""Runs jobs; knows processes and clusters.

`run(job, output_dir, workers=…)` is the whole interface; `Local` is the default engine, `Ray` runs the same
tasks on a cluster.
"""

from corpuskit.engine.execute import JobResult, PendingShards, remove_work, run
from corpuskit.engine.garbage import Garbage, collect_garbage
from corpuskit.engine.holding import hold, hold_store
from corpuskit.engine.local import Local
from corpuskit.engine.objects import ObjectStore
from corpuskit.engine.protocol import Call, Engine, Observer
from corpuskit.engine.ray import Ray
from corpuskit.engine.shard import ShardOf

__all__ = [
    "Call",
    "Engine",
    "Garbage",
    "JobResult",
    "Local",
    "ObjectStore",
    "Observer",
    "PendingShards",
    "Ray",
    "ShardOf",
    "collect_garbage",
    "hold",
    "hold_store",
    "remove_work",
    "run",
]
