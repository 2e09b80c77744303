from __future__ import annotations

import collections
import gzip
import io
import os
import zlib
from pathlib import Path

import pytest
import zstandard
from fastwarc.stream_io import BrotliWriter, Lz4Writer
from fastwarc.warc import ArchiveIterator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpuskit.documents import document_id
from corpuskit.ingest import framing, http, streams

DATA = Path(os.environ.get("CORPUSKIT_TEST_DATA", Path(__file__).parents[2] / "../shared/data")) / "warc"


def write(path, *pieces):
    path.write_bytes(b"".join(pieces))
    return path


def lz4(path, records):
    pieces = []
    for record in records:
        writer = Lz4Writer(str(path))
        writer.write(record)
        writer.close()
        pieces.append(path.read_bytes())
    return pieces


def reasons(quarantined):
    return [item.reason for item in quarantined]


def test_a_page_becomes_a_document_with_its_columns(build, tmp_path):
    path = write(tmp_path / "a.warc", *build.pages(1))
    documents, quarantined = build.read_all(path)
    assert quarantined == []
    (row,) = documents
    assert row["id"] == document_id("a.warc", 0)
    assert build.paragraph in row["text"]
    assert (row["url"], row["source"], row["date"]) == (
        "http://example.cn/",
        "a.warc",
        "2024-05-01T00:00:00Z",
    )
    assert (row["title"], row["charset"]) == ("标题0", "utf-8")


def test_records_that_describe_others_are_not_counted(build, tmp_path):
    others = [build.record(b"x: y\r\n", kind, "application/warc-fields") for kind in ("warcinfo", "metadata")]
    others += [build.record(b"GET / HTTP/1.1\r\n\r\n", kind) for kind in ("request", "revisit")]
    path = write(tmp_path / "a.warc", *others, *build.pages(1), *others)
    documents, quarantined = build.read_all(path)
    assert len(documents) == 1 and quarantined == []


def test_every_compression_gives_the_same_documents(build, tmp_path):
    records = build.pages(5)
    paths = [
        write(tmp_path / "a.warc", *records),
        write(tmp_path / "a.warc.gz", *build.gzip_each(records)),
        write(tmp_path / "one-member.warc.gz", gzip.compress(b"".join(records))),
        write(tmp_path / "a.warc.zst", *(zstandard.compress(record) for record in records)),
        write(tmp_path / "a.warc.lz4", *lz4(tmp_path / "frame", records)),
    ]
    results = [build.read_all(path) for path in paths]
    expected = [row["text"] for row in results[0][0]]
    assert len(expected) == 5
    for documents, quarantined in results:
        assert quarantined == []
        assert [row["text"] for row in documents] == expected


def test_ids_are_made_from_record_offsets(build, tmp_path):
    members = build.gzip_each(build.pages(4))
    documents, _ = build.read_all(write(tmp_path / "a.warc.gz", *members))
    offsets = [sum(map(len, members[:i])) for i in range(4)]
    assert [row["id"] for row in documents] == [document_id("a.warc.gz", offset) for offset in offsets]


def test_records_that_cross_gzip_members_are_whole(build, tmp_path):
    data = b"".join(build.pages(6))
    blocks = [gzip.compress(data[i : i + 777]) for i in range(0, len(data), 777)]
    documents, quarantined = build.read_all(write(tmp_path / "bgzip.warc.gz", *blocks))
    assert len(documents) == 6 and quarantined == []


@pytest.mark.parametrize("suffix", ["", ".gz", ".lz4", ".zst"])
def test_a_truncated_last_record_is_quarantined_with_its_offset(build, tmp_path, suffix):
    records = build.pages(3)
    if suffix == ".gz":
        pieces = build.gzip_each(records)
    elif suffix == ".zst":
        pieces = [zstandard.compress(record) for record in records]
    elif suffix == ".lz4":
        pieces = lz4(tmp_path / "frame", records)
    else:
        pieces = records
    path = write(tmp_path / f"a.warc{suffix}", *pieces[:2], pieces[2][:-200])
    documents, quarantined = build.read_all(path)
    assert len(documents) == 2
    (item,) = quarantined
    assert item.reason == "ingest/truncated-record"
    assert item.offset == len(pieces[0]) + len(pieces[1])


