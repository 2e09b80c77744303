"""Training from a model's directory: its vocabulary, new rows, the stage that trains only those."""

import dataclasses
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch
from training_data import BYTES, TOKENIZER, Interrupted, config, interrupt_at, losses, shape, write
from transformers import AutoTokenizer, T5Tokenizer

import corpuskit as ck
from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.generate import Generator
from corpuskit.models.loading import create, load, save
from corpuskit.train import fit
from corpuskit.train.batches import ObjectiveLoader
from corpuskit.train.data import special_tokens, split
from corpuskit.train.objectives import Pairs, SpanCorruption, SpecialTokens
from corpuskit.train.setup import first_model
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BASE = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": 257}))
WO = "我".encode()
EXTENDED = Tokenizer(
    ByteLevelBPE(
        (*BYTES, b"ab", None, WO[:2], WO),
        ((97, 98), (WO[0], WO[1]), (258, WO[2])),
        {"<|endoftext|>": 257},
    )
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A GPT-2 with the tokenizer `BASE` beside it."""
    directory = tmp_path_factory.mktemp("base") / "model"
    save(create(shape("gpt2"), 258, 1, 257), directory, BASE)
    return directory


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Shards of the extended vocabulary."""
    return _shards(tmp_path_factory.mktemp("extended") / "data", EXTENDED, "我ab想去。")


def _shards(directory, tokenizer, sentence):
    with shards.Writer(directory, tokenizer=tokenizer) as writer:
        ids = [f"{i:032x}" for i in range(30)]
        writer.write(pa.record_batch({"id": ids, "text": [sentence * 6] * 30}))
    return directory


def settings(base, **changes):
    return config("causal", **{"model": str(base), "sequence_length": 24, **changes})


def test_training_goes_on_from_a_directory(base, tmp_path):
    data = write(tmp_path / "data")
    result = fit(data, settings(base, steps=4, learning_rate=1e-6), tmp_path / "run", TOKENIZER)
    before, after = load(base).state_dict(), load(result.directory).state_dict()
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-4), name
    assert Generator.load(tmp_path / "run", device="cpu").generate("我", 3)


def test_new_rows_are_trained_alone_and_old_ones_keep_their_bits(base, extended, tmp_path):
    stage = settings(base, embedding_init="constituents", new_rows_steps=5, steps=5)
    fit(extended, stage, tmp_path / "stage", EXTENDED)
    before, after = load(base).state_dict(), load(tmp_path / "stage").state_dict()
    for name, tensor in before.items():
        if name in ("transformer.wte.weight", "lm_head.weight"):
            assert after[name].shape[0] == 320
            assert torch.equal(after[name][:258], tensor[:258])
        else:
            assert torch.equal(after[name], tensor), name
    embedding = after["transformer.wte.weight"]
    first = before["transformer.wte.weight"][list(WO)].mean(0)
    assert not torch.equal(embedding[259], first) and torch.allclose(embedding[259], first, atol=0.3)


def test_all_is_trained_after_the_stage_and_a_resume_in_either_is_exact(base, extended, tmp_path):
    whole = settings(base, embedding_init="constituents", new_rows_steps=4, steps=8, checkpoint_every=3)
    fit(extended, whole, tmp_path / "whole", EXTENDED)
    for at in (3, 7):
        with pytest.raises(Interrupted):
            fit(extended, whole, tmp_path / str(at), EXTENDED, on_step=interrupt_at(at))
        fit(extended, whole, tmp_path / str(at), EXTENDED)
        assert losses(tmp_path / str(at)) == losses(tmp_path / "whole")
    before, after = load(base).state_dict(), load(tmp_path / "whole").state_dict()
    assert not torch.equal(after["transformer.h.0.attn.c_attn.weight"],
                           before["transformer.h.0.attn.c_attn.weight"])  # fmt: skip


