"""Repeated passages: exactly the repeats of at least N characters go, whatever the corpus looks like."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from dedup_helpers import random_text, rows_of, run_serially, total, write_part
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.dedup.span_removal import intervals, whole_sentences, without
from corpuskit.dedup.span_search import equal_stretches
from corpuskit.dedup.substrings import SubstringDeduplicator
from corpuskit.documents import document_batch
from corpuskit.errors import ArtifactError, ConfigError, ResourceError

DEFAULT = SubstringDeduplicator()
SMALL = SubstringDeduplicator(min_characters=4, action="mark")

NOTICE = (
    "本站所有文章均由网友自行上传，版权归原作者所有；如有侵权请来信告知，"
    "我们将在三个工作日内删除相关内容并致歉。"
)


def repeats_by_suffix_array(texts: list[str], order: list[int], n: int) -> list[set[int]]:
    """The removable characters of each text, from sorted suffixes of all texts.

    Adjacent suffixes with a common prefix of n characters share their first window; in each such group
    the smallest (place in `order`, character) is the first occurrence.
    """
    rank = {text: place for place, text in enumerate(order)}
    suffixes = sorted(
        (texts[i][j:], rank[i], j, i) for i in range(len(texts)) for j in range(len(texts[i]) - n + 1)
    )
    groups: list[list[tuple]] = []
    for before, here in pairwise([("",), *suffixes]):
        if groups and before[0][:n] == here[0][:n]:
            groups[-1].append(here)
        else:
            groups.append([here])
    removed: list[set[int]] = [set() for _ in texts]
    for group in groups:
        first_rank, first_place = min(entry[1:3] for entry in group)
        for _, other_rank, place, text in group:
            if other_rank != first_rank or place - first_place >= n:
                removed[text] |= set(range(place, place + n))
    return removed


def by_id(ids: list[str]) -> list[int]:
    return sorted(range(len(ids)), key=lambda i: xxhash.xxh3_64_intdigest(ids[i].encode()))


def ids_for(texts: list[str]) -> list[str]:
    return [f"d{i:05d}" for i in range(len(texts))]


def marked(rows: list[dict], texts: dict[str, str]) -> dict[str, set[int]]:
    """The characters of the spans of each document, each span compared with its source."""
    found = {}
    for row in rows:
        found[row["id"]] = set()
        for span in row["repeated_spans"]:
            length = span["stop"] - span["start"]
            source = texts[span["document"]][span["document_start"] :][:length]
            assert source == texts[row["id"]][span["start"] : span["stop"]]
            found[row["id"]] |= set(range(span["start"], span["stop"]))
        assert row["repeated_characters"] == len(found[row["id"]])
    return found


def run_job(config, texts: list[str], directory: Path, parts: int = 3, rows: int = 2, rng=None):
    directory.mkdir()
    ids = ids_for(texts)
    per_part = -(-len(texts) // parts)
    slices = []
    for part in range(parts):
        here = range(part * per_part, min(len(texts), (part + 1) * per_part))
        chunks = [here[i : i + rows] for i in range(0, len(here), rows)] or [range(0)]
        batches = [document_batch([ids[i] for i in c], [texts[i] for i in c]) for c in chunks]
        slices.append(write_part(directory / f"p{part}.arrow", batches))
    return run_serially(config.job(slices), directory / "job", rng)


TEXTS = st.lists(st.text("甲乙a𠀀", max_size=25), min_size=1, max_size=8)


@given(TEXTS, st.integers(2, 7))
def test_exactly_the_repeats_of_n_characters_are_found(texts, n):
    config = replace(SMALL, min_characters=n)
    ids = ids_for(texts)
    for order in ("id", "input"):
        result = replace(config, order=order).deduplicate([document_batch(ids, texts)])
        expected = repeats_by_suffix_array(texts, by_id(ids) if order == "id" else list(range(len(texts))), n)
        found = marked(result.kept[0].to_pylist(), dict(zip(ids, texts)))
        assert found == dict(zip(ids, expected))


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
@pytest.mark.parametrize("seed", range(6))
def test_the_job_finds_exactly_the_same(tmp_path, chunk_bytes, seed):
    rng = random.Random(seed)
    n = rng.choice([2, 5, 12, 50])
    pool = [random_text(rng, rng.randrange(1, 3 * n)) for _ in range(4)] + ["啊" * 3 * n, "ab" * n, "𠀀é"]
    texts = [
        "".join(
            rng.choice(pool) if rng.random() < 0.5 else random_text(rng, 9) for _ in range(rng.randrange(9))
        )
        for _ in range(20)
    ]
    config = replace(SMALL, min_characters=n, chunk_bytes=chunk_bytes, partition_rows=40)
    done = run_job(config, texts, tmp_path / "run", parts=4)
    ids = ids_for(texts)
    found = marked(rows_of(done["apply"], "kept"), dict(zip(ids, texts)))
    assert found == dict(zip(ids, repeats_by_suffix_array(texts, by_id(ids), n)))
    assert sum(entry.outcome.metrics["unverified"] for entry in done["verify"]) == 0


def test_files_are_identical_whatever_order_the_tasks_finish_in(tmp_path):
    rng = random.Random(3)
    texts = [random_text(rng, 100) + NOTICE + random_text(rng, 50) for _ in range(24)]
    config = replace(DEFAULT, partition_rows=64)
    expected = None
    for attempt in range(3):
        run_job(config, texts, tmp_path / "run", rng=random.Random(attempt))
        files = {
            str(path.relative_to(tmp_path)): path.read_bytes() for path in (tmp_path / "run").rglob("*.arrow")
        }
        expected = expected or files
        assert files == expected
        (tmp_path / "run").rename(tmp_path / f"run{attempt}")


def test_the_order_of_the_files_does_not_matter(tmp_path):
    rng = random.Random(4)
    texts = [random_text(rng, 80) + NOTICE for _ in range(12)]
    batches = [document_batch([f"d{i}"], [text]) for i, text in enumerate(texts)]
    results = []
    for attempt in range(2):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        order = batches if attempt == 0 else batches[::-1]
        slices = [write_part(directory / f"{i}.arrow", order[i : i + 3]) for i in range(0, 12, 3)]
        done = run_serially(DEFAULT.job(slices), directory / "job")
        results.append({row["id"]: row["text"] for row in rows_of(done["apply"], "kept")})
    assert results[0] == results[1]
    assert sum(text.endswith(NOTICE) for text in results[0].values()) == 1


def test_one_notice_stays_and_the_rest_of_every_document_too(tmp_path):
    rng = random.Random(5)
    bodies = [random_text(rng, 120) for _ in range(9)]
    texts = [body[:60] + NOTICE + body[60:] for body in bodies]
    done = run_job(DEFAULT, texts, tmp_path / "run")
    rows = rows_of(done["apply"], "kept")
    whole = [row["id"] for row in rows if row["text"] == texts[int(row["id"][1:])]]
    assert whole == [ids_for(texts)[by_id(ids_for(texts))[0]]]
    for row in rows:
        number = int(row["id"][1:])
        if row["id"] != whole[0]:
            assert row["text"] == bodies[number]
            (span,) = row["repeated_spans"]
            assert (span["start"], span["stop"]) == (60, 60 + len(NOTICE))
            assert (span["document"], span["document_start"]) == (whole[0], 60)
    tally = total(done["apply"])
    assert (tally.documents_in, tally.kept, tally.num_dropped) == (9, 9, 0)
    assert sum(e.outcome.metrics["counts"]["characters removed"] for e in done["apply"]) == 8 * len(NOTICE)
    assert sum(e.outcome.metrics["counts"]["spans removed"] for e in done["apply"]) == 8


@pytest.mark.parametrize("length", [49, 50])
def test_a_repeat_one_character_too_short_stays(length):
    rng = random.Random(6)
    passage = random_text(rng, length)
    texts = [random_text(rng, 100) + passage + random_text(rng, 100) for _ in range(2)]
    result = DEFAULT.deduplicate([document_batch(["a", "b"], texts)])
    lengths = sorted(len(text) for text in result.kept[0]["text"].to_pylist())
    assert lengths == ([249, 249] if length == 49 else [200, 250])


def test_documents_beyond_the_cap_are_dropped_or_kept_whole_and_counted(tmp_path):
    rng = random.Random(7)
    body = random_text(rng, 200)
    texts = [body, random_text(rng, 30) + body, body + random_text(rng, 300), "别的" * 4]
    config = replace(DEFAULT, order="input")
    dropped = config.deduplicate([document_batch(list("abcd"), texts)])
    assert dropped.kept[0]["id"].to_pylist() == ["a", "c", "d"]
    assert dropped.kept[0]["text"].to_pylist()[1] == texts[2][200:]
    (row,) = dropped.dropped[0].to_pylist()
    assert row["id"] == "b" and row["reason"] == "dedup/repeated-substrings" and row["text"] == texts[1]
    assert row["value"] == 200 / 230 and row["threshold"] == 0.5
    assert row["document"]["repeated_characters"] == 200
    kept = replace(config, beyond="keep").deduplicate([document_batch(list("abcd"), texts)])
    assert kept.kept[0]["text"].to_pylist() == [texts[0], texts[1], texts[2][200:], texts[3]]
    for result in (dropped, kept):
        assert result.metrics["documents beyond the cap"] == 1
        assert result.metrics["characters removed"] == 200
    everything = replace(config, max_fraction=1.0).deduplicate([document_batch(["a", "b"], [body, body])])
    assert everything.dropped[0]["id"].to_pylist() == ["b"]


def test_what_a_dropped_document_has_first_stays_elsewhere(tmp_path):
    rng = random.Random(13)
    x, y, z, w = (random_text(rng, length) for length in (120, 80, 200, 60))
    texts = [z + x, x + y, y + w, z + y]
    result = replace(DEFAULT, order="input").deduplicate([document_batch(list("abcd"), texts)])
    assert result.dropped[0]["id"].to_pylist() == ["b", "d"], (
        "x is more than half of b, z more than half of d"
    )
    assert result.kept[0]["text"].to_pylist() == [texts[0], texts[2]], "y stays in c, since b is gone"
    done = run_job(replace(DEFAULT, order="input"), texts, tmp_path / "run", parts=2)
    assert [row["text"] for row in rows_of(done["apply"], "kept")] == [texts[0], texts[2]]


@given(TEXTS, st.integers(2, 5), st.sampled_from([0.2, 0.5, 1.0]))
def test_the_source_of_what_is_removed_is_never_dropped(texts, n, max_fraction):
    config = replace(SMALL, min_characters=n, action="remove", max_fraction=max_fraction)
    result = config.deduplicate([document_batch(ids_for(texts), texts)])
    rows = result.kept[0].to_pylist()
    kept = {row["id"] for row in rows}
    for row in rows:
        assert {span["document"] for span in row["repeated_spans"]} <= kept
        gone = len(texts[int(row["id"][1:])]) - len(row["text"])
        assert gone == row["repeated_characters"]
        assert gone <= max_fraction * len(texts[int(row["id"][1:])])
    for rows in result.dropped:
        assert all(value > max_fraction or value == 1 for value in rows["value"].to_pylist())


def test_sentences_are_removed_whole():
    text = "前一句话说完了。后一句“被重复的话！”第三句也被重复了。没有重复完的句子"
    assert without(text, whole_sentences(text, [(3, 30)])) == "前一句话说完了。没有重复完的句子"
    assert whole_sentences(text, [(3, 6)]) == [] and whole_sentences("", []) == []
    assert whole_sentences("甲\n乙乙\n丙", [(1, 5)]) == [(2, 5)]
    rng = random.Random(8)
    long = random_text(rng, 60)
    texts = [f"{random_text(rng, 80)}，开头。{long}。尾{random_text(rng, 40)}" for _ in range(2)]
    config = replace(DEFAULT, boundary="sentence", order="input")
    kept = config.deduplicate([document_batch(["a", "b"], texts)]).kept[0]["text"].to_pylist()
    assert kept == [texts[0], texts[1].replace(f"{long}。", "")]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8), st.text(min_size=40, max_size=40)
)
def test_intervals_are_the_union(spans, text):
    cuts = intervals([(start, start + length) for start, length in spans])
    union = {i for start, length in spans for i in range(start, start + length)}
    assert {i for start, stop in cuts for i in range(start, stop)} == union
    assert all(a[1] < b[0] for a, b in pairwise(cuts))
    assert without(text, cuts) == "".join(c for i, c in enumerate(text) if i not in union)


def test_stretches_that_agree():
    assert equal_stretches("abcdef", "abcdef", 6) == [(0, 6)]
    assert equal_stretches("abcdef", "abXdef", 3) == [(3, 6)]
    assert equal_stretches("ab", "ab", 3) == []


@pytest.mark.parametrize("number", [7, 60_000])
def test_one_character_and_short_and_empty_documents(number, tmp_path):
    texts = ["", "短", "啊" * number, "a" * 10, ""]
    done = run_job(replace(DEFAULT, max_fraction=1.0), texts, tmp_path / "run")
    rows = {row["id"]: row["text"] for row in rows_of(done["apply"], "kept")}
    assert [rows[i] for i in ids_for(texts)] == ["", "短", "啊" * min(50, number), "a" * 10, ""]
    assert sum(entry.outcome.metrics["spans"] for entry in done["verify"]) <= 1


def test_copies_of_one_document_cost_one_span_each(tmp_path):
    rng = random.Random(9)
    texts = [random_text(rng, 400)] * 3000
    done = run_job(DEFAULT, texts, tmp_path / "run", rows=500)
    assert total(done["apply"]).kept == 1
    assert sum(entry.outcome.metrics["windows"] for entry in done["windows"]) == 3 * 351
    assert sum(entry.outcome.metrics["spans"] for entry in done["verify"]) == 2999 + 0


def test_a_cut_intermediate_file_is_refused(tmp_path):
    rng = random.Random(10)
    texts = [random_text(rng, 60) + NOTICE for _ in range(9)]
    done = run_job(DEFAULT, texts, tmp_path / "run")
    job_task = done["windows"][0].outcome.outputs[0]
    path = Path(job_task.path)
    path.write_bytes(path.read_bytes()[:-64])
    from corpuskit.dedup.partitions import read_partition

    with pytest.raises(ArtifactError, match="damaged"):
        read_partition([job_task.as_slice()], 0, DEFAULT.tag)


def test_nothing_in_nothing_out():
    assert DEFAULT.deduplicate([]).kept == []
    (kept,) = DEFAULT.deduplicate([document_batch([], [])]).kept
    assert kept.num_rows == 0 and "repeated_spans" in kept.schema.names


def test_more_than_fits_is_refused(monkeypatch):
    from corpuskit.dedup import span_search

    monkeypatch.setattr(span_search, "_MAX_CHARACTERS", 10)
    with pytest.raises(ResourceError, match="11 characters"):
        DEFAULT.deduplicate([document_batch(["a"], ["甲" * 11])])


def test_characters_of_any_number_of_bytes_are_cut_whole():
    rng = random.Random(12)
    passage = "".join(rng.choice("aé甲") + chr(0x20000 + rng.randrange(40_000)) for _ in range(40))
    texts = [passage + random_text(rng, 99), "乙é" + passage + random_text(rng, 200)]
    (kept,) = replace(DEFAULT, order="input").deduplicate([document_batch(["a", "b"], texts)]).kept
    kept.validate(full=True)
    assert kept["text"].to_pylist() == [texts[0], "乙é" + texts[1][82:]]


@pytest.mark.parametrize(
    ("field", "value"),
    [("min_characters", 1), ("max_fraction", 1.5), ("boundary", "x"), ("action", "x"), ("beyond", "x"),
     ("order", "x"), ("chunk_bytes", 0), ("partition_rows", 0)],
)  # fmt: skip
def test_impossible_configuration_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        SubstringDeduplicator(**{field: value})


def test_spans_of_in_memory_batches_name_their_documents():
    rng = random.Random(11)
    body = random_text(rng, 80)
    batches = [document_batch([name], [body + random_text(rng, 200)]) for name in "xy"]
    result = replace(DEFAULT, order="input").deduplicate(batches)
    (span,) = result.kept[1]["repeated_spans"][0].as_py()
    assert span == {"start": 0, "stop": 80, "document": "x", "document_start": 0}
    assert np.array_equal(result.kept[1]["repeated_characters"].to_numpy(), [80])
    assert isinstance(result.kept[0]["repeated_spans"], pa.ListArray)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["news", "laws"])
def test_the_job_agrees_with_a_dictionary_of_all_windows_of_real_text(shared_data, tmp_path, name):
    import corpuskit as ck

    batches, texts = [], {}
    for batch in ck.read(str(shared_data / "text" / f"{name}.jsonl.zst"), batch_rows=50):
        batches.append(batch.select(["id", "text"]))
        texts |= dict(zip(batch["id"].to_pylist(), batch["text"].to_pylist()))
        if sum(map(len, texts.values())) > 3_000_000:
            break
    first: dict[str, tuple[int, int]] = {}
    expected = {}
    for rank, document in enumerate(sorted(texts, key=lambda i: xxhash.xxh3_64_intdigest(i.encode()))):
        text, removed = texts[document], set()
        for place in range(len(text) - 49):
            earlier = first.setdefault(text[place : place + 50], (rank, place))
            if earlier[0] != rank or place - earlier[1] >= 50:
                removed |= set(range(place, place + 50))
        expected[document] = removed
    slices = [write_part(tmp_path / f"{part}.arrow", batches[part::4]) for part in range(4)]
    config = replace(DEFAULT, action="mark", chunk_bytes=1 << 20, partition_rows=100_000)
    done = run_serially(config.job(slices), tmp_path / "job")
    assert marked(rows_of(done["apply"], "kept"), texts) == expected
    assert sum(map(len, expected.values())) > 10_000
