"""New words: counts and entropies against a plain reference, and words that were put into a text."""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.errors import ConfigError, InputError
from corpuskit.segment import Segmenter
from corpuskit.segment.discovery import DiscoveryConfig, _cohesion, dictionary_lines, discover_words
from corpuskit.segment.ngrams import _SEPARATORS, Corpus

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U00031fff]")
TEXTS = st.lists(st.text("春天山水𠀀𠀁，。a1 \n", max_size=30), min_size=1, max_size=5)


def symbols(text: str) -> list[str]:
    """A text as letters and kinds of separators, a run of these as its first and its last."""

    def kind(character: str) -> str:
        if HAN.match(character):
            return character
        return next((f"s{i}" for i, group in enumerate(_SEPARATORS, 1) if character in group), "s14")

    out = ["s1"]
    run = 2
    for symbol in map(kind, text):
        letter = not symbol.startswith("s")
        if letter or run < 2:
            out.append(symbol)
        else:
            out[-1] = symbol
        run = 0 if letter else min(2, run + 1)
    return [*out, "s1"]


def reference(texts: list[str], segmenter: Segmenter, max_length: int, min_count: int):
    """Counts, totals, entropies, inside and aligned shares of every frequent n-gram, the obvious way."""
    grams: Counter[str] = Counter()
    totals: Counter[int] = Counter()
    sides = defaultdict(lambda: (Counter(), Counter()))
    aligned: Counter[str] = Counter()
    for text in texts:
        bounds, at = {0}, 0
        for word in segmenter.cut(text, hmm=False):
            at += len(word)
            bounds.add(at)
        # Which symbol stands where, with the boundary before it.
        stream = symbols(text)
        letters = [i for i, c in enumerate(text) if HAN.match(c)]
        places = iter(letters)
        edges = [True if s.startswith("s") else next(places) in bounds for s in stream]
        for i in range(len(stream)):
            for n in range(1, max_length + 1):
                piece = stream[i : i + n]
                if len(piece) < n or any(s.startswith("s") for s in piece):
                    break
                word = "".join(piece)
                grams[word] += 1
                totals[n] += 1
                sides[word][0][stream[i - 1]] += 1
                sides[word][1][stream[i + n]] += 1
                aligned[word] += edges[i] and edges[i + n]

    def entropy(counts: Counter) -> float:
        total = sum(counts.values())
        return -sum(c / total * math.log2(c / total) for c in counts.values())

    def inside(counts: Counter) -> int:
        return max((c for s, c in counts.items() if not s.startswith("s")), default=0)

    found = {}
    for word, count in grams.items():
        if len(word) < 2 or count < min_count:
            continue
        bits = min(
            math.log2(count / totals[len(word)])
            - math.log2(grams[word[:k]] / totals[k])
            - math.log2(grams[word[k:]] / totals[len(word) - k])
            for k in range(1, len(word))
        )
        left, right = sides[word]
        found[word] = (
            count, bits, entropy(left), entropy(right),
            max(inside(left), inside(right)) / count, aligned[word] / count,
        )  # fmt: skip
    return found, totals


def counted(texts: list[str], segmenter: Segmenter, max_length: int, min_count: int, memory: int = 64 << 20):
    found = {}
    with Corpus(memory, max_length) as corpus:
        for text in texts:
            corpus.add(pa.array([text], pa.large_string()), segmenter, 1)
        for n, levels, neighbours in corpus.levels(min_count):
            numbers = np.arange(levels[n].counts.size, dtype=np.int32)
            beside = neighbours(numbers)
            rows = zip(levels[n].counts.tolist(), _cohesion(levels, corpus.totals, n), *beside)
            found |= dict(zip(corpus.strings(levels, n, numbers), rows))
        return found, corpus.totals


