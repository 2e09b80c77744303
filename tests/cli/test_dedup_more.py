"""`corpuskit decontaminate` and `corpuskit dedup-substrings`."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from corpuskit.cli.dedup_more import decontaminate, dedup_substrings
from corpuskit.errors import ConfigError

QUESTION = "把一块冰放进装满水的杯子里，冰块完全融化以后，杯子里的水会不会从杯口溢出来呢？"
NOTICE = (
    "本店所售糕点均为当日现做，请在常温下保存并于次日中午以前食用完毕；"
    "如需邮寄请提前三天预约，运费由收件人自行承担。"
)
TEXTS = [
    f"老师在黑板上写下今天的问题。{QUESTION}同学们举起手来。",
    f"绿豆糕分成红豆沙和原味两种口感，前一种更甜一点，后一种豆香浓，配一壶热茶正好，小孩老人都喜欢。{NOTICE}",
    f"桂花酒酿用的是去年秋天在山脚下收来的干桂花，先用温水泡开，再拌进蒸好的糯米里，盖上棉被等上三天。{NOTICE}",
]


@pytest.fixture
def inputs(tmp_path):
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), "utf-8")
    (tmp_path / "eval.jsonl").write_text(json.dumps({"q": QUESTION, "n": "无关"}), "utf-8")
    return tmp_path


def rows(directory: Path) -> list[dict]:
    found = []
    for path in sorted(directory.glob("*.arrow")):
        with pa.ipc.open_file(str(path)) as reader:
            found += reader.read_all().to_pylist()
    return found


def test_decontaminate_removes_or_marks_and_says_what_it_looked_for(inputs, capsys):
    train, against = [str(inputs / "train.jsonl")], [str(inputs / "eval.jsonl")]
    decontaminate(train, against, inputs / "out", workers=1)
    printed = capsys.readouterr().out
    assert "looked for 1 of 1 items" in printed and "kept 2 of 3" in printed
    (dropped,) = rows(inputs / "out" / "contamination" / "apply" / "dropped")
    assert dropped["text"] == TEXTS[0] and dropped["reason"] == "dedup/contaminated"
    decontaminate(train, against, inputs / "marked", mark=True, field=["q"], workers=1)
    assert "kept 3 of 3" in capsys.readouterr().out
    marks = [row["contamination"] for row in rows(inputs / "marked" / "contamination" / "apply" / "kept")]
    assert [len(mark) for mark in marks] == [1, 0, 0]
    with pytest.raises(ConfigError, match="text_unit"):
        decontaminate(train, against, inputs / "wrong", text_unit="word", workers=1)


def test_what_a_background_has_does_not_count(inputs, capsys):
    (inputs / "background.txt").write_text(QUESTION, "utf-8")
    train, against = [str(inputs / "train.jsonl")], [str(inputs / "eval.jsonl")]
    background = [str(inputs / "background.txt")]
    decontaminate(train, against, inputs / "out", background=background, workers=1)
    printed = capsys.readouterr().out
    assert "looked for 0 of 1 items (0 too short, 1 too common)" in printed and "kept 3 of 3" in printed


def test_dedup_substrings_removes_all_but_the_first(inputs, capsys):
    dedup_substrings([str(inputs / "train.jsonl")], inputs / "out", max_fraction=0.6, workers=1)
    printed = capsys.readouterr().out
    assert "spans removed: 1" in printed and "kept 3 of 3" in printed
    kept = [row["text"] for row in rows(inputs / "out" / "repeated-substrings" / "apply" / "kept")]
    assert sum(NOTICE in text for text in kept) == 1
    dedup_substrings([str(inputs / "train.jsonl")], inputs / "marked", mark=True, workers=1)
    kept = [row["text"] for row in rows(inputs / "marked" / "repeated-substrings" / "apply" / "kept")]
    assert kept == TEXTS
    with pytest.raises(ConfigError, match="boundary"):
        dedup_substrings([str(inputs / "train.jsonl")], inputs / "wrong", boundary="word", workers=1)
