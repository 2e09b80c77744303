from __future__ import annotations

import itertools
import json
import os
import pickle
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_fakes import ByteTokenizer, token_batch

from corpuskit import shards
from corpuskit.errors import ConfigError, InputError, MismatchError, ResourceError
from corpuskit.kernels.packing import pack_block
from corpuskit.shards import packing
from corpuskit.shards.loader import Loader
from corpuskit.shards.mixture import Mixture
from corpuskit.shards.samples import IGNORED_LABEL, make_fields
from corpuskit.shards.windows import Windows

TOKENIZER = ByteTokenizer(vocab_size=5000, end_of_text_id=0, fingerprint="numbers")


def reference_pack(offsets, capacity, split, best_fit):
    """Best-fit decreasing in plain lists: the fullest bin that holds it; of equals, the latest so full."""
    pieces = []
    for begin, end in itertools.pairwise(offsets):
        if split:
            pieces += [(start, min(capacity, end - start)) for start in range(begin, end, capacity)]
        elif end > begin:
            pieces.append((begin, min(capacity, end - begin)))
    if not best_fit:
        return [[piece] for piece in pieces]
    bins = []  # [space, when it came to that, pieces]
    for time, piece in enumerate(sorted(pieces, key=lambda piece: -piece[1])):
        fitting = [one for one in bins if one[0] >= piece[1]]
        chosen = min(fitting, key=lambda one: (one[0], -one[1])) if fitting else [capacity, 0, []]
        if not fitting:
            bins.append(chosen)
        chosen[0] -= piece[1]
        chosen[1] = time
        chosen[2].append(piece)
    return sorted(sorted(one[2]) for one in bins)


@given(
    lengths=st.lists(st.integers(0, 300), max_size=60),
    first=st.integers(0, 1000),
    capacity=st.integers(1, 200),
    split=st.booleans(),
    best_fit=st.booleans(),
)
def test_the_kernel_packs_as_the_plain_reference(lengths, first, capacity, split, best_fit):
    offsets = (first + np.cumsum([0, *lengths])).astype(np.int64)
    begins, sizes, starts = pack_block(offsets, capacity, split, best_fit)
    pieces = list(zip(begins.tolist(), sizes.tolist()))
    packed = [pieces[a:b] for a, b in zip(starts[:-1].tolist(), starts[1:].tolist())]
    assert packed == reference_pack(offsets.tolist(), capacity, split, best_fit)


class Documents(NamedTuple):
    """Token streams given as documents of each shard: every token of the dataset is another number."""

    sizes: list  # of the documents, per shard
    fingerprint: str = "documents"

    @property
    def offsets(self):
        return [np.cumsum([0, *shard]).astype(np.int64) for shard in self.sizes]

    @property
    def lengths(self):
        return [sum(shard) for shard in self.sizes]

    @property
    def streams(self):
        firsts = np.cumsum([0, *self.lengths])
        return [np.arange(a, b, dtype=np.uint16) + 1 for a, b in itertools.pairwise(firsts)]

    @property
    def column_types(self):
        return {"double": np.dtype(np.uint32)}

    def column(self, name):
        return [stream.astype(np.uint32) * 2 for stream in self.streams]

    def prefetch(self, numbers):
        pass


def documents_of(data):
    return [
        stream[a:b].tolist()
        for stream, offsets in zip(data.streams, data.offsets)
        for a, b in itertools.pairwise(offsets)
    ]


def segments(source, index):
    """Sample `index` cut at its boundaries, without padding."""
    ids = np.empty((1, source.sequence_length), np.int64)
    source.gather(np.array([index]), ids)
    starts, filled = source.boundaries(np.array([index]))
    return [piece.tolist() for piece in np.split(ids[0], starts[1:]) if len(piece)], int(filled[0])


shard_sizes = st.lists(st.lists(st.integers(0, 12), max_size=8), min_size=1, max_size=4).filter(
    lambda shards: sum(map(sum, shards)) > 0
)


