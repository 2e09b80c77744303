"""Greedy tokens beside transformers' own, and how far float32 may pull them apart."""

import copy

import pytest
import torch
from small_models import random_gpt2, random_prompts
from transformers import GPT2LMHeadModel

from corpuskit.generate import Generator
from corpuskit.generate.decoding import CausalDecoder, decoder_for
from corpuskit.generate.gpt2 import GPT2Decoder, Linear, arrange, supports
from corpuskit.generate.ties import tie_tolerance


@torch.no_grad()
def assert_same_or_tied(model, prompts, ours, theirs):
    """Where the texts part, the two tokens' logits lie within the tolerance."""
    for prompt, mine, other in zip(prompts, ours, theirs, strict=True):
        for place, (a, b) in enumerate(zip(mine, other, strict=True)):
            if a == b:
                continue
            logits = model(torch.tensor([[*prompt, *mine[:place]]])).logits[0, -1]
            assert abs(float(logits[a] - logits[b])) <= tie_tolerance(model)
            break


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 70])
@pytest.mark.parametrize("arranged", [False, True])
def test_greedy_tokens_are_those_of_transformers(rows, arranged):
    model = random_gpt2(rows, vocab_size=300 + rows)
    prompts = random_prompts(rows, 9, 300)
    expected = model.generate(
        prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=20, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )[:, 9:].tolist()  # fmt: skip
    if arranged:
        arrange(model)
    found = Generator(model).generate_ids(prompts.tolist(), 20, stop_at_end=False)
    assert_same_or_tied(model, prompts.tolist(), found, expected)
    assert sum(a == b for a, b in zip(found, expected, strict=True)) >= rows - 1


@pytest.mark.parametrize("factor", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("arranged", [False, True])
def test_the_tolerance_covers_what_either_program_is_off_from_float64(factor, arranged):
    for seed in range(3):
        model = random_gpt2(seed, factor)
        prompts = random_prompts(16, 30, 300, seed)
        exact = copy.deepcopy(model).double()
        with torch.inference_mode():
            truth = exact(prompts).logits[:, -1]
            theirs = model(prompts).logits[:, -1].double()
            if arranged:
                arrange(model)
            decoder = GPT2Decoder(model)
            decoder.start(prompts[:, :20].tolist(), 10)
            for place in range(20, 30):
                logits = decoder.step(prompts[:, place])
        # a gap takes two logits of each of the two programs: a quarter of the tolerance for each
        quarter = tie_tolerance(model) / 4
        assert float((logits.double() - truth).abs().max()) <= quarter
        assert float((theirs - truth).abs().max()) <= quarter


@pytest.mark.parametrize(
    "settings",
    [
        {"activation_function": "relu"},
        {"activation_function": "gelu"},
        {"scale_attn_weights": False, "n_embd": 16},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"n_inner": 70},
        {"layer_norm_epsilon": 0.3},
        {"tie_word_embeddings": False},
    ],
)
def test_every_setting_of_the_configuration_counts(settings):
    model = random_gpt2(1, 2.0, **settings)
    rows = random_prompts(5, 12, 300).tolist()
    windows = [row[: 4 + 2 * place] for place, row in enumerate(rows)]
    with torch.inference_mode():
        for decoder in (GPT2Decoder(model), CausalDecoder(model)):
            decoder.start(windows, 3)
            for token in (1, 2, 3):
                logits = decoder.step(torch.full((5,), token))
            for row, window in enumerate(windows):
                alone = model(torch.tensor([[*window, 1, 2, 3]])).logits[0, -1]
                torch.testing.assert_close(logits[row], alone, atol=1e-4, rtol=1e-4)


def test_rows_can_be_dropped_doubled_and_reordered():
    model = random_gpt2(2, 2.0)
    windows = [[1, 2, 3], [4], [5, 6]]
    with torch.inference_mode():
        for decoder in (GPT2Decoder(model), CausalDecoder(model)):
            decoder.start(windows, 5)
            decoder.step(torch.tensor([7, 8, 9]))
            decoder.select(torch.tensor([2, 0, 2, 2]))
            logits = decoder.step(torch.tensor([10, 11, 12, 13]))
            for row, window in enumerate([[5, 6, 9, 10], [1, 2, 3, 7, 11], [5, 6, 9, 12], [5, 6, 9, 13]]):
                alone = model(torch.tensor([window])).logits[0, -1]
                torch.testing.assert_close(logits[row], alone, atol=1e-4, rtol=1e-4)


def test_adapters_and_other_architectures_take_the_general_path():
    model = random_gpt2(0)
    assert isinstance(decoder_for(model).decoder, GPT2Decoder)
    model.transformer.h[1].mlp.c_fc = torch.nn.Sequential(model.transformer.h[1].mlp.c_fc)
    assert not supports(model)
    assert isinstance(decoder_for(model).decoder, CausalDecoder)


def test_what_is_hung_on_to_a_part_is_not_passed_over():
    model = random_gpt2(0)
    generator = Generator(model)
    expected = generator.generate_ids([[1, 2, 3]], 8, stop_at_end=False)
    handle = model.transformer.h[1].register_forward_hook(lambda part, given, made: torch.zeros_like(made))
    assert not supports(model)
    changed = generator.generate_ids([[1, 2, 3]], 8, stop_at_end=False)
    theirs = model.generate(
        torch.tensor([[1, 2, 3]]), attention_mask=torch.ones(1, 3), max_new_tokens=8, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    assert changed == theirs[:, 3:].tolist() != expected
    handle.remove()
    assert supports(model)
    model.lm_head = torch.nn.Sequential(model.lm_head)
    assert not supports(model)


def test_arranging_keeps_values_shapes_and_what_is_saved(tmp_path):
    model = random_gpt2(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    arrange(model)
    model.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path).state_dict()
    for name, value in model.state_dict().items():
        assert value.equal(before[name])
        assert again[name].equal(before[name])
    assert model.transformer.h[0].attn.c_attn.weight.t().is_contiguous()


@pytest.mark.parametrize("outputs", [1, 15, 16, 33])
@pytest.mark.parametrize("rows", [1, 3, 4, 17, 64, 65])
def test_blocks_of_outputs_give_the_product(outputs, rows):
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(outputs, 24, generator=generator), torch.randn(outputs, generator=generator)
    x = torch.randn(rows, 24, generator=generator)
    # 24 products of size about 1: 24 * 2**-24 times their sum, generously
    torch.testing.assert_close(Linear(weight, bias)(x), x @ weight.t() + bias, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(Linear(weight)(x), x @ weight.t(), atol=1e-5, rtol=1e-5)
