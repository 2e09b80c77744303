import itertools
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from corpuskit import errors
from corpuskit.generate import Generator, Sampling
from corpuskit.models import ModelConfig, create, save
from corpuskit.models.tokenizers import HuggingFaceTokenizer
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BYTES = tuple(bytes([i]) for i in range(256))
END = 257
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": END}))


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices of this size lose more by waiting for a second thread than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lively_model(context=24, vocab_size=258, seed=0):
    """A random GPT-2 with weights large enough that its greedy choices vary and are far from ties."""
    shape = ModelConfig(layers=2, width=16, heads=4, context_length=context)
    model = create(shape, vocab_size, seed=seed, end_of_text_id=min(END, vocab_size - 1)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.mul_(10 if "wte" in name or "wpe" in name else 8)
    return model


GENERATOR = Generator(lively_model(), TOKENIZER)

prompts = st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=20), min_size=1, max_size=4)


def straightforward(generator, prompt, count):
    """Greedy without cache, padding or batch: one forward pass over the window for each token."""
    window, new = list(prompt), []
    for _ in range(count):
        logits = generator.model(torch.tensor([window]), use_cache=False).logits[
            0, -1, : generator.vocab_size
        ]
        new.append(int(logits.argmax()))
        window.append(new[-1])
        if len(window) > generator.context_length:
            window = window[-(generator.context_length // 2) :]
    return new


@settings(max_examples=10, deadline=None)
@given(prompts)
def test_a_batch_gives_what_each_prompt_gives_alone_also_when_the_window_slides(rows):
    batch = GENERATOR.generate_ids(rows, max_new_tokens=30, stop_at_end=False)
    with torch.no_grad():
        assert batch == [straightforward(GENERATOR, row, 30) for row in rows]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=8))
def test_greedy_tokens_are_those_of_transformers(row):
    ids = torch.tensor([row])
    theirs = GENERATOR.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False, eos_token_id=None
    )
    assert GENERATOR.generate_ids([row], 16, stop_at_end=False)[0] == theirs[0, len(row) :].tolist()


@settings(max_examples=10, deadline=None)
@given(prompts, st.integers(0, 5))
def test_what_a_prompt_draws_does_not_depend_on_its_neighbours(rows, seed):
    sampling = Sampling(0.9, top_k=20)
    batch = GENERATOR.generate_ids(rows, 12, sampling, seed, num_samples=2)
    alone = [GENERATOR.generate_ids([row], 12, sampling, seed, num_samples=2) for row in rows]
    assert batch == list(itertools.chain(*alone))


def test_seeds_and_samples_differ_and_repeat():
    first = GENERATOR.generate("我想", 20, temperature=1.0, seed=1, num_samples=3)
    assert first == GENERATOR.generate("我想", 20, temperature=1.0, seed=1, num_samples=3)
    assert len(set(first)) == 3
    assert first[0] == GENERATOR.generate("我想", 20, temperature=1.0, seed=1)
    assert first[0] != GENERATOR.generate("我想", 20, temperature=1.0, seed=2)


def test_one_prompt_gives_a_text_and_several_give_a_list():
    assert isinstance(GENERATOR.generate("a", 3), str)
    assert len(GENERATOR.generate(["a", "bc"], 3)) == 2
    assert len(GENERATOR.generate(["a", "bc"], 3, num_samples=2)) == 4
    with_prompt = GENERATOR.generate("我想", 10)
    assert with_prompt == "我想" + GENERATOR.generate("我想", 10, include_prompt=False)


def test_stream_gives_the_same_text_and_only_whole_characters():
    pieces = list(GENERATOR.stream("我", 60, temperature=1.0, seed=3))
    assert "".join(pieces) == GENERATOR.generate("我", 60, temperature=1.0, seed=3, include_prompt=False)
    assert not pieces[-1].endswith("\ufffd")


def test_an_empty_prompt_starts_from_the_end_of_text_token():
    expected = GENERATOR.generate_ids([[END]], 10)[0]
    text = GENERATOR.generate("", 10, temperature=0)
    assert text == TOKENIZER.decode(expected).rstrip("\ufffd")


def test_an_empty_prompt_without_an_end_of_text_token_is_refused():
    plain = Tokenizer(ByteLevelBPE(BYTES, ()))
    with pytest.raises(errors.ConfigError, match=r"prompt.*empty"):
        Generator(lively_model(), plain).generate("")


