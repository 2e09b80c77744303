"""Passages learned by heart, against a plain search; and through token shards."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit import shards
from corpuskit.errors import ConfigError, InputError, MismatchError
from corpuskit.train.judging import memorisation
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BYTES = tuple(bytes([i]) for i in range(256))
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": 257}))
OTHER = Tokenizer(ByteLevelBPE((*BYTES, b"ba", None), ((98, 97),), {"<|endoftext|>": 257}))
POEM = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"


def documents(*texts):
    ids = [f"d{number}" for number in range(len(texts))]
    return pa.record_batch({"id": ids, "text": pa.array(texts, pa.large_string())})


def plainly(text, training, n):
    """Share of distinct n-grams that occur, and the longest common substring where it has n characters."""
    grams = {text[i : i + n] for i in range(len(text) - n + 1)}
    share = sum(any(gram in other for other in training) for gram in grams) / len(grams) if grams else None
    longest = max(
        (j - i for i in range(len(text)) for j in range(i + n, len(text) + 1)
         if any(text[i:j] in other for other in training)),
        default=0,
    )  # fmt: skip
    return share, longest


def test_a_poem_in_a_sample():
    sample = "老师念道" + POEM.replace("，", "") + "大家跟着念了三遍"
    found, other, short = memorisation(
        [sample, "这一段文字在训练集里没有出现过一次", "短"], [documents("序", POEM)]
    )
    assert found.longest == 20
    assert found.passage == "白日依山尽，黄河入海流。欲穷千里目，更上一层楼"
    assert found.document == "d1"
    assert found.share == pytest.approx(8 / 20)  # 8 of the 32 - 13 + 1 n-grams
    assert (other.share, other.longest, other.document) == (0.0, 0, "")
    assert short.share is None


@given(st.text("天地玄黄宇", max_size=30), st.lists(st.text("天地玄黄宇", max_size=30), max_size=4))
def test_equal_to_a_plain_search(text, training):
    (found,) = memorisation([text], [documents(*training)], ngram=3)
    share, longest = plainly(text, training, 3)
    assert found.share == (None if share is None else pytest.approx(share))
    assert found.longest == longest
    if longest:
        assert len(found.passage) == longest
        assert found.passage in text


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shards") / "data"
    with shards.Writer(directory, tokenizer=TOKENIZER) as writer:
        writer.write(documents("序", POEM))
    return shards.open(directory)


def test_token_shards(data):
    (found,) = memorisation([POEM[6:]], data, TOKENIZER)
    assert (found.share, found.document, found.passage) == (1.0, "d1", POEM[6:-1])
    with pytest.raises(ConfigError, match="needs its tokenizer"):
        memorisation(["一"], data)
    with pytest.raises(MismatchError):
        memorisation(["一"], data, OTHER)


def test_nothing_to_compare():
    with pytest.raises(InputError, match="no text"):
        memorisation([], [documents("一")])
