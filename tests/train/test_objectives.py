import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.models.configurations import ModelConfig
from corpuskit.models.loading import create
from corpuskit.train import objectives
from corpuskit.train.objectives import _LinearCrossEntropy, next_token_loss


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 40),
    width=st.integers(1, 9),
    vocabulary=st.integers(1, 70),
    chunk=st.integers(1, 500),
    scale=st.sampled_from([0.01, 1.0, 40.0]),
    seed=st.integers(0, 1000),
)
def test_chunked_loss_and_gradients_equal_torch_cross_entropy(count, width, vocabulary, chunk, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    # float64 inputs would hide nothing: ours sums in float32, so 40 terms of relative error 2**-24
    # each, on losses up to |logit| ~ 40 * 40 * 9, stay far below rtol 1e-4 with atol 1e-5 * scale.
    hidden = (scale * torch.randn(count, width, generator=generator)).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).requires_grad_()
    targets = torch.randint(0, vocabulary, (count,), generator=generator)
    expected = torch.nn.functional.cross_entropy(hidden @ weight.T, targets)
    wanted = torch.autograd.grad(3 * expected, (hidden, weight))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "_LOGITS_PER_CHUNK", chunk)
        loss = _LinearCrossEntropy.apply(hidden, weight, targets)
        found = torch.autograd.grad(3 * loss, (hidden, weight))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5 * scale)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def test_next_token_loss_equals_the_loss_of_transformers():
    model = create(ModelConfig(layers=2, width=16, heads=2, context_length=12), 50, seed=1).eval()
    ids = torch.randint(0, 50, (3, 12), generator=torch.Generator().manual_seed(0))
    ours = next_token_loss(model.base_model, model, ids)
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
        loss = next_token_loss(model.base_model, model, ids)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, model(ids, labels=ids).loss)


def test_bfloat16_autocast_gives_nearly_the_float32_loss():
    model = create(ModelConfig(layers=1, width=16, heads=2, context_length=16), 50, seed=1)
    ids = torch.arange(16)[None]
    exact = next_token_loss(model.base_model, model, ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = next_token_loss(model.base_model, model, ids)
    rough.backward()
    assert model.transformer.wte.weight.grad.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=2**-6)  # bfloat16 keeps 8 bits