@pytest.mark.parametrize("position", [12, 100, -6])
def test_a_damaged_gzip_member_costs_only_itself(build, tmp_path, position):
    members = build.gzip_each(build.pages(10))
    damaged = bytearray(members[4])
    damaged[position] ^= 0xFF
    path = write(tmp_path / "a.warc.gz", *members[:4], bytes(damaged), *members[5:])
    documents, quarantined = build.read_all(path)
    assert [row["title"] for row in documents] == [f"标题{i}" for i in range(10) if i != 4]
    (item,) = quarantined
    assert (item.reason, item.offset) == ("ingest/damaged-gzip", sum(map(len, members[:4])))


def test_a_member_cut_in_the_middle_of_the_file_costs_only_itself(build, tmp_path):
    members = build.gzip_each(build.pages(5))
    path = write(tmp_path / "a.warc.gz", *members[:2], members[2][:150], *members[3:])
    documents, quarantined = build.read_all(path)
    assert [row["title"] for row in documents] == ["标题0", "标题1", "标题3", "标题4"]
    assert reasons(quarantined) == ["ingest/damaged-gzip"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_record_cut_by_its_writer_does_not_swallow_the_next(build, tmp_path, compress):
    records = build.pages(4)
    records[1] = records[1][:-300]
    pieces = build.gzip_each(records) if compress else records
    # Without a line end before it, a plain record behind a cut one cannot be told from its content.
    pieces[1] += b"" if compress else b"\r\n"
    documents, quarantined = build.read_all(write(tmp_path / "a.warc", *pieces))
    assert [row["title"] for row in documents] == ["标题0", "标题2", "标题3"]
    assert reasons(quarantined) == ["ingest/truncated-record"]
    assert quarantined[0].offset == len(pieces[0])


def test_bytes_between_records_are_quarantined_once(build, tmp_path):
    first, second = build.pages(2)
    path = write(tmp_path / "a.warc", first, b"garbage\nmore garbage\n" * 5000, second)
    documents, quarantined = build.read_all(path)
    assert len(documents) == 2
    assert [(item.reason, item.offset) for item in quarantined] == [("ingest/bad-record", len(first))]


def test_an_impossible_content_length_is_quarantined(build, tmp_path):
    first, second = build.pages(2)
    path = write(tmp_path / "a.warc", build.record(b"abc", Content_Length="-3"), first, second)
    documents, quarantined = build.read_all(path)
    assert len(documents) == 2 and reasons(quarantined) == ["ingest/bad-record"]


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"mime": "image/png"}, "ingest/not-text"),
        ({"status": "404 Not Found"}, "ingest/http-status"),
        ({"status": "301 Moved"}, "ingest/http-status"),
        ({"extra": "Content-Encoding: x-snappy\r\n"}, "ingest/bad-encoding"),
    ],
)
def test_what_is_no_page_is_quarantined_with_its_reason(build, tmp_path, kwargs, reason):
    record = build.response(build.page(0).encode(), **kwargs)
    documents, quarantined = build.read_all(write(tmp_path / "a.warc", record, *build.pages(1)))
    assert len(documents) == 1 and reasons(quarantined) == [reason]


def test_an_empty_page_is_quarantined(build, tmp_path):
    record = build.response(b"<html><body><script>var x=1;</script></body></html>")
    assert reasons(build.read_all(write(tmp_path / "a.warc", record))[1]) == ["ingest/empty"]


def test_a_page_in_an_unknown_charset_is_quarantined(build, tmp_path):
    noise = bytes((i * 7919 + i * i) % 127 + 128 for i in range(4000))
    record = build.response(b"<html><body><p>" + noise + b"</p></body></html>", "text/html; charset=x-none")
    documents, quarantined = build.read_all(write(tmp_path / "a.warc", record), max_error_rate=0.0)
    assert documents == [] and reasons(quarantined) == ["ingest/unknown-charset"]


@pytest.mark.parametrize("charset", ["gbk", "big5", "gb18030", "utf-8"])
def test_charsets_are_decoded_whatever_the_header_says(build, tmp_path, charset):
    text = "".join(
        f"<p>{'国语' if charset != 'big5' else '國語'}的一是在不了有和人，這是中文。</p>" for _ in range(20)
    )
    if charset != "big5":
        text = text.replace("這", "这")
    page = f'<html><head><meta charset="{charset}"></head><body>{text}</body></html>'.encode(charset)
    (row,) = build.read_all(write(tmp_path / "a.warc", build.response(page, "text/html")))[0]
    assert "的一是在不了有和人" in row["text"] and "\ufffd" not in row["text"]


