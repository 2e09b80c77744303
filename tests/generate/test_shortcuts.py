"""8-bit copies change how long a text takes, and nothing else."""

import pytest
import torch
from small_models import random_gpt2, random_prompts, random_t5

from corpuskit.generate import Generator, Sampling, screening, shortcuts
from corpuskit.generate.continuation import Continuation
from corpuskit.generate.decoding import decoder_for
from corpuskit.generate.gpt2 import GPT2Decoder, RoughWeights
from corpuskit.generate.screening import Screen


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Copies are made whatever the size and the processor."""
    monkeypatch.setattr(screening, "_SMALLEST", 1)
    monkeypatch.setattr(shortcuts, "_LARGE", 1)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)


def without(generator):
    """The same generator with no copies."""
    plain = Generator(generator.model)
    plain._shortcuts.screen = plain._shortcuts.rough = lambda new_tokens: None
    return plain


SAMPLINGS = [
    Sampling(0),
    Sampling(0.7),
    Sampling(0.5, top_k=5),
    Sampling(0.9, top_p=0.8),
    Sampling(0, repetition_penalty=1.3, no_repeat_ngram=2),
    Sampling(0.4, repetition_penalty=1.2, no_repeat_ngram=3),
]


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_texts_are_those_of_the_weights_themselves(rows, sampling):
    generator = Generator(random_gpt2(rows, 3.0))
    prompts = random_prompts(rows, 6, 300, seed=1).tolist()
    found = generator.generate_ids(prompts, 70, sampling, seed=2, stop_at_end=False)  # the window slides
    assert found == without(generator).generate_ids(prompts, 70, sampling, seed=2, stop_at_end=False)
    assert (generator._shortcuts._screen is not None) == (sampling == Sampling(0) or rows == 1)
    assert (generator._shortcuts._rough is not None) == (rows == 1)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_model_guesses_what_it_will_choose(sampling):
    """Guesses are drawn with the text's own random numbers and penalties, so most come true."""
    model = random_gpt2(7, 2.0)
    (prompt,) = random_prompts(1, 6, 300, seed=3).tolist()
    weight = model.lm_head.weight.detach()

    def run(decoder):
        continuation = Continuation(decoder, [prompt], [prompt], sampling, 300, 64, frozenset(), model.device)
        return [token for new in continuation.steps(55, 11, range(1)) for _, token in new]

    drafting = decoder_for(model, None, RoughWeights(model, Screen(weight).approximate))
    assert run(drafting) == run(GPT2Decoder(model))
    assert drafting.passes < 0.7 * drafting.steps


def test_a_draft_leaves_the_cache_as_it_was():
    model = random_gpt2(3)
    decoder = GPT2Decoder(model, rough=RoughWeights(model))
    with torch.inference_mode():
        decoder.start([[1, 2, 3]], 9)
        guesses = decoder.draft(4, 5, lambda logits: logits.argmax(1))
        logits = decoder.extend(torch.tensor([[4, 5]]))[0]
        expected = model(torch.tensor([[1, 2, 3, 4, 5]])).logits[0, 3:]
    assert len(guesses) == 5
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_copies_are_for_texts_of_some_length_and_made_again_for_other_weights():
    generator = Generator(random_gpt2(0))
    copies = generator._shortcuts
    for made in (copies.screen, copies.rough):
        assert made(31) is None
        first = made(40)
        assert first is not None
        assert made(5) is first
    for weight in (generator.model.transformer.wte.weight, generator.model.transformer.h[1].mlp.c_fc.weight):
        first = copies.screen(40), copies.rough(40)
        with torch.no_grad():
            weight.add_(0.1)
        assert copies.screen(40) is not first[0]
        assert copies.rough(40) is not first[1]


def shuffled(weight):
    return weight[torch.randperm(len(weight), generator=torch.Generator().manual_seed(0))]


def through_data(model):
    weight = model.transformer.wte.weight
    weight.data.copy_(shuffled(weight.data))


def through_numpy(model):
    weight = model.transformer.wte.weight.detach()
    weight.numpy()[:] = shuffled(weight).numpy()


def by_a_fused_optimiser(model):
    optimiser = torch.optim.AdamW(model.parameters(), lr=1.0, fused=True)
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimiser.step()


def by_other_parameters(model):
    model.load_state_dict(random_gpt2(9, 3.0).state_dict(), assign=True)


@pytest.mark.parametrize("change", [through_data, through_numpy, by_a_fused_optimiser, by_other_parameters])
def test_copies_follow_the_weights_however_they_are_changed(change):
    generator = Generator(random_gpt2(1, 3.0))
    before = generator.generate_ids([[1, 2, 3, 4]], 40, stop_at_end=False)
    change(generator.model)
    after = generator.generate_ids([[1, 2, 3, 4]], 40, stop_at_end=False)
    assert after == without(generator).generate_ids([[1, 2, 3, 4]], 40, stop_at_end=False) != before


def test_a_copy_does_not_keep_what_it_was_made_of():
    for block in RoughWeights(random_gpt2(0)).blocks:
        for product in (block.attention_in, block.attention_out, block.widen, block.narrow):
            assert not any(held.requires_grad for held in vars(product).values())


@pytest.mark.parametrize("sampling", [Sampling(0), Sampling(0.7)], ids=str)
def test_the_mode_and_the_types_around_do_not_matter(sampling):
    with torch.inference_mode():
        model = random_gpt2(1, 3.0)
    generator = Generator(model)
    expected = without(generator).generate_ids([[1, 2, 3]], 40, sampling)
    assert generator.generate_ids([[1, 2, 3]], 40, sampling) == expected
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            assert Generator(model).generate_ids([[1, 2, 3]], 40, sampling) == expected
        finally:
            torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert len(Generator(model).generate_ids([[1, 2, 3]], 40, sampling)[0]) <= 40


def test_other_types_sizes_processors_and_models_have_none(monkeypatch):
    for model in (random_gpt2(0).bfloat16(), random_t5(0)):
        generator = Generator(model)
        assert generator._shortcuts.screen(99) is None
        assert generator._shortcuts.rough(99) is None
    monkeypatch.setattr(shortcuts, "_LARGE", 10**9)
    assert Generator(random_gpt2(0))._shortcuts.rough(99) is None
    monkeypatch.setattr(shortcuts, "_LARGE", 1)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert Generator(random_gpt2(0))._shortcuts.rough(99) is None
