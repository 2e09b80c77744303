"""The trained segmenter at use: beside plain Python, columns, user words, model files, bad input."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from perceptron_cases import DICTIONARY, GOLD, reference_cut, texts

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.kernels import perceptron as kernels
from corpuskit.segment.perceptron import LONGEST_USER_WORD, PerceptronSegmenter
from corpuskit.segment.perceptron_training import train_segmenter

USER_WORDS = ("模型很", "研究", "研究中", "江", "05", "2012年", "aZ")


@pytest.fixture(scope="module")
def trained() -> PerceptronSegmenter:
    """Tests must not change it."""
    return train_segmenter(GOLD, dictionary=DICTIONARY, epochs=3)


@pytest.fixture(scope="module")
def with_user_words(trained) -> PerceptronSegmenter:
    segmenter = PerceptronSegmenter(trained.model)
    for word in USER_WORDS:
        segmenter.add_word(word)
    return segmenter


@given(text=texts)
def test_the_kernel_cuts_as_the_plain_reference(trained, text):
    assert trained.cut(text) == reference_cut(trained.model, text)


of_user_words = st.lists(st.sampled_from([*USER_WORDS, "重要", "0", "z"]), max_size=9).map("".join)


@given(text=st.one_of(texts, of_user_words))
def test_user_words_as_in_the_plain_reference(with_user_words, text):
    assert with_user_words.cut(text) == reference_cut(with_user_words.model, text, USER_WORDS)


@given(text=texts)
def test_words_joined_are_the_text(trained, text):
    words = trained.cut(text)
    assert "".join(words) == text
    assert all(words)
    assert trained.lcut(text) == words
    tokens = list(trained.tokenize(text))
    assert [word for word, _, _ in tokens] == words
    assert all(text[begin:end] == word for word, begin, end in tokens)


@given(
    rows=st.lists(st.one_of(st.none(), texts), max_size=8),
    begin=st.integers(0, 3),
    kind=st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]),
    threads=st.integers(1, 3),
)
def test_words_of_each_row(trained, rows, begin, kind, threads):
    column = pa.array(rows, kind)[begin:]
    expected = [None if row is None else trained.cut(row) for row in rows[begin:]]
    words = trained.words_batch(column, threads=threads)
    words.validate(full=True)
    assert words.type == pa.large_list(pa.large_string())
    assert words.to_pylist() == expected
    for unit, length in (("bytes", lambda word: len(word.encode())), ("characters", len)):
        ends = trained.cut_batch(column, unit=unit, threads=threads)
        assert ends.type == pa.large_list(pa.int32())
        assert ends.to_pylist() == [
            None if row is None else np.cumsum([length(word) for word in row]).tolist() for row in expected
        ]


def test_it_has_learnt_its_text(trained):
    assert sum(trained.cut("".join(line)) == line for line in GOLD) >= 0.95 * len(GOLD)


def test_white_space_is_a_word_and_a_boundary(trained):
    assert trained.cut("研究\r\n数据  \n\u3000") == ["研究", "\r\n", "数据", " ", " ", "\n", "\u3000"]


def test_halfwidth_and_fullwidth_are_cut_alike(trained):
    full, half = "２０１２年，她来到北京。", "2012年,她来到北京。"
    assert list(map(len, trained.cut(full))) == list(map(len, trained.cut(half)))


@pytest.mark.parametrize("length", [kernels.WINDOW, kernels.WINDOW + 1, 2 * kernels.WINDOW + 77])
def test_windows_do_not_show(trained, length):
    sentences = "".join("".join(line) for line in GOLD)
    text = (sentences * (length // len(sentences) + 1))[:length]
    assert trained.cut(text) == reference_cut(trained.model, text)
    characters = trained.cut_batch(pa.array([text, text]), unit="characters").to_pylist()
    assert characters[0] == characters[1] == np.cumsum(list(map(len, trained.cut(text)))).tolist()


@pytest.mark.parametrize("character", ["a", "9", "北", "\x00", "😀"])
def test_a_run_longer_than_a_window(trained, character):
    text = character * (5 * kernels.WINDOW + 3)
    assert "".join(trained.cut(text)) == text
    ends = trained.cut_batch(pa.array([text])).to_pylist()[0]
    assert ends[-1] == len(text.encode())


def test_a_users_word_is_cut_out_wherever_it_stands(trained):
    segmenter = PerceptronSegmenter(trained.model)
    assert "言模" not in segmenter.cut("我们研究语言模型。")
    segmenter.add_word("言模")
    for text in ("我们研究语言模型。", "言模", "言模言模", "a言模9"):
        assert segmenter.cut(text).count("言模") == text.count("言模")


def test_a_users_word_does_not_end_within_a_run_of_digits_or_letters(trained):
    segmenter = PerceptronSegmenter(trained.model)
    segmenter.add_word("12")
    segmenter.add_word("Phone")
    assert "12" in segmenter.cut("一共有12个")
    assert "12" not in segmenter.cut("2012年")
    assert "Phone" not in segmenter.cut("iPhone")


def test_user_dictionary_files(trained, tmp_path):
    path = tmp_path / "user.txt"
    path.write_text("言模 3 n\n究语\n", encoding="utf-8")
    trained.save(tmp_path / "model")
    segmenter = PerceptronSegmenter.load(tmp_path / "model", user_dictionary=path)
    assert segmenter.cut("研究语言模型")[1:3] == ["究语", "言模"]
    path.write_text("言模\tn\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"user\.txt:1"):
        segmenter.load_userdict(path)
    path.write_text("好\n" + "长" * (LONGEST_USER_WORD + 1) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"user\.txt:2"):
        segmenter.load_userdict(path)


@pytest.mark.parametrize("word", ["", " ", "a b", "长" * (LONGEST_USER_WORD + 1)])
def test_impossible_user_words(trained, word):
    with pytest.raises(ConfigError, match="word"):
        PerceptronSegmenter(trained.model).add_word(word)


def test_saved_loaded_and_pickled_are_the_same(with_user_words, tmp_path):
    path = tmp_path / "deep" / "model.seg"
    with_user_words.save(path)
    text = "张三在2012年研究中文分词，说语言模型很重要。"
    assert PerceptronSegmenter.load(path).model.to_bytes() == with_user_words.model.to_bytes()
    assert PerceptronSegmenter.load(path).cut(text) == PerceptronSegmenter(with_user_words.model).cut(text)
    assert pickle.loads(pickle.dumps(with_user_words)).cut(text) == with_user_words.cut(text)
    assert [p.name for p in path.parent.iterdir()] == ["model.seg"]


def test_every_damaged_byte_is_noticed(trained, tmp_path):
    content = trained.model.to_bytes()
    path = tmp_path / "model"
    for at in [0, 7, 8, 12, 19, 30, 200, len(content) // 2, len(content) - 20, len(content) - 1]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ArtifactError, match="model"):
            PerceptronSegmenter.load(path)
    for length in [0, 5, 27, 28, 1000, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactError, match="model"):
            PerceptronSegmenter.load(path)


def test_a_model_of_another_format_says_so(trained, tmp_path):
    content = trained.model.to_bytes()[:-16]
    content = content[:8] + struct.pack("<I", 99) + content[12:]
    path = tmp_path / "model"
    path.write_bytes(content + xxhash.xxh3_128(content).digest())
    with pytest.raises(ArtifactError, match=r"format 99.*train it again"):
        PerceptronSegmenter.load(path)


def test_a_missing_model(tmp_path):
    with pytest.raises(InputError, match="nothing"):
        PerceptronSegmenter.load(tmp_path / "nothing")


@pytest.mark.parametrize("threads", [1, 2])
def test_malformed_utf8_names_row_and_byte(trained, threads):
    for row, byte in ((b"\xe4\xbd\xa0\xff", 3), (b"a\xed\xa0\x80", 1), (b"ab\x80", 2)):
        rows = ["好".encode(), row, b"b"]
        offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        column = pa.LargeStringArray.from_buffers(3, pa.py_buffer(offsets), pa.py_buffer(b"".join(rows)))
        with pytest.raises(InputError, match=f"row 1, byte {byte}"):
            trained.cut_batch(column, threads=threads)


def test_bad_arguments(trained):
    with pytest.raises(InputError, match="lone surrogate U\\+D800"):
        trained.cut("a\ud800")
    with pytest.raises(ConfigError, match="text"):
        trained.cut(b"a")
    with pytest.raises(ConfigError, match="texts"):
        trained.words_batch(["a"])
    with pytest.raises(ConfigError, match="unit"):
        trained.cut_batch(pa.array(["a"]), unit="words")
    with pytest.raises(ConfigError, match="threads"):
        trained.cut_batch(pa.array(["a"]), threads=0)


@pytest.mark.slow
def test_a_hundred_megabytes_in_one_line(trained):
    sentences = "".join("".join(line) for line in GOLD).translate({ord(c): None for c in "，。！；.2135"})
    size = 100_000_000 // len(sentences.encode()) + 1
    ends = trained.cut_batch(pa.array([sentences * size], pa.large_string())).values
    assert ends[-1].as_py() == size * len(sentences.encode())
