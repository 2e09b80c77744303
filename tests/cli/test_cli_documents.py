"""What commands that read documents say at their end."""

from __future__ import annotations

import gzip

import pytest
from typer.testing import CliRunner

from corpuskit.cli.app import app

PAGE = "".join(
    f"<p>我们昨天在第{number}座图书馆里看到了这本关于中国历史的书，里面的内容非常丰富，值得一读。</p>"
    for number in "一二三四五六七八九十"
)


@pytest.fixture
def crawl(tmp_path):
    """A WARC file with a whole page and one whose gzip body is cut."""
    records = []
    for body in (gzip.compress(PAGE.encode()), gzip.compress(PAGE[:-99].encode())[:-30]):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n\r\n"
        content = head + body
        head = "WARC/1.1\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\n"
        length = f"Content-Length: {len(content)}\r\n\r\n"
        records.append(f"{head}{length}".encode() + content + b"\r\n\r\n")
    path = tmp_path / "crawl.warc"
    path.write_bytes(b"".join(records))
    return path


@pytest.mark.parametrize("command", [["clean"], ["dedup"], ["dedup", "--no-exact", "--no-near"]])
def test_bodies_that_were_cut_are_mentioned(crawl, tmp_path, command):
    arguments = [*command, str(crawl), "--output", str(tmp_path / "out"), "--workers", "1"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.count("note: 1 body was cut short and is kept as far as it goes") == 1


def test_a_summary_mentions_them_too():
    from corpuskit.cli.summary import _pages

    class Stage:
        metrics = {"counts": {"body cut": 1234}}

    class Report:
        stages = (Stage,)

    assert _pages(Report) == ["[bold]pages[/]  1,234 bodies were cut short and are kept as far as they go"]
