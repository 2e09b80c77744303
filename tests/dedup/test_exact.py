"""Exact duplicates: what counts as equal, which one stays, and one result for any order."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import xxhash
from dedup_helpers import rows_of, run_serially, total, write_part
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.dedup import ExactDeduplicator
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError
from corpuskit.jobs import Workspace


def kept_ids(deduplicator, texts, **columns):
    ids = [chr(ord("a") + i) for i in range(len(texts))]
    batch = document_batch(ids, pa.array(texts, pa.large_string()), columns)
    return [i for b in deduplicator.deduplicate([batch]).kept for i in b["id"].to_pylist()]


@given(st.lists(st.text(alphabet="甲乙 \u3000é\u0301e，\n", max_size=5), min_size=1, max_size=12))
def test_what_stays_is_the_longest_of_each_group_of_equal_normalised_texts(texts):
    groups: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        normal = "".join(c for c in unicodedata.normalize("NFC", text) if c not in " \u3000\n")
        groups.setdefault(normal, []).append(i)
    expected = sorted(min(g, key=lambda i: (-len(texts[i]), i)) for g in groups.values())
    assert kept_ids(ExactDeduplicator(), texts) == [chr(ord("a") + i) for i in expected]


def test_the_hash_is_xxh3_128_of_the_normalised_text():
    high, low = ExactDeduplicator().hashes(pa.array(["天 地\u3000玄\n黄", "e\u0301"]))
    for upper, lower, text in zip(high.tolist(), low.tolist(), ["天地玄黄", "é"]):
        assert upper << 64 | lower == xxhash.xxh3_128_intdigest(text.encode())


def test_normalisation_is_as_configured():
    texts = ["ＡＢ，c", "AB,c", "ABc", "AB c"]
    assert kept_ids(ExactDeduplicator(), texts) == ["a", "b", "d"]
    assert kept_ids(ExactDeduplicator(ignore="nothing"), texts) == ["a", "b", "c", "d"]
    assert kept_ids(ExactDeduplicator(unicode_form="NFKC"), texts) == ["a", "d"]
    assert kept_ids(ExactDeduplicator("NFKC", "space-punctuation"), texts) == ["a"]


def test_keep_rules():
    assert kept_ids(ExactDeduplicator(keep="first"), ["甲乙", "甲 乙"]) == ["a"]
    assert kept_ids(ExactDeduplicator(keep="longest"), ["甲乙", "甲 乙"]) == ["b"]
    dates = ["2020-01-01", "2022-01-01", None]
    assert kept_ids(ExactDeduplicator(keep="newest"), ["甲"] * 3, date=dates) == ["b"]


@pytest.mark.parametrize("partitions", [1, 5])
def test_the_job_gives_the_same_files_in_any_order_of_tasks(tmp_path: Path, partitions):
    rng = random.Random(1)
    texts = [str(rng.randrange(30)) * 3 for _ in range(120)]
    ids = [f"{i:03d}" for i in range(120)]
    batches = [document_batch(ids[i : i + 10], texts[i : i + 10]) for i in range(0, 120, 10)]
    slices = [write_part(tmp_path / f"{i}.arrow", batches[i::3]) for i in range(3)]
    job = ExactDeduplicator(partitions=partitions).job(slices, dropped_text="none")
    runs = []
    for attempt in range(2):
        done = run_serially(job, tmp_path / str(attempt), random.Random(attempt))
        runs.append([output.checksum for entry in done["apply"] for output in entry.outcome.outputs])
    assert runs[0] == runs[1]
    kept, dropped = rows_of(done["apply"], "kept"), rows_of(done["apply"], "dropped")
    first = {text: min(i for i, t in zip(ids, texts) if t == text) for text in texts}
    assert sorted(row["id"] for row in kept) == sorted(first.values())
    by_id = dict(zip(ids, texts))
    for row in dropped:
        assert row["reason"] == "dedup/exact-duplicate" and row["value"] == 1.0 and row["text"] is None
        assert row["document"]["duplicate_of"] == first[by_id[row["id"]]]
        assert row["document"]["duplicate_kind"] == "direct"
        assert row["document"]["cluster_size"] == texts.count(by_id[row["id"]])
    assert total(done["apply"]).num_dropped == len(dropped) == 120 - len(kept)


def test_a_task_killed_after_a_part_continues_there(tmp_path: Path):
    batches = [
        document_batch([f"{i}{j}" for j in range(9)], [f"文{i}{j % 7}" for j in range(9)]) for i in range(6)
    ]
    job = replace(ExactDeduplicator().job([write_part(tmp_path / "p.arrow", batches)]), part_bytes=100)
    done = run_serially(job, tmp_path / "whole")
    (task,) = job.plan("apply", done)
    place = tmp_path / "killed"
    workspace = Workspace(place, place / "c", "k", task.name)

    class Killed(Exception):
        pass

    def stop_half_way(_):
        stop_half_way.calls += 1
        if stop_half_way.calls == 4:
            raise Killed

    stop_half_way.calls = 0
    workspace.report_progress = stop_half_way
    with pytest.raises(Killed):
        task.function(task, workspace)
    outcome = task.function(task, Workspace(place, place / "c", "k", task.name))
    whole = done["apply"][0].outcome
    assert [o.checksum for o in outcome.outputs] == [o.checksum for o in whole.outputs]
    assert outcome.tally == whole.tally and len(whole.outputs) > 4


@pytest.mark.parametrize(
    ("field", "value"), [("unicode_form", "NFD"), ("ignore", "x"), ("keep", "x"), ("partitions", 0)]
)
def test_impossible_configuration_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        ExactDeduplicator(**{field: value})
