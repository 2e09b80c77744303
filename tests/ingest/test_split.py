"""Documents by side: the same for any order, batch, task or worker, and every one accounted for."""

from __future__ import annotations

import json
from itertools import pairwise

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

import corpuskit as ck
from corpuskit.documents import document_batch, document_id
from corpuskit.errors import ConfigError, InputError
from corpuskit.ingest import ReadOptions, SplitJob, Splitter
from corpuskit.jobs import Workspace
from corpuskit.parts import read_documents

HOSTS = ["www.河边.cn", "a.example.cn", "b.example.cn", "news.example.com"]


def batch_of(ids, **columns):
    return document_batch(ids, ["天气很好"] * len(ids), columns)


def held_out(splitter, batch):
    return splitter(batch).held_out.column("id").to_pylist()


def digits_reversed(number):
    """The radical inverse in base 10, by its definition."""
    value, place = 0, 9
    while place:
        number, digit = divmod(number, 10)
        place -= 1
        value += digit * 10**place
    return value / 10**9


@given(
    st.lists(st.integers(0, (1 << 128) - 1), min_size=1, max_size=30, unique=True),
    st.sampled_from([0.01, 0.015, 0.02, 0.1, 0.25, 0.5, 0.999, 1e-9]),
)
def test_an_id_is_held_out_if_its_digits_read_backwards_are_below_the_share(numbers, share):
    ids = [f"{number:032x}" for number in numbers]
    expected = [f"{n:032x}" for n in numbers if digits_reversed(n) < share]
    assert held_out(Splitter(share), batch_of(ids)) == expected


def test_one_in_a_hundred_are_the_ids_divisible_by_a_hundred():
    numbers = [*range(1, 1001), 10**30, (1 << 127) // 100 * 100]
    ids = [f"{number:032x}" for number in numbers]
    assert held_out(Splitter(), batch_of(ids)) == [f"{n:032x}" for n in numbers if n % 100 == 0]


def test_a_larger_share_holds_out_all_that_a_smaller_one_does():
    batch = batch_of([document_id("a", number) for number in range(2000)])
    sets = [set(held_out(Splitter(share), batch)) for share in (0.005, 0.01, 0.03, 0.2, 0.5, 0.9)]
    assert all(small < large for small, large in pairwise(sets))
    # Binomial, 2,000 documents: five standard deviations.
    for share, found in zip((0.005, 0.01, 0.03, 0.2, 0.5, 0.9), sets, strict=True):
        assert abs(len(found) - 2000 * share) <= 5 * (2000 * share * (1 - share)) ** 0.5


def test_another_seed_is_another_split():
    batch = batch_of([document_id("a", number) for number in range(1000)])
    found = [set(held_out(Splitter(0.2, seed=seed), batch)) for seed in (0, 1, 2**64 - 1)]
    assert len({frozenset(one) for one in found}) == 3
    expected = {
        one
        for one in batch.column("id").to_pylist()
        if digits_reversed(xxhash.xxh3_128_intdigest(one.encode(), seed=1)) < 0.2
    }
    assert found[1] == expected


def test_ids_of_other_kinds_are_hashed():
    ids = [f"doc-{number}" for number in range(500)]
    found = held_out(Splitter(0.1), batch_of(ids))
    assert found == [i for i in ids if digits_reversed(xxhash.xxh3_128_intdigest(i.encode())) < 0.1]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([f"书{n % 40}" for n in range(400)]),
        pa.array([n % 40 for n in range(400)], pa.int16()),
        pa.array([n % 40 for n in range(400)], pa.date32()),
        pa.array([f"书{n % 40}" for n in range(400)]).dictionary_encode(),
    ],
    ids=["text", "number", "date", "dictionary"],
)
def test_documents_of_one_value_stay_together(values):
    batch = batch_of([document_id("a", number) for number in range(400)], book=values)
    sides = Splitter(0.3, "book")(batch)
    training, held = (set(side.column("book").to_pylist()) for side in sides)
    assert training and held and not training & held
    assert sides.training.num_rows + sides.held_out.num_rows == 400


