"""An S3 server on loopback, one a module, and a prefix of it for each test."""

import sys
from pathlib import Path

import pytest
import xxhash

from corpuskit.engine import ObjectStore
from corpuskit.engine import objects as objects_module

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from objectserver import ObjectServer

    root = tmp_path_factory.mktemp("buckets")
    (root / "corpus").mkdir()
    server = ObjectServer(root)
    server.root = root
    yield server
    server.close()


@pytest.fixture
def store(server, monkeypatch, tmp_path, request):
    from objectserver import use

    for name, value in use(server.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects_module, "_FIRST_PAUSE_S", 0.01)
    objects_module._file_system.cache_clear()
    name = xxhash.xxh3_64_hexdigest(request.node.name.encode())
    return ObjectStore(f"s3://corpus/{name}", scratch=str(tmp_path / "scratch"))
