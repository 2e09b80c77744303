"""Partitioned files: one batch of many, from a disk or from a range of bytes, and what is wrong with them."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc

from corpuskit.partitioned import (
    Groups,
    footer_bytes,
    missing_footer_bytes,
    parse_footer,
    read_batch,
    staged_batch,
    write_batch,
)

SCHEMA = pa.schema([("n", pa.uint64()), ("s", pa.string()), ("b", pa.bool_())], metadata={b"tag": b"x"})


def batches(sizes: list[int], seed: int = 0) -> list[pa.RecordBatch]:
    """Slices of one table at odd places, with nulls, bits and strings."""
    rng = random.Random(seed)
    texts = [
        "".join(rng.choices("天地玄黄宇宙洪荒𠀀", k=rng.randrange(6))) or None for _ in range(sum(sizes))
    ]
    bits = [rng.choice([True, False, None]) for _ in texts]
    numbers = pa.array(np.arange(len(texts), dtype=np.uint64))
    columns = [numbers, pa.array(texts, pa.string()), pa.array(bits, pa.bool_())]
    whole = pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
    ends = list(itertools.accumulate(sizes, initial=0))
    return [whole.slice(a, b - a) for a, b in itertools.pairwise(ends)]


def write(path, parts: list[pa.RecordBatch], compression: str | None = None) -> bytes:
    options = ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, SCHEMA, options=options) as writer:
        for batch in parts:
            write_batch(writer, batch)
    return path.read_bytes()


@pytest.mark.parametrize("compression", [None, "zstd"])
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_each_batch_comes_back_from_the_file_and_from_its_range(tmp_path_factory, compression, sizes, seed):
    path = tmp_path_factory.mktemp("p") / "x.arrow"
    parts = batches(sizes, seed)
    data = write(path, parts, compression)
    tail = data[-footer_bytes(len(sizes), len(data)) :]
    assert missing_footer_bytes(tail) == 0
    footer = parse_footer(tail, len(data))
    assert footer.schema.equals(SCHEMA, check_metadata=True)
    assert len(footer.blocks) == len(sizes)
    for number, part in enumerate(parts):
        assert read_batch(path, number).equals(part)
        start, length = footer.range(number)
        staged = path.with_name("staged.arrow")
        staged.write_bytes(staged_batch(footer.schema, data[start : start + length], number))
        seen = []
        assert read_batch(staged, number, seen.append).equals(part)
        assert seen[0].metadata == {b"tag": b"x"}


def test_a_footer_longer_than_expected_is_asked_for_in_full(tmp_path):
    data = write(tmp_path / "x.arrow", batches([3] * 50))
    tail = data[-100:]
    missing = missing_footer_bytes(tail)
    assert missing > 0
    with pytest.raises(ValueError, match="not whole"):
        parse_footer(tail, len(data))
    assert len(parse_footer(data[-100 - missing :], len(data)).blocks) == 50


def test_any_wrong_byte_of_a_batch_or_of_its_place_is_noticed(tmp_path):
    parts = batches([5, 9])
    data = write(tmp_path / "x.arrow", parts)
    whole = parse_footer(data, len(data))
    start, length = whole.range(1)
    values = start + int(whole.blocks["metadata"][1])
    wrong = bytearray(data)
    wrong[values] ^= 1
    with pytest.raises(ValueError, match="partition 1 has changed"):
        staged_batch(whole.schema, bytes(wrong[start : start + length]), 1)
    (tmp_path / "x.arrow").write_bytes(wrong)
    with pytest.raises(pa.ArrowInvalid, match="partition 1 has changed"):
        read_batch(tmp_path / "x.arrow", 1)
    assert read_batch(tmp_path / "x.arrow", 0).equals(parts[0])
    for cut in (0, 4, length // 2, length - 1):
        with pytest.raises(ValueError):
            staged_batch(whole.schema, data[start : start + cut], 1)
    with pytest.raises(ValueError):
        staged_batch(whole.schema, data[start + 8 : start + 8 + length], 1)


@given(seed=st.integers(0, 10_000))
def test_a_footer_with_a_wrong_byte_is_refused_or_says_the_same(tmp_path_factory, seed):
    rng = random.Random(seed)
    data = write(tmp_path_factory.mktemp("p") / "x.arrow", batches([5, 0, 9, 2]))
    good = parse_footer(data, len(data))
    tail = bytearray(data[-400:])
    tail[rng.randrange(len(tail))] ^= 1 << rng.randrange(8)
    try:
        footer = parse_footer(bytes(tail), len(data))
    except ValueError:
        return
    if len(footer.blocks) == 4:  # with other bytes than those of the blocks
        assert [footer.range(n) for n in range(4)] == [good.range(n) for n in range(4)]


@pytest.mark.parametrize("tail", [b"", b"ARROW1", b"x" * 50, b"\0" * 44 + b"ARROW1"])
def test_what_is_no_footer_is_refused(tail):
    with pytest.raises(ValueError):
        if not missing_footer_bytes(tail):
            parse_footer(tail, 1000)


@given(parts=st.integers(1, 60), first=st.integers(0, 5), most=st.integers(1, 70), data=st.data())
def test_groups_take_every_part_once_and_are_few(parts, first, most, data):
    groups = Groups(parts, first, most)
    of = [groups.of(first + part) for part in range(parts)]
    assert of == sorted(of) and of[0] == 0 and set(of) == set(range(groups.count))
    assert groups.count <= most
    rows = sorted(data.draw(st.lists(st.integers(0, first + parts + 3), max_size=30)))
    table = pa.table({"part": pa.array(rows, pa.int64())})
    split_up = list(groups.split(table, np.array(rows, np.int64)))
    assert len(split_up) == groups.count
    for number, piece in enumerate(split_up):
        expected = [p for p in rows if first <= p < first + parts and groups.of(p) == number]
        assert piece.column("part").to_pylist() == expected
    counts = [part % 3 for part in range(parts)]
    for part, total in enumerate(groups.rows_of(counts)):
        assert total == sum(c for other, c in enumerate(counts) if of[other] == of[part])
