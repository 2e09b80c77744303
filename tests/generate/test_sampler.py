import itertools
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import BYTES, END, TOKENIZER, lively_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from corpuskit import errors
from corpuskit.generate import Generator, Sampling
from corpuskit.models import load, save
from corpuskit.models.tokenizers import HuggingFaceTokenizer
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.embeddings import resize
from corpuskit.vocab.tokenizer import Tokenizer

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


def test_rows_that_end_leave_the_batch_and_the_others_go_on_as_alone():
    generator = Generator(lively_model(context=64), TOKENIZER)
    rows = [[place, place + 1] for place in range(8)]
    alone = [generator.generate_ids([row], 40, stop_at_end=False)[0] for row in rows]
    generator.end_ids = frozenset(text[4 + 3 * place] for place, text in enumerate(alone[:5]))
    ended = [text[: next((i for i, t in enumerate(text) if t in generator.end_ids), 40)] for text in alone]
    assert len(set(map(len, ended))) > 3
    assert generator.generate_ids(rows, 40) == ended


def test_a_stop_string_cuts_where_it_begins_alone_in_a_batch_and_in_a_stream():
    whole = [GENERATOR.generate(text, 40, temperature=0, include_prompt=False) for text in ("我", "ab", "x")]
    for text in whole:
        middle = len(text) // 2
        stop = text[middle : middle + 2]
        found = GENERATOR.generate(
            ["我", "ab", "x"], 40, temperature=0, include_prompt=False, stop=["不出现", stop]
        )
        assert found == [text.split(stop)[0] for text in whole]
        stream = list(GENERATOR.stream("我", 40, temperature=0, stop=stop))
        assert "".join(stream) == whole[0].split(stop)[0]


def test_a_stop_string_may_begin_in_one_token_and_end_within_another():
    class Digits:  # a token is a digit and a bar
        vocab_size, end_of_text_id, fingerprint = 258, None, ""

        def encode(self, text):
            return [0]

        def decode(self, ids):
            return "".join(f"{token % 10}|" for token in ids)

    generator = Generator(GENERATOR.model, Digits())
    text = generator.generate("", 20, temperature=0, include_prompt=False)
    stop = text[5:9]  # the end of one token, a whole one, and the beginning of a third
    found = generator.generate("", 20, temperature=0, include_prompt=False, stop=stop)
    assert found == text.split(stop)[0]
    assert "".join(generator.stream("", 20, temperature=0, stop=stop)) == found


def test_overlong_prompts_are_read_from_their_window_where_that_is_asked_for():
    long = "x" * 10 + "y" * GENERATOR.context_length
    found = GENERATOR.generate(long, 5, temperature=0, overlong="window", include_prompt=False)
    assert found == GENERATOR.generate("y" * GENERATOR.context_length, 5, temperature=0, include_prompt=False)
    with pytest.raises(errors.ConfigError, match="window"):
        GENERATOR.generate(long, 5)
    with pytest.raises(errors.ConfigError, match="overlong"):
        GENERATOR.generate("x", 5, overlong="ignore")


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_texts_do_not_depend_on_how_many_are_written_at_a_time(batch_size):
    options = {"temperature": 1.0, "top_k": 30, "seed": 4, "num_samples": 3}
    expected = GENERATOR.generate(["我", "ab"], 10, **options)
    assert GENERATOR.generate(["我", "ab"], 10, batch_size=batch_size, **options) == expected
    assert GENERATOR.generate([], 10, batch_size=batch_size) == []


@pytest.mark.parametrize("sampling", [Sampling(0), Sampling(0.7), Sampling(0.7, top_k=3), Sampling(beams=2)])
@pytest.mark.parametrize("part", ["wte", "ln_f"])
def test_a_model_that_computes_no_numbers_says_so(sampling, part):
    model = lively_model()
    with torch.no_grad():
        getattr(model.transformer, part).weight.view(-1)[3] = float("nan")
    for rows in (1, 3):
        with pytest.raises(errors.ArtifactError, match="no longer a number"):
            Generator(model).generate_ids([[1, 2]] * rows, 5, sampling)


def test_texts_are_handed_over_as_they_are_written():
    parts = []
    texts = GENERATOR.generate(["a", "b", "c"], 5, num_samples=2, batch_size=4, on_texts=parts.append)
    assert [len(part) for part in parts] == [4, 2]
    assert [text for part in parts for text in part] == texts


def test_what_is_no_text_and_no_number_is_refused_by_name():
    for where, options in [
        ("prompt", {"prompt": None}), ("prompt", {"prompt": b"ab"}), ("prompt", {"prompt": [1, 2]}),
        ("stop", {"stop": 3}), ("max_new_tokens", {"max_new_tokens": 2.5}), ("batch_size", {"batch_size": 0}),
        ("num_samples", {"num_samples": "2"}),
    ]:  # fmt: skip
        with pytest.raises(errors.ConfigError) as caught:
            GENERATOR.generate(**({"prompt": "a", "max_new_tokens": 2} | options))
        assert caught.value.where == where


def test_one_end_in_the_generation_configuration_counts_beside_the_tokenizers():
    model = lively_model()
    model.generation_config.eos_token_id = 65
    assert Generator(model, TOKENIZER).end_ids == {65, END}
    model.generation_config.eos_token_id = [65, 66]
    assert Generator(model, TOKENIZER).end_ids == {65, 66, END}


def test_unknown_options_are_refused_by_name():
    with pytest.raises(errors.ConfigError, match=r"top_q.*no such option.*top_p"):
        GENERATOR.generate("a", 3, top_q=0.5)
    with pytest.raises(errors.ConfigError, match="top_q"):
        list(GENERATOR.stream("a", 3, top_q=0.5))


def sorter_directory():
    data = Path(os.environ.get("CORPUSKIT_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    directory = data / "weights" / "gpt2-sort"
    if not directory.exists():
        pytest.skip("needs weights/gpt2-sort of the shared data")
    return directory


def test_the_sorting_model_sorts():
    generator = Generator.load(sorter_directory(), device="cpu")
    everything = [list(row) for row in itertools.product(range(3), repeat=6)]
    found = generator.generate_ids(everything, 6, stop_at_end=False)
    assert found == [sorted(row) for row in everything]


def test_the_sorting_model_sorts_with_a_larger_vocabulary(tmp_path):
    model = load(sorter_directory())
    resize(model, 3, [[0], [1], [2], []], init="constituents", multiple=8)
    save(model, tmp_path)
    generator = Generator.load(tmp_path, device="cpu")
    assert generator.vocab_size == 7
    everything = [list(row) for row in itertools.product(range(3), repeat=6)]
    found = generator.generate_ids(everything, 6, stop_at_end=False)
    # a new row starts as a copy of its constituent, so token 4 is token 1 by another name
    named = [[token - 3 if 3 <= token < 6 else token for token in row] for row in found]
    assert named == [sorted(row) for row in everything]
