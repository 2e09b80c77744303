"""Datasets behind URLs: the same batches as from local files, whatever server, cache and disk do."""

from __future__ import annotations

import errno
import http.server
import multiprocessing
import pickle
import threading
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from shard_fakes import ByteTokenizer, token_batch

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError, ResourceError
from corpuskit.ingest import attempts
from corpuskit.shards import cache as cache_module
from corpuskit.shards.cache import CacheConfig
from corpuskit.shards.manifest import load_manifest

TOKENIZER = ByteTokenizer(vocab_size=60_000, end_of_text_id=0, fingerprint="numbers")
SHARDS, SHARD_TOKENS = 6, 2000


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def local(tmp_path):
    """12,000 numbered tokens in six shards of some 5 kB."""
    directory = tmp_path / "data"
    lists = [np.arange(first, first + 100) for first in range(0, SHARDS * SHARD_TOKENS, 100)]
    with shards.Writer(
        directory, tokenizer=TOKENIZER, shard_tokens=SHARD_TOKENS, end_of_document="none"
    ) as writer:
        writer.write_tokens(token_batch(lists))
    assert len(load_manifest(directory).shards) == SHARDS
    return directory


@pytest.fixture
def memory(local):
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    for path in local.iterdir():
        system.pipe_file(f"/bucket/data/{path.name}", path.read_bytes())
    yield system
    system.store.clear()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a directory with ranges; the server's `faults` say what goes wrong how often."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        path = server.root / self.path.rpartition("/")[2]
        if not path.is_file():
            return self.send_error(404)
        if body and path.suffix == ".arrow":
            server.requests.append(path.name)
            if server.faults.get("refuse", 0) > 0:
                server.faults["refuse"] -= 1
                return self.send_error(503)
        data = path.read_bytes()
        begin, end = 0, len(data)
        if "Range" in self.headers:
            first, _, last = self.headers["Range"].partition("=")[2].partition("-")
            begin, end = int(first), min(int(last) + 1 if last else len(data), len(data))
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        data = data[begin:end]
        if body and path.suffix == ".arrow" and server.faults.get("half", 0) > 0:
            server.faults["half"] -= 1
            data = data[: len(data) // 2]
            self.close_connection = True
        if body and path.suffix == ".arrow" and server.faults.get("flip", 0) > 0:
            server.faults["flip"] -= 1
            data = data[:-50] + bytes([data[-50] ^ 4]) + data[-49:]
        if body:
            self.wfile.write(data)
        return None


@pytest.fixture
def web(local):
    pytest.importorskip("aiohttp")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.root, server.faults, server.requests = local, {}, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}/data"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def config(tmp_path):
    return CacheConfig(str(tmp_path / "cache"), 1 << 20)


def shard_bytes(local):
    return max(entry.bytes for entry in load_manifest(local).shards)


def batches(data, count, **options):
    loader = data.loader(50, 4, framework="numpy", **options)
    return [next(loader)["input_ids"] for _ in range(count)]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_remote_dataset_gives_the_same_batches_and_documents(local, memory, config, tmp_path, monkeypatch):
    here, there = shards.open(local), shards.open("memory://bucket/data", cache=config)
    assert (len(there), there.num_tokens, there.fingerprint) == (len(here), here.num_tokens, here.fingerprint)
    assert there.remote.statistics.fetched_shards == 0  # opening fetches no shard
    assert there[25].tokens.tolist() == here[25].tokens.tolist()
    assert there.remote.statistics.fetched_shards == 1
    assert same(batches(there, 70), batches(here, 70))
    assert there.remote.statistics.fetched_shards == SHARDS
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    packed = [row.tolist() for row in here.packed(128)]
    assert [row.tolist() for row in there.packed(128)] == packed
    again = shards.open("memory://bucket/data", cache=config)
    assert same(batches(again, 70), batches(here, 70))
    assert again.remote.statistics.fetched_shards == 0  # all from the cache
    copy = pickle.loads(pickle.dumps(again))
    assert same(batches(copy, 3), batches(here, 3)) and copy.remote.config == config


def test_over_http_with_a_server_that_refuses_drops_and_serves_half(local, web, config):
    here = batches(shards.open(local), 70)
    web.faults.update(refuse=1, half=2)
    data = shards.open(web.url, cache=config)
    assert same(batches(data, 70), here)
    assert web.faults == {"refuse": 0, "half": 0}


def test_what_arrives_damaged_is_fetched_again_and_refused_in_the_end(local, web, config):
    web.faults["flip"] = 2
    data = shards.open(web.url, cache=config)
    assert data[0].tokens.tolist() == list(range(100))
    assert data.remote.statistics.refetched == 2
    web.faults["flip"] = 100
    with pytest.raises(ArtifactError, match=r"shard-00001\.arrow: the shard is not what its dataset says"):
        data[25]
    web.faults["flip"] = 0
    assert data[25].tokens.tolist() == list(range(2500, 2600))


