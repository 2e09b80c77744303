import json
import os
import subprocess
import sys
import zlib

from corpuskit.pipeline.demo import CRAWL, demo_recipe
from corpuskit.pipeline.demo.build import articles, build, records


def members(data: bytes):
    """Decompressed gzip members; the last one may be cut."""
    while data:
        inflater = zlib.decompressobj(31)
        yield inflater.decompress(data), inflater.eof
        data = inflater.unused_data


def test_the_bundled_crawl_is_what_the_builder_makes(tmp_path):
    build(tmp_path / "crawl.warc.gz")
    bundled = list(members(CRAWL.read_bytes()))
    assert [content for content, _ in bundled[:-1]] == list(records())[:-1]
    assert len(list(members((tmp_path / "crawl.warc.gz").read_bytes()))) == len(bundled)
    assert all(whole for _, whole in bundled[:-1]) and not bundled[-1][1]


def test_the_crawl_holds_what_a_real_one_brings():
    text = b"".join(content for content, _ in members(CRAWL.read_bytes()))
    assert 60 <= len(articles()) <= 100
    assert text.count(b"WARC-Type: response") == len(articles()) + 4 + 8 + 1
    for charset in (b"gb2312", b"gb18030", b"big5", b"utf-8"):
        assert charset in text


def test_the_demo_goes_the_whole_road(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "corpuskit.cli",
            "demo",
            "-o",
            tmp_path / "demo",
            "--set",
            "train.steps=3",
            "--set",
            "train.threads=1",
            "--set",
            "generate.max_new_tokens=5",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    assert set(report["documents"]["dropped"]) >= {
        "clean/language", "clean/spam_terms", "dedup/exact-duplicate", "dedup/near-duplicate",
    }  # fmt: skip
    assert report["documents"]["quarantined"] == {"ingest/http-status": 1, "ingest/truncated-record": 1}
    assert report["vocabularies"]["gpt2-zh"]["vocab_size"] == 50257 + 1500
    assert [sample["prompt"] for sample in report["samples"]] == ["春天的时候，", "科学家发现，"]
    for words in ("came in", "kept", "generated", "report.json", "corpuskit demo --input"):
        assert words in done.stdout
    assert "step 3/3" in done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr


def test_the_demo_takes_other_input():
    recipe = demo_recipe("out", ["a.jsonl", "b/*.warc.gz"], overrides=["train.steps=3"])
    assert recipe.input.paths == ("a.jsonl", "b/*.warc.gz")
    assert (recipe.output, recipe.train.steps) == ("out", 3)
