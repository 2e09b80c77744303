"""Inputs behind URLs: the same documents as from local files, and no half file taken for a whole one."""

from __future__ import annotations

import gzip
import http.server
import json
import socket
import threading
import zipfile
from functools import partial
from pathlib import Path

import fsspec
import pytest

import corpuskit as ck
from corpuskit.errors import InputError, MissingExtra
from corpuskit.ingest import IngestJob, ReadOptions, attempts, expand_inputs, plan_slices, remote
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import open_remote

aiohttp = pytest.importorskip("aiohttp")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a directory with ranges; the server's `faults` say what goes wrong how often."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().do_GET()
        data = path.read_bytes()
        if server.faults.get("refuse", 0) > 0:
            server.faults["refuse"] -= 1
            return self.send_error(503)
        if server.faults.get("forbid"):
            return self.send_error(403)
        begin, end = 0, len(data)
        if "Range" in self.headers and not server.faults.get("no_ranges"):
            first, _, last = self.headers["Range"].partition("=")[2].partition("-")
            begin, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        body = data[begin:end]
        if server.faults.get("half", 0) > 0 and len(body) > 1000:
            server.faults["half"] -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return None
        self.wfile.write(body)
        return None


@pytest.fixture
def web(tmp_path):
    root = tmp_path / "served"
    root.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    server.faults, server.requests = {}, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.root, server.url = root, f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def rows(paths, **options):
    items = []
    batches = ck.read(paths, on_quarantine=items.append, **options)
    return [row for batch in batches for row in batch.to_pylist()], items


def jsonl(count, width=20):
    return "".join(
        json.dumps({"text": f"第{i}行" + "文" * width}, ensure_ascii=False) + "\n" for i in range(count)
    )


def test_a_pattern_on_a_url_gives_the_documents_and_ids_of_local_files(memory, tmp_path, build):
    local = tmp_path / "crawl"
    (local / "deep").mkdir(parents=True)
    (local / "a.jsonl").write_text(jsonl(300), encoding="utf-8")
    (local / "deep/b.jsonl.gz").write_bytes(gzip.compress(jsonl(200).encode()))
    (local / "deep/c.warc.gz").write_bytes(b"".join(build.gzip_each(build.pages(3))))
    (local / "d.txt").write_text("一个文件。", encoding="utf-8")
    for path in local.rglob("*.*"):
        memory.pipe(f"/bucket/crawl/{path.relative_to(local).as_posix()}", path.read_bytes())
    expected = sorted((row["id"], row["text"]) for row in rows(local)[0])
    for url in ("memory://bucket/crawl", "memory://bucket/crawl/", "memory://bucket/crawl/**"):
        found, items = rows(url)
        assert items == [] and sorted((row["id"], row["text"]) for row in found) == expected
    assert {row["source"] for row in rows("memory://bucket/crawl/**/*.jsonl*")[0]} == {
        "a.jsonl",
        "deep/b.jsonl.gz",
    }
    assert sorted(row["id"] for row in rows(f"file://{local}")[0]) == [i for i, _ in expected]


def test_tables_are_read_by_ranges(memory, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"text": [f"第{i}段" for i in range(5000)], "n": list(range(5000))})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "b.arrow"):
        memory.pipe(f"/t/{name}", (tmp_path / name).read_bytes())
        found, items = rows(f"memory://t/{name}")
        assert items == [] and [row["n"] for row in found] == list(range(5000))
    memory.pipe("/t/cut.parquet", (tmp_path / "a.parquet").read_bytes()[:-100])
    found, (item,) = rows("memory://t/cut.parquet")
    assert found == [] and item.reason == "ingest/damaged-file"


def test_files_in_an_archive_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/a.txt", "第一个文件。")
        archive.writestr("in/b.jsonl", jsonl(50))
        archive.writestr("readme.pdf", "no")
    with pytest.warns(UserWarning, match="readme"):
        found, items = rows(f"zip://**::{tmp_path}/x.zip")
    assert items == [] and len(found) == 51
    assert {row["source"] for row in found} == {"in/a.txt", "in/b.jsonl"}
    (row,) = rows(f"zip://in/a.txt::file://{tmp_path}/x.zip")[0]
    assert row["text"] == "第一个文件。"


