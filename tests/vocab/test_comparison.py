"""Measures of a vocabulary, by hand: a few tokens of a few characters, counted on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.errors import InputError
from corpuskit.vocab import comparison
from corpuskit.vocab.comparison import Encoding, Role


def encoding(*spans, ids=None, changed=None):
    """Tokens at byte spans, numbered from 0 unless `ids` says otherwise."""
    begins, ends = np.array(spans, np.int64).reshape(-1, 2).T
    numbers = np.arange(len(spans)) if ids is None else np.array(ids)
    marks = np.zeros(len(spans), bool) if changed is None else np.array(changed)
    return Encoding(numbers.astype(np.int64), begins.copy(), ends.copy(), marks)


def roles(size, **special):
    found = np.zeros(size, np.uint8)
    for name, i in special.items():
        found[i] = Role[name.upper()]
    return found


def test_a_text_knows_its_characters():
    text = comparison.describe_text(["我a 😀", "", "你"])
    assert text.num_bytes == 3 + 1 + 1 + 4 + 3 and text.num_characters == 5
    assert text.rows.tolist() == [0, 9, 9, 12]
    assert text.character_starts.tolist() == [0, 3, 4, 5, 9, 12]
    assert text.han.tolist() == [True] * 3 + [False] * 6 + [True] * 3
    assert text.space.nonzero()[0].tolist() == [4]


@pytest.mark.parametrize("white", [" ", "\t", "\n", "\u3000", "\xa0", "\u2003", "\x1c"])
def test_white_space_is_what_python_calls_so(white):
    assert comparison.describe_text([white]).space.all()


@given(st.text(max_size=30).filter(lambda text: text and not any("\ud800" <= c <= "\udfff" for c in text)))
def test_places_of_characters_are_those_of_utf8(content):
    text = comparison.describe_text([content])
    assert text.data.tobytes() == content.encode()
    ends = [len(content[: i + 1].encode()) for i in range(len(content))]
    assert text.character_starts.tolist() == [0, *ends]
    starts = text.character_starts[:-1]
    assert text.space[starts].tolist() == [c.isspace() for c in content]


def test_no_text_and_surrogates_are_errors():
    with pytest.raises(InputError, match="no text"):
        comparison.describe_text(["", ""])
    with pytest.raises(InputError, match="surrogate"):
        comparison.describe_text(["\ud800"])


def test_compression_of_whole_tokens():
    text = comparison.describe_text(["我们看书"])  # two words of two characters
    found = comparison.compression(text, encoding((0, 6), (6, 9), (9, 12)), roles(3))
    assert (found.tokens, found.bytes_per_token, found.characters_per_token) == (3, 4.0, 4 / 3)
    assert found.known_bytes_per_token == 4.0
    losses = (found.unknown_characters, found.dropped_characters, found.changed_characters)
    assert losses == (0, 0, 0) and found.partial_tokens == found.split_characters == 0


def test_unknown_text_is_not_compression():
    """Ten characters, eight of them in one unknown token: 15 bytes a token, of which 3 are real."""
    text = comparison.describe_text(["我们今天去图书馆看书"])
    found = comparison.compression(text, encoding((0, 6), (6, 30), ids=[1, 0]), roles(2, unknown=0))
    assert found.bytes_per_token == 15 and found.known_bytes_per_token == 6
    assert found.unknown_characters == 0.8 and found.unknown_tokens == 0.5


def test_bytes_of_a_character_are_partial_tokens():
    text = comparison.describe_text(["龘a书"])
    found = comparison.compression(text, encoding((0, 1), (1, 2), (2, 3), (3, 4), (4, 7)), roles(5))
    assert found.partial_tokens == 3 / 5 and found.split_characters == 1 / 2  # "a" is no wide character
    across = comparison.compression(text, encoding((0, 2), (2, 4), (4, 7)), roles(3))
    assert across.partial_tokens == 2 / 3 and across.split_characters == 1 / 2


def test_dropped_white_space_is_no_loss_and_dropped_text_is():
    text = comparison.describe_text(["我 们"])
    assert comparison.compression(text, encoding((0, 3), (4, 7)), roles(2)).dropped_characters == 0
    assert comparison.compression(text, encoding((0, 3)), roles(1)).dropped_characters == 1 / 2


def test_changed_text_is_counted_in_characters():
    text = comparison.describe_text(["我，你好"])
    found = comparison.compression(
        text, encoding((0, 3), (3, 6), (6, 12), changed=[False, True, False]), roles(3)
    )
    assert found.changed_characters == 1 / 4


def test_an_empty_token_is_a_token_without_boundaries():
    text = comparison.describe_text(["我们"])
    spaced = encoding((0, 0), (0, 6))
    assert comparison.compression(text, spaced, roles(2)).bytes_per_token == 3
    assert comparison.boundaries(text, spaced).size == 0


def test_words_and_tokens():
    """今天|天气|很|好。 in tokens 今|天天|气|很好|。: of four boundaries two are of words."""
    text = comparison.describe_text(["今天天气很好。"])
    words = np.array([6, 12, 15, 18, 21])
    found = comparison.word_agreement(text, encoding((0, 3), (3, 9), (9, 12), (12, 18), (18, 21)), words)
    assert found.fertility == 5 / 5
    assert found.boundary_precision == 2 / 4  # 12 and 18, of 3, 9, 12, 18
    assert found.boundary_recall == 2 / 4  # of 6, 12, 15, 18
    assert found.cross_word == 2 / 5  # 天天 and 很好


def test_documents_and_white_space_are_no_boundaries():
    text = comparison.describe_text(["我 看", "书"])
    words = np.array([3, 4, 7, 10])
    found = comparison.word_agreement(text, encoding((0, 3), (3, 7), (7, 10)), words)
    assert found.fertility == 3 / 3  # the space is no word
    assert found.boundary_precision == found.boundary_recall == 0  # nothing to judge
    assert found.cross_word == 0  # a space before a word crosses nothing


def test_boundaries_inside_characters_count_against_precision():
    text = comparison.describe_text(["我看书"])
    words = np.array([3, 6, 9])
    spans = [(i, i + 1) for i in range(9)]
    found = comparison.word_agreement(text, encoding(*spans), words)
    assert found.boundary_precision == 2 / 8 and found.boundary_recall == 1


def test_renyi_efficiency_by_hand():
    counts = np.array([4, 2, 2, 0])
    power = 0.5**2.5 + 2 * 0.25**2.5
    by_hand = math.log2(power) / (1 - 2.5) / math.log2(4)
    assert comparison.renyi_efficiency(counts, 4) == pytest.approx(by_hand, rel=1e-12)
    assert comparison.renyi_efficiency(counts, 3) == pytest.approx(by_hand * 2 / math.log2(3), rel=1e-12)
    assert comparison.renyi_efficiency(counts, 4, alpha=1) == pytest.approx(1.5 / 2, rel=1e-12)  # Shannon


@pytest.mark.parametrize(
    ("counts", "alpha", "scored"),
    [
        ([3, 2, 1, 1], 2.5, 0.8265064834225245),
        ([3, 2, 1, 1], 3.0, 0.8031528501359657),
        ([3, 3, 2, 2, 1], 2.5, 0.9204840242168808),
        ([3, 3, 2, 2, 1], 3.0, 0.9105681923824472),
    ],
)
def test_renyi_efficiency_is_that_of_tokenization_scorer(counts, alpha, scored):
    """What tokenization-scorer 1.1.8 prints for the two texts of its README, "pick @@ed pick @@l @@ed
    pick @@les" and the same in shorter pieces."""
    found = comparison.renyi_efficiency(np.array(counts), len(counts), alpha)
    assert found == pytest.approx(scored, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 1, 2.5, 3])
