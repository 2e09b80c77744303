"""Folding and the n-gram index against plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.dedup.folding import LEFT_OUT, fold, fold_table
from corpuskit.dedup.shingles import text_buffers
from corpuskit.kernels import ngram_index

CHARACTERS = st.one_of(st.sampled_from("甲乙臺台，Ａa é𠀀😀①"), st.characters(exclude_categories=["Cs"]))
TEXTS = st.lists(st.text(CHARACTERS, max_size=20), min_size=1, max_size=5)


def folded(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    codes = np.empty(int(offsets[-1]) + len(texts), np.int32)
    bounds = np.empty_like(offsets)
    ngram_index.fold_texts(data, offsets, fold_table(), codes, bounds)
    return codes, bounds


@given(TEXTS)
def test_the_kernel_folds_like_plain_python(texts):
    codes, bounds = folded(texts)
    for i, text in enumerate(texts):
        found = codes[bounds[i] : bounds[i + 1]].tolist()
        assert found == [*map(ord, fold(text)[0]), -1]


def test_folding_takes_width_case_script_and_marks_away():
    assert fold("Ａbc，乾燥 臺灣")[0] == fold("ABC 干燥，台湾。")[0]
    assert fold("é")[0] == fold("e\u0301")[0] == "e"
    assert fold("⼀𝐀①")[0] == "一a1"
    assert fold("…😀 \u3000\n\u200b")[0] == ""
    assert fold("后後", variants=False)[0] == "后後" and len(set(fold("后後")[0])) == 1
    assert fold("甲，乙")[1] == [0, 2]
    assert fold_table()[ord("，")] == LEFT_OUT


def test_folding_keeps_different_characters_apart():
    pairs = ["未末", "己已", "日曰", "土士", "人入", "天夫"]
    assert all(len(set(fold(pair)[0])) == 2 for pair in pairs)


@given(st.lists(st.text("甲乙丙", max_size=12), min_size=1, max_size=4), st.integers(2, 4), st.integers(1, 2))
def test_the_index_counts_items_of_every_ngram(texts, n, min_distinct):
    codes, bounds = folded(texts)
    codes = np.append(codes, np.int32(-1))
    starts, stops = bounds[:-1], bounds[1:] - 1
    owners = np.arange(len(texts)) // 2
    room = len(codes)
    hashes, places = np.empty(room, np.uint64), np.empty(room, np.int64)
    lengths, frequency, common = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
    slots = np.full(128, -1, np.int32)
    used = stops > starts
    starts, stops, owners = starts[used], stops[used], owners[used]
    size = ngram_index.index_ngrams(
        codes, starts, stops, owners, n, min_distinct, slots, hashes, places, lengths, frequency, common
    )
    items: dict[int, set[str]] = {}
    for text, owner in zip([t for t in texts if t], owners.tolist()):
        width = min(n, len(text))
        items.setdefault(owner, set()).update(text[i : i + width] for i in range(len(text) - width + 1))
    expected = Counter(gram for grams in items.values() for gram in grams)
    read = ["".join(chr(c) for c in codes[p : p + w]) for p, w in zip(places[:size], lengths[:size])]
    plain = {fold(gram)[0]: count for gram, count in expected.items()}
    assert dict(zip(read, frequency[:size].tolist())) == plain
    assert [bool(c) for c in common[:size]] == [len(set(gram)) < min_distinct for gram in read]
