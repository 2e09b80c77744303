"""Small input files, built by hand so that their damage is known to the byte."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest

from corpuskit.ingest.chunks import Chunk, ReadOptions
from corpuskit.ingest.reader import read_slice
from corpuskit.jobs import Slice

PARAGRAPH = "我们昨天在北京的图书馆里看到了这本关于中国历史的书，里面的内容非常丰富，值得一读。"


class Builder:
    """Makes records and reads files back."""

    paragraph = PARAGRAPH

    @staticmethod
    def page(number: int) -> str:
        body = "".join(f"<p>第{number}页第{i}段：{PARAGRAPH}</p>" for i in range(4))
        head = f"<!doctype html><html><head><title>标题{number}</title></head>"
        return f"{head}<body><article>{body}</article></body></html>"

    @staticmethod
    def record(
        content: bytes,
        record_type: str = "response",
        mime: str = "application/http; msgtype=response",
        **more,
    ) -> bytes:
        headers = {
            "WARC-Type": record_type,
            "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000000>",
            "WARC-Target-URI": "http://example.cn/",
            "WARC-Date": "2024-05-01T00:00:00Z",
            "Content-Type": mime,
            "Content-Length": str(len(content)),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        head = "WARC/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return head.encode() + b"\r\n" + content + b"\r\n\r\n"

    def response(
        self, body: bytes, mime: str = "text/html; charset=utf-8", status: str = "200 OK", extra: str = ""
    ) -> bytes:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {mime}\r\n{extra}\r\n".encode()
        return self.record(head + body)

    def pages(self, count: int) -> list[bytes]:
        return [self.response(self.page(i).encode()) for i in range(count)]

    @staticmethod
    def gzip_each(records: Iterable[bytes]) -> list[bytes]:
        return [gzip.compress(record, mtime=0) for record in records]

    @staticmethod
    def read(path: Path, skip: int = 0, start: int = 0, stop: int | None = None, **options) -> list[Chunk]:
        piece = Slice(str(path), start, stop, path.name)
        return list(read_slice(piece, ReadOptions(**options), skip))

    def read_all(self, path: Path, **options) -> tuple[list[dict], list]:
        """Documents and quarantined records; every reader's accounts are checked on the way."""
        documents, quarantined, position = [], [], 0
        for chunk in self.read(path, **options):
            rows = chunk.batch.to_pylist() if chunk.batch is not None else []
            assert chunk.records == len(rows) + len(chunk.quarantined)
            position += chunk.records
            assert chunk.position == position
            documents += rows
            quarantined += chunk.quarantined
        assert len({row["id"] for row in documents}) == len(documents)
        return documents, quarantined

    def assert_resumes(self, path: Path, **options) -> None:
        """Skipping to the end of any chunk gives exactly the chunks behind it."""
        whole = self.read(path, **options)
        for index, chunk in enumerate(whole):
            rest = self.read(path, skip=chunk.position, **options)
            assert rest == whole[index + 1 :]


@pytest.fixture(scope="session")
def build() -> Builder:
    return Builder()