@given(
    sizes=shard_sizes,
    length=st.integers(1, 15),
    block_rows=st.integers(1, 9),
    method=st.sampled_from(["best_fit", "one_document"]),
    overflow=st.sampled_from(["split", "crop"]),
)
def test_packing_keeps_every_document_whole_that_fits(sizes, length, block_rows, method, overflow):
    data = Documents(sizes)
    packed = packing.PackedSequences(data, length, method=method, overflow=overflow, block_rows=block_rows)
    found = []
    for index in range(len(packed)):
        pieces, filled = segments(packed, index)
        row = packed[index]
        assert (row[filled:] == 0).all() and (row[:filled] > 0).all() and filled > 0
        pieces = [piece for piece in pieces if piece[0] > 0]
        assert sum(map(len, pieces)) == filled and (method == "best_fit" or len(pieces) == 1)
        found += pieces
    expected = []
    for document in documents_of(data):
        parts = [document[i : i + length] for i in range(0, len(document), length)]
        expected += parts if overflow == "split" else parts[:1]
    assert sorted(found) == sorted(expected)
    statistics = packed.statistics
    kept = sum(map(len, expected))
    assert statistics.sequences == len(packed)
    assert statistics.cropped_tokens == sum(data.lengths) - kept
    assert statistics.padding_tokens == len(packed) * length - kept
    assert "cropped" in str(statistics) and (overflow == "crop" or statistics.crop_rate == 0)


@given(
    sizes=shard_sizes,
    length=st.integers(1, 15),
    across=st.booleans(),
    stride=st.integers(1, 15),
    remainder=st.sampled_from(["drop", "overlap"]),
)
def test_windows_know_where_documents_begin_and_which_shard_they_begin_in(
    sizes, length, across, stride, remainder
):
    data = Documents(sizes)
    try:
        windows = Windows(data, length, across_shards=across, stride=min(stride, length), remainder=remainder)
    except ConfigError:
        assert length > (sum(data.lengths) if across else max(data.lengths))
        return
    firsts = {document[0] for document in documents_of(data) if document}
    shard_of = np.repeat(np.arange(len(sizes)), data.lengths)
    counts = np.zeros(len(sizes), int)
    seen = set()
    for index in range(len(windows)):
        pieces, filled = segments(windows, index)
        tokens = [token for piece in pieces for token in piece]
        assert filled == length and tokens == list(range(tokens[0], tokens[0] + length))
        assert [p[0] for p in pieces] == [t for i, t in enumerate(tokens) if i == 0 or t in firsts]
        assert across or len(set(shard_of[np.array(tokens) - 1])) == 1
        counts[shard_of[tokens[0] - 1]] += 1
        seen |= set(tokens)
    assert windows.tokens_left_out == sum(data.lengths) - len(seen)
    if not (across and remainder == "overlap"):  # the last window may be moved into an earlier shard
        assert windows.shard_starts.tolist() == np.cumsum([0, *counts]).tolist()


