from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyarrow import ipc
from shard_fakes import ByteTokenizer, expected_stream

from corpuskit import shards
from corpuskit.documents import document_batch
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError
from corpuskit.jobs import Entry, Slice, Workspace, outputs_of
from corpuskit.shards import job as job_module
from corpuskit.shards.shardfile import describe_shard

TEXTS = [f"第{i}篇：" + "天地玄黄宇宙洪荒"[: i % 9] * (i % 4) for i in range(60)]
TOKENIZER = ByteTokenizer()


@pytest.fixture(autouse=True)
def fake_tokenizer(monkeypatch):
    job_module._tokenizer.cache_clear()
    monkeypatch.setattr(job_module, "load_tokenizer", lambda directory: TOKENIZER)


@pytest.fixture
def documents(tmp_path):
    """Six document parts of ten documents in batches of four."""
    slices = []
    for part in range(6):
        path = tmp_path / f"part-{part}.arrow"
        ids = [f"d{part * 10 + i}" for i in range(10)]
        rows = document_batch(ids, TEXTS[part * 10 : part * 10 + 10], {"url": ["u"] * 10})
        options = ipc.IpcWriteOptions(compression="zstd")
        with ipc.new_file(str(path), rows.schema, options=options) as writer:
            for start in range(0, 10, 4):
                writer.write_batch(rows.slice(start, 4))
        slices.append(Slice(str(path)))
    return tuple(slices)


def make_job(documents, **options) -> shards.ShardsJob:
    group_bytes = 2 * Path(documents[0].path).stat().st_size if documents else 1
    return shards.ShardsJob(
        documents, "tokenizer", **{"shard_tokens": 100, "group_bytes": group_bytes, **options}
    )


def workspace(directory: Path, task, key="key") -> Workspace:
    directory.mkdir(parents=True, exist_ok=True)
    return Workspace(directory, directory / f"{task.name}.checkpoint", key, task.name)


def run(job, directory: Path) -> list[Entry]:
    entries = []
    for task in job.plan("encode", {}):
        entries.append(Entry(task.name, "key", task.function(task, workspace(directory, task))))
    return entries


def test_the_published_dataset_holds_all_documents_in_order(documents, tmp_path):
    entries = run(make_job(documents), tmp_path / "work")
    assert len(entries) == 3
    manifest = shards.publish(entries, tmp_path / "out", TOKENIZER, {"recipe": "r"})
    data = shards.open(tmp_path / "out", verify="full", tokenizer=TOKENIZER)
    assert shards.verify(tmp_path / "out").ok and data.manifest == manifest
    assert [d.id for d in data] == [f"d{i}" for i in range(60)]
    assert [t for d in data for t in d.tokens.tolist()] == expected_stream(TEXTS).tolist()
    assert manifest.provenance == {"recipe": "r"} and manifest.end_of_document == "end_of_text"
    assert all(entry.tokens <= 100 or entry.rows == 1 for entry in manifest.shards)
    total = sum((entry.outcome.tally for entry in entries[1:]), entries[0].outcome.tally)
    total.check("all")
    assert (total.documents_in, total.kept) == (60, 60)
    assert sum(entry.outcome.metrics["tokens"] for entry in entries) == data.num_tokens


def test_a_killed_task_goes_on_after_its_last_shard_with_the_same_bytes(documents, tmp_path, monkeypatch):
    task = make_job(documents, group_bytes=1 << 30).plan("encode", {})[0]
    whole = task.function(task, workspace(tmp_path / "whole", task))
    count = len(whole.outputs)
    assert count > 4
    encoded = []
    original = job_module.encode
    monkeypatch.setattr(
        job_module, "encode", lambda b, *rest: encoded.append(b.num_rows) or original(b, *rest)
    )
    for fatal in range(1, count + 1):
        place = workspace(tmp_path / f"killed-{fatal}", task)
        calls = []

        def dying(path, *arguments, _calls=calls, _fatal=fatal, _write=job_module.write_shard):
            _calls.append(path)
            if len(_calls) == _fatal:
                raise KeyboardInterrupt
            _write(path, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(job_module, "write_shard", dying)
            with pytest.raises(KeyboardInterrupt):
                task.function(task, place)
        encoded.clear()
        resumed = task.function(task, place)
        assert sum(encoded) < 60 or fatal == 1
        assert [o.checksum for o in resumed.outputs] == [o.checksum for o in whole.outputs]
        assert (resumed.tally, resumed.metrics) == (whole.tally, whole.metrics)


def test_progress_adds_up_to_the_input_bytes(documents, tmp_path):
    task = make_job(documents).plan("encode", {})[0]
    reported = []
    place = workspace(tmp_path / "work", task)
    place.report_progress = reported.append
    task.function(task, place)
    assert sum(reported) == task.input_bytes and min(reported) >= 0 and len(reported) > 2


def test_published_shards_are_appended_once(documents, tmp_path):
    first = run(make_job(documents[:2]), tmp_path / "a")
    second = run(make_job(documents[2:]), tmp_path / "b")
    shards.publish(first, tmp_path / "out", TOKENIZER)
    operation = shards.Operation("append", {"inputs": "x"})
    before = shards.open(tmp_path / "out").fingerprint
    for _ in range(2):
        manifest = shards.publish_appended(second, tmp_path / "out", TOKENIZER, operation)
        assert [d.id for d in shards.open(tmp_path / "out", verify="full")] == [f"d{i}" for i in range(60)]
    assert manifest.fingerprint != before and manifest.operation.finished
    with pytest.raises(MismatchError, match="end_of_document"):
        other = run(make_job(documents[:1], end_of_document="none"), tmp_path / "c")
        shards.publish_appended(other, tmp_path / "out", TOKENIZER, operation)
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.publish_appended(second, tmp_path / "nowhere", TOKENIZER, operation)


def test_publishing_again_replaces_an_earlier_dataset_and_its_extra_shards(documents, tmp_path):
    shards.publish(run(make_job(documents), tmp_path / "a"), tmp_path / "out", TOKENIZER)
    (tmp_path / "out" / "tokenizer").mkdir()
    entries = run(make_job(documents[:1], end_of_document="none"), tmp_path / "b")
    shards.publish(entries, tmp_path / "out", TOKENIZER)
    assert shards.verify(tmp_path / "out").ok
    assert len(shards.open(tmp_path / "out")) == 10
    assert shards.info(tmp_path / "out")["end_of_document"] == "none"
    assert (tmp_path / "out" / "tokenizer").is_dir()


def test_shards_are_linked_or_copied_where_links_are_not_possible(documents, tmp_path, monkeypatch):
    entries = run(make_job(documents), tmp_path / "work")
    shards.publish(entries, tmp_path / "linked", TOKENIZER)
    source = Path(entries[0].outcome.outputs[0].path)
    assert (tmp_path / "linked" / "shard-00000.arrow").samefile(source)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "cross-device")))
    shards.publish(entries, tmp_path / "copied", TOKENIZER)
    assert not (tmp_path / "copied" / "shard-00000.arrow").samefile(source)
    assert shards.verify(tmp_path / "copied").ok