def chunked(body):
    return (
        b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 99]), body[i : i + 99]) for i in range(0, len(body), 99))
        + b"0\r\n\r\n"
    )


def brotli(body, path):
    writer = BrotliWriter(str(path))
    writer.write(body)
    writer.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("encoding", "transfer"),
    [
        (None, "chunked"), ("gzip", None), ("gzip", "chunked"), ("x-gzip", None), ("deflate", None),
        ("bare deflate", None), ("br", None), ("wrong gzip", None), ("wrong br", None),
        (None, "wrong chunked"), ("cut gzip", None),
    ],
)  # fmt: skip
def test_http_encodings_are_undone_also_where_headers_lie(build, tmp_path, encoding, transfer):
    body = build.page(1).encode()
    extra = ""
    if encoding:
        kind = encoding.split()[-1]
        extra += f"Content-Encoding: {kind}\r\n"
        if encoding == "bare deflate":
            body = zlib.compress(body)[2:-4]
        elif encoding == "cut gzip":
            body = gzip.compress(body)[:-9]
        elif not encoding.startswith("wrong"):
            path = tmp_path / "body"
            compress = {"deflate": zlib.compress, "br": lambda data: brotli(data, path)}.get(
                kind, gzip.compress
            )
            body = compress(body)
    if transfer:
        extra += "Transfer-Encoding: chunked\r\n"
        body = chunked(body) if transfer == "chunked" else body
    record = build.response(body, extra=extra)
    (row,) = build.read_all(write(tmp_path / "a.warc", record))[0]
    assert row["title"] == "标题1" and build.paragraph in row["text"]


def test_bombs_are_quarantined_without_being_inflated(build, tmp_path):
    bomb = gzip.compress(b"<p>" + b"a" * 30_000_000)
    inner = build.response(bomb, extra="Content-Encoding: gzip\r\n")
    outer = build.response(b"a" * 5_000_000)
    path = write(tmp_path / "a.warc.gz", *build.gzip_each([inner, outer, *build.pages(1)]))
    documents, quarantined = build.read_all(path, max_record_bytes=4_000_000)
    assert len(documents) == 1
    assert reasons(quarantined) == ["ingest/too-large", "ingest/too-large"]
    # Within the size, but inflating 1,000 times.
    documents, quarantined = build.read_all(write(tmp_path / "b.warc", inner), max_ratio=100)
    assert reasons(quarantined) == ["ingest/too-large"]


def test_wet_and_resources_are_read(build, tmp_path):
    path = write(
        tmp_path / "a.wet.gz",
        gzip.compress(build.record(build.paragraph.encode(), "conversion", "text/plain")),
        gzip.compress(build.record(build.page(3).encode(), "resource", "text/html")),
        gzip.compress(build.record(b"\x89PNG", "resource", "image/png")),
    )
    documents, quarantined = build.read_all(path)
    assert documents[0]["text"] == build.paragraph
    assert documents[1]["title"] == "标题3"
    assert reasons(quarantined) == ["ingest/not-text"]


def test_resuming_behind_any_chunk_gives_the_rest(build, tmp_path):
    members = build.gzip_each(build.pages(9))
    members[5] = members[5][:-20]
    path = write(tmp_path / "a.warc.gz", *members)
    build.assert_resumes(path, batch_rows=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_ends_in_documents_and_quarantine(build, tmp_path, data):
    records = [build.response(f"<p>{build.paragraph}{i}</p>".encode()) for i in range(4)]
    kind = data.draw(st.sampled_from(["plain", "gz", "lz4", "zst"]))
    pieces = {
        "plain": lambda: records,
        "gz": lambda: build.gzip_each(records),
        "lz4": lambda: lz4(tmp_path / "frame", records),
        "zst": lambda: [zstandard.compress(record) for record in records],
    }[kind]()
    content = bytearray(b"".join(pieces))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path / "fuzz.warc", bytes(content[: data.draw(st.integers(1, len(content)))]))
    documents, quarantined = build.read_all(path)
    assert documents or quarantined


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not here")
def test_real_and_damaged_archives_end_in_documents_and_quarantine(build):
    found = {}
    for path in sorted(DATA.iterdir()):
        documents, quarantined = build.read_all(path, format="warc")
        found[path.name] = (len(documents), collections.Counter(reasons(quarantined)))
    for name in ("warcfile.warc", "warcfile.warc.gz", "warcfile.warc.lz4"):
        assert found[name] == (16, {})
    assert found["clipped.warc.gz"] == (0, {"ingest/truncated-record": 1})
    assert found["clueweb-quirk.warc.gz"] == (29, {})


