"""Damaged datasets: put back from a copy or from the documents, or dropped with what is lost named."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from shard_fakes import TEXTS, ByteTokenizer, batch, flip_bit

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError
from corpuskit.shards import verification

TOKENIZER = ByteTokenizer()
OPTIONS = {"tokenizer": TOKENIZER, "shard_tokens": 60}
DOCUMENTS = batch(TEXTS * 3)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.fixture
def copy(tmp_path):
    shards.write(DOCUMENTS, tmp_path / "copy", **OPTIONS)
    return tmp_path / "copy"


@pytest.fixture
def damaged(copy, tmp_path):
    """Shard 1 with a changed token, shard 2 cut, shard 3 gone, shard 4 with a changed offset."""
    directory = tmp_path / "d"
    shutil.copytree(copy, directory)
    for number, change in [
        (1, lambda path: flip_bit(path, path.read_bytes().index(TEXTS[4].encode()[:1]))),
        (2, lambda path: path.write_bytes(path.read_bytes()[:-50])),
        (3, Path.unlink),
        (4, lambda path: flip_bit(path, 400)),
    ]:
        change(directory / f"shard-0000{number}.arrow")
    return directory


def test_whole_shards_are_taken_from_a_copy(damaged, copy):
    result = shards.repair(damaged, source=copy)
    assert result.restored == tuple(f"shard-0000{n}.arrow" for n in (1, 2, 3, 4)) and not result.lost
    assert contents(damaged) == contents(copy)
    assert shards.repair(damaged).restored == ()  # nothing to do


def test_a_copy_may_be_damaged_elsewhere_and_name_its_shards_otherwise(damaged, copy, tmp_path):
    shards.write(batch(first=500), tmp_path / "other", **OPTIONS)
    shards.merge([tmp_path / "other", copy], tmp_path / "merged")
    flip_bit(tmp_path / "merged" / "shard-00000.arrow", 300)
    assert len(shards.repair(damaged, source=tmp_path / "merged").restored) == 4
    assert contents(damaged) == contents(copy)


def test_what_the_copy_lacks_is_named_and_the_rest_is_put_back(damaged, copy):
    flip_bit(copy / "shard-00002.arrow", 300)
    with pytest.raises(ArtifactError, match=r"1 shards stay damaged, 3 were restored: shard-00002\.arrow"):
        shards.repair(damaged, source=copy)
    assert {p.file for p in shards.verify(damaged).problems} == {"shard-00002.arrow"}


def test_damaged_shards_are_encoded_again(damaged, copy):
    for documents in (DOCUMENTS, [DOCUMENTS.slice(i, 1) for i in range(len(TEXTS) * 3)]):
        directory = damaged.with_name(f"again-{type(documents).__name__}")
        shutil.copytree(damaged, directory)
        result = shards.repair(directory, documents=documents, tokenizer=TOKENIZER)
        assert len(result.restored) == 4 and contents(directory) == contents(copy)


def test_other_documents_are_not_taken_for_the_lost_ones(damaged):
    for documents in (batch(TEXTS[::-1] * 3), batch(TEXTS * 3, first=1)):
        with pytest.raises(MismatchError, match="do not give the shard that was written"):
            shards.repair(damaged, documents=documents, tokenizer=TOKENIZER)
    with pytest.raises(ArtifactError, match="stay damaged"):
        shards.repair(damaged, documents=DOCUMENTS.slice(0, 2), tokenizer=TOKENIZER)
    with pytest.raises(MismatchError, match="bytes-2"):
        shards.repair(damaged, documents=DOCUMENTS, tokenizer=ByteTokenizer(fingerprint="bytes-2"))


def test_what_is_dropped_is_said_and_kept_aside(damaged, copy):
    before = shards.info(copy)
    data = shards.open(copy)
    ids = {entry.name: [] for entry in data.manifest.shards}
    for entry, count in ((entry, entry.rows) for entry in data.manifest.shards):
        first = sum(len(known) for known in ids.values())
        ids[entry.name] = [data[row].id for row in range(first, first + count)]
    result = shards.repair(damaged, drop=True)
    lost = {shard.name: shard for shard in result.lost}
    assert sorted(lost) == [f"shard-0000{n}.arrow" for n in (1, 2, 3, 4)]
    assert lost["shard-00001.arrow"].ids == tuple(ids["shard-00001.arrow"])
    assert lost["shard-00002.arrow"].ids is None is lost["shard-00003.arrow"].ids
    after = shards.info(damaged)
    assert after["documents"] + sum(shard.documents for shard in result.lost) == before["documents"]
    assert after["tokens"] + sum(shard.tokens for shard in result.lost) == before["tokens"]
    assert [record["shard"] for record in after["provenance"]["dropped"]] == sorted(lost)
    assert shards.verify(damaged).ok and shards.open(damaged).fingerprint != before["fingerprint"]
    kept = [i for name, known in ids.items() if name not in lost for i in known]
    assert [document.id for document in shards.open(damaged, verify="full")] == kept
    aside = damaged / "dropped-shard-00001.arrow"
    assert aside.name in result.set_aside and aside.exists()
    again = shards.repair(damaged, drop=True)
    assert (again.lost, again.set_aside, again.manifest) == ((), (), result.manifest)


def test_a_loader_state_of_before_the_drop_is_refused(copy):
    state = shards.open(copy).loader(8, 2, framework="numpy").state_dict()
    flip_bit(copy / "shard-00001.arrow", 300)
    shards.repair(copy, drop=True)
    with pytest.raises(MismatchError):
        shards.open(copy).loader(8, 2, framework="numpy", state=state)


def test_after_a_drop_documents_can_be_appended(damaged):
    kept = [d.id for d in shards.open(shards.repair(damaged, drop=True) and damaged)]
    last = max(path.name for path in damaged.glob("shard-*.arrow"))
    shards.append(batch(first=900), damaged, **OPTIONS)
    names = [entry.name for entry in shards.open(damaged).manifest.shards]
    assert len(set(names)) == len(names) and max(names) > last
    assert [d.id for d in shards.open(damaged, verify="full")] == kept + [f"doc-{900 + i}" for i in range(6)]


def test_an_append_that_did_not_finish_is_given_up(copy):
    before = contents(copy)
    with pytest.raises(KeyboardInterrupt), shards.Writer(copy, **OPTIONS, append=True) as writer:
        writer.write(batch(first=500))
        writer.write(batch(first=600))
        raise KeyboardInterrupt
    assert shards.repair(copy).lost == ()  # nothing is damaged
    result = shards.repair(copy, drop=True)
    assert sum(shard.documents for shard in result.lost) > 0
    assert result.lost[0].ids and result.lost[0].ids[0] == "doc-500"
    assert shards.verify(copy).ok and not shards.open(copy).manifest.is_appending
    after = contents(copy)
    assert {name: after[name] for name in before if name != "dataset.json"} == {
        name: before[name] for name in before if name != "dataset.json"
    }


def test_an_unfinished_dataset_is_called_complete_only_on_demand(tmp_path):
    with pytest.raises(KeyboardInterrupt), shards.Writer(tmp_path, **OPTIONS) as writer:
        writer.write(DOCUMENTS)
        raise KeyboardInterrupt
    with pytest.raises(ArtifactError, match="incomplete"):
        shards.repair(tmp_path)
    whole = shards.open(tmp_path, allow_incomplete=True)
    result = shards.repair(tmp_path, drop=True)
    assert result.manifest.complete and len(shards.open(tmp_path)) == len(whole)
    assert "unfinished" in result.manifest.provenance["dropped"][0]


def test_a_damaged_manifest_is_taken_from_a_copy(copy, damaged):
    (damaged / "dataset.json").write_text("{")
    with pytest.raises(ArtifactError, match="description is damaged"):
        shards.repair(damaged, drop=True)
    shards.repair(damaged, source=copy)
    assert contents(damaged) == contents(copy)


def test_files_that_nobody_knows_are_set_aside(copy):
    shutil.copy(copy / "shard-00000.arrow", copy / "shard-00099.arrow")
    (copy / "packing-0000000000000000.json").write_text(json.dumps({"fingerprint": "other"}))
    assert shards.repair(copy, drop=True).set_aside == ("dropped-shard-00099.arrow",)
    assert shards.verify(copy).ok and not list(copy.glob("packing-*.json"))


def test_impossible_repairs_are_refused(copy, tmp_path):
    with pytest.raises(ConfigError, match="belong together"):
        shards.repair(copy, documents=DOCUMENTS)
    with pytest.raises(ConfigError, match="the dataset itself"):
        shards.repair(copy, source=copy)
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.repair(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="s3://"):
        shards.repair("s3://bucket/d")


@pytest.mark.parametrize("name", ["dataset.json", "shard-00001.arrow"])
def test_what_may_not_be_read_is_not_damaged_and_not_dropped(numbered, monkeypatch, name):
    """As root no file is forbidden, so the calls that open files say so."""
    before = {path.name: path.read_bytes() for path in numbered.iterdir()}

    def forbidding(function):
        def call(path, *arguments, **options):
            if name in str(path):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr("corpuskit.shards.verification.checksum", forbidding(verification.checksum))
        patch.setattr("pyarrow.memory_map", forbidding(pa.memory_map))
        patch.setattr("pathlib.Path.read_bytes", forbidding(Path.read_bytes))
        for call in (shards.open, shards.verify, lambda d: shards.repair(d, drop=True)):
            with pytest.raises(InputError, match="permission denied"):
                call(numbered)
    assert {path.name: path.read_bytes() for path in numbered.iterdir()} == before


def test_a_disk_that_cannot_be_read_is_one_of_the_problems(numbered, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("corpuskit.shards.verification.checksum", broken)
    problems = shards.verify(numbered).problems
    assert {problem.kind for problem in problems} == {"checksum"}
    assert all("Input/output error" in problem.detail for problem in problems)


def test_a_directory_that_may_not_be_written_is_said_to_be_so(numbered, monkeypatch):
    def forbidden(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("corpuskit.shards.manifest.write_json", forbidden)
    tokenizer = ByteTokenizer(vocab_size=1000, fingerprint="numbers")
    with pytest.raises(InputError, match="cannot be used: Permission denied"):
        shards.Writer(numbered, tokenizer=tokenizer, append=True)
    assert len(shards.open(numbered)) == 40
