"""Hidden words against a plain count: one forward pass a window, words by their marks."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from training_data import TOKENIZER, write

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.models import ModelConfig, create
from corpuskit.models.seeds import derive
from corpuskit.train.judging import logits
from corpuskit.train.judging.recovery import HIDE_ALL, recovery
from corpuskit.train.objectives import MaskedLM, Sample, SpecialTokens

MASK = 259  # the tokenizer has 258 tokens and no mask: padding is 258


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return shards.open(write(tmp_path_factory.mktemp("data") / "shards"))


@pytest.fixture(scope="module")
def model():
    shape = ModelConfig(1, 16, 2, 64, 0.0, 0.5, "bert", feed_forward=32)
    return create(shape, MASK + 1, seed=4, pad_id=258)


def plainly(model, data, objective, length, seed):
    tokens = np.concatenate([np.asarray(row.tokens, np.int64) for row in data])
    marks = np.concatenate([np.asarray(row.columns["word_starts"]) for row in data])
    special = SpecialTokens(258, 257, 258, MASK, ())
    nats, found = 0.0, np.zeros(4, int)
    for number in range(len(tokens) // length):
        part = slice(number * length, (number + 1) * length)
        sample = Sample(tokens[part], columns={"word_starts": marks[part].copy()})
        example = objective(sample, derive(seed, f"judged {number}"), special)
        with torch.inference_mode():
            logits = model(input_ids=torch.from_numpy(example.input_ids)[None]).logits[0, :, :258]
        guesses = logits.argmax(1).numpy()
        words = {}
        word = 0
        for place, label in enumerate(example.labels.tolist()):
            word = place if place == 0 or marks[part][place] or not objective.whole_words else word
            if label >= 0:
                assert example.input_ids[place] == MASK
                words.setdefault(word, []).append(guesses[place] == label)
                nats -= float(logits[place].double().log_softmax(0)[label])
        found += [
            sum(map(len, words.values())), sum(map(sum, words.values())), len(words),
            sum(map(all, words.values())),
        ]  # fmt: skip
    return nats, found.tolist()


@pytest.mark.parametrize(
    "objective", [HIDE_ALL, MaskedLM(mask_share=1.0, random_share=0.0, whole_words=False, rate=0.4)]
)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_counts_are_those_of_one_window_at_a_time(model, data, objective, batch_size):
    found = recovery(model, data, objective=objective, sequence_length=40, batch_size=batch_size, seed=5)
    nats, counts = plainly(model, data, objective, 40, 5)
    assert [found.tokens, found.right_tokens, found.words, found.right_words] == counts
    # Float32 logits in another batch: a relative error of some 1e-6 each.
    assert found.nats == pytest.approx(nats, rel=1e-4)
    assert found.loss == found.nats / found.tokens
    assert found.token_accuracy == counts[1] / counts[0]
    assert found.word_accuracy == counts[3] / counts[2]


def test_a_model_that_knows_the_text_gets_every_word_right(data, model):
    stream = torch.tensor(np.concatenate([row.tokens for row in data]).astype(np.int64))

    def forward(input_ids, **_):
        logits = torch.full((*input_ids.shape, MASK + 1), -50.0)
        wanted = stream[: input_ids.numel()].reshape(input_ids.shape)
        return SimpleNamespace(logits=logits.scatter(2, wanted[..., None], 50.0))

    knowing = copy.deepcopy(model)
    knowing.config.model_type, knowing.config.architectures = "other", ["OtherForMaskedLM"]
    knowing.forward = forward
    found = recovery(knowing, data, sequence_length=40, batch_size=10**6)
    assert (found.token_accuracy, found.word_accuracy) == (1, 1)
    assert found.loss == pytest.approx(0, abs=1e-12)


def test_fewer_windows_and_another_seed(model, data):
    few = recovery(model, data, sequence_length=40, sequences=3)
    assert 0 < few.tokens <= 3 * 40 * 0.15 + 3
    assert recovery(model, data, sequence_length=40, sequences=3) == few
    assert recovery(model, data, sequence_length=40, sequences=3, seed=1) != few
    whole = recovery(model, data, sequence_length=40)
    assert recovery(model, data, sequence_length=40, sequences=10**6) == whole


def test_hidden_words_are_found_in_chunks_as_at_once(model, data, monkeypatch):
    whole = recovery(model, data, sequence_length=40)
    monkeypatch.setattr(logits, "_LOGITS_PER_CHUNK", 258 * 3)
    chunked = recovery(model, data, sequence_length=40)
    assert chunked.nats == pytest.approx(whole.nats, rel=1e-5)
    assert (chunked.right_tokens, chunked.words) == (whole.right_tokens, whole.words)


def test_bad_calls_are_refused(model, data, tmp_path):
    causal = create(ModelConfig(1, 16, 2, 64), 260, seed=0)
    with pytest.raises(ConfigError, match="masked"):
        recovery(causal, data)
    with pytest.raises(ConfigError, match="sequence_length"):
        recovery(model, data, sequence_length=65)
    with pytest.raises(ConfigError, match="batch_size"):
        recovery(model, data, sequence_length=40, batch_size=0)
    without = ModelConfig(1, 16, 2, 64, architecture="bert")
    with pytest.raises(ArtifactError, match="mask token"):
        recovery(create(without, 258, seed=0), data, sequence_length=40)
    with pytest.raises(ConfigError, match="sequence_length"):
        recovery(model, shards.open(write(tmp_path / "short", documents=1)), sequence_length=64)
    kinds = (257, pa.uint32()), (1, pa.uint8())
    rows = [pa.array([[value] * 64], pa.large_list(kind)) for value, kind in kinds]
    with shards.Writer(tmp_path / "ends", tokenizer=TOKENIZER, columns={"word_starts": "uint8"}) as writer:
        batch = [pa.array(["0" * 32]), *rows]
        writer.write_tokens(pa.record_batch(batch, names=["id", "tokens", "word_starts"]))
    with pytest.raises(InputError, match="no token"):
        recovery(model, shards.open(tmp_path / "ends"), sequence_length=64)


def test_an_untrained_model_is_as_good_as_chance(data):
    flat = create(ModelConfig(1, 16, 2, 64, 0.0, 1e-6, "bert", feed_forward=32), MASK + 1, seed=4, pad_id=258)
    assert recovery(flat, data, sequence_length=40).loss == pytest.approx(math.log(258), abs=0.01)
