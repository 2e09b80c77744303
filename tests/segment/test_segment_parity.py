"""jieba itself says what the words are."""

from __future__ import annotations

import io
import json
import pickle

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "documents"), [("text/news", None), ("text/laws", 400), ("text/broadcast", 100)]
)
def test_real_text(shared_data, oracle, shared_segmenter, name, documents):
    lines = []
    with open(shared_data / f"{name}.jsonl.zst", "rb") as raw:
        reader = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        for i, line in enumerate(reader):
            if i == documents:
                break
            lines.append(json.loads(line)["text"])
    _assert_lines(oracle, shared_segmenter, lines)


@pytest.mark.slow
def test_real_sentences_without_their_spaces(shared_data, oracle, shared_segmenter):
    with open(shared_data / "seg" / "peoples-daily-1998-01.txt.zst", "rb") as raw:
        reader = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        _assert_lines(oracle, shared_segmenter, [line.rstrip("\n").replace(" ", "") for line in reader])


def _assert_lines(oracle, segmenter, lines):
    assert len(lines) > 50
    column = pa.array(lines, pa.large_string())
    for hmm in (True, False):
        batch = segmenter.words_batch(column, hmm=hmm)
        different = [i for i, line in enumerate(lines) if batch[i].as_py() != oracle.lcut(line, HMM=hmm)]
        assert different == []
