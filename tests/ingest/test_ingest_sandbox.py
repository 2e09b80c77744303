"""No page hangs or kills the run, and what the clock decided once is decided for good."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

import corpuskit as ck
from corpuskit.documents import document_id
from corpuskit.errors import ResourceError
from corpuskit.ingest import IngestJob, ReadOptions, sandbox
from corpuskit.ingest.http import BodyError
from corpuskit.ingest.sandbox import Failure, Sandbox, limits_of
from corpuskit.ingest.web import PageRequest, PageText
from corpuskit.jobs import Workspace

HERE = str(Path(__file__).parent)
FAST = ReadOptions(max_page_seconds=0.2)


@pytest.fixture
def hostile(monkeypatch):
    """Pages run through the functions of `hostile.py` in this process's sandboxes."""
    monkeypatch.syspath_prepend(HERE)
    sandbox.close_idle()
    monkeypatch.setattr(sandbox, "PAGE_FUNCTION", "hostile:page_text")
    yield "hostile:page_text"
    sandbox.close_idle()


def page(build, number: int, poison: str = "") -> PageRequest:
    return PageRequest(build.page(number).replace("标题", f"标题{poison}").encode(), "text/html")


def results(runner, requests, options=FAST):
    runner.submit(requests, limits_of(options, 1 << 24))
    return runner.results()


@pytest.mark.parametrize(
    ("poison", "reason", "detail"),
    [
        ("HANG", "ingest/timed-out", "more than 0.2 s"),
        ("SLEEP", "ingest/timed-out", "more than 0.2 s"),
        ("SEGFAULT", "ingest/killed-worker", "SIGSEGV"),
        ("KILL", "ingest/killed-worker", "SIGKILL"),
        ("EXIT", "ingest/killed-worker", "exit code 3"),
        ("MEMORY", "ingest/killed-worker", "more than 1024 MiB of memory"),
    ],
)
def test_a_page_that_ends_its_process_is_named_and_costs_only_itself(build, hostile, poison, reason, detail):
    runner = Sandbox(hostile, memory_bytes=1 << 30)
    found = results(runner, [page(build, 0), page(build, 1, poison), page(build, 2)])
    runner.close()
    assert isinstance(found[0], PageText) and isinstance(found[2], PageText)
    assert isinstance(found[1], Failure)
    assert found[1].reason == reason and detail in found[1].detail


def test_a_page_that_was_only_there_when_its_process_died_is_kept(build, hostile, tmp_path, monkeypatch):
    monkeypatch.setenv("CORPUSKIT_TEST_MARKER", str(tmp_path / "died"))
    runner = Sandbox(hostile)
    found = results(runner, [page(build, 0), page(build, 1, "DIE ONCE"), page(build, 2)])
    runner.close()
    assert (tmp_path / "died").exists()
    assert all(isinstance(result, PageText) for result in found)


def test_the_sandbox_gives_what_the_function_gives(build):
    from corpuskit.ingest.web import page_text

    limits = limits_of(FAST, 1 << 24)
    requests = [page(build, number) for number in range(40)] + [PageRequest(b"\x89PNG", "")]
    expected = []
    for request in requests:
        try:
            expected.append(page_text(request, limits))
        except BodyError as error:
            expected.append((error.reason, error.detail))
    with sandbox.borrow() as runner:
        for _ in range(3):
            found = results(runner, requests)
            assert [(r.reason, r.detail) if isinstance(r, BodyError) else r for r in found] == expected


def test_bodies_larger_than_a_pipe_pass(build, hostile):
    body = build.page(0).encode() + b"<!--" + b"x" * 9_000_000 + b"-->"
    with sandbox.borrow() as runner:
        first, second = results(runner, [PageRequest(body, "text/html"), page(build, 1)])
    assert (first.title, second.title) == ("标题0", "标题1")


def test_a_child_is_kept_for_the_next_reader_and_ends_with_its_parent(build, hostile):
    sandbox.close_idle()
    with sandbox.borrow() as runner:
        results(runner, [page(build, 0)])
        child = runner._child.process
    with sandbox.borrow() as again:
        results(again, [page(build, 1)])
        assert again._child.process is child
    sandbox.close_idle()
    assert child.returncode is not None


