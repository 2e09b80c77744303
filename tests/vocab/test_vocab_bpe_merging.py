"""The merge trainer equals an obviously right reference, merge for merge, however text is cut into units."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.kernels import bpe_merging, bpe_tables
from corpuskit.vocab.continuation import Continuation, character_structure

BASE, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


def whole_or_prefix(joined):
    """Whether bytes are whole characters or the beginning of one."""
    try:
        joined.decode()
        return True
    except UnicodeDecodeError as error:
        return error.start == 0 and error.reason == "unexpected end of data"


def reference(
    segments, content, num_new, min_count, *, reuse=True, max_length=1 << 30, allowed=None, taken=()
):
    """Recount every pair before every merge."""
    segments = [(list(tokens), weight) for tokens, weight in segments]
    content = list(content)
    ids = {token: i for i, token in enumerate(content)}
    merges, banned, made = [], set(), 0
    while made < num_new:
        counts = {}
        for tokens, weight in segments:
            for pair in pairwise(tokens):
                counts[pair] = counts.get(pair, 0) + weight
        counts = {
            pair: count
            for pair, count in counts.items()
            if count >= min_count
            and pair not in banned
            and len(content[pair[0]] + content[pair[1]]) <= max_length
            and (allowed is None or allowed(content[pair[0]] + content[pair[1]]))
        }
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        joined = content[best[0]] + content[best[1]]
        if joined in taken or (joined in ids and not reuse):
            banned.add(best)
            continue
        if joined not in ids:
            ids[joined] = len(content)
            content.append(joined)
            made += 1
        merges.append((*best, ids[joined], counts[best]))
        for tokens, _ in segments:
            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == best:
                    tokens[i : i + 2] = [ids[joined]]
                i += 1
    return merges


def polynomial(token):
    value, power = 0, 1
    for byte in token:
        value, power = (value * BASE + byte + 1) & MASK, (power * BASE) & MASK
    return value, power


def kernel(
    segments, content, num_new, min_count, *, threshold=1, reuse=True, max_length=1 << 30, constrained=False
):
    """`segments` are lists of units (tuples of tokens) with their weights."""
    size = len(content) + num_new
    composite, inner, starts, units = {}, [-1], [], [-1]
    for segment, _ in segments:
        for unit in segment:
            if len(unit) == 1:
                units.append(unit[0])
                continue
            if unit not in composite:
                composite[unit] = size + len(composite)
                starts.append(len(inner))
                inner += [*unit, -1]
            units.append(composite[unit])
        units.append(-1)
    known, known_ids = np.zeros(1 << 12, np.uint64), np.full(1 << 12, -1, np.int32)
    hashes, powers = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    lengths, structure = np.ones(size, np.int32), np.zeros((3, size), np.int8)
    for i, token in enumerate(content):
        hashes[i], powers[i] = polynomial(token)
        lengths[i] = len(token)
        slot = bpe_tables.find_known(known, hashes[i])
        known[slot], known_ids[slot] = hashes[i], i
        if constrained:
            structure[:, i] = character_structure(token)
    merges, counts = bpe_merging.train_merges(
        np.array(units, np.int32), np.array([weight for _, weight in segments], np.int64),
        np.array(inner, np.int32), np.array(starts, np.int64), constrained, structure, lengths, max_length,
        hashes, powers, known, known_ids, reuse, len(content), num_new, min_count, max(threshold, min_count),
    )  # fmt: skip
    return [(int(a), int(b), int(c), int(n)) for (a, b, c), n in zip(merges, counts)]


def flat(segments):
    return [([token for unit in segment for token in unit], weight) for segment, weight in segments]


@st.composite
def segments(draw):
    alphabet = draw(st.integers(1, 6))
    units = draw(
        st.lists(
            st.lists(st.integers(0, alphabet - 1), min_size=1, max_size=6).map(tuple), min_size=1, max_size=8
        )
    )
    return alphabet, draw(
        st.lists(
            st.tuples(st.lists(st.sampled_from(units), min_size=1, max_size=12), st.integers(1, 5)),
            min_size=1,
            max_size=12,
        )
    )


@settings(max_examples=400, deadline=None)
@given(
    segments(), st.integers(1, 50), st.integers(1, 4), st.sampled_from([1, 3, 20]), st.booleans(),
    st.sampled_from([3, 1 << 30]),
)  # fmt: skip
def test_merges_equal_the_reference(given_segments, num_new, min_count, threshold, reuse, max_length):
    alphabet, units = given_segments
    content = [bytes([65 + i]) for i in range(alphabet)]
    options = {"reuse": reuse, "max_length": max_length}
    expected = reference(flat(units), content, num_new, min_count, **options)
    assert kernel(units, content, num_new, min_count, threshold=threshold, **options) == expected


def test_merges_equal_the_reference_on_many_random_texts():
    chooser = random.Random(5)
    for _ in range(1500):
        alphabet = chooser.choice([1, 2, 2, 3, 6])
        content = [bytes([65 + i]) for i in range(alphabet)]
        units = [
            tuple(chooser.randrange(alphabet) for _ in range(chooser.choice([1, 1, 2, 3, 3, 6])))
            for _ in range(chooser.choice([1, 2, 4, 8]))
        ]
        texts = [
            ([chooser.choice(units) for _ in range(chooser.randrange(1, 12))], chooser.randrange(1, 4))
            for _ in range(chooser.randrange(1, 10))
        ]
        threshold, reuse = chooser.choice([1, 2, 5, 20]), chooser.random() < 0.5
        expected = reference(flat(texts), content, 30, 2, reuse=reuse)
        assert kernel(texts, content, 30, 2, threshold=threshold, reuse=reuse) == expected


@pytest.mark.parametrize("cut", [list, lambda text: [text], lambda text: [text[:2], text[2:]]])
@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.tuples(st.text("一丁丂中国，😀é", min_size=3, max_size=12), st.integers(1, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_constrained_merges_are_whole_characters_or_a_prefix_of_one(cut, texts):
    content = [bytes([b]) for b in range(0x80, 0x100) if character_structure(bytes([b]))]
    ids = {token: i for i, token in enumerate(content)}
    units = [([tuple(ids[bytes([b])] for b in unit.encode()) for unit in cut(text)], n) for text, n in texts]
    expected = reference(flat(units), content, 40, 1, allowed=whole_or_prefix)
    assert kernel(units, content, 40, 1, constrained=True) == expected


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=14), min_size=1, max_size=12),
    num_new=st.integers(1, 25),
    min_count=st.integers(1, 3),
    num_taken=st.integers(0, 3),
)
def test_continuing_from_a_vocabulary_equals_the_reference(texts, num_new, min_count, num_taken):
    """Tokens of several bytes and characters to start from, segments in any order, bytes that are taken."""
    base = [b"\xe4", b"\xb8", b"\x80", "一".encode(), "一丁".encode(), "，".encode(), b"\xf0\x9f"]
    segments = [(tokens, 1) for tokens in texts]
    first = reference(segments, base, 3, min_count, reuse=False, allowed=whole_or_prefix)
    content = list(base)
    for left, right, _, _ in first:
        content.append(content[left] + content[right])
    taken = content[len(base) :][:num_taken]
    continuation = Continuation(base, None)
    for tokens in texts:
        continuation.add(np.array(tokens, np.int32), np.zeros(len(tokens), np.int32))
    expected = reference(
        segments, base, num_new, min_count, reuse=False, allowed=whole_or_prefix, taken=taken
    )
    assert continuation.merges(num_new, min_count, taken) == [merge[:2] for merge in expected]


def test_counts_do_not_overflow_32_bits():
    weight = 5_000_000_000
    texts = [([(0,), (1,)], weight), ([(0, 1), (0,)], 1)]
    assert kernel(texts, [b"a", b"b"], 1, 1) == [(0, 1, 2, weight + 1)]


def test_a_token_that_exists_is_reused_or_never_made():
    # "abc" is made as a + bc first, where "b" is still apart from "a", then as ab + c.
    content = [b"a", b"b", b"c", b"ab"]
    texts = [([(3,), (2,)], 5), ([(1,), (2,)], 9), ([(0,), (1,), (2,)], 4)]
    for reuse in (True, False):
        expected = reference(flat(texts), content, 3, 1, reuse=reuse)
        assert kernel(texts, content, 3, 1, reuse=reuse) == expected
        made = [merge[2] for merge in expected]
        assert (len(set(made)) < len(made)) == reuse
