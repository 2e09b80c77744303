"""The column `word_starts`: against a plain reading of words and tokens, through writer, job and command."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpuskit as ck
from corpuskit.errors import ConfigError, InputError
from corpuskit.shards.word_starts import open_segmenter, segmenter_version, word_starts

CORPUS = [
    "我想去北京大学图书馆看书。天气很好，我们在公园里散步。",
    "春天的时候，花儿都开了；孩子们在草地上奔跑。",
    "人工智能正在改变世界，机器学习需要大量的数据。",
] * 40


@pytest.fixture(scope="module")
def segmenter():
    return ck.segment.Segmenter()


@pytest.fixture(scope="module")
def bpe():
    return ck.vocab.train(CORPUS, algorithm="bpe", vocab_size=400, seed=1)


@pytest.fixture(scope="module")
def pieces():
    return ck.vocab.train(CORPUS, algorithm="sentencepiece-bpe", vocab_size=350, seed=1)


def plain(text, tokenizer, segmenter):
    """Byte by byte: a token is marked if a word begins at its first byte."""
    begins, at = set(), 0
    for word in segmenter.cut(text):
        begins.add(at)
        at += len(word.encode())
    marks, at = [], 0
    for token in tokenizer.encode(text):
        marks.append(int(at in begins))
        at += len(tokenizer.vocabulary.tokens[token])
    return marks


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="我想去北京大学图书馆 看书。ab1\U00020000é\r\n", max_size=30), max_size=5))
def test_marks_equal_a_plain_reading(bpe, segmenter, texts):
    column = pa.array(texts, pa.large_string())
    marks = word_starts(column, bpe.encode_batch(column), bpe, segmenter)
    assert marks.to_pylist() == [plain(text, bpe, segmenter) for text in texts]


def test_a_slice_of_a_column_is_marked_like_the_texts_alone(bpe, segmenter):
    column = pa.array(CORPUS[:6], pa.large_string()).slice(2, 3)
    marks = word_starts(column, bpe.encode_batch(column), bpe, segmenter)
    assert marks.to_pylist() == [plain(text, bpe, segmenter) for text in CORPUS[2:5]]


def test_pieces_that_share_a_place_begin_a_word_once(pieces, segmenter):
    column = pa.array(["我想去北京大学图书馆看书。"], pa.large_string())
    marks = word_starts(column, pieces.encode_batch(column), pieces, segmenter)[0].as_py()
    ids = pieces.encode(column[0].as_py())
    assert len(marks) == len(ids)
    assert marks[0] == 1
    assert 1 < sum(marks) <= len(segmenter.cut(column[0].as_py()))


def test_tokens_of_other_texts_are_refused(bpe, segmenter):
    column = pa.array(["我想去"], pa.large_string())
    other = bpe.encode_batch(pa.array(["北京大学"], pa.large_string()))
    with pytest.raises(InputError, match="not those of the texts"):
        word_starts(column, other, bpe, segmenter)


def test_the_writer_stores_the_column_and_closes_documents_with_a_start(tmp_path, bpe, segmenter):
    batch = pa.record_batch({"id": ["a", "b"], "text": pa.array(CORPUS[:2], pa.large_string())})
    with ck.shards.Writer(tmp_path / "d", tokenizer=bpe, segmenter=segmenter) as writer:
        writer.write(batch)
    data = ck.shards.open(tmp_path / "d")
    for document, text in zip(data, CORPUS):
        expected = [*plain(text, bpe, segmenter), 1]
        assert np.asarray(document.columns["word_starts"]).tolist() == expected


def test_a_tokenizer_without_places_is_refused(segmenter):
    class Foreign:
        vocab_size = 10

        def encode_batch(self, texts):
            return pa.array([[1]], pa.large_list(pa.uint16()))

    column = pa.array(["我"], pa.large_string())
    with pytest.raises(ConfigError, match="where its tokens lie"):
        word_starts(column, Foreign().encode_batch(column), Foreign(), segmenter)


def test_a_segmenter_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        segmenter_version(str(tmp_path / "no.model"))
    with pytest.raises(ck.errors.CorpuskitError):
        open_segmenter(str(tmp_path / "no.model"))