@given(TEXTS, st.integers(1, 3))
@settings(max_examples=40)
def test_counts_and_entropies_are_those_of_the_reference(shared_segmenter_for_hypothesis, texts, min_count):
    segmenter = shared_segmenter_for_hypothesis
    expected, totals = reference(texts, segmenter, 4, min_count)
    found, found_totals = counted(texts, segmenter, 4, min_count)
    assert found.keys() == expected.keys()
    for n in range(1, 5):
        assert found_totals[n] == totals[n]
    for word, row in found.items():
        # A sum of k log2 k is rounded to 2**-20 for each neighbour: at most 30 of them here.
        assert row == pytest.approx(expected[word], abs=1e-4), word


@pytest.fixture(scope="session")
def shared_segmenter_for_hypothesis(shared_segmenter):
    return shared_segmenter


NOUNS = [
    "春天",
    "山水",
    "图书馆",
    "老师",
    "学生",
    "城市",
    "河流",
    "音乐",
    "历史",
    "飞机",
    "月亮",
    "石头",
    "朋友",
]
VERBS = [
    "喜欢",
    "看见",
    "离开",
    "保护",
    "研究",
    "记得",
    "寻找",
    "装饰",
    "听到",
    "经过",
    "描写",
    "赞美",
    "等待",
]
LINKS = ["", "", "着", "过", "这些", "美丽的", "我们的", "遥远", "古老", "所有", "每天", "安静"]
NEW = ["苔鲸", "霁砚舟"]
TOY = DiscoveryConfig(min_score=5.0)
"""So small a text gives small scores."""


def prose(seed: int = 0, sentences: int = 1500) -> list[str]:
    """Sentences of dictionary words with two words that no dictionary has."""
    choose = random.Random(seed)
    out = []
    for _ in range(sentences):
        subject, other = choose.choice([*NOUNS, *NEW]), choose.choice([*NOUNS, *NEW])
        start, link = choose.choice(LINKS), choose.choice(LINKS)
        out.append(start + subject + choose.choice(VERBS) + link + other + choose.choice(["。", "！", "，"]))
    return out


def words_of(table: pa.Table) -> list[str]:
    return table.column("word").to_pylist()


def test_words_that_were_put_in_are_found_first(shared_segmenter):
    table = discover_words(prose(), shared_segmenter, TOY)
    assert set(words_of(table)[:2]) == {"苔鲸", "霁砚舟"}
    assert not {"砚舟", "霁砚", "鲸了", "的苔", "图书馆"} & set(words_of(table))
    row = table.slice(0, 1).to_pylist()[0]
    assert row["count"] == sum(text.count(row["word"]) for text in prose())
    assert row["pieces"] == "|".join(shared_segmenter.cut(row["word"], hmm=False))


def test_the_dictionary_made_of_them_makes_them_words(tmp_path, shared_segmenter):
    import jieba

    table = discover_words(prose(), shared_segmenter, TOY)
    path = tmp_path / "words.txt"
    path.write_text("".join(line + "\n" for line in dictionary_lines(table)), encoding="utf-8")
    ours = Segmenter(user_dictionary=path)
    theirs = jieba.Tokenizer()
    theirs.tmp_dir = str(tmp_path)
    theirs.load_userdict(str(path))
    for cut in (ours.cut, theirs.lcut):
        assert "苔鲸" in cut("老师看见了苔鲸。") and "霁砚舟" in cut("霁砚舟喜欢音乐。")
    assert ours.frequency("苔鲸") == theirs.FREQ["苔鲸"]


def test_known_words_and_numbers_are_left_out(shared_segmenter):
    texts = [text + "二〇二四年三月五日第十二条" for text in prose()]
    segmenter = Segmenter()
    segmenter.add_word("苔鲸")
    found = words_of(discover_words(texts, segmenter, TOY))
    assert "霁砚舟" in found and "苔鲸" not in found
    assert not [word for word in found if re.search("[一二三四五十]", word)]


