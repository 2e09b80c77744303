"""Ledger entries are written side by side, each once, and told in the order in which tasks end."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from clusters import visible_to_workers  # noqa: E402

visible_to_workers(HERE)
from work import Sleepers  # noqa: E402

from corpuskit.engine import ObjectStore, Observer, run  # noqa: E402
from corpuskit.engine import objects as objects_module  # noqa: E402
from corpuskit.engine.commits import Commits  # noqa: E402
from corpuskit.engine.places import Directory, Stored  # noqa: E402
from corpuskit.engine.protocol import Call  # noqa: E402
from corpuskit.errors import LedgerError, TaskError  # noqa: E402
from corpuskit.jobs import Entry, Outcome, Task  # noqa: E402


class Slow:
    """A place whose entries take a while, those of even tasks longer."""

    def __init__(self, commits_at_once=8, refused=()):
        self.commits_at_once, self.refused = commits_at_once, refused
        self.saved, self.now, self.most = [], 0, 0
        self._lock = threading.Lock()

    def save(self, entry, call, label, verified):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02 if call.task.index % 2 else 0.05)
        with self._lock:
            self.now -= 1
        if call.task.index in self.refused:
            raise LedgerError(f"task {call.task.index} may not commit")
        self.saved.append((call.task.index, label, verified))


def added(commits, count, first=0):
    for index in range(first, first + count):
        call = Call(Task(index, print, ()), f"job/phase/{index:05d}", "key", "", "")
        commits.add(call, Entry(call.task.name, "key", Outcome(())), None)


def test_entries_are_written_side_by_side_and_told_in_order():
    place, told = Slow(), []
    with Commits(place, "job/phase", lambda call, entry: told.append(call.task.index)) as commits:
        added(commits, 60)
        assert len(told) < 60
    assert told == list(range(60))
    assert sorted(place.saved) == [(index, "job/phase", None) for index in range(60)]
    assert 4 < place.most <= 8


def test_where_one_at_a_time_is_asked_for_nothing_waits():
    place, told = Slow(commits_at_once=1), []
    with Commits(place, "job/phase", lambda call, entry: told.append(threading.current_thread())) as commits:
        added(commits, 3)
        assert [index for index, _, _ in place.saved] == [0, 1, 2]
    assert told == [threading.current_thread()] * 3 and place.most == 1


def test_the_first_entry_that_cannot_be_written_ends_the_run_and_later_ones_are_left():
    place, told = Slow(refused={7, 9}), []
    with (
        pytest.raises(LedgerError, match="task 7 may"),
        Commits(place, "job/phase", lambda call, entry: told.append(call.task.index)) as commits,
    ):
        added(commits, 500)
    assert told == list(range(7))
    assert len(place.saved) < 60


@pytest.mark.parametrize("error", [TaskError("a task fails"), KeyboardInterrupt()])
def test_what_was_finished_is_written_whatever_ends_the_run(error):
    place = Slow()
    with pytest.raises(type(error)), Commits(place, "job/phase", lambda call, entry: None) as commits:
        added(commits, 20)
        raise error
    assert sorted(index for index, _, _ in place.saved) == list(range(20))


def test_what_was_written_is_told_while_the_next_task_runs():
    place, told = Slow(), []
    with Commits(place, "job/phase", lambda call, entry: told.append(call.task.index)) as commits:
        added(commits, 3)
        deadline = time.monotonic() + 10
        while len(told) < 3 and time.monotonic() < deadline:
            commits.notice()
            time.sleep(0.005)
        assert told == [0, 1, 2]
        commits.notice()


def test_an_error_is_not_raised_where_progress_is_told():
    with (
        pytest.raises(LedgerError, match="task 0 may"),
        Commits(Slow(refused={0}), "job/phase", lambda call, entry: None) as commits,
    ):
        added(commits, 1)
        time.sleep(0.1)
        commits.notice()
        added(commits, 1, first=1)


@pytest.fixture
def server(tmp_path, monkeypatch):
    pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")
    from objectserver import ObjectServer, use

    (tmp_path / "buckets" / "corpus").mkdir(parents=True)
    server = ObjectServer(tmp_path / "buckets")
    for name, value in use(server.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects_module, "_FIRST_PAUSE_S", 0.01)
    objects_module._file_system.cache_clear()
    yield server
    server.close()


@pytest.fixture
def store(server, tmp_path):
    return ObjectStore("s3://corpus/out", scratch=str(tmp_path / "scratch"))


class Quick:
    """Tasks that are done at once, in an order of their own."""

    @contextmanager
    def session(self):
        yield self

    def run(self, calls, report_progress):
        for call in sorted(calls, key=lambda call: call.task.index * 7 % 40):
            yield call, Outcome((), metrics={"index": call.task.index})


class Told(Observer):
    def __init__(self, until=1000):
        self.tasks, self.until = [], until

    def task_finished(self, entry):
        self.tasks.append(int(entry.task))
        if len(self.tasks) == self.until:
            raise KeyboardInterrupt


def test_in_a_store_every_entry_is_written_once_and_the_result_is_in_order(server, store):
    server.delay_s = (0.0, 0.02)
    server.misbehave("503")
    told = Told()
    result = run(Sleepers(40, 0), Stored(store, "work"), engine=Quick(), observer=told)
    assert told.tasks == sorted(range(40), key=lambda index: index * 7 % 40)
    assert [e.outcome.metrics["index"] for e in result.entries["sleep"]] == list(range(40))
    assert len(server.commits) == 40 and set(server.commits.values()) == {1}
    assert run(Sleepers(40, 0), Stored(store, "work"), engine=Quick()).tasks_skipped == 40


def test_an_interrupted_run_keeps_what_it_has_finished(server, store):
    server.delay_s = (0.0, 0.02)
    with pytest.raises(KeyboardInterrupt):
        run(Sleepers(40, 0), Stored(store, "work"), engine=Quick(), observer=Told(until=5))
    written = len(server.commits)
    assert 5 <= written < 40
    result = run(Sleepers(40, 0), Stored(store, "work"), engine=Quick())
    assert result.tasks_skipped == written and set(server.commits.values()) == {1}


def test_every_entry_asks_whether_this_run_still_holds_the_output(server, store):
    asked = []

    def guard():
        asked.append(threading.current_thread())
        if len(asked) > 10:
            raise LedgerError("another run holds this output")

    with pytest.raises(LedgerError, match="another run"):
        run(Sleepers(40, 0), Stored(store, "work", guard=guard), engine=Quick())
    assert len(server.commits) == 10


def test_verified_inputs_are_recorded_side_by_side_too(server, store):
    run(Sleepers(20, 0), Stored(store, "work"), engine=Quick())
    assert run(Sleepers(20, 0), Stored(store, "work"), engine=Quick(), verify=True).tasks_skipped == 20
    assert Counter(server.commits.values()) == {2: 20}
    assert b'"verified_inputs": []' in store.read("work/ledger/sleepers/sleep/00003.json")


@pytest.mark.slow
def test_ctrl_c_ends_a_run_in_a_store_and_the_next_resumes(server, store, tmp_path):
    server.delay_s = (0.1, 0.3)
    script = (
        "from work import Sleepers\nfrom corpuskit.engine import ObjectStore, hold_store, run\n"
        "from corpuskit.engine.places import Stored\n"
        f"store = ObjectStore('s3://corpus/out', {str(tmp_path / 'scratch')!r})\n"
        "with hold_store(store) as guard:\n"
        "    run(Sleepers(200, 0.02), Stored(store, 'work', guard=guard))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(server.commits) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert process.communicate(timeout=30)[1].rstrip().endswith("KeyboardInterrupt")
    assert time.monotonic() - started < 15
    server.delay_s = (0.0, 0.0)
    assert not store.sizes("leases")
    finished = len(server.commits)
    result = run(Sleepers(200, 0.02), Stored(store, "work"), engine=Quick())
    assert result.tasks_skipped == finished and set(server.commits.values()) == {1}


def test_entries_on_a_disk_are_written_before_the_next_task_begins(tmp_path):
    class Ordered(Quick):
        def run(self, calls, report_progress):
            for number, call in enumerate(calls):
                assert len(list((tmp_path / "ledger").rglob("*.json"))) == number
                yield call, Outcome(())

    run(Sleepers(3, 0), Directory(tmp_path), engine=Ordered())