def test_a_large_file_is_cut_into_slices_that_give_each_line_once(memory):
    memory.pipe("/big.jsonl", jsonl(4000).encode())
    whole, _ = rows("memory://big.jsonl")
    inputs = expand_inputs(["memory://big.jsonl"])
    groups = plan_slices(inputs.files, 60_000)
    assert len(groups) == 3 and sum(map(len, groups)) == 6
    from corpuskit.ingest import read_slice

    pieces = [
        text
        for group in groups
        for piece in group
        for chunk in read_slice(piece, ReadOptions())
        for text in chunk.batch.column("id").to_pylist()
    ]
    assert pieces == [row["id"] for row in whole]


def test_http_patterns_directories_and_files(web, build):
    (web.root / "a.txt").write_text("你好。", encoding="utf-8")
    (web.root / "b.html").write_text(build.page(1), encoding="utf-8")
    (web.root / "sub").mkdir()
    (web.root / "sub/c.txt").write_text("再见。", encoding="utf-8")
    assert [row["text"] for row in rows(f"{web.url}/*.txt")[0]] == ["你好。"]
    assert [row["title"] for row in rows(f"{web.url}/b.html")[0]] == ["标题1"]
    found, _ = rows([f"{web.url}/sub/", f"{web.url}/a.txt"])
    assert sorted(row["source"] for row in found) == ["a.txt", "sub/c.txt"]


def test_reading_begins_with_small_ranges_and_goes_on_with_large_ones(web):
    data = jsonl(20_000, 60).encode()
    (web.root / "big.jsonl").write_bytes(data)
    found, _ = rows(f"{web.url}/big.jsonl")
    assert len(found) == 20_000
    ranges = [text.partition("=")[2].split("-") for path, text in web.requests if text]
    sizes = [int(last) - int(first) + 1 for first, last in ranges]
    assert sizes[0] == 64 << 10 and max(sizes) > 1 << 20
    assert max(sizes) <= 8 << 20


@pytest.mark.parametrize("fault", ["half", "refuse"])
def test_a_connection_that_breaks_is_tried_again(web, fault):
    (web.root / "a.jsonl").write_text(jsonl(3000), encoding="utf-8")
    expected, _ = rows(web.root / "a.jsonl")
    web.faults[fault] = 2
    found, items = rows(f"{web.url}/a.jsonl")
    assert items == [] and [row["id"] for row in found] == [row["id"] for row in expected]
    assert web.faults[fault] == 0


def test_a_server_that_keeps_sending_half_is_an_error_and_never_a_shorter_file(web, tmp_path):
    (web.root / "a.jsonl").write_text(jsonl(3000), encoding="utf-8")
    job = IngestJob((f"{web.url}/a.jsonl",))
    web.faults["half"] = 1_000_000
    with pytest.raises(InputError, match="cannot be read") as caught:
        ck.run(job, tmp_path / "out")
    assert caught.value.where == f"{web.url}/a.jsonl" and "resumes" in caught.value.hint
    web.faults.clear()
    assert ck.run(job, tmp_path / "out").tally.kept == 3000


def test_a_file_that_was_stored_cut_is_quarantined_like_a_local_one(web, build):
    members = build.gzip_each(build.pages(3))
    (web.root / "a.warc.gz").write_bytes(b"".join(members)[:-50])
    found, (item,) = rows(f"{web.url}/a.warc.gz")
    assert len(found) == 2
    assert (item.reason, item.offset) == ("ingest/truncated-record", len(members[0]) + len(members[1]))


def test_a_server_without_ranges_is_read_through_a_copy(web):
    (web.root / "a.jsonl").write_text(jsonl(3000), encoding="utf-8")
    expected, _ = rows(web.root / "a.jsonl")
    web.faults["no_ranges"] = 1
    found, _ = rows(f"{web.url}/a.jsonl")
    assert [row["id"] for row in found] == [row["id"] for row in expected]


