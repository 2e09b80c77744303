"""s3:// without s3fs: pyarrow's client behaves as any other fsspec file system here."""

from __future__ import annotations

import sys
from pathlib import Path

import fsspec
import pytest

pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from objectserver import ObjectServer, use

from corpuskit.errors import InputError, MissingExtra
from corpuskit.ingest import attempts, read, remote
from corpuskit.ingest.s3 import ArrowS3

NAMES = ["a.txt", "b c.txt", "deep/中文.txt", "odd/q?x#y%41.txt"]


def without_s3fs(url, url_to_fs=fsspec.core.url_to_fs):
    """fsspec where s3fs is not installed."""
    if "s3://" in url or "s3a://" in url:
        raise ImportError("Install s3fs to access S3")
    return url_to_fs(url)


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in NAMES:
        path = tmp_path / "buckets" / "corpus" / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 100, encoding="utf-8")
    server = ObjectServer(tmp_path / "buckets")
    for name, value in use(server.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(fsspec.core, "url_to_fs", without_s3fs)
    yield server
    server.close()


def test_files_are_found_and_read_in_ranges(server):
    anchor, files, named = remote.find_remote("s3://corpus/in")
    assert (anchor, named) == ("s3://corpus/in", False)
    assert [file.url for file in files] == [f"s3://corpus/in/{name}" for name in NAMES]
    assert all(file.size_bytes == len((name * 100).encode()) for file, name in zip(files, NAMES, strict=True))
    assert all(str(file.size_bytes) in file.identity and "20" in file.identity for file in files)
    assert [file.url for file in remote.find_remote("s3://corpus/in/*.txt")[1]] == [
        "s3://corpus/in/a.txt",
        "s3://corpus/in/b c.txt",
    ]
    for name in NAMES:
        with remote.open_remote(f"s3://corpus/in/{name}") as file:
            whole = file.read()
            assert whole == (name * 100).encode()
            file.seek(50)
            assert file.read(7) == whole[50:57]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*", {"a.txt", "b c.txt"}),
        ("in/*/*", {"deep/中文.txt", "odd/q?x#y%41.txt"}),
        ("in/d*/*.txt", {"deep/中文.txt"}),
        ("in/**", set(NAMES)),
        ("*/?.txt", {"a.txt"}),
        ("in/[ab]*.txt", {"a.txt", "b c.txt"}),
    ],
)
def test_patterns_mean_what_they_mean_on_a_disk(server, pattern, found):
    assert {
        file.url.removeprefix("s3://corpus/in/") for file in remote.find_remote(f"s3://corpus/{pattern}")[1]
    } == found


@pytest.mark.parametrize("url", ["s3://corpus/in", "s3://corpus/in/*.txt"])
def test_a_listing_that_fails_is_an_error_and_not_an_empty_one(server, url, monkeypatch):
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)  # pyarrow tries three times itself, with pauses
    server.misbehave(*["500"] * 20)
    with pytest.raises(InputError, match="it cannot be read"):
        remote.find_remote(url)


def test_a_server_that_is_not_there_is_named(server, monkeypatch):
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    server.close()
    with pytest.raises(InputError, match="s3://corpus/in/: cannot connect"):
        remote.find_remote("s3://corpus/in/")


def test_bytes_between_two_positions(server):
    system, whole = ArrowS3(), b"a.txt" * 100
    for start, end in ((None, None), (0, 10), (7, None), (490, 600), (500, 510)):
        assert system.cat_file("corpus/in/a.txt", start=start, end=end) == whole[start:end]


def test_documents_are_read_from_it(server):
    texts = [text for batch in read(["s3://corpus/in/a.txt"]) for text in batch["text"].to_pylist()]
    assert texts == ["a.txt" * 100]


@pytest.mark.parametrize("url", ["s3://corpus/none.txt", "s3://elsewhere/a.txt", "s3a://corpus/in/none"])
def test_what_is_not_there(server, url):
    with pytest.raises(InputError, match="no such file"):
        remote.find_remote(url)


def test_who_may_not_read_is_told_so(server):
    server.misbehave(*["403"] * 8)
    with pytest.raises(InputError, match="access is refused"), remote.open_remote("s3://corpus/in/a.txt"):
        pass
    assert server.faults["403"] < 3  # no use in trying again
    with pytest.raises(MissingExtra, match="Install s3fs"):  # a chain of file systems is fsspec's own
        remote.find_remote("zip://x.txt::s3://corpus/in/a.zip")


def test_what_pyarrow_says_is_understood(monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.001)
    refused = "When reading information for key 'a': AWS Error ACCESS_DENIED during HeadObject operation: No"
    assert attempts._status(OSError(refused)) == 403
    assert (
        attempts._status(OSError("AWS Error UNKNOWN (HTTP status 404) during GetObject operation: x")) == 404
    )
    assert attempts._status(OSError("AWS Error SLOW_DOWN during x")) == 0
    lost = OSError("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 6, Could not resolve")
    with pytest.raises(InputError, match=r"cannot connect.*curlCode: 6"):
        attempts.retry(lambda: (_ for _ in ()).throw(lost), "s3://corpus/a")
