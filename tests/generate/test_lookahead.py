"""Drafts change how often the model is read, and nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import enlarge, random_gpt2, random_prompts
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from corpuskit.generate import Generator, Sampling
from corpuskit.generate.continuation import Continuation
from corpuskit.generate.decoding import CausalDecoder, decoder_for
from corpuskit.generate.gpt2 import GPT2Decoder
from corpuskit.generate.lookahead import Lookahead, Phrases


def guessed(tokens, count):
    """What `Phrases` should guess, found by looking."""
    for size in (3, 2, 1):
        if size > len(tokens):
            continue
        ending = tokens[-size:]
        earlier = [end for end in range(size, len(tokens)) if tokens[end - size : end] == ending]
        if earlier:
            text = list(tokens)
            for step in range(count):
                text.append(text[earlier[-1] + step])
            return text[len(tokens) :]
    return []


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 9))
def test_a_guess_is_what_followed_the_longest_phrase_where_it_was_last(tokens, count):
    phrases = Phrases(tokens)
    assert phrases.guess(count) == guessed(tokens, count)
    assert len(phrases) == len(tokens)


class Recorder:
    """A decoder of one row whose logits say which token comes next in a fixed text, and what it has read."""

    rewinds = True

    def __init__(self, text, vocabulary):
        self.text, self.vocabulary, self.read, self.passes = text, vocabulary, [], 0

    def _logits(self, length):
        wanted = self.text[length] if length < len(self.text) else 0
        return torch.nn.functional.one_hot(torch.tensor(wanted), self.vocabulary).float()

    def start(self, windows, room):
        self.read, self.room = list(windows[0]), len(windows[0]) + room
        return self._logits(len(self.read))[None]

    def step(self, tokens):
        return self.extend(tokens[:, None])[:, 0]

    def extend(self, tokens):
        found = []
        self.passes += 1
        for token in tokens[0].tolist():
            self.read.append(token)
            right = self.read == self.text[: len(self.read)]
            found.append(self._logits(len(self.read)) if right else torch.zeros(self.vocabulary))
        assert len(self.read) <= self.room
        return torch.stack(found)[None]

    def rewind(self, length):
        del self.read[length:]

    def select(self, rows):
        raise AssertionError("there is one row")


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=60), st.integers(1, 10))
def test_every_step_sees_exactly_the_text_so_far(text, prompt):
    prompt = min(prompt, len(text) - 1)
    recorder = Recorder(text, 3)
    decoder = Lookahead(recorder)
    logits = decoder.start([text[:prompt]], len(text) - prompt)
    for place in range(prompt, len(text)):
        assert int(logits.argmax()) == text[place]
        if place < len(text) - 1:
            logits = decoder.step(torch.tensor([text[place]]))
            assert recorder.read[: place + 1] == text[: place + 1]
    assert decoder.passes == recorder.passes <= decoder.steps


class Prophet:
    """Drafts a fixed text, and something else at the places where it is wrong."""

    def __init__(self, text, known, wrong=()):
        self.text, self.known, self.wrong, self.asked = text, known, wrong, []

    def draft(self, token, count, choose):
        place = self.known(token)
        self.asked.append(count)
        return [(self.text[p] + (p in self.wrong)) % 7 for p in range(place, place + count)]


def passes_with(text, prompt, wrong):
    """Passes, and the lengths of the drafts asked for."""
    recorder = Recorder(text, 7)
    prophet = Prophet(text + [0] * 9, lambda token: place + 1, wrong)
    decoder = Lookahead(recorder, prophet)
    decoder.foresee = lambda: lambda logits: logits.argmax(1)
    logits = decoder.start([text[:prompt]], len(text) - prompt)
    for place in range(prompt, len(text) - 1):
        assert int(logits.argmax()) == text[place]
        logits = decoder.step(torch.tensor([text[place]]))
        assert recorder.read[: place + 1] == text[: place + 1]
    assert decoder.passes == recorder.passes
    return decoder.passes, prophet.asked


RANDOM_TEXT = torch.randint(0, 7, (400,), generator=torch.Generator().manual_seed(5)).tolist()


def test_drafts_that_come_true_grow_and_those_that_do_not_are_given_up():
    passes, asked = passes_with(RANDOM_TEXT, 4, ())
    assert asked[:6] == [3, 4, 5, 6, 7, 8]
    assert max(asked) == 8
    assert passes <= 395 // 9 + 12
    passes, asked = passes_with(RANDOM_TEXT, 4, set(range(400)))
    assert 380 <= passes <= 395  # the text's own past still guesses
    assert len(asked) < 12
    assert asked[-1] == 1


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 120)), st.integers(1, 20))
def test_what_is_drafted_does_not_change_what_is_read(wrong, prompt):
    passes_with(RANDOM_TEXT[:120], prompt, wrong)


def test_nobody_drafts_without_knowing_how_tokens_are_chosen():
    recorder = Recorder(RANDOM_TEXT, 7)
    prophet = Prophet(RANDOM_TEXT, lambda token: 0)
    decoder = Lookahead(recorder, prophet)
    decoder.start([RANDOM_TEXT[:5]], 50)
    for token in RANDOM_TEXT[5:40]:
        decoder.step(torch.tensor([token]))
    assert prophet.asked == []


def test_a_text_that_repeats_itself_takes_an_eighth_of_the_passes():
    text = [5, 1, 4, 2] * 60
    decoder = Lookahead(Recorder(text, 6))
    decoder.start([text[:8]], len(text) - 8)
    for token in text[8:-1]:
        decoder.step(torch.tensor([token]))
    assert decoder.steps == 231
    assert decoder.passes <= 4 + 231 // 8 + 1


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0),
        Sampling(0.3, top_k=3),
        Sampling(0.8, top_p=0.9),
        Sampling(0.0, repetition_penalty=1.3, no_repeat_ngram=3),
    ],
)
@pytest.mark.parametrize("repetitive", [False, True])
def test_texts_are_those_without_drafts(sampling, repetitive):
    model = random_gpt2(3, 2.0)
    prompt = random_prompts(1, 6, 300, seed=4).tolist()[0] * (3 if repetitive else 1)

    def tokens(decoder):
        continuation = Continuation(
            decoder, [prompt], [prompt], sampling, 300, model.config.n_positions, frozenset(), model.device
        )
        return [token for new in continuation.steps(60, 11, range(1)) for _, token in new]

    expected = tokens(GPT2Decoder(model))
    for decoder in (GPT2Decoder(model), CausalDecoder(model)):
        drafting = Lookahead(decoder)
        assert tokens(drafting) == expected
        assert drafting.passes <= drafting.steps


SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 64,
}  # fmt: skip


def test_other_causal_models_draft_where_their_cache_can_be_cut_back():
    torch.manual_seed(2)
    model = enlarge(LlamaForCausalLM(LlamaConfig(**SHAPE)), 5.0)
    prompt = [5, 6, 7, 5, 6, 7, 5, 6]
    decoder = decoder_for(model)
    continuation = Continuation(
        decoder, [prompt], [prompt], Sampling(temperature=0), 300, 64, frozenset(), model.device
    )
    found = [token for new in continuation.steps(40, 0, range(1)) for _, token in new]
    expected = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 8, dtype=torch.int64), max_new_tokens=40,
        do_sample=False, eos_token_id=None, pad_token_id=0,
    )[0, 8:].tolist()  # fmt: skip
    assert found == expected
    assert decoder.passes < decoder.steps


def test_a_model_with_a_sliding_window_does_not_draft():
    torch.manual_seed(0)
    model = enlarge(MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)), 5.0)
    with torch.inference_mode():
        decoder = decoder_for(model)
        decoder.start([[1, 2, 1, 2, 1, 2]], 10)
        for token in (1, 2, 1, 2):
            decoder.step(torch.tensor([token]))
    assert decoder.passes == decoder.steps == 4


def test_a_window_may_slide_and_rows_may_multiply():
    model = random_gpt2(5, 2.0)
    context = model.config.n_positions
    prompt = ([7, 8, 9] * context)[: context - 5]
    generator = Generator(model)
    alone = generator.generate_ids([prompt], 40, stop_at_end=False)
    batch = generator.generate_ids([prompt, prompt], 40, stop_at_end=False)
    assert batch == alone * 2
    drawn = generator.generate_ids([prompt], 20, Sampling(0.9), num_samples=3, stop_at_end=False)
    assert len(drawn) == 3
    with torch.inference_mode():
        decoder = Lookahead(GPT2Decoder(model))
        decoder.start([[1, 2, 1, 2, 1, 2]], 10)
        decoder.step(torch.tensor([1]))
        decoder.select(torch.tensor([0, 0]))
        logits = decoder.step(torch.tensor([5, 6]))
        for row, last in enumerate((5, 6)):
            expected = model(torch.tensor([[1, 2, 1, 2, 1, 2, 1, last]])).logits[0, -1]
            torch.testing.assert_close(logits[row], expected, atol=1e-4, rtol=1e-4)
