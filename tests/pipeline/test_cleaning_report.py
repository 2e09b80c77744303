"""The cleaning report: complete, self-contained, escaped, and the same however the run went."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from corpuskit.clean import Cleaner
from corpuskit.clean.examples import SurveyOptions
from corpuskit.clean.survey import Survey
from corpuskit.documents import StepResult, Tally, document_batch
from corpuskit.engine import JobResult, run
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.ingest import IngestJob, ReadOptions
from corpuskit.jobs import Entry, Workspace
from corpuskit.pipeline.cleaning_report import CleaningReport, make_report, read_surveys
from corpuskit.pipeline.demo.build import articles
from corpuskit.pipeline.rescue import rescue
from corpuskit.pipeline.rule_notes import note_for, rule_notes

CLEANER = Cleaner.preset("zh-web")
HOSTILE = "<script>alert('坏')</script><img src=http://evil.example/x.png>"


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """Three files: prose, what rules drop for many reasons, and lines that are no JSON."""
    root = tmp_path_factory.mktemp("crawl")
    prose = ["\n".join(article.paragraphs) for article in articles()]
    bad = [
        "太短了。",
        "",
        "The market opens in the morning, and the people of the town come to buy what they need. " * 8,
        "この町では毎朝市場が開かれ、人々は野菜や魚を買いに来ます。とても賑やかです。" * 6,
        "2024年1月1日 12345678 88.5% 99.1% 100.2% 3456 7890 " * 20,
        "今天天气很好，" + "★☆◆◇" * 80,
        "加微信领取优惠券，点击购买，限时秒杀，免费领取。" * 12,
        "首页\n新闻\n体育\n财经\n科技\n教育\n汽车\n房产\n" * 10,
        "更多内容请点击。\n" * 30,
        "他说他说他说他说他说他说他说他说。" * 30,
        prose[0] + HOSTILE,
        "联系手机13800138000。" + prose[1],
    ]
    texts = [*prose, *bad] * 2
    for name, chosen in (("a", texts[::2]), ("b", texts[1::2])):
        rows = [
            json.dumps({"text": f"第{n}篇。{text}", "title": f"标题<{n}>"}, ensure_ascii=False)
            for n, text in enumerate(chosen)
        ]
        (root / f"{name}.jsonl").write_text("\n".join([*rows, "{broken"]) + "\n", encoding="utf-8")
    (root / "c.jsonl").write_text('{"text": "  "}\n{"text": "' + HOSTILE + '"}\n', encoding="utf-8")
    return root


def job(crawl, **more):
    defaults = {"steps": (CLEANER,), "survey": SurveyOptions(), "task_bytes": 40_000, "part_bytes": 30_000}
    return IngestJob((str(crawl),), options=ReadOptions(batch_rows=10), **{**defaults, **more})


def page(result):
    return make_report("zh-web", ["crawl"], CLEANER, result).to_html()


@pytest.fixture(scope="module")
def result(crawl, tmp_path_factory):
    return run(job(crawl), tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def html(result):
    return page(result)


class Outline(HTMLParser):
    """Tags, ids, links and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.addresses.append(value)


def test_every_part_is_there(html, result):
    tally = result.tally
    assert len(tally.dropped) >= 6 and tally.quarantined == {"ingest/bad-json": 2}
    outline = Outline(html)
    assert {"funnel", "reasons", "kept", "settings"} <= set(outline.ids)
    for reason, count in {**tally.dropped, **tally.quarantined}.items():
        row = re.search(rf"{re.escape(reason)}(?:</a>)?.*?<td class=\"n\">([\d,]+) ", html, re.DOTALL)
        assert row and row[1] == f"{count:,}", reason
    survey = read_surveys(result.outputs("survey"))
    for name, step in survey.steps.items():
        for rule, measured in step.rules.items():
            section = html.split(f'id="rule-{name}-{rule}"')[1].split("</section>")[0]
            assert "<svg" in section
            if measured.dropped:
                assert f"dropped {measured.dropped:,} (" in section
                assert 'class="example dropped"' in section
            if measured.threshold is not None:
                assert 'class="limit' in section
    assert html.count('class="example kept"') == 3
    assert 'class="example just_kept"' in html
    assert "quality.min_characters" in html


def test_links_lead_to_sections_of_the_page(html):
    outline = Outline(html)
    assert len(outline.ids) == len(set(outline.ids))
    assert {address.removeprefix("#") for address in outline.addresses} <= set(outline.ids)


def test_the_page_loads_nothing(html):
    outline = Outline(html)
    assert all(address.startswith("#") for address in outline.addresses)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(outline.tags)
    assert "@import" not in html and "url(" not in html


def test_texts_and_titles_are_escaped(html):
    assert "<script" not in html and "<img" not in html
    assert "&lt;script&gt;" in html
    assert "标题&lt;" in html


def test_personal_data_is_masked(html):
    assert "13800138000" not in html


def test_the_page_does_not_depend_on_workers(crawl, html, tmp_path):
    assert page(run(job(crawl), tmp_path, workers=2)) == html


