from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from archsearch.blocks import _largest
from archsearch.blocks._largest import LONG, largest

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _scores(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def _wanted(score: Tensor, k: int) -> np.ndarray:
    """Plain sorting: of equal ones the first."""
    lines = score.double().numpy().reshape(-1, score.shape[-1])
    on = np.zeros_like(lines)
    for line, values in zip(on, lines):
        line[np.argsort(-values, kind="stable")[:k]] = 1
    return on.reshape(score.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 7, 63, 64, 100])
def test_the_k_largest_of_every_line_are_one(dtype: torch.dtype, k: int):
    score = _scores((5, 3, 64), dtype)
    found = largest(score, torch.tensor(float(k)), k)
    assert found.dtype == dtype and np.array_equal(found.double().numpy(), _wanted(score, k))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 40, 2000, 3 * LONG - 1])
def test_nor_does_a_sample_of_a_long_line_show(dtype: torch.dtype, k: int):
    score = _scores((2, 3 * LONG), dtype)
    assert np.array_equal(largest(score, torch.tensor(float(k)), k).double().numpy(), _wanted(score, k))


def test_a_sample_that_promises_too_much_is_not_believed():
    score = torch.zeros(1, LONG)
    score[:, :: _largest.STRIDE] = 1.0 + _scores((len(range(0, LONG, _largest.STRIDE)),)).abs()  # all that is large is in the sample
    k = int(score.count_nonzero()) + 5
    assert np.array_equal(largest(score, torch.tensor(k), k).numpy(), _wanted(score, k))


@pytest.mark.parametrize("shape", [(6, 50), (1, 2 * LONG)])
def test_of_equal_ones_the_first_are_taken(shape: tuple[int, ...]):
    score = (_scores(shape) * 2).round() + 0.0  # of minus zero a zero: it would come behind
    assert np.array_equal(largest(score, torch.tensor(17), 17).numpy(), _wanted(score, 17))
    assert np.array_equal(largest(torch.full(shape, -3.0), torch.tensor(4), 4).numpy(), _wanted(torch.ones(shape), 4))


def test_many_lines_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch):
    score = _scores((3, 7, 40))
    monkeypatch.setattr(_largest, "PART", 100)  # two lines and a half
    assert np.array_equal(largest(score, torch.tensor(9), 9).numpy(), _wanted(score, 9))


@pytest.mark.parametrize("entries", [4, LONG])
def test_no_lines_have_none(entries: int):
    assert largest(torch.zeros(0, entries), torch.tensor(2), 2).shape == (0, entries)


def test_infinities_are_in_order():
    score = torch.tensor([[-torch.inf, 1.0, torch.inf, -2.0, 0.0]])
    assert largest(score, torch.tensor(2), 2).tolist() == [[0, 1, 1, 0, 0]]
    assert largest(score, torch.tensor(4), 4).tolist() == [[0, 1, 1, 1, 1]]


def test_members_of_a_stack_may_want_different_counts():
    score, k = _scores((3, 4, 20)), torch.tensor([2.0, 5.0, 1.0])
    found = torch.vmap(lambda score, k: largest(score, k, 5))(score, k)
    shared = torch.vmap(lambda k: largest(score[0], k, 5))(k)
    for member, count in enumerate((2, 5, 1)):
        assert np.array_equal(found[member].numpy(), _wanted(score[member], count))
        assert np.array_equal(shared[member].numpy(), _wanted(score[0], count))


def test_the_choice_has_no_gradient_and_leaves_its_input_alone():
    score = _scores((4, 20)).requires_grad_()
    before = score.detach().clone()
    (score * largest(score, torch.tensor(3), 3)).sum().backward()
    assert torch.equal(score.detach(), before)
    assert score.grad is not None and np.array_equal(score.grad.numpy(), _wanted(before, 3))


def test_a_strided_input_is_read_in_its_own_order():
    score = _scores((20, 6)).t()
    assert np.array_equal(largest(score, torch.tensor(3), 3).numpy(), _wanted(score, 3))
