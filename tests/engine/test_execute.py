import os
import sys
from pathlib import Path

import pytest
from clusters import visible_to_workers
from work import DoubleAndJoin, Processes

from corpuskit.engine import Local, Observer, PendingShards, ShardOf, hold, run
from corpuskit.errors import ConfigError, InputError, LedgerError, TaskError

visible_to_workers(Path(__file__).parent)


@pytest.fixture
def job(tmp_path):
    def make(*texts, config=0):
        paths = []
        for i, text in enumerate(texts):
            path = tmp_path / f"in{i}.txt"
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
            paths.append(str(path))
        return DoubleAndJoin(tuple(paths), config)

    return make


def joined(result):
    (output,) = result.outputs("joined")
    return Path(output.path).read_text()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_result_does_not_depend_on_workers(tmp_path, job, workers):
    result = run(job("a", "b", "c", "d"), tmp_path / "out", workers=workers)
    assert joined(result) == "aa0bb0cc0dd0"
    assert result.tally.kept == 4


def test_finished_tasks_are_skipped_and_changed_ones_are_not(tmp_path, job):
    out = tmp_path / "out"
    run(job("a", "b"), out)
    assert run(job("a", "b"), out).tasks_run == 0
    changed = run(job("a", "B"), out)
    assert (changed.tasks_run, joined(changed)) == (2, "aa0BB0")
    assert run(job("a", "B", config=1), out).tasks_run == 3


def test_a_missing_output_is_made_again_and_downstream_is_not(tmp_path, job):
    out = tmp_path / "out"
    first = run(job("a", "b"), out)
    Path(first.outputs("doubled")[0].path).unlink()
    again = run(job("a", "b"), out)
    assert again.tasks_run == 1  # the remade file has the same checksum, so the join still stands


def test_verify_notices_a_changed_byte(tmp_path, job):
    out = tmp_path / "out"
    first = run(job("a", "b"), out)
    Path(first.outputs("doubled")[0].path).write_text("xx0")
    assert run(job("a", "b"), out).tasks_run == 0
    mended = run(job("a", "b"), out, verify=True)
    assert (mended.tasks_run, joined(mended)) == (1, "aa0bb0")