def test_the_page_does_not_depend_on_tasks_or_parts(crawl, html, tmp_path):
    assert page(run(job(crawl, task_bytes=1 << 30, part_bytes=1 << 30), tmp_path)) == html


class Killed(BaseException):
    pass


class KillAt:
    """Passes batches through until the call of this number."""

    def __init__(self, call):
        self.call, self.calls = call, 0

    def __call__(self, batch):
        if self.calls == self.call:
            raise Killed
        self.calls += 1
        return StepResult(batch, None)


def test_the_page_does_not_depend_on_being_killed(crawl, html, tmp_path):
    def work(directory, last_step):
        (task,) = job(crawl, steps=(CLEANER, last_step), task_bytes=1 << 30).plan("documents", {})
        checkpoint = directory / "checkpoint.json"
        outcome = task.function(task, Workspace(directory, checkpoint, "key", task.name))
        return JobResult("ingest", {"documents": (Entry(task.name, "key", outcome),)}, 1, 0)

    never = KillAt(-1)
    assert page(work(tmp_path / "whole", never)) == html
    assert never.calls > 6
    for call in range(1, never.calls, 3):
        with pytest.raises(Killed):
            work(tmp_path / str(call), KillAt(call))
        assert page(work(tmp_path / str(call), never)) == html


def test_a_run_on_nothing_has_a_page(tmp_path):
    (tmp_path / "none.jsonl").write_text("\n")
    result = run(
        IngestJob((str(tmp_path / "none.jsonl"),), (CLEANER,), survey=SurveyOptions()), tmp_path / "o"
    )
    html = page(result)
    assert "Nothing was dropped." in html and "No document was kept." in html


def test_a_run_that_quarantines_everything_has_a_page(tmp_path):
    (tmp_path / "bad.jsonl").write_text("{\n{\n")
    result = run(
        IngestJob((str(tmp_path / "bad.jsonl"),), (CLEANER,), survey=SurveyOptions()), tmp_path / "o"
    )
    assert "ingest/bad-json" in page(result)


def test_dropped_text_that_is_not_stored_is_not_shown(crawl, tmp_path):
    html = page(run(job(crawl, dropped_text="none"), tmp_path))
    assert "The market opens" not in html and "text not stored" in html


def test_rescued_documents_stand_beside_their_rule(crawl, tmp_path):
    result = run(job(crawl), tmp_path / "out")
    rescued = tmp_path / "rescued.arrow"
    number = rescue(tmp_path / "out", ["clean/language"], rescued)
    assert number == result.tally.dropped["clean/language"]
    html = make_report("zh-web", ["crawl"], CLEANER, result, [rescued]).to_html()
    section = html.split('id="rule-language-language"')[1].split("</section>")[0]
    assert f"Rescued ({number})" in section and 'class="example rescued"' in section
    with pytest.raises(InputError, match="not a file of rescued documents"):
        make_report("zh-web", ["crawl"], CLEANER, result, [crawl / "a.jsonl"])


def test_the_size_is_bounded_by_the_rules_and_not_by_the_input(html):
    long = Survey()
    for start in range(0, 300, 100):
        texts = [f"{n}" + "很长的一段话，没有尽头。" * 500 for n in range(start, start + 100)]
        long.run(CLEANER, document_batch([f"id{n}" for n in range(start, start + 100)], texts))
    report = CleaningReport("t", ["x"], CLEANER, Tally(300, 300), long).to_html()
    assert len(report.encode()) < 2_000_000 and len(html.encode()) < 2_000_000


def test_a_damaged_survey_is_a_clear_error(crawl, tmp_path):
    result = run(job(crawl), tmp_path)
    (first, *_) = result.outputs("survey")
    Path(first.path).write_text("[]")
    with pytest.raises(ArtifactError, match="not a survey"):
        read_surveys(result.outputs("survey"))


def test_a_survey_needs_one_cleaner(crawl):
    for steps in ((), (CLEANER, CLEANER)):
        with pytest.raises(ConfigError) as caught:
            job(crawl, steps=steps)
        assert caught.value.where == "survey"


def test_rules_are_described_with_the_field_that_sets_them(result):
    """The page quotes the steps' own documentation, so rules must be described there."""
    notes = rule_notes(CLEANER)
    survey = read_surveys(result.outputs("survey"))
    for name in ("quality", "repetition", "spam"):
        for rule, measured in survey.steps[name].rules.items():
            note = note_for(notes, name, rule, measured.threshold, CLEANER)
            assert note is not None, f"{name}: {rule} is not described in the step's Attributes"
            step_name, _, field = note.field.partition(".")
            assert hasattr(getattr(CLEANER, step_name), field)
    assert note_for(notes, "quality", "min_characters", 50.0, CLEANER).field == "quality.min_characters"
    assert note_for(notes, "quality", "nothing", 1.0, CLEANER) is None
    assert "--set quality.min_han_share=" in CleaningReport("t", [], CLEANER, result.tally, survey).to_html()
