"""Sketches: equal to datasketch and to a plain reference, and as accurate as the theory says."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.dedup.shingles import finish, jaccard, shingle_hash, shingle_hash32, shingle_sum, shingles
from corpuskit.dedup.signatures import Sketcher, band_hashes
from corpuskit.kernels.sketch import RANDOM_ROUNDS

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
ROUNDS = RANDOM_ROUNDS
TEXTS = st.lists(st.text(alphabet="天地玄黄宇宙洪荒 ab\U00020000", max_size=60), min_size=1, max_size=5)


def fss_reference(sums: set[int], slots: int, key: int) -> list[int]:
    """Fast similarity sketching with few random rounds, then affine MinHash for the slots that are left."""
    sketch = [MASK] * slots
    if not sums:
        return sketch
    hashes = [finish(h ^ key) for h in sums]
    for turn in range(ROUNDS):
        multiplier = finish((key + turn * GOLDEN) & MASK) | 1 if turn else 1
        for h in hashes:
            mixed = h * multiplier & MASK
            slot = ((mixed >> 32) * slots) >> 32
            sketch[slot] = min(sketch[slot], turn << 48 | mixed & ((1 << 48) - 1))
    for slot in range(slots):
        if sketch[slot] == MASK:
            value = finish((key + (ROUNDS + slot) * GOLDEN) & MASK)
            multiplier, increment = value >> 32 | 1, value & 0xFFFFFFFF
            sketch[slot] = ROUNDS << 48 | min((h * multiplier + increment) & 0xFFFFFFFF for h in hashes)
    return sketch


@settings(max_examples=40)
@given(TEXTS, st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_fss_equals_the_plain_algorithm(texts, slots, ngram, seed):
    sketcher = Sketcher(slots, ngram, "space", "fss", seed)
    expected = [
        fss_reference({shingle_sum(s) for s in shingles(t, ngram)}, slots, int(sketcher.key)) for t in texts
    ]
    assert sketcher(pa.array(texts, pa.large_string())).tolist() == expected


@pytest.mark.parametrize("unit", ["哈", "哈呵嘿", "天地玄黄宇宙洪荒日月"])
def test_fss_of_a_long_repetitive_text_equals_that_of_its_distinct_shingles(unit):
    long = unit * (10_000 // len(unit))
    sketcher = Sketcher(64)
    expected = fss_reference({shingle_sum(s) for s in shingles(long)}, 64, int(sketcher.key))
    assert sketcher(pa.array([long]))[0].tolist() == expected


@settings(max_examples=40)
@given(
    TEXTS,
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["affine32", "affine64"]),
)
def test_affine_schemes_equal_datasketch_value_for_value(texts, slots, ngram, seed, scheme):
    hash_function = shingle_hash32 if scheme == "affine32" else shingle_hash
    sketcher = Sketcher(slots, ngram, "space", scheme, seed)
    ours = sketcher(pa.array(texts, pa.large_string()))
    for row, text in zip(ours, texts):
        theirs = MinHash(slots, seed, scheme=scheme, hashfunc=hash_function)
        theirs.update_batch([s.encode() for s in shingles(text, ngram)])
        assert row.dtype == theirs.hashvalues.dtype
        assert row.tolist() == theirs.hashvalues.tolist()


@pytest.mark.parametrize("scheme", ["fss", "affine32", "affine64"])
@pytest.mark.parametrize("length", [40, 300])
def test_estimates_are_unbiased_and_within_minhash_theory(scheme, length):
    rng = random.Random(1)
    texts = []
    for _ in range(300):
        common = "".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(length))
        texts += [common + chr(rng.randrange(0x4E00, 0x9000)) * 3, common[3:]]
    array = pa.array(texts)
    left, right = np.arange(0, 600, 2), np.arange(1, 600, 2)
    exact = jaccard(array, left, right)
    signatures = Sketcher(128, scheme=scheme)(array)
    error = (signatures[left] == signatures[right]).mean(axis=1) - exact
    variance = (exact * (1 - exact) / 128).mean()
    # Each squared error has mean `variance` and, being near-normal, relative spread sqrt(2): over
    # 300 pairs the mean square stays below 1 + 5 * sqrt(2 / 300) of it, the mean within 5 sigma.
    assert (error**2).mean() < variance * (1 + 5 * np.sqrt(2 / 300))
    assert abs(error.mean()) < 5 * np.sqrt(variance / 300)


def test_bands_agree_exactly_where_their_rows_do():
    rng = np.random.default_rng(3)
    signatures = rng.integers(0, 1 << 60, (50, 12), dtype=np.uint64)
    signatures[25:] = signatures[:25]
    signatures[25:, 5] += np.uint64(1)
    hashes = band_hashes(signatures, 3, 4, np.uint64(9))
    assert (hashes[:25] == hashes[25:]).tolist() == [[True, False, True]] * 25
    assert len(np.unique(hashes[:25])) == 75


@pytest.mark.parametrize("scheme", ["fss", "affine32", "affine64"])
def test_order_and_repetition_of_shingles_do_not_matter(scheme):
    sketch = Sketcher(50, ngram=1, scheme=scheme)
    a, b = sketch(pa.array(["天地玄黄", "黄玄地天天天黄"]))
    assert (a == b).all()


@pytest.mark.parametrize("scheme", ["fss", "affine32", "affine64"])
def test_a_slice_of_an_array_has_the_signatures_of_its_texts(scheme):
    texts = pa.array(["甲乙丙丁戊己", None, "子丑寅卯辰巳", ""], pa.string())
    sketch = Sketcher(16, scheme=scheme)
    assert (sketch(texts.slice(2)) == sketch(texts)[2:]).all()
