"""jieba itself says what the words are."""

from __future__ import annotations

import functools
import io
import itertools
import json
import pickle
import warnings

import jieba
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_cases import SENTENCES, assert_same, texts, words

from corpuskit.segment import Segmenter

changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), words, st.sampled_from([None, 0, 1, 7, 10**6, 10**18])),
        st.tuples(st.just("delete"), words),
        st.tuples(st.just("join"), words),
        st.tuples(st.just("split"), st.lists(words, min_size=1, max_size=3)),
    ),
    max_size=8,
)


def apply(change, tokenizer):
    """The same call on jieba's tokenizer or on ours; what it returns is compared."""
    match change:
        case ("add", word, freq):
            return tokenizer.add_word(word, freq)
        case ("delete", word):
            return tokenizer.del_word(word)
        case ("join", word):
            return tokenizer.suggest_freq(word, True)
        case ("split", parts):
            return tokenizer.suggest_freq(tuple(parts), True)


@pytest.mark.parametrize("text", SENTENCES)
def test_fixed_sentences_in_every_mode(oracle, shared_segmenter, text):
    assert_same(oracle, shared_segmenter, text)


@settings(max_examples=300)
@given(text=texts)
def test_any_string_in_every_mode(loaded_jieba, shared_segmenter, text):
    jieba.finalseg.Force_Split_Words.clear()
    assert_same(loaded_jieba, shared_segmenter, text)


@settings(max_examples=30)
@given(calls=changes, lines=st.lists(texts, min_size=1, max_size=3))
def test_after_any_calls_that_change_the_dictionary(loaded_jieba, calls, lines):
    jieba.finalseg.Force_Split_Words.clear()
    oracle = jieba.Tokenizer()
    oracle.FREQ, oracle.total, oracle.initialized = dict(loaded_jieba.FREQ), loaded_jieba.total, True
    ours = Segmenter()
    for call in calls:
        assert apply(call, ours) == apply(call, oracle)
        assert ours.total == oracle.total
    mentioned = "".join(call[1] if isinstance(call[1], str) else "".join(call[1]) for call in calls)
    restored = pickle.loads(pickle.dumps(ours))
    for text in [*lines, mentioned, mentioned[::-1]]:
        assert_same(oracle, ours, text)
        assert_same(oracle, restored, text)
    for call in calls:
        for word in [call[1]] if isinstance(call[1], str) else call[1]:
            assert ours.frequency(word) == oracle.FREQ.get(word)


def test_a_user_dictionary_gives_the_same_words_and_tags(oracle, segmenter, tmp_path):
    path = tmp_path / "user.txt"
    path.write_bytes(
        "\ufeff云计算 5\r\n李小福 2 nr\n\n创新办 3 i\neasy_install 3 eng\n韩玉赏鉴\nC++编程 10\n"
        "八一双鹿 3 nz\n凱特琳 nz\nEdu Trust认证 2000\n".encode()
    )
    oracle.load_userdict(str(path))
    with pytest.warns(UserWarning, match=r"1 words .*line 10"):
        segmenter.load_userdict(path)
    assert segmenter.total == oracle.total
    assert segmenter.tags == oracle.user_word_tag_tab
    for text in [
        "李小福是创新办主任也是云计算方面的专家; 什么是八一双鹿",
        "例如我输入一个带“韩玉赏鉴”的标题，在自定义词库中也增加了此词为N类",
        "Edu Trust认证和C++编程easy_install凱特琳",
    ]:
        assert_same(oracle, segmenter, text)


def test_a_user_dictionary_may_be_an_open_file_of_text_or_bytes(oracle, segmenter):
    oracle.load_userdict(io.StringIO("石墨烯\n凱特琳 nz\n"))
    oracle.load_userdict(io.BytesIO("\ufeff大厦间 9\n".encode()))
    segmenter.load_userdict(io.StringIO("石墨烯\n凱特琳 nz\n"))
    segmenter.load_userdict(io.BytesIO("\ufeff大厦间 9\n".encode()))
    assert_same(oracle, segmenter, "石墨烯是凱特琳在网易杭研大厦间做的")


def test_another_main_dictionary(tmp_path):
    path = tmp_path / "dict.txt"
    path.write_bytes("中国 5 ns\n中国人 3 n\n人民 9 n\n人 4\n中国 7 ns\nab 2\nabc 1\n".encode())
    oracle = jieba.Tokenizer(str(path))
    oracle.tmp_dir = str(tmp_path)
    ours = Segmenter(path)
    for text in ["中国人民站起来了", "人abcabd中国ab", "民民"]:
        assert_same(oracle, ours, text)
    assert ours.total == oracle.total == 31


SENTENCE = "我来到北京清华大学研究生命起源李小福是创新办主任也是云计算方面的专家C++和10.5.3版本"


