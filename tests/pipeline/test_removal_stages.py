"""Boilerplate, lines, passages, an index and evaluation sets as stages of a recipe."""

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import road

from corpuskit.pipeline.demo.build import articles
from corpuskit.pipeline.recipe import parse_recipe
from corpuskit.pipeline.run import run_recipe
from corpuskit.pipeline.stages import CLEANING_PAGE


def sections(evaluation: Path, index: Path) -> dict:
    return {
        "boilerplate": {"min_site_documents": 5, "min_corpus_documents": None},
        "deduplicate": {"index": str(index), "lines": {}, "substrings": {"beyond": "keep"}},
        "decontaminate": {"against": [str(evaluation)]},
        "vocabularies": [],
        "shards": None,
    }


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """One item: the middle of an article of the inputs."""
    article = next(a for a in articles() if a.name[0] == "a" and a.name[1].isdigit())
    text = "".join(article.paragraphs)[40:160]
    path = tmp_path_factory.mktemp("evaluation") / "evaluation.jsonl"
    path.write_text(json.dumps({"question": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def first(tmp_path_factory, evaluation):
    """A run whose index is new: its directory, recipe and report."""
    root = tmp_path_factory.mktemp("first")
    road.write_inputs(root / "in")
    data = road.recipe(root / "in", root / "out") | sections(evaluation, root / "index")
    return root, data, run_recipe(parse_recipe(data))


def test_every_removal_is_a_stage_whose_documents_add_up(first):
    root, data, report = first
    names = [stage.name for stage in report.stages]
    assert names == [
        *("clean", "boilerplate", "dedup-exact", "dedup-near", "dedup-lines", "dedup-substrings"),
        "decontaminate",
    ]
    assert report.tally.documents_in == 120 == report.tally.kept + report.tally.num_dropped
    assert report.tally.dropped["dedup/contaminated"] == 1
    assert (root / "out" / CLEANING_PAGE).stat().st_size > 10_000

    again = run_recipe(parse_recipe(data))
    # Adding to the index looks at the index each time and finds this run there.
    rerun = {stage.name: stage.tasks_run for stage in again.stages if stage.tasks_run}
    assert rerun == {"dedup-near": 1}
    assert again.tally == report.tally


def test_a_second_crawl_is_compared_with_the_index_of_the_first(first, tmp_path, evaluation):
    root, _, report = first
    shutil.copytree(root / "index", tmp_path / "index")
    rest = sections(evaluation, tmp_path / "index")
    rest["deduplicate"] = {"exact": None, "index": str(tmp_path / "index")}
    second = run_recipe(parse_recipe(road.recipe(root / "in", tmp_path / "two") | rest))
    assert second.tally.dropped["dedup/near-duplicate"] > report.tally.dropped["dedup/near-duplicate"]
