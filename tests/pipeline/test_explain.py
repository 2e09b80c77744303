"""One document explained: by position, by id, as a page with what decoding and extraction found."""

import json

import pytest

from corpuskit.clean import Cleaner
from corpuskit.documents import Quarantined
from corpuskit.errors import InputError
from corpuskit.pipeline.explain import explain_documents

PROSE = (
    "清晨的集市总是从一声吆喝开始的。卖豆腐的老人推着木车，从巷口慢慢走过来，车上的铜铃轻轻响着。"
    "几个赶早的邻居围了上去，有人要一块老豆腐，有人只想喝碗热豆浆。太阳升起来以后，菜摊也摆满了街边。"
)
CLEANER = Cleaner.preset("zh-web")


def write_rows(path, *texts):
    rows = [json.dumps({"id": f"own-{n}", "text": t}, ensure_ascii=False) for n, t in enumerate(texts)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def explain(path, **more):
    return list(explain_documents([path], CLEANER, **more))


def test_the_first_document_is_explained(tmp_path):
    path = write_rows(tmp_path / "in.jsonl", PROSE, "短。")
    (found,) = explain(path)
    assert found.explanation.before == PROSE and found.explanation.kept
    assert found.facts["source_id"] == "own-0"
    assert len(explain(path, limit=2)) == 2


def test_a_document_is_found_by_its_id_the_beginning_of_it_or_the_users_own(tmp_path):
    path = write_rows(tmp_path / "in.jsonl", PROSE, "短。")
    second = explain(path, limit=2)[1]
    for name in (second.id, second.id[:8], "own-1"):
        (found,) = explain(path, ids=[name])
        assert found.explanation.before == "短。"
        assert not found.explanation.kept
        failed = [rule.rule for rule in found.explanation.rules if rule.verdict == "drop"]
        assert "clean/min_characters" in failed


def test_an_unknown_id_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no document is called nothing") as caught:
        explain(write_rows(tmp_path / "in.jsonl", PROSE), ids=["nothing"])
    assert caught.value.hint


def test_a_page_comes_with_the_evidence_for_its_charset_and_how_its_text_was_found(tmp_path):
    body = "".join(f"<p>第{n}段：{PROSE}</p>" for n in range(4))
    html = (
        f"<html><head><meta charset='gb2312'><title>图书馆里的一天</title></head><body>{body}</body></html>"
    )
    (tmp_path / "page.html").write_bytes(html.encode("gb18030"))
    (found,) = explain(str(tmp_path / "page.html"))
    assert found.facts["charset"] == "gb18030"
    assert "meta:gb2312" in found.facts["charset evidence"]
    assert found.facts["title"] == "图书馆里的一天"
    assert found.facts["method"]
    assert "第0段" in found.explanation.before


def test_what_cannot_become_a_document_says_why(tmp_path):
    (tmp_path / "bad.jsonl").write_text("{broken\n")
    (found,) = explain(str(tmp_path / "bad.jsonl"))
    assert isinstance(found, Quarantined) and found.reason == "ingest/bad-json"
