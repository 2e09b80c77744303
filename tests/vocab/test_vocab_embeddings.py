"""Rows for new tokens: old ones keep their bits, new ones start as stated."""

import math

import pytest

from corpuskit import vocab
from corpuskit.errors import ArtifactError, ConfigError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from corpuskit.vocab.embeddings import constituent_ids, resize  # noqa: E402

ROWS, NEW = 50, 4
PARTS = [[1, 2], [3, 3, 4], [0], []]
SIZE = {"vocab_size": ROWS}
GPT2 = SIZE | {
    "n_positions": 16,
    "n_embd": 8,
    "n_layer": 1,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
BERT = SIZE | {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}
T5 = SIZE | {
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
BART = SIZE | {
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 16,
}


def build(name: str):
    """A random model of an architecture; biases of the output are random too."""
    tied = not name.endswith("untied")
    kind = name.split()[0]
    torch.manual_seed(0)
    model = {
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(**GPT2, tie_word_embeddings=tied)
        ),
        "gptj": lambda: transformers.GPTJForCausalLM(transformers.GPTJConfig(**GPT2, rotary_dim=4)),
        "llama": lambda: transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**BERT, tie_word_embeddings=tied)
        ),
        "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**BERT)),
        "encoder": lambda: transformers.BertModel(transformers.BertConfig(**BERT)),
        "t5": lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(**T5, tie_word_embeddings=tied)
        ),
        "bart": lambda: transformers.BartForConditionalGeneration(transformers.BartConfig(**BART)),
    }[kind]()
    with torch.no_grad():
        for parameter in [*model.parameters(), *model.buffers()]:
            if parameter.dim() <= 2 and parameter.shape[-1:] == (ROWS,) and parameter.is_floating_point():
                parameter.normal_()
    return model.eval()


def outputs(model):
    ids = torch.tensor([[5, 1, 49, 7]])
    with torch.no_grad():
        result = model(ids, decoder_input_ids=ids) if model.config.is_encoder_decoder else model(ids)
    return result[0]


def tables(model):
    output = model.get_output_embeddings()
    found = [model.get_input_embeddings().weight]
    if output is not None:
        found += [output.weight] + ([output.bias[:, None]] if output.bias is not None else [])
    return found


NAMES = ["gpt2", "gpt2 untied", "gptj", "llama", "llama untied", "bert", "encoder", "t5", "t5 untied", "bart"]


@pytest.mark.parametrize("init", ["constituents", "mean", "multivariate", "zero"])
@pytest.mark.parametrize("name", NAMES)
def test_old_rows_keep_their_bits_and_new_ones_start_as_stated(name, init):
    model = build(name)
    before = [table.detach().clone() for table in tables(model)]
    old_outputs = outputs(model)
    output = model.get_output_embeddings()
    tied = output is not None and output.weight is model.get_input_embeddings().weight
    assert resize(model, ROWS, PARTS, init=init) == 64 == model.config.vocab_size
    output = model.get_output_embeddings()
    assert (output is not None and output.weight is model.get_input_embeddings().weight) is tied
    after = tables(model)
    assert len(after) == len(before)
    for old, new in zip(before, after):
        assert new.shape[0] == 64
        assert torch.equal(new[:ROWS], old)
        mean = old.double().mean(0).float()
        assert torch.equal(new[ROWS + NEW :], mean.expand(64 - ROWS - NEW, -1))
        constituents = [old[part].double().mean(0).float() if part else mean for part in PARTS]
        zero = torch.zeros_like(mean) if old.shape[1] > 1 else mean
        expected = {"constituents": constituents, "mean": [mean] * NEW, "zero": [zero] * NEW}
        if init in expected:
            assert torch.equal(new[ROWS : ROWS + NEW], torch.stack(expected[init]))
    # The same dot products of 8 float32 terms, at most summed in another order: each is off by less
    # than 8 eps times the sum of its terms' magnitudes, which Cauchy and Schwarz bound by the norms; a
    # layer norm bounds the hidden state's by sqrt(8) times its largest gain, here 1 (and T5 scales it
    # down). Biases are added once more.
    largest = max(float(table.detach().norm(dim=1).max()) for table in before)
    tolerance = 10 * torch.finfo(torch.float32).eps * (largest * math.sqrt(8) + largest)
    new_outputs = outputs(model)
    shared = new_outputs[..., :ROWS] if output is not None else new_outputs
    torch.testing.assert_close(shared, old_outputs, rtol=0, atol=tolerance)


