"""Peers that run in an environment of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness import own_environment

DATATROVE = ("datatrove[io,processing]==0.10.1", "spacy==3.8.18", "jieba==0.42.1", "lxml_html_clean==0.4.6")
"""The same as in `bench_clean.py`, so that both use one environment."""

DATATROVE_NAME = "datatrove 0.10.1"


def datatrove_python() -> Path | None:
    """datatrove's interpreter; None, with a word on why, where its environment cannot be made."""
    try:
        return own_environment("datatrove", DATATROVE)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"datatrove is skipped: {error}")
        return None
