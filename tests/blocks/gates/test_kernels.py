from __future__ import annotations

from typing import get_args

import pytest
import torch

from archsearch.blocks._kernels import Kernel, kernel, pass_gradient

NO_DENSITY = ("identity", "heaviside")


@pytest.mark.parametrize("shape", [shape for shape in get_args(Kernel) if shape not in NO_DENSITY])
def test_a_kernel_integrates_to_one_and_is_even(shape: Kernel):
    u = torch.linspace(-2000, 2000, 4_000_001, dtype=torch.float64)
    value = kernel(u, shape)
    assert torch.trapezoid(value, u).item() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(value, value.flip(0))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("identity", [1, 1, 1, 1]),
        ("heaviside", [0, 0, 1, 1]),
        ("rectangle", [0, 1, 0, 0]),
        ("triangle", [0, 1, 0.5, 0]),
        ("epanechnikov", [0, 0.75, 0.5625, 0]),
        ("quartic", [0, 0.9375, 0.52734375, 0]),
        ("raised_cosine", [0, 1, 0.5, 0]),
    ],
)
def test_values_that_can_be_read_off(shape: Kernel, expected: list[float]):
    assert kernel(torch.tensor([-1.0, 0.0, 0.5, 2.0]), shape).tolist() == pytest.approx(expected, abs=1e-7)


def test_a_passed_gradient_changes_no_value():
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    added = pass_gradient(value, torch.tensor([[3.0, 4.0], [5.0, 6.0]]))
    added.sum().backward()
    assert added.tolist() == [[0.0, 0.0], [0.0, 0.0]] and value.grad is not None and value.grad.tolist() == [8.0, 10.0]
