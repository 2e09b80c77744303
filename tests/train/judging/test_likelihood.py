"""Likelihood against transformers' own loss and a forward pass for every token."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from corpuskit.errors import ConfigError, InputError
from corpuskit.models import ModelConfig, create
from corpuskit.models.heads import head_of
from corpuskit.train.judging import Likelihood, likelihood, logits
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BYTES = tuple(bytes([i]) for i in range(256))
END = 257
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": END}))
WITHOUT_END = Tokenizer(ByteLevelBPE((*BYTES, b"ab"), ((97, 98),), {}))


@pytest.fixture(scope="module")
def model():
    shape = ModelConfig(layers=2, width=16, heads=2, context_length=16)
    model = create(shape, 258, seed=1, end_of_text_id=END).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return model


def capped():
    """A model whose logits are more than a product."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=258, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=16, pad_token_id=0, bos_token_id=END,
        eos_token_id=END, sliding_window=16, initializer_range=0.3,
    )  # fmt: skip
    return Gemma2ForCausalLM(config).eval()


def plainly(model, row, length):
    """One forward pass a token: from the ids that the windows give it."""
    total, scored, begin = 0.0, 1, 0
    while scored < len(row):
        stop = min(begin + length, len(row))
        for position in range(scored, stop):
            with torch.inference_mode():
                logits = model(torch.tensor([row[begin:position]])).logits[0, -1, :258]
            total -= float(logits.double().log_softmax(0)[row[position]])
        scored, begin = stop, max(0, min(stop - length // 2, len(row) - length))
    return total


def test_equal_to_one_pass_a_token(model):
    texts = ["天气", "ab", "我想去北京看看天安门", "", "a"]
    for context_length in (None, 6):
        found = likelihood(model, TOKENIZER, texts, context_length=context_length, batch_size=2)
        for text, one in zip(texts, found, strict=True):
            row = [END, *TOKENIZER.encode(text)]
            assert one.nats == pytest.approx(plainly(model, row, context_length or 16), rel=1e-5)
            assert (one.tokens, one.characters, one.bytes) == (len(row) - 1, len(text), len(text.encode()))


def test_equal_to_transformers_loss_within_the_context(model):
    row = [END, *TOKENIZER.encode("天气很好")]
    ids = torch.tensor([row])
    with torch.inference_mode():
        logits = model(ids).logits[0, :-1, :258]
    expected = torch.nn.functional.cross_entropy(logits, ids[0, 1:])
    (found,) = likelihood(model, TOKENIZER, ["天气很好"])
    assert found.nats / found.tokens == pytest.approx(float(expected), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(float(expected)), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(float(expected) / math.log(2) * found.tokens / 12, rel=1e-5)
    assert found.bits_per_character == pytest.approx(3 * found.bits_per_byte)


def test_without_an_end_of_text_token_the_first_token_is_given(model):
    (found,) = likelihood(model, WITHOUT_END, ["abc"])
    assert (found.tokens, found.characters, found.bytes) == (1, 1, 1)
    with pytest.raises(InputError, match="no text has a token"):
        likelihood(model, WITHOUT_END, ["a", ""])


def test_batches_do_not_matter(model):
    texts = ["天气", "ab", "我想去北京看看天安门", "好"]
    together = likelihood(model, TOKENIZER, texts, batch_size=8)
    alone = [likelihood(model, TOKENIZER, [text])[0] for text in texts]
    assert [one.nats for one in together] == pytest.approx([one.nats for one in alone], rel=1e-5)
    assert sum(together, Likelihood(0.0, 0, 0, 0)).tokens == sum(one.tokens for one in alone)


def logits_of(model, ids, places, chunk, monkeypatch):
    monkeypatch.setattr(logits, "_LOGITS_PER_CHUNK", chunk)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    with torch.inference_mode():
        parts = list(logits.logits_at(model, inputs, places, 258))
        whole = model(**inputs).logits.flatten(0, 1)[places, :258].float()
    assert all(len(part) <= max(1, chunk // 258) for part in parts)
    return torch.cat(parts), whole


@pytest.mark.parametrize("chunk", [1, 258 * 3, 1 << 24])
@pytest.mark.parametrize("kind", ["head", "own forward pass", "own forward pass, all of it"])
def test_logits_are_the_models_own_at_the_places_asked_for(model, kind, chunk, monkeypatch):
    if kind == "own forward pass":  # soft caps after the product
        model = capped()
        assert head_of(model) is None
    elif kind == "own forward pass, all of it":
        monkeypatch.setattr(logits.inspect, "signature", lambda _: SimpleNamespace(parameters={}))
        model = capped()
    ids = torch.randint(0, 258, (3, 16), generator=torch.Generator().manual_seed(1))
    for places in ([7, 15, 24, 40, 47], [0, 20], [47], range(48)):
        found, expected = logits_of(model, ids, torch.tensor(places), chunk, monkeypatch)
        # The same sums over 16 numbers, which a product of other shape may add in another order.
        bound = 16 * torch.finfo(torch.float32).eps * float(expected.abs().max())
        assert (found - expected).abs().max() <= bound


def test_no_logits_are_made_where_nothing_is_scored(monkeypatch):
    """Of windows that overlap by half, the later half."""
    model, made = capped(), []
    plain = model.forward

    def forward(*args, logits_to_keep=0, **options):
        made.append((options["input_ids"].shape, logits_to_keep))
        return plain(*args, logits_to_keep=logits_to_keep, **options)

    monkeypatch.setattr(model, "forward", forward)
    text = "我想去北京看看天安门" * 3
    (found,) = likelihood(model, TOKENIZER, [text], context_length=16, batch_size=4)
    assert made[0] == ((4, 16), 16)  # the first window of the text is among them
    assert len(made) > 2 and all(kept <= 9 for _, kept in made[1:])
    row = [END, *TOKENIZER.encode(text)]
    assert found.nats == pytest.approx(plainly(capped(), row, 16), rel=1e-5)


def test_bad_arguments(model):
    with pytest.raises(ConfigError, match="from 2 to 16"):
        likelihood(model, TOKENIZER, ["一"], context_length=17)
    with pytest.raises(ConfigError, match="at least 1"):
        likelihood(model, TOKENIZER, ["一"], batch_size=0)
    small = create(ModelConfig(layers=1, width=8, heads=1, context_length=8), 64, seed=0)
    with pytest.raises(ConfigError, match="258 tokens, the model only 64"):
        likelihood(small, TOKENIZER, ["一"])
