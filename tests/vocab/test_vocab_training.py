"""Training from text: determinism, nothing lost, and clear answers to impossible sizes."""

import random
import re

import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError, InputError
from corpuskit.vocab.bytelevel import CHINESE_PATTERN
from corpuskit.vocab.sampling import Sampler, is_reserved, sentences
from corpuskit.vocab.training import gb2312_level1

ALGORITHMS = ["bpe", "sentencepiece-unigram", "sentencepiece-bpe"]
SIZES = {"bpe": 600, "sentencepiece-unigram": 400, "sentencepiece-bpe": 500}
TEXTS = ["我们喜欢，自然语言处理！", " a  b\n\tc", "龍😀zebra", "２３元 ＡＢＣ", "<|endoftext|>", "a\r\n　b"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_vocabulary_has_the_asked_size_and_loses_nothing(algorithm, chinese, tmp_path):
    tokenizer = vocab.train(chinese, algorithm=algorithm, vocab_size=SIZES[algorithm])
    assert tokenizer.vocab_size == SIZES[algorithm]
    end = tokenizer.end_of_text_id
    for text in [*TEXTS, *chinese[:20]]:
        ids = tokenizer.encode(text)
        assert end not in ids
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(text, allow_special=True).count(end) == text.count("<|endoftext|>")
    assert tokenizer.decode([end, *tokenizer.encode("我们"), end]) == "<|endoftext|>我们<|endoftext|>"
    assert tokenizer.encode_batch(pa.array(TEXTS)).to_pylist() == [tokenizer.encode(t) for t in TEXTS]
    loaded = vocab.load(tokenizer.save(tmp_path / "t"))
    assert loaded.fingerprint == tokenizer.fingerprint and loaded.kind == tokenizer.kind
    assert [loaded.encode(t) for t in TEXTS] == [tokenizer.encode(t) for t in TEXTS]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_order_and_form_of_the_input_do_not_matter(algorithm, chinese):
    shuffled = list(chinese)
    random.Random(1).shuffle(shuffled)
    forms = [
        shuffled,
        [pa.array(shuffled[:100], pa.large_string()), pa.array(shuffled[100:])],
        pa.array(shuffled),
        [document_batch(shuffled, shuffled)],
    ]
    first = vocab.train(chinese, algorithm=algorithm, vocab_size=SIZES[algorithm], sample_bytes=50_000)
    for form in forms:
        again = vocab.train(form, algorithm=algorithm, vocab_size=SIZES[algorithm], sample_bytes=50_000)
        assert again.files() == first.files()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_size_the_corpus_cannot_reach_names_the_one_it_can(algorithm, chinese):
    with pytest.raises(ConfigError, match="vocab_size") as caught:
        vocab.train(chinese, algorithm=algorithm, vocab_size=30_000, required_characters="")
    reachable = int(re.search(r"set vocab_size to (\d+)", str(caught.value))[1])
    tokenizer = vocab.train(chinese, algorithm=algorithm, vocab_size=reachable)
    assert tokenizer.vocab_size == reachable


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("texts", [[], [""], [pa.array([], pa.string())]])
def test_an_empty_corpus_is_an_input_error(algorithm, texts):
    with pytest.raises(InputError, match="no text"):
        vocab.train(texts, algorithm=algorithm, vocab_size=400)


def test_impossible_parameters_are_refused_by_name(chinese):
    for parameters, field in (
        ({"algorithm": "wordpiece", "vocab_size": 400}, "algorithm"),
        ({"vocab_size": 257}, "vocab_size"),
        ({"vocab_size": 400, "sample_bytes": 0}, "sample_bytes"),
        ({"vocab_size": 400, "special_tokens": ("a", "a")}, "special_tokens"),
        ({"vocab_size": 400, "special_tokens": "abc"}, "special_tokens"),
        ({"vocab_size": 400, "pattern": "("}, "pattern"),
    ):
        with pytest.raises(ConfigError, match=field):
            vocab.train(chinese, **parameters)
    with pytest.raises(InputError, match="int"):
        vocab.train([1], vocab_size=400)
    with pytest.raises(InputError, match="surrogate"):
        vocab.train(["a\ud800"], vocab_size=400)


def test_required_characters_get_a_piece_each(chinese):
    tokenizer = vocab.train(
        chinese, algorithm="sentencepiece-bpe", vocab_size=500, required_characters="龍鳳饕餮"
    )
    assert all(len(tokenizer.encode(c)) == 1 for c in "龍鳳饕餮")
    with pytest.raises(ConfigError, match="required"):
        vocab.train(
            chinese, algorithm="sentencepiece-bpe", vocab_size=500, required_characters=gb2312_level1()
        )


def test_gb2312_level_1_has_3755_characters():
    characters = gb2312_level1()
    assert len(set(characters)) == len(characters) == 3755
    assert characters[0] == "啊" and characters[-1] == "座"


def test_documents_longer_than_a_sentence_are_not_dropped():
    text = "这是一个没有句号的很长的文档" * 2000
    tokenizer = vocab.train([text], algorithm="sentencepiece-bpe", vocab_size=300)
    assert tokenizer.provenance["trained_bytes"] == len(text.encode())
    assert len(tokenizer.encode("这是一个没有句号的很长的文档")) < 14


@settings(max_examples=200, deadline=None)
@given(st.text("我们。，！ a\n\t▁▅é😀", max_size=120), st.integers(4, 40))
def test_sentences_lose_no_byte_and_fit(text, limit):
    pieces = list(sentences(text, limit))
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= limit for piece in pieces)
    assert not any(c in piece for piece in pieces if not is_reserved(piece) for c in "\n\t▁▅")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 200), st.randoms())
def test_a_sample_is_the_longest_front_that_fits_in_hash_order(sizes, limit, random_):
    documents = [(f"d{i}", chr(65 + i) * size) for i, size in enumerate(sizes)]

    def sample(items, size):
        sampler = Sampler(size, seed=3)
        for item in items:
            sampler.add(*item)
        return sampler.finish()

    order = sample(documents, 1 << 30).texts
    shuffled = list(documents)
    random_.shuffle(shuffled)
    chosen = sample(shuffled, limit)
    expected, total = [], 0
    for text in order:
        text = text[:limit]
        total += len(text)
        if total > limit:
            break
        expected.append(text)
    assert list(chosen.texts) == expected
    assert chosen.documents_seen == len(sizes) and chosen.bytes_seen == sum(sizes)


@settings(max_examples=200, deadline=None)
@given(st.text("我们的，。！Tab's 12３\n　é́", max_size=60))
def test_the_pattern_covers_every_character_and_isolates_han(text):
    pieces = [m.group() for m in regex.finditer(CHINESE_PATTERN, text, flags=regex.V1)]
    assert "".join(pieces) == text
    for piece in pieces:
        han = regex.findall(r"\p{Han}", piece)
        assert not han or (len(han) == len(piece) <= 16)
