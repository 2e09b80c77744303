"""The merge kernel equals an obviously right reference, merge for merge."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.kernels import bpe
from corpuskit.vocab.extension import character_structure


def reference(segments, first_new, num_new, min_count, allowed):
    """Recount every pair before every merge."""
    segments = [(list(tokens), weight) for tokens, weight in segments]
    structure = {}
    merges = []
    while len(merges) < num_new:
        counts = {}
        for tokens, weight in segments:
            for pair in pairwise(tokens):
                counts[pair] = counts.get(pair, 0) + weight
        counts = {p: n for p, n in counts.items() if n >= min_count and allowed(p, structure)}
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        new = first_new + len(merges)
        structure[new] = best
        merges.append((*best, counts[best]))
        for tokens, _ in segments:
            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == best:
                    tokens[i : i + 2] = [new]
                i += 1
    return merges


def kernel(segments, token_bytes, num_new, min_count):
    symbols = [-1]
    for tokens, _ in segments:
        symbols += [*tokens, -1]
    size = len(token_bytes) + num_new
    lead, whole, missing = (np.zeros(size, np.int8) for _ in range(3))
    random = np.random.default_rng(0)
    hashes = random.integers(1, 1 << 63, size).astype(np.uint64)
    powers = random.integers(1, 1 << 63, size).astype(np.uint64)
    for i, token in enumerate(token_bytes):
        lead[i], whole[i], missing[i] = character_structure(token)
    merges, counts = bpe.continue_merges(
        np.array(symbols, np.int32),
        np.array([weight for _, weight in segments], np.int64),
        lead, whole, missing, hashes, powers,
        np.zeros(1 << 12, np.uint64), len(token_bytes), num_new, min_count,
    )  # fmt: skip
    return [(int(a), int(b), int(n)) for (a, b), n in zip(merges, counts)]


SEGMENTS = st.lists(
    st.tuples(st.lists(st.integers(0, 3), min_size=2, max_size=24), st.integers(1, 5)),
    min_size=1,
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(SEGMENTS, st.integers(1, 60), st.integers(1, 4))
def test_merges_equal_the_reference_on_whole_characters(segments, num_new, min_count):
    letters = ["一", "二", "三", "四"]
    expected = reference(segments, 4, num_new, min_count, lambda pair, structure: True)
    assert kernel(segments, [c.encode() for c in letters], num_new, min_count) == expected


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("一丁丂中国，😀é", min_size=1, max_size=12), st.integers(1, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_merges_of_bytes_are_whole_characters_or_a_prefix_of_one(texts):
    token_bytes = [bytes([b]) for b in range(0x80, 0x100) if character_structure(bytes([b]))]
    ids = {token: i for i, token in enumerate(token_bytes)}
    segments = [([ids[bytes([b])] for b in text.encode()], n) for text, n in texts]

    def content(token, structure):
        if token < len(token_bytes):
            return token_bytes[token]
        return b"".join(content(part, structure) for part in structure[token])

    def allowed(pair, structure):
        joined = b"".join(content(part, structure) for part in pair)
        try:
            joined.decode()
            return True
        except UnicodeDecodeError as error:
            return error.start == 0 and error.reason == "unexpected end of data"

    expected = reference(segments, len(token_bytes), 40, 1, allowed)
    assert kernel(segments, token_bytes, 40, 1) == expected


def test_counts_do_not_overflow_32_bits():
    weight = 5_000_000_000
    assert kernel([([0, 1], weight), ([0, 1, 0], 1)], ["一".encode(), "二".encode()], 1, 1) == [
        (0, 1, weight + 1)
    ]


def test_a_known_hash_is_never_made():
    known = np.zeros(64, np.uint64)
    hashes, powers = np.array([3, 5, 0], np.uint64), np.array([7, 11, 0], np.uint64)
    bpe.add_known(known, np.uint64(3 * 11 + 5))
    zeros = np.zeros(3, np.int8)
    merges, _ = bpe.continue_merges(
        np.array([-1, 0, 1, -1], np.int32), np.array([9]), zeros.copy(), zeros + 1, zeros.copy(),
        hashes, powers, known, 2, 1, 1,
    )  # fmt: skip
    assert len(merges) == 0
