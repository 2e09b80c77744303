"""Code written for jieba runs unchanged on the stand-in."""

from __future__ import annotations

import inspect
import logging

import jieba
import pytest

from corpuskit.errors import ConfigError, InputError
from corpuskit.segment import jieba as ours

TEXT = "他来到了网易杭研大厦，C++和10.5.3\r\n　李小福是创新办主任"


@pytest.fixture
def tokenizer() -> ours.Tokenizer:
    return ours.Tokenizer()


def test_names_and_parameters_are_jiebas():
    names = [
        "Tokenizer", "add_word", "cut", "cut_for_search", "del_word", "disable_parallel", "dt",
        "enable_parallel", "get_FREQ", "initialize", "lcut", "lcut_for_search", "load_userdict",
        "setLogLevel", "set_dictionary", "suggest_freq", "tokenize", "user_word_tag_tab", "__version__",
    ]  # fmt: skip
    for name in names:
        theirs = getattr(jieba, name)
        assert hasattr(ours, name)
        if inspect.ismethod(theirs) and name not in ("lcut", "lcut_for_search"):
            parameters = inspect.signature(theirs).parameters
            assert list(inspect.signature(getattr(ours, name)).parameters) == list(parameters)
    for name in dir(jieba.Tokenizer):
        if not name.startswith("_") and name not in ("calc", "gen_pfdict", "get_DAG", "get_dict_file"):
            assert hasattr(ours.Tokenizer, name), name


def test_the_usual_calls(oracle):
    ours.setLogLevel(logging.INFO)
    assert "/".join(ours.cut(TEXT)) == "/".join(oracle.cut(TEXT))
    assert list(ours.cut(TEXT, cut_all=True)) == oracle.lcut(TEXT, cut_all=True)
    assert ours.lcut(TEXT, False, False) == oracle.lcut(TEXT, False, False)
    assert list(ours.cut_for_search(TEXT)) == ours.lcut_for_search(TEXT) == oracle.lcut_for_search(TEXT)
    assert list(ours.tokenize(TEXT, mode="search")) == list(oracle.tokenize(TEXT, mode="search"))
    assert ours.get_FREQ("清华大学") == oracle.FREQ["清华大学"]
    assert ours.get_FREQ("不在词典里", 7) == 7


def test_changing_the_dictionary(oracle, tokenizer, tmp_path):
    path = tmp_path / "user.txt"
    path.write_text("李小福 2 nr\n创新办 3 i\n", encoding="utf-8")
    for each in (oracle, tokenizer):
        each.load_userdict(str(path))
        each.add_word("杭研大厦")
        each.del_word("主任")
        each.suggest_freq(("网", "易"), True)
    assert tokenizer.lcut(TEXT) == oracle.lcut(TEXT)
    assert tokenizer.user_word_tag_tab == oracle.user_word_tag_tab
    assert tokenizer.total == oracle.total


def test_parallel_mode_is_accepted_and_changes_nothing(oracle):
    ours.enable_parallel(2)
    text = f"{TEXT}\n{TEXT}"
    assert list(ours.cut(text)) == oracle.lcut(text)
    ours.disable_parallel()


def test_frequencies_are_read_as_from_jiebas_table(oracle, tokenizer):
    oracle.add_word("γ射线计", 5)
    tokenizer.add_word("γ射线计", 5)
    for word in ["清华大学", "清华大", "不在词典里", "γ", "γ射", "γ射线", "γ射线计", ""]:
        assert (word in tokenizer.FREQ) == (word in oracle.FREQ)
        assert tokenizer.FREQ.get(word, -1) == oracle.FREQ.get(word, -1)
    assert tokenizer.FREQ["清华大学"] == oracle.FREQ["清华大学"]
    with pytest.raises(KeyError, match="不在词典里"):
        tokenizer.FREQ["不在词典里"]


def test_what_is_not_here_says_where_it_is():
    with pytest.raises(ImportError, match="posseg"):
        from corpuskit.segment.jieba import posseg  # noqa: F401
    with pytest.raises(ConfigError, match="from jieba import analyse"):
        _ = ours.analyse
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ours.nonsense


@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
def test_bytes_are_decoded_as_jieba_does(oracle, charset):
    data = "我来到北京清华大学".encode(charset)
    assert ours.lcut(data) == oracle.lcut(data)


def test_the_dictionary_loads_on_first_use_and_can_be_replaced(tokenizer, tmp_path):
    assert not tokenizer.initialized
    path = tmp_path / "dict.txt"
    path.write_text("中国人 5\n", encoding="utf-8")
    tokenizer.set_dictionary(str(path))
    assert not tokenizer.initialized
    assert tokenizer.lcut("中国人民") == ["中国人", "民"]
    tokenizer.initialize()
    assert tokenizer.initialized
    with pytest.raises(InputError, match="none"):
        tokenizer.set_dictionary(tmp_path / "none")
    with pytest.raises(ConfigError, match="paddle"):
        tokenizer.lcut("中国", use_paddle=True)


def test_asking_whether_something_is_there_does_not_raise():
    import corpuskit.segment.jieba as stand_in

    assert not hasattr(stand_in, "posseg")
    with pytest.raises(ConfigError, match="not part of the stand-in"):
        stand_in.posseg  # noqa: B018
