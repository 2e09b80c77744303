"""Training: repeatable, early stopping, held-out vocabulary, and what it refuses."""

from __future__ import annotations

import io

import numpy as np
import pytest
import zstandard
from perceptron_cases import DICTIONARY, GOLD

from corpuskit.errors import ConfigError, InputError
from corpuskit.kernels import crf
from corpuskit.kernels import perceptron as kernels
from corpuskit.segment.perceptron_training import set_aside, train_segmenter
from corpuskit.segment.scoring import score_segmentation
from corpuskit.segment.training_text import encode, vocabulary_trie


def test_equal_input_and_seed_give_an_equal_model():
    first = train_segmenter(GOLD, dictionary=DICTIONARY, epochs=2, seed=3)
    again = train_segmenter(iter(GOLD), dictionary=list(reversed(DICTIONARY)), epochs=2, seed=3)
    other = train_segmenter(GOLD, dictionary=DICTIONARY, epochs=2, seed=4)
    assert first.model.to_bytes() == again.model.to_bytes()
    assert first.model.to_bytes() != other.model.to_bytes()


def test_reports_stop_when_nothing_gets_better():
    reports = []
    segmenter = train_segmenter(
        GOLD[::2], GOLD[1::2], dictionary=None, epochs=20, patience=2, progress=reports.append
    )
    best = max(range(len(reports)), key=lambda i: (reports[i].f1, -i))
    assert len(reports) == min(20, best + 3)
    assert reports[best].best and not any(report.best for report in reports[best + 1 :])
    assert [report.epoch for report in reports] == list(range(1, len(reports) + 1))
    assert all(report.loss >= 0 and report.final for report in reports)
    information = segmenter.information
    assert information["epochs"] == best + 1
    assert information["development_f1"] == reports[best].f1 > 0.8


def test_the_reported_f1_is_that_of_the_words():
    reports = []
    training, development = GOLD[:30], [*GOLD[30:], ["新", "词语", "研究"]]
    segmenter = train_segmenter(training, development, dictionary=None, epochs=1, progress=reports.append)
    vocabulary = {word for line in training for word in line}
    cut = [segmenter.cut("".join(line)) for line in development]
    score = score_segmentation(development, cut, vocabulary)
    # Rounding weights to int8 may change the odd word.
    assert reports[0].f1 == pytest.approx(score.f1, abs=0.02)
    assert reports[0].oov_recall == pytest.approx(score.oov_recall, abs=0.1)


def test_without_development_text_the_model_sees_all_lines():
    reports = []
    segmenter = train_segmenter(GOLD, dictionary=None, epochs=3, progress=reports.append)
    search = [report for report in reports if not report.final]
    final = [report for report in reports if report.final]
    assert search and all(report.f1 is not None for report in search)
    assert all(report.f1 is None for report in final)
    assert len(final) == segmenter.information["epochs"]
    words = set(segmenter.model.words.split("\n"))
    assert {"图书馆", "2012年", "T恤"} <= words


def test_what_is_set_aside_are_blocks_of_lines():
    lines = [[str(i)] for i in range(4_000)]
    training, development = set_aside(lines, seed=7)
    assert sorted(training + development, key=lambda line: int(line[0])) == lines
    numbers = np.array([int(line[0]) for line in development])
    assert numbers.size == 200
    assert (np.diff(numbers) == 1).sum() == 198
    assert set_aside(lines, seed=7)[1] == development != set_aside(lines, seed=8)[1]


def test_a_few_lines_are_enough_to_train():
    reports = []
    segmenter = train_segmenter(
        [["你好", "世界"]], dictionary=None, epochs=2, min_count=1, progress=reports.append
    )
    assert [report.f1 for report in reports] == [None, None]
    assert segmenter.cut("你好世界") == ["你好", "世界"]


def test_a_fold_does_not_see_its_own_words():
    lines = [["共有", f"独{'一二三四五六七八九十'[i]}"] for i in range(10)]
    text = encode(lines)
    trie = vocabulary_trie(lines, ["共有"])
    classes = np.full(65536, kernels.HAN, np.uint8)
    for folds, starts in ((np.arange(10), 0), (np.full(10, -1), 2)):
        size = text.codes.size
        states = np.zeros((size, kernels.STATES), np.uint8)
        crf.read_lines(
            text.codes, text.lines, folds, trie, classes.astype(np.uint16), classes,
            np.zeros(size, np.uint16), np.zeros(size, np.uint8), states, np.zeros(size, np.uint8),
            np.zeros((6, size), np.int32),
        )  # fmt: skip
        begins = text.lines[:, 0]
        assert (states[begins, :2] == 2).all()  # in other folds too, and in the dictionary
        assert (states[begins + 2, 0] == starts).all()
        assert (states[begins + 2, 1] == 0).all()


