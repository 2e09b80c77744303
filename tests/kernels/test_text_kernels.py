"""The UTF-8, hashing and union-find kernels agree with plain Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.dedup.shingles import finish, ignored_table, shingle_hash, shingles, text_buffers
from corpuskit.kernels import hashing, unionfind, utf8
from corpuskit.kernels import shingles as shingle_kernels

ANY_TEXT = st.text(
    alphabet=st.one_of(st.sampled_from("ab 天地。，\u3000\n\u200b\U00020000é"), st.characters(codec="utf-8")),
    max_size=40,
)
TEXTS = st.lists(ANY_TEXT, min_size=1, max_size=6)
IGNORE = st.sampled_from(["nothing", "space", "space-punctuation"])


def kernel_hashes(text: str, n: int, ignore: str) -> list[int]:
    data, offsets = text_buffers(pa.array([text], pa.large_string()))
    out = np.zeros(len(text) + 1, np.uint64)
    count = shingle_kernels.shingle_hashes(data, offsets[0], offsets[1], ignored_table(ignore), n, out)
    return out[:count].tolist()


@given(TEXTS)
def test_decoding_gives_the_code_points(texts):
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    for i, text in enumerate(texts):
        codes = np.zeros(len(text) + 1, np.int32)
        count = utf8.decode(data, offsets[i], offsets[i + 1], codes)
        assert codes[:count].tolist() == [ord(c) for c in text]


@given(TEXTS)
def test_characters_are_counted(texts):
    counts = np.empty(len(texts), np.int64)
    utf8.count_characters(*text_buffers(pa.array(texts, pa.large_string())), counts)
    assert counts.tolist() == [len(t) for t in texts]


@given(TEXTS, IGNORE)
def test_removing_characters_leaves_the_others_in_order(texts, ignore):
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    out, bounds = np.zeros(len(data) + 1, np.uint8), np.empty_like(offsets)
    table = ignored_table(ignore)
    utf8.remove_characters(data, offsets, table, out, bounds)
    expected = ["".join(c for c in t if ord(c) > 65535 or not table[ord(c)]) for t in texts]
    found = [out[a:b].tobytes().decode() for a, b in pairwise(bounds)]
    assert found == expected


@given(st.binary(max_size=30))
def test_damaged_utf8_never_reads_past_the_end(data):
    array = np.frombuffer(data + b"\xff" * 4, np.uint8)
    position, steps = 0, 0
    while position < len(data):
        _, following = utf8.next_code_point(array, position, len(data))
        assert position < following <= len(data)
        position, steps = following, steps + 1
    assert steps <= len(data)


@given(ANY_TEXT, st.one_of(st.integers(1, 8), st.sampled_from([63, 64])), IGNORE)
def test_hashes_equal_the_plain_hash_of_each_shingle(text, n, ignore):
    assert kernel_hashes(text, n, ignore) == [shingle_hash(s) for s in shingles(text, n, ignore)]


def test_shingles_continue_over_block_borders():
    rng = np.random.default_rng(0)
    text = "".join(map(chr, rng.integers(0x4E00, 0x9000, 3 * shingle_kernels.BLOCK_CHARACTERS + 17)))
    data, offsets = text_buffers(pa.array([text], pa.large_string()))
    table, size = shingle_kernels.distinct_shingles(data, offsets[0], offsets[1], ignored_table("space"), 5)
    assert set(table[table != 0].tolist()) == {shingle_hash(s) for s in shingles(text)}
    assert size == np.count_nonzero(table) <= table.size // 2


@given(st.binary(min_size=1, max_size=40), st.integers(1, 5))
def test_damaged_utf8_is_hashed_to_its_end(data, n):
    array = np.frombuffer(data, np.uint8)
    out = np.empty(len(data) + 1, np.uint64)
    assert (
        1
        <= shingle_kernels.shingle_hashes(array, 0, len(data), ignored_table("nothing"), n, out)
        <= len(data)
    )


@given(st.integers(0, 2**64 - 1))
def test_unfinish_is_the_inverse_of_finish(value):
    assert int(hashing.unfinish(np.uint64(finish(value)))) == value
    assert int(hashing.finish(np.uint64(value))) == finish(value)


@settings(max_examples=60)
@given(st.lists(ANY_TEXT, min_size=2, max_size=5), st.integers(1, 5), IGNORE)
def test_jaccard_of_pairs_is_that_of_the_shingle_sets(texts, n, ignore):
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    left, right = (i.ravel().astype(np.int64) for i in np.indices((len(texts), len(texts))))
    out = np.empty(len(left))
    shingle_kernels.jaccard_pairs(data, offsets, left, right, ignored_table(ignore), n, out)
    sets = [set(shingles(t, n, ignore)) for t in texts]
    expected = [len(sets[a] & sets[b]) / max(1, len(sets[a] | sets[b])) for a, b in zip(left, right)]
    assert out.tolist() == pytest.approx(expected)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))
    )
)
def test_union_find_gives_the_smallest_node_of_each_component(graph):
    nodes, edges = graph
    parents = np.arange(nodes)
    left, right = (np.array([e[i] for e in edges], np.int64) for i in (0, 1))
    unionfind.connect(parents, left, right)
    expected = list(range(nodes))
    for _ in range(nodes):
        for a, b in edges:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert parents.tolist() == expected