@pytest.mark.parametrize("architecture", ["t5", "bert"])
def test_the_stage_keeps_old_rows_of_untied_outputs_and_biases(architecture, tmp_path):
    directory = tmp_path / "model"
    objective = "pairs" if architecture == "t5" else "masked"
    save(create(shape(architecture), 258, 1, 257, 257), directory, BASE)
    data = write(tmp_path / "data", "我ab想去。", tokenizer=EXTENDED)
    stage = config(objective, model=str(directory), steps=3, embedding_init="mean", new_rows_steps=3)
    fit(data, stage, tmp_path / "run", EXTENDED)
    before, after = load(directory).state_dict(), load(tmp_path / "run").state_dict()
    changed = []
    for name, tensor in before.items():
        assert torch.equal(after[name][: min(len(tensor), 258)], tensor[:258]), name
        if not torch.equal(after[name][: len(tensor)], tensor):
            changed.append(name)
    assert changed


def test_a_vocabulary_larger_than_the_embedding_is_refused_with_the_option(base, tmp_path):
    pairs = [(i, 65) for i in range(100, 250)]
    tokens = (*BYTES, None, *map(bytes, pairs))
    large = Tokenizer(ByteLevelBPE(tokens, tuple(pairs), {"<|endoftext|>": 256}))
    data = _shards(tmp_path / "data", large, "我ab想去。")
    with pytest.raises(ArtifactError, match=r"407 tokens.* 320 rows.*embedding_init"):
        fit(data, settings(base), tmp_path / "run", large)
    with pytest.raises(MismatchError, match="does not extend"):
        fit(data, settings(base, embedding_init="constituents"), tmp_path / "run", large)
    result = fit(data, settings(base, embedding_init="mean", steps=1), tmp_path / "run", large)
    assert load(result.directory).config.unpadded_vocab_size == 407


def test_shards_of_another_vocabulary_are_refused(base, tmp_path):
    other = Tokenizer(ByteLevelBPE((*BYTES, b"ba", None), ((98, 97),), {"<|endoftext|>": 257}))
    data = _shards(tmp_path / "data", other, "我想去。")
    with pytest.raises(MismatchError, match="another tokenizer"):
        fit(data, settings(base), tmp_path / "run", other)


def test_a_directory_of_transformers_with_the_same_vocabulary_fits(tmp_path):
    model = create(shape("gpt2"), 258, 1, 257)
    model.save_pretrained(tmp_path / "model")
    BASE.save(tmp_path / "tokenizer")
    AutoTokenizer.from_pretrained(tmp_path / "tokenizer").save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model" / "corpuskit.json").exists()
    data = _shards(tmp_path / "data", BASE, "我ab想去。")
    assert fit(data, settings(tmp_path / "model", steps=1), tmp_path / "run", BASE).steps == 1


def test_a_t5_of_transformers_goes_on_with_its_own_sentinels(tmp_path):
    begin = "我想去北京。天气很好。今天我们去图书馆看书，然后回家吃饭。学习语言模型需要数据，"
    end = "数据需要清洗和去重。春天来了花开了，秋天到了叶子黄了。"
    texts = [f"{begin}{end}{i}" for i in range(200)]
    pieces = ck.vocab.train(texts, algorithm="sentencepiece-unigram", vocab_size=316)
    (tmp_path / "model").mkdir()
    pieces.export("spiece.model", tmp_path / "model" / "spiece.model")
    theirs = T5Tokenizer.from_pretrained(tmp_path / "model")
    theirs.save_pretrained(tmp_path / "model")
    rows = len(theirs)
    save(create(shape("t5"), rows, 1, 1), tmp_path / "model")
    data = write(tmp_path / "data", "我想去北京。", tokenizer=SimpleNamespace(
        vocab_size=316, end_of_text_id=1, fingerprint=pieces.fingerprint))  # fmt: skip
    special = special_tokens(pieces, 316, 1, [SpanCorruption()], 24)
    sentinels = [theirs.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(100)]
    assert list(special.sentinels) == sentinels
    settings = config("span_corruption", model=str(tmp_path / "model"), steps=1, sequence_length=24)
    assert fit(data, settings, tmp_path / "run", pieces).steps == 1