def test_a_short_answer_without_an_error_is_noticed(memory, monkeypatch):
    memory.pipe("/a.txt", b"x" * 100_000)
    original = type(memory).cat_file
    monkeypatch.setattr(
        type(memory),
        "cat_file",
        lambda self, path, start=None, end=None: original(self, path, start, end)[:-1],
    )
    with open_remote("memory://a.txt") as file, pytest.raises(InputError, match="cannot be read"):
        file.read()


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("/none.txt", "no such file", "address"),
        ("/*.warc", "matches nothing", "quote"),
    ],
)
def test_what_is_not_there_is_said(web, url, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        expand_inputs([web.url + url])
    assert hint in (caught.value.hint or "")


def test_refused_access_points_to_the_environment(web):
    (web.root / "a.txt").write_text("x")
    web.faults["forbid"] = 1
    with (
        pytest.raises(InputError, match="access is refused") as caught,
        open_remote(f"{web.url}/a.txt") as file,
    ):
        file.read()
    assert "environment" in caught.value.hint


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(InputError, match="holds credentials") as caught:
        expand_inputs(["ftp://user:hunter2@example.cn/a.txt"])
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        remote.find_remote("memory://none?contact=a@example.cn")
    assert "credentials" not in str(caught.value)


def test_signatures_are_neither_stored_nor_shown(web, tmp_path):
    (web.root / "a.jsonl").write_text('{"text": "好"}\n{bad\n', encoding="utf-8")
    signed = f"{web.url}/a.jsonl?X-Amz-Signature=hunter2"
    found, (item,) = rows(signed)
    assert found[0]["source"] == "a.jsonl" and item.path == f"{web.url}/a.jsonl"
    with pytest.raises(InputError) as caught:
        rows(f"{web.url}/none.jsonl?X-Amz-Signature=hunter2")
    assert "hunter2" not in str(caught.value)
    assert redact("zip://a::https://u:p@h/x.zip?k=v") == "zip://a::https://h/x.zip"


def test_a_missing_package_is_named(monkeypatch):
    def fail(url, **more):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    with pytest.raises(MissingExtra, match="gs://") as caught:
        expand_inputs(["gs://bucket/*.jsonl"])
    assert caught.value.hint == "pip install gcsfs"


def test_an_unknown_protocol_is_refused():
    with pytest.raises(InputError, match="no protocol"):
        expand_inputs(["gopher9://x/a.txt"])


def test_a_changed_remote_file_is_read_again_and_an_unchanged_one_is_not(memory, tmp_path):
    memory.pipe("/a.txt", "第一版。".encode())
    job = IngestJob(("memory://a.txt",))
    assert ck.run(job, tmp_path / "out").tasks_run == 1
    assert ck.run(job, tmp_path / "out").tasks_run == 0
    memory.pipe("/a.txt", "第二版。".encode())
    assert ck.run(job, tmp_path / "out").tasks_run == 1


def test_progress_of_a_remote_file_adds_up(memory, tmp_path):
    from corpuskit.jobs import Workspace

    memory.pipe("/a.jsonl", jsonl(5000, 200).encode())
    (task,) = IngestJob(("memory://a.jsonl",), options=ReadOptions(batch_rows=500)).plan("documents", {})
    reported: list[int] = []
    task.function(task, Workspace(tmp_path, tmp_path / "c.json", "key", task.name, reported.append))
    assert sum(reported) == task.input_bytes == len(jsonl(5000, 200).encode()) and len(reported) > 3


def test_inputs_of_several_places_have_whole_paths_and_no_equal_ids(memory, tmp_path):
    (tmp_path / "a.txt").write_text("本地。", encoding="utf-8")
    memory.pipe("/x/a.txt", "远处。".encode())
    inputs = expand_inputs([tmp_path / "a.txt", "memory://x/a.txt"])
    assert inputs.root == ""
    assert sorted(file.relative_path for file in inputs) == sorted(
        [str(tmp_path / "a.txt").lstrip("/"), "memory/x/a.txt"]
    )
    found, _ = rows([tmp_path / "a.txt", "memory://x/a.txt"])
    assert len({row["id"] for row in found}) == 2


def test_a_root_may_be_a_url(memory):
    memory.pipe("/x/y/a.txt", "远处。".encode())
    (file,) = expand_inputs(["memory://x/y/a.txt"], root="memory://x")
    assert file.relative_path == "y/a.txt"
    with pytest.raises(InputError, match="outside the root"):
        expand_inputs(["memory://x/y/a.txt"], root="memory://other")


@pytest.mark.parametrize(
    "form", ["{}/a.jsonl", "{}/*.jsonl", "{}/sub/", "zip://**::{}/c.zip", "zip://a::{}/c.zip"]
)
def test_a_server_that_is_down_is_said_to_be_down(form):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match=r"cannot connect.*attempts") as caught:
        expand_inputs([form.format(url)])
    assert caught.value.where == form.format(url) and "server is up" in caught.value.hint


