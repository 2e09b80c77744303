"""Decisions lie with the document part they concern, or with those of its neighbours where parts are many."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from dedup_helpers import rows_of, run_serially, write_part

from corpuskit.clean.boilerplate import BoilerplateRemover
from corpuskit.dedup.exact import ExactDeduplicator
from corpuskit.dedup.lines import LineDeduplicator
from corpuskit.dedup.minhash import MinHashDeduplicator
from corpuskit.dedup.substrings import SubstringDeduplicator
from corpuskit.documents import document_batch
from corpuskit.jobs import outputs_of
from corpuskit.partitioned import Groups

FOOTERS = ("版权所有，转载请注明出处和链接", "本站声明：文中观点只代表作者本人")

JOBS = {
    "exact": ExactDeduplicator(cluster_columns=True, partitions=2),
    "near": MinHashDeduplicator(cluster_columns=True, chunk_characters=3_000),
    "unmeasured": MinHashDeduplicator(verify_threshold=None, chunk_characters=3_000),
    "lines": LineDeduplicator(min_characters=10, partitions=2, memory_lines=20, max_removed_share=1.0),
    "substrings": SubstringDeduplicator(min_characters=60),
    "boilerplate": BoilerplateRemover(min_site_documents=2, partitions=2, memory_lines=20),
}
APPLIED = ("decisions", "clusters", "beyond")


@pytest.fixture
def parts(corpus, tmp_path):
    made = []
    for number, batch in enumerate(corpus):
        texts = [f"{t}\n{FOOTERS[i % 2]}" for i, t in enumerate(batch.column("text").to_pylist())]
        texts += texts[:2]
        ids = [*batch.column("id").to_pylist(), f"{number}-a", f"{number}-b"]
        urls = [f"http://s{i % 3}.org/{i}" for i in range(len(ids))]
        path = tmp_path / f"part-{number}.arrow"
        made.append(write_part(path, [document_batch(ids, texts, {"url": urls})]))
    return made


@pytest.mark.parametrize("name", JOBS)
def test_results_do_not_depend_on_how_parts_are_grouped(parts, tmp_path: Path, name, monkeypatch):
    found, sizes = [], []
    for most in (100, 3, 1):
        monkeypatch.setattr(Groups.__init__, "__defaults__", (0, most))
        done = run_serially(JOBS[name].job(parts), tmp_path / str(most))
        last = done["apply"]
        found.append([rows_of(last, kind) for kind in ("kept", "dropped")])
        files = [o for kind in APPLIED for entries in done.values() for o in outputs_of(entries, kind)]
        assert {output.batches for output in files} == {Groups(len(parts)).count} != {0}
        sizes.append([output.batches for output in files])
    assert found[0] == found[1] == found[2]
    assert sizes[0] != sizes[1] != sizes[2]


@pytest.mark.parametrize("most", [100, 2])
def test_an_index_before_the_run_does_not_change_which_part_a_decision_is_for(
    parts, tmp_path, most, monkeypatch
):
    config = MinHashDeduplicator(cluster_columns=True)
    monkeypatch.setattr(Groups.__init__, "__defaults__", (0, most))
    old, new = parts[:2], parts[2:]
    run_serially(config.job(old, index=tmp_path / "index"), tmp_path / "old")
    done = run_serially(config.job(new, index=tmp_path / "index"), tmp_path / "new")
    (decisions,) = outputs_of(done["clusters"], "decisions")
    assert decisions.rows > 0 and decisions.batches == Groups(len(new), 2).count
    kept = {row["id"] for row in rows_of(done["apply"], "kept")}
    dropped = {row["id"] for row in rows_of(done["apply"], "dropped")}
    with pa.memory_map(decisions.path) as source, pa.ipc.open_file(source) as reader:
        assert dropped == set(reader.read_all().column("id").to_pylist())
    assert len(kept) + len(dropped) == sum(pa.ipc.open_file(piece.path).read_all().num_rows for piece in new)
