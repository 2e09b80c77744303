import dataclasses
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from training_data import (
    ARCHITECTURES,
    BYTES,
    TOKENIZER,
    Interrupted,
    config,
    interrupt_at,
    losses,
    shape,
    write,
)

from corpuskit import shards
from corpuskit.errors import ConfigError, MismatchError
from corpuskit.models.configurations import ModelConfig
from corpuskit.models.loading import load
from corpuskit.train import fit, read_metrics
from corpuskit.train.batches import ObjectiveLoader
from corpuskit.train.data import DocumentRange, DocumentTails, make_samples, special_tokens, split
from corpuskit.train.objectives import MaskedLM, Pairs, SpanCorruption, SupervisedFineTuning
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shards") / "data")


@pytest.mark.parametrize(
    ("objective", "sequences"),
    [*((name, None) for name in ARCHITECTURES), ("span_corruption", "packed"), ("causal", "packed")],
)
def test_a_resumed_run_is_bit_identical_for_every_objective(data, tmp_path, objective, sequences):
    settings = config(objective, sequences=sequences)
    fit(data, settings, tmp_path / "whole", TOKENIZER)
    with pytest.raises(Interrupted):
        fit(data, settings, tmp_path / "resumed", TOKENIZER, on_step=interrupt_at(5))
    torch.manual_seed(99)
    result = fit(data, settings, tmp_path / "resumed", TOKENIZER)
    assert result.resumed_from == 3
    assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_mixture_of_denoising_and_tasks_resumes_too(data, tmp_path):
    """ExT5: each dataset has an objective of its own."""
    other = write(tmp_path / "tasks", "问题？答案。", 30)
    settings = config("span_corruption", objectives={"tasks": Pairs(target_tokens=24)},
                      weights={"corpus": 2, "tasks": 1})  # fmt: skip
    both = {"corpus": data, "tasks": other}
    fit(both, settings, tmp_path / "whole", TOKENIZER)
    with pytest.raises(Interrupted):
        fit(both, settings, tmp_path / "resumed", TOKENIZER, on_step=interrupt_at(4))
    fit(both, settings, tmp_path / "resumed", TOKENIZER)
    assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")
    with pytest.raises(MismatchError, match="other token shards"):
        fit({"corpus": data, "tasks": data}, settings, tmp_path / "whole", TOKENIZER)
    with pytest.raises(ConfigError, match="no dataset called tasks"):
        fit({"corpus": data}, settings, tmp_path / "third", TOKENIZER)


def test_the_samples_of_a_mixture_have_their_rates_and_objectives(data, tmp_path):
    other = write(tmp_path / "tasks", "问题？答案。", 30)
    settings = config("span_corruption", objectives={"b": "pairs"}, weights={"a": 3, "b": 1})
    opened = {"a": shards.open(data), "b": shards.open(other)}
    samples = make_samples(opened, settings)
    assert samples.training.rates == {"a": 0.75, "b": 0.25}
    special = special_tokens(TOKENIZER, 258, 257, [SpanCorruption(), Pairs()], 48)
    loader = ObjectiveLoader(samples.training, 64, special, "training")
    sentinel = [min(special.sentinels) <= int(row[0]) for row in next(loader)["decoder_input_ids"][:, 1:2]]
    assert 0.5 < np.mean(sentinel) < 0.95


def test_stages_lengthen_the_sequences_and_resume(data, tmp_path):
    settings = config("causal", stages=((16, 2), (32, 2)), checkpoint_every=1)
    result = fit(data, settings, tmp_path / "whole", TOKENIZER)
    assert [s.tokens for s in read_metrics(tmp_path / "whole")] == list(
        np.cumsum([8 * 16, 8 * 16, 8 * 32, 8 * 32, 8 * 48, 8 * 48, 8 * 48])
    )
    assert result.tokens == 8 * (2 * 16 + 2 * 32 + 3 * 48)
    for at in (1, 2, 5):
        with pytest.raises(Interrupted):
            fit(data, settings, tmp_path / str(at), TOKENIZER, on_step=interrupt_at(at))
        fit(data, settings, tmp_path / str(at), TOKENIZER)
        assert losses(tmp_path / str(at)) == losses(tmp_path / "whole")


