"""The trained quality score: what it learns, what it must not learn, and that it says so."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from quality_texts import advert, batches, documents, story

from corpuskit.clean.classifier import KIND, QualityModel, QualityScore, logistic, ngram_bucket, ngrams
from corpuskit.clean.classifier_curve import TABLE_THRESHOLDS, curve_table, draw_curve
from corpuskit.clean.classifier_training import ClassifierConfig, train_quality_model
from corpuskit.clean.modelfile import load
from corpuskit.clean.scoring import load_model, score_lines
from corpuskit.errors import ArtifactError, ConfigError, InputError

pytest.importorskip("sklearn")

SMALL = ClassifierConfig(bits=14, min_characters=20)
STORIES, ADVERTS = documents(story, 200), documents(advert, 200)


@pytest.fixture(scope="module")
def model() -> QualityModel:
    return train_quality_model(batches(STORIES), batches(ADVERTS), SMALL)


@pytest.fixture(scope="module")
def model_path(model, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model") / "质量.ckq"
    model.save(path)
    return str(path)


def scores(model: QualityModel, *texts: str) -> np.ndarray:
    return model.scores(pa.array(texts, pa.large_string()))


def test_unseen_stories_score_high_and_unseen_adverts_low(model):
    assert scores(model, *documents(story, 50, seed=9)).min() > 0.8
    assert scores(model, *documents(advert, 50, seed=9)).max() < 0.2
    assert model.report["auc"] == pytest.approx(1.0)


def test_a_score_is_the_logistic_of_the_mean_weight(model):
    text = STORIES[0] + ADVERTS[0] + "ＡＢ\U00020000 12"
    weights = [float(model.weights[ngram_bucket(g, model.bits)]) for g in ngrams(text, model.max_order)]
    expected = logistic(np.mean(weights) + model.intercept)
    assert scores(model, text)[0] == pytest.approx(expected, rel=1e-6)  # float32 has 24 bits


def test_layout_width_and_numbers_change_nothing(model):
    text = "清晨的时候，老人在河边修理旧木船，共3只。"
    assert scores(model, text)[0] == scores(model, " 清晨的时候\n，老人在河边\u3000修理旧木船，共８只。\n")[0]


def test_slices_and_string_types_score_alike(model):
    texts = [*STORIES[:3], "", *ADVERTS[:3]]
    whole = scores(model, *texts)
    assert model.scores(pa.array(["x", *texts]).slice(1)).tolist() == whole.tolist()
    assert whole[3] == 0
    assert model.scores(pa.array([], pa.large_string())).shape == (0,)


def test_a_longer_document_of_the_same_text_scores_the_same(model):
    mixed = story(np.random.default_rng(3), 6) + advert(np.random.default_rng(3), 6)
    once, often = scores(model, mixed, mixed * 50)
    # Only the n-grams across the seam differ: at most max_order of some 800.
    assert once == pytest.approx(often, abs=0.02)


def test_length_alone_cannot_be_learned():
    """Good and raw are the same grammar, good ten times as long: what is held out stays unknown."""
    good, raw = documents(story, 300, length=40, seed=1), documents(story, 300, length=4, seed=2)
    report = train_quality_model(batches(good), batches(raw), SMALL).report
    # 30 against 30 held-out documents: a fair coin's AUC deviates by sqrt(61 / (12 * 30 * 30)) = 0.075
    assert abs(report["auc"] - 0.5) < 4 * 0.075


def test_the_order_and_the_batches_of_the_input_change_nothing(model):
    shuffled = random.Random(5)
    good, raw = STORIES.copy(), ADVERTS.copy()
    shuffled.shuffle(good)
    shuffled.shuffle(raw)
    again = train_quality_model(batches(good, rows=7), batches(raw, rows=200), SMALL)
    assert again.weights.tobytes() == model.weights.tobytes()
    assert (again.intercept, again.report) == (model.intercept, model.report)


def test_another_seed_holds_out_other_documents(model):
    other = train_quality_model(batches(STORIES), batches(ADVERTS), replace(SMALL, seed=1))
    assert other.report["training_fingerprint"] != model.report["training_fingerprint"]


def test_copies_count_once(model):
    copies = [f" {text}\n" for text in STORIES]
    again = train_quality_model(batches(STORIES + copies), batches(ADVERTS), SMALL)
    assert again.weights.tobytes() == model.weights.tobytes()
    assert again.report["good"]["sampled"] == len(set(STORIES))


def test_the_sample_is_bounded():
    config = replace(SMALL, max_documents=60, window_characters=50)
    report = train_quality_model(batches(STORIES), batches(ADVERTS), config).report
    assert (report["good"]["documents"], report["good"]["sampled"]) == (200, 60)
    assert report["good"]["train"] + report["good"]["calibration"] + report["good"]["held_out"] == 60


def test_the_curve_counts_what_each_threshold_keeps(model):
    report = model.report
    assert report["recall"][0] == report["raw_kept"][0] == 1.0
    assert report["precision"][0] == pytest.approx(report["held_out_good_share"])
    assert (np.diff(report["recall"]) <= 0).all() and (np.diff(report["raw_kept"]) <= 0).all()
    table = curve_table(report).splitlines()
    assert len(table) == 2 + len(TABLE_THRESHOLDS) + 1
    assert "AUC 1.0000" in table[0] and "sources" in table[-1]
    assert "sources" not in curve_table({**report, "auc": 0.9})


def test_the_picture_is_one_file_that_repeats(model, tmp_path):
    pytest.importorskip("matplotlib")
    draw_curve(model.report, tmp_path / "a.svg")
    draw_curve(model.report, tmp_path / "b.svg")
    content = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert content == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert "<svg" in content and "recall" in content
    assert 'href="http' not in content


@pytest.mark.parametrize("short", ["good", "raw"])
def test_too_little_text_is_refused_by_name(short):
    texts = {"good": STORIES, "raw": ADVERTS, short: documents(story, 20, seed=4) * 5}
    with pytest.raises(InputError, match=rf"{short} text: \d+ different documents .*50"):
        train_quality_model(batches(texts["good"]), batches(texts["raw"]), SMALL)


def test_an_empty_class_is_refused():
    with pytest.raises(InputError, match="raw text: 0 different documents"):
        train_quality_model(batches(STORIES), [], SMALL)


def test_the_same_text_as_good_and_raw_is_refused():
    with pytest.raises(InputError, match="are in both"):
        train_quality_model(batches(STORIES), batches(STORIES[:60] + ADVERTS), SMALL)


def test_a_single_shared_text_is_left_out(model):
    report = train_quality_model(batches(STORIES), batches([*ADVERTS, STORIES[0]]), SMALL).report
    assert report["shared"] == 1
    assert report["good"]["train"] + report["good"]["calibration"] + report["good"]["held_out"] == 199


def test_a_saved_model_scores_the_same_and_saves_the_same_bytes(model, model_path, tmp_path):
    loaded = QualityModel.load(model_path)
    assert loaded.report == model.report
    assert (scores(loaded, *STORIES[:5]) == scores(model, *STORIES[:5])).all()
    loaded.save(tmp_path / "again.ckq")
    with open(model_path, "rb") as file:
        assert (tmp_path / "again.ckq").read_bytes() == file.read()


def test_a_model_is_read_once_a_process_and_again_when_it_changes(model, tmp_path):
    path = tmp_path / "m.ckq"
    model.save(path)
    first = QualityModel.load(path)
    assert QualityModel.load(str(path)) is first
    replace(model, intercept=model.intercept + 1).save(path)
    assert QualityModel.load(path).intercept == model.intercept + 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "missing"])
def test_a_file_that_is_no_whole_model_is_refused(model_path, tmp_path, damage):
    path = tmp_path / "broken.ckq"
    with open(model_path, "rb") as file:
        content = bytearray(file.read())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "other":
        path.write_text("not a model", encoding="utf-8")
    with pytest.raises(ArtifactError):
        QualityModel.load(path)


def test_a_model_of_another_kind_or_a_newer_format_is_refused(model_path, monkeypatch):
    with pytest.raises(ArtifactError, match=f"is a {KIND}, not a something"):
        load(model_path, "something")
    monkeypatch.setattr("corpuskit.clean.modelfile.FORMAT", 0)
    with pytest.raises(ArtifactError, match="newer corpuskit"):
        load(model_path, KIND)


def test_the_step_drops_what_scores_low(model_path):
    kept, dropped = QualityScore(model_path)(batches([STORIES[0], ADVERTS[0]])[0])
    assert kept.column("text").to_pylist() == [STORIES[0]]
    assert dropped.column("reason").to_pylist() == ["clean/quality_score"]
    assert dropped.column("threshold").to_pylist() == [0.5]


def test_a_document_on_the_border_is_kept_and_one_below_it_is_dropped(model, model_path):
    border = STORIES[0][:60] + ADVERTS[0][:60]
    score = float(scores(model, border)[0])
    assert 0 < score < 1
    batch = batches([border])[0]
    assert QualityScore(model_path, min_score=score)(batch).dropped is None
    above = float(np.nextafter(score, 1))
    assert QualityScore(model_path, min_score=above)(batch).kept.num_rows == 0


def test_the_step_pickles_by_path(model_path):
    step = QualityScore(model_path, min_score=0.3)
    content = pickle.dumps(step)
    assert len(content) < 500 and pickle.loads(content) == step


@pytest.mark.parametrize("fields", [{"model": ""}, {"model": None}, {"model": "m", "min_score": 1.5}])
def test_a_step_without_a_model_or_with_an_impossible_score_is_refused(fields):
    with pytest.raises(ConfigError):
        QualityScore(**fields)


@pytest.mark.parametrize(
    "fields", [{"max_order": 5}, {"bits": 40}, {"max_documents": 1}, {"inverse_regularization": 0.0}]
)
def test_impossible_training_settings_are_refused(fields):
    with pytest.raises(ConfigError):
        ClassifierConfig(**fields)


def test_scores_are_listed_one_line_a_document(model_path):
    header, *lines = score_lines(load_model(model_path), batches([STORIES[0], "", ADVERTS[0]]))
    assert header == "score\tid\topening"
    values = [line.split("\t") for line in lines]
    assert [v[1] for v in values] == ["0", "1", "2"]
    assert float(values[0][0]) > 0.8 > 0.2 > float(values[2][0])
    assert values[0][2] == STORIES[0][:30]