def test_a_refused_ftp_connection_and_an_unknown_host_are_named(monkeypatch):
    calls = []

    def refuse(*args, **more):
        calls.append(args)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("ftplib.FTP.connect", refuse)
    with pytest.raises(InputError, match=r"cannot connect: .*refused"):
        expand_inputs(["ftp://127.0.0.1/x.jsonl"])
    assert len(calls) == attempts.ATTEMPTS

    def unknown(*args, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("ftplib.FTP.connect", unknown)
    with pytest.raises(InputError, match=r"cannot connect: .*not known"):
        expand_inputs(["ftp://nowhere.invalid/x.jsonl"])


def test_a_connection_refused_at_first_is_tried_again(web, monkeypatch):
    (web.root / "a.txt").write_text("你好。", encoding="utf-8")
    original = fsspec.core.url_to_fs
    failures = iter([ConnectionRefusedError(111, "Connection refused")] * 2)

    def unsteady(url, **more):
        for failure in failures:
            raise failure
        return original(url, **more)

    monkeypatch.setattr(fsspec.core, "url_to_fs", unsteady)
    assert [row["text"] for row in rows(f"{web.url}/a.txt")[0]] == ["你好。"]


@pytest.mark.parametrize("protocol", ["zip", "tar"])
@pytest.mark.parametrize("content", [b"no archive at all", b"PK\x05\x06", b""])
def test_a_damaged_archive_is_an_error_with_its_name(tmp_path, protocol, content):
    (tmp_path / "bad").write_bytes(content)
    url = f"{protocol}://**::{tmp_path}/bad"
    with pytest.raises(InputError) as caught:
        expand_inputs([url])
    assert caught.value.where == url and caught.value.hint


def test_an_archive_whose_content_is_damaged_is_an_error_with_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jsonl", jsonl(50))
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace("文".encode(), b"\0\0\0", 9))
    with pytest.raises(InputError, match="archive is damaged"):
        rows(f"zip://a.jsonl::{tmp_path}/x.zip")


@pytest.mark.parametrize("url", ["http://[broken/a.txt", "http://a..b/x.txt", "zip://", "memory://::"])
def test_a_url_that_makes_no_sense_is_an_error_and_no_fault(url):
    with pytest.raises(InputError) as caught:
        expand_inputs([url])
    assert caught.value.what


def test_schemes_may_be_written_in_capitals(web, tmp_path):
    (web.root / "a.txt").write_text("你好。", encoding="utf-8")
    (row,) = rows(f"HTTP{web.url[4:]}/a.txt")[0]
    assert row == rows(f"{web.url}/a.txt")[0][0]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "包里。")
    assert rows(f"ZIP://A.txt::FILE://{tmp_path}/x.zip".replace("A.txt", "a.txt"))[0][0]["text"] == "包里。"


@pytest.mark.parametrize("fault", [TimeoutError("timed out"), ConnectionResetError(104, "reset by peer")])
def test_what_fsspec_calls_not_found_is_not_always(memory, monkeypatch, fault):
    memory.pipe("/a.txt", b"x")
    faults = [fault] * 2
    original = type(memory).info

    def info(self, path, **more):
        if faults:
            raise FileNotFoundError(path) from faults.pop()
        return original(self, path, **more)

    monkeypatch.setattr(type(memory), "info", info)
    assert len(expand_inputs(["memory://a.txt"])) == 1
    faults += [fault] * 10
    with pytest.raises(InputError, match="cannot be read"):
        expand_inputs(["memory://a.txt"])
