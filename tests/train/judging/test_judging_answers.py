"""BLEU, ROUGE, F1 and variety: the libraries' own results, and cases one can count by hand."""

import pytest

from corpuskit.errors import ConfigError, InputError
from corpuskit.train.judging import bleu, distinct_ngrams, exact_match, f1, lcs_f1, rouge

sacrebleu = pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")


def test_bleu_is_sacrebleu_with_its_chinese_tokeniser():
    predictions, references = ["今天天气很好。", "我去GPU机房"], ["今天的天气很好。", "我去 GPU 机房"]
    expected = sacrebleu.corpus_bleu(predictions, [references], tokenize="zh").score
    assert bleu(predictions, references) == expected
    assert bleu(references, references) == pytest.approx(100)


def test_rouge_counts_repeated_characters_as_often_as_they_occur():
    # prediction 今今天气 of 4, reference 今天气 of 3: 3 common unigrams, 天气 and 今天 of 3 and 2 bigrams
    score = rouge(["今今天气"], ["今天气"])
    assert score["rouge1"] == pytest.approx(2 * 3 / (4 + 3))
    assert score["rouge2"] == pytest.approx(2 * 2 / (3 + 2))
    assert score["rougeL"] == pytest.approx(2 * 3 / (4 + 3))


def test_rouge_by_words_follows_the_segmenter():
    # 北京 大学 | 北京大学: as characters alike, as words 北京大学 is one
    by_words = rouge(["我 来到 北京大学"], ["我来到北京大学"], unit="words")
    assert by_words["rouge1"] == 1.0
    assert rouge(["大学"], ["北京大学"], unit="words")["rouge1"] == 0.0
    assert rouge(["大学"], ["北京大学"])["rouge1"] == pytest.approx(4 / 6)


def test_exact_match_ignores_width_case_space_and_final_punctuation():
    assert exact_match(["ＧＰＴ 2。", "是的", "不是"], ["gpt2", "是的", "是"]) == pytest.approx(2 / 3)


def test_f1_of_bags_and_of_subsequences():
    assert f1(["北京北"], ["京北"]) == pytest.approx(2 * 2 / 5)
    assert lcs_f1(["北京北", "", ""], ["京北", "", "一"]) == [pytest.approx(2 * 2 / 5), 1.0, 0.0]


def test_distinct_ngrams():
    assert distinct_ngrams(["哈哈哈哈"], 2) == pytest.approx(1 / 3)
    assert distinct_ngrams(["春夏", "秋冬"], 2) == 1.0
    assert distinct_ngrams(["", "春"], 2) == 0.0


@pytest.mark.parametrize("measure", [bleu, rouge, f1, exact_match])
def test_numbers_must_match(measure):
    with pytest.raises(InputError, match="1 predictions for 2 references"):
        measure(["一"], ["一", "二"])
    with pytest.raises(InputError, match="nothing to judge"):
        measure([], [])


def test_unknown_unit():
    with pytest.raises(ConfigError, match="syllables"):
        rouge(["一"], ["一"], unit="syllables")
    with pytest.raises(ConfigError, match="at least 1"):
        distinct_ngrams(["一"], 0)
