"""Going on with what was interrupted, and adding to what is complete."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_fakes import TEXTS, ByteTokenizer, batch, flip_bit, token_batch

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError, LedgerError, MismatchError

TOKENIZER = ByteTokenizer()
OPTIONS = {"tokenizer": TOKENIZER, "shard_tokens": 60}


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def interrupted(directory, batches, **options):
    with pytest.raises(KeyboardInterrupt), shards.Writer(directory, **{**OPTIONS, **options}) as writer:
        for rows in batches:
            writer.write(rows)
        raise KeyboardInterrupt
    return shards.info(directory)


def ids_of(directory, **options) -> list[str]:
    return [document.id for document in shards.open(directory, verify="full", **options)]


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_the_same_documents_go_on_where_it_was_interrupted(tmp_path, batches, monkeypatch):
    everything = [batch(first=10 * i) for i in range(4)]
    with shards.Writer(tmp_path / "whole", **OPTIONS) as writer:
        for rows in everything:
            writer.write(rows)
    facts = interrupted(tmp_path / "d", everything[:batches])
    encoded = []

    def counting(self, texts, _encode=ByteTokenizer.encode_batch):
        encoded.append(len(texts))
        return _encode(self, texts)

    monkeypatch.setattr(ByteTokenizer, "encode_batch", counting)
    with shards.Writer(tmp_path / "d", **OPTIONS, resume=True) as writer:
        assert writer.num_known == facts["documents"] > 0
        for rows in everything:
            writer.write(rows)
        assert writer.num_known == 0
    assert sum(encoded) == 24 - facts["documents"]
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")


def test_a_caller_who_seeks_says_so(tmp_path):
    everything = pa.Table.from_batches([batch(first=10 * i) for i in range(4)])
    shards.write(everything, tmp_path / "whole", **OPTIONS)
    known = interrupted(tmp_path / "d", [everything.slice(0, 11)])["documents"]
    with shards.Writer(tmp_path / "d", **OPTIONS, resume=True) as writer:
        with pytest.raises(ConfigError, match="cannot be left out"):
            writer.skip(known + 1)
        writer.skip(2)
        writer.skip(known - 2)
        writer.write(everything.slice(known))
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")


def test_resume_begins_and_a_finished_dataset_is_not_written_again(tmp_path):
    for _ in range(2):
        with shards.Writer(tmp_path, **OPTIONS, resume=True) as writer:
            writer.write(batch())
    assert ids_of(tmp_path) == [f"doc-{i}" for i in range(6)]
    before = contents(tmp_path)
    with pytest.raises(ArtifactError, match="complete with 6 documents, and more are given"):
        shards.write(pa.Table.from_batches([batch(), batch(first=10)]), tmp_path, **OPTIONS, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_tokens": 70}, "shard_tokens was 60, now it is 70"),
        ({"end_of_document": "none"}, "end_of_document"),
        ({"columns": {"loss_mask": "uint8"}}, "columns"),
        ({"tokenizer": ByteTokenizer(fingerprint="bytes-2")}, "tokenizer bytes-1 and bytes-2 differ"),
    ],
)
def test_other_options_do_not_go_on(tmp_path, options, message):
    interrupted(tmp_path, [batch()])
    before = contents(tmp_path)
    with pytest.raises(MismatchError, match=message):
        shards.Writer(tmp_path, **{**OPTIONS, **options}, resume=True)
    assert contents(tmp_path) == before


def test_other_documents_do_not_go_on(tmp_path):
    interrupted(tmp_path, [batch(), batch(first=10)])
    with pytest.raises(MismatchError, match="doc-100 stands where doc-0 is in already"):
        shards.write(batch(first=100), tmp_path, **OPTIONS, resume=True)
    with pytest.raises(MismatchError, match=r"the documents ended \d+ before"):
        shards.write(batch(TEXTS[:1]), tmp_path, **OPTIONS, resume=True)
    with pytest.raises(ArtifactError, match="incomplete"):
        shards.open(tmp_path)


def test_a_damaged_shard_is_not_built_upon(tmp_path):
    interrupted(tmp_path, [batch(), batch(first=10)])
    flip_bit(tmp_path / "shard-00000.arrow", 100)
    with pytest.raises(ArtifactError, match=r"shard-00000\.arrow: the shard is damaged"):
        shards.write(batch(), tmp_path, **OPTIONS, resume=True)


def test_without_resume_what_was_interrupted_is_refused(tmp_path):
    interrupted(tmp_path, [batch()])
    with pytest.raises(ArtifactError, match="resume=True"):
        shards.Writer(tmp_path, **OPTIONS)


def test_appended_documents_come_after_the_old_ones_in_new_shards(tmp_path):
    shards.write(batch(), tmp_path, **OPTIONS, provenance={"crawl": 1})
    old = contents(tmp_path)
    with shards.Writer(tmp_path, **OPTIONS, append=True, provenance={"news": 2}) as writer:
        writer.write(batch(first=10))
        writer.write(batch(first=20))
        assert writer.manifest.operation.waiting
        assert ids_of(tmp_path) == [f"doc-{i}" for i in range(6)]
        problem = shards.verify(tmp_path).problems[0]
        assert problem.kind == "incomplete" and "append did not finish" in problem.detail
    new = contents(tmp_path)
    assert all(new[name] == old[name] for name in old if name != "dataset.json")
    assert ids_of(tmp_path) == [f"doc-{10 * i + j}" for i in range(3) for j in range(6)]
    assert shards.verify(tmp_path).ok and shards.info(tmp_path)["provenance"] == {"crawl": 1, "news": 2}


@settings(max_examples=15)
@given(cut=st.integers(0, 11), rest=st.integers(0, 6))
def test_appending_can_go_on_and_is_done_once(tmp_path_factory, cut, rest):
    directory = tmp_path_factory.mktemp("d")
    old, new = batch(), pa.Table.from_batches([batch(first=100), batch(first=110)])
    shards.write(old, directory, **OPTIONS)
    with pytest.raises(KeyboardInterrupt), shards.Writer(directory, **OPTIONS, append=True) as writer:
        writer.write(new.slice(0, cut))
        raise KeyboardInterrupt
    with pytest.raises(ArtifactError, match="an append did not finish"):
        shards.append(new, directory, **OPTIONS)
    for _ in range(2):
        shards.append(new, directory, **OPTIONS, resume=True)
        assert ids_of(directory) == [*old["id"].to_pylist(), *new["id"].to_pylist()]
    further = batch(TEXTS[:rest], first=200)
    shards.append(further, directory, **OPTIONS, resume=True)
    assert ids_of(directory)[18:] == further["id"].to_pylist()
    assert shards.verify(directory).ok


def test_nothing_appended_changes_nothing_in_the_data(tmp_path):
    shards.write(batch(), tmp_path, **OPTIONS)
    fingerprint = shards.open(tmp_path).fingerprint
    shards.append(batch([]), tmp_path, **OPTIONS)
    assert shards.open(tmp_path).fingerprint == fingerprint and shards.verify(tmp_path).ok


def test_what_cannot_be_appended_to_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.append(batch(), tmp_path / "none", **OPTIONS)
    interrupted(tmp_path / "half", [batch()])
    with pytest.raises(ArtifactError, match="incomplete"):
        shards.append(batch(), tmp_path / "half", **OPTIONS)
    shards.write(batch(), tmp_path / "d", **OPTIONS)
    before = contents(tmp_path / "d")
    with pytest.raises(MismatchError, match="bytes-2"):
        shards.append(batch(), tmp_path / "d", tokenizer=ByteTokenizer(fingerprint="bytes-2"))
    with pytest.raises(MismatchError, match="end_of_document"):
        shards.append(batch(), tmp_path / "d", **OPTIONS, end_of_document="none")
    with pytest.raises(MismatchError, match="columns"):
        shards.append(batch(), tmp_path / "d", **OPTIONS, columns={"loss_mask": "uint8"})
    assert contents(tmp_path / "d") == before


def test_policy_and_columns_of_an_append_are_those_of_the_dataset(tmp_path):
    columns = {"loss_mask": "uint8"}
    with shards.Writer(tmp_path, **OPTIONS, end_of_document="none", columns=columns) as writer:
        writer.write_tokens(token_batch([[1, 2]], loss_mask=pa.array([[0, 1]])))
    with shards.Writer(tmp_path, tokenizer=TOKENIZER, append=True) as writer:
        writer.write_tokens(token_batch([[3]], first=5, loss_mask=pa.array([[1]])))
    assert [(d.tokens.tolist(), d.columns["loss_mask"].tolist()) for d in shards.open(tmp_path)] == [
        ([1, 2], [0, 1]),
        ([3], [1]),
    ]


def test_stale_packing_counts_are_removed_and_never_used(tmp_path):
    shards.write(batch(), tmp_path, **OPTIONS)
    before = shards.open(tmp_path).packed(16)
    assert list(tmp_path.glob("packing-*.json"))
    shards.append(batch(first=10), tmp_path, **OPTIONS)
    assert not list(tmp_path.glob("packing-*.json"))
    after = shards.open(tmp_path).packed(16)
    assert after.statistics.tokens == 2 * before.statistics.tokens


def _hold(directory, pipe):
    with shards.Writer(directory, **OPTIONS, resume=True) as writer:
        writer.write(batch())
        pipe.send("holding")
        pipe.recv()


def test_two_writers_do_not_write_one_dataset(tmp_path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_hold, args=(tmp_path / "d", theirs))
    child.start()
    try:
        assert ours.recv() == "holding"
        with pytest.raises(LedgerError, match="another writer"):
            shards.Writer(tmp_path / "d", **OPTIONS, resume=True)
        with pytest.raises(LedgerError, match="another writer"):
            shards.repair(tmp_path / "d", drop=True)
    finally:
        ours.send("done")
        child.join()
    assert ids_of(tmp_path / "d") == [f"doc-{i}" for i in range(6)]


def test_threads_do_not_change_a_byte(tmp_path):
    vocab = pytest.importorskip("corpuskit.vocab")
    texts = ["".join(TEXTS)] * 30
    tokenizer = vocab.train(texts, vocab_size=300)
    for threads in (1, 3):
        shards.write(batch(texts), tmp_path / f"{threads}", tokenizer=tokenizer, threads=threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")
    with pytest.raises(ConfigError, match="threads"):
        shards.Writer(tmp_path / "no", tokenizer=tokenizer, threads=0)


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used as output directory"):
        shards.Writer(tmp_path / "file" / "d", **OPTIONS)


def test_an_operation_survives_the_manifest_and_damage_to_it_is_found(tmp_path):
    shards.write(batch(), tmp_path, **OPTIONS)
    path = tmp_path / "dataset.json"
    stored = json.loads(path.read_text())
    assert stored["operation"] == {
        "name": "write", "options": {"shard_tokens": 60}, "finished": True, "waiting": []
    }  # fmt: skip
    for wrong in ({"name": 3}, {"finished": 1}, {"waiting": [{}]}, {"options": []}):
        path.write_text(json.dumps({**stored, "operation": {**stored["operation"], **wrong}}))
        with pytest.raises(ArtifactError, match="damaged"):
            shards.open(tmp_path)
    path.write_text(json.dumps({**stored, "operation": None}))
    with pytest.raises(MismatchError, match="does not say how"):
        shards.Writer(tmp_path, **OPTIONS, resume=True)


def test_writing_never_imports_torch(tmp_path):
    program = (
        "import sys\nsys.path.insert(0, sys.argv[2])\nfrom shard_fakes import ByteTokenizer, batch\n"
        "from corpuskit import shards\nshards.write(batch(), sys.argv[1], tokenizer=ByteTokenizer())\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'datasets', 'polars', 'duckdb')))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "d"), str(Path(__file__).parent)]
    subprocess.run(command, check=True)
