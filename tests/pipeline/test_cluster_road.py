"""The whole road on a Ray cluster and in an object store: byte-identical to a local run."""

import json
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]
import road  # noqa: E402

from corpuskit.engine import ObjectStore, PendingShards, Ray, ShardOf, collect_garbage  # noqa: E402
from corpuskit.engine import objects as objects_module  # noqa: E402
from corpuskit.errors import ConfigError  # noqa: E402
from corpuskit.pipeline.recipe import parse_recipe  # noqa: E402
from corpuskit.pipeline.run import run_recipe  # noqa: E402


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs") / "in"
    road.write_inputs(directory, files=6)
    return directory


def recipe(inputs, output):
    return parse_recipe(road.recipe(inputs, output))


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """A local run: its report and what it made."""
    output = tmp_path_factory.mktemp("whole")
    report = run_recipe(recipe(inputs, output))
    return report, made(output)


def made(output: Path) -> dict[str, bytes]:
    paths = [*output.glob("shards/*.arrow"), *output.glob("shards/dataset.json")]
    paths += [*output.glob("shards/tokenizer/*"), *output.glob("vocabularies/*/*")]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in paths}


def stages(report):
    return [(s.name, s.tally, s.tasks_run + s.tasks_skipped) for s in report.stages]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("localbucket", reason="localbucket (an S3 server) is not installed")
    from objectserver import ObjectServer, use

    root = tmp_path_factory.mktemp("buckets")
    (root / "corpus").mkdir()
    server = ObjectServer(root)
    server.root = root / "corpus"
    before = dict(os.environ)
    os.environ |= use(server.endpoint)
    objects_module._file_system.cache_clear()
    yield server
    os.environ.clear()
    os.environ |= before
    server.close()


@pytest.fixture(scope="module")
def cluster(server):
    pytest.importorskip("ray", reason="ray is not installed")
    from clusters import start_cluster

    cluster = start_cluster(2)
    yield cluster
    cluster.shutdown()


def test_a_cluster_makes_the_same_files_on_a_shared_disk(whole, inputs, cluster, tmp_path):
    report = run_recipe(recipe(inputs, tmp_path), engine=Ray(cluster.address))
    assert made(tmp_path) == whole[1]
    assert stages(report) == stages(whole[0])


def test_an_object_store_holds_the_same_dataset(whole, inputs, server, tmp_path):
    output = "s3://corpus/local"
    report = run_recipe(recipe(inputs, output), scratch=str(tmp_path))
    assert made(server.root / "local") == whole[1]
    assert stages(report) == stages(whole[0])
    assert report.shards["path"] == "s3://corpus/local/shards"
    requests = dict(server.requests)
    again = run_recipe(recipe(inputs, output), scratch=str(tmp_path / "another"))
    assert sum(stage.tasks_run for stage in again.stages) == 0
    assert again.shards == report.shards
    assert server.requests["PUT"] - requests["PUT"] < 20
    assert {"report.json", "recipe.json", "cleaning.html"} <= {
        path.name for path in (server.root / "local").iterdir()
    }
    assert all(path.endswith(".parts.json") for path in collect_garbage(output).paths)


def test_a_cluster_and_an_object_store_together(whole, inputs, cluster, server, tmp_path):
    before = sum(server.faults.values())
    server.misbehave("503", "half", "500", "cut", "503", "half")
    report = run_recipe(recipe(inputs, "s3://corpus/ray"), engine=Ray(cluster.address), scratch=str(tmp_path))
    assert made(server.root / "ray") == whole[1]
    assert stages(report) == stages(whole[0])
    assert sum(server.faults.values()) >= before + 6  # and what an earlier test's end left waiting


@pytest.mark.slow
def test_slices_on_an_object_store(whole, inputs, server, tmp_path):
    finished = set()
    for attempt in range(60):
        piece = ShardOf(attempt % 2, 2)
        try:
            run_recipe(recipe(inputs, "s3://corpus/slices"), shard=piece, scratch=str(tmp_path))
            finished.add(piece.number)
        except PendingShards:
            assert piece.number not in finished
        if len(finished) == 2:
            break
    assert made(server.root / "slices") == whole[1]


@pytest.mark.parametrize("faults", [3, pytest.param(24, marks=pytest.mark.slow)])
def test_faults_at_random_moments_change_nothing(whole, inputs, cluster, server, tmp_path, faults):
    from soak import KINDS, Soak

    server.commits.clear()
    name = f"soak-{faults}"
    soak = Soak(cluster, server, inputs, tmp_path, name, seed=faults)
    soak.run(faults)
    assert made(server.root / name) == whole[1]
    assert sum(soak.done.values()) >= min(faults, 3)
    if sum(soak.done.values()) >= 2 * len(KINDS):
        assert set(soak.done) == set(KINDS) and all(server.faults.values())
    entries = list((server.root / name / "work" / "ledger").rglob("[0-9]*[0-9].json"))
    assert len(entries) == sum(count for _, _, count in stages(whole[0]))
    assert set(server.commits.values()) == {1} and len(server.commits) == len(entries)
    report = json.loads((server.root / name / "report.json").read_text())
    assert report["documents"] == whole[0].tally.to_dict()


def test_training_in_an_object_store_is_refused(inputs, tmp_path):
    data = road.recipe(inputs, "s3://corpus/x")
    data["train"] = {"steps": 1}
    with pytest.raises(ConfigError, match="needs shards on a disk"):
        run_recipe(parse_recipe(data))
    assert ObjectStore("s3://corpus/x").url == "s3://corpus/x"
