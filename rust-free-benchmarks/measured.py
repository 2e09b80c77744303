"""Runs one program in a process of its own on given cores, and measures it with all its descendants.

A pipeline's memory and time lie in its workers as much as in itself, so every process of the tree counts:
it is polled ten times a second. Memory is the largest sum over the tree at any moment, once as resident
size (pages that forked processes share count in each) and once as proportional size (they count once).
Processor time is the larger of what was polled and what the system accounts to the program at its end.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

POLL_S = 0.1


@dataclass(frozen=True)
class Measured:
    """What a program printed last, as JSON, and what it took.

    Attributes
    ----------
    result : Any
    wall_s, cpu_s : float
        From start to end, imports included.
    peak_rss_bytes, peak_pss_bytes : int
        Over the whole tree; the second is 0 where the system does not tell it.
    """

    result: Any
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    peak_pss_bytes: int


def run_measured(command: Sequence[str], cores: Sequence[int]) -> Measured:
    """Run `command` on `cores` (where the system can pin) and wait for its end.

    Raises
    ------
    RuntimeError
        If it fails; with the end of what it wrote.
    """

    def pin() -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, set(cores))

    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, preexec_fn=pin)
        root = psutil.Process(process.pid)
        seconds: dict[tuple[int, float], float] = {}
        peak_rss = peak_pss = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            rss, pss = _sample(root, seconds)
            peak_rss, peak_pss = max(peak_rss, rss), max(peak_pss, pss)
            time.sleep(POLL_S)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        lines = output.read().decode("utf-8", "replace").strip().splitlines()
        if process.returncode or not lines:
            tail = errors.read().decode("utf-8", "replace")[-2_000:]
            raise RuntimeError(f"{command[1]} ended with {process.returncode}:\n{tail}")
    cpu = max(usage.ru_utime + usage.ru_stime, sum(seconds.values()))
    return Measured(json.loads(lines[-1]), wall, cpu, peak_rss, peak_pss)


def _sample(root: psutil.Process, seconds: dict[tuple[int, float], float]) -> tuple[int, int]:
    """Resident and proportional size of the tree now; processor time so far goes to `seconds`."""
    rss = pss = 0
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0, 0
    for process in tree:
        try:
            times = process.cpu_times()
            seconds[process.pid, process.create_time()] = times.user + times.system
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        rss += memory.rss
        pss += getattr(memory, "pss", 0)
    return rss, pss
