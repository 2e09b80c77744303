"""Products of 8-bit integers are about the products, and integers are scaled row by row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.generate.quantized import QuantizedLinear, has_quick_integers, to_integers


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_integers_times_their_scale_are_the_rows(rows, width, size, seed):
    values = size * torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    values[0, 0] = 0
    integers, scale = to_integers(values)
    assert scale.shape == (rows, 1)
    assert torch.equal(integers, integers.round())
    assert integers.abs().max() <= 127
    assert ((integers * scale - values).abs() <= 0.501 * scale).all()


def test_a_row_of_zeros_has_a_scale():
    integers, scale = to_integers(torch.zeros(2, 3))
    assert torch.equal(integers, torch.zeros(2, 3))
    assert (scale > 0).all()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 50), st.integers(8, 80), st.booleans(), st.floats(1e-3, 1e3),
    st.integers(0, 99),
)  # fmt: skip
def test_the_product_is_the_one_of_the_rounded_matrices(rows, outputs, inputs, has_bias, size, seed):
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(inputs, outputs, generator=random).t()  # GPT-2 keeps them inputs x outputs
    bias = torch.randn(outputs, generator=random) if has_bias else None
    x = size * torch.randn(rows, inputs, generator=random)
    found = QuantizedLinear(weight, bias)(x)
    (left, left_scale), (right, right_scale) = to_integers(x), to_integers(weight)
    expected = (left.double() * left_scale) @ (right.double() * right_scale).t()
    if bias is not None:
        expected += bias
    assert found.shape == (rows, outputs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float(), atol=1e-4 * size, rtol=1e-4)
    exact = x @ weight.t() + (0 if bias is None else bias)
    error = (found - exact).abs()
    assert (error <= 0.05 * x.norm(dim=1, keepdim=True) * weight.norm(dim=1)).all()


@pytest.mark.parametrize("supported", [False, True])
def test_the_processor_decides(monkeypatch, supported):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: supported, raising=False)
    assert has_quick_integers() is supported
    monkeypatch.delattr(torch, "_int_mm")
    assert not has_quick_integers()