def test_the_first_token_of_an_answer_is_learned(tmp_path):
    """The originals feed ``decoder_input_ids=y[:, :-1], labels=y[:, 1:]`` and never learn it."""
    directory = write(tmp_path / "data", "甲乙丙", 24)
    settings = config("pairs", model=shape("t5", 0.0), steps=60, checkpoint_every=0, eval_every=0,
                      gradient_accumulation=1, sequence_length=24, learning_rate=3e-2)  # fmt: skip
    result = fit(directory, settings, tmp_path / "run", TOKENIZER)
    assert result.loss < 0.2
    model = load(tmp_path / "run").eval()
    document = shards.open(directory)[0]
    begin = int(np.argmax(document.columns["loss_mask"]))
    ids = torch.tensor([[*document.tokens[:begin].tolist(), 257]])
    start = torch.tensor([[model.config.decoder_start_token_id]])
    with torch.no_grad():
        logits = model(input_ids=ids, decoder_input_ids=start).logits
    assert int(logits[0, -1].argmax()) == document.tokens[begin]


def test_random_choices_do_not_depend_on_ranks_batches_or_workers(data):
    dataset = shards.open(data)
    settings = config("span_corruption")
    source, _ = split(dataset, settings, SpanCorruption(), 48)
    special = special_tokens(TOKENIZER, 258, 257, [SpanCorruption()], 48)

    def rows(count, **options):
        with ObjectiveLoader(source, options.pop("size"), special, "training", seed=5, **options) as loader:
            return [next(loader)["input_ids"] for _ in range(count)]

    whole = torch.cat(rows(3, size=8))
    assert torch.equal(torch.cat(rows(6, size=4)), whole)
    assert torch.equal(torch.cat(rows(3, size=8, workers=2)), whole)
    first, second = (rows(3, size=4, rank=rank, world_size=2) for rank in (0, 1))
    assert torch.equal(torch.cat([torch.cat(pair) for pair in zip(first, second)]), whole)
    again = rows(len(source), size=1)
    later = rows(2 * len(source), size=1)[len(source) :]
    assert not all(torch.equal(a, b) for a, b in zip(again, later))  # the next epoch has other masks


def test_held_out_documents_are_the_last_and_never_trained_on(data):
    dataset = shards.open(data)
    for objective, sequences in ((SupervisedFineTuning(), "packed"), (Pairs(), "documents")):
        learned, held = split(dataset, config("causal", sequences=sequences), objective, 300)
        count = {"learned": 0, "held": 0}
        for name, source in (("learned", learned), ("held", held)):
            for sample in source.samples(np.arange(len(source))):
                count[name] += len(sample.starts)
        assert count == {"learned": 36, "held": 4}
        tails = [document.tokens.tolist() for document in list(dataset)[36:]]
        found = [d.tokens.tolist() for s in held.samples(np.arange(len(held))) for d in s.documents()]
        assert sorted(found) == sorted(tails)


def test_a_range_of_documents_is_cut_from_several_shards(tmp_path):
    batch = {"id": [f"{i:032x}" for i in range(20)], "text": ["天" * (i + 1) for i in range(20)]}
    with shards.Writer(tmp_path / "data", tokenizer=TOKENIZER, shard_tokens=100) as writer:
        writer.write(pa.record_batch(batch))
    dataset = shards.open(tmp_path / "data")
    assert len(dataset.lengths) > 4
    documents = [document.tokens.tolist() for document in dataset]
    for start, stop in ((0, 20), (3, 17), (19, 20), (0, 1)):
        part = DocumentRange(dataset, start, stop)
        assert sum(part.lengths) == sum(map(len, documents[start:stop]))
        found = [
            stream[begin:end].tolist()
            for stream, offsets in zip(part.streams, part.offsets)
            for begin, end in pairwise(offsets.tolist())
        ]
        assert found == documents[start:stop]
        tails = DocumentTails(part, 30)
        rows = np.empty((len(tails), 30), np.int64)
        tails.gather(np.arange(len(tails)), rows)
        sizes = tails.boundaries(np.arange(len(tails))).filled
        assert [row[:size].tolist() for row, size in zip(rows, sizes)] == [
            tokens[-30:] for tokens in documents[start:stop]
        ]


