"""Training from text: determinism, nothing lost, and clear answers to impossible sizes."""

import random
import re
from collections import Counter

import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError, InputError
from corpuskit.segment import Segmenter
from corpuskit.vocab.bytelevel import CHINESE_PATTERN
from corpuskit.vocab.pretokens import count_pretokens
from corpuskit.vocab.sampling import Sampler, is_reserved, sentences
from corpuskit.vocab.training import PATTERNS, gb2312_level1

ALGORITHMS = ["bpe", "huggingface-bpe", "sentencepiece-unigram", "sentencepiece-bpe"]
SIZES = {"bpe": 600, "huggingface-bpe": 600, "sentencepiece-unigram": 400, "sentencepiece-bpe": 500}
WITHOUT_LIST = {algorithm: {"required_characters": ""} for algorithm in ALGORITHMS[2:]}
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
        vocab.train(chinese, algorithm=algorithm, vocab_size=30_000, **WITHOUT_LIST.get(algorithm, {}))
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


@pytest.mark.parametrize("pattern", ["chinese", "gpt2", "o200k", r"\p{Han}+|[^\p{Han}]+"])
def test_merges_are_those_of_hugging_faces_trainer(pattern, chinese):
    odd = [
        "龍😀zebra 𠀀𠀁\U000e0001 ",
        "\u3000\u3000——……！！！ \n\n\r\n\t",
        "don't 'Ve ſ'ſ １２３45678",
        "哈哈哈哈哈哈哈",
    ]
    texts = [*chinese[:150], *odd, *odd]
    ours, theirs = (
        vocab.train(texts, algorithm=algorithm, vocab_size=700, min_count=1, pattern=pattern)
        for algorithm in ("bpe", "huggingface-bpe")
    )
    assert ours.vocabulary.merges == theirs.vocabulary.merges
    assert ours.fingerprint == theirs.fingerprint


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("我们的，。ab 1\n😀é", max_size=30), max_size=8),
    st.sampled_from(["chinese", "gpt2", "cl100k", r"\p{Han}+|\P{Han}+"]),
    st.sampled_from([4, 7, 1024]),
)
def test_pretokens_are_counted_and_cut_between_characters(texts, pattern, limit):
    expression = PATTERNS.get(pattern, pattern)
    counted = count_pretokens(texts, expression, max_bytes=limit)
    expected = Counter()
    for text in texts:
        for match in regex.finditer(expression, text, flags=regex.V1):
            piece = match.group().encode()
            while len(piece) > limit:
                cut = limit
                while piece[cut] & 0xC0 == 0x80:
                    cut -= 1
                expected[piece[:cut]] += 1
                piece = piece[cut:]
            expected[piece] += 1
    found = {
        counted.store[a:b].tobytes(): int(n)
        for a, b, n in zip(counted.starts, counted.starts[1:], counted.counts, strict=False)
    }
    assert found == dict(expected)
    assert counted.total == expected.total()


@pytest.mark.parametrize("algorithm", ["bpe", "sentencepiece-bpe"])
def test_with_pre_segmentation_no_token_crosses_words(algorithm, chinese):
    segmenter = Segmenter()
    size = {"bpe": 440, "sentencepiece-bpe": 420}[algorithm]
    tokenizer = vocab.train(chinese, algorithm=algorithm, vocab_size=size, pre_segment=True)
    words = {word for text in chinese for word in segmenter.cut(text)}
    for token_id in range(tokenizer.vocab_size):
        token = tokenizer.decode([token_id])
        if len(token) > 1 and not token.startswith("<") and not set(token) & {"\ufffd", "⁇"}:
            assert any(token in word for word in words)
    assert "我们喜欢" not in words and len(tokenizer.encode("我们喜欢")) > 1
    text = "我们喜欢自然语言处理。"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_no_token_is_longer_than_asked(chinese):
    tokenizer = vocab.train(chinese, vocab_size=400, max_token_bytes=6)
    assert max(len(token) for token in tokenizer.vocabulary.tokens if token) == 6


def test_user_defined_symbols_stay_in_one_piece(chinese):
    tokenizer = vocab.train(
        chinese, algorithm="sentencepiece-bpe", vocab_size=500, user_defined_symbols=["T恤", "天安门广场上"]
    )
    assert len(tokenizer.encode("天安门广场上")) == 1
    assert tokenizer.decode(tokenizer.encode("一件T恤，在天安门广场上")) == "一件T恤，在天安门广场上"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_corpus_without_chinese_is_refused_unless_asked_for(algorithm):
    texts = [f"the quick brown fox number {i} jumps over lazy dogs, again and again" for i in range(300)]
    with pytest.raises(InputError, match="no Chinese"):
        vocab.train(texts, algorithm=algorithm, vocab_size=300)
    tokenizer = vocab.train(texts, algorithm=algorithm, vocab_size=298, require_chinese=False)
    assert tokenizer.decode(tokenizer.encode("brown fox")) == "brown fox"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["我们", "a", "<unk>"])
def test_a_special_token_that_is_ordinary_is_refused(algorithm, name, chinese):
    if algorithm.startswith("sentencepiece") != (name == "<unk>") and name != "我们":
        return
    with pytest.raises(ConfigError, match="special_tokens"):
        vocab.train(chinese, algorithm=algorithm, vocab_size=600, special_tokens=(name,))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"algorithm": "sentencepiece-bpe", "pattern": "gpt2"}, "pattern"),
        ({"required_characters": "一"}, "required_characters"),
        ({"user_defined_symbols": ["T恤"]}, "user_defined_symbols"),
        ({"algorithm": "huggingface-bpe", "max_token_bytes": 4}, "max_token_bytes"),
        ({"algorithm": "huggingface-bpe", "pre_segment": True}, "pre_segment"),
        ({"min_count": 0}, "min_count"),
        ({"max_token_bytes": 1}, "max_token_bytes"),
    ],
)
def test_an_option_that_an_algorithm_does_not_have_is_refused(options, field, chinese):
    with pytest.raises(ConfigError, match=field):
        vocab.train(chinese, vocab_size=400, **options)


@pytest.mark.parametrize("kinds", [100, 200, 400, 2000])
@pytest.mark.parametrize("seed", range(4))
def test_small_and_skewed_corpora_train_like_hugging_face(kinds, seed):
    """Few distinct strings: the pool of positions shrinks when it is compacted, and must still grow after."""
    rng = random.Random(seed)
    characters = [chr(0x4E00 + rng.randrange(3000)) for _ in range(kinds)]
    words = ["".join(rng.choices(characters, k=rng.choice((1, 2, 2, 3, 4)))) for _ in range(kinds)]
    weights = [1 / (rank + 1) for rank in range(kinds)]
    text = "，".join("".join(rng.choices(words, weights, k=9)) for _ in range(600))
    ours = vocab.train([text], vocab_size=700)
    theirs = vocab.train([text], vocab_size=700, algorithm="huggingface-bpe")
    assert ours.fingerprint == theirs.fingerprint
