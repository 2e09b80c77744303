"""Characters with tags: the words they spell, and errors that name file and line."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.errors import InputError
from corpuskit.segment.bmes import read_bmes, words_of_tags

words = st.lists(st.text(st.sampled_from("我们研究a9，"), min_size=1, max_size=4), min_size=1, max_size=5)


def tags_of(sentence: list[str]) -> str:
    return "".join("S" if len(word) == 1 else "B" + "M" * (len(word) - 2) + "E" for word in sentence)


@given(words)
def test_words_of_tags(sentence):
    assert words_of_tags("".join(sentence), tags_of(sentence)) == sentence


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_file_of_sentences(tmp_path, compress):
    path = tmp_path / "gold"
    path.write_bytes(compress("我 S\n研\tv\tB\n究\tv\tE\n\n\n好 S\r\n".encode()))
    assert list(read_bmes(path)) == [["我", "研究"], ["好"]]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("我 S\n们 I\n", 2, "'I' is no tag"),
        ("我 s\n", 1, "'s' is no tag"),
        ("我 M\n", 1, "cannot begin with M"),
        ("我 B\n们 S\n", 2, "S cannot follow B"),
        ("我 B\n\n们 S\n", 1, "has no end"),
        ("好 S\n我 B\n们 M\n", 3, "has no end"),
        ("我们 S\n", 1, "not a character and its tag"),
        ("我\n", 1, "not a character and its tag"),
    ],
)
def test_tags_that_are_not_bmes(tmp_path, content, line, message):
    path = tmp_path / "gold.bmes"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=f"gold.bmes: line {line}: .*{message}"):
        list(read_bmes(path))


def test_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "gold.bmes"
    path.write_bytes(b"\xe6\x88\x91 S\n\xff S\n")
    with pytest.raises(InputError, match="line 2"):
        list(read_bmes(path))


def test_as_many_tags_as_characters():
    with pytest.raises(InputError, match="2 characters have 1 tags"):
        words_of_tags("我们", "B")