def test_frames_agree_with_fastwarc_on_a_sound_file(build, tmp_path):
    from corpuskit.ingest.framing import read_frames
    from corpuskit.ingest.streams import open_stream

    records = [
        *build.pages(3),
        build.record(b"a: b\r\n", "metadata", "application/warc-fields"),
        *build.pages(2),
    ]
    content = b"".join(build.gzip_each(records))
    frames = list(read_frames(open_stream(io.BytesIO(content)), 1 << 20))
    theirs = [(r.stream_pos, r.reader.read()) for r in ArchiveIterator(io.BytesIO(content), parse_http=False)]
    assert [(f.offset, f.data.split(b"\r\n\r\n", 1)[1]) for f in frames] == theirs


def test_http_heads_are_parsed_as_leniently_as_servers_write_them():
    from corpuskit.ingest.http import media_type, parse_head

    head = parse_head(
        b"HTTP/1.0 200\nServer:a\n no colon here\ncontent-TYPE: text/html;\n\tcharset=GBK\n"
        b"Content-Encoding: gzip\nContent-Encoding: br\n\nbody"
    )
    assert (head.status, head.fields["content-encoding"], head.body_start) == (
        200,
        "gzip, br",
        len(head_bytes()),
    )
    assert media_type(head.fields["content-type"]) == ("text/html", "GBK")
    assert media_type('TEXT/HTML; boundary=x; CharSet="utf-8"') == ("text/html", "utf-8")
    assert parse_head(b"<html>").status is None
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: text/ht"
    assert parse_head(cut).body_start == len(cut)


def head_bytes():
    return (
        b"HTTP/1.0 200\nServer:a\n no colon here\ncontent-TYPE: text/html;\n\tcharset=GBK\n"
        b"Content-Encoding: gzip\nContent-Encoding: br\n\n"
    )


@pytest.mark.parametrize("status_line", [b"", b"ICY 200 OK\r\n", b"\r\n"])
def test_an_http_message_without_a_status_line_is_quarantined(build, tmp_path, status_line):
    record = build.record(status_line + b"Content-Type: text/html\r\n\r\n<html>")
    documents, quarantined = build.read_all(write(tmp_path / "a.warc", record, *build.pages(1)))
    assert len(documents) == 1 and reasons(quarantined) == ["ingest/bad-record"]


def test_a_zstd_body_is_decoded_and_a_damaged_one_quarantined(build, tmp_path):
    body = zstandard.compress(build.page(1).encode())
    extra = "Content-Encoding: zstd\r\n"
    records = [build.response(body, extra=extra), build.response(body[:8] + b"\xff" * 40, extra=extra)]
    documents, quarantined = build.read_all(write(tmp_path / "a.warc", *records))
    assert [row["title"] for row in documents] == ["标题1"]
    assert reasons(quarantined) == ["ingest/bad-encoding"]


def test_a_body_under_many_encodings_is_not_unwrapped_for_ever(build, tmp_path):
    record = build.response(b"<p>", extra="Content-Encoding: " + ", ".join(["gzip"] * 1000) + "\r\n")
    assert reasons(build.read_all(write(tmp_path / "a.warc", record))[1]) == ["ingest/bad-encoding"]


def test_a_body_in_millions_of_chunks_is_refused(monkeypatch):
    monkeypatch.setattr(http, "MAX_CHUNKS", 100)
    with pytest.raises(http.BodyError, match="more than 100 chunks"):
        http.decode_body(b"1\r\na\r\n" * 200 + b"0\r\n\r\n", "chunked", "", 1 << 20, 100)


@pytest.mark.parametrize("where", ["content", "behind the record", "header"])
def test_a_member_that_inflates_hugely_is_given_up_on_the_way(build, tmp_path, where, monkeypatch):
    """100 kB that inflate to 100 MB: what is decompressed stays near the budget, and the next is read."""
    zeros = b"a" * 100_000_000
    if where == "content":
        record = build.record(zeros)
    elif where == "behind the record":
        record = build.pages(1)[0] + zeros
    else:
        record = b"WARC/1.1\r\nX: " + zeros
    bomb = gzip.compress(record, 6)
    assert len(bomb) < 150_000
    del record, zeros
    path = write(tmp_path / "a.warc.gz", bomb, *build.gzip_each(build.pages(2)))
    decompressed = 0
    original = streams._Inflater.read

    def read(self, size):
        nonlocal decompressed
        data = original(self, size)
        decompressed += len(data)
        return data

    monkeypatch.setattr(streams._Inflater, "read", read)
    documents, quarantined = build.read_all(path, max_record_bytes=4_000_000)
    assert {row["title"] for row in documents} >= {"标题0", "标题1"}
    assert reasons(quarantined)[-1] == "ingest/too-large"
    assert all(item.offset == 0 for item in quarantined)
    assert decompressed < 30_000_000