@pytest.mark.parametrize("length", [1023, 1024, 1025, 1060, 2048, 5000])
@pytest.mark.parametrize("before", ["", "前言。", "一" * 1020 + "，"])
def test_blocks_longer_than_a_piece(oracle, shared_segmenter, length, before):
    """The kernel works on 1,024 characters at a time, and on longer blocks from right to left."""
    text = before + (SENTENCE * (length // len(SENTENCE) + 1))[:length] + "\r\n" + SENTENCE
    for hmm in (True, False):
        assert shared_segmenter.cut(text, hmm=hmm) == oracle.lcut(text, HMM=hmm)
        assert shared_segmenter.words_batch(pa.array([text, text]), hmm=hmm).to_pylist()[1] == oracle.lcut(
            text, HMM=hmm
        )


def test_words_longer_than_a_piece_and_many_at_one_place(tmp_path):
    """65 words begin at nearly every place, and one is longer than a piece."""
    words = {"一" * n: 70 - n for n in range(1, 66)} | {"一" * 1500: 3, "二三" * 700 + "一": 2, "三": 9}
    path = tmp_path / "dict.txt"
    path.write_text("".join(f"{word} {frequency}\n" for word, frequency in words.items()), encoding="utf-8")
    oracle = jieba.Tokenizer(str(path))
    oracle.tmp_dir = str(tmp_path)
    oracle.get_DAG = functools.cache(oracle.get_DAG)  # seconds, and the same for both
    ours = Segmenter(path)
    for text in ["一" * 3001, "三" * 9 + "一" * 1501, "二三" * 1600 + "一" * 40, "，".join(["一" * 90] * 30)]:
        for hmm in (True, False):
            assert ours.cut(text, hmm=hmm) == oracle.lcut(text, HMM=hmm)


def test_characters_in_no_dictionary_and_prefixes_that_are_no_words(tmp_path):
    path = tmp_path / "dict.txt"
    path.write_text("中国人民 5\n民国 3\n人 2\n国人民族 1\n", encoding="utf-8")
    oracle = jieba.Tokenizer(str(path))
    oracle.tmp_dir = str(tmp_path)
    ours = Segmenter(path)
    for text in ["中国人民国人民族", "中国人中国人民", "甲乙丙国人民", "中", "国人民族民国中国"]:
        assert_same(oracle, ours, text)


def _lines(path):
    with open(path, "rb") as raw:
        yield from io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")


def _paragraphs(path, most):
    paragraphs = (line for record in _lines(path) for line in json.loads(record)["text"].split("\n") if line)
    return list(itertools.islice(paragraphs, most))


@pytest.mark.slow
def test_all_news(shared_data, oracle, shared_segmenter):
    lines = [json.loads(line)["text"] for line in _lines(shared_data / "text" / "news.jsonl.zst")]
    _assert_lines(oracle, shared_segmenter, lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["laws", "broadcast"])
def test_twenty_thousand_paragraphs(shared_data, oracle, shared_segmenter, name):
    lines = _paragraphs(shared_data / "text" / f"{name}.jsonl.zst", 20_000)
    assert len(lines) == 20_000
    _assert_lines(oracle, shared_segmenter, lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["news", "laws", "broadcast"])
def test_paragraphs_with_a_user_dictionary_of_their_own_strings(
    shared_data, oracle, segmenter, tmp_path, name
):
    """Strings cut from the text at odd places become words, with and without frequency; some are deleted."""
    lines = _paragraphs(shared_data / "text" / f"{name}.jsonl.zst", 3_000)
    pieces = [line[i % 7 : i % 7 + 2 + i % 5] for i, line in enumerate(lines[:1_500])]
    pieces = [piece for piece in pieces if len(piece) > 1 and piece == piece.strip() and "\t" not in piece]
    path = tmp_path / "user.txt"
    path.write_text(
        "".join(f"{piece} {i % 3 * 50}\n" if i % 4 else f"{piece}\n" for i, piece in enumerate(pieces)),
        encoding="utf-8",
    )
    oracle.load_userdict(str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        segmenter.load_userdict(path)
    assert segmenter.total == oracle.total
    _assert_lines(oracle, segmenter, lines)


@pytest.mark.slow
def test_all_sentences_of_the_peoples_daily_without_their_spaces(shared_data, oracle, shared_segmenter):
    lines = _lines(shared_data / "seg" / "peoples-daily-1998-01.txt.zst")
    _assert_lines(oracle, shared_segmenter, [line.rstrip("\n").replace(" ", "") for line in lines])


@pytest.mark.slow
def test_search_and_full_mode_and_positions_on_real_text(shared_data, oracle, shared_segmenter):
    for line in _paragraphs(shared_data / "text" / "news.jsonl.zst", 1_000):
        assert_same(oracle, shared_segmenter, line)


def _assert_lines(oracle, segmenter, lines):
    assert len(lines) > 50
    column = pa.array(lines, pa.large_string())
    for hmm in (True, False):
        batch = segmenter.words_batch(column, hmm=hmm)
        different = [i for i, line in enumerate(lines) if batch[i].as_py() != oracle.lcut(line, HMM=hmm)]
        assert different == []