def test_order_batches_threads_and_memory_change_nothing(shared_segmenter):
    texts = prose()
    expected = discover_words(texts, shared_segmenter, TOY)
    mixed = texts[:]
    random.Random(1).shuffle(mixed)
    third = len(mixed) // 3
    arrays = [pa.array(mixed[:third]), pa.chunked_array([pa.array(mixed[third:-3]), pa.array(mixed[-3:])])]
    assert discover_words(arrays, shared_segmenter, TOY, threads=2).equals(expected)
    batch = pa.RecordBatch.from_pydict({"text": mixed})
    assert discover_words([batch], shared_segmenter, TOY).equals(expected)


def test_parts_and_files_on_disk_give_the_same_counts(shared_segmenter, tmp_path, monkeypatch):
    texts = prose(sentences=300)
    expected, _ = counted(texts, shared_segmenter, 4, 2)
    from corpuskit.segment import ngrams

    # Everything that depends on size, made to happen: 32 slots a table, files, and windows of 100 places.
    monkeypatch.setattr(ngrams, "_WINDOW", 100)
    monkeypatch.setattr(ngrams, "_LEAST_SLOTS", 16)
    monkeypatch.setattr(ngrams, "_SLOT_BYTES", 20)
    monkeypatch.setattr(Corpus, "_limited", lambda self, level, taken: level)
    found, _ = counted(texts, shared_segmenter, 4, 2, memory=4000)
    assert found == expected


def test_where_too_many_are_frequent_the_count_is_raised(shared_segmenter, monkeypatch):
    from corpuskit.segment import ngrams

    texts = prose(sentences=300)
    everything, _ = counted(texts, shared_segmenter, 3, 2)
    monkeypatch.setattr(ngrams, "_NGRAM_BYTES", (64 << 20) // 8 // 3 // 50)  # fifty n-grams a length
    few, _ = counted(texts, shared_segmenter, 3, 2)
    for n in (2, 3):
        kept = {word: row for word, row in few.items() if len(word) == n}
        assert 0 < len(kept) <= 50
        assert all(everything[word] == row for word, row in kept.items())
        least = min(row[0] for row in kept.values())
        more = [w for w, row in everything.items() if len(w) == n and row[0] > least]
        assert set(more) <= set(kept)


def test_compounds_are_words_of_the_dictionary_throughout(shared_segmenter):
    texts = [text.replace("苔鲸", "历史音乐") for text in prose()]
    assert "历史音乐" not in words_of(discover_words(texts, shared_segmenter, TOY))
    with_them = discover_words(texts, shared_segmenter, DiscoveryConfig(compounds=True, min_score=5.0))
    assert "历史音乐" in words_of(with_them)


@pytest.mark.parametrize(
    "wrong",
    [{"max_length": 1}, {"max_length": 13}, {"min_count": 1}, {"min_cohesion": -1.0}, {"max_inside": 1.5},
     {"memory_mb": 8}, {"max_words": 0}],
)  # fmt: skip
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DiscoveryConfig(**wrong)


@pytest.mark.parametrize("texts", [[], [""], ["abc 123。"], [pa.array([None, ""], pa.large_string())]])
def test_a_corpus_without_chinese_is_an_error(texts, shared_segmenter):
    with pytest.raises(InputError, match="no Chinese text"):
        discover_words(texts, shared_segmenter, TOY)


def test_a_lone_surrogate_is_an_error(shared_segmenter):
    with pytest.raises(InputError, match="surrogate"):
        discover_words(["春天\ud800"], shared_segmenter)


def test_few_texts_have_no_new_words(shared_segmenter):
    table = discover_words(["春天的时候"], shared_segmenter)
    assert table.num_rows == 0 and list(dictionary_lines(table)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"), [("laws", {"古树名木", "烟草专卖品"}), ("broadcast", {"尹锡悦", "雄安新区"})]
)
def test_real_corpora_give_words_that_a_reader_knows(shared_data, name, words):
    import corpuskit

    table = discover_words(corpuskit.read(shared_data / "text" / f"{name}.jsonl.zst"))
    assert words <= set(words_of(table)[:200])
