"""Exact duplicate lines: what goes is what plain Python finds, in any order, and the rest stays as it is."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from dedup_helpers import rows_of, run_serially, total, write_part
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.lines import ignored_characters
from corpuskit.dedup.lines import LineDeduplicator
from corpuskit.documents import document_batch
from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.partitioned import parse_footer

POEM = "床前明月光疑是地上霜举头望明月低头思故乡"
PROSE = "这一段话在许多网页上都能见到，因为每个转载的网站都原样抄了一遍"
EASY = LineDeduplicator(min_characters=3, max_removed_share=1.0)


def visible(line: str) -> str:
    table = ignored_characters()
    kept = "".join(c for c in line if ord(c) >= 65536 or not table[ord(c)])
    return "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in kept)


def reference(documents: dict[str, str], config: LineDeduplicator) -> dict[str, list[str]]:
    """The visible lines that each document keeps."""
    order = sorted(documents, key=lambda i: xxhash.xxh3_64_intdigest(i.encode()))
    counts, first = {}, {}
    for name in order:
        for place, line in enumerate(documents[name].split("\n")):
            key = visible(line)
            counts[key] = counts.get(key, 0) + 1
            first.setdefault(key, (name, place))
    kept = {}
    for name in order:
        lines = [(visible(line), place) for place, line in enumerate(documents[name].split("\n"))]
        lines = [(key, place) for key, place in lines if key]
        stays = [
            key
            for key, place in lines
            if len(key) < config.min_characters or counts[key] == 1 or first[key] == (name, place)
        ]
        lost = sum(len(key) for key, _ in lines) - sum(map(len, stays))
        share = lost / max(1, sum(len(key) for key, _ in lines))
        kept[name] = stays if share <= config.max_removed_share else [key for key, _ in lines]
    return kept


def lines_by_id(batches) -> dict[str, list[str]]:
    rows = [row for batch in batches for row in batch.to_pylist()]
    return {row["id"]: [visible(x) for x in row["text"].split("\n") if visible(x)] for row in rows}


LINES = st.sampled_from(
    ["春眠不觉晓", "处处闻啼鸟", "夜 来风雨声", "夜来风雨声", "花落", "", "Ａ１2", "A12", "𠀀𠀁𠀂"]
)
DOCUMENTS = st.lists(st.lists(LINES, max_size=6), max_size=8)


@given(DOCUMENTS, st.sampled_from([0.3, 0.5, 1.0]))
def test_what_stays_is_what_plain_python_keeps(documents, share):
    config = replace(EASY, max_removed_share=share, beyond="keep")
    texts = {f"文{i}": "\n".join(lines) for i, lines in enumerate(documents)}
    names = list(texts)
    batches = [document_batch([i], [texts[i]]) for i in names[:2]]
    batches.append(document_batch(names[2:], [texts[i] for i in names[2:]]))
    result = config.deduplicate(batches)
    assert lines_by_id(result.kept) == reference(texts, config)
    assert result.dropped == []


def test_the_first_by_id_keeps_the_line_and_nearly_equal_lines_stay():
    texts = [POEM + "\n甲", POEM[:-1] + "乡。\n乙", "\u3000" + POEM + "\n丙丙丙丙丙丙丙"]
    batch = document_batch(["a", "b", "c"], texts, {"n": [1, 2, 3]})
    result = replace(EASY, min_characters=20).deduplicate([batch])
    kept = {row["id"]: row for part in result.kept for row in part.to_pylist()}
    first = min("ac", key=lambda i: xxhash.xxh3_64_intdigest(i.encode()))
    assert sorted(kept) == ["a", "b", "c"] and kept["b"]["text"] == texts[1]
    assert [i for i in "ac" if POEM in kept[i]["text"]] == [first]
    assert [kept[i]["n"] for i in "abc"] == [1, 2, 3]
    assert result.metrics["lines_removed"] == 1 and result.metrics["characters_removed"] == 20


def test_lines_shorter_than_the_minimum_stay():
    batch = document_batch(["a", "b"], ["谢谢大家！\n" + PROSE + "一", "谢谢大家！\n" + PROSE + "二"])
    result = LineDeduplicator(min_characters=6).deduplicate([batch])
    assert result.kept == [batch]


def test_a_document_that_would_lose_too_much_goes_whole_or_stays_whole():
    batch = document_batch(["a", "b"], [PROSE + "\n甲", PROSE + "\n乙"])
    gone = LineDeduplicator().deduplicate([batch])
    (dropped,) = gone.dropped
    (row,) = dropped.to_pylist()
    assert row["reason"] == "dedup/duplicate-lines" and row["threshold"] == 0.5
    assert row["value"] == len(PROSE) / (len(PROSE) + 1)
    assert row["text"] == batch["text"].to_pylist()["ab".index(row["id"])]
    assert gone.metrics["documents_over"] == 1 and gone.metrics["lines_removed"] == 0
    stays = LineDeduplicator(beyond="keep").deduplicate([batch])
    assert stays.kept == [batch] and stays.metrics["documents_over"] == 1


def test_a_paragraph_goes_only_as_a_whole():
    lines = ["枯藤老树昏鸦", "小桥流水人家", "古道西风瘦马"]
    own = "夕阳西下断肠人在天涯" * 3
    texts = [
        "\n".join(lines) + "\n\n" + own,
        own + "一\n\n" + "\n".join(lines),
        "\n".join(lines[:2]) + "\n\n" + own + "二",
    ]
    batch = document_batch(["a", "b", "c"], texts)
    result = replace(EASY, unit="paragraph", min_characters=10).deduplicate([batch])
    kept = {row["id"]: row["text"] for row in result.kept[0].to_pylist()}
    assert kept["c"] == texts[2]
    assert sum("古道西风瘦马" in kept[i] for i in "ab") == 1
    assert sum("枯藤老树昏鸦" in kept[i] for i in "ab") == 1


@pytest.mark.parametrize("memory_lines", [10, 1 << 20])
def test_the_job_gives_what_memory_gives_and_counts(tmp_path: Path, memory_lines):
    rng = random.Random(3)
    pool = ["".join(chr(rng.randrange(0x4E00, 0x5E00)) for _ in range(30)) for _ in range(40)]
    pool += [POEM] * 12
    documents = ["\n".join([f"第{i}篇的开头没有第二个", *rng.sample(pool, 5)]) for i in range(60)]
    batches = [
        document_batch([f"{i:02d}" for i in range(start, start + 10)], documents[start : start + 10])
        for start in range(0, 60, 10)
    ]
    config = LineDeduplicator(
        min_characters=15, max_removed_share=0.8, partitions=3, memory_lines=memory_lines
    )
    expected = config.deduplicate(batches)
    slices = [write_part(tmp_path / f"{i}.arrow", batches[i::2]) for i in range(2)]
    runs = []
    for attempt in range(2):
        done = run_serially(config.job(slices), tmp_path / str(attempt), random.Random(attempt))
        runs.append([o.checksum for phase in done.values() for e in phase for o in e.outcome.outputs])
    assert runs[0] == runs[1]
    by_id = {row["id"]: row for batch in expected.kept for row in batch.to_pylist()}
    assert {row["id"]: row for row in rows_of(done["apply"], "kept")} == by_id
    assert total(done["apply"]).documents_in == 60
    counts = [entry.outcome.metrics["counts"] for entry in done["apply"]]
    assert sum(c["lines_removed"] for c in counts) == expected.metrics["lines_removed"]
    report = Path(done["report"][0].outcome.outputs[0].path).read_text(encoding="utf-8")
    top = json.loads(report.split("\n")[0])
    assert top["text"] == POEM
    assert top["occurrences"] == sum(text.split("\n").count(POEM) for text in documents)


def test_the_order_of_the_files_changes_no_document(tmp_path: Path):
    texts = {
        f"{i:02d}": f"{PROSE}\n{i}号文章自己的话在这里写得足够长，别处没有第二份\n{POEM * (i % 3)}"
        for i in range(20)
    }
    parts = [document_batch(list(texts)[i::4], list(texts.values())[i::4]) for i in range(4)]
    found = []
    for number, order in enumerate(([0, 1, 2, 3], [2, 0, 3, 1])):
        directory = tmp_path / str(number)
        directory.mkdir()
        slices = [write_part(directory / f"{i}.arrow", [parts[i]]) for i in order]
        done = run_serially(LineDeduplicator().job(slices), directory)
        kept = [e.outputs("kept")[0].checksum for e in done["apply"]]
        found.append(dict(zip(order, kept)))
    assert found[0] == found[1]


def test_a_damaged_file_of_counts_is_named(tmp_path: Path):
    batch = document_batch(["a", "b"], [PROSE, PROSE])
    job = LineDeduplicator().job([write_part(tmp_path / "p.arrow", [batch])])
    done = run_serially(job, tmp_path / "run")
    run = Path(done["count"][0].outcome.outputs[0].path)
    data = bytearray(run.read_bytes())
    blocks = parse_footer(data, len(data)).blocks
    partition = int(np.flatnonzero(blocks["body"])[0])
    data[blocks["offset"][partition] + blocks["metadata"][partition]] ^= 1
    run.write_bytes(data)
    task = job.plan("decide", done)[partition]
    with pytest.raises(ArtifactError, match=run.name):
        task.function(task, None)
    assert not run.exists()  # so that the next run makes it again


def test_nothing_in_gives_nothing_out(tmp_path: Path):
    empty = document_batch([], [])
    assert LineDeduplicator().deduplicate([]).kept == []
    assert LineDeduplicator().deduplicate([empty]).kept == [empty]
    nulls = document_batch(["a", "b"], pa.array([None, ""], pa.large_string()))
    assert LineDeduplicator().deduplicate([nulls]).kept == [nulls]
    done = run_serially(LineDeduplicator().job([write_part(tmp_path / "p.arrow", [empty])]), tmp_path / "r")
    assert total(done["apply"]).documents_in == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit", "word"),
        ("beyond", "cut"),
        ("min_characters", 0),
        ("max_removed_share", 1.5),
        ("partitions", 0),
    ],
)
def test_impossible_configuration_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        LineDeduplicator(**{field: value})
