"""Evidence of language and script is counted as plain Python counts it."""

import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.script_evidence import Evidence, count_evidence, tables

ANY_TEXT = st.lists(
    st.sampled_from([*"the cat 中文國国働嘅的们們かの，1é ạＡ가я\n\U00020000'"])
    | st.characters(codec="utf-8"),
    max_size=40,
).map("".join)


def symbol(character: str) -> int:
    code = ord(character)
    return int(tables().letters[code]) if code < 65536 else 0


def reference(text: str) -> tuple[list[int], list[int]]:
    """Counts by class, and the sums of the trigrams of every Latin word."""
    classes, _, trigrams = tables()
    counts = [0] * len(Evidence)
    for character in text:
        counts[classes[ord(character)]] += 1
    sums = np.zeros(trigrams.shape[1], np.int64)
    words = "".join(chr(symbol(c)) if symbol(c) else " " for c in text).split(" ")
    for word in filter(None, words):
        padded = [0, *map(ord, word), 0]
        for first, second, third in zip(padded, padded[1:], padded[2:]):
            sums += trigrams[(first * 28 + second) * 28 + third]
    return counts, sums.tolist()


@given(st.lists(ANY_TEXT, max_size=5))
def test_counts_and_sums_equal_the_reference(texts):
    found = count_evidence(pa.array(texts, pa.large_string()))
    assert found.classes.tolist() == [reference(text)[0] for text in texts]
    assert found.latin.tolist() == [reference(text)[1] for text in texts]


def test_a_slice_is_counted_alone():
    array = pa.array(["the", "中文", "かな"], pa.large_string())
    assert count_evidence(array[1:2]).classes.tolist() == [reference("中文")[0]]


def test_letters_fold_case_and_width_and_keep_accents_apart():
    assert [symbol(c) for c in "aZ"] == [1, 26] == [symbol("Ａ"), symbol("ｚ")]
    assert {symbol(c) for c in "éßłạ"} == {27}
    assert {symbol(c) for c in "中я1 '"} == {0}


def test_classes_follow_the_standards_they_come_from():
    classes = tables().classes
    kinds = {
        Evidence.SIMPLIFIED: "书语飞",
        Evidence.SIMPLIFIED_OR_JAPANESE: "国会学",
        Evidence.TRADITIONAL: "國會學",
        Evidence.TRADITIONAL_OR_JAPANESE: "車長議",
        Evidence.LEANS_SIMPLIFIED: "后里几",
        Evidence.LEANS_TRADITIONAL: "乾於",
        Evidence.JAPANESE: "働込図々",
        Evidence.HAN: "山水人",
        Evidence.KANA: "かカ",
        Evidence.HANGUL: "가ㄱ",
        Evidence.LATIN: "aéＡ",
        Evidence.LETTER: "яα",
        Evidence.NONE: "1。 \n😀",
    }
    for kind, characters in kinds.items():
        assert {c: classes[ord(c)] for c in characters} == dict.fromkeys(characters, kind), kind.name
    assert not classes[[c for c in range(0xD800, 0xE000)]].any()
    assert all(classes[code] == Evidence.HAN for code in (0x20000, 0x3400) if unicodedata.name(chr(code)))
