"""Encoder-decoder models through the same interface."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import END, TOKENIZER, random_prompts, random_t5
from transformers import BartConfig, BartForConditionalGeneration

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.generate import Generator, Sampling
from corpuskit.models import ModelConfig, create, save

MODEL = random_t5(0)
GENERATOR = Generator(MODEL, TOKENIZER)

prompts = st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=20), min_size=1, max_size=4)


@settings(max_examples=8, deadline=None)
@given(prompts)
def test_answers_in_a_batch_are_those_of_transformers_alone(rows):
    found = GENERATOR.generate_ids(rows, 12, stop_at_end=False)
    for row, answer in zip(rows, found, strict=True):
        ids = torch.tensor([row])
        theirs = MODEL.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=None
        )
        assert answer == theirs[0, 1:].tolist()


@settings(max_examples=6, deadline=None)
@given(prompts)
def test_samples_of_an_answer_do_not_depend_on_the_batch(rows):
    sampling = Sampling(1.0, top_k=20, repetition_penalty=1.3, no_repeat_ngram=3)
    together = GENERATOR.generate_ids(rows, 8, sampling, 3, num_samples=2)
    alone = [GENERATOR.generate_ids([row], 8, sampling, 3, num_samples=2) for row in rows]
    assert together == [answer for answers in alone for answer in answers]


def test_the_question_ends_with_the_end_token_and_is_not_part_of_the_answer():
    expected = GENERATOR.generate_ids([[*TOKENIZER.encode("用户：我想"), END]], 10)[0]
    text = GENERATOR.generate("用户：我想", 10, temperature=0)
    assert text == TOKENIZER.decode(expected).rstrip("\ufffd")
    assert "".join(GENERATOR.stream("用户：我想", 10, temperature=0)) == text
    assert GENERATOR.generate("我", 10, temperature=0, include_prompt=True).startswith("我")


def test_answers_have_no_limit_where_positions_are_relative():
    assert GENERATOR.context_length is None
    assert len(GENERATOR.generate_ids([list(range(200)) * 4], 5, stop_at_end=False)[0]) == 5


def test_an_encoder_decoder_with_learned_positions_answers_too():
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=60, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=20,
        init_std=0.5, forced_eos_token_id=None, forced_bos_token_id=None,
    )  # fmt: skip
    model = BartForConditionalGeneration(config).eval()
    rows = random_prompts(2, 6, 60)
    theirs = model.generate(
        rows, attention_mask=torch.ones_like(rows), max_new_tokens=8, do_sample=False, eos_token_id=None,
        num_beams=1,
    )  # fmt: skip
    generator = Generator(model)
    assert generator.generate_ids(rows.tolist(), 8, stop_at_end=False) == theirs[:, 1:].tolist()
    with pytest.raises(ConfigError, match="context holds 20"):
        generator.generate_ids([[1] * 21], 2)
    assert len(generator.generate_ids([[1]], 20, stop_at_end=False)[0]) == 20
    with pytest.raises(ConfigError, match="max_new_tokens: must be at most 20"):
        generator.generate_ids([[1]], 21)


def test_a_saved_t5_is_loaded_by_the_same_call(tmp_path):
    save(MODEL, tmp_path, TOKENIZER)
    loaded = Generator.load(tmp_path, device="cpu")
    assert loaded.answers
    assert loaded.generate("我想", 10, temperature=0) == GENERATOR.generate("我想", 10, temperature=0)


def test_a_model_that_does_not_write_is_refused(tmp_path):
    shape = ModelConfig(layers=1, width=16, heads=2, context_length=16, architecture="bert")
    save(create(shape, 258, seed=0, end_of_text_id=END), tmp_path, TOKENIZER)
    with pytest.raises(ArtifactError, match="does not write text"):
        Generator.load(tmp_path)


def test_half_precision_loads_and_another_dtype_is_refused(tmp_path):
    save(MODEL, tmp_path, TOKENIZER)
    loaded = Generator.load(tmp_path, device="cpu", dtype="bfloat16")
    assert loaded.model.dtype == torch.bfloat16
    assert isinstance(loaded.generate("我想", 5), str)
    with pytest.raises(ConfigError, match=r"dtype.*float16"):
        Generator.load(tmp_path, dtype="float16")
