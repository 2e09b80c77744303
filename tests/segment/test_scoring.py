"""Scores against counts made by hand, and properties of the measures."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.errors import InputError
from corpuskit.segment.scoring import score_files, score_segmentation

TEXTS = st.text("的春天山水在𠀀a1，", max_size=12)


@st.composite
def cut_twice(draw):
    """The same text cut in two ways."""
    text = draw(TEXTS)

    def cut():
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=8)))
        words = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
        return [word for word in words if word]

    return cut(), cut()


def test_a_case_counted_by_hand():
    # gold spans (0,2) (2,3) (3,5) (5,7); system (0,2) (2,5) (5,7): two in common.
    score = score_segmentation(["北京 的 春天 来了"], ["北京 的春天 来了"], {"北京", "的", "来了"})
    assert (score.gold_words, score.words, score.correct) == (4, 3, 2)
    assert score.precision == 2 / 3
    assert score.recall == 2 / 4
    assert score.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))
    assert (score.oov_words, score.oov_correct) == (1, 0)  # 春天
    assert (score.oov_rate, score.oov_recall, score.iv_recall) == (0.25, 0.0, 2 / 3)
    assert (score.lines, score.characters) == (1, 7)


def test_equal_words_at_other_places_do_not_count():
    # What the bakeoffs' script, which aligns by diff, may count as two words.
    score = score_segmentation(["天天 天 天"], ["天 天天 天"])
    assert score.correct == 1


def test_an_unknown_word_that_is_found_counts_for_its_recall():
    score = score_segmentation([["山水", "在"], ["春"]], [["山水", "在"], ["春"]], {"在"})
    assert (score.oov_rate, score.oov_recall, score.iv_recall) == (2 / 3, 1.0, 1.0)


def test_without_unknown_words_there_is_no_recall_of_them():
    score = score_segmentation(["山水"], ["山水"], {"山水"})
    assert (score.oov_rate, score.oov_recall, score.iv_recall) == (0.0, None, 1.0)
    assert score_segmentation(["山水"], ["山水"]).oov_rate is None


def test_any_white_space_separates_and_blank_lines_count_for_nothing():
    score = score_segmentation(["山水　在", "", " \t"], ["山水\t在 ", "  ", ""])
    assert (score.lines, score.correct, score.f1) == (1, 2, 1.0)


@given(st.lists(cut_twice(), max_size=4))
def test_measures_agree_with_sets_of_spans(lines):
    gold, system = [a for a, _ in lines], [b for _, b in lines]

    def spans(cut):
        found = set()
        for number, words in enumerate(cut):
            at = 0
            for word in words:
                found.add((number, at, at + len(word)))
                at += len(word)
        return found

    score = score_segmentation(gold, system)
    true, made = spans(gold), spans(system)
    assert (score.gold_words, score.words, score.correct) == (len(true), len(made), len(true & made))
    swapped = score_segmentation(system, gold)
    assert (swapped.precision, swapped.recall, swapped.f1) == (score.recall, score.precision, score.f1)
    same = score_segmentation(gold, gold)
    assert same.f1 == (1.0 if true else 0.0)
    known = {word for words in gold for word in words[::2]}
    with_words = score_segmentation(gold, system, known)
    assert with_words.oov_words == sum(word not in known for words in gold for word in words)
    assert with_words.correct == score.correct


@given(cut_twice())
def test_strings_and_lists_of_words_score_alike(lines):
    gold, system = lines
    joined = score_segmentation([" ".join(gold)], [" ".join(system)])
    assert joined == score_segmentation([gold], [system])


@pytest.mark.parametrize(
    ("system", "where", "what"),
    [
        (["山 水", "春 大"], "line 2, character 2", "gold has '春天' where system has '春大'"),
        (["山 水", "春"], "line 2, character 2", "system has the end of the line"),
        (["山 水"], "line 2", "system ends after 1 lines"),
        (["山 水", "春 天", "在"], "line 3", "gold ends after 2 lines"),
    ],
)
def test_texts_that_differ_are_named_with_line_and_position(system, where, what):
    with pytest.raises(InputError) as caught:
        score_segmentation(["山水", "春天"], system)
    assert str(caught.value.where).startswith(where)
    assert what in caught.value.what


def test_files_may_be_compressed_and_have_other_line_ends(tmp_path):
    gold, out, train = tmp_path / "gold.txt", tmp_path / "out.txt.gz", tmp_path / "train.txt"
    gold.write_bytes("\ufeff山水 在\r\n春天\r\n".encode())
    out.write_bytes(gzip.compress("山水 在\n春 天".encode()))
    train.write_text("在 春天\n", encoding="utf-8")
    score = score_files(gold, out, train)
    assert (score.gold_words, score.words, score.correct, score.oov_words, score.oov_correct) == (
        3,
        4,
        2,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"\xe5\xb1\xb1\n\xff", "line 2, byte 1"), (b" \n", "no word")],
)
def test_a_bad_file_is_an_error_that_says_where(tmp_path, content, what):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=what):
        score_files(path, path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.txt"):
        score_files(tmp_path / "nothing.txt", tmp_path / "nothing.txt")
