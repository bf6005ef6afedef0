"""Gradient pursuit: that of dictionary_learning, in float64."""

from __future__ import annotations

import pytest
import torch
from dictionary_learning.grad_pursuit import grad_pursuit

from archsearch.evaluation.pursuit import gradient_pursuit
from tests.peers import dl
from tests.peers.harness import MODEL, WIDTH, rows, same

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("k", [1, 4, 7])
@pytest.mark.parametrize("unit", [True, False])
def test_codes_are_dictionary_learning(k: int, unit: bool):
    """Its `target_l0` is the number of steps, as here; it divides 0 by 0 once a row is rebuilt exactly, which none of these is."""
    dictionary = torch.randn(WIDTH, MODEL, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
    if unit:
        dictionary = dictionary / dictionary.norm(dim=1, keepdim=True)
    with dl.in_double():
        theirs = grad_pursuit(rows(), dictionary.T, target_l0=k)
    ours = gradient_pursuit(rows(), dictionary, k)
    same(ours, theirs, "codes")
    assert (ours != 0).sum(1).max() > k // 2


def test_a_row_rebuilt_exactly():
    dictionary = torch.eye(4, dtype=torch.float64)
    signal = torch.tensor([[2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    with dl.in_double():
        assert grad_pursuit(signal, dictionary.T, target_l0=2).isnan().any()
    assert gradient_pursuit(signal, dictionary, 2).tolist() == [[2.0, 0.0, 0.0, 0.0]]
