"""Files of which every record counts: read whole, or an error that names the line."""

import gzip
import json

import pytest

from corpuskit.errors import InputError
from corpuskit.ingest.records import holds_records, read_records

ROWS = [{"input": "问：“春天”？\n", "n": 1}, {"input": "答", "choices": ["甲", "乙"]}]


def text(rows=ROWS):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize(
    "content",
    [
        text().encode(), ("\ufeff" + text()).encode(), text().replace("}\n", "}\r\n\r\n \n").encode(),
        text().rstrip().encode(), json.dumps(ROWS).encode(), ("\ufeff \n" + json.dumps(ROWS)).encode(),
        gzip.compress(text().encode(), mtime=0),
    ],
    ids=["lines", "byte order mark", "empty lines", "no last newline", "array", "array after space", "gzip"],
)  # fmt: skip
def test_lines_and_arrays_are_read_compressed_or_not(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert [record.value for record in read_records(path)] == ROWS


def test_lines_are_numbered_with_the_empty_ones(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert [record.where for record in read_records(path)] == [f"{path}:2", f"{path}:4"]


def test_half_an_emoji_is_replaced(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a\\ud83d": ["\\ud83d\\ude00", {"b": "\\ude00"}]}\n')
    assert [record.value for record in read_records(path)] == [{"a\ufffd": ["😀", {"b": "\ufffd"}]}]


@pytest.mark.parametrize(
    ("content", "what", "place"),
    [
        (b'{"a": 1}\n{"a": \n', "not JSON", ":2"),
        (b'{"a": 1}\n\n7\n', "not a JSON object", ":3"),
        (b'{"a": 1}\n{"a": "\xd6\xd0"}\n', "not UTF-8", ":2"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", "not JSON", ":1"),
        (b'[{"a": 1}, 7]', "not a JSON object", ", item 2"),
        (b'[{"a": 1}', "begins like a JSON array", ""),
        (gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-12], "damaged", ":"),
    ],
    ids=["cut", "number", "GB 18030", "deep", "number in array", "open array", "cut gzip"],
)
def test_what_cannot_be_read_is_named_by_line(tmp_path, content, what, place):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=what) as caught:
        list(read_records(path))
    assert caught.value.where.startswith(f"{path}{place}") and caught.value.hint


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        list(read_records(tmp_path / "none.jsonl"))


def test_names_say_what_a_file_holds():
    for name in ("a.jsonl", "b/A.JSON", "a.jsonl.zst", "a.json.gz"):
        assert holds_records(name)
    for name in ("a.txt", "jsonl", "a.txt.gz", "a.jsonl.txt"):
        assert not holds_records(name)
