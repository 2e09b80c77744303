"""The lists of terms, the user's files, and how terms match."""

import pyarrow as pa
import pytest

from corpuskit.clean.statistics import measure
from corpuskit.clean.terms import read_terms, term_matcher
from corpuskit.errors import InputError
from corpuskit.kernels.terms import LISTED, SPAM


def hits(text: str, terms: tuple[str, ...], category: int = SPAM) -> int:
    return int(measure(pa.array([text]), term_matcher(terms)).terms[0, category])


@pytest.mark.parametrize(
    "text,terms,expected",
    [
        ("加微信加微信", ("加微信",), 2),
        ("加微信领奖", ("加微信", "加微信领奖", "领奖"), 1),
        ("哈哈哈哈哈", ("哈哈",), 2),
        ("Vip会员vip", ("VIP",), 2),
        ("vipx xvip vip1", ("vip",), 0),
        ("看vip，", ("vip",), 1),
        ("a\U00020000b", ("\U00020000",), 1),
        ("甲乙", ("甲乙丙",), 0),
        ("甲甲乙", ("甲乙",), 1),
        ("", ("甲",), 0),
    ],
)
def test_terms_match_longest_first_without_overlap_and_as_whole_ascii_words(text, terms, expected):
    assert hits(text, terms) == expected


def test_many_terms_are_all_found():
    terms = tuple(f"词{i}号" for i in range(5000))
    assert hits("，".join(terms), terms) == 5000
    assert hits("词5000号", terms) == 0


def test_a_file_of_terms_is_read_line_by_line(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("\ufeff# 注释\n违禁词\n\n  Bad Word \r\n", encoding="utf-8")
    assert read_terms(str(path)) == ["违禁词", "Bad Word"]
    matcher = term_matcher((), (str(path),))
    found = measure(pa.array(["这是违禁词，还有bad word。"]), matcher)
    assert found.terms[0, LISTED] == 2 and found.terms[0, SPAM] == 0


@pytest.mark.parametrize("content,line", [(b"ok\n\xff\xfe\n", 2), ("词\n\nx\n".encode(), 3)])
def test_a_bad_line_is_named(tmp_path, content, line):
    path = tmp_path / "terms.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"terms.txt:{line}"):
        read_terms(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="/none"):
        term_matcher((), (str(tmp_path / "none.txt"),))
