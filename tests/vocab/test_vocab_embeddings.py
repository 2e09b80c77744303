"""Rows for new tokens: old ones keep their bits, new ones start as stated."""

import math

import pytest

from corpuskit.errors import ConfigError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from corpuskit.vocab.embeddings import constituent_ids, resize  # noqa: E402


def model(tied, rows=50):
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=rows, n_positions=16, n_embd=8, n_layer=1, n_head=2, tie_word_embeddings=tied
        )
    ).eval()


PARTS = [[1, 2], [3, 3, 4], [0]]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("init", ["constituents", "mean", "zero"])
def test_old_rows_keep_their_bits_and_new_ones_start_as_stated(tied, init):
    net = model(tied)
    before = [e.weight.detach().clone() for e in (net.get_input_embeddings(), net.get_output_embeddings())]
    ids = torch.tensor([[5, 1, 49]])
    logits = net(ids).logits
    assert resize(net, 50, PARTS, init=init) == 64 == net.config.vocab_size
    assert (net.get_input_embeddings().weight is net.get_output_embeddings().weight) is tied
    for old, new in zip(before, (net.get_input_embeddings().weight, net.get_output_embeddings().weight)):
        assert new.shape[0] == 64
        assert torch.equal(new[:50], old)
        mean = old.double().mean(0).float()
        expected = {
            "constituents": [old[p].double().mean(0).float() for p in PARTS],
            "mean": [mean] * 3,
            "zero": [torch.zeros(8)] * 3,
        }[init]
        assert torch.equal(new[50:53], torch.stack(expected))
        assert torch.equal(new[53:], mean.expand(11, 8))
    # The same dot products of 8 float32 terms, at most summed in another order: 8 eps of the sum
    # of magnitudes, which is below 8 * max|w| * max|h|; layer norm bounds |h| by sqrt(8).
    tolerance = 8 * torch.finfo(torch.float32).eps * 8 * float(before[1].abs().max()) * math.sqrt(8)
    torch.testing.assert_close(net(ids).logits[..., :50], logits, rtol=0, atol=tolerance)


def test_padding_rows_of_the_old_model_are_reused():
    net = model(True, rows=64)
    assert resize(net, 50, PARTS) == 64
    old = net.get_input_embeddings().weight
    assert torch.equal(old[50], old[[1, 2]].double().mean(0).float())


def test_constituents_are_the_old_ids_of_the_bytes(gpt2, extended):
    parts = constituent_ids(gpt2, extended)
    assert len(parts) == 200
    for token_id, ids in enumerate(parts, 50257):
        token = extended.vocabulary.tokens[token_id]
        assert b"".join(gpt2.vocabulary.tokens[i] for i in ids) == token
    with pytest.raises(ConfigError):
        constituent_ids(extended, gpt2)


def test_impossible_arguments_are_refused():
    for arguments, field in (
        ({"old_size": 51, "constituents": []}, "old_size"),
        ({"old_size": 50, "constituents": [[50]]}, "new token 0"),
        ({"old_size": 50, "constituents": [], "init": "random"}, "init"),
        ({"old_size": 50, "constituents": [], "multiple": 0}, "multiple"),
    ):
        with pytest.raises(ConfigError, match=field):
            resize(model(True), **arguments)
