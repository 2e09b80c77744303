from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass

import pyarrow.compute as pc
import pytest

import corpuskit as ck
from corpuskit.documents import StepResult, dropped_rows
from corpuskit.errors import ConfigError, InputError, TaskError
from corpuskit.files import checksum
from corpuskit.ingest import IngestJob, ReadOptions
from corpuskit.jobs import Workspace
from corpuskit.parts import read_documents


@dataclass(frozen=True)
class DropShort:
    min_characters: int = 12

    def __call__(self, batch):
        lengths = pc.utf8_length(batch.column("text"))
        keep = pc.greater_equal(lengths, self.min_characters)
        bad = batch.filter(pc.invert(keep))
        values = lengths.filter(pc.invert(keep)).cast("float64")
        rows = dropped_rows(
            bad, ["test/short"] * bad.num_rows, values, [float(self.min_characters)] * bad.num_rows
        )
        return StepResult(batch.filter(keep), rows)


@dataclass(frozen=True)
class FailOn:
    text: str

    def __call__(self, batch):
        if self.text in batch.column("text").to_pylist():
            raise ValueError("cannot be handled")
        return StepResult(batch, None)


def corpus(root, build):
    root.mkdir()
    with open(root / "a.jsonl", "w", encoding="utf-8") as file:
        for index in range(300):
            file.write(
                json.dumps({"text": "文" * (index % 25), "n": index}) + "\n" + "{bad\n" * (index % 50 == 0)
            )
    (root / "b.warc.gz").write_bytes(b"".join(build.gzip_each(build.pages(7)))[:-30])
    for index in range(12):
        (root / f"c{index}.txt").write_text(f"第{index}个文件的内容在这里。", encoding="utf-8")
    return root


def job(root, **more):
    defaults = {"steps": (DropShort(),), "options": ReadOptions(batch_rows=20), "part_bytes": 2_000}
    return IngestJob((str(root),), **{**defaults, **more})


def workspace(directory, task, report=lambda count: None):
    return Workspace(directory, directory / "checkpoint.json", "key", task.name, report)


def contents(outcome):
    return [(o.kind, o.rows, o.checksum) for o in outcome.outputs]


def test_every_record_is_accounted_for(build, tmp_path):
    root = corpus(tmp_path / "in", build)
    result = ck.run(job(root), tmp_path / "out")
    tally = result.tally
    assert tally.documents_in == 300 + 6 + 7 + 12
    assert tally.quarantined == {"ingest/bad-json": 6, "ingest/truncated-record": 1}
    kept = [row for out in result.outputs("kept") for b in read_documents(out.path) for row in b.to_pylist()]
    assert len(kept) == tally.kept == len({row["id"] for row in kept})
    assert tally.dropped == {"test/short": sum(index % 25 < 12 for index in range(300))}


def test_the_result_does_not_depend_on_task_batch_or_worker(build, tmp_path):
    root = corpus(tmp_path / "in", build)
    plans = [{}, {"task_bytes": 1000}, {"options": ReadOptions(batch_rows=7)}]
    found = []
    for index, more in enumerate(plans):
        result = ck.run(job(root, **more), tmp_path / f"out{index}", workers=1 + index % 2)
        rows = [
            (row["id"], row["text"])
            for o in result.outputs("kept")
            for b in read_documents(o.path)
            for row in b.to_pylist()
        ]
        found.append((sorted(rows), result.tally))
    assert found[0] == found[1] == found[2]


class Killed(BaseException):
    pass


@dataclass
class KillAt:
    """Passes batches through until the call of this number."""

    call: int
    calls: int = 0

    def __call__(self, batch):
        if self.calls == self.call:
            raise Killed
        self.calls += 1
        return StepResult(batch, None)


