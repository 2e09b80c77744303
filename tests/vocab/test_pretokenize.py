"""Pre-tokens of the kernels against the regular expressions of tokenizers and tiktoken."""

from itertools import pairwise

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from corpuskit.vocab import patterns
from corpuskit.vocab.bytelevel import (
    CHINESE_PATTERN,
    CL100K_PATTERN,
    CL100K_TIKTOKEN_PATTERN,
    GPT2_PATTERN,
    O200K_PATTERN,
)

# The ones that openai_public.py of tiktoken 0.14 has; possessive, so not all libraries read them.
TIKTOKEN_GPT2 = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"  # as GPT2_PATTERN
)
TIKTOKEN_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)

# One or more of every kind of character the patterns tell apart, with the odd ones of each.
NASTY = (
    "  \n\r\t''sStTrReEvVlLmMdDxXſK我们的〇々⺀１1٣23²Ⅳ/!,。，　 \u00a0\u0301\u0903ǄǅéßʰªあЖ😀"
    "\U00016ff0\U00020000\u200d\u2028\x85\x00"
)
TEXTS = [
    "",
    "I'll say it's 12345 o'clock,  DON'T  you'Re\n\n  \n end  ",
    "我们在2024年3月，去了　北京。\n　　“好”——他说……\r\n\r\n",
    "a\n  ",
    "'ſ 'K they'LL 'x",
    "HTTPServer camelCase ABCdef中ABC中文abc ǅx",
    "中" * 40 + "x",
    "e\u0301\u0301 \u0301x !\u0301 \u0301A \u0301",
    "https://example.org/a/b?x=1#y\n/\n//",
]


def cut_all(pattern: str, texts: list[str]) -> list[bytes]:
    """The pre-tokens of consecutive texts."""
    data = "".join(texts).encode()
    offsets = np.concatenate([[0], np.cumsum([len(text.encode()) for text in texts])]).astype(np.int64)
    found, borders = [], 0
    for begin, ends in patterns.cut_texts(patterns.PATTERNS[pattern], np.frombuffer(data, np.uint8), offsets):
        assert begin == borders
        found += [data[a:b] for a, b in pairwise([begin, *ends.tolist()])]
        borders = int(ends[-1])
    assert borders == len(data)
    return found


def cut(pattern: str, text: str) -> list[bytes]:
    return cut_all(pattern, [text])


@pytest.mark.parametrize("pattern", list(patterns.PATTERNS))
def test_pre_tokens_are_those_of_the_pattern(pattern):
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")

    @given(text=st.text(NASTY, max_size=30) | st.text(max_size=12) | st.sampled_from(TEXTS))
    def check(text):
        text = text.encode("utf-8", "ignore").decode()
        assert cut(pattern, text) == [piece.encode() for piece, _ in split.pre_tokenize_str(text)]

    check()


@pytest.fixture(scope="module")
def seen():
    """Ids of tiktoken over ranks in which every string of two bytes is a token, so that a border
    at an odd place in a piece shows."""
    ranks = {bytes([b]): b for b in range(256)}
    ranks |= {bytes([a, b]): 256 + 256 * a + b for a in range(256) for b in range(256)}

    def build(pattern):
        return tiktoken.Encoding("pairs", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})

    return build


@pytest.mark.parametrize(
    ("pattern", "theirs"),
    [
        (GPT2_PATTERN, TIKTOKEN_GPT2),
        (GPT2_PATTERN, GPT2_PATTERN),
        (CL100K_PATTERN, CL100K_PATTERN),
        (CL100K_TIKTOKEN_PATTERN, TIKTOKEN_CL100K),
        (CL100K_TIKTOKEN_PATTERN, CL100K_TIKTOKEN_PATTERN),
        (O200K_PATTERN, O200K_PATTERN),
        (CHINESE_PATTERN, CHINESE_PATTERN),
    ],
)
def test_tiktoken_cuts_the_same(pattern, theirs, seen):
    encoding = seen(theirs)

    @given(text=st.text(NASTY, max_size=30) | st.text(max_size=12) | st.sampled_from(TEXTS))
    def check(text):
        text = text.encode("utf-8", "ignore").decode()
        ids = [i for piece in cut(pattern, text) for i in encoding._encode_single_piece(piece)]
        assert encoding.encode_ordinary(text) == ids

    check()


def test_every_code_point_is_in_tiktokens_class():
    """The table against tiktoken's answer for each class, over all of Unicode."""
    index, blocks = patterns.unicode_classes()
    codes = np.arange(0x110000)
    classes = blocks[index[codes >> 6].astype(np.int64) * 64 + (codes & 63)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    for pattern, numbers in (
        (r"\p{L}", (1, 2, 3)),
        (r"\p{N}", (5,)),
        (r"\s", (6, 7)),
        (r"\p{Lu}|\p{Lt}", (1,)),
    ):
        encoding = tiktoken.Encoding(
            "x", pat_str=pattern, mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
        )
        found = bytes(encoding.encode_ordinary("".join(characters))).decode()
        assert np.array_equal(
            np.flatnonzero(np.isin(classes & 7, numbers)), np.array([ord(c) for c in found])
        )


@pytest.mark.parametrize("pattern", list(patterns.PATTERNS))
def test_a_text_is_cut_as_if_it_were_alone(pattern, monkeypatch):
    """Texts lie end to end and some are empty; the buffer of ends is full everywhere."""
    texts = ["", "", *TEXTS, "", "a  ", " b", "", "12", "34", "'", "s", ""]
    alone = [piece for text in texts for piece in cut(pattern, text)]
    for room in (1, 2, 3, 1 << 13):
        monkeypatch.setattr(patterns, "_PRETOKENS_A_CALL", room)
        assert cut_all(pattern, texts) == alone
