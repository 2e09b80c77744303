"""The language model equals its plain reference, its probabilities sum to one, and the step obeys it."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kneser_ney_reference import ReferenceModel
from quality_texts import advert, batches, documents, story

from corpuskit.clean.folding import fold
from corpuskit.clean.kneser_ney import count_levels, discounts, estimate
from corpuskit.clean.perplexity import NUM_UNKNOWN, Perplexity, PerplexityModel
from corpuskit.clean.perplexity_training import (
    LanguageModelConfig,
    choose_vocabulary,
    cost_steps,
    estimate_model,
    max_base,
    min_counts,
    train_perplexity_model,
)
from corpuskit.clean.sampling import as_array
from corpuskit.clean.scoring import describe, load_model, score_lines
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.kernels.charlm import COST_STEPS_PER_BIT

STORIES = documents(story, 150, length=6)
CONFIGS = [
    LanguageModelConfig(order=order, prune=prune, min_count=3)
    for order, prune in ((2, 1), (3, 2), (5, 1), (5, 2), (6, 3))
]


def step_bits(order: int) -> float:
    """Largest error of one character's stored cost: up to `order` numbers, each rounded to 1/1024 bit."""
    return order * 0.5 / COST_STEPS_PER_BIT


class Pair:
    """A trained model and the reference on the same corpus."""

    def __init__(self, texts: list[str], config: LanguageModelConfig) -> None:
        text = as_array(texts)
        self.vocabulary = choose_vocabulary(text, config)
        self.model = estimate_model(text, self.vocabulary, config)
        self.ids = {chr(code): i for i, code in enumerate(self.vocabulary, 1)}
        self.reference = ReferenceModel(
            [self.encode(t) for t in texts], self.model.base, config.order, min_counts(config)
        )

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.ids.get(c, 0) for c in fold(text))

    def reference_bits(self, text: str) -> float:
        ids = self.encode(text)
        bits = -sum(
            np.log2(self.reference.probability(ids[max(0, i - self.model.order + 1) : i], ids[i]))
            for i in range(len(ids))
        )
        return float(bits + ids.count(0) * np.log2(NUM_UNKNOWN))

    def bits(self, *texts: str) -> list[float]:
        return self.model.costs(as_array(list(texts)))[0].tolist()


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda c: f"order{c.order}-prune{c.prune}")
def pair(request) -> Pair:
    rare = ["其中𠀀有一个极少见的字。", "Ａ ｂ c 2024", "短"]
    return Pair(STORIES + documents(advert, 40) + rare, request.param)


def test_unseen_text_costs_what_the_reference_says(pair):
    unseen = [
        *documents(story, 5, seed=7), *documents(advert, 5, seed=7), "一个没有见过的句子😀𠀀𠀁。",
        STORIES[0] * 20, "", "清", "清晨", "\n 清\u3000晨，ABC"
    ]  # fmt: skip
    for text, found in zip(unseen, pair.bits(*unseen)):
        limit = len(fold(text)) * step_bits(pair.model.order) + 1e-5 * len(text)
        assert found == pytest.approx(pair.reference_bits(text), abs=limit), text[:20]


@settings(max_examples=40)
@given(
    st.lists(
        st.sampled_from([*"清晨的时候，老人在河边。a1", "\U00020000", "\n", "木船", "包邮"]), max_size=30
    )
)
def test_made_text_costs_what_the_reference_says(pair, pieces):
    text = "".join(pieces)
    limit = len(text) * (step_bits(pair.model.order) + 1e-5) + 1e-9
    assert pair.bits(text)[0] == pytest.approx(pair.reference_bits(text), abs=limit)


def test_probabilities_sum_to_one_in_every_context(pair):
    rng = random.Random(1)
    corpus = "".join(STORIES)
    known = [chr(code) for code in pair.vocabulary]
    contexts = ["", "\U0001f600", "河边河边河", "𠀀𠀁"]
    contexts += [corpus[(i := rng.randrange(len(corpus) - 6)) : i + rng.randrange(1, 6)] for _ in range(8)]
    contexts += ["".join(rng.choices(known, k=5)) for _ in range(8)]
    for context in contexts:
        base, *extended = pair.bits(context, *(context + c for c in [*known, "\U0001f680"]))
        probabilities = np.exp2(base - np.array(extended))
        probabilities[-1] *= NUM_UNKNOWN  # the rocket stands for all unknown characters alike
        # each is off by at most step_bits(order) bits, a factor of 2**step_bits
        assert probabilities.sum() == pytest.approx(1, rel=2 ** step_bits(pair.model.order) - 1 + 1e-4)


