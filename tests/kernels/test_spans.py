"""Rolling hashes and anchors against plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.dedup.shingles import character_counts, finish, text_buffers
from corpuskit.kernels import hashing, spans

MASK = (1 << 64) - 1


def window_hash(text: str) -> int:
    total = 0
    for character in text:
        mixed = (ord(character) + int(hashing.MIX_ADD)) * int(hashing.MIX_MULTIPLY) & MASK
        total = (total * int(hashing.BASE) + (mixed ^ (mixed >> int(hashing.MIX_SHIFT)))) & MASK
    return finish(total)


@given(st.text("甲乙a𠀀", max_size=30), st.integers(1, 8))
def test_rolling_gives_the_hash_of_every_window(text, width):
    codes = np.array([ord(c) for c in text], np.int32)
    out = np.zeros(max(1, len(text)), np.uint64)
    count = spans.roll(codes, 0, len(text), width, out)
    assert out[:count].tolist() == [window_hash(text[i : i + width]) for i in range(len(text) - width + 1)]


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 9))
def test_every_window_has_its_smallest_hash_and_each_place_is_one_anchor(values, window):
    hashes = np.array(values, np.uint64)
    minima, anchors = np.zeros(50, np.uint64), np.zeros(50, np.uint64)
    found = spans.winnow(hashes, len(values), window, minima, anchors)
    expected = [min(values[i : i + window]) for i in range(len(values) - window + 1)]
    assert minima[: len(expected)].tolist() == expected
    changes = [value for i, value in enumerate(expected) if i == 0 or value != expected[i - 1]]
    kept = anchors[:found].tolist()
    assert [value for i, value in enumerate(kept) if i == 0 or value != kept[i - 1]] == changes
    assert found <= len(expected)


def test_a_text_of_one_character_has_few_anchors():
    texts = pa.array(["啊" * 10_000], pa.large_string())
    out = np.empty(10_000, np.uint64)
    data, offsets = text_buffers(texts)
    assert spans.anchor_hashes(data, offsets, character_counts(texts), 50, 25, out) <= 10_000 // 26 + 1


@given(st.lists(st.text("甲乙a", max_size=12), max_size=5), st.integers(2, 6))
def test_equal_windows_share_an_anchor(texts, n):
    k = max(1, n // 2)
    array = pa.array(texts, pa.large_string())
    data, offsets = text_buffers(array)
    characters = character_counts(array)
    out = np.empty(max(1, int(characters.sum())), np.uint64)
    anchors = set(out[: spans.anchor_hashes(data, offsets, characters, n, k, out)].tolist())
    needed = {
        min(window_hash(text[i + j : i + j + k]) for j in range(n - k + 1))
        for text in texts
        for i in range(len(text) - n + 1)
    }
    assert anchors == needed


@given(st.lists(st.integers(0, MASK), max_size=60))
def test_a_set_holds_what_was_put_in(values):
    table = spans.make_set(np.array(values, np.uint64))
    assert all(hashing.contains(table, np.uint64(value)) for value in values)
    assert not hashing.contains(table, np.uint64(12345)) or 12345 in values
