"""Estimates of the memory of tasks grow with their inputs, and are at least what tasks need."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from dedup_helpers import random_text, write_part

from corpuskit.clean import line_memory
from corpuskit.clean.boilerplate import BoilerplateRemover
from corpuskit.dedup import memory
from corpuskit.dedup.contamination import Decontaminator
from corpuskit.dedup.exact import ExactDeduplicator
from corpuskit.dedup.lines import LineDeduplicator
from corpuskit.dedup.minhash import MinHashDeduplicator
from corpuskit.dedup.substrings import SubstringDeduplicator
from corpuskit.documents import document_batch
from corpuskit.jobs import Entry, Slice, Task, Workspace

BASE = Task.memory_bytes


GROWING = {
    "bucket": lambda n: memory.bucket_memory(n, 5 * n),
    "pair": lambda n: memory.pair_memory(n, 3 * n, n),
    "cluster": lambda n: memory.cluster_memory(n, 3 * n, n),
    "text": lambda n: memory.text_memory(n, n),
    "measure": lambda n: memory.measure_memory(1 << 40, n, n),
    "removal": lambda n: memory.removal_memory(n, n),
    "hash": lambda n: memory.hash_memory(n, 4),
    "anchor": lambda n: memory.anchor_memory(n, 50),
    "repeated": lambda n: memory.repeated_memory(n, 3),
    "window": lambda n: memory.window_memory(n, 1 << 40, n, 1 << 40),
    "first": lambda n: memory.first_memory(n, 3),
    "span": memory.span_memory,
    "source": lambda n: memory.source_memory(n, n),
    "comparison": lambda n: memory.comparison_memory(n, n, n),
    "cap": memory.cap_memory,
    "cut": lambda n: memory.cut_memory(n, n),
    "evaluation": memory.evaluation_memory,
    "matching": memory.matching_memory,
    "count": lambda n: line_memory.count_memory(n, 10, 1 << 40),
    "decide": lambda n: line_memory.decide_memory(n, 16, 1 << 40, n),
    "apply": lambda n: line_memory.apply_memory(n, 10, n),
}


@pytest.mark.parametrize("name", GROWING)
def test_an_estimate_grows_with_its_inputs(name):
    sizes = [0, 1, 1000, 10**6, 10**9, 10**12]
    estimates = [GROWING[name](n) for n in sizes]
    assert estimates == sorted(estimates) and estimates[0] == BASE
    assert estimates[-1] > 1000 * estimates[2] - 1000 * BASE
    assert all(isinstance(estimate, int) for estimate in estimates)


def test_limits_bound_estimates():
    assert line_memory.count_memory(10**12, 1, 1 << 20) == BASE + (110 << 20)
    assert line_memory.decide_memory(10**12, 16, 1 << 20) == BASE + (250 << 20)
    assert memory.measure_memory(1 << 20, 10**12, 0) == BASE + (6 << 20)
    assert memory.hash_memory(10**9, 100) == BASE + 600 * 10**7
    assert memory.bucket_memory(10, 10**12) == memory.bucket_memory(10, 20)
    assert memory.cluster_memory(10**9, 1000, 0) == memory.cluster_memory(10**9, 10**3, 0)


FOOTER = "本站内容均由网友上传，版权归原作者所有，转载请注明出处和链接，谢谢合作。"


def parts(directory: Path, documents: int) -> tuple[Slice, ...]:
    """Three document parts of pages with a footer, in which every text stands twice."""
    made = []
    for part in range(3):
        rng = random.Random(part)
        texts = [random_text(rng, 90) for _ in range(documents // 2)] * 2
        footed = [f"{text}\n{FOOTER}" for text in texts]
        ids = [f"{part}-{row}" for row in range(len(texts))]
        batch = document_batch(ids, footed, {"url": ["https://example.org/a"] * len(ids)})
        made.append(write_part(directory / f"part-{part}.arrow", [batch]))
    return tuple(made)


JOBS = {
    "near": MinHashDeduplicator(),
    "exact": ExactDeduplicator(),
    "lines": LineDeduplicator(),
    "substrings": SubstringDeduplicator(),
    "boilerplate": BoilerplateRemover(),
}
CONSTANT = {"signatures", "hashes", "report"}
"""Phases whose tasks take a part batch by batch and hold some numbers of each document, or a short report."""


@pytest.mark.parametrize("name", JOBS)
def test_plans_say_how_much_their_tasks_need(tmp_path, name):
    def planned(documents: int) -> dict[str, int]:
        directory = tmp_path / str(documents)
        directory.mkdir()
        job = JOBS[name].job(parts(directory, documents))
        done: dict = {}
        estimates = {}
        for phase in job.phases:
            tasks = job.plan(phase, done)
            done[phase] = []
            for task in tasks:
                place = directory / "work" / phase
                work = Workspace(place, place / f"{task.name}.checkpoint", "key", task.name)
                done[phase].append(Entry(task.name, "key", task.function(task, work)))
            if tasks:
                estimates[phase] = sum(task.memory_bytes - BASE for task in tasks)
        return estimates

    small, large = planned(20), planned(80)
    assert small.keys() == large.keys()
    for phase, estimate in large.items():
        if phase in CONSTANT:
            assert estimate == 0
        else:
            assert estimate >= small[phase] >= 0
    growing = {phase for phase in large if large[phase] > small[phase]}
    expected = {
        "near": {"candidates", "pairs", "texts", "verify", "clusters", "apply"},
        "exact": {"decide", "apply"},
        "lines": {"count", "decide", "apply"},
        "substrings": {"anchors", "repeated", "windows", "verify", "cap", "apply"},
        "boilerplate": {"count", "decide"},  # one footer goes, of however many documents
    }
    assert growing >= expected[name]


def test_an_estimate_for_evaluation_sets_follows_their_size(tmp_path):
    (tmp_path / "set.txt").write_text("中华人民共和国各民族一律平等。\n" * 100, encoding="utf-8")
    job = Decontaminator().job((), tmp_path / "set.txt")
    (task,) = job.plan("index", {})
    assert task.memory_bytes == memory.evaluation_memory((tmp_path / "set.txt").stat().st_size) > BASE


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc to forget a peak")
def test_no_task_needs_more_than_its_estimate():
    """On 400,000 rows of the worst kind; 16 MiB for buffers that do not depend on them."""
    script = Path(__file__).with_name("task_growth.py")
    done = subprocess.run([sys.executable, str(script), "400000"], check=True, capture_output=True)
    found = json.loads(done.stdout)
    assert len(found) >= 10
    for name, (need, estimate) in found.items():
        assert 0 < need <= estimate + (16 << 20), name
