"""Lines that a site shares: what goes, from where, alike for any workers and memory, all of it counted."""

import json
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter, defaultdict
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from corpuskit.clean.boilerplate import BoilerplateRemover, apply_task
from corpuskit.clean.linecounts import Counts, RunWriter, added_up, concat, in_steps, read_run
from corpuskit.clean.site_lines import site_hashes, sites_of
from corpuskit.documents import document_batch
from corpuskit.engine import run
from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.files import checksum
from corpuskit.jobs import Entry, Slice, Workspace

SMALL = BoilerplateRemover(min_site_documents=3, min_site_share=0.5, min_corpus_documents=None, partitions=3)


def batch_of(texts: list[str], sites: list[str], first: int = 0) -> pa.RecordBatch:
    ids = [f"{first + row:04d}" for row in range(len(texts))]
    return document_batch(ids, texts, {"url": [f"http://www.{site}/{i}.html" for i, site in zip(ids, sites)]})


def merged(runs, partition, partitions, max_rows):
    """The rows of one partition of all runs, added up, in ascending pieces."""
    views = [read_run(piece, partition) for piece in runs]
    for parts in in_steps(views, partition, partitions, max_rows):
        yield added_up(concat(parts))


def kept_texts(texts: list[str], sites: list[str], remover: BoilerplateRemover = SMALL) -> list[str]:
    results = remover.remove([batch_of(texts, sites)])
    return [text for kept, _ in results for text in kept.column("text").to_pylist()]


