"""The pCLUE score in both readings."""

import pytest

from corpuskit.errors import ConfigError, InputError
from corpuskit.train.judging import score_pclue

rouge = pytest.importorskip("rouge")
pytest.importorskip("rouge_score")

TARGETS = [
    {"target": "是的", "type": "classify"},
    {"target": "他", "type": "anaphora_resolution"},
    {"target": "未知", "type": "nli"},
    {"target": "高高的山，绿绿的水", "type": "generate"},
    {"target": "一九四九年", "type": "mrc"},
]


def test_parts_and_mean():
    answers = ["是的", "她", "未知", "高高的山，绿绿的水", "一九四八年"]
    found = score_pclue(answers, TARGETS)
    assert (found.classify, found.nli, found.generate) == (0.5, 1.0, 1.0)
    assert (found.mrc_exact_match, found.mrc_f1) == (0.0, pytest.approx(0.8))
    assert found.score == pytest.approx((0.5 + 1 + 1 + 0.4) / 4)
    assert found.counts == {"classify": 2, "nli": 1, "generate": 1, "mrc": 1}


def test_published_replaces_the_comma_in_targets_only_and_counts_characters_as_sets():
    answers = ["是的", "他", "未知", "高的山，绿的水", "一九四九年"]
    published = score_pclue(answers, TARGETS, mode="published")
    expected = rouge.Rouge().get_scores(" ".join("高的山，绿的水"), " ".join("高高的山,绿绿的水"))
    assert published.generate == pytest.approx(expected[0]["rouge-l"]["f"])
    listed = [{"target": ["北京", "上海"], "type": "classify"}]
    # keywords are joined after the replacement, so that comma stays
    assert score_pclue(["北京，上海"], listed, mode="published").score == 1.0
    assert (
        score_pclue(["北京，上海"], [{"target": "北京，上海", "type": "nli"}], mode="published").score == 0.0
    )
    assert score_pclue(["北京，上海"], [{"target": "北京，上海", "type": "nli"}]).score == 1.0


def test_an_empty_answer_is_0_in_strict_and_stops_the_published_script():
    generate = [TARGETS[3]]
    assert score_pclue([""], generate).score == 0.0
    with pytest.raises(InputError, match="stops here"):
        score_pclue([""], generate, mode="published")


def test_perfect_answers_are_1_in_strict():
    answers = ["，".join(t) if isinstance(t := record["target"], list) else t for record in TARGETS]
    assert score_pclue(answers, TARGETS).score == 1.0


@pytest.mark.parametrize(
    ("record", "message"),
    [({"target": "是"}, "not a pCLUE record"), ({"target": "是", "type": "poem"}, "not a pCLUE record")],
)
def test_bad_records(record, message):
    with pytest.raises(InputError, match=message) as caught:
        score_pclue(["是"], [record])
    assert caught.value.where == "target 1"


def test_bad_arguments():
    with pytest.raises(ConfigError, match="loose"):
        score_pclue(["是"], TARGETS[:1], mode="loose")
    with pytest.raises(InputError, match="2 predictions for 1 targets"):
        score_pclue(["是", "否"], TARGETS[:1])
    with pytest.raises(InputError, match="0 predictions for 1"):
        score_pclue([], TARGETS[:1], mode="published")
