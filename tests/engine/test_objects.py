"""Runs whose files lie in an object store: what a job comes to, and what the store's faults do to it."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from clusters import visible_to_workers  # noqa: E402
from objectserver import FAULTS  # noqa: E402

visible_to_workers(HERE)
from work import DoubleAndJoin, Parts  # noqa: E402

from corpuskit.engine import ObjectStore, run  # noqa: E402
from corpuskit.engine import objects as objects_module  # noqa: E402
from corpuskit.errors import ArtifactError, ConfigError, InputError, ResourceError, TaskError  # noqa: E402


@pytest.fixture
def job(tmp_path):
    def make(*texts, kind=DoubleAndJoin):
        paths = []
        for i, text in enumerate(texts):
            path = tmp_path / f"in{i}.txt"
            if not path.exists():
                path.write_text(text)
            paths.append(str(path))
        return kind(tuple(paths))

    return make


def place(store, **further):
    from corpuskit.engine.places import Stored

    return Stored(store, "work", **further)


def joined(result, store):
    (output,) = result.outputs("joined")
    assert output.path.startswith(store.url + "/work/double/join/joined/")
    return store.read(store.key(output.path)).decode()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_runs_and_is_resumed_as_on_a_disk(store, job, workers, tmp_path):
    result = run(job("a", "b", "c"), place(store), workers=workers)
    assert joined(result, store) == "aa0bb0cc0"
    again = run(job("a", "b", "c"), place(store), workers=workers)
    assert (again.tasks_run, again.tasks_skipped) == (0, 4)
    assert not list((tmp_path / "scratch").rglob("tasks/*"))
    on_disk = run(job("a", "b", "c"), tmp_path / "disk")
    assert [e.key for e in on_disk.entries["join"]] == [e.key for e in result.entries["join"]]


def test_a_url_is_enough(server, store, job, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    result = run(job("a", "b"), f"{store.url}/plain")
    assert result.outputs("joined")[0].path.startswith(f"{store.url}/plain/double/join/joined/")


def test_a_missing_object_is_made_again_and_verify_notices_a_changed_one(store, job, server):
    first = run(job("a", "b"), place(store))
    store.delete(store.key(first.outputs("doubled")[0].path))
    again = run(job("a", "b"), place(store))
    assert again.tasks_run == 1
    store.write(store.key(again.outputs("doubled")[1].path), b"xx0")
    assert run(job("a", "b"), place(store)).tasks_run == 0
    mended = run(job("a", "b"), place(store), verify=True)
    assert (mended.tasks_run, joined(mended, store)) == (1, "aa0bb0")


def test_a_damaged_input_of_a_task_is_not_used(store, job):
    first = run(job("a", "b"), place(store))
    store.write(store.key(first.outputs("doubled")[1].path), b"xx0")
    store.delete("work/ledger/double/join/00000.json")
    weak = ObjectStore(store.url, store.scratch + "-2", attempts=2)
    with pytest.raises(ArtifactError, match=r"not as it was written.*--verify"):
        run(job("a", "b"), place(weak))


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_the_store_do_not_change_the_result(store, job, server, kind):
    server.misbehave(*[kind] * 4)
    result = run(job("a" * 3000, "b" * 5000, "c"), place(store))
    assert joined(result, store) == "a" * 6000 + "0" + "b" * 10000 + "0cc0"


def test_a_store_that_goes_on_failing_ends_the_run_and_the_run_resumes(store, job, server, monkeypatch):
    weak = ObjectStore(store.url, store.scratch, attempts=2)
    server.misbehave(*["503"] * 60)
    with pytest.raises(ResourceError, match="failed 2 times") as caught:
        run(job("a", "b"), place(weak))
    assert "not-a-secret" not in str(caught.value) and "AKIA" not in str(caught.value)
    server._waiting.clear()
    assert joined(run(job("a", "b"), place(store)), store) == "aa0bb0"


def test_errors_of_tasks_arrive_and_their_traceback_is_stored(store, job):
    with pytest.raises(InputError, match="a bad line"):
        run(job("user error"), place(store))
    with pytest.raises(TaskError):
        run(DoubleAndJoin((job("user error", "raise").paths[1],)), place(store))
    assert b"an unexpected thing" in store.read("work/errors.log")


def test_a_killed_task_goes_on_at_its_last_part(store, job, tmp_path):
    with pytest.raises(TaskError, match="stopped after 2"):
        run(job(str(tmp_path / "flag"), kind=Parts), place(store))
    before = set(store.sizes("work/parts/parts/part"))
    result = run(job(str(tmp_path / "flag"), kind=Parts), place(store))
    assert result.entries["parts"][0].outcome.metrics["begun_at"] == 2
    keys = [store.key(output.path) for output in result.outputs("part")]
    assert set(keys[:2]) == before and [store.read(key) for key in keys] == [b"0", b"1", b"2", b"3"]


def test_the_directories_that_a_configuration_names_go_with_the_task(store, tmp_path):
    from work import ReadDirectory

    directory = tmp_path / "vocabulary"
    (directory / "deep").mkdir(parents=True)
    (directory / "deep" / "a.txt").write_text("甲")
    store.write("staged/x/vocabulary/deep/a.txt", "乙".encode())
    result = run(
        ReadDirectory(str(directory)), place(store, directories=((str(directory), "staged/x/vocabulary"),))
    )
    assert result.entries["read"][0].outcome.metrics["text"] == "乙"


def test_the_scratch_of_a_node_stays_within_its_bound(store, tmp_path):
    from corpuskit.engine.staging import NodeCache
    from corpuskit.files import checksum

    cache = NodeCache(ObjectStore(store.url, store.scratch, scratch_bytes=3000))
    for number in range(6):
        path = tmp_path / f"{number}"
        path.write_bytes(bytes([number]) * 1000)
        store.upload(path, f"k{number}")
        target = tmp_path / "task" / f"{number}"
        cache.fetch(f"k{number}", checksum(path), target)
        assert target.read_bytes() == path.read_bytes()
    kept = [p for p in (store.scratch_path / "objects").iterdir() if p.suffix != ".lock"]
    assert sum(p.stat().st_size for p in kept) <= 3000


def test_urls_that_cannot_be_used():
    with pytest.raises(ConfigError, match="credentials") as caught:
        ObjectStore("s3://KEY:SECRET@bucket/x")
    assert "SECRET" not in str(caught.value)
    for url in ("bucket/x", "s3://", "/tmp/x", "https://minio.example:9000/bucket/x"):
        with pytest.raises(ConfigError):
            ObjectStore(url)


def test_without_rights_the_error_says_so(store, server):
    class Refuse:
        def open_input_stream(self, path):
            raise OSError("AWS Error ACCESS_DENIED during GetObject (HTTP status 403): AKIATESTTESTTEST")

    objects_module._file_system.cache_clear()
    import unittest.mock

    with (
        unittest.mock.patch.object(objects_module, "_file_system", lambda *_: (Refuse(), "x")),
        pytest.raises(InputError, match=r"refuses access.*credentials in the environment") as caught,
    ):
        store.read("a")
    assert "AKIA" not in str(caught.value)