def test_an_even_distribution_is_fully_efficient(alpha):
    assert comparison.renyi_efficiency(np.full(7, 3), 7, alpha) == pytest.approx(1, abs=1e-12)
    assert comparison.renyi_efficiency(np.array([9, 0]), 2, alpha) == pytest.approx(0, abs=1e-12)
    assert comparison.renyi_efficiency(np.array([0, 0]), 2, alpha) == 0


def test_lengths_of_chinese_tokens():
    text = comparison.describe_text(["我们abc图书馆里有书龘"])
    tokens = encoding((0, 3), (3, 6), (6, 9), (9, 21), (21, 27), (27, 28), (28, 30))
    # 我 们 (abc) 图书馆里 有书, and 龘 in two parts: six Chinese tokens
    assert comparison.han_lengths(text, tokens).tolist() == [2 / 6, 2 / 6, 1 / 6, 0, 1 / 6]


@pytest.mark.parametrize(
    ("token", "partial"),
    [
        (b"\xe6", False),
        (b"\xe6\x88", True),
        ("我".encode(), False),
        ("我".encode()[1:], True),
        (b"ab", False),
    ],
)
def test_partial_tokens_have_two_bytes_and_are_no_text(token, partial):
    assert comparison.is_partial_utf8(token) is partial


def test_the_character_sets_are_the_standards():
    sets = comparison.character_sets()
    assert {name: len(characters) for name, characters in sets.items()} == {
        "gb2312_1": 3755,
        "gb2312_2": 3008,
        "big5_1": 5401,
    }
    assert all(len(set(characters)) == len(characters) for characters in sets.values())
    assert sets["gb2312_1"][0] == "啊" and sets["gb2312_1"][-1] == "座"
    assert sets["gb2312_2"][0] == "亍" and sets["gb2312_2"][-1] == "齄"
    assert sets["big5_1"][0] == "一" and sets["big5_1"][-1] == "籲"