def test_a_server_that_always_serves_half_or_nothing_is_an_error(web, config):
    data = shards.open(web.url, cache=config)
    for fault in ("half", "refuse"):
        web.faults = {fault: 1000}
        with pytest.raises(InputError, match=r"shard-00000\.arrow"):
            data[0]
    web.faults = {}
    assert data[0].tokens.tolist() == list(range(100))
    assert not list(config.path.glob(".*.tmp"))


def test_truncated_missing_and_swapped_remote_shards_are_named(local, memory, config):
    whole = memory.cat_file("/bucket/data/shard-00001.arrow")
    for content, message in [(whole[:-100], "not what its dataset says"), (whole[::-1], "checksum")]:
        memory.pipe_file("/bucket/data/shard-00001.arrow", content)
        with pytest.raises(ArtifactError, match=message):
            shards.open("memory://bucket/data", cache=config)[25]
    memory.rm_file("/bucket/data/shard-00001.arrow")
    with pytest.raises(ArtifactError, match=r"shard-00001\.arrow: a shard is missing"):
        batches(shards.open("memory://bucket/data", cache=config), 70)
    memory.pipe_file("/bucket/data/shard-00001.arrow", whole)
    assert shards.open("memory://bucket/data", cache=config)[25].tokens[0] == 2500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:100], "damaged"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 9'), "upgrade corpuskit"),
        (lambda text: text.replace('"complete": true', '"complete": false'), "incomplete"),
    ],
)
def test_a_remote_manifest_that_cannot_be_is_refused(memory, config, change, message):
    text = memory.cat_file("/bucket/data/dataset.json").decode()
    memory.pipe_file("/bucket/data/dataset.json", change(text).encode())
    with pytest.raises(ArtifactError, match=message) as caught:
        shards.open("memory://bucket/data", cache=config)
    assert caught.value.where == "memory://bucket/data/dataset.json"


def test_what_is_no_dataset_or_has_another_tokenizer_is_refused(memory, config):
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.open("memory://bucket/nothing", cache=config)
    with pytest.raises(MismatchError):
        shards.open("memory://bucket/data", tokenizer=ByteTokenizer(), cache=config)
    with pytest.raises(InputError, match="no protocol"):
        shards.open("nonsense://bucket/data", cache=config)


def test_a_local_url_is_a_local_dataset(local):
    data = shards.open(f"file://{local}")
    assert data.remote is None and data[0].tokens.tolist() == list(range(100))


def test_the_cache_stays_within_its_bound_and_evicts_the_least_recently_used(local, memory, tmp_path):
    size = shard_bytes(local)
    config = CacheConfig(str(tmp_path / "cache"), 3 * size + 100)
    data = shards.open("memory://bucket/data", cache=config)
    largest = 0
    for document in range(0, 120, 10):
        assert data[document].tokens[0] == document * 100
        largest = max(largest, data.remote.cache.used_bytes())
    assert 2 * size < largest <= config.max_bytes and data.remote.cache.evictions >= 3
    data.remote.close()
    names = {path.name for path in config.path.glob("*.arrow")}
    entries = load_manifest(local).shards
    assert names == {f"{entry.checksum}.arrow" for entry in entries[-3:]}


def test_shard_wise_order_reads_every_shard_once_an_epoch_with_a_small_cache(local, memory, tmp_path):
    config = CacheConfig(str(tmp_path / "cache"), 4 * shard_bytes(local) + 100)
    data = shards.open("memory://bucket/data", cache=config)
    options = {"shuffle_window": 2, "seed": 5}
    count = SHARDS * SHARD_TOKENS // 200
    seen = batches(data, count, **options)
    assert sorted(np.concatenate(seen).reshape(-1).tolist()) == list(range(SHARDS * SHARD_TOKENS))
    fetched = data.remote.statistics.fetched_shards
    assert SHARDS <= fetched <= SHARDS + 4  # the next epoch's first windows may be on their way
    assert same(seen, batches(shards.open(local), count, **options))


def test_prefetching_brings_the_next_shards_before_they_are_asked_for(local, memory, config):
    data = shards.open("memory://bucket/data", cache=config)
    data.prefetch([4, 2, 99])
    for _ in range(1000):
        if len(list(config.path.glob("*.arrow"))) == 2:
            break
        threading.Event().wait(0.01)
    assert data[80].tokens[0] == 8000 and data[40].tokens[0] == 4000
    assert data.remote.statistics.fetched_shards == 2


