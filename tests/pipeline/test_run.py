import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import road

from corpuskit import shards
from corpuskit.engine import PendingShards, ShardOf
from corpuskit.errors import InputError, LedgerError
from corpuskit.pipeline.plan import describe_plan
from corpuskit.pipeline.recipe import parse_recipe
from corpuskit.pipeline.rescue import rescue
from corpuskit.pipeline.run import run_recipe
from corpuskit.vocab import Tokenizer


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs") / "in"
    road.write_inputs(directory)
    return directory


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """A finished run."""
    output = tmp_path_factory.mktemp("whole")
    return run_recipe(parse_recipe(road.recipe(inputs, output))), output


def shard_bytes(output):
    return {p.name: p.read_bytes() for p in sorted((output / "shards").glob("*.arrow"))}


def test_the_accounts_add_up_from_the_first_input_to_the_last_token(whole):
    report, output = whole
    tally = report.tally
    assert tally.documents_in == 120
    assert tally.kept + tally.num_dropped + tally.num_quarantined == 120
    assert tally.dropped["dedup/exact-duplicate"] > 0 and tally.dropped["dedup/near-duplicate"] > 0
    data = shards.open(output / "shards", verify="full")
    assert len(data) == tally.kept
    assert data.num_tokens == report.shards["tokens"]
    stored = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert stored["documents"] == tally.to_dict()


def test_every_kept_document_can_be_read_back_from_the_shards(whole):
    _, output = whole
    tokenizer = Tokenizer.load(output / "shards" / "tokenizer")
    data = shards.open(output / "shards", tokenizer=tokenizer)
    texts = [tokenizer.decode(document.tokens[:-1].tolist()) for document in data]
    assert all(text and "�" not in text for text in texts)
    assert len(set(texts)) == len(texts)


def test_the_users_columns_pass_through(whole):
    from corpuskit.parts import read_documents
    from corpuskit.pipeline.rescue import dropped_files

    _, output = whole
    rows = [row for path in dropped_files(output) for b in read_documents(str(path)) for row in b.to_pylist()]
    assert rows and all(row["document"]["title"] and row["document"]["n"] in range(12) for row in rows)
    assert all(row["reason"].startswith(("dedup/", "clean/")) and row["value"] is not None for row in rows)


def test_a_finished_run_does_nothing_more(whole, inputs):
    _, output = whole
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.arrow")}
    again = run_recipe(parse_recipe(road.recipe(inputs, output)))
    assert sum(stage.tasks_run for stage in again.stages) == 0
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.arrow")} == before


def test_slices_give_the_same_shards(whole, inputs, tmp_path):
    _, output = whole
    recipe = parse_recipe(road.recipe(inputs, tmp_path))
    finished = set()
    for attempt in range(60):
        try:
            run_recipe(recipe, shard=ShardOf(attempt % 2, 2))
            finished.add(attempt % 2)
        except PendingShards:
            assert attempt % 2 not in finished
        if len(finished) == 2:
            break
    assert shard_bytes(tmp_path) == shard_bytes(output)


def test_a_slice_other_than_0_publishes_nothing(inputs, tmp_path):
    recipe = parse_recipe(road.recipe(inputs, tmp_path))
    for _ in range(3):
        with pytest.raises(PendingShards):
            run_recipe(recipe, shard=ShardOf(1, 2))
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"work"}


def test_limit_reads_that_many_records(inputs, tmp_path):
    data = road.recipe(inputs, tmp_path)
    data["input"]["limit"] = 7
    data.pop("vocabularies"), data.pop("shards")
    assert run_recipe(parse_recipe(data)).tally.documents_in == 7


def test_rescued_documents_come_back(inputs, tmp_path):
    data = road.recipe(inputs, tmp_path / "first")
    data.pop("vocabularies"), data.pop("shards")
    data["clean"] = {"preset": "zh-web", "min_characters": 640}
    first = run_recipe(parse_recipe(data)).tally
    dropped = first.dropped["clean/min_characters"]
    count = rescue(tmp_path / "first", ["clean/min_characters"], tmp_path / "rescued.arrow")
    assert count == dropped > 0
    data["output"] = str(tmp_path / "second")
    data["input"]["rescued"] = [str(tmp_path / "rescued.arrow")]
    second = run_recipe(parse_recipe(data))
    assert (second.rescued, second.tally.documents_in) == (count, 120 + count)
    (exact,) = [stage for stage in second.stages if stage.name == "dedup-exact"]
    assert exact.tally.documents_in == 120 - first.dropped["clean/min_characters"] + count


def test_rescue_names_the_reasons_there_are(whole, tmp_path):
    _, output = whole
    with pytest.raises(InputError, match="dedup/exact-duplicate"):
        rescue(output, ["clean/nothing"], tmp_path / "x.arrow")
    assert not (tmp_path / "x.arrow").exists()


def test_a_recipe_that_keeps_nothing_says_why(inputs, tmp_path):
    data = road.recipe(inputs, tmp_path)
    data["clean"] = {"preset": "zh-web", "min_characters": 100_000}
    with pytest.raises(InputError, match="none of the 120 documents was kept: clean/min_characters 120"):
        run_recipe(parse_recipe(data))


def test_a_second_run_on_the_same_output_is_refused(inputs, tmp_path):
    from corpuskit.engine import hold

    with hold(tmp_path), pytest.raises(LedgerError, match="another run holds"):
        run_recipe(parse_recipe(road.recipe(inputs, tmp_path)))


def test_the_plan_reads_nothing_and_names_every_stage(inputs, tmp_path):
    data = road.recipe(inputs, tmp_path / "out")
    text = describe_plan(parse_recipe(data))
    assert [line.split()[0] for line in text.splitlines()] == [
        "input", "clean", "dedup-exact", "dedup-near", "vocabulary", "shards", "output",
    ]  # fmt: skip
    assert "12 files (12 jsonl)" in text
    assert not (tmp_path / "out").exists()