def test_a_decoder_starts_from_what_its_model_says(tmp_path):
    model = create(shape("t5"), 258, 1, 257, 0)
    model.config.decoder_start_token_id, model.config.pad_token_id = 7, 3
    save(model, tmp_path / "model", BASE)
    directory = config("pairs", model=str(tmp_path / "model"))
    special = SpecialTokens(258, end_of_text=257, pad=257)
    beginning = first_model(directory, special, BASE, BASE.fingerprint)
    assert (beginning.special.pad, beginning.special.decoder_start) == (3, 7)
    source, _ = split(shards.open(write(tmp_path / "data")), directory, Pairs(), 48)
    batch = next(ObjectiveLoader(source, 4, beginning.special, "training"))
    assert set(batch["decoder_input_ids"][:, 0].tolist()) == {7}


def test_a_model_of_another_kind_or_with_a_short_context_is_refused(base, extended, tmp_path):
    data = write(tmp_path / "data")
    with pytest.raises(ConfigError, match="span_corruption trains seq2seq"):
        fit(data, config("span_corruption", model=str(base)), tmp_path / "run", TOKENIZER)
    with pytest.raises(ConfigError, match="context is 64"):
        fit(data, settings(base, sequence_length=65), tmp_path / "run", TOKENIZER)


def test_a_llama_trains_through_the_same_loop(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=258, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, bos_token_id=257, eos_token_id=257,
        )
    )  # fmt: skip
    llama.save_pretrained(tmp_path / "llama")
    data = write(tmp_path / "data")
    for sequences in ("windows", "packed"):
        packed = settings(tmp_path / "llama", sequences=sequences, steps=12)
        result = fit(data, packed, tmp_path / sequences, TOKENIZER)
        assert result.loss < 5.4  # log 258 = 5.55


def test_gradient_checkpointing_changes_nothing(tmp_path):
    data = write(tmp_path / "data")
    for objective in ("causal", "pairs"):
        plain = config(objective, steps=3, gradient_accumulation=1)
        checked = dataclasses.replace(plain, gradient_checkpointing=True)
        fit(data, plain, tmp_path / f"{objective}-plain", TOKENIZER)
        fit(data, checked, tmp_path / f"{objective}-checked", TOKENIZER)
        for one, other in zip(
            losses(tmp_path / f"{objective}-plain"), losses(tmp_path / f"{objective}-checked"), strict=True
        ):
            assert one[1] == pytest.approx(other[1], rel=1e-6)


def test_a_trained_model_of_others_is_tuned_further(shared_data, tmp_path):
    """gpt2-sort: 3 tokens, 11 positions, no tokenizer; the loss on sorted rows falls and it still sorts."""
    directory = shared_data / "weights" / "gpt2-sort"
    if not (directory / "config.json").exists():
        pytest.skip(f"no model in {directory}")
    model = load(directory)
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 3, (64, 6), generator=rng)
    rows = torch.cat([rows, rows.sort(1).values], 1)[:, :11]

    letters = SimpleNamespace(vocab_size=3, end_of_text_id=None, fingerprint="letters")
    with shards.Writer(
        tmp_path / "data", tokenizer=letters, end_of_document="none", columns={"loss_mask": "uint8"}
    ) as writer:
        lists = [pa.array(rows.tolist(), pa.large_list(pa.uint32()))]
        lists.append(pa.array([[0] * 6 + [1] * 5] * 64, pa.large_list(pa.uint8())))
        ids = pa.array([f"{i:032x}" for i in range(64)])
        writer.write_tokens(pa.record_batch([ids, *lists], names=["id", "tokens", "loss_mask"]))
    tuned = config("sft", model=str(directory), sequence_length=11, steps=5, learning_rate=1e-4)
    result = fit(tmp_path / "data", tuned, tmp_path / "run")
    assert result.loss < 0.1
    for candidate in (model, load(tmp_path / "run")):
        generator = Generator(candidate)
        assert generator.generate_ids(rows[:20, :6].tolist(), 5, stop_at_end=False) == rows[:20, 6:].tolist()