def test_the_end_of_text_token_ends_a_text_and_is_not_part_of_it():
    model = lively_model()
    with torch.no_grad():  # the end is most likely whatever came before
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(model.transformer.wte.weight[END])
    generator = Generator(model, TOKENIZER)
    assert generator.generate_ids([[1], [2, 3]], 10) == [[], []]
    assert generator.generate_ids([[1]], 4, stop_at_end=False) == [[END] * 4]
    assert generator.generate("ab", 10, temperature=0) == "ab"


def test_padding_rows_are_never_sampled():
    model = lively_model(vocab_size=5)  # 64 rows
    with torch.no_grad():
        model.transformer.wte.weight[5:] *= 100
    generator = Generator(model)
    sampling = Sampling(temperature=50.0)
    drawn = generator.generate_ids([[0]], 40, sampling, num_samples=10, stop_at_end=False)
    assert {token for row in drawn for token in row} == set(range(5))


def test_too_long_prompts_and_impossible_ids_are_refused_by_number():
    fits = "x" * GENERATOR.context_length
    assert GENERATOR.generate(fits, 2).startswith(fits)
    with pytest.raises(errors.ConfigError, match=r"prompt 1.*25 tokens.*holds 24"):
        GENERATOR.generate(["a", fits + "x"], 2)
    with pytest.raises(errors.ConfigError, match=r"0 … 257"):
        GENERATOR.generate_ids([[258]], 2)
    with pytest.raises(errors.ConfigError, match="nothing to continue"):
        GENERATOR.generate_ids([[]], 2)
    with pytest.raises(errors.ConfigError, match="max_new_tokens"):
        GENERATOR.generate("a", 0)
    with pytest.raises(errors.ConfigError, match="temperature"):
        GENERATOR.generate("a", 1, temperature=-1)


def test_a_saved_model_loads_with_its_tokenizer_here_and_in_transformers(tmp_path):
    save(GENERATOR.model, tmp_path / "run1", TOKENIZER)
    loaded = Generator.load(tmp_path / "run1", device="cpu")
    assert loaded.tokenizer.fingerprint == TOKENIZER.fingerprint
    assert loaded.generate("我想", 20) == GENERATOR.generate("我想", 20)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "run1", local_files_only=True)
    assert theirs("我想去北京。")["input_ids"] == TOKENIZER.encode("我想去北京。")
    (tmp_path / "run1" / "corpuskit.json").unlink()
    foreign = Generator.load(tmp_path / "run1", device="cpu")
    assert isinstance(foreign.tokenizer, HuggingFaceTokenizer)
    assert foreign.generate("我想", 20) == GENERATOR.generate("我想", 20)
    save(foreign.model, tmp_path / "again", foreign.tokenizer)
    assert Generator.load(tmp_path / "again", device="cpu").generate("我想", 5) == GENERATOR.generate(
        "我想", 5
    )


def test_a_model_without_a_tokenizer_asks_for_ids(tmp_path):
    save(GENERATOR.model, tmp_path)
    with pytest.raises(errors.ConfigError, match="generate_ids"):
        Generator.load(tmp_path, device="cpu").generate("a")


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path):
    save(lively_model(vocab_size=100), tmp_path, TOKENIZER)
    with pytest.raises(errors.ArtifactError, match="258 tokens, the model only 100"):
        Generator.load(tmp_path)


def test_other_architectures_load_and_continue_batches_as_alone(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, initializer_range=1.0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    generator = Generator.load(tmp_path, device="cpu")
    rows = [[1, 2, 3, 4, 5], [7], [9, 10]]
    with torch.no_grad():
        alone = [straightforward(generator, row, 10) for row in rows]
    assert generator.generate_ids(rows, 10, stop_at_end=False) == alone


def test_the_sorting_model_sorts():
    data = Path(os.environ.get("CORPUSKIT_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    directory = data / "weights" / "gpt2-sort"
    if not directory.exists():
        pytest.skip("needs weights/gpt2-sort of the shared data")
    generator = Generator.load(directory, device="cpu")
    everything = [list(row) for row in itertools.product(range(3), repeat=6)]
    found = generator.generate_ids(everything, 6, stop_at_end=False)
    assert found == [sorted(row) for row in everything]