def test_an_abandoned_batch_does_not_reach_the_next_reader(build, hostile):
    with sandbox.borrow() as runner:
        runner.submit([page(build, 7)] * 3, limits_of(FAST, 1 << 24))
    with sandbox.borrow() as runner:
        (found,) = results(runner, [page(build, 1)])
    assert found.title == "标题1"


def test_a_fork_does_not_use_its_parents_child(build, hostile):
    with sandbox.borrow() as runner:
        results(runner, [page(build, 0)])
    (idle,) = sandbox._idle
    idle.owner = -1  # as it would be after a fork
    with sandbox.borrow() as other:
        assert other is not idle
    idle.owner = os.getpid()
    idle.close()


def test_a_child_that_cannot_start_is_a_clear_error(build, capfd):
    runner = Sandbox("no_such_module:page_text")
    with pytest.raises(ResourceError, match="did not start"):
        results(runner, [page(build, 0)])


# In a run


def corpus(root, build, poison):
    root.mkdir()
    records = build.pages(40)
    records[5] = build.response(build.page(5).replace("标题", poison).encode())
    (root / "a.warc").write_bytes(b"".join(records))
    (root / "b.html").write_text(build.page(50).replace("标题", poison), encoding="utf-8")
    (root / "c.html").write_text(build.page(51), encoding="utf-8")
    return sum(map(len, records[:5]))


def test_a_run_quarantines_hostile_pages_by_name_and_says_so(build, hostile, tmp_path):
    offset = corpus(tmp_path / "in", build, "SEGFAULT")
    result = ck.run(IngestJob((str(tmp_path / "in"),), options=FAST), tmp_path / "out")
    assert result.tally.documents_in == 42 and result.tally.kept == 40
    assert result.tally.quarantined == {"ingest/killed-worker": 2}
    lines = [
        json.loads(line)
        for o in result.outputs("quarantine")
        for line in Path(o.path).read_text().splitlines()
    ]
    assert {(Path(line["path"]).name, line["offset"]) for line in lines} == {
        ("a.warc", offset),
        ("b.html", 0),
    }
    (entry,) = result.entries["documents"]
    verdicts = entry.outcome.metrics["verdicts"]
    assert {verdict["id"] for verdict in verdicts} == {
        document_id("a.warc", offset),
        document_id("b.html", 0),
    }


def test_read_survives_hostile_pages_too(build, hostile, tmp_path):
    corpus(tmp_path / "in", build, "KILL")
    items = []
    batches = ck.read(tmp_path / "in", options=FAST, on_quarantine=items.append)
    assert sum(batch.num_rows for batch in batches) == 40
    assert [item.reason for item in items] == ["ingest/killed-worker"] * 2


def ingest(job, directory):
    (task,) = job.plan("documents", {})
    workspace = Workspace(directory, directory / "ledger" / "00000.parts.json", "key", task.name)
    outcome = task.function(task, workspace)
    return [(output.kind, output.rows, output.checksum) for output in outcome.outputs], outcome


def test_a_verdict_is_replayed_and_not_judged_again(build, hostile, tmp_path, monkeypatch):
    corpus(tmp_path / "in", build, "KILL")
    job = IngestJob((str(tmp_path / "in"),), options=FAST)
    first, outcome = ingest(job, tmp_path / "out")
    # The fault is mended, or the machine is faster now; under the same key nothing may change.
    monkeypatch.setattr(sandbox, "PAGE_FUNCTION", "hostile:mended_page_text")
    again, replayed = ingest(job, tmp_path / "out")
    assert again == first and replayed == outcome
    fresh, _ = ingest(job, tmp_path / "elsewhere")
    assert fresh != first


