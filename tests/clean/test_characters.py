"""The counting kernel against the same counts made with Python strings."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.characters import (
    CLOSING,
    STOPS,
    TERMINAL,
    CharacterClass,
    count_characters,
    script_specific,
    tables,
)

ALPHABET = "中国說们々〇のカ한aＡé1１，。！？…”』. \u3000\n\r\t\u200b€😀\U00020000Я\x00"


def reference(text: str, short_line: int):
    classes = np.zeros(len(CharacterClass), np.int64)
    for character in text:
        classes[tables().classes[ord(character)]] += 1
    lines = short = terminated = 0
    for line in text.split("\n"):
        visible = "".join(line.split())
        if not visible:
            continue
        lines += 1
        short += len(visible) < short_line
        bare = visible.rstrip("".join(set(CLOSING) - set(TERMINAL)))
        terminated += bare[-1:] != "" and bare[-1] in TERMINAL
    return classes.tolist(), [lines, short, terminated, sum(text.count(mark) for mark in STOPS)]


@given(st.lists(st.text(ALPHABET, max_size=40) | st.text(max_size=20), max_size=6), st.integers(0, 12))
def test_counts_equal_the_reference(documents, short_line):
    counts = count_characters(pa.array(documents, pa.large_string()), short_line=short_line)
    for row, text in enumerate(documents):
        assert (counts.classes[row].tolist(), counts.lines[row].tolist()) == reference(text, short_line)


def test_a_slice_of_an_array_counts_only_its_own_rows():
    whole = pa.array(["甲。", "乙乙\nab", "", "丙"])
    for part in (whole.slice(1, 2), whole.cast(pa.large_string()).slice(1, 2)):
        assert count_characters(part).han.tolist() == [2, 0]


def test_classes_of_well_known_characters():
    kinds = CharacterClass
    expected = {
        "中": kinds.HAN,
        "们": kinds.SIMPLIFIED,
        "們": kinds.TRADITIONAL,
        "后": kinds.HAN,
        "里": kinds.HAN,
        "の": kinds.KANA,
        "ー": kinds.KANA,
        "한": kinds.HANGUL,
        "a": kinds.LATIN,
        "Ａ": kinds.LATIN,
        "１": kinds.DIGIT,
        "，": kinds.PUNCTUATION,
        "「": kinds.PUNCTUATION,
        "\u3000": kinds.SPACE,
        "％": kinds.PUNCTUATION,
        "+": kinds.SYMBOL,
        "Я": kinds.LETTER,
        "\ue000": kinds.OTHER,
        "😀": kinds.SYMBOL,
        "\U00020000": kinds.HAN,
    }
    assert {c: CharacterClass(tables().classes[ord(c)]) for c in expected} == expected


def test_no_character_is_specific_to_both_scripts():
    simplified, traditional = script_specific()
    assert not set(simplified) & set(traditional)
    assert len(simplified) > 2000 and len(traditional) > 2000
