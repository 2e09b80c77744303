"""The promise of exactness in one place: restored at every step, what remains is what would have come.

For ranks and workers in {1, 2, 3, 8} x {0, 1, 2}, over windows, packed documents, and a mixture of both
in stages; on first, middle and last ranks, with a fresh loader, and with another number of ranks on
resumption. Golden hashes hold the order of samples itself. (The other tests of packing and mixtures run
the whole matrix too; here it is slow for those two but for its diagonal.)
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from shard_fakes import ByteTokenizer

from corpuskit import shards
from corpuskit.shards import Loader, Mixture, Stages

WORLD_SIZES = (1, 2, 3, 8)
GLOBAL_BATCH = 24  # divides among all of them
STEPS = 8
FIELDS = ("cu_seqlens", "labels", "loss_mask")
OPTIONS = {"seed": 11, "fields": FIELDS}


def make_dataset(directory, documents: int, seed: int):
    """Documents of 1 to 60 distinct tokens in several shards, with a loss mask."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 61, documents)
    tokens = [rng.integers(0, 5000, size) for size in sizes]
    table = pa.table(
        {
            "id": [f"{seed}-{i}" for i in range(documents)],
            "tokens": pa.array(tokens, pa.large_list(pa.int64())),
            "loss_mask": pa.array([ids % 2 for ids in tokens], pa.large_list(pa.int64())),
        }
    )
    tokenizer = ByteTokenizer(vocab_size=5000)
    with shards.Writer(
        directory, tokenizer=tokenizer, shard_tokens=700, columns={"loss_mask": "uint8"}
    ) as writer:
        writer.write_tokens(table)
    return shards.open(directory)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    directory = tmp_path_factory.mktemp("restore")
    return make_dataset(directory / "a", 120, 1), make_dataset(directory / "b", 90, 2)


def named(samples, name):
    """With a fingerprint that is not of the files' bytes, which another version of Arrow may change."""
    samples.fingerprint = name
    return samples


def windows(datasets, length=32):
    return named(datasets[0].windows(length), "a")


def packed(datasets, length=32, number=0):
    return named(datasets[number].packed(length, block_rows=16), "ab"[number])


def mixture(datasets):
    """Windows and packed documents of two datasets, then longer ones of other shares."""
    short, long = (
        {"windows": windows(datasets, length), "packed": packed(datasets, length, 1)} for length in (16, 32)
    )
    return Stages(
        [
            (Mixture(short, {"windows": 2, "packed": 1}, block_samples=2048), 6 * GLOBAL_BATCH),
            (Mixture(long, {"windows": 1, "packed": 3}, block_samples=2048), None),
        ]
    )


SOURCES = (windows, packed, mixture)


def take(loader, count):
    return [next(loader) for _ in range(count)]


def same(left, right):
    return all(
        set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )


def matrix():
    for source in SOURCES:
        for place, world_size in enumerate(WORLD_SIZES):
            for workers in (0, 1, 2):
                quick = source is windows or workers == (place + len(source.__name__)) % 3
                yield pytest.param(source, workers, world_size, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("source", "workers", "world_size"), matrix())
def test_restored_at_every_step_all_that_remains_is_the_same(datasets, source, workers, world_size):
    samples = source(datasets)
    size = GLOBAL_BATCH // world_size
    for rank in sorted({0, 1 % world_size, world_size // 2, world_size - 1}):
        options = {**OPTIONS, "rank": rank, "world_size": world_size, "workers": workers}
        with Loader(samples, size, **options) as loader:
            states, batches = [loader.state_dict()], []
            for batch in take(loader, STEPS):
                batches.append(batch)
            loader.load_state_dict(states[0])
            for expected in batches:
                assert same(take(loader, 1), [expected])
                states.append(json.loads(json.dumps(loader.state_dict())))
            for step, state in enumerate(states):
                loader.load_state_dict(state)
                assert same(take(loader, STEPS - step), batches[step:])
        for step in (0, 5):  # a new process has a new loader
            with Loader(samples, size, state=states[step], **options) as resumed:
                assert same(take(resumed, STEPS - step), batches[step:])


def rows_of(datasets, source, world_size, state, count):
    """Samples of `count` steps in global order, and the state after them."""
    loaders = [
        Loader(
            source(datasets),
            GLOBAL_BATCH // world_size,
            seed=11,
            rank=rank,
            world_size=world_size,
            state=state,
        )
        for rank in range(world_size)
    ]
    rows = [row.tolist() for _ in range(count) for loader in loaders for row in next(loader)["input_ids"]]
    (state,) = {json.dumps(loader.state_dict()) for loader in loaders}
    return rows, json.loads(state)


@pytest.mark.parametrize("source", SOURCES)
def test_at_every_step_any_number_of_ranks_goes_on_from_any_other(datasets, source):
    whole, _ = rows_of(datasets, source, 1, None, STEPS)
    for before in WORLD_SIZES:
        for step in range(1, STEPS):
            first, state = rows_of(datasets, source, before, None, step)
            after = WORLD_SIZES[(WORLD_SIZES.index(before) + step) % len(WORLD_SIZES)]
            rest, _ = rows_of(datasets, source, after, state, STEPS - step)
            assert first + rest == whole


@pytest.mark.parametrize("source", SOURCES)
def test_the_order_is_fixed_for_ever(datasets, source):
    """Of the tokens themselves, so of everything: order, packing, mixture and stages."""
    rows, _ = rows_of(datasets, source, 1, None, 20)
    stream = np.concatenate([np.array(row, np.int64) for row in rows])
    assert xxhash.xxh3_64_hexdigest(stream.tobytes()) == GOLDEN[source.__name__]


GOLDEN = {"windows": "b317a448bf9d5f04", "packed": "372f0e2b2ee2b750", "mixture": "9cd54f8f48c058ae"}