def test_fields_keep_attention_positions_and_loss_inside_documents():
    """One row worked out by hand: documents of 3, 2 and 1 tokens, then 2 of padding."""
    packed = packing.PackedSequences(Documents([[3, 2, 1]]), 8)
    names = ("cu_seqlens", "position_ids", "segment_ids", "labels", "double")
    ids = np.empty((1, 8), np.int64)
    packed.gather(np.array([0]), ids)
    fields = make_fields(packed, np.array([0]), ids, names, None)
    assert ids.tolist() == [[1, 2, 3, 4, 5, 6, 0, 0]]
    assert fields["cu_seqlens"].tolist() == [0, 3, 5, 6, 8] and fields["cu_seqlens"].dtype == np.int32
    assert fields["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 0, 1]]
    assert fields["segment_ids"].tolist() == [[1, 1, 1, 2, 2, 3, 0, 0]]
    no = IGNORED_LABEL
    assert fields["labels"].tolist() == [[no, 2, 3, no, 5, no, no, no]]
    assert fields["double"].tolist() == [[2, 4, 6, 8, 10, 12, 0, 0]]
    padded = make_fields(packed, np.array([0]), ids, ("cu_seqlens",), 7)["cu_seqlens"]
    assert padded.tolist() == [0, 3, 5, 6, 8, 8, 8]
    with pytest.raises(ConfigError, match="at least 5"):
        make_fields(packed, np.array([0]), ids, ("cu_seqlens",), 4)


@given(sizes=shard_sizes, length=st.integers(1, 15), seed=st.integers(0, 99))
def test_fields_of_a_batch_agree_with_each_other(sizes, length, seed):
    packed = packing.PackedSequences(Documents(sizes), length)
    indices = np.random.default_rng(seed).integers(0, len(packed), 3)
    ids = np.empty((3, length), np.int64)
    packed.gather(indices, ids)
    fields = make_fields(packed, indices, ids, ("cu_seqlens", "position_ids", "segment_ids"), None)
    borders, flat = fields["cu_seqlens"].tolist(), ids.reshape(-1)
    assert borders[0] == 0 and borders[-1] == ids.size and (np.diff(borders) > 0).all()
    expected = np.concatenate([np.arange(b - a) for a, b in itertools.pairwise(borders)])
    assert np.array_equal(fields["position_ids"].reshape(-1), expected)
    assert np.array_equal(fields["segment_ids"] == 0, ids == 0)
    for a, b in itertools.pairwise(borders):
        assert len(set(fields["segment_ids"].reshape(-1)[a:b])) == 1
        assert flat[a] == 0 or np.array_equal(flat[a:b], flat[a] + np.arange(b - a))


@pytest.fixture
def stored(tmp_path):
    """60 documents of 1 to 40 tokens in several shards, with a loss mask."""
    rng = np.random.default_rng(3)
    lists = [np.arange(size) + 1 + 50 * number for number, size in enumerate(rng.integers(1, 41, 60))]
    masks = [(tokens % 3 > 0).astype(np.uint8) for tokens in lists]
    directory = tmp_path / "stored"
    with shards.Writer(
        directory,
        tokenizer=TOKENIZER,
        shard_tokens=300,
        end_of_document="none",
        columns={"loss_mask": "uint8"},
    ) as writer:
        writer.write_tokens(token_batch(lists, loss_mask=pa.array(masks, pa.large_list(pa.uint8()))))
    return directory


OPTIONS = {"fields": ("cu_seqlens", "labels", "loss_mask"), "seed": 2}


def batches_of(loader, count):
    return [{name: np.asarray(value) for name, value in next(loader).items()} for _ in range(count)]


def same(left, right):
    return all(
        set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_restoring_packed_batches_at_every_step(stored, world_size, workers):
    data = shards.open(stored)
    packed = data.packed(64, block_rows=16)
    steps = len(packed) // (2 * world_size) + 3  # over the end of an epoch
    for rank in {0, world_size - 1}:
        with Loader(packed, 2, rank=rank, world_size=world_size, workers=workers, **OPTIONS) as loader:
            states, batches = [loader.state_dict()], []
            for _ in range(steps):
                batches += batches_of(loader, 1)
                states.append(json.loads(json.dumps(loader.state_dict())))
            assert np.array_equal(batches[0]["loss_mask"] > 0, batches[0]["input_ids"] % 3 > 0)
            for step, state in enumerate(states):
                loader.load_state_dict(state)
                assert same(batches_of(loader, steps - step), batches[step:])


def test_worker_processes_make_the_same_batches(stored):
    world_size = 2
    packed = shards.open(stored).packed(64, block_rows=16)
    expected = batches_of(Loader(packed, 3, world_size=world_size, **OPTIONS), 8)
    with Loader(packed, 3, world_size=world_size, workers=2, worker_kind="process", **OPTIONS) as loader:
        first = batches_of(loader, 3)
        state = loader.state_dict()
        assert same(first + batches_of(loader, 2), expected[:5])
        loader.load_state_dict(state)  # what was made ahead is thrown away
        assert same(batches_of(loader, 5), expected[3:])
        os.kill(loader._makers._processes[0].pid, 9)
        with pytest.raises(ResourceError, match=r"worker process ended \(exit code -9\)"):
            batches_of(loader, 6)
        loader.load_state_dict(state)
        assert same(batches_of(loader, 5), expected[3:])


def test_packed_and_windows_mix(stored):
    data = shards.open(stored)
    mixture = Mixture({"packed": data.packed(32), "windows": data.windows(32)}, {"packed": 1, "windows": 1})
    batch = batches_of(Loader(mixture, 6, **OPTIONS), 1)[0]
    assert batch["labels"].shape == (6, 32) and batch["loss_mask"].shape == (6, 32)
    borders = batch["cu_seqlens"]
    assert set(range(0, 193, 32)) <= set(borders.tolist()) and (np.diff(borders) > 0).all()
    starts = borders[:-1]
    assert (batch["labels"].reshape(-1)[starts] == IGNORED_LABEL).all()


def test_the_sidecar_is_used_and_a_damaged_or_foreign_one_is_made_again(stored, monkeypatch):
    data = shards.open(stored)
    packed = data.packed(64, block_rows=16)
    [sidecar] = stored.glob("packing-*.json")
    whole = sidecar.read_bytes()
    assert shards.verify(stored).ok

    def refuse(*arguments):
        raise AssertionError("packed although there is a sidecar")

    with monkeypatch.context() as patched:
        patched.setattr(packing.PackedSequences, "_pack", refuse)
        again = data.packed(64, block_rows=16)
    assert (len(again), again.statistics) == (len(packed), packed.statistics)
    assert [row.tolist() for row in again] == [row.tolist() for row in packed]
    for position in range(0, len(whole), 37):
        sidecar.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert data.packed(64, block_rows=16).statistics == packed.statistics
    for damaged in (b"", whole[:100], b"[]", b'{"counts": 3}'):
        sidecar.write_bytes(damaged)
        assert data.packed(64, block_rows=16).statistics == packed.statistics
        assert sidecar.read_bytes() == whole


def test_packed_sequences_pickle_without_tokens_and_remember_a_bounded_number_of_blocks(stored, monkeypatch):
    packed = shards.open(stored).packed(64, block_rows=4)
    monkeypatch.setattr(packing, "_REMEMBERED_BYTES", 500)
    rows = [row.tolist() for row in pickle.loads(pickle.dumps(packed))]
    assert [row.tolist() for row in packed] == rows
    assert packed._held <= 500 or len(packed._remembered) == 1
    assert packed._held == sum(packing._size(block) for block in packed._remembered.values())


def test_the_order_of_packed_sequences_is_fixed_for_ever(stored):
    packed = shards.open(stored).packed(64, block_rows=16)
    packed.fingerprint = "golden"
    firsts = batches_of(Loader(packed, 8, seed=1), 1)[0]["input_ids"][:, 0]
    assert firsts.tolist() == GOLDEN_PACKED


GOLDEN_PACKED = [801, 901, 1601, 2351, 2951, 1851, 951, 2201]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sequence_length": 0}, "sequence_length"),
        ({"method": "first_fit"}, "method"),
        ({"overflow": "drop"}, "overflow"),
        ({"block_rows": 0}, "block_rows"),
        ({"pad_id": 5000}, "pad_id"),
    ],
)
def test_impossible_packing_is_refused(stored, options, field):
    with pytest.raises(ConfigError, match=f"^{field}:"):
        shards.open(stored).packed(**{"sequence_length": 8, **options})


def test_unknown_fields_and_states_of_another_packing_are_refused(stored):
    data = shards.open(stored)
    with pytest.raises(ConfigError, match="loss_mask"):
        data.loader(8, 1, framework="numpy", fields=("weights",))
    with pytest.raises(ConfigError, match="list of names"):
        data.loader(8, 1, framework="numpy", fields="labels")
    state = data.loader(64, 2, sequences="packed", framework="numpy").state_dict()
    for other in ("windows", "documents"):
        with pytest.raises(MismatchError, match="policy"):
            data.loader(64, 2, sequences=other, framework="numpy", state=state)


def test_an_empty_dataset_cannot_be_packed(tmp_path):
    shards.Writer(tmp_path, tokenizer=TOKENIZER).close()
    with pytest.raises(InputError, match="no tokens"):
        shards.open(tmp_path).packed(8)
