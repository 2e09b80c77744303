"""A dataset on S3, as localbucket plays it: through pyarrow, and through s3fs where that is installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from objectserver import ObjectServer, use

from corpuskit import shards
from corpuskit.errors import ArtifactError, InputError
from corpuskit.ingest import attempts
from corpuskit.shards.cache import CacheConfig


def without_s3fs(url, url_to_fs=fsspec.core.url_to_fs):
    """fsspec where s3fs is not installed."""
    if "s3://" in url or "s3a://" in url:
        raise ImportError("Install s3fs to access S3")
    return url_to_fs(url)


@pytest.fixture(params=["pyarrow", "s3fs"])
def forget(request, monkeypatch):
    """Chooses the client; to be called where the store has changed behind it (s3fs keeps listings)."""
    if request.param == "pyarrow":
        monkeypatch.setattr(fsspec.core, "url_to_fs", without_s3fs)
        return lambda: None
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    s3fs.S3FileSystem.clear_instance_cache()
    return s3fs.S3FileSystem.clear_instance_cache


@pytest.fixture
def server(numbered, monkeypatch, tmp_path, forget):
    """Serves a copy of the dataset as s3://corpus/data."""
    bucket = tmp_path / "buckets" / "corpus"
    shutil.copytree(numbered, bucket / "data")
    server = ObjectServer(tmp_path / "buckets")
    server.data = bucket / "data"
    for name, value in use(server.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.001)
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path):
    return CacheConfig(str(tmp_path / "cache"))


def test_a_dataset_on_s3_gives_the_same_batches_and_names_what_is_missing(
    numbered, server, cache, tmp_path, forget
):
    here = shards.open(numbered)
    data = shards.open("s3://corpus/data", cache=cache)
    mine = here.loader(16, 4, framework="numpy", shuffle_window=2, seed=1)
    theirs = data.loader(16, 4, framework="numpy", shuffle_window=2, seed=1)
    for _ in range(40):
        assert np.array_equal(next(mine)["input_ids"], next(theirs)["input_ids"])
    assert data.remote.statistics.fetched_shards == len(data.lengths)
    (server.data / "shard-00002.arrow").unlink()
    forget()
    other = shards.open("s3://corpus/data", cache=CacheConfig(str(tmp_path / "other")))
    with pytest.raises(ArtifactError, match=r"shard-00002\.arrow: a shard is missing"):
        list(other)
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.open("s3://corpus/nothing", cache=cache)


def test_a_store_that_fails_now_and_then_is_read_all_the_same(numbered, server, cache):
    server.misbehave("503", "half", "cut")
    data = shards.open("s3://corpus/data", cache=cache)
    assert [document.tokens.tolist() for document in data] == [
        d.tokens.tolist() for d in shards.open(numbered)
    ]
    assert sum(server.faults.values()) == 3


def test_a_store_that_refuses_access_is_told_as_such(server, cache):
    server.misbehave(*["403"] * 20)
    with pytest.raises(InputError, match=r"s3://corpus/data.*access is refused.*credentials") as caught:
        shards.open("s3://corpus/data", cache=cache)
    assert "not-a-secret" not in str(caught.value)


def test_info_and_verify_read_what_lies_there(numbered, server, forget):
    facts, here = shards.info("s3://corpus/data"), shards.info(numbered)
    assert facts.pop("directory") == "s3://corpus/data" and here.pop("directory") and facts == here
    report = shards.verify("s3://corpus/data/")
    assert report.ok and (report.documents, report.tokens) == (40, 1000)
    shard = server.data / "shard-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-60] + b"x" * 60)
    (server.data / "shard-00003.arrow").rename(server.data / "shard-00077.arrow")
    (server.data / "elsewhere").mkdir()
    (server.data / "elsewhere" / "shard-00088.arrow").write_bytes(b"")
    forget()
    there, local = shards.verify("s3://corpus/data"), shards.verify(server.data)
    assert there.problems == local.problems
    assert {p.file for p in there.problems} == {f"shard-000{n}.arrow" for n in ("01", "03", "77")}
    with pytest.raises(ArtifactError, match=r"s3://corpus/data/shard-00001\.arrow.*copy the directory"):
        there.raise_for_problems()
