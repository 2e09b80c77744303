"""Main text on the pages that were marked line by line (see `extraction_marks`), and the marks themselves."""

import pytest
from extraction_marks import f1, gold_text, line_hash, marked_pages, page_lines

from corpuskit.clean import decode, extract

MIN_MEAN_F1 = 0.955
"""Bound on the mean F1 over character 4-grams."""


def test_lines_break_at_blocks_and_br_and_inside_pre():
    html = "<div>甲<b>乙</b><p>丙\n丁<br>戊</p>己</div><script>不</script><pre>a = 1\nb = 2</pre><li>庚"
    assert page_lines(html) == ["甲乙", "丙 丁", "戊", "己", "a = 1", "b = 2", "庚"]


def test_gold_is_the_marked_lines_in_their_order():
    html = "<p>标题</p><p>第一 段。</p><p>广告</p><p>第二段。</p>"
    assert gold_text(html, [line_hash("第一段。"), line_hash("第二段。")]) == "第一 段。\n第二段。"


def test_f1_is_one_for_equal_text_and_zero_for_other_text():
    assert f1("清晨的集市", "清晨 的\n集市") == 1.0
    assert f1("清晨的集市", "石板路上的水痕") == 0.0


@pytest.mark.slow
def test_mean_f1_on_marked_pages(shared_data):
    scores = {name: f1(extract(decode(raw).text).text, gold) for name, raw, gold in marked_pages(shared_data)}
    mean = sum(scores.values()) / len(scores)
    lowest = sorted(scores.items(), key=lambda item: item[1])[:5]
    print(f"mean F1 {mean:.4f} on {len(scores)} pages; lowest: {lowest}")
    assert mean >= MIN_MEAN_F1, lowest
