"""The bounded sample of a stream: the same whatever the order, and never more than was asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quality_texts import batches, documents, story

from corpuskit.clean.sampling import sample_documents, text_rank, window

TEXTS = documents(story, 120, length=4)


def sample(texts, rows=17, **limits):
    return sample_documents(batches(texts, rows), window_characters=60, seed=3, **limits)


@given(st.integers(0, 2**32), st.integers(1, 130), st.integers(1, 8_000), st.integers(1, 150))
def test_the_order_of_the_stream_is_irrelevant(shuffle, max_documents, max_characters, rows):
    shuffled = TEXTS.copy()
    random.Random(shuffle).shuffle(shuffled)
    limits = {"max_documents": max_documents, "max_characters": max_characters}
    found = sample(shuffled, rows, **limits)
    assert found == sample(TEXTS, **limits)
    assert len(found.texts) <= max_documents and sum(map(len, found.texts)) <= max_characters


def test_the_sample_is_the_lowest_ranks():
    ranks = sorted({text_rank(text, 3) for text in TEXTS})
    assert sample(TEXTS).ranks == ranks
    assert sample(TEXTS, max_documents=10).ranks == ranks[:10]


def test_copies_with_another_layout_count_once_and_are_counted():
    found = sample(TEXTS + [f"\u3000{text[:9]}\n{text[9:]} " for text in TEXTS])
    assert found == (*sample(TEXTS)[:2], 2 * len(TEXTS))


def test_two_samples_agree_on_what_both_streams_hold():
    others = documents(story, 120, length=4, seed=77)
    first, second = sample(TEXTS, max_documents=30), sample(TEXTS + others, max_documents=60)
    limit = min(first.ranks[-1], second.ranks[-1])
    low = {rank for rank in first.ranks if rank <= limit}
    assert low and low <= set(second.ranks)


def test_short_documents_are_passed_over():
    assert sample(["天地玄黄", "天 地 \n 玄", ""], min_characters=4).texts == ["天地玄黄"]


@given(st.text(max_size=50), st.integers(0, 2**64 - 1), st.integers(1, 60))
def test_a_window_is_a_piece_of_the_text(text, rank, characters):
    piece = window(text, rank, characters)
    assert piece in text and len(piece) == min(len(text), characters)


def test_windows_begin_anywhere():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
    starts = {text.index(window(text, text_rank(str(i), 0), 100)) for i in range(300)}
    assert min(starts) < 100 and max(starts) > 800


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_chooses(seed):
    assert (
        sample_documents(batches(TEXTS), window_characters=9, max_documents=9, seed=seed).ranks
        == (sorted(text_rank(text, seed) for text in set(TEXTS))[:9])
    )
