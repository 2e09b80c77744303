"""Merge, split and reshard."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_fakes import TEXTS, ByteTokenizer, batch, flip_bit, token_batch

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.shards.merging import repeated_ids
from corpuskit.shards.storage import id_hashes, stored_documents
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

TOKENIZER = ByteTokenizer()
OPTIONS = {"tokenizer": TOKENIZER, "shard_tokens": 60}


def documents_of(directory) -> list[tuple[str, list[int]]]:
    return [(d.id, d.tokens.tolist()) for d in shards.open(directory, verify="full")]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.fixture
def two(tmp_path):
    shards.write(batch(), tmp_path / "a", **OPTIONS, provenance={"crawl": 1})
    shards.write(batch(first=100), tmp_path / "b", **OPTIONS)
    return tmp_path / "a", tmp_path / "b"


def test_a_merge_links_the_shards_in_order(two, tmp_path):
    result = shards.merge(two, tmp_path / "m")
    assert documents_of(tmp_path / "m") == documents_of(two[0]) + documents_of(two[1])
    assert shards.verify(tmp_path / "m").ok and (result.repeated_documents, result.examples) == (0, ())
    first = shards.open(two[0]).manifest.shards
    for entry, merged in zip(first, result.manifest.shards):
        assert entry == merged  # the same names as well, for the first
        assert (two[0] / entry.name).samefile(tmp_path / "m" / merged.name)
    assert result.manifest.provenance["merged"][0]["provenance"] == {"crawl": 1}
    assert shards.merge(two, tmp_path / "m") == result  # done already


def test_shards_are_copied_where_links_are_not_possible(two, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "cross-device")))
    shards.merge(two, tmp_path / "m")
    assert not (tmp_path / "m" / "shard-00000.arrow").samefile(two[0] / "shard-00000.arrow")
    assert documents_of(tmp_path / "m") == documents_of(two[0]) + documents_of(two[1])


def test_what_does_not_belong_together_is_not_merged(two, tmp_path):
    for name, options, what in [
        ("other", {"tokenizer": ByteTokenizer(fingerprint="bytes-2")}, "tokenizer bytes-1 and bytes-2"),
        ("end", {"end_of_document": "none"}, "end_of_document end_of_text and none"),
        ("columns", {"columns": {"loss_mask": "uint8"}}, "parallel columns none and"),
    ]:
        with shards.Writer(tmp_path / name, **{**OPTIONS, **options}) as writer:
            writer.write_tokens(token_batch([[1]], loss_mask=pa.array([[1]])))
        with pytest.raises(MismatchError, match=what):
            shards.merge([two[0], tmp_path / name], tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(ConfigError, match="nothing to merge"):
        shards.merge([], tmp_path / "m")
    with pytest.raises(ConfigError, match="is one of the datasets"):
        shards.merge(two, two[1])
    with pytest.raises(ConfigError, match="s3://bucket"):
        shards.merge([two[0], "s3://bucket/x"], tmp_path / "m")
    with pytest.raises(ArtifactError, match="not a token dataset"):
        shards.merge([two[0], tmp_path / "nowhere"], tmp_path / "m")


def test_damage_is_found_before_a_merge(two, tmp_path):
    flip_bit(two[1] / "shard-00001.arrow", 200)
    with pytest.raises(ArtifactError, match=r"b/shard-00001\.arrow: the shard is damaged"):
        shards.merge(two, tmp_path / "m")
    with pytest.raises(ArtifactError, match="incomplete"):
        shards.open(tmp_path / "m")


def test_another_dataset_is_not_overwritten(two, tmp_path):
    shards.write(batch(first=50), tmp_path / "m", **OPTIONS)
    before = contents(tmp_path / "m")
    for call in (
        lambda: shards.merge(two, tmp_path / "m"),
        lambda: shards.reshard(two[0], tmp_path / "m"),
        lambda: (
            shards.split(two[0], tmp_path, validation=0.5) and shards.split(two[1], tmp_path, validation=0.5)
        ),
    ):
        with pytest.raises(ArtifactError):
            call()
    assert contents(tmp_path / "m") == before


def test_ids_that_occur_twice_are_reported(two, tmp_path):
    shards.write(batch(TEXTS[:4], first=98), tmp_path / "c", **OPTIONS)
    result = shards.merge([*two, tmp_path / "c"], tmp_path / "m")
    assert (result.repeated_documents, result.examples) == (2, ("doc-100", "doc-101"))
    assert len(documents_of(tmp_path / "m")) == 16
    again = shards.merge([two[0], two[0], two[0]], tmp_path / "thrice")
    assert again.repeated_documents == 12


@settings(max_examples=25)
@given(ids=st.lists(st.text("ab中", max_size=2), max_size=60), hashes_a_file=st.integers(1, 40))
def test_repetitions_are_those_of_a_set_however_many_are_sorted_at_a_time(
    tmp_path_factory, ids, hashes_a_file
):
    directory = tmp_path_factory.mktemp("d")
    table = pa.table(
        {"id": pa.array(ids, pa.string()), "text": pa.array(["x"] * len(ids), pa.large_string())}
    )
    manifest = shards.write(table, directory, tokenizer=TOKENIZER, shard_tokens=20)
    paths = [directory / entry.name for entry in manifest.shards]
    count, examples = repeated_ids(paths, hashes_a_file)
    assert count == len(ids) - len(set(ids))
    assert len(examples) == min(10, len({i for i in ids if ids.count(i) > 1}))


@pytest.mark.parametrize("shard_tokens", [1, 45, 10_000])
def test_resharding_gives_the_bytes_of_a_writer(two, tmp_path, shard_tokens):
    manifest = shards.reshard(two[0], tmp_path / "r", shard_tokens=shard_tokens)
    written = shards.write(batch(), tmp_path / "w", tokenizer=TOKENIZER, shard_tokens=shard_tokens)
    assert manifest.shards == written.shards and manifest.fingerprint == written.fingerprint
    assert shards.verify(tmp_path / "r").ok
    before = contents(tmp_path / "r")
    assert shards.reshard(two[0], tmp_path / "r", shard_tokens=shard_tokens) == manifest
    assert contents(tmp_path / "r") == before
    with pytest.raises(MismatchError, match="shard_tokens was"):
        shards.reshard(two[0], tmp_path / "r", shard_tokens=7)
    with pytest.raises(ConfigError, match="the dataset itself"):
        shards.reshard(two[0], two[0])


def test_columns_and_policy_go_with_the_documents(tmp_path):
    with shards.Writer(tmp_path / "a", **OPTIONS, columns={"loss_mask": "uint8"}) as writer:
        rows = [[i] * (i % 5) for i in range(30)]
        writer.write_tokens(token_batch(rows, loss_mask=pa.array([[i % 2 for i in row] for row in rows])))
    shards.reshard(tmp_path / "a", tmp_path / "r", shard_tokens=33)
    shards.split(tmp_path / "a", tmp_path / "s", validation=0.5, shard_tokens=20)
    expected = {
        d.id: (d.tokens.tolist(), d.columns["loss_mask"].tolist()) for d in shards.open(tmp_path / "a")
    }
    for name in ("r", "s/train", "s/validation"):
        data = shards.open(tmp_path / name, verify="full")
        assert len(data) and data.manifest.end_of_document == "end_of_text"
        for document in data:
            assert (document.tokens.tolist(), document.columns["loss_mask"].tolist()) == expected[document.id]


def test_damage_is_not_given_a_new_checksum(two, tmp_path):
    path = two[0] / "shard-00001.arrow"
    flip_bit(path, path.read_bytes().rindex("天".encode()[0]))
    shards.open(two[0])  # the fast check cannot see it
    for call in (
        lambda: shards.reshard(two[0], tmp_path / "r"),
        lambda: shards.split(two[0], tmp_path / "s"),
    ):
        with pytest.raises(ArtifactError, match=r"shard-00001\.arrow: the shard is damaged"):
            call()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    directory = tmp_path_factory.mktemp("many") / "d"
    texts = [f"第{i}篇" + "好" * (i % 7) for i in range(3000)]
    shards.write(batch(texts), directory, tokenizer=TOKENIZER, shard_tokens=9000)
    return directory


def side(identifier: str, validation: float, seed: int) -> str:
    """The rule as it is documented."""
    held_out = xxhash.xxh3_64_intdigest(identifier.encode(), seed) < validation * 2**64
    return "validation" if held_out else "train"


@pytest.mark.parametrize(("validation", "seed"), [(0.01, 0), (0.3, 5)])
def test_a_split_is_by_the_hash_of_the_id(many, tmp_path, validation, seed):
    result = shards.split(many, tmp_path, validation=validation, seed=seed, shard_tokens=4000)
    everything = documents_of(many)
    for name in ("train", "validation"):
        assert documents_of(tmp_path / name) == [
            d for d in everything if side(d[0], validation, seed) == name
        ]
    # within five standard deviations of a binomial
    count = result.validation.num_documents
    assert abs(count - validation * 3000) < 5 * (3000 * validation * (1 - validation)) ** 0.5
    assert result.train.num_documents + count == 3000
    assert shards.split(many, tmp_path, validation=validation, seed=seed, shard_tokens=4000) == result


def test_a_document_never_changes_sides(many, tmp_path):
    """Not when documents are appended, nor in another order; a larger share only takes from train."""
    shards.reshard(many, tmp_path / "d", shard_tokens=9000)
    shards.append(batch([f"新{i}" for i in range(500)], first=9000), tmp_path / "d", tokenizer=TOKENIZER)
    held_out = {}
    for name, source, validation in [
        ("before", many, 0.1), ("after", tmp_path / "d", 0.1), ("larger", many, 0.2)
    ]:  # fmt: skip
        shards.split(source, tmp_path / name, validation=validation)
        held_out[name] = {d.id for d in shards.open(tmp_path / name / "validation")}
    old = {d.id for d in shards.open(many)}
    assert held_out["after"] & old == held_out["before"] < held_out["larger"]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"validation": 0}, "validation"),
        ({"validation": 1.0}, "validation"),
        ({"validation": float("nan")}, "validation"),
        ({"validation": True}, "validation"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
        ({"shard_tokens": 0}, "shard_tokens"),
    ],
)
def test_impossible_splits_are_refused(many, tmp_path, options, where):
    with pytest.raises(ConfigError, match=f"^{where}:"):
        shards.split(many, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_an_empty_dataset_can_be_merged_split_and_resharded(tmp_path):
    shards.write(batch([]), tmp_path / "a", **OPTIONS)
    assert shards.merge([tmp_path / "a"] * 2, tmp_path / "m").manifest.num_documents == 0
    assert shards.reshard(tmp_path / "a", tmp_path / "r").num_documents == 0
    result = shards.split(tmp_path / "a", tmp_path / "s")
    assert result.train.num_documents == result.validation.num_documents == 0
    assert documents_of(tmp_path / "s" / "train") == []


@given(st.lists(st.text(max_size=5), max_size=30), st.integers(0, 30), st.integers(0, (1 << 64) - 1))
def test_hashes_are_of_each_ids_bytes_also_in_a_slice(ids, start, seed):
    array = pa.array(ids, pa.string()).slice(start)
    expected = [xxhash.xxh3_64_intdigest(text.encode(), seed) for text in array.to_pylist()]
    assert id_hashes(array, seed).tolist() == expected and id_hashes(array, seed).dtype == np.uint64


@pytest.mark.parametrize("chunk_tokens", [1, 100, 1 << 22])
def test_stored_documents_come_in_pieces_of_bounded_size(many, chunk_tokens):
    pieces = list(stored_documents(many, shards.open(many).manifest, chunk_tokens))
    assert [i for piece in pieces for i in piece.ids.to_pylist()] == [d.id for d in shards.open(many)]
    assert all(len(piece.tokens) <= chunk_tokens or len(piece) == 1 for piece in pieces)


def test_a_merge_takes_the_tokenizer_from_where_there_is_one(two, tmp_path):
    (two[1] / "tokenizer").mkdir()
    (two[1] / "tokenizer" / "tokenizer.json").write_text("{}")
    shards.merge(two, tmp_path / "m")
    assert (tmp_path / "m" / "tokenizer" / "tokenizer.json").read_text() == "{}"


def test_another_tokenizer_beside_the_shards_is_a_problem_and_is_not_copied(two, tmp_path):
    """With it in place every id would be decoded to the wrong text, and nothing would say so."""
    single = (bytes([i]) for i in range(256))
    other = Tokenizer(ByteLevelBPE((*single, b"ab", None), ((97, 98),), {"<|endoftext|>": 257}))
    other.save(two[0] / "tokenizer")
    (problem,) = shards.verify(two[0]).problems
    assert (problem.kind, problem.file) == ("tokenizer", "tokenizer")
    for copy in (
        lambda: shards.merge(two, tmp_path / "merged"),
        lambda: shards.reshard(two[0], tmp_path / "resharded", shard_tokens=8),
        lambda: shards.split(two[0], tmp_path / "split"),
    ):
        with pytest.raises(MismatchError, match="lies beside shards"):
            copy()
