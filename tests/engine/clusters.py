"""A small Ray cluster of several raylets on this machine, and the means to break it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


def visible_to_workers(*directories: Path) -> None:
    """Let processes that are started later import modules of `directories`."""
    for directory in map(str, directories):
        known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if directory not in known:
            os.environ["PYTHONPATH"] = os.pathsep.join([directory, *filter(None, known)])
        if directory not in sys.path:
            sys.path.insert(0, directory)


def start_cluster(nodes: int = 2, **node):
    """A head without processors and `nodes` raylets with one each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {**NODE, "num_cpus": 0, "include_dashboard": False, **node}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes):
        cluster.add_node(**{**NODE, **node})
    return cluster