def test_a_large_record_of_real_content_is_read_through_not_given_up(build, tmp_path):
    video = os.urandom(3_000_000)
    records = [build.pages(1)[0], build.response(video, "video/mp4"), build.pages(2)[1]]
    documents, quarantined = build.read_all(
        write(tmp_path / "one-member.warc.gz", gzip.compress(b"".join(records))), max_record_bytes=1_000_000
    )
    assert len(documents) == 2 and reasons(quarantined) == ["ingest/too-large"]


def test_what_was_found_out_about_pages_is_counted(build, tmp_path):
    text = build.page(1)
    pages = [
        text.encode("gb18030"),
        text.encode(),
        text.encode("gb18030").decode("latin-1").encode(),
        b"<html><body>" + "锟斤拷锟斤拷".encode() * 9 + b"</body></html>",
    ]
    path = write(tmp_path / "a.warc", *(build.response(page, "text/html") for page in pages))
    chunks = build.read(path)
    assert [chunk.counts for chunk in chunks] == [
        {
            "charset gb18030": 1,
            "charset utf-8": 3,
            "mojibake repaired:gb18030-as-latin-1": 1,
            "mojibake unrepaired:replacements-as-gb18030": 1,
        }
    ]
    assert chunks[0].batch.column("title").to_pylist()[:3] == ["标题1"] * 3


