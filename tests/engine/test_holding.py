"""Leases on an object store, and the removal of what nobody names."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")

sys.path.insert(0, str(Path(__file__).parent))
from clusters import visible_to_workers
from objectserver import ObjectServer, use

visible_to_workers(Path(__file__).parent)
from work import DoubleAndJoin  # noqa: E402

from corpuskit.engine import ObjectStore, ShardOf, collect_garbage, hold, hold_store, run  # noqa: E402
from corpuskit.engine import holding as holding_module  # noqa: E402
from corpuskit.engine import objects as objects_module  # noqa: E402
from corpuskit.engine.places import Stored  # noqa: E402
from corpuskit.errors import InputError, LedgerError  # noqa: E402


@pytest.fixture
def store(monkeypatch, tmp_path):
    (tmp_path / "buckets" / "corpus").mkdir(parents=True)
    server = ObjectServer(tmp_path / "buckets")
    for name, value in use(server.endpoint).items():
        monkeypatch.setenv(name, value)
    objects_module._file_system.cache_clear()
    yield ObjectStore("s3://corpus/out", scratch=str(tmp_path / "scratch"))
    server.close()


def held(store, shard=None, settle_s=0.0):
    return hold_store(store, shard, settle_s=settle_s)


def lease(store, name="run-0-of-1", **changes):
    content = {"token": "x", "host": "elsewhere", "process": 7, "expires": time.time() + 60, **changes}
    store.write(f"leases/{name}.json", json.dumps(content).encode())


def test_a_second_run_is_refused_and_told_who_holds_it(store):
    with held(store) as require:
        with pytest.raises(LedgerError, match=f"process {os.getpid()} on ") as caught, held(store):
            pass
        assert "60 s" in caught.value.hint
        require()
    with held(store):
        pass
    assert not store.sizes("leases")


def test_slices_share_an_output_with_each_other_and_not_with_a_plain_run(store):
    with held(store, ShardOf(0, 2)), held(store, ShardOf(1, 2)):
        for shard in (ShardOf(1, 2), None):
            with pytest.raises(LedgerError), held(store, shard):
                pass
    with held(store), pytest.raises(LedgerError), held(store, ShardOf(0, 2)):
        pass


def test_a_lease_ends_by_itself_or_with_a_process_of_this_machine(store):
    import socket

    lease(store)
    with pytest.raises(LedgerError, match="process 7 on elsewhere"), held(store):
        pass
    lease(store, expires=time.time() - 1)
    with held(store):
        pass
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lease(store, host=socket.gethostname(), process=ended.pid)
    with held(store):
        pass


def test_of_two_that_start_together_one_gives_up(store, monkeypatch):
    def another_writes(seconds):
        lease(store)

    monkeypatch.setattr(holding_module.time, "sleep", another_writes)
    with pytest.raises(LedgerError, match="process 7 on elsewhere"), held(store):
        pass


def test_a_run_that_lost_its_lease_commits_nothing_more(store, tmp_path, monkeypatch):
    monkeypatch.setattr(holding_module, "RENEW_S", 0.05)
    (tmp_path / "a").write_text("a")
    with held(store) as require:
        lease(store)
        deadline = time.monotonic() + 10
        with pytest.raises(LedgerError, match="process 7 on elsewhere"):
            while time.monotonic() < deadline:
                require()
                time.sleep(0.02)
        with pytest.raises(LedgerError):
            run(DoubleAndJoin((str(tmp_path / "a"),)), Stored(store, "work", guard=require))
    assert not [key for key in store.sizes("work") if key.endswith(".json")]
    assert store.sizes("leases")  # the other's


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


def test_garbage_in_a_directory(tmp_path):
    (tmp_path / "a").write_text("a")
    out = tmp_path / "out"
    run(DoubleAndJoin((str(tmp_path / "a"),)), out)
    (out / "double" / "double" / "doubled" / "x.txt").write_text("orphan")
    assert collect_garbage(out, root="").paths == ("double/double/doubled/x.txt",)
    with hold(out), pytest.raises(LedgerError, match="another run holds"):
        collect_garbage(out, root="", remove=True)
    removed = collect_garbage(out, root="", remove=True).paths
    assert "double/double/doubled/x.txt" in removed
    assert run(DoubleAndJoin((str(tmp_path / "a"),)), out).tasks_run == 0
    with pytest.raises(InputError, match="no ledger"):
        collect_garbage(tmp_path)
