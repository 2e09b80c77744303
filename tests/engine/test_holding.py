"""Leases on an object store, and the removal of what nobody names."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")

sys.path.insert(0, str(Path(__file__).parent))
from clusters import visible_to_workers
from objectserver import ObjectServer, use

visible_to_workers(Path(__file__).parent)
from work import DoubleAndJoin  # noqa: E402

from corpuskit.engine import (  # noqa: E402
    ObjectStore,
    ShardOf,
    collect_garbage,
    hold,
    hold_store,
    holding,
    leases,
    run,
)
from corpuskit.engine import objects as objects_module  # noqa: E402
from corpuskit.engine.places import Stored  # noqa: E402
from corpuskit.errors import InputError, LedgerError, ResourceError  # noqa: E402


@pytest.fixture
def server(tmp_path):
    (tmp_path / "buckets" / "corpus").mkdir(parents=True)
    server = ObjectServer(tmp_path / "buckets")
    yield server
    server.close()


@pytest.fixture
def store(server, monkeypatch, tmp_path):
    for name, value in use(server.endpoint).items():
        monkeypatch.setenv(name, value)
    objects_module._file_system.cache_clear()
    return ObjectStore("s3://corpus/out", scratch=str(tmp_path / "scratch"))


def claim(store, name="0-of-1/00000000000000ab.1", *, machine="elsewhere's", process=7, **changes):
    content = {"host": "elsewhere", "process": process, "machine": machine, "written": time.time(), **changes}
    store.write(f"leases/{name}", json.dumps(content).encode())


def age(root, seconds):
    for path in (root / "buckets" / "corpus" / "out" / "leases").rglob("*.*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_second_run_is_refused_and_told_who_holds_it(store):
    with hold_store(store) as require:
        with pytest.raises(LedgerError, match=f"process {os.getpid()} on ") as caught, hold_store(store):
            pass
        assert "60 s" in caught.value.hint
        require()
    with hold_store(store):
        pass
    assert not store.sizes("leases")


def test_slices_share_an_output_with_each_other_and_not_with_a_plain_run(store):
    with hold_store(store, ShardOf(0, 2)), hold_store(store, ShardOf(1, 2)):
        for shard in (ShardOf(1, 2), None):
            with pytest.raises(LedgerError), hold_store(store, shard):
                pass
    with hold_store(store), pytest.raises(LedgerError), hold_store(store, ShardOf(0, 2)):
        pass


def test_a_lease_ends_by_itself_or_with_a_process_of_this_machine(store, tmp_path):
    claim(store)
    with pytest.raises(LedgerError, match="process 7 on elsewhere"), hold_store(store):
        pass
    age(tmp_path, 58)
    with pytest.raises(LedgerError, match="process 7 on elsewhere"), hold_store(store):
        pass
    age(tmp_path, 63)
    with hold_store(store):
        pass
    assert not store.sizes("leases")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    claim(store, machine=leases._machine(), process=ended.pid)
    with hold_store(store):
        pass


def test_a_process_number_of_another_boot_container_or_host_says_nothing(store):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    claim(store, machine="this host, another namespace", process=ended.pid)
    with pytest.raises(LedgerError, match=f"process {ended.pid} on elsewhere"), hold_store(store):
        pass


def test_a_run_that_is_starting_is_waited_for_a_while(store, monkeypatch):
    monkeypatch.setattr(leases, "PATIENCE_S", 0.1)
    monkeypatch.setattr(leases, "POLL_S", 0.02)
    claim(store, "0-of-1/00000000000000ab.choosing")
    with pytest.raises(LedgerError, match="process 7 on elsewhere"), hold_store(store):
        pass
    # It went on, with a ticket behind this run's, and will see that.
    claim(store, "0-of-1/00000000000000ab.7")
    store.delete("leases/0-of-1/00000000000000ab.choosing")
    monkeypatch.setattr(leases.Lease, "_claims", with_numbers(leases.Lease._claims, above=1))
    with hold_store(store):
        pass


def with_numbers(claims, above):
    """As if a run with number `above` + 1 had written its ticket after this one had looked."""

    def changed(self):
        found = claims(self)
        return found if self.number else {t: c for t, c in found.items() if t == self.token or not c.number}

    return changed


def test_what_is_no_claim_or_cannot_be_read_lets_nobody_in_by_mistake(store, tmp_path):
    store.write("leases/README", b"hello")
    store.write("leases/0-of-1/00000000000000ab.1", b"\xff not json")
    with pytest.raises(LedgerError, match="unknown process"), hold_store(store):
        pass
    age(tmp_path, 70)
    with hold_store(store):
        pass


def test_a_run_that_lost_its_lease_commits_nothing_more(store, tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    with hold_store(store) as require:
        require()
        age(tmp_path, 70)
        claim(store)  # another passed over the old ticket
        late = leases.now_s() + 50
        monkeypatch.setattr(leases, "now_s", lambda: late)
        for _ in range(2):
            with pytest.raises(LedgerError, match="process 7 on elsewhere"):
                require()
        with pytest.raises(LedgerError):
            run(DoubleAndJoin((str(tmp_path / "a"),)), Stored(store, "work", guard=require))
    assert not [key for key in store.sizes("work") if key.endswith(".json")]
    assert list(store.sizes("leases")) == ["leases/0-of-1/00000000000000ab.1"]


def test_a_run_that_slept_goes_on_if_nobody_came(store, tmp_path, monkeypatch):
    with hold_store(store) as require:
        before = set(store.sizes("leases"))
        age(tmp_path, 3600)
        late = leases.now_s() + 3600
        monkeypatch.setattr(leases, "now_s", lambda: late)
        require()
        assert not before & set(store.sizes("leases"))
        with pytest.raises(LedgerError), hold_store(store):
            pass


def test_where_the_store_tells_no_times_those_of_the_machines_count():
    store = ObjectStore("memory://leases-without-times/out")
    claim(store)
    assert store.modified("leases") == {"leases/0-of-1/00000000000000ab.1": None}
    with pytest.raises(LedgerError, match="process 7 on elsewhere"), hold_store(store):
        pass
    claim(store, written=time.time() - 63)
    with hold_store(store), pytest.raises(LedgerError), hold_store(store):
        pass
    assert not store.sizes("leases")


def test_a_lease_is_renewed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_S", 0.02)
    with hold_store(store):
        age(tmp_path, 70)
        deadline = time.monotonic() + 10
        while max(store.modified("leases").values()) < time.time() - 60 and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(LedgerError), hold_store(store):
            pass


def test_a_store_that_does_not_list_what_was_written_is_refused(store, monkeypatch):
    monkeypatch.setattr(leases, "PATIENCE_S", 0.1)
    monkeypatch.setattr(leases, "POLL_S", 0.02)
    monkeypatch.setattr(ObjectStore, "modified", lambda self, prefix: {})
    with pytest.raises(ResourceError, match="does not list what"), hold_store(store):
        pass


def test_of_many_that_start_at_once_one_holds_the_output(store, server):
    server.delay_s = (0.0, 0.03)
    holders, most, entered = [], [], []
    barrier = threading.Barrier(8)

    def start(number):
        barrier.wait()
        try:
            with hold_store(store) as require:
                holders.append(number)
                most.append(len(holders))
                require()
                time.sleep(0.1)
                entered.append(number)
                holders.remove(number)
        except LedgerError:
            return

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1} and entered
    assert not store.sizes("leases")


@pytest.mark.slow
def test_of_many_processes_that_start_at_once_one_holds_the_output(store, server, tmp_path):
    """Each holder writes to one file where it begins and ends; each tries until it was it three times."""
    script = (
        "import os, random, sys, time\n"
        "from corpuskit.engine import ObjectStore, hold_store\n"
        "from corpuskit.errors import LedgerError\n"
        "log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "def say(word):\n"
        "    os.write(log, f'{word} {os.getpid()}\\n'.encode())\n"
        "say('ready')\n"
        "while not os.path.exists(sys.argv[2]):\n"
        "    time.sleep(0.001)\n"
        "held = 0\n"
        "while held < 3:\n"
        "    try:\n"
        "        with hold_store(ObjectStore('s3://corpus/out')) as require:\n"
        "            say('begin'); require(); time.sleep(0.02); say('end')\n"
        "            held += 1\n"
        "    except LedgerError:\n"
        "        time.sleep(random.uniform(0, 0.5))\n"
    )
    server.delay_s = (0.0, 0.02)
    log, start = tmp_path / "log", tmp_path / "start"
    processes = [subprocess.Popen([sys.executable, "-c", script, log, start]) for _ in range(6)]
    deadline = time.monotonic() + 120
    while (not log.exists() or log.read_text().count("ready") < 6) and time.monotonic() < deadline:
        time.sleep(0.05)
    start.touch()
    assert [process.wait(timeout=300) for process in processes] == [0] * 6
    said = [line.split() for line in log.read_text().splitlines()][6:]
    assert len(said) == 36
    assert all(a[0] == "begin" and b == ["end", a[1]] for a, b in zip(said[::2], said[1::2], strict=True))


def test_garbage_is_found_and_removed_on_request_only(store, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    job = DoubleAndJoin((str(tmp_path / "a"), str(tmp_path / "b")))
    result = run(job, Stored(store, "work"))
    store.write("work/double/double/doubled/dead/00000-0000.txt", b"orphan")
    store.write("work/double/double/doubled/half/00007-0000.txt", b"part")
    checkpoint = {"key": "k", "parts": [{"outputs": [{"path": "doubled/half/00007-0000.txt"}]}]}
    store.write("work/ledger/double/double/00007.parts.json", json.dumps(checkpoint).encode())
    store.write("work/ledger/double/double/00000.parts.json", json.dumps(checkpoint).encode())
    found = collect_garbage(store)
    expected = (
        "work/double/double/doubled/dead/00000-0000.txt",
        "work/ledger/double/double/00000.parts.json",
    )
    assert (found.paths, found.removed) == (expected, False) and found.bytes > 6
    before = set(store.sizes("work"))
    assert collect_garbage(store, remove=True).paths == expected
    assert before - set(store.sizes("work")) == set(expected)
    assert run(job, Stored(store, "work")).tasks_run == 0
    assert collect_garbage("s3://corpus/out").paths == () and result.tasks_run == 3


def test_a_run_holds_its_output_while_garbage_is_removed_beside_its_lease(store, tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    run(DoubleAndJoin((str(tmp_path / "a"),)), store.url)
    store.write("double/double/doubled/dead/00000-0000.txt", b"orphan")
    seen = []
    delete = ObjectStore.delete
    monkeypatch.setattr(
        ObjectStore, "delete", lambda self, key: (seen.append(store.sizes("leases")), delete(self, key))
    )
    assert collect_garbage(store, root="", remove=True).paths == (
        "double/double/doubled/dead/00000-0000.txt",
    )
    assert len(seen[0]) == 2 and not store.sizes("leases")


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def no_locks(handle, mode):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(holding.fcntl, "flock", no_locks)
    with pytest.raises(InputError, match=r"has no locks: Function not implemented.*-o flock"), hold(tmp_path):
        pass


def test_garbage_in_a_directory(tmp_path):
    (tmp_path / "a").write_text("a")
    out = tmp_path / "out"
    run(DoubleAndJoin((str(tmp_path / "a"),)), out)
    (out / "double" / "double" / "doubled" / "x.txt").write_text("orphan")
    assert collect_garbage(out, root="").paths == ("double/double/doubled/x.txt",)
    with hold(out), pytest.raises(LedgerError, match="another run holds"):
        collect_garbage(out, root="", remove=True)
    removed = collect_garbage(out, root="", remove=True).paths
    assert removed == ("double/double/doubled/x.txt",)  # not the locks that hold the directory meanwhile
    assert run(DoubleAndJoin((str(tmp_path / "a"),)), out).tasks_run == 0
    with pytest.raises(InputError, match="no ledger"):
        collect_garbage(tmp_path)
