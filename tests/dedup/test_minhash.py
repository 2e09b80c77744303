"""Near-duplicate removal: what is found, what is kept, and that nothing else changes the result."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from dedup_helpers import edited, random_text, rows_of, run_serially, total, write_part
from pyarrow import ipc

from corpuskit.dedup import MinHashDeduplicator, jaccard, shingles
from corpuskit.documents import document_batch, restore_dropped
from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.jobs import outputs_of

DEFAULT = MinHashDeduplicator()


def set_jaccard(a: str, b: str) -> float:
    left, right = set(shingles(a)), set(shingles(b))
    return len(left & right) / len(left | right)


def run_job(deduplicator, batches, directory: Path, rng=None, num_parts=3):
    directory.mkdir()
    groups = [batches[i::num_parts] for i in range(num_parts) if batches[i::num_parts]]
    slices = [write_part(directory / f"part{i}.arrow", group) for i, group in enumerate(groups)]
    return run_serially(deduplicator.job(slices), directory / "job", rng)


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix == ".arrow"
    }


@pytest.mark.parametrize("scheme", ["fss", "affine32", "affine64"])
def test_each_cluster_keeps_its_longest_document_and_every_drop_is_explained(corpus, tmp_path, scheme):
    done = run_job(MinHashDeduplicator(scheme=scheme), corpus, tmp_path / "run")
    texts = {i: t for b in corpus for i, t in zip(b["id"].to_pylist(), b["text"].to_pylist())}
    kept = {row["id"] for row in rows_of(done["apply"], "kept")}
    dropped = rows_of(done["apply"], "dropped")
    assert kept | {row["id"] for row in dropped} == set(texts)
    assert total(done["apply"]).documents_in == len(texts) == len(kept) + len(dropped)
    for original in range(40):
        family = [i for i in texts if i.startswith(f"{original:03d}-")]
        expected = min(family, key=lambda i: (-len(texts[i]), i))
        assert [i for i in family if i in kept] == [expected]
    for row in dropped:
        document = row["document"]
        assert row["reason"] == "dedup/near-duplicate" and row["threshold"] == 0.7
        assert document["duplicate_of"] in kept and document["duplicate_of"][:3] == row["id"][:3]
        assert row["value"] == set_jaccard(texts[row["id"]], texts[document["duplicate_of"]])
        assert document["duplicate_kind"] == ("direct" if row["value"] >= 0.7 else "transitive")
        assert document["cluster_size"] == sum(i[:3] == row["id"][:3] for i in texts)
        assert document["url"].startswith("u")


def test_files_are_identical_whatever_order_the_tasks_finish_in(corpus, tmp_path):
    config = replace(DEFAULT, band_partitions=2, chunk_characters=2000)
    expected = None
    for attempt in range(3):
        directory = tmp_path / "run"
        run_job(config, corpus, directory, random.Random(attempt) if attempt else None)
        found = files_below(directory)
        expected = expected or found
        assert found == expected
        directory.rename(tmp_path / f"run{attempt}")


@pytest.mark.parametrize("threshold", [0.7, None])
def test_decisions_do_not_depend_on_the_order_of_the_documents(corpus, threshold):
    config = replace(DEFAULT, verify_threshold=threshold, rows=4, bands=20)

    def decisions(batches):
        rows = [row for batch in config.deduplicate(batches).dropped for row in batch.to_pylist()]
        return sorted((row["id"], row["value"], sorted(row["document"].items())) for row in rows)

    rows = pa.Table.from_batches(corpus).to_pylist()
    expected = decisions(corpus)
    assert expected
    for attempt in range(3):
        random.Random(attempt).shuffle(rows)
        batches = pa.Table.from_pylist(rows, corpus[0].schema).to_batches(max_chunksize=11)
        assert decisions(batches) == expected


@pytest.mark.parametrize("threshold", [0.7, None])
@pytest.mark.parametrize("keep", ["longest", "first"])
def test_the_job_and_the_call_in_memory_agree(corpus, tmp_path, threshold, keep):
    config = replace(DEFAULT, verify_threshold=threshold, keep=keep, chunk_characters=3000)
    done = run_job(config, corpus, tmp_path / "run", num_parts=1)
    result = config.deduplicate(corpus)
    assert rows_of(done["apply"], "kept") == [r for b in result.kept for r in b.to_pylist()]
    assert rows_of(done["apply"], "dropped") == [r for b in result.dropped for r in b.to_pylist()]


def test_splitting_candidates_over_partitions_changes_no_decision(corpus, tmp_path):
    rows = []
    for partitions in (1, 3):
        done = run_job(replace(DEFAULT, band_partitions=partitions), corpus, tmp_path / str(partitions))
        rows.append(rows_of(done["clusters"], "decisions"))
    assert rows[0] == rows[1]


def test_recall_is_that_of_the_bands_and_precision_after_verification_is_one():
    rng = random.Random(11)
    texts = []
    for _ in range(1500):
        text = random_text(rng, 150)
        texts += [text, edited(rng, text, rng.randrange(1, 8))]
    batch = document_batch([f"{i:05d}" for i in range(len(texts))], texts)
    numbers = list(range(0, len(texts), 2))
    exact = jaccard(batch["text"], numbers, [i + 1 for i in numbers])
    result = replace(DEFAULT, verify_threshold=0.7).deduplicate([batch])
    dropped = [row for part in result.dropped for row in part.to_pylist()]
    assert all(row["value"] >= 0.7 for row in dropped)
    assert all(int(row["id"]) // 2 == int(row["document"]["duplicate_of"]) // 2 for row in dropped)
    true = exact[exact >= 0.7]
    expected = 1 - (1 - true**8) ** 14
    # The number found is a sum of independent trials; five standard deviations.
    spread = 5 * (expected * (1 - expected)).sum() ** 0.5
    assert abs(len(dropped) - expected.sum()) < spread


def test_a_chain_of_edits_marks_what_only_the_chain_joins():
    rng = random.Random(5)
    text = random_text(rng, 400)
    steps = [text]
    for step in range(1, 5):
        fresh = list(steps[-1])
        fresh[(step - 1) * 80 : (step - 1) * 80 + 55] = random_text(rng, 55)
        steps.append("".join(fresh))
    batch = document_batch([f"s{i}" for i in range(5)], steps)
    config = MinHashDeduplicator(bands=60, rows=3, keep="first", verify_threshold=0.7)
    (rows,) = config.deduplicate([batch]).dropped
    found = {r["id"]: (r["value"], r["document"]["duplicate_kind"]) for r in rows.to_pylist()}
    assert found["s1"][1] == "direct"
    assert found["s4"][0] < 0.7 and found["s4"][1] == "transitive"
    for name, (value, _) in found.items():
        assert value == set_jaccard(steps[0], steps[int(name[1])])


def test_copies_empty_documents_and_single_characters():
    texts = ["", " \u3000\n", "好", "好", "不好", "哈" * 5000, "哈" * 70, "哈哈", None]
    batch = document_batch(list("abcdefghi"), pa.array(texts, pa.large_string()))
    result = DEFAULT.deduplicate([batch])
    kept = [i for b in result.kept for i in b["id"].to_pylist()]
    # Five or more 哈 have one shingle, 哈哈哈哈哈; two are a shorter one.
    assert kept == ["a", "b", "c", "e", "f", "h", "i"]
    (rows,) = result.dropped
    assert [(r["id"], r["document"]["duplicate_of"], r["value"]) for r in rows.to_pylist()] == [
        ("d", "c", 1.0),
        ("g", "f", 1.0),
    ]


def test_giant_buckets_yield_a_star_and_are_counted():
    rng = random.Random(2)
    text = random_text(rng, 100)
    batch = document_batch([f"{i:04d}" for i in range(500)], [text] * 500)
    result = replace(DEFAULT, max_bucket=100).deduplicate([batch])
    assert [b["id"].to_pylist() for b in result.kept] == [["0000"]]
    assert result.metrics["giant_buckets"] == 14
    assert result.metrics["giant_bucket_documents"] == 14 * 500
    # One star for each of the 14 identical buckets; the centre is the same, so 499 pairs in all.
    assert result.metrics["pairs"] == 499


def test_the_job_reports_giant_buckets(tmp_path):
    text = random_text(random.Random(2), 100)
    batch = document_batch([f"{i:04d}" for i in range(200)], [text] * 200)
    done = run_job(replace(DEFAULT, max_bucket=100), [batch], tmp_path / "run", num_parts=1)
    counts = [entry.outcome.metrics["counts"] for entry in done["candidates"]]
    assert counts == [{"giant_buckets": 1, "giant_bucket_documents": 200}] * 14


def test_a_text_goes_only_to_the_chunks_that_need_it(corpus, tmp_path):
    done = run_job(replace(DEFAULT, chunk_characters=2000), corpus, tmp_path / "run")
    chunks = outputs_of(done["pairs"], "pairs")
    assert len(chunks) > 5
    needed = 0
    for output in chunks:
        rows = rows_of_output(output)
        needed += len({row[side] for row in rows for side in ("left", "right")})
    assert sum(output.rows for output in outputs_of(done["texts"], "texts")) == needed
    assert sum(output.rows for output in outputs_of(done["verify"], "similarities")) == sum(
        output.rows for output in chunks
    )


def rows_of_output(output):
    with ipc.open_file(output.path) as reader:
        return reader.read_all().to_pylist()


def test_newest_keeps_the_latest_date_and_a_missing_date_comes_last():
    text = random_text(random.Random(3), 80)
    dates = ["2021-05-01", None, "2023-01-31", "2023-01-31"]
    batch = document_batch(["a", "b", "d", "c"], [text] * 4, {"date": dates})
    result = replace(DEFAULT, keep="newest").deduplicate([batch])
    assert result.kept[0]["id"].to_pylist() == ["c"]


def test_white_space_does_not_count_and_punctuation_only_when_asked():
    text = random_text(random.Random(4), 60)
    spaced = "\u3000\u3000" + "\n".join(text[i : i + 4] for i in range(0, 60, 4))
    commas = "，".join(text[i : i + 4] for i in range(0, 60, 4))
    batch = document_batch(["a", "b", "c"], [text, spaced, commas])
    assert [len(DEFAULT.deduplicate([batch]).kept[0])] == [2]
    assert len(replace(DEFAULT, ignore="space-punctuation").deduplicate([batch]).kept[0]) == 1


def test_dropped_rows_restore_to_the_documents_that_came_in(corpus):
    result = DEFAULT.deduplicate(corpus)
    columns = corpus[0].schema.names
    rows = [r for b in result.kept for r in b.to_pylist()]
    rows += [{n: r[n] for n in columns} for d in result.dropped for r in restore_dropped(d).to_pylist()]
    expected = [r for b in corpus for r in b.to_pylist()]
    assert sorted(rows, key=lambda r: r["id"]) == sorted(expected, key=lambda r: r["id"])


def test_nothing_in_gives_nothing_out(tmp_path):
    empty = document_batch([], [])
    assert DEFAULT.deduplicate([]).kept == []
    assert DEFAULT.deduplicate([empty]).kept == [empty]
    assert DEFAULT.job([]).plan("signatures", {}) == []
    done = run_job(DEFAULT, [empty], tmp_path / "run", num_parts=1)
    assert total(done["apply"]).documents_in == 0


def test_keys_of_another_configuration_are_refused(corpus, tmp_path):
    (tmp_path / "run").mkdir()
    part = write_part(tmp_path / "run" / "part.arrow", corpus)
    done = run_serially(OnlySignatures(DEFAULT.job([part])), tmp_path / "run")
    other = replace(DEFAULT, seed=2).job([part]).plan("candidates", done)
    with pytest.raises(MismatchError, match="seed1"):
        other[0].function(other[0], None)


def test_a_truncated_key_file_is_named(corpus, tmp_path):
    (tmp_path / "run").mkdir()
    job = DEFAULT.job([write_part(tmp_path / "run" / "part.arrow", corpus)])
    done = run_serially(OnlySignatures(job), tmp_path / "run")
    path = Path(done["signatures"][0].outputs("bands")[0].path)
    path.write_bytes(path.read_bytes()[:-40])
    task = job.plan("candidates", done)[0]
    with pytest.raises(ArtifactError, match=path.name):
        task.function(task, None)


class OnlySignatures:
    """The first phase of a job."""

    phases = ("signatures",)

    def __init__(self, job):
        self.plan = job.plan


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bands", 0),
        ("rows", 0),
        ("keep", "best"),
        ("verify_threshold", 1.5),
        ("max_bucket", 1),
        ("band_partitions", 0),
        ("scheme", "simhash"),
    ],
)
def test_impossible_configuration_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        MinHashDeduplicator(**{field: value})