def test_verify_notices_an_input_changed_behind_its_modification_time(tmp_path, job):
    out, task = tmp_path / "out", job("a", "b")
    run(task, out, verify=True)
    stat = Path(task.paths[0]).stat()
    Path(task.paths[0]).write_text("z")
    os.utime(task.paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(task, out).tasks_run == 0
    assert joined(run(task, out, verify=True)) == "zz0bb0"


def test_files_no_entry_names_are_removed(tmp_path, job):
    out = tmp_path / "out"
    run(job("a", "b", "c"), out)
    result = run(job("a", "b"), out)
    names = sorted(p.name for p in (out / "double" / "double" / "doubled").iterdir())
    assert names == ["00000-0000.txt", "00001-0000.txt"]
    assert joined(result) == "aa0bb0"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unexpected_error_names_the_task_and_keeps_the_rest(tmp_path, job, workers):
    out = tmp_path / "out"
    with pytest.raises(TaskError, match="double/double/00001") as caught:
        run(job("a", "raise"), out, workers=workers)
    assert "ValueError: an unexpected thing" in str(caught.value)
    assert "an unexpected thing" in (out / "errors.log").read_text()
    assert joined(run(job("a", "b"), out)) == "aa0bb0"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_user_error_arrives_whole(tmp_path, job, workers):
    with pytest.raises(InputError) as caught:
        run(job("user error", "b"), tmp_path / "out", workers=workers)
    assert (caught.value.what, caught.value.hint) == ("a bad line", "mend it")


def test_a_task_that_loses_a_document_fails(tmp_path, job):
    with pytest.raises(LedgerError, match="2 documents came in but 1"):
        run(job("lose", "b"), tmp_path / "out")


def test_a_worker_that_dies_once_is_replaced(tmp_path, job):
    result = run(job(f"die once:{tmp_path / 'flag'}", "b", "c"), tmp_path / "out", workers=2)
    assert result.tally.kept == 3


def test_a_task_that_kills_its_worker_twice_is_named(tmp_path, job):
    with pytest.raises(TaskError, match="died twice") as caught:
        run(job("a", "die", "c"), tmp_path / "out", workers=2)
    assert caught.value.where == "double/double/00001"


def test_slices_wait_for_each_other_and_give_the_same_result(tmp_path, job):
    out = tmp_path / "out"
    whole = joined(run(job("a", "b", "c"), tmp_path / "whole"))
    with pytest.raises(PendingShards, match="1 of 3"):
        run(job("a", "b", "c"), out, shard=ShardOf(0, 2))
    with pytest.raises(PendingShards, match="double/join"):
        run(job("a", "b", "c"), out, shard=ShardOf(1, 2))
    assert joined(run(job("a", "b", "c"), out, shard=ShardOf(0, 2))) == whole


@pytest.mark.parametrize("text", ["2/2", "x", "1", "-1/2", "1/0"])
def test_an_impossible_slice_is_refused(text):
    with pytest.raises(ConfigError):
        ShardOf.parse(text)


def test_a_second_run_on_the_same_output_is_refused(tmp_path):
    with hold(tmp_path), pytest.raises(LedgerError, match=f"process {os.getpid()}"), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


def test_slices_share_a_directory_with_each_other_and_not_with_a_plain_run(tmp_path):
    with hold(tmp_path, ShardOf(0, 2)), hold(tmp_path, ShardOf(1, 2)):
        with pytest.raises(LedgerError), hold(tmp_path, ShardOf(1, 2)):
            pass
        with pytest.raises(LedgerError), hold(tmp_path):
            pass
    with hold(tmp_path), pytest.raises(LedgerError), hold(tmp_path, ShardOf(0, 2)):
        pass


def test_progress_reaches_the_observer_from_workers(tmp_path, job):
    class Count(Observer):
        total = seen = 0

        def phase_started(self, label, tasks, skipped, input_bytes):
            self.total += input_bytes if label == "double/double" else 0

        def progress(self, input_bytes):
            self.seen += input_bytes

    observer = Count()
    run(job("aa", "bbb", "slow"), tmp_path / "out", workers=2, observer=observer)
    assert observer.seen == observer.total == 9


def test_workers_must_be_positive():
    with pytest.raises(ConfigError):
        Local(0)


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt"):
        run(DoubleAndJoin((str(tmp_path / "gone.txt"),)), tmp_path / "out")


def test_a_first_task_that_fails_leaves_its_traceback_too(tmp_path, job):
    with pytest.raises(TaskError):
        run(job("raise"), tmp_path / "new" / "out")
    assert "an unexpected thing" in (tmp_path / "new" / "out" / "errors.log").read_text()


def test_verdicts_of_a_task_stay_with_its_entry_and_go_with_it(tmp_path, job):
    out = tmp_path / "out"
    run(job("a", "b"), out)
    ledger = out / "ledger" / "double" / "double"
    for name in ("00000", "00001", "00007"):
        (ledger / f"{name}.verdicts").write_text("{}")
    run(job("a", "b"), out)
    assert sorted(path.name for path in ledger.glob("*.verdicts")) == ["00000.verdicts", "00001.verdicts"]


def test_counts_of_tasks_are_added_up_and_verdicts_listed():
    from corpuskit.engine import JobResult
    from corpuskit.jobs import Entry, Outcome

    def entry(**metrics):
        return Entry("00000", "key", Outcome((), None, metrics))

    entries = (
        entry(counts={"charset b": 2, "charset a": 1}),
        entry(verdicts=[{"id": "x"}]),
        entry(counts={"charset b": 3}),
    )
    result = JobResult("ingest", {"documents": entries}, 3, 0)
    assert list(result.counts.items()) == [("charset a", 1), ("charset b", 5)]
    assert result.verdicts == [{"id": "x"}]


def test_workers_serve_all_phases_of_a_job(tmp_path):
    result = run(Processes(), tmp_path / "out", workers=2)
    used = {e.outcome.metrics["process"] for entries in result.entries.values() for e in entries}
    assert len(used) <= 2
    assert os.getpid() not in used


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_dies_between_phases_is_replaced(tmp_path):
    result = run(Processes(kill=True), tmp_path / "out", workers=2)
    victim = result.entries["first"][0].outcome.metrics["process"]
    assert victim not in {e.outcome.metrics["process"] for e in result.entries["second"]}
