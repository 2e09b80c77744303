"""A dataset on S3, as moto's server plays it. Needs moto and s3fs, whose pins do not fit beside ours."""

from __future__ import annotations

import numpy as np
import pytest

from corpuskit import shards
from corpuskit.errors import ArtifactError
from corpuskit.shards.cache import CacheConfig

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(numbered, monkeypatch):
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = s3fs.S3FileSystem()
    system.mkdir("corpus")
    for path in numbered.iterdir():
        system.put_file(str(path), f"corpus/data/{path.name}")
    yield system
    server.stop()


def test_a_dataset_on_s3_gives_the_same_batches_and_names_what_is_missing(numbered, bucket, tmp_path):
    here = shards.open(numbered)
    data = shards.open("s3://corpus/data", cache=CacheConfig(str(tmp_path / "cache")))
    mine = here.loader(16, 4, framework="numpy", shuffle_window=2, seed=1)
    theirs = data.loader(16, 4, framework="numpy", shuffle_window=2, seed=1)
    for _ in range(40):
        assert np.array_equal(next(mine)["input_ids"], next(theirs)["input_ids"])
    assert data.remote.statistics.fetched_shards == len(data.lengths)
    bucket.rm_file("corpus/data/shard-00002.arrow")
    bucket.invalidate_cache()
    other = shards.open("s3://corpus/data", cache=CacheConfig(str(tmp_path / "other")))
    with pytest.raises(ArtifactError, match=r"shard-00002\.arrow: a shard is missing"):
        list(other)
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.open("s3://corpus/nothing", cache=CacheConfig(str(tmp_path / "other")))