def test_mixing_all_of_a_dataset_that_the_cache_cannot_hold_is_refused(local, memory, tmp_path):
    config = CacheConfig(str(tmp_path / "cache"), 3 * shard_bytes(local))
    data = shards.open("memory://bucket/data", cache=config)
    for options in ({}, {"shuffle_window": 2}):
        with pytest.raises(ConfigError, match="shuffle_window"):
            data.loader(50, 4, framework="numpy", **options)
    data.loader(50, 4, framework="numpy", shuffle_window=1)
    assert next(data.loader(50, 4, framework="numpy", shuffle=False))["input_ids"][0, 0] == 0
    with pytest.raises(ConfigError, match="max_bytes"):
        shards.open("memory://bucket/data", cache=CacheConfig(config.directory, 100))


def test_a_damaged_file_in_the_cache_is_fetched_again(local, memory, config):
    shards.open("memory://bucket/data", cache=config)[0]
    [path] = config.path.glob("*.arrow")
    whole = path.read_bytes()
    for damage in (whole[:100], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damage)
        data = shards.open("memory://bucket/data", cache=config)
        assert data[0].tokens.tolist() == list(range(100))
        assert path.read_bytes() == whole


def test_a_full_disk_evicts_what_is_not_in_use_and_then_says_so(local, memory, config, monkeypatch):
    data = shards.open("memory://bucket/data", cache=config)
    data[0], data[25]
    data.remote.close()
    real, left = cache_module._take_space, [2]

    def full(descriptor, size):
        if len(list(config.path.glob("*.arrow"))) > left[0] - 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, size)

    monkeypatch.setattr(cache_module, "_take_space", full)
    assert data[45].tokens[0] == 4500 and data.remote.cache.evictions == 2
    left[0] = 0
    with pytest.raises(ResourceError, match="no space left") as caught:
        data[65]
    assert str(config.path) in caught.value.where
    assert not list(config.path.glob(".*.tmp"))
    monkeypatch.setattr(cache_module, "_take_space", real)
    assert data[65].tokens[0] == 6500


def test_a_disk_that_fills_up_while_a_shard_arrives_leaves_nothing(local, memory, config, monkeypatch):
    data = shards.open("memory://bucket/data", cache=config)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(cache_module.os, "fsync", full)
        with pytest.raises(ResourceError, match="no space left"):
            data[0]
    assert not list(config.path.glob("*.arrow")) and not list(config.path.glob(".*.tmp"))
    assert data[0].tokens[0] == 0


def test_a_cache_full_of_what_others_use_is_an_error_and_nothing_of_theirs_is_lost(
    local, memory, tmp_path, monkeypatch
):
    monkeypatch.setattr(cache_module, "_PATIENCE_S", 0.1)
    config = CacheConfig(str(tmp_path / "cache"), 2 * shard_bytes(local) + 100)
    first, second, third = (shards.open("memory://bucket/data", cache=config) for _ in range(3))
    views = first[0].tokens, second[25].tokens
    with pytest.raises(ResourceError, match="in use"):
        third[45]
    assert views[0].tolist() == list(range(100)) and views[1][0] == 2500
    second.remote.close()
    assert third[45].tokens[0] == 4500 and views[1][0] == 2500  # evicted, and still mapped


def read_all(url, config, results):
    data = shards.open(url, cache=config)
    total = sum(int(data[document].tokens.sum()) for document in range(len(data)))
    results.put((total, data.remote.statistics.fetched_shards))