def test_a_task_killed_anywhere_resumes_to_the_same_bytes(build, tmp_path):
    root = corpus(tmp_path / "in", build)

    def run(directory, last_step):
        (task,) = job(root, steps=(DropShort(), last_step), part_bytes=4_000).plan("documents", {})
        return task.function(task, workspace(directory, task))

    never = KillAt(-1)
    whole = run(tmp_path / "whole", never)
    assert len(whole.outputs) > 6 and never.calls > 10
    for call in range(0, never.calls, 2):
        directory = tmp_path / f"killed{call}"
        with pytest.raises(Killed):
            run(directory, KillAt(call))
        resumed = run(directory, never)
        assert contents(resumed) == contents(whole)
        assert resumed.tally == whole.tally
        assert all(checksum(output.path) == output.checksum for output in resumed.outputs)


def test_progress_adds_up_to_the_input(build, tmp_path):
    root = corpus(tmp_path / "in", build)
    (task,) = job(root).plan("documents", {})
    reported = []
    task.function(task, workspace(tmp_path / "out", task, reported.append))
    assert sum(reported) == task.input_bytes and min(reported) > 0 and len(reported) > 2


@pytest.mark.parametrize("limit", [1, 33, 310, 10_000])
def test_limit_stops_after_so_many_records(build, tmp_path, limit):
    root = corpus(tmp_path / "in", build)
    limited = job(root, limit=limit, task_bytes=1000)
    assert len(limited.plan("documents", {})) == 1
    assert ck.run(limited, tmp_path / "out").tally.documents_in == min(limit, 325)


def test_a_failing_step_is_named_with_its_document(build, tmp_path):
    root = corpus(tmp_path / "in", build)
    broken = IngestJob((str(root / "*.txt"),), (DropShort(2), FailOn("第7个文件的内容在这里。")))
    with pytest.raises(TaskError, match="FailOn") as caught:
        ck.run(broken, tmp_path / "out")
    ids = {row["text"]: row["id"] for batch in ck.read(root / "*.txt") for row in batch.to_pylist()}
    assert caught.value.where == f"document {ids['第7个文件的内容在这里。']}"
    assert caught.value.hint


def test_jobs_pickle_and_refuse_impossible_values(tmp_path):
    assert pickle.loads(pickle.dumps(job(tmp_path))) == job(tmp_path)
    for bad in ({"limit": 0}, {"task_bytes": 0}, {"part_bytes": -1}, {"dropped_text": "some"}):
        with pytest.raises(ConfigError) as caught:
            job(tmp_path, **bad)
        assert caught.value.where == next(iter(bad))
    with pytest.raises(InputError):
        job(tmp_path / "missing").plan("documents", {})


# corpuskit.read


def test_read_joins_small_files_and_reports_quarantine(build, tmp_path):
    root = corpus(tmp_path / "in", build)
    items = []
    batches = list(ck.read(root, on_quarantine=items.append))
    assert [b.num_rows for b in batches] == [6, 300, 12]
    assert len(items) == 7
    with pytest.warns(UserWarning, match="7 records could not become documents: ingest/bad-json 6"):
        assert sum(b.num_rows for b in ck.read(root)) == 318


def test_read_refuses_at_the_call(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        ck.read(tmp_path / "missing.jsonl")


def test_importing_the_room_loads_no_format_library():
    code = (
        "import sys, corpuskit.ingest as i; i.read; i.IngestJob;"
        "sys.exit(any(m in sys.modules for m in ('fastwarc', 'resiliparse', 'torch', 'pyarrow.parquet')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_counts_add_up_over_parts_and_interruptions(build, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    records = [
        build.response(build.page(i).encode("gb18030" if i % 3 else "utf-8"), "text/html") for i in range(60)
    ]
    (root / "a.warc").write_bytes(b"".join(records))

    def run(directory, last_step):
        options = ReadOptions(batch_rows=7)
        (task,) = IngestJob((str(root),), (last_step,), options, part_bytes=1_000).plan("documents", {})
        return task.function(task, workspace(directory, task))

    whole = run(tmp_path / "whole", KillAt(-1))
    assert whole.metrics == {"counts": {"charset gb18030": 40, "charset utf-8": 20}}
    with pytest.raises(Killed):
        run(tmp_path / "killed", KillAt(5))
    assert run(tmp_path / "killed", KillAt(-1)).metrics == whole.metrics