def write_part(path: Path, batches: list[pa.RecordBatch]) -> Slice:
    with ipc.new_file(str(path), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return Slice(str(path), relative_path=path.name, identity=checksum(path))


def body(number: int) -> str:
    rng = random.Random(number)
    return "\n".join("".join(chr(rng.randrange(0x4E00, 0x5E00)) for _ in range(40)) + "。" for _ in range(3))


def corpus(num_documents: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Pages of three sites, each with its header and footer, one with a notice that all sites have."""
    rng = random.Random(seed)
    sites = [rng.choice(["a.cn", "b.cn", "c.com.cn"]) for _ in range(num_documents)]
    texts = []
    for number, site in enumerate(sites):
        footer = [f"{site} 版权所有"] if rng.random() < 0.9 else []
        notice = ["本站谢绝转载"] if rng.random() < 0.8 else []
        texts.append("\n".join([f"首页 > {site} > 新闻", body(number), *footer, *notice]))
    return texts, sites


def test_a_line_goes_from_the_site_that_shares_it_and_stays_elsewhere():
    footer = "返回 栏目首页"
    texts = [f"{body(i)}\n{footer}" for i in range(4)]
    sites = ["a.cn", "a.cn", "a.cn", "b.cn"]
    assert kept_texts(texts, sites) == [body(0), body(1), body(2), texts[3]]


def test_one_document_fewer_and_the_line_stays():
    texts = [f"{body(i)}\n返回栏目首页" for i in range(2)] + [body(2)]
    assert kept_texts(texts, ["a.cn"] * 3) == texts


def test_a_line_that_a_small_share_of_a_large_site_has_stays():
    texts = [f"{body(i)}\n图为活动现场" if i < 3 else body(i) for i in range(7)]
    assert kept_texts(texts, ["a.cn"] * 7) == texts
    assert kept_texts(texts[:6], ["a.cn"] * 6) == [body(i) for i in range(6)]


def test_a_refrain_within_one_document_counts_once():
    texts = [f"{body(0)}\n" + "山歌好比春江水\n" * 9, body(1), body(2)]
    assert kept_texts(texts, ["a.cn"] * 3) == texts


def test_lines_too_long_or_too_short_stay():
    long, short = "长" * 101, "短"
    texts = [f"{body(i)}\n{long}\n{short}\n{'宽' * 100}" for i in range(3)]
    assert kept_texts(texts, ["a.cn"] * 3) == [f"{body(i)}\n{long}\n{short}" for i in range(3)]


def test_spacing_and_width_do_not_count_and_digits_only_if_asked():
    texts = [f"{body(i)}\n浏览次数{mark}{i}" for i, mark in enumerate([":", "：", " : "])]
    assert kept_texts(texts, ["a.cn"] * 3) == texts
    assert kept_texts(texts, ["a.cn"] * 3, replace(SMALL, fold_digits=True)) == [body(i) for i in range(3)]


def test_a_line_of_the_whole_corpus_goes_everywhere():
    remover = replace(SMALL, min_corpus_documents=4, min_corpus_share=0.5)
    texts = [f"{body(i)}\n本站谢绝转载" for i in range(4)]
    assert kept_texts(texts, list("abcd"), remover) == [body(i) for i in range(4)]
    assert kept_texts(texts[:3], list("abc"), remover) == texts[:3]


def test_a_document_that_would_be_gutted_is_dropped_or_left():
    texts = ["同一个页脚", *(f"{body(i)}\n同一个页脚" for i in range(3))]
    (result,) = SMALL.remove([batch_of(texts, ["a.cn"] * 4)])
    assert result.kept.column("text").to_pylist() == [body(i) for i in range(3)]
    (row,) = result.dropped.to_pylist()
    assert (row["reason"], row["value"], row["threshold"]) == ("clean/boilerplate", 1.0, 0.7)
    assert row["text"] == "同一个页脚" and row["document"]["url"].startswith("http")
    (result,) = replace(SMALL, over="keep").remove([batch_of(texts, ["a.cn"] * 4)])
    assert result.kept.column("text").to_pylist()[0] == "同一个页脚" and result.dropped is None


def test_the_site_is_the_host_else_the_source():
    urls = ["http://www.A.cn/x", "https://u:p@b.cn:8080/?q=http://c.cn", "HTTPS://d.cn#x", "没有", None]
    batch = document_batch(list("abcde"), [""] * 5, {"url": urls, "source": ["s"] * 4 + [None]})
    assert sites_of(batch).to_pylist() == ["a.cn", "b.cn", "d.cn", "s", ""]
    hashes = site_hashes(batch)
    assert len(set(hashes.tolist())) == 5 and hashes[4] == 0
    assert sites_of(document_batch(["a"], [""])).to_pylist() == [""]


def test_documents_without_a_site_share_nothing():
    texts = [f"{body(i)}\n同一个页脚" for i in range(4)]
    (result,) = SMALL.remove([document_batch(list("abcd"), texts)])
    assert result.kept.column("text").to_pylist() == texts


WORDS = st.sampled_from(
    ["首页导航", "友情链接", "版权所有", "上一篇", "甲", "", "正文一", "正文二", "正文三"]
)
PAGES = st.lists(
    st.tuples(st.lists(WORDS, max_size=6).map("\n".join), st.sampled_from(["a.cn", "b.cn", "c.cn"])),
    max_size=25,
)


@given(PAGES, st.integers(2, 4), st.sampled_from([0.0, 0.3, 0.6]), st.sampled_from([None, 4, 8]))
def test_what_goes_equals_a_plain_count(pages, minimum, share, corpus_minimum):
    remover = BoilerplateRemover(
        minimum, share, corpus_minimum, 0.0, max_removed_share=1.0, memory_lines=5, partitions=2
    )
    by_site: dict[tuple[str, str], int] = Counter()
    everywhere: dict[str, int] = Counter()
    size = Counter(site for _, site in pages)
    for text, site in pages:
        for line in set(text.split("\n")):
            if len(line) >= 2:
                by_site[line, site] += 1
                everywhere[line] += 1

    def goes(line: str, site: str) -> bool:
        if corpus_minimum is not None and everywhere[line] >= corpus_minimum:
            return True
        return by_site[line, site] >= max(minimum, ceil(share * size[site] - 1e-9))

    kept = kept_texts([text for text, _ in pages], [site for _, site in pages], remover) if pages else []
    for (text, site), result in zip(pages, kept):
        expected = [line for line in text.split("\n") if line and not goes(line, site)]
        assert [line for line in result.split("\n") if line] == expected


def inputs(
    tmp_path: Path, num_documents: int = 120, per_part: int = 30
) -> tuple[list[Slice], list[str], list[str]]:
    texts, sites = corpus(num_documents)
    slices = []
    for part, first in enumerate(range(0, num_documents, per_part)):
        batches = [
            batch_of(texts[i : i + 10], sites[i : i + 10], i) for i in range(first, first + per_part, 10)
        ]
        slices.append(write_part(tmp_path / f"{part}.arrow", batches))
    return slices, texts, sites


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "ledger" not in path.parts
    }


REMOVER = BoilerplateRemover(
    min_site_documents=5, min_corpus_documents=60, min_corpus_share=0.5, partitions=3, memory_lines=64
)


def test_the_order_of_tasks_changes_no_byte(tmp_path):
    slices, *_ = inputs(tmp_path)
    job = REMOVER.job(slices, part_bytes=2000)
    ordered = run(job, tmp_path / "ordered")
    for seed in range(3):
        done: dict[str, list[Entry]] = {}
        for phase in job.phases:
            tasks = job.plan(phase, done)
            entries = {}
            for task in random.Random(seed).sample(tasks, len(tasks)):
                place = tmp_path / str(seed) / phase
                workspace = Workspace(place, place / f"{task.name}.checkpoint", "k", task.name)
                entries[task.index] = Entry(task.name, "k", task.function(task, workspace))
            done[phase] = [entries[index] for index in sorted(entries)]
            expected = [o.checksum for entry in ordered.entries[phase] for o in entry.outcome.outputs]
            assert [o.checksum for entry in done[phase] for o in entry.outcome.outputs] == expected


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path, workers):
    slices, *_ = inputs(tmp_path)
    job = REMOVER.job(slices, part_bytes=2000)
    alone = run(job, tmp_path / "one", workers=1)
    run(job, tmp_path / "many", workers=workers)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many")
    assert alone.tally.documents_in == 120 and alone.tally.kept == 120


def test_the_job_does_what_the_plain_call_does_and_reports_it(tmp_path):
    slices, texts, sites = inputs(tmp_path)
    result = run(REMOVER.job(slices, part_bytes=2000), tmp_path / "out")
    found = []
    for output in result.outputs("kept"):
        with ipc.open_file(output.path) as reader:
            found += reader.read_all().column("text").to_pylist()
    assert found == kept_texts(texts, sites, REMOVER) == [body(number) for number in range(120)]
    (report,) = result.outputs("report")
    rows = [json.loads(line) for line in Path(report.path).read_text(encoding="utf-8").splitlines()]
    assert rows[0]["text"] == "本站谢绝转载" and rows[0]["site"] is None
    expected = {
        line: sum(line in text.split("\n") for text in texts) for line in (row["text"] for row in rows)
    }
    assert {row["text"]: row["documents"] for row in rows} == expected
    assert all(row["occurrences"] == row["documents"] for row in rows)
    assert {row["site"] for row in rows[1:]} == {"a.cn", "b.cn", "c.com.cn"} and len(rows) == 7
    counts: dict[str, int] = defaultdict(int)
    for entry in result.entries["apply"]:
        for name, count in entry.outcome.metrics["counts"].items():
            counts[name] += count
    assert counts["lines_removed"] == sum(row["occurrences"] for row in rows)
    assert counts["documents_changed"] == 120 and counts["documents_left"] == 0


def test_a_report_of_few_lines_has_the_most_common(tmp_path):
    slices, *_ = inputs(tmp_path)
    result = run(replace(REMOVER, report_lines=1).job(slices), tmp_path / "out")
    (report,) = result.outputs("report")
    assert json.loads(Path(report.path).read_text(encoding="utf-8"))["text"] == "本站谢绝转载"


def test_a_task_killed_at_any_batch_continues_there(tmp_path):
    slices, *_ = inputs(tmp_path, 60, 60)
    job = REMOVER.job(slices, part_bytes=2000)
    done: dict = run(job, tmp_path / "whole").entries
    (task,) = job.plan("apply", done)
    whole = done["apply"][0].outcome
    assert len(whole.outputs) > 4

    class Killed(Exception):
        pass

    for kill in range(1, 7):
        place = tmp_path / f"killed-{kill}"
        left = iter(range(kill - 1))

        def stop(_, left=left):
            if next(left, None) is None:
                raise Killed

        with pytest.raises(Killed):
            apply_task(task, Workspace(place, place / "c", "k", task.name, stop))
        outcome = apply_task(task, Workspace(place, place / "c", "k", task.name))
        assert [o.checksum for o in outcome.outputs] == [o.checksum for o in whole.outputs]
        assert outcome.metrics == whole.metrics and outcome.tally == whole.tally


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1])))
from test_boilerplate import REMOVER, inputs
from corpuskit.engine import run
if __name__ == "__main__":
    root = Path(sys.argv[2])
    slices, *_ = inputs(root, 1200, 60)
    print("ready", flush=True)
    run(REMOVER.job(slices, part_bytes=20_000), root / sys.argv[3])
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_the_same_bytes(tmp_path):
    def start(name: str) -> subprocess.Popen:
        command = [sys.executable, "-c", RUN, str(Path(__file__).parent), str(tmp_path), name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    start("warm-up").wait()
    started = time.monotonic()
    assert start("whole").wait() == 0
    seconds = time.monotonic() - started
    moments, killed = random.Random(0), 0
    for attempt in range(6):
        process = start(f"killed-{attempt}")
        try:
            process.wait(timeout=moments.uniform(0.02, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        assert start(f"killed-{attempt}").wait() == 0
        assert files_of(tmp_path / f"killed-{attempt}") == files_of(tmp_path / "whole")
    assert killed > 2


def test_nothing_in_nothing_out(tmp_path):
    assert run(REMOVER.job([]), tmp_path / "none").tally.documents_in == 0
    empty = write_part(tmp_path / "e.arrow", [document_batch([], [], {"url": pa.array([], pa.string())})])
    result = run(REMOVER.job([empty]), tmp_path / "empty")
    assert result.tally.documents_in == 0 and result.outputs("report")[0].rows == 0


ROWS = st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 5), st.integers(0, 2)), max_size=60)


@settings(max_examples=40)
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 3))
def test_runs_merge_to_the_plain_sums(tmp_path_factory, tasks, max_rows, partitions):
    directory = tmp_path_factory.mktemp("runs")
    outputs = []
    for number, rows in enumerate(tasks):
        writer = RunWriter(Workspace(directory, directory / "c", "k", f"{number:05d}"), partitions, max_rows)
        line, site = (np.array(column, np.uint64) for column in (zip(*rows) if rows else ((), ())))
        writer.add(Counts(line, site, np.ones(len(rows), np.int64)))
        outputs += writer.close()
    runs = [output.as_slice() for output in outputs]
    found = []
    for partition in range(partitions):
        for piece in merged(runs, partition, partitions, max_rows):
            found += zip(*(column.tolist() for column in piece))
    expected = Counter(row for rows in tasks for row in rows)
    assert found == [(*row, count) for row, count in sorted(expected.items())]


def test_memory_does_not_follow_the_number_of_lines(tmp_path):
    """numpy reports its arrays to tracemalloc. Four times the lines need no more memory, but for the chance
    that hash ranges of equal width hold unequally many rows (some 1 in sqrt(10,000) here)."""

    def peak(num_tasks: int) -> tuple[int, int]:
        rng = np.random.default_rng(0)
        directory = tmp_path / str(num_tasks)
        tracemalloc.start()
        outputs = []
        for number in range(num_tasks):
            writer = RunWriter(Workspace(directory, directory / "c", "k", f"{number:05d}"), 2, 20_000)
            for _ in range(10):
                line = rng.integers(0, 2**63, 5_000, np.uint64) * np.uint64(2)
                writer.add(added_up(Counts(line, np.ones(5_000, np.uint64), np.ones(5_000, np.int64))))
            outputs += writer.close()
        counting = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        runs = [output.as_slice() for output in outputs]
        rows = sum(len(piece.line) for partition in range(2) for piece in merged(runs, partition, 2, 20_000))
        merging = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert rows == num_tasks * 50_000
        return counting, merging

    few, many = peak(2), peak(8)
    assert many[0] < 1.3 * few[0] and many[1] < 1.3 * few[1]


def test_a_damaged_run_is_named(tmp_path):
    path = tmp_path / "run.arrow"
    path.write_bytes(b"no arrow")
    with pytest.raises(ArtifactError, match=r"run\.arrow"):
        list(merged([Slice(str(path))], 0, 1, 10))


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_site_documents": 1},
        {"min_site_share": 1.5},
        {"min_corpus_documents": 0},
        {"max_characters": 1},
        {"over": "x"},
        {"partitions": 0},
    ],
)
def test_impossible_values_name_the_field(wrong):
    with pytest.raises(ConfigError) as error:
        BoilerplateRemover(**wrong)
    assert error.value.where == next(iter(wrong))
