"""The segmenter beside the words: independence, pickling, the cache, and bad input."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jieba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.errors import ConfigError, InputError, MismatchError
from corpuskit.kernels import ranked_trie as kernels
from corpuskit.segment import Segmenter, dictionary, is_matchable, tables


def test_segmenters_are_independent():
    first, second = Segmenter(), Segmenter()
    text = "杭研大厦和石墨烯"
    before = second.cut(text)
    first.add_word("石墨烯")
    first.del_word("杭研")
    assert "石墨烯" in first.cut(text)
    assert "杭研" not in first.cut(text)
    assert second.cut(text) == before == Segmenter().cut(text)


def test_deleting_in_jieba_leaks_but_not_here(oracle):
    text = "他来到了网易杭研大厦"
    ours, other = Segmenter(), Segmenter()
    ours.del_word("杭研")
    oracle.del_word("杭研")
    assert ours.cut(text) == oracle.lcut(text)
    untouched = jieba.Tokenizer()
    untouched.FREQ, untouched.total, untouched.initialized = oracle.FREQ, oracle.total, True
    assert "杭研" not in untouched.lcut(text)
    assert "杭研" in other.cut(text)


def test_many_words_grow_the_table(segmenter):
    frequency_before = segmenter.frequency("清华大学")
    words = [f"甲{chr(0x4E00 + i // 700)}{chr(0x4E00 + i % 700)}乙丙" for i in range(60_000)]
    for word in words:
        segmenter.add_word(word, 5)
    assert all(segmenter.frequency(word) == 5 for word in words[::97])
    assert segmenter.frequency("清华大学") == frequency_before
    assert segmenter.cut(words[500] + "清华大学") == [words[500], "清华大学"]


def test_pickle_keeps_hmm_tags_and_words(tmp_path):
    path = tmp_path / "user.txt"
    path.write_text("石墨烯 5 n\n", encoding="utf-8")
    ours = Segmenter(user_dictionary=path, hmm=False)
    ours.del_word("清华大学")
    restored = pickle.loads(pickle.dumps(ours))
    assert (restored.hmm, restored.tags, restored.total) == (False, {"石墨烯": "n"}, ours.total)
    assert restored.cut("石墨烯在清华大学") == ours.cut("石墨烯在清华大学")
    assert len(pickle.dumps(ours)) < 1000


def test_pickle_refuses_another_dictionary(tmp_path):
    path = tmp_path / "dict.txt"
    path.write_text("中国 5\n", encoding="utf-8")
    data = pickle.dumps(Segmenter(path))
    path.write_text("中国 6\n", encoding="utf-8")
    with pytest.raises(MismatchError, match=r"dict\.txt"):
        pickle.loads(data)


def test_threads_share_one_segmenter(shared_segmenter):
    texts = [f"我来到北京清华大学第{i}次，小明硕士毕业于中国科学院" for i in range(200)]
    expected = [shared_segmenter.cut(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(shared_segmenter.cut, texts)) == expected


def test_words_joined_are_the_text_however_odd(shared_segmenter):
    for text in ["", "\x00", "a\x00中国\x00", "\r\r\n\n", "🀄️𠀀", "\U0010ffff"]:
        assert "".join(shared_segmenter.cut(text)) == text


@pytest.mark.parametrize("text", ["\ud800", "中国\udcff人"])
def test_lone_surrogates_are_refused(shared_segmenter, text):
    for call in (shared_segmenter.cut, shared_segmenter.lcut_for_search, shared_segmenter.tokenize):
        with pytest.raises(InputError, match="lone surrogate"):
            call(text)
    with pytest.raises(InputError, match="lone surrogate"):
        shared_segmenter.cut(text, cut_all=True)
    with pytest.raises(InputError, match="lone surrogate"):
        Segmenter().add_word(text)


@pytest.mark.parametrize("text", [None, b"abc", 5, ["a"]])
def test_anything_but_a_string_is_refused(shared_segmenter, text):
    with pytest.raises(ConfigError, match="expected a str"):
        shared_segmenter.cut(text)


def test_an_unknown_mode_is_refused(shared_segmenter):
    with pytest.raises(ConfigError, match="mode"):
        shared_segmenter.tokenize("中国", "Search")


@pytest.mark.parametrize("frequency", [-1, 2**63, "many", None])
def test_impossible_frequencies_are_refused(segmenter, frequency):
    total = segmenter.total
    if frequency is None:
        with pytest.raises(ConfigError, match="at least one character"):
            segmenter.add_word("", 5)
    else:
        with pytest.raises(ConfigError, match="石墨烯"):
            segmenter.add_word("石墨烯", frequency)
    assert segmenter.total == total


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"\xff\xfe", "not UTF-8"),
        ("石墨烯\t5\tn".encode(), "bad line"),
        ("石墨烯 -5".encode(), "negative"),
        ("石墨烯 99999999999999999999".encode(), "impossible"),
        ("石\x00墨".encode(), "bad line"),
    ],
)
def test_a_bad_line_of_a_user_dictionary_is_named(segmenter, tmp_path, line, what):
    path = tmp_path / "user.txt"
    path.write_bytes("好词 3 n\n".encode() + line + b"\n")
    with pytest.raises(InputError, match=what) as caught:
        segmenter.load_userdict(path)
    assert caught.value.where == f"{path}:2"
    assert caught.value.hint


def test_frequencies_of_0_and_of_a_trillion_millions_are_what_jieba_makes_of_them(
    oracle, segmenter, tmp_path
):
    """0 deletes a word, 10**18 makes it win against anything; the total is exact beyond 2**63."""
    path = tmp_path / "user.txt"
    path.write_text(
        "清华大学 0\n来到北京 1000000000000000000\n" + "张三 1000000000000000000\n" * 12, encoding="utf-8"
    )
    oracle.load_userdict(str(path))
    segmenter.load_userdict(path)
    assert segmenter.total == oracle.total > 2**63
    assert segmenter.frequency("清华大学") == 0
    text = "我来到北京清华大学，张三也来到北京"
    assert segmenter.cut(text) == oracle.lcut(text)
    assert segmenter.cut(text)[:2] == ["我", "来到北京"]
    assert "清华大学" not in segmenter.cut(text)


@pytest.mark.parametrize("line", ["", "中国", "中国 x", "中国  5", "中国 -1", "中国 9223372036854775808"])
def test_a_bad_line_of_a_main_dictionary_is_named(tmp_path, line):
    path = tmp_path / "dict.txt"
    path.write_text(f"人民 5 n\n{line}\n人 3\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Segmenter(path)
    assert caught.value.where == f"{path}:2"


def test_missing_and_empty_dictionaries(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt"):
        Segmenter(tmp_path / "none.txt")
    with pytest.raises(InputError, match=r"none\.txt"):
        Segmenter(user_dictionary=tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_bytes(b"")
    empty = Segmenter(tmp_path / "empty.txt")
    with pytest.raises(InputError, match="no word"):
        empty.cut("中国")
    with pytest.raises(InputError, match="no word"):
        empty.add_word("中国")
    empty.add_word("中国", 3)
    assert empty.cut("中国人") == ["中国", "人"]


def test_what_can_match():
    assert all(map(is_matchable, ["中国", "C++", "3.5%", "x-y", "AT&T", "鿕"]))
    assert not any(map(is_matchable, ["", "Edu Trust", "二〇", "カ", "鿖", "𠀀", "１"]))


def test_a_damaged_or_unwritable_cache_is_rebuilt(tmp_path, monkeypatch):
    source = tmp_path / "dict.txt"
    source.write_text("中国 5\n人民 3\n", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert Segmenter(source).cut("中国人民") == ["中国", "人民"]
    cached = sorted((tmp_path / "cache" / "corpuskit" / "segment").glob("*.npy"))
    assert len(cached) == 2
    for path in cached:
        path.write_bytes(path.read_bytes()[:100])
    assert Segmenter(source).cut("中国人民") == ["中国", "人民"]
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="XDG_CACHE_HOME"):
        assert Segmenter(source).cut("中国人民") == ["中国", "人民"]


def test_adding_words_leaves_the_cache_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "dict.txt"
    source.write_text("中国 5\n人民 3\n", encoding="utf-8")
    ours = Segmenter(source)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.npy")}
    ours.add_word("国人", 10**6)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.npy")} == before
    assert Segmenter(source).frequency("国人") is None


def test_a_dictionary_loaded_from_the_cache_is_the_one_that_was_built(tmp_path, monkeypatch):
    Segmenter().cut("中国")  # compile
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = tables.load_dictionary(None)
    loaded = tables.load_dictionary(None)
    for before, after in zip(
        [*built.trie, built.frequencies], [*loaded.trie, loaded.frequencies], strict=True
    ):
        assert np.array_equal(before, after)
    assert (built.others, built.total) == (loaded.others, loaded.total)


def test_import_loads_neither_jieba_nor_torch():
    code = (
        "import sys; from corpuskit.segment import Segmenter; Segmenter().cut('中国')\n"
        "from corpuskit.segment import jieba; jieba.lcut('中国')\n"
        "assert not {'jieba', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hmm_tables_are_jiebas():
    table = dictionary.read_hmm()
    emit = jieba.finalseg.emit_P
    for i, state in enumerate("BMES"):
        assert table[i] == jieba.finalseg.start_P[state]
        for j, following in enumerate("BMES"):
            expected = jieba.finalseg.trans_P[state].get(following, jieba.finalseg.MIN_FLOAT)
            assert table[4 + 4 * i + j] == expected
        for code in range(0x4E00, 0x9FD6, 7):
            expected = emit[state].get(chr(code), jieba.finalseg.MIN_FLOAT)
            assert table[20 + 4 * (code - 0x4E00) + i] == expected


@given(
    st.dictionaries(st.text("a1%中国民鿕", min_size=1, max_size=6), st.integers(1, 99), max_size=80),
    st.booleans(),
)
def test_the_trie_is_a_dictionary_with_prefixes(words, backwards):
    order = np.arange(kernels.FIRST_HAN, kernels.LAST_HAN + 1)
    table = kernels.rank_table(order[::-1] if backwards else order)
    trie, weights = kernels.new_trie(table, 8, 2), np.zeros(kernels.RANKS + 2, np.int64)
    for word, weight in words.items():
        ranks = tables.ranks_of(word, table)
        while not kernels.has_room(trie.slots, trie.nodes, trie.header, ranks.size):
            trie, weights = tables.grown(trie, weights, "test")
        node = kernels.insert(trie.pairs, trie.slots, trie.nodes, trie.header, ranks, 0, ranks.size)
        weights[node] = weight
    known = {word[:i]: 0 for word in words for i in range(1, len(word) + 1)} | words
    assert trie.header[kernels.NODES] == kernels.RANKS + sum(len(word) > 1 for word in known)
    for candidate in known | dict.fromkeys(["a", "1", "a1", "中国", "国中a1", "鿕民"]):
        ranks = tables.ranks_of(candidate, table)
        node = int(kernels.lookup(trie.slots, ranks, 0, ranks.size))
        if len(candidate) > 1:
            assert (node > 0) == (candidate in known)
        assert int(weights[node]) == known.get(candidate, 0)
        begins = len(candidate) > 1 and kernels.begins_word(
            trie.pairs, np.uint64(ranks[0]), np.uint64(ranks[1])
        )
        assert not (node and len(candidate) > 1) or begins


def test_ranks_tell_what_words_are_made_of():
    table = tables.load_dictionary(None).trie.ranks
    for code in range(1 << 16):
        if not 0xD800 <= code < 0xE000:
            assert (table[code] > 0) == is_matchable(chr(code))
    assert sorted(table[table > 0].tolist()) == list(range(1, kernels.RANKS))
    assert table[ord("的")] < table[ord("鑫")]
    assert tables.ranks_of("a\U00010061𠀀", table).tolist() == [table[ord("a")], 0, 0]