def test_a_site_is_the_host_and_a_column_of_that_name_goes_before():
    urls = [f"https://{HOSTS[n % 4]}/{n}" for n in range(80)]
    ids = [document_id("a", number) for number in range(80)]
    by_site = set(held_out(Splitter(0.5, "site", seed=3), batch_of(ids, url=urls)))
    groups = [{ids[n] for n in range(80) if n % 4 == host} for host in range(4)]
    assert all(group <= by_site or not group & by_site for group in groups)
    named = batch_of(ids, url=urls, site=["一"] * 80)
    assert len(held_out(Splitter(0.5, "site"), named)) in (0, 80)


def test_documents_without_a_value_go_by_their_ids():
    ids = [document_id("a", number) for number in range(300)]
    books = [None if n % 3 else "" for n in range(300)]
    expected = held_out(Splitter(0.2), batch_of(ids))
    assert held_out(Splitter(0.2, "book"), batch_of(ids, book=pa.array(books, pa.string()))) == expected
    assert held_out(Splitter(0.2, "book"), batch_of(ids)) == expected


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"held_out": 0.0}, "held_out"), ({"held_out": 1.0}, "held_out"), ({"held_out": -0.1}, "held_out"),
        ({"held_out": float("nan")}, "held_out"), ({"held_out": 1e-12}, "held_out"),
        ({"held_out": 1 - 1e-12}, "held_out"), ({"held_out": 30}, "held_out"),
        ({"key": ""}, "key"), ({"seed": -1}, "seed"), ({"seed": 1 << 64}, "seed"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(settings, field):
    with pytest.raises(ConfigError) as caught:
        Splitter(**settings)
    assert caught.value.where == field


def test_a_key_of_lists_is_refused():
    batch = batch_of([document_id("a", 0)], tags=pa.array([["一", "二"]]))
    with pytest.raises(ConfigError, match=r"tags.*no value that documents could share"):
        Splitter(0.5, "tags")(batch)


def corpus(root):
    root.mkdir()
    with open(root / "a.jsonl", "w", encoding="utf-8") as file:
        for n in range(300):
            record = {"text": f"第{n}篇：" + "字" * (n % 25), "url": f"https://h{n % 30}.cn/{n}", "n": n}
            file.write(json.dumps(record, ensure_ascii=False) + "\n" + "{bad\n" * (n % 60 == 0))
    for n in range(12):
        (root / f"c{n}.txt").write_text(f"第{n}个文件的内容在这里。", encoding="utf-8")
    return root


def job(root, splitter=None, **more):
    settings = {"options": ReadOptions(batch_rows=20), "part_bytes": 2_000}
    return SplitJob((str(root),), splitter or Splitter(0.2), **{**settings, **more})


def rows_of(result, kind):
    return [row for out in result.outputs(kind) for b in read_documents(out.path) for row in b.to_pylist()]


def files_below(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*.*")
        if path.suffix in (".arrow", ".jsonl")
    }


def test_every_document_is_on_one_side_with_all_its_columns(tmp_path):
    root = corpus(tmp_path / "in")
    result = ck.run(job(root), tmp_path / "out")
    assert (result.tally.documents_in, result.tally.kept) == (317, 312)
    assert result.tally.quarantined == {"ingest/bad-json": 5}
    sides = {kind: rows_of(result, kind) for kind in ("training", "held-out")}
    whole = {row["id"]: row for batch in ck.read(root, on_quarantine=print) for row in batch.to_pylist()}
    assert {row["id"]: row for rows in sides.values() for row in rows} == whole
    for kind, rows in sides.items():
        assert result.counts[f"{kind} documents"] == len(rows)
        assert result.counts[f"{kind} characters"] == sum(len(row["text"]) for row in rows)
        assert all((digits_reversed(int(row["id"], 16)) < 0.2) == (kind == "held-out") for row in rows)
    assert {path.parent.name for path in (tmp_path / "out/split/documents").rglob("*.arrow")} == set(sides)


def test_the_files_do_not_depend_on_workers_and_sides_not_on_tasks(tmp_path):
    root = corpus(tmp_path / "in")
    one = ck.run(job(root, task_bytes=4000), tmp_path / "one", workers=1)
    ck.run(job(root, task_bytes=4000), tmp_path / "two", workers=2)
    assert len(one.entries["documents"]) > 2
    assert files_below(tmp_path / "one/split") == files_below(tmp_path / "two/split") != {}
    other = ck.run(job(root, options=ReadOptions(batch_rows=7)), tmp_path / "three")
    for kind in ("training", "held-out"):
        ids = [{row["id"] for row in rows_of(result, kind)} for result in (one, other)]
        assert ids[0] == ids[1]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("batches", [1, 4, 9, 15])
def test_a_task_killed_anywhere_resumes_to_the_same_bytes(tmp_path, monkeypatch, batches):
    root = corpus(tmp_path / "in")
    (task,) = job(root).plan("documents", {})
    whole = task.function(task, Workspace(tmp_path / "a", tmp_path / "a.json", "key", task.name))
    seen = []
    plain = Splitter.__call__

    def kill(self, batch):
        seen.append(batch)
        if len(seen) > batches:
            raise Killed
        return plain(self, batch)

    workspace = Workspace(tmp_path / "b", tmp_path / "b.json", "key", task.name)
    monkeypatch.setattr(Splitter, "__call__", kill)
    with pytest.raises(Killed):
        task.function(task, workspace)
    monkeypatch.setattr(Splitter, "__call__", plain)
    again = task.function(task, workspace)
    assert [(o.kind, o.rows, o.checksum) for o in again.outputs] == [
        (o.kind, o.rows, o.checksum) for o in whole.outputs
    ]
    assert (again.tally, again.metrics) == (whole.tally, whole.metrics)


def test_another_split_into_the_same_directory_leaves_nothing_of_the_first(tmp_path):
    root = corpus(tmp_path / "in")
    ck.run(job(root, Splitter(0.5)), tmp_path / "out")
    ck.run(job(root, Splitter(0.05)), tmp_path / "out")
    ck.run(job(root, Splitter(0.05)), tmp_path / "fresh")
    assert files_below(tmp_path / "out/split") == files_below(tmp_path / "fresh/split")
    assert ck.run(job(root, Splitter(0.05)), tmp_path / "out").tasks_run == 0


@pytest.mark.parametrize(
    ("splitter", "error", "message"),
    [
        (Splitter(0.2, "nosuch"), ConfigError, "no document has a value in 'nosuch'"),
        (Splitter(1e-9), ConfigError, "no document is held out.*312 documents"),
        (Splitter(1 - 1e-9), ConfigError, "no document is training"),
        (Splitter(1e-9, "url"), ConfigError, "too few values of 'url'"),
    ],
)
def test_a_split_that_is_none_is_an_error(tmp_path, splitter, error, message):
    root = corpus(tmp_path / "in")
    with pytest.raises(error, match=message) as caught:
        ck.run(job(root, splitter), tmp_path / "out")
    assert caught.value.hint


def test_documents_without_the_key_are_counted(tmp_path):
    result = ck.run(job(corpus(tmp_path / "in"), Splitter(0.3, "url")), tmp_path / "out")
    assert result.counts["documents without the key"] == 12


def test_nothing_to_split(tmp_path):
    (tmp_path / "a.jsonl").write_text("{bad\n", "utf-8")
    with pytest.raises(InputError, match="no document to split"):
        ck.run(job(tmp_path / "a.jsonl"), tmp_path / "out")
    with pytest.raises(InputError):
        ck.run(job(tmp_path / "missing.jsonl"), tmp_path / "out")