def test_encoded_lines():
    text = encode([["你好", "，", "世界上"], ["Ａ"]])
    assert text.lines.tolist() == [[3, 9], [12, 13]]
    assert text.pieces.tolist() == [[3, 6], [6, 9], [12, 13]]
    assert [*text.tags[3:9], text.tags[12]] == [0, 2, 3, 0, 1, 2, 3]
    assert text.codes[12] == ord("A")
    assert text.starts.tolist() == [3, 5, 6, 12]


def test_the_gradient_is_that_of_the_log_likelihood():
    """One step from zero weights: each weight moves by rate * g / sqrt(g² + eps), so by the sign of g.

    With all weights zero every allowed path of three characters is equally likely: BME, BES, SBE, SSS. So the
    tag B has expectation 1/2, 1/4, 0 at the three places, and so on; the gold path is BES.
    """
    templates = np.array([[0, 0, 0, 4]], np.int64)  # one feature: the place itself
    rows = np.arange(3, dtype=np.int32)[None]
    weights, squares = np.zeros(12, np.float32), np.zeros(12, np.float32)
    steps, step_squares = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    gold = np.array([0, 2, 3], np.uint8)
    loss = crf.train_epoch(
        weights, squares, steps, step_squares, rows, templates, np.array([[0, 3]]), gold, np.array([0]), 0.1
    )
    expected = np.array([[1 / 2, 0, 0, 1 / 2], [1 / 4, 1 / 4, 1 / 4, 1 / 4], [0, 0, 1 / 2, 1 / 2]])
    gradient = np.eye(4)[gold] - expected
    np.testing.assert_allclose(squares.reshape(3, 4), gradient**2, atol=1e-6)
    np.testing.assert_array_equal(np.sign(weights.reshape(3, 4)), np.sign(gradient))
    assert loss == pytest.approx(-np.log([1 / 2, 1 / 4, 1 / 2]).sum(), rel=1e-6)
    # Transitions: of the four paths one has B→M, one M→E, and so on; the gold path has B→E and E→S.
    expected_steps = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 2]]) / 4
    expected_steps[0, 2] = 2 / 4  # BES and SBE
    observed = np.zeros((4, 4))
    observed[0, 2] = observed[2, 3] = 1
    np.testing.assert_allclose(step_squares - 1, (observed - expected_steps) ** 2, atol=1e-6)


@pytest.mark.parametrize("lines", [[], [[]], [[""], []]])
def test_an_empty_text_is_refused(lines):
    with pytest.raises(InputError, match="training text: there is no word"):
        train_segmenter(lines)
    with pytest.raises(InputError, match="development text: there is no word"):
        train_segmenter(GOLD, lines, dictionary=None)


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ([["好"], ["a b"]], InputError, "line 2.*white space"),
        ([["好", "\u3000"]], InputError, "line 1.*white space"),
        ([["好"], ["a\ud800"]], InputError, "line 2.*U\\+D800"),
        (["你好 世界"], ConfigError, "line 1.*str"),
        ([[b"a"]], ConfigError, "line 1.*bytes"),
    ],
)
def test_lines_that_are_no_words_are_refused(lines, error, message):
    with pytest.raises(error, match=message):
        train_segmenter(lines, dictionary=None)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0}, {"patience": 0}, {"learning_rate": 0.0}, {"min_count": 0}, {"seed": -1},
        {"epochs": 1.5}, {"dictionary": ["a b"]}, {"dictionary": [3]},
    ],
)  # fmt: skip
def test_impossible_parameters(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        train_segmenter(GOLD, **{"dictionary": None} | options)


def test_a_bad_dictionary_names_the_line(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("好 3 n\n坏\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"words\.txt:2"):
        train_segmenter(GOLD, dictionary=path)
    with pytest.raises(InputError, match="nothing"):
        train_segmenter(GOLD, dictionary=tmp_path / "nothing")


@pytest.mark.slow
def test_f1_on_a_held_out_tenth_of_peoples_daily(shared_data):
    """The bar of 0.97, on blocks of 100 lines drawn with seed 1998."""
    with (shared_data / "seg" / "peoples-daily-1998-01.txt.zst").open("rb") as raw:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        lines = [line.split() for line in stream]
    blocks = -(-len(lines) // 100)
    chosen = set(np.random.default_rng(1998).permutation(blocks)[: blocks // 10].tolist())
    training = [line for i, line in enumerate(lines) if i // 100 not in chosen]
    test = [line for i, line in enumerate(lines) if i // 100 in chosen]
    segmenter = train_segmenter(training)
    score = score_segmentation(test, [segmenter.cut("".join(line)) for line in test])
    assert score.f1 >= 0.97