def test_an_extra_output_bias_grows_with_the_rows():
    model = build("bart")
    before = model.final_logits_bias.clone()
    assert before.abs().max() > 0
    resize(model, ROWS, PARTS)
    assert model.final_logits_bias.shape == (1, 64)
    assert torch.equal(model.final_logits_bias[:, :ROWS], before)
    assert model.final_logits_bias[0, ROWS] == before[0, [1, 2]].double().mean().float()


def test_padding_rows_of_the_old_model_are_filled_and_never_taken_away():
    model = build("gpt2")
    resize(model, ROWS, [], multiple=128)
    weight = model.get_input_embeddings().weight
    assert weight.shape[0] == 128
    assert resize(model, ROWS, PARTS) == 128
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight[ROWS], weight[[1, 2]].double().mean(0).float())
    assert not torch.equal(weight[ROWS], weight[ROWS + NEW])


def test_padding_rows_are_never_generated_and_survive_saving(tmp_path):
    model = build("gpt2")
    resize(model, ROWS, PARTS)
    assert model.config.unpadded_vocab_size == ROWS + NEW
    assert model.generation_config.suppress_tokens == list(range(ROWS + NEW, 64))
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(outputs(again), outputs(model))
    resize(again, ROWS + NEW, [[0]] * 10)
    assert again.generation_config.suppress_tokens is None
    assert again.get_input_embeddings().weight.shape[0] == 64


def test_multivariate_rows_have_the_old_mean_and_covariance_and_one_seed():
    torch.manual_seed(3)
    drawn = []
    for seed in (0, 0, 1):
        model = build("gpt2")
        with torch.no_grad():
            old = model.get_input_embeddings().weight
            old.copy_(torch.randn(8, 8).mul(0.3).T.repeat(7, 1)[:ROWS] + torch.arange(ROWS)[:, None] / 40)
            old = old.clone()
        resize(model, ROWS, [[]] * 4000, init="multivariate", seed=seed)
        drawn.append(model.get_input_embeddings().weight[ROWS : ROWS + 4000].detach())
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    new = drawn[2].double()
    covariance = torch.cov(old.double().T, correction=0)
    # Mean and covariance of n draws have standard errors of at most sqrt(v / n) and sqrt(2 / n) v, v being
    # the largest variance; 6 of them leave a chance of 1e-7 over all entries, and the seed is fixed.
    largest = float(covariance.diagonal().max())
    assert (new.mean(0) - old.double().mean(0)).abs().max() < 6 * math.sqrt(largest / 4000)
    assert (torch.cov(new.T, correction=0) - covariance).abs().max() < 6 * math.sqrt(2 / 4000) * largest


@pytest.mark.parametrize("name", ["gpt2", "gpt2 untied", "gptj", "bert"])
def test_loss_on_old_text_grows_by_no_more_than_the_stated_bounds(name):
    parts = [[i % 7, (3 * i) % 7, 40] for i in range(40)]
    before = torch.logsumexp(outputs(build(name)).double(), -1)
    probabilities = torch.softmax(outputs(build(name)).double(), -1)
    for init in ("mean", "constituents"):
        model = build(name)
        rows = resize(model, ROWS, parts, init=init, multiple=1)
        growth = torch.logsumexp(outputs(model).double(), -1) - before
        if init == "mean":
            bound = torch.full_like(growth, math.log(rows / ROWS))
        else:
            shares = torch.zeros(ROWS, dtype=torch.float64)
            for part in parts:
                for token_id in part:
                    shares[token_id] += 1 / len(part)
            bound = torch.log1p((probabilities * shares).sum(-1))
            assert float(bound.max()) <= math.log1p(float(shares.max()))
        # New rows are rounded once to float32, which moves their logits by less than 1e-5 here.
        assert (growth <= bound + 1e-5).all()