def test_processes_share_a_cache_and_fetch_each_shard_once(local, web, config):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=read_all, args=(web.url, config, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    total = sum(range(SHARDS * SHARD_TOKENS))
    assert [one[0] for one in found] == [total, total]
    assert sum(one[1] for one in found) == SHARDS


def test_a_forked_worker_reads_on_its_own(local, memory, config):
    """As torch's DataLoader makes its workers; a lock that the parent held must not hold them up."""
    data = shards.open("memory://bucket/data", cache=config)
    assert data[0].tokens[0] == 0
    context = multiprocessing.get_context("fork")
    results = context.Queue()

    def work():
        results.put([int(data[document].tokens[0]) for document in (5, 45)])

    with data.remote._lock:
        process = context.Process(target=work)
        process.start()
        assert results.get(timeout=60) == [500, 4500]
        process.join()
    assert data[45].tokens[0] == 4500


def test_a_sidecar_beside_remote_shards_saves_reading_them_all(local, memory, config, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    packed = shards.open(local).packed(128)
    [sidecar] = local.glob("packing-*.json")
    memory.pipe_file(f"/bucket/data/{sidecar.name}", sidecar.read_bytes())
    data = shards.open("memory://bucket/data", cache=config)
    there = data.packed(128)
    assert data.remote.statistics.fetched_shards == 0 and there.statistics == packed.statistics
    assert there[0].tolist() == packed[0].tolist()
    memory.pipe_file(f"/bucket/data/{sidecar.name}", b"damaged")
    assert shards.open("memory://bucket/data", cache=config).packed(128).statistics == packed.statistics


def test_what_a_killed_process_left_is_taken_over(local, memory, config):
    data = shards.open("memory://bucket/data", cache=config)
    entry = data.manifest.shards[0]
    (config.path / f".{entry.checksum}.tmp").write_bytes(b"half")
    (config.path / f"{entry.checksum}.lock").touch()
    (config.path / ".0123.tmp").write_bytes(bytes(config.max_bytes))  # of another dataset
    assert data[0].tokens[0] == 0 and data.remote.cache.evictions == 1
    assert not list(config.path.glob(".*.tmp"))


def test_a_cache_that_cannot_be_made_is_an_error(memory, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cache directory"):
        shards.open("memory://bucket/data", cache=CacheConfig(str(tmp_path / "file" / "cache")))


@pytest.mark.parametrize("workers", [0, 2])
def test_restoring_at_every_step_from_a_remote_dataset(local, memory, tmp_path, workers):
    config = CacheConfig(str(tmp_path / "cache"), 4 * shard_bytes(local) + 100)
    data = shards.open("memory://bucket/data", cache=config)
    options = {"framework": "numpy", "shuffle_window": 2, "workers": workers}
    with data.loader(50, 24, **options) as loader:
        states, found = [loader.state_dict()], []
        for _ in range(12):  # an epoch has 10
            found.append(next(loader)["input_ids"])
            states.append(loader.state_dict())
        for step, state in enumerate(states):
            loader.load_state_dict(state)
            assert same([next(loader)["input_ids"] for _ in range(12 - step)], found[step:])


@pytest.mark.parametrize("scheme", ["memory", "http"])
def test_verify_finds_behind_a_url_what_it_finds_in_a_directory(local, memory, web, scheme):
    url = "memory://bucket/data" if scheme == "memory" else web.url
    assert shards.verify(url) == replace(shards.verify(local), directory=url)

    def change(name, content):
        memory.pipe_file(f"/bucket/data/{name}", content)
        (local / name).write_bytes(content)

    whole = (local / "shard-00001.arrow").read_bytes()
    change("shard-00001.arrow", whole[:-50] + bytes([whole[-50] ^ 4]) + whole[-49:])
    change("shard-00002.arrow", whole[:100])
    memory.rm_file("/bucket/data/shard-00004.arrow")
    (local / "shard-00004.arrow").unlink()
    expected, report = shards.verify(local), shards.verify(url)
    assert len(expected.problems) > 3 and {p.kind for p in expected.problems} > {
        "checksum",
        "missing",
        "size",
    }
    assert report == replace(expected, directory=url)
    manifest = (local / "dataset.json").read_text()
    change("dataset.json", manifest.replace('"complete": true', '"complete": false').encode())
    assert "incomplete" in {problem.kind for problem in shards.verify(url).problems}
    assert shards.info(url)["complete"] is False
    change("dataset.json", b"{")
    assert [problem.kind for problem in shards.verify(url).problems] == ["manifest"]
    with pytest.raises(ArtifactError, match="damaged"):
        shards.info(url)


def test_verify_looks_at_the_tokenizer_beside_a_remote_dataset(tmp_path):
    from corpuskit import vocab

    tokenizer = vocab.train(["我们在这里", "他们在那里"], vocab_size=262)
    with shards.Writer(tmp_path / "d", tokenizer=tokenizer) as writer:
        writer.write_tokens(token_batch([[1, 2, 3]]))
    tokenizer.save(tmp_path / "d" / "tokenizer")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.put(str(tmp_path / "d"), "/beside/d", recursive=True)
    assert shards.verify("memory://beside/d").ok
    other = vocab.train(["另一个另一个"], vocab_size=259).save(tmp_path / "other")
    system.put(f"{other}/", "/beside/d/tokenizer/", recursive=True)
    (problem,) = shards.verify("memory://beside/d").problems
    assert problem.kind == "tokenizer" and "lies beside shards of tokenizer" in problem.detail
    system.store.clear()


def test_verify_says_where_it_needs_room(local, memory, monkeypatch):
    from corpuskit.shards import remote_verification

    def full(address, path):
        if path.suffix == ".arrow":
            raise OSError(errno.ENOSPC, "No space left on device")
        fetch(address, path)

    fetch = remote_verification.fetch_file
    monkeypatch.setattr(remote_verification, "fetch_file", full)
    with pytest.raises(ResourceError, match="no space left"):
        shards.verify("memory://bucket/data")
