"""The n-gram kernels agree with plain Python on every text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.classifier import MAX_ORDER, ngram_bucket, ngrams
from corpuskit.clean.folding import SKIPPED, fold, folding_table
from corpuskit.kernels import ngramscore

ANY_TEXT = st.text(
    alphabet=st.one_of(
        st.sampled_from("aB１2Ａ 天地玄黄。，\u3000\n\u200b\U00020000\U0001f600é"),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)
ORDERS = st.integers(1, MAX_ORDER)


def buckets(text: str, max_order: int, bits: int) -> list[int]:
    data, offsets = utf8_buffers(pa.array([text], pa.large_string()))
    out = np.zeros(max_order * len(data) + 1, np.int32)
    count = ngramscore.ngram_buckets(
        data, offsets[0], offsets[1], folding_table(), np.uint64(64 - bits), max_order, out
    )
    return out[:count].tolist()


@given(ANY_TEXT, ORDERS, st.integers(1, 24))
def test_every_ngram_falls_into_the_bucket_of_its_plain_hash(text, max_order, bits):
    expected = [ngram_bucket(ngram, bits) for ngram in ngrams(text, max_order)]
    assert sorted(buckets(text, max_order, bits)) == sorted(expected)


@given(st.lists(ANY_TEXT, min_size=1, max_size=5), ORDERS)
def test_the_mean_weight_is_that_of_the_ngrams(texts, max_order):
    bits = 12
    weights = np.random.default_rng(0).standard_normal(1 << bits).astype(np.float32)
    means, counts = np.empty(len(texts)), np.empty(len(texts), np.int64)
    data, offsets = utf8_buffers(pa.array(texts, pa.large_string()))
    ngramscore.mean_weights(
        data, offsets, folding_table(), weights, np.uint64(64 - bits), max_order, means, counts
    )
    for text, mean, count in zip(texts, means, counts):
        found = [float(weights[ngram_bucket(ngram, bits)]) for ngram in ngrams(text, max_order)]
        assert count == len(found)
        # float64 sums of at most 160 float32 weights below 6, in another order
        assert mean == pytest.approx(sum(found) / max(1, len(found)), abs=1e-12)


def test_ngrams_spread_evenly_over_the_buckets():
    text = "".join(map(chr, range(0x4E00, 0x8E00)))
    counts = np.bincount(buckets(text, 2, 8), minlength=256)
    expected = counts.sum() / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 255 + 5 * np.sqrt(2 * 255)  # mean and deviation of 255 degrees of freedom


def test_folding_hides_layout_width_case_and_numbers():
    assert fold("Ａbc １２3\n\t　天\u200b地") == fold("abc999天地") == "abc000天地"
    assert fold("𠀀😀é") == "𠀀😀é"


def test_folding_leaves_han_and_marks_alone():
    text = "天地玄黄，宇宙洪荒。「日月」——盈昃"
    assert SKIPPED not in folding_table()[[ord(c) for c in text]]
    assert fold(text) == text.replace("，", ",")
