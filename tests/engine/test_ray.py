"""The Ray engine on a cluster of two raylets: the same results, and what becomes of what goes wrong."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from clusters import start_cluster, visible_to_workers  # noqa: E402

visible_to_workers(HERE)
from work import DoubleAndJoin, Sleepers  # noqa: E402

from corpuskit.engine import Observer, Ray, run  # noqa: E402
from corpuskit.errors import ConfigError, InputError, LedgerError, MismatchError, TaskError  # noqa: E402


@pytest.fixture(scope="module")
def cluster():
    cluster = start_cluster(2)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def engine(cluster):
    """Connected once for all tests of the module."""
    engine = Ray(address=cluster.address, retries=1)
    with engine.session():
        yield engine


@pytest.fixture
def job(tmp_path):
    def make(*texts, config=0, name="in"):
        paths = []
        for i, text in enumerate(texts):
            path = tmp_path / f"{name}{i}.txt"
            if not path.exists():
                path.write_text(text)
            paths.append(str(path))
        return DoubleAndJoin(tuple(paths), config)

    return make


def joined(result):
    (output,) = result.outputs("joined")
    return Path(output.path).read_text()


def test_the_same_files_as_the_local_engine_and_a_ledger_that_both_read(tmp_path, job, engine):
    mine = run(job("a", "b", "c", "d"), tmp_path / "ray", engine=engine)
    assert joined(mine) == joined(run(job("a", "b", "c", "d"), tmp_path / "local")) == "aa0bb0cc0dd0"
    again = run(job("a", "b", "c", "d"), tmp_path / "ray")
    assert (again.tasks_run, again.tasks_skipped) == (0, 5)


def test_errors_arrive_as_they_were_raised(tmp_path, job, engine):
    with pytest.raises(InputError) as caught:
        run(job("user error", "b"), tmp_path / "out", engine=engine)
    assert (caught.value.what, caught.value.hint) == ("a bad line", "mend it")
    with pytest.raises(TaskError, match=r"double/double/00001.*ValueError: an unexpected thing"):
        run(job("a", "raise", name="r"), tmp_path / "out", engine=engine)
    assert "an unexpected thing" in (tmp_path / "out" / "errors.log").read_text()
    with pytest.raises(LedgerError, match="2 documents came in but 1"):
        run(job("lose", "b", name="l"), tmp_path / "out", engine=engine)


def test_a_worker_that_dies_once_is_replaced_and_one_that_always_dies_is_named(tmp_path, job, engine):
    result = run(job(f"die once:{tmp_path / 'flag'}", "b"), tmp_path / "once", engine=engine)
    assert result.tally.kept == 2
    with pytest.raises(TaskError, match="was lost 2 times") as caught:
        run(job("a", "die", "c", name="d"), tmp_path / "out", engine=engine)
    assert caught.value.where == "double/double/00001"


def test_progress_adds_up_to_the_input(tmp_path, job, engine):
    class Count(Observer):
        total = seen = 0

        def phase_started(self, label, tasks, skipped, input_bytes):
            self.total += input_bytes if label == "double/double" else 0

        def progress(self, input_bytes):
            self.seen += input_bytes

    observer = Count()
    run(job("aa", "bbb", f"die once:{tmp_path / 'x'}"), tmp_path / "out", engine=engine, observer=observer)
    assert observer.seen == observer.total


def test_a_node_with_other_code_is_refused(tmp_path, job, engine, monkeypatch):
    import corpuskit.engine.ray as module

    monkeypatch.setattr(module, "code_version", lambda: "another")
    with pytest.raises(MismatchError, match=r"has version [0-9a-f]{32} .* driver has another"):
        run(job("a"), tmp_path / "out", engine=engine)


def test_a_task_that_asks_for_more_memory_than_any_node_has_runs_on_the_largest(tmp_path, engine):
    result = run(Sleepers(tasks=2, seconds=0, memory_bytes=1 << 50), tmp_path / "out", engine=engine)
    assert result.tasks_run == 2


def test_what_is_cancelled_writes_nothing_more(tmp_path, engine):
    class Stop(Observer):
        def task_finished(self, entry):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Sleepers(tasks=6, seconds=1.0), tmp_path / "out", engine=engine, observer=Stop())
    before = sorted((tmp_path / "out").rglob("*.txt"))
    time.sleep(1.5)
    assert sorted((tmp_path / "out").rglob("*.txt")) == before
    assert len(before) < 6


def test_a_lost_node_is_made_up_for(tmp_path, cluster, engine):
    from clusters import NODE

    extra = cluster.add_node(**{**NODE, "num_cpus": 2})

    class Lose(Observer):
        lost = False

        def task_finished(self, entry):
            if not self.lost:
                self.lost = True
                cluster.remove_node(extra, allow_graceful=False)

    result = run(Sleepers(tasks=10, seconds=0.3), tmp_path / "out", engine=engine, observer=Lose())
    assert result.tasks_run == 10 and len(result.outputs("slept")) == 10


def test_a_driver_that_is_killed_leaves_no_writers_and_resumes(tmp_path, cluster, engine):
    script = (
        "import sys\nfrom work import Sleepers\nfrom corpuskit.engine import Ray, run\n"
        f"print(run(Sleepers(8, 0.5), sys.argv[1], engine=Ray({cluster.address!r})).tasks_run)"
    )
    out = tmp_path / "out"
    ledger = out / "ledger" / "sleepers" / "sleep"
    process = subprocess.Popen([sys.executable, "-c", script, str(out)], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(ledger.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = len(list(ledger.glob("*.json")))
    result = run(Sleepers(8, 0.5), out, engine=engine)
    assert 0 < finished < 8 and result.tasks_skipped == finished
    assert not [path for path in out.rglob("*.tmp")]


def test_settings_that_cannot_be(tmp_path):
    for settings in ({"workers": 0}, {"in_flight": 0}, {"retries": -1}, {"address": "auto", "workers": 2}):
        with pytest.raises(ConfigError):
            Ray(**settings)


def test_no_cluster_at_the_address(monkeypatch):
    import ray

    def refuse(**_):
        raise ConnectionError("Could not find any running Ray instance.\nMore.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ConfigError, match=r"address auto: .* running Ray instance.*ray start --head"):
        Ray("auto").session().__enter__()


def test_shards_are_verified_on_a_cluster(tmp_path, engine):
    import pyarrow as pa

    from corpuskit import shards

    class Bytes:
        fingerprint, vocab_size, end_of_text_id = "bytes", 256, None

    with shards.Writer(tmp_path / "d", tokenizer=Bytes(), shard_tokens=40, end_of_document="none") as writer:
        ids = [str(n) for n in range(9)]
        writer.write_tokens(pa.RecordBatch.from_pydict({"id": ids, "tokens": [[n] * 20 for n in range(9)]}))
    shard = sorted((tmp_path / "d").glob("shard-*.arrow"))[2]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    job = shards.VerifyJob(str(tmp_path / "d"))
    found = job.report(run(job, tmp_path / "ledger", engine=engine).entries["shards"])
    assert not found.ok
    assert found == shards.verify(tmp_path / "d")
