"""Shards verified by workers: the report of one process, whatever is wrong."""

from __future__ import annotations

import shutil

import pytest

from corpuskit import shards
from corpuskit.engine import Local
from corpuskit.errors import ArtifactError
from corpuskit.pipeline.verifying import verify_on


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def damage(directory, kind):
    files = sorted(directory.glob("shard-*.arrow"))
    if kind == "changed":
        flip(files[1], len(files[1].read_bytes()) // 2)
        flip(files[3], 20)
    elif kind == "missing":
        files[0].unlink()
        shutil.copy(files[2], directory / "shard-99999.arrow")
    elif kind == "manifest":
        flip(directory / "dataset.json", 30)


@pytest.mark.parametrize("kind", ["whole", "changed", "missing", "manifest"])
def test_the_report_is_that_of_one_process(numbered, kind):
    damage(numbered, kind)
    expected = shards.verify(numbered)
    assert expected.ok == (kind == "whole")
    assert verify_on(str(numbered), Local(1)) == expected


def test_workers_share_the_shards(numbered, monkeypatch):
    damage(numbered, "changed")
    monkeypatch.setattr("corpuskit.pipeline.verifying._BYTES_A_WORKER", 1)
    assert verify_on(str(numbered), Local(2)) == shards.verify(numbered)


def test_a_dataset_behind_a_url(numbered):
    import fsspec

    damage(numbered, "missing")
    memory = fsspec.filesystem("memory")
    for path in numbered.rglob("*.*"):
        memory.pipe(f"/verified/{path.relative_to(numbered)}", path.read_bytes())
    expected = shards.verify("memory://verified")
    assert [problem.kind for problem in expected.problems] == ["missing", "unlisted"]
    assert verify_on("memory://verified", Local(1)) == expected
    assert verify_on(f"file://{numbered}", Local(1)) == shards.verify(numbered)


@pytest.mark.parametrize("where", ["nothing", "memory://nothing"])
def test_no_dataset_at_all(tmp_path, where):
    address = where if ":" in where else str(tmp_path / where)
    with pytest.raises(ArtifactError, match=r"not a token dataset"):
        verify_on(address, Local(1))


def test_a_ledger_reads_again_what_has_changed(numbered, tmp_path):
    from corpuskit.engine import run

    job = shards.VerifyJob(str(numbered))
    first = run(job, tmp_path / "ledger")
    assert job.report(first.entries["shards"]).ok
    assert run(job, tmp_path / "ledger").tasks_run == 0
    damage(numbered, "changed")
    again = run(job, tmp_path / "ledger")
    assert again.tasks_run == 2
    assert job.report(again.entries["shards"]) == shards.verify(numbered)
