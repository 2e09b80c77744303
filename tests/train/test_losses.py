import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.models.configurations import ModelConfig
from corpuskit.models.loading import create
from corpuskit.train import losses
from corpuskit.train.batches import collate
from corpuskit.train.losses import TokenLoss, linear_cross_entropy
from corpuskit.train.objectives import CausalLM, Sample, SpecialTokens


def causal_batch(ids):
    special = SpecialTokens(1000)
    examples = [CausalLM()(Sample(row.numpy()), 0, special) for row in ids]
    made = collate(examples, pad=0, seq2seq=False, causal=True)
    return {name: torch.from_numpy(array) for name, array in made.items()}


def mean_loss(model, ids):
    batch = causal_batch(ids)
    return TokenLoss(model)(batch) / len(batch["targets"])


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 40),
    width=st.integers(1, 9),
    vocabulary=st.integers(1, 70),
    chunk=st.integers(1, 500),
    scale=st.sampled_from([0.01, 1.0, 40.0]),
    seed=st.integers(0, 1000),
    biased=st.booleans(),
)
def test_chunked_loss_and_gradients_equal_torch_cross_entropy(
    count, width, vocabulary, chunk, scale, seed, biased
):
    generator = torch.Generator().manual_seed(seed)
    # float64 inputs would hide nothing: ours sums in float32, so 40 terms of relative error 2**-24
    # each, on losses up to |logit| ~ 40 * 40 * 9, stay far below rtol 1e-4 with atol 1e-5 * scale.
    hidden = (scale * torch.randn(count, width, generator=generator)).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).requires_grad_()
    bias = torch.randn(vocabulary, generator=generator).requires_grad_()
    leaves = (hidden, weight, bias) if biased else (hidden, weight)
    targets = torch.randint(0, vocabulary, (count,), generator=generator)
    logits = hidden @ weight.T + bias if biased else hidden @ weight.T
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / count
    wanted = torch.autograd.grad(3 * expected, leaves)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "_LOGITS_PER_CHUNK", chunk)
        loss = linear_cross_entropy(hidden, weight, targets, bias if biased else None) / count
        found = torch.autograd.grad(3 * loss, leaves)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5 * scale)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def test_the_loss_of_gpt2_equals_the_loss_of_transformers():
    model = create(ModelConfig(layers=2, width=16, heads=2, context_length=12), 50, seed=1).eval()
    ids = torch.randint(0, 50, (3, 12), generator=torch.Generator().manual_seed(0))
    ours = mean_loss(model, ids)
    theirs = model(ids, labels=ids).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    ours_gradient = model.transformer.wte.weight.grad.clone()
    model.zero_grad()
    theirs.backward()
    torch.testing.assert_close(ours_gradient, model.transformer.wte.weight.grad)


def test_evaluation_needs_no_gradient():
    model = create(ModelConfig(layers=1, width=8, heads=2, context_length=8), 10, seed=1).eval()
    ids = torch.arange(8)[None]
    with torch.no_grad():
        loss = mean_loss(model, ids)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, model(ids, labels=ids).loss)


def test_bfloat16_autocast_gives_nearly_the_float32_loss():
    model = create(ModelConfig(layers=1, width=16, heads=2, context_length=16), 50, seed=1)
    ids = torch.arange(16)[None]
    exact = mean_loss(model, ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = mean_loss(model, ids)
    rough.backward()
    assert model.transformer.wte.weight.grad.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=2**-6)  # bfloat16 keeps 8 bits


def test_nothing_wanted_is_a_loss_of_zero():
    hidden = torch.randn(0, 4, requires_grad=True)
    weight = torch.randn(7, 4, requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and not weight.grad.any()
