"""Which document of a cluster stays: each rule against plain Python, ties, missing values, any order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dedup_helpers import random_text, rows_of, run_serially, write_part
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.dedup import ExactDeduplicator, MinHashDeduplicator
from corpuskit.dedup.keep import priorities
from corpuskit.documents import document_batch, document_id
from corpuskit.errors import ConfigError, InputError

TEXT = random_text(random.Random(3), 80)
SCORES = st.one_of(st.none(), st.sampled_from([0.0, -1.5, 0.25, 0.75, float("nan"), float("inf")]))
DATES = st.one_of(st.none(), st.sampled_from(["2020-01-01", "2023-12-31", "2023-12-31T08:00", "不详"]))
DOCUMENTS = st.lists(st.tuples(SCORES, DATES, st.integers(0, 3)), min_size=1, max_size=8)


def batch_of(documents):
    ids = [f"{(7 * i) % 11:02d}" for i in range(len(documents))]
    texts = [TEXT + " " * spaces for _, _, spaces in documents]  # white space does not count
    scores = pa.array([score for score, _, _ in documents], pa.float64())
    return document_batch(ids, texts, {"score": scores, "date": [date for _, date, _ in documents]})


def expected(batch, keep):
    def missing_last(value):
        absent = value is None or value != value
        return (absent, 0 if absent else -value)

    def newest_first(row):
        return (row["date"] is None, [-ord(c) for c in row["date"] or ""] + [1])

    rows = list(enumerate(batch.to_pylist()))
    rules = {
        "longest": lambda row: (-len(row[1]["text"]), row[1]["id"]),
        "newest": lambda row: (newest_first(row[1]), row[1]["id"]),
        "best-quality": lambda row: (missing_last(row[1]["score"]), row[1]["id"]),
        "first": lambda row: row[0],
    }
    return min(rows, key=rules[keep])[1]["id"]


@pytest.mark.parametrize("keep", ["longest", "newest", "best-quality", "first"])
@pytest.mark.parametrize("kind", [ExactDeduplicator, MinHashDeduplicator])
def test_each_rule_keeps_what_plain_python_keeps(keep, kind):
    @settings(max_examples=30, deadline=None)
    @given(DOCUMENTS)
    def check(documents):
        batch = batch_of(documents)
        if keep == "best-quality" and all(s is None or s != s for s, _, _ in documents):
            return
        result = kind(keep=keep, quality_column="score").deduplicate([batch])
        assert [i for b in result.kept for i in b["id"].to_pylist()] == [expected(batch, keep)]

    check()


@pytest.mark.parametrize("kind", [ExactDeduplicator, MinHashDeduplicator])
def test_a_quality_column_that_no_document_has_is_an_error(kind, tmp_path: Path):
    batches = [document_batch(["a"], [TEXT], {"score": pa.array([0.5])}), document_batch(["b"], [TEXT])]
    config = kind(keep="best-quality", quality_column="score")
    assert config.deduplicate(batches).kept[0]["id"].to_pylist() == ["a"]
    with pytest.raises(ConfigError, match="quality_column"):
        kind(keep="best-quality").deduplicate(batches)
    slices = [write_part(tmp_path / f"{i}.arrow", [b]) for i, b in enumerate(batches)]
    done = run_serially(config.job(slices), tmp_path / "run")
    assert [row["id"] for row in rows_of(done["apply"], "kept")] == ["a"]
    with pytest.raises(ConfigError, match="quality_score"):
        run_serially(kind(keep="best-quality").job(slices), tmp_path / "other")


def test_a_quality_column_of_words_is_an_error_and_of_whole_numbers_is_none():
    words = document_batch(["a"], [TEXT], {"score": ["好"]})
    with pytest.raises(InputError, match="score"):
        MinHashDeduplicator(keep="best-quality", quality_column="score").deduplicate([words])
    numbers = document_batch(["a", "b"], [TEXT, TEXT], {"score": pa.array([1, 9])})
    result = MinHashDeduplicator(keep="best-quality", quality_column="score").deduplicate([numbers])
    assert result.kept[0]["id"].to_pylist() == ["b"]


@pytest.mark.parametrize("kind", [ExactDeduplicator, MinHashDeduplicator])
def test_cluster_ids_and_sizes_are_columns(kind, tmp_path: Path):
    other = random_text(random.Random(4), 80)
    batches = [
        document_batch(["a", "b"], [TEXT, other], {"cluster_size": [9, 9]}),
        document_batch(["c", "d"], [TEXT + " ", TEXT]),
    ]
    config = kind(cluster_columns=True)
    slices = [write_part(tmp_path / f"{i}.arrow", [b]) for i, b in enumerate(batches)]
    done = run_serially(config.job(slices), tmp_path / "run")
    kept = {row["id"]: (row["cluster_id"], row["cluster_size"]) for row in rows_of(done["apply"], "kept")}
    assert kept == {"b": ("b", 1), "c": ("c", 3)}
    gone = {row["id"]: row["document"] for row in rows_of(done["apply"], "dropped")}
    assert {i: (r["cluster_id"], r["duplicate_of"], r["cluster_size"]) for i, r in gone.items()} == {
        "a": ("c", "c", 3),
        "d": ("c", "c", 3),
    }
    in_memory = config.deduplicate(batches).kept
    assert rows_of(done["apply"], "kept") == [row for b in in_memory for row in b.to_pylist()]
    plain = rows_of(run_serially(kind().job(slices[1:]), tmp_path / "plain")["apply"], "kept")
    assert "cluster_id" not in plain[0]


def test_of_copies_the_one_that_stays_is_the_centre_so_that_none_is_compared_twice(tmp_path: Path):
    batch = document_batch([document_id("crawl", i) for i in range(50)], [TEXT] * 50)
    done = run_serially(
        MinHashDeduplicator().job([write_part(tmp_path / "p.arrow", [batch])]), tmp_path / "r"
    )
    assert len(done["verify"]) == 1 and done["compare"] == []
    assert {row["document"]["duplicate_kind"] for row in rows_of(done["apply"], "dropped")} == {"direct"}


@given(st.lists(st.integers(0, 70_000), min_size=2, max_size=20))
def test_priorities_follow_the_length(lengths):
    documents = pa.table(
        {"id": [str(i) for i in range(len(lengths))], "characters": np.array(lengths, np.int64)}
    )
    found = priorities(documents, "longest").tolist()
    short = [min(n, 65_536) for n in lengths]  # exact up to here
    for i, a in enumerate(short):
        for j, b in enumerate(short):
            assert not (a > b and found[i] > found[j])


@given(st.lists(st.floats(allow_nan=False, width=16), min_size=2, max_size=20))
def test_priorities_follow_the_quality_of_either_sign(values):
    documents = pa.table(
        {"id": [str(i) for i in range(len(values))], "quality": np.array(values, np.float64)}
    )
    found = priorities(documents, "best-quality").tolist()
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert not (a > b and found[i] > found[j])
