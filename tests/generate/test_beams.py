import pytest
import torch
from small_models import END, TOKENIZER, lively_model, random_gpt2, random_prompts, random_t5

from corpuskit.errors import ConfigError
from corpuskit.generate import Generator, Sampling


def transformers_beams(model, ids, mask, prompt_length, ends, **settings):
    found = model.generate(
        ids, attention_mask=mask, do_sample=False, eos_token_id=ends, pad_token_id=0, **settings
    )
    texts = []
    for row in found[:, prompt_length:].tolist():
        place = next((i for i, token in enumerate(row) if token in (ends or [])), len(row))
        texts.append(row[:place])
    return texts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {"beams": 2},
        {"beams": 4, "length_penalty": 2.0},
        {"beams": 4, "length_penalty": -1.0, "early_stopping": True},
        {"beams": 3, "repetition_penalty": 1.5, "no_repeat_ngram": 2},
    ],
)
def test_beams_give_the_texts_of_transformers(seed, options):
    model = random_gpt2(seed, 3.0, vocab_size=40)
    ends = [1, 2, 3, 4]  # often enough that texts really end
    prompts = random_prompts(3, 5, 40, seed)
    names = {"beams": "num_beams", "no_repeat_ngram": "no_repeat_ngram_size"}
    expected = transformers_beams(
        model, prompts, torch.ones_like(prompts), 5, ends, max_new_tokens=12,
        num_return_sequences=2, **{names.get(name, name): value for name, value in options.items()},
    )  # fmt: skip
    generator = Generator(model)
    generator.end_ids = frozenset(ends)
    assert generator.generate_ids(prompts.tolist(), 12, Sampling(**options), num_samples=2) == expected


@pytest.mark.parametrize("seed", range(3))
def test_beams_of_an_encoder_decoder_are_those_of_transformers(seed):
    model = random_t5(seed, 2.0, vocab_size=60, eos_token_id=1)
    prompts = random_prompts(3, 7, 60, seed)
    expected = transformers_beams(
        model, prompts, torch.ones_like(prompts), 1, [1], max_new_tokens=10, num_beams=3,
        repetition_penalty=2.5, early_stopping=True,
    )  # fmt: skip
    sampling = Sampling(beams=3, repetition_penalty=2.5, early_stopping=True)
    assert Generator(model).generate_ids(prompts.tolist(), 10, sampling) == expected


def test_prompts_of_different_lengths_give_the_beams_they_give_alone():
    generator = Generator(random_gpt2(1, 3.0, vocab_size=40))
    prompts = [[5, 6, 7, 8], [9], [10, 11]]
    sampling = Sampling(beams=3)
    together = generator.generate_ids(prompts, 8, sampling)
    assert together == [generator.generate_ids([prompt], 8, sampling)[0] for prompt in prompts]


def test_texts_of_beams_end_before_the_end_token_and_stop_strings():
    generator = Generator(lively_model(context=48), TOKENIZER)
    ids = generator.generate_ids([TOKENIZER.encode("ab")], 12, Sampling(beams=2))[0]
    assert END not in ids
    text = generator.generate("ab", 12, beams=2, include_prompt=False)
    assert text == TOKENIZER.decode(ids).rstrip("\ufffd")
    assert list(generator.stream("ab", 12, beams=2)) == [text]
    visible = next(character for character in text if character != "\ufffd")
    assert (
        generator.generate("ab", 12, beams=2, include_prompt=False, stop=visible)
        == text[: text.index(visible)]
    )


def test_what_beams_cannot_do_is_refused():
    generator = Generator(lively_model(), TOKENIZER)
    with pytest.raises(ConfigError, match=r"num_samples.*2 beams cannot give 3"):
        generator.generate("ab", 4, beams=2, num_samples=3)
    with pytest.raises(ConfigError, match=r"max_new_tokens.*context"):
        generator.generate("ab", 100, beams=2)