def test_long_texts_cost_the_same_across_the_kernels_blocks(pair):
    text = "".join(STORIES)[:3000]
    assert pair.bits("x", text)[1] == pytest.approx(pair.reference_bits(text), abs=3000 * step_bits(6))
    halves = pair.bits(text[:511], text[:512], text[:513], text[:1024], text[:1025])
    expected = [pair.reference_bits(text[:n]) for n in (511, 512, 513, 1024, 1025)]
    assert halves == pytest.approx(expected, abs=1025 * step_bits(6))


def test_estimates_are_the_references_before_they_are_rounded():
    rng = np.random.default_rng(0)
    ids = [rng.geometric(0.3, 60).clip(max=7) for _ in range(30)]
    keys = np.array([int("".join(map(str, d[i : i + 3])), 8) for d in ids for i in range(58)], np.uint64)
    reference = ReferenceModel([tuple(d.tolist()) for d in ids], 8, 3, (1, 1, 2))
    for n, level in enumerate(estimate(count_levels(keys, 8, 3), 8, (1, 1, 2)), 1):
        for key, probability in zip(level.keys.tolist(), level.probabilities):
            gram = tuple((key // 8**i) % 8 for i in range(n - 1, -1, -1))
            assert probability == pytest.approx(reference.probability(gram[:-1], gram[-1]), rel=1e-12)


def test_discounts_are_those_of_chen_and_goodman():
    counts = np.repeat([1, 2, 3, 4, 9], [100, 40, 20, 12, 5])
    y = 100 / 180
    assert discounts(counts) == pytest.approx([0, 1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.6])
    assert discounts(np.array([1, 1, 2])).tolist() == [0, 0.5, 1.0, 1.5]


def test_ids_fit_into_exact_keys():
    assert [max_base(n) for n in (2, 3, 4, 5, 6)] == [65535, 65535, 65535, 7131, 1625]
    assert all(max_base(n) ** n <= 2**64 for n in range(2, 7))
    assert 7132**5 > 2**64 and 1626**6 > 2**64


def test_costs_that_do_not_fit_are_capped_not_wrapped():
    assert cost_steps(np.array([1.0, 0.5, 2.0**-63, 2.0**-64, 0.0])).tolist() == [
        0,
        1024,
        64512,
        65535,
        65535,
    ]


def test_the_vocabulary_is_the_most_frequent_characters():
    text = as_array(["甲" * 9_000 + "乙" * 2_000 + "丙" * 2 + "Ｘx" * 3])
    found = choose_vocabulary(text, LanguageModelConfig(min_count=3))
    assert [chr(code) for code in found] == ["x", "乙", "甲"]


SMALL = LanguageModelConfig(order=4)


@pytest.fixture(scope="module")
def model() -> PerplexityModel:
    ranked = documents(story, 60, seed=5) + documents(advert, 60, seed=5)
    return train_perplexity_model(batches(documents(story, 400)), SMALL, ranked=batches(ranked))


@pytest.fixture(scope="module")
def model_path(model, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model") / "语言.ckq"
    model.save(path)
    return str(path)


def test_good_text_is_head_and_adverts_are_tail(model):
    stories = model.perplexities(as_array(documents(story, 30, seed=8)))
    adverts = model.perplexities(as_array(documents(advert, 30, seed=8)))
    assert stories.max() < adverts.min() / 10
    assert (np.diff(model.percentiles) >= 0).all()
    at_limits = [model.threshold(30), model.threshold(60), np.nextafter(model.threshold(60), np.inf)]
    assert model.buckets(np.array([0.0, *at_limits])).tolist() == ["head", "head", "middle", "tail"]


def test_text_of_unknown_characters_is_surprising_however_it_repeats(model):
    (perplexity,) = model.perplexities(as_array(["ก" * 500]))
    assert perplexity > 10_000


def test_a_text_without_characters_is_as_surprising_as_a_guess(model):
    assert model.perplexities(as_array(["", " \n"])) == pytest.approx([model.base + NUM_UNKNOWN] * 2)


def test_slices_of_an_array_cost_the_same(model):
    array = as_array(["x", STORIES[0], STORIES[1]])
    assert model.perplexities(array.slice(1)).tolist() == model.perplexities(array)[1:].tolist()
    assert model.perplexities(pa.array([], pa.large_string())).shape == (0,)


def test_the_order_of_the_input_changes_nothing(model, tmp_path, model_path):
    reference = documents(story, 400)
    random.Random(2).shuffle(reference)
    ranked = documents(advert, 60, seed=5) + documents(story, 60, seed=5)
    again = train_perplexity_model(batches(reference, rows=9), SMALL, ranked=batches(ranked))
    again.save(tmp_path / "again.ckq")
    with open(model_path, "rb") as file:
        assert (tmp_path / "again.ckq").read_bytes() == file.read()


def test_training_text_is_bounded():
    config = replace(SMALL, max_characters=20_000, max_document_characters=100)
    report = train_perplexity_model(batches(documents(story, 400)), config).report
    # Windows of at most 100 characters, so the bound is met to within one of them.
    assert 180 <= report["train_documents"] + report["held_out_documents"] <= 250
    assert report["documents"] == 400
    assert report["percentiles_of"] == "held-out reference text"


def test_too_little_text_is_refused():
    with pytest.raises(InputError, match=r"reference text: [\d,]+ characters of training text"):
        train_perplexity_model(batches(STORIES[:5]), SMALL)
    with pytest.raises(InputError, match="reference text: 0 characters"):
        train_perplexity_model([], SMALL)
    with pytest.raises(InputError, match="no document has 4 characters"):
        train_perplexity_model(batches([chr(0x4E00 + i) + "字" for i in range(8000)]), SMALL)
    with pytest.raises(InputError, match="text to be ranked"):
        train_perplexity_model(batches(documents(story, 400)), SMALL, ranked=[])


def test_the_step_drops_the_tail(model, model_path):
    kept, dropped = Perplexity(model_path)(batches([STORIES[0], documents(advert, 1, seed=3)[0]])[0])
    assert kept.num_rows == 1 and kept.schema.names == ["id", "text"]
    assert dropped.column("reason").to_pylist() == ["clean/perplexity"]
    assert dropped.column("threshold").to_pylist() == [model.threshold(60)]


def test_a_document_at_the_limit_is_kept_and_one_above_it_dropped(model, model_path):
    value = float(model.perplexities(as_array([STORIES[0]]))[0])
    batch = batches([STORIES[0]])[0]
    assert Perplexity(model_path, max_perplexity=value)(batch).dropped is None
    below = float(np.nextafter(value, 0))
    assert Perplexity(model_path, max_perplexity=below)(batch).kept.num_rows == 0


def test_text_without_surprises_is_dropped_where_asked(model, model_path):
    repeated = "清晨的时候，老人在河边慢慢地走着。" * 30
    value = float(model.perplexities(as_array([repeated]))[0])
    batch = batches([repeated])[0]
    _, dropped = Perplexity(model_path, min_perplexity=value + 0.01)(batch)
    assert dropped.column("reason").to_pylist() == ["clean/low_perplexity"]
    assert Perplexity(model_path, min_perplexity=value - 0.01)(batch).dropped is None


def test_columns_are_added_where_asked_and_replaced_where_there(model_path):
    step = Perplexity(model_path, add_columns=True)
    (batch,) = batches(STORIES[:3])
    kept = step(step(batch).kept).kept
    assert kept.schema.names == ["id", "text", "perplexity", "perplexity_bucket"]
    assert set(kept.column("perplexity_bucket").to_pylist()) <= {"head", "middle", "tail"}


def test_a_saved_model_is_the_same_and_one_of_another_kind_is_refused(model, model_path, tmp_path):
    loaded = PerplexityModel.load(model_path)
    assert loaded is PerplexityModel.load(model_path)
    assert loaded.report == model.report
    text = as_array(STORIES[:4])
    assert loaded.perplexities(text).tolist() == model.perplexities(text).tolist()
    from corpuskit.clean.classifier import QualityModel

    with pytest.raises(ArtifactError, match="is a character-language-model"):
        QualityModel.load(model_path)


def test_perplexities_are_listed_one_line_a_document(model, model_path):
    header, line = score_lines(load_model(model_path), batches(STORIES[:1]))
    assert header == "perplexity\tbucket\tid\topening"
    assert line.split("\t")[1:] == ["head", "0", STORIES[0][:30]]
    assert "percentiles of 120 documents (text to be ranked):" in describe(model)


def test_the_step_pickles_by_path(model_path):
    content = pickle.dumps(Perplexity(model_path, 80.0))
    assert len(content) < 500 and pickle.loads(content) == Perplexity(model_path, 80.0)


@pytest.mark.parametrize(
    "fields",
    [{"model": ""}, {"model": "m", "min_perplexity": -1.0}, {"model": "m", "max_perplexity": 0.0}],
)
def test_impossible_fields_are_refused(fields):
    with pytest.raises(ConfigError):
        Perplexity(**fields)


@pytest.mark.parametrize("fields", [{"order": 1}, {"order": 7}, {"prune": 0}, {"max_characters": 10}])
def test_impossible_training_settings_are_refused(fields):
    with pytest.raises(ConfigError):
        LanguageModelConfig(**fields)