def test_a_file_made_of_beginnings_does_not_take_for_ever(build, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_MAX_CANDIDATES", 500)
    members = build.gzip_each(build.pages(2))
    path = write(tmp_path / "a.warc.gz", members[0], members[1][:60], b"\x1f\x8b\x08\x00" * 100_000)
    tried = 0
    original = streams.MemberStream._begins_with

    def count(self, offset, prefix):
        nonlocal tried
        tried += 1
        return original(self, offset, prefix)

    monkeypatch.setattr(streams.MemberStream, "_begins_with", count)
    documents, quarantined = build.read_all(path)
    assert len(documents) == 1 and len(quarantined) == 1
    assert tried == 500


def test_a_member_of_line_ends_is_read_once(build, tmp_path):
    records = build.gzip_each([build.pages(1)[0] + b"\r\n" * 3_000_000, *build.pages(2)[1:]])
    documents, quarantined = build.read_all(write(tmp_path / "a.warc.gz", *records))
    assert [row["title"] for row in documents] == ["标题0", "标题1"] and quarantined == []


def test_a_page_far_over_the_budget_is_refused_before_it_is_decoded(build, tmp_path):
    page = build.page(0).encode() + b" " * 21_000_000
    (item,) = build.read_all(write(tmp_path / "a.warc", build.response(page)))[1]
    assert item.reason == "ingest/too-large"


def counted(build, path):
    return sum(chunk.counts.get("body cut", 0) for chunk in build.read(path))


def cut_page(build, kind):
    """A response whose body lacks its end in the way that `kind` says."""
    body, extra = build.page(5).encode(), ""
    if kind.startswith("chunked"):
        extra = "Transfer-Encoding: chunked\r\n"
        body = chunked(body)
        body = {
            "chunked": body[:-150],
            "chunked in a size line": body[:-6],
            "chunked without end": body[:-5],
        }[kind]
    elif kind == "gzip":
        extra, body = "Content-Encoding: gzip\r\n", gzip.compress(body)[:-40]
    elif kind == "deflate":
        extra, body = "Content-Encoding: deflate\r\n", zlib.compress(body)[:-3]
    elif kind == "zstd":
        extra, body = "Content-Encoding: zstd\r\n", zstandard.compress(body)
        body = body[:-2]
    elif kind == "length":
        extra, body = f"Content-Length: {len(body)}\r\n", body[:-1]
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{extra}\r\n".encode()
    more = {"WARC_Truncated": "length"} if kind == "warc" else {}
    return build.record(head + body, **more)


@pytest.mark.parametrize(
    "kind",
    ["chunked", "chunked in a size line", "chunked without end", "gzip", "deflate", "zstd", "length", "warc"],
)
def test_a_body_that_was_cut_is_kept_and_counted(build, tmp_path, kind):
    path = write(tmp_path / "a.warc", cut_page(build, kind), *build.pages(1))
    documents, quarantined = build.read_all(path)
    assert len(documents) + len(quarantined) == 2
    if kind != "zstd":  # one block, which gives nothing when it is cut
        assert quarantined == [] and build.paragraph[:38] in documents[0]["text"]
        assert "\n3\n" not in documents[0]["text"] and counted(build, path) == 1


def test_a_cut_zstd_body_is_read_as_far_as_it_goes():
    data = os.urandom(400_000)
    whole = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    assert http.decode_body(whole, "", "zstd", 1 << 20, 100) == (data, False)
    assert http.decode_body(whole + whole, "", "zstd", 1 << 20, 100) == (data + data, False)
    body, cut = http.decode_body(whole[:-150_000], "", "zstd", 1 << 20, 100)
    assert cut and data.startswith(body) and body


@pytest.mark.parametrize("length", ["identity", "chunked", "shorter", "nonsense"])
def test_a_body_that_is_whole_is_not_called_cut(build, tmp_path, length):
    body, extra = build.page(1).encode(), ""
    if length == "chunked":  # a length beside chunks does not count (RFC 9112, section 6.3)
        extra = f"Content-Length: {len(body) * 9}\r\nTransfer-Encoding: chunked\r\n"
        body = chunked(body)
    else:
        said = {"identity": len(body), "shorter": len(body) - 300, "nonsense": "9999999, 9999999"}[length]
        extra = f"Content-Length: {said}\r\n"
    path = write(tmp_path / "a.warc", build.response(body, extra=extra))
    documents, quarantined = build.read_all(path)
    assert len(documents) == 1 and quarantined == [] and counted(build, path) == 0


@pytest.mark.parametrize("length", [1_000_000, 1_500, 60_000_000_000])
@pytest.mark.parametrize("compress", [None, "one member", "each"])
def test_a_lying_length_over_the_limit_costs_only_its_record(build, tmp_path, length, compress):
    records = build.pages(4)
    head = records[1].partition(b"\r\n\r\n")[0]
    content_length = int(head.rpartition(b"Content-Length: ")[2])
    records[1] = records[1].replace(b"Content-Length: %d" % content_length, b"Content-Length: %d" % length)
    limit = 1_400
    assert max(map(len, records)) < limit
    if compress == "each":
        data = b"".join(build.gzip_each(records))
    else:
        data = b"".join(records)
        data = gzip.compress(data) if compress else data
    path = write(tmp_path / ("a.warc.gz" if compress else "a.warc"), data)
    documents, quarantined = build.read_all(path, max_record_bytes=limit)
    assert [row["title"] for row in documents] == ["标题0", "标题2", "标题3"]
    assert reasons(quarantined) == ["ingest/too-large"]
    build.assert_resumes(path, max_record_bytes=limit, batch_rows=1)


def test_a_large_record_that_is_as_long_as_it_says_is_one_record(build, tmp_path):
    inner = b"".join(build.pages(3))
    outer = build.record(b"x\r\n" + inner + os.urandom(500_000), "resource", "application/warc")
    path = write(tmp_path / "a.warc", build.pages(1)[0], outer, build.pages(2)[1])
    documents, quarantined = build.read_all(path, max_record_bytes=100_000)
    assert [row["title"] for row in documents] == ["标题0", "标题1"]
    assert reasons(quarantined) == ["ingest/too-large"]
    path = write(tmp_path / "b.warc", outer)
    assert len(build.read_all(path, max_record_bytes=100_000)[1]) == 1


def test_what_lies_behind_a_lying_length_is_searched_in_blocks(build, tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "_READ_BYTES", 64)
    filler = b"y" * 5_000
    for shift in range(64):
        record = build.record(filler + b"z" * shift, "resource", "video/mp4", Content_Length=10**9)
        path = write(tmp_path / "a.warc", record, build.record("正文。".encode(), "resource", "text/plain"))
        frames = list(framing.read_frames(streams.PlainStream(path.open("rb")), 1_000))
        assert [frame.problem and frame.problem[0] for frame in frames] == ["ingest/too-large", None]