def test_a_verdict_is_on_disk_before_anything_relies_on_it(build, hostile, tmp_path, monkeypatch):
    corpus(tmp_path / "in", build, "KILL")
    job = IngestJob(
        (str(tmp_path / "in"),), options=ReadOptions(max_page_seconds=0.2, batch_rows=2), part_bytes=1
    )
    whole, _ = ingest(job, tmp_path / "whole")

    class Stop(BaseException):
        pass

    published = Workspace.save_checkpoint

    def stop_after_the_verdict(self, parts):
        published(self, parts)
        if sum(part["tally"]["documents_in"] for part in parts) >= 6:
            raise Stop

    monkeypatch.setattr(Workspace, "save_checkpoint", stop_after_the_verdict)
    with pytest.raises(Stop):
        ingest(job, tmp_path / "out")
    monkeypatch.setattr(Workspace, "save_checkpoint", published)
    monkeypatch.setattr(sandbox, "PAGE_FUNCTION", "hostile:mended_page_text")
    # The record in the WARC had its verdict; the HTML file had not been read and is judged now.
    resumed, outcome = ingest(job, tmp_path / "out")
    assert outcome.tally.quarantined == {"ingest/killed-worker": 1}
    assert [o for o in resumed if o[0] == "quarantine"] == [o for o in whole if o[0] == "quarantine"][:1]


def test_a_committed_task_that_lost_a_file_is_made_again_with_its_verdicts(
    build, hostile, tmp_path, monkeypatch
):
    corpus(tmp_path / "in", build, "KILL")
    job = IngestJob((str(tmp_path / "in"),), options=FAST)
    first = ck.run(job, tmp_path / "out")
    Path(first.outputs("kept")[0].path).unlink()
    monkeypatch.setattr(sandbox, "PAGE_FUNCTION", "hostile:mended_page_text")
    second = ck.run(job, tmp_path / "out")
    assert second.tasks_run == 1
    assert [o.checksum for o in second.outputs("kept")] == [o.checksum for o in first.outputs("kept")]
    assert second.tally == first.tally


def test_verdicts_of_another_key_are_not_replayed(tmp_path):
    one = Workspace(tmp_path, tmp_path / "00000.parts.json", "one", "00000")
    one.save_verdicts({"id": {"path": "a", "offset": 0, "reason": "r", "detail": "d"}})
    assert one.load_verdicts()
    assert Workspace(tmp_path, tmp_path / "00000.parts.json", "two", "00000").load_verdicts() == {}
    one.verdicts_path.write_text("{damaged")
    assert one.load_verdicts() == {}


def test_a_script_without_a_main_guard_can_read_pages(build, tmp_path):
    import subprocess

    (tmp_path / "a.warc").write_bytes(b"".join(build.pages(2)))
    script = tmp_path / "script.py"
    script.write_text("import corpuskit as ck\nprint(sum(b.num_rows for b in ck.read('a.warc')))\n")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2"


def test_a_child_ends_when_its_parent_is_killed(build, tmp_path):
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\n"
        "from corpuskit.ingest import sandbox, ReadOptions\n"
        "from corpuskit.ingest.web import PageRequest\n"
        f"import sys; sys.path.insert(0, {HERE!r})\n"
        "runner = sandbox.Sandbox('hostile:page_text')\n"
        "runner.submit([PageRequest(b'<p>x</p>', 'text/html')], sandbox.limits_of(ReadOptions(), 1 << 20))\n"
        "runner.results()\n"
        "print(runner._child.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the child lives on")


def test_threads_read_side_by_side(build, hostile, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    paths = []
    for name in "abc":
        path = tmp_path / f"{name}.warc"
        path.write_bytes(
            b"".join(build.response(build.page(i).replace("标题", name).encode()) for i in range(70))
        )
        paths.append(path)

    def titles(path):
        return [title for batch in ck.read(path) for title in batch.column("title").to_pylist()]

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(titles, paths))
    assert found == [[f"{name}{i}" for i in range(70)] for name in "abc"]


def test_a_child_that_died_while_idle_is_replaced(build, hostile):
    with sandbox.borrow() as runner:
        results(runner, [page(build, 0)])
        child = runner._child.process
    child.kill()
    child.wait()
    with sandbox.borrow() as runner:
        assert [r.title for r in results(runner, [page(build, 1), page(build, 2)])] == ["标题1", "标题2"]
