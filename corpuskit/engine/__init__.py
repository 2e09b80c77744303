"""Runs jobs; knows processes and clusters.

`run(job, output_dir, workers=…)` is the whole interface; `Local` is the default engine.
"""

from corpuskit.engine.execute import JobResult, PendingShards, ShardOf, hold, remove_work, run
from corpuskit.engine.local import Local
from corpuskit.engine.protocol import Call, Engine, Observer

__all__ = [
    "Call",
    "Engine",
    "JobResult",
    "Local",
    "Observer",
    "PendingShards",
    "ShardOf",
    "hold",
    "remove_work",
    "run",
]
