"""A crawl to benchmark on: gzipped WARC files of real Chinese pages, built once from what is at hand.

The test data's pages (news, forums, blogs; 145 kB and some hundred links each) and the Chinese help pages
of LibreOffice (9 kB; half are Traditional, and a third is still in English) together are some 5,200
responses. The help pages come as Debian packages; where apt is missing, the test data's pages are repeated
instead, and where those are missing too, the demo's. Records look as in a public crawl: one gzip member
each, an HTTP header without a charset, the payload's type in ``WARC-Identified-Payload-Type``.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from harness import RESULTS

DATA = Path(os.environ.get("CORPUSKIT_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
PACKAGES = ("libreoffice-help-zh-cn", "libreoffice-help-zh-tw")
RECORDS_WITHOUT_PACKAGES = 5_000
PARTS = 4
"""Files of a crawl: a WARC is read by one worker, so several workers need several files."""


class WebPage(NamedTuple):
    """An address and what was served there."""

    url: str
    body: bytes


def web_pages() -> list[WebPage]:
    """The test data's pages, raw; the demo's where there is no test data."""
    paths = [path for name in ("pages", "gold") for path in sorted((DATA / "html" / name).glob("*.html"))]
    if paths:
        return [
            WebPage(f"https://example.com/{path.parent.name}/{path.name}", path.read_bytes())
            for path in paths
        ]
    from corpuskit.pipeline.demo.build import articles, page

    return [
        WebPage(f"https://example.com/demo/{number}.html", page(article).encode())
        for number, article in enumerate(articles())
    ]


def help_pages(cache: Path) -> list[WebPage]:
    """LibreOffice's Chinese help pages out of Debian's packages, or nothing where apt is missing."""
    root = cache / "packages"
    if not root.is_dir():
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            return []
        downloads = cache / "packages.tmp"
        downloads.mkdir(parents=True, exist_ok=True)
        got = subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=downloads, capture_output=True)
        packages = sorted(downloads.glob("*.deb"))
        if got.returncode != 0 or len(packages) < len(PACKAGES):
            return []
        for package in packages:
            subprocess.run(["dpkg", "-x", package.name, "."], cwd=downloads, check=True)
        downloads.rename(root)
    paths = sorted((root / "usr" / "share" / "libreoffice" / "help").rglob("*.html"))
    return [
        WebPage(f"https://help.example.com/{path.relative_to(root)}", path.read_bytes()) for path in paths
    ]


def build(directory: Path = RESULTS / "crawl") -> list[Path]:
    """The WARC files of the crawl, built on the first call.

    Pages are dealt out in an order that is mixed by hash, so that every part holds the same mixture.
    """
    parts = [directory / f"part-{number}.warc.gz" for number in range(PARTS)]
    if all(part.exists() for part in parts):
        return parts
    directory.mkdir(parents=True, exist_ok=True)
    pages = web_pages()
    helps = help_pages(directory)
    if not helps:
        print(f"no packages from apt: the crawl repeats {len(pages)} pages")
        pages = list(islice(_repeated(pages), RECORDS_WITHOUT_PACKAGES))
    mixed = sorted([*pages, *helps], key=lambda page: hashlib.sha1(page.url.encode()).digest())
    for number, part in enumerate(parts):
        temporary = part.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(
                gzip.compress(_record("warcinfo", "", "application/warc-fields", b"software: none\r\n"))
            )
            for page in mixed[number::PARTS]:
                file.write(gzip.compress(_response(page), mtime=0))
        temporary.rename(part)
    return parts


def repeated(parts: Sequence[Path], times: int, directory: Path) -> list[Path]:
    """The same files `times` over, under names of their own, without copying them."""
    directory.mkdir(parents=True, exist_ok=True)
    links = []
    for turn in range(times):
        for part in parts:
            link = directory / f"turn-{turn}-{part.name}"
            if not link.exists():
                link.symlink_to(part.resolve())
            links.append(link)
    return links


def count_records(parts: Sequence[Path]) -> tuple[int, int]:
    """Response records, and their size in bytes when decompressed."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    records = total = 0
    for part in parts:
        with part.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=False):
                records += 1
                total += record.content_length
    return records, total


def _repeated(pages: list[WebPage]) -> Iterator[WebPage]:
    turn = 0
    while True:
        for page in pages:
            yield WebPage(f"{page.url}?turn={turn}", page.body)
        turn += 1


def _response(page: WebPage) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: example\r\n"
        f"Content-Length: {len(page.body)}\r\n\r\n"
    )
    return _record("response", page.url, "application/http; msgtype=response", head.encode() + page.body)


def _record(kind: str, url: str, content_type: str, block: bytes) -> bytes:
    name = hashlib.sha1(f"{kind} {url}".encode()).hexdigest()
    fields = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: <urn:uuid:{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:32]}>",
        "WARC-Date: 2024-03-05T08:00:00Z",
        *([f"WARC-Target-URI: {url}", "WARC-Identified-Payload-Type: text/html"] if url else []),
        f"Content-Type: {content_type}",
        f"Content-Length: {len(block)}",
    ]
    return "\r\n".join(fields).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"