def test_a_half_precision_model_stays_one():
    model = build("llama").to(torch.bfloat16)
    before = model.get_input_embeddings().weight.detach().clone()
    resize(model, ROWS, PARTS)
    weight = model.get_input_embeddings().weight
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight[:ROWS], before)
    assert torch.equal(weight[ROWS], before[[1, 2]].double().mean(0).bfloat16())


def test_constituents_are_the_old_ids_of_the_bytes(small, chinese):
    longer = vocab.extend(small, chinese, 90)
    parts = constituent_ids(small, longer)
    assert len(parts) == 90
    for token_id, ids in enumerate(parts, small.vocab_size):
        token = longer.vocabulary.tokens[token_id]
        assert b"".join(small.vocabulary.tokens[i] for i in ids) == token
    with pytest.raises(ConfigError, match="begin with"):
        constituent_ids(longer, small)


def test_constituents_of_pieces_are_what_the_base_cut_them_into(chinese, small):
    base = vocab.train(chinese[:40], algorithm="sentencepiece-bpe", vocab_size=420)
    longer = vocab.extend(base, chinese, 50)
    parts = constituent_ids(base, longer)
    assert len(parts) == 50
    for token_id, ids in enumerate(parts, base.vocab_size):
        assert ids == base.encode(longer.decode([token_id]))
    for old, new in ((longer, base), (small, longer)):
        with pytest.raises(ConfigError, match="begin with"):
            constituent_ids(old, new)


def test_impossible_arguments_are_refused():
    for arguments, field in (
        ({"old_size": 51, "constituents": []}, "old_size"),
        ({"old_size": 50, "constituents": [[50]]}, "new token 0"),
        ({"old_size": 50, "constituents": [[1], [-1]]}, "new token 1"),
        ({"old_size": 50, "constituents": [], "init": "random"}, "init"),
        ({"old_size": 50, "constituents": [], "multiple": 0}, "multiple"),
    ):
        with pytest.raises(ConfigError, match=field):
            resize(build("gpt2"), **arguments)


@pytest.fixture
def sorter(shared_data):
    """A real GPT-2 of 3 tokens that sorts six of them; its output is not tied."""
    return shared_data / "weights" / "gpt2-sort"


def sort(model, numbers: list[int]) -> list[int]:
    ids = list(numbers)
    with torch.no_grad():
        for _ in numbers:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1, :3].argmax()))
    return ids[len(numbers) :]


@pytest.mark.parametrize("init", ["constituents", "mean", "multivariate", "zero"])
def test_a_trained_model_does_what_it_did(sorter, init):
    old = transformers.GPT2LMHeadModel.from_pretrained(sorter).eval()
    model = transformers.GPT2LMHeadModel.from_pretrained(sorter).eval()
    assert resize(model, 3, [[0, 1], [2]], init=init) == 64
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    for new, before in zip(tables(model), tables(old)):
        assert torch.equal(new[:3], before)
    problems = [[2, 0, 1, 1, 0, 2], [0, 0, 2, 1, 0, 1], [1, 2, 2, 0, 2, 0]]
    with torch.no_grad():
        ids = torch.tensor(problems)
        expected, got = old(ids).logits, model(ids).logits[..., :3]
        hidden = old.transformer(ids)[0]
    # 48 terms a dot product, as above: 48 eps |w| |h|, the norms being those of this model.
    weight = old.get_output_embeddings().weight
    tolerance = (
        48 * torch.finfo(torch.float32).eps * float(weight.norm(dim=1).max() * hidden.norm(dim=-1).max())
    )
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance)
    for numbers in problems:
        assert sort(model, numbers) == sort(old, numbers) == sorted(numbers)


def test_a_model_without_a_tokenizer_has_no_vocabulary_to_extend(sorter, chinese):
    with pytest.raises(ArtifactError, match="no merges to go on from"):
        vocab.extend(sorter, chinese, 10)