def test_an_encoder_learns_with_each_architecture(data, tmp_path):
    for architecture in ("bert", "distilbert"):
        settings = config("masked", model=shape(architecture), steps=20, checkpoint_every=0)
        result = fit(data, settings, tmp_path / architecture, TOKENIZER)
        steps = list(read_metrics(result.directory))
        assert result.loss < steps[0].loss
        assert load(result.directory).config.unpadded_vocab_size == 260  # and rows for pad and mask


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nano", "objective": "span_corruption"}, "t5-nano"),
        ({"model": "t5-nano"}, "causal trains causal"),
        ({"objective": "denoise"}, "span_corruption"),
        ({"objectives": {"a": "pairs"}}, "different kinds of model"),
        ({"stages": ((1000, 3),)}, "stages"),
        ({"patience": 2, "eval_every": 0}, "stopping early"),
        ({"new_rows_steps": 2}, "embedding_init"),
        ({"stride": 8, "sequences": "packed"}, "stride is for windows"),
        ({"model": "no/such/model"}, "hub name"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config("causal"), **changes)


def test_a_missing_column_is_named_with_what_to_do(tmp_path):
    with shards.Writer(tmp_path / "plain", tokenizer=TOKENIZER) as writer:
        writer.write(pa.record_batch({"id": ["a" * 32], "text": ["天" * 300]}))
    with pytest.raises(ConfigError, match=r"word_starts.*--word-starts jieba"):
        fit(tmp_path / "plain", config("masked"), tmp_path / "run", TOKENIZER)
    with pytest.raises(ConfigError, match="loss_mask"):
        fit(tmp_path / "plain", config("sft"), tmp_path / "run", TOKENIZER)


def test_a_roberta_needs_a_low_pad_id(data, tmp_path):
    with pytest.raises(ConfigError, match="bert"):
        fit(data, config("masked", model=ModelConfig(1, 16, 2, 64, architecture="roberta")), tmp_path)


AROUND = Tokenizer(
    ByteLevelBPE(
        (*BYTES, b"ab", None, None, None), ((97, 98),), {"<|endoftext|>": 257, "[CLS]": 258, "[SEP]": 259}
    )
)


@pytest.mark.parametrize("sequences", ["windows", "packed", "documents"])
def test_an_encoder_reads_what_the_tokenizer_has_around_texts(tmp_path, sequences):
    directory = write(tmp_path / "data", tokenizer=AROUND)
    settings = config("masked", sequences=sequences)
    opened = {"data": shards.open(directory)}
    special = special_tokens(AROUND, 260, 257, [MaskedLM()], 48)
    assert (special.first, special.last, special.pad, special.mask) == (258, 259, 260, 261)
    samples = make_samples(opened, settings, special)
    batch = next(ObjectiveLoader(samples.training, 4, special, "training"))
    segments = batch.get("segment_ids", torch.ones_like(batch["input_ids"]))
    for row, own in zip(batch["input_ids"], segments):
        for number in range(1, int(own.max()) + 1):
            document = row[own == number].tolist()
            assert (document[0], document[-1]) == (258, 259) and len(document) <= 48
    assert not set(batch["targets"].tolist()) & {257, 258, 259}
    if sequences == "windows":
        assert batch["input_ids"].shape == (4, 48)
    fit(directory, settings, tmp_path / "whole", AROUND)
    with pytest.raises(Interrupted):
        fit(directory, settings, tmp_path / "resumed", AROUND, on_step=interrupt_at(5))
    fit(directory, settings, tmp_path / "resumed", AROUND)
    assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")
    plain = dataclasses.replace(settings, objective=MaskedLM(frame=False))
    with pytest.raises(MismatchError, match="frame"):
        fit(directory, plain, tmp_path / "resumed", AROUND)


def test_tokens_around_texts_that_the_tokenizer_lacks_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match=r"--special-token"):
        wanted = dataclasses.replace(config("masked"), objective=MaskedLM(frame=True))
        fit(data, wanted, tmp_path, TOKENIZER)