def test_tasks_describe_their_shards_as_reading_them_would(documents, tmp_path):
    entries = run(make_job(documents), tmp_path / "work")
    manifest = shards.publish(entries, tmp_path / "out", TOKENIZER)
    assert len(manifest.shards) > 10
    for shard in manifest.shards:
        assert describe_shard(tmp_path / "out" / shard.name, shard.name) == shard


def test_shards_on_another_machine_are_published_without_reading_them(documents, tmp_path):
    entries = run(make_job(documents), tmp_path / "work")
    shards.publish(entries, tmp_path / "here", TOKENIZER, {"recipe": "r"})
    for output in outputs_of(entries, "shard"):
        Path(output.path).unlink()
    shards.publish(entries, tmp_path / "away", TOKENIZER, {"recipe": "r"}, files=False)
    assert sorted(path.name for path in (tmp_path / "away").glob("[!.]*")) == ["dataset.json"]
    here, away = ((tmp_path / name / "dataset.json").read_bytes() for name in ("here", "away"))
    assert here == away


def test_publish_refuses_a_shard_that_is_cut_or_gone(documents, tmp_path):
    entries = run(make_job(documents), tmp_path / "work")
    last = Path(entries[-1].outcome.outputs[-1].path)
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="truncated"):
        shards.publish(entries, tmp_path / "out", TOKENIZER)
    last.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        shards.publish(entries, tmp_path / "out", TOKENIZER)
    assert not (tmp_path / "out").exists()


def test_publish_refuses_no_documents_and_another_tokenizer(documents, tmp_path):
    with pytest.raises(InputError, match="no document reached"):
        shards.publish(run(make_job(()), tmp_path / "none"), tmp_path / "out", TOKENIZER)
    entries = run(make_job(documents), tmp_path / "work")
    with pytest.raises(MismatchError, match="bytes-2"):
        shards.publish(entries, tmp_path / "out", ByteTokenizer(fingerprint="bytes-2"))
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_changes_after_planning_is_refused(documents, tmp_path, monkeypatch):
    task = make_job(documents).plan("encode", {})[0]
    changed = ByteTokenizer(fingerprint="bytes-2")
    monkeypatch.setattr(job_module, "load_tokenizer", lambda directory: changed)
    with pytest.raises(MismatchError, match="planned with"):
        task.function(task, workspace(tmp_path / "work", task))
    assert make_job(documents).plan("encode", {})[0].config != task.config


def test_the_plan_covers_every_part_once_in_order(documents):
    for group_bytes in (1, 700, 1 << 30):
        tasks = make_job(documents, group_bytes=group_bytes).plan("encode", {})
        assert [piece for task in tasks for piece in task.inputs] == list(documents)
        assert [task.index for task in tasks] == list(range(len(tasks)))


def test_impossible_jobs_are_refused(documents, tmp_path):
    for options in ({"shard_tokens": 0}, {"group_bytes": 0}, {"end_of_document": "x"}):
        with pytest.raises(ConfigError):
            make_job(documents, **options)
    with pytest.raises(ConfigError, match="cannot be split"):
        make_job((Slice(documents[0].path, start=5),))
    with pytest.raises(InputError, match="cannot read"):
        make_job((*documents, Slice(str(tmp_path / "gone")))).plan("encode", {})
    (tmp_path / "bad").write_bytes(b"not arrow")
    task = make_job((documents[0], Slice(str(tmp_path / "bad"))), group_bytes=1 << 30).plan("encode", {})[0]
    with pytest.raises(ArtifactError, match="not a whole Arrow file"):
        task.function(task, workspace(tmp_path / "work", task))


def test_recipes_validate_the_job_strictly():
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(shards.ShardsJob)
    plain = {"documents": [], "tokenizer_dir": "t"}
    assert adapter.validate_python(plain).shard_tokens == 1 << 27
    with pytest.raises(ValidationError):
        adapter.validate_python({**plain, "shards": 3})
