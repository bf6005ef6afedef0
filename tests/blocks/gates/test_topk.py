from __future__ import annotations

import pytest
import torch

from archsearch.blocks.gates.topk import TopK
from archsearch.blocks.signals import Sizes
from tests.blocks.gates.shared import by_row, row_example

reference, reference_infer = by_row(lambda h: h, lambda h: max(h, 0.0))
EXAMPLE = row_example(reference)


def test_the_largest_two_stay():
    gate = TopK(TopK.Spec(k=2), Sizes(2, 4))
    assert gate(torch.tensor([[1.0, 3.0, -5.0, 2.0]]))["code"].tolist() == [[0.0, 3.0, 0.0, 2.0]]


def test_negative_values_are_clipped_even_when_chosen():
    gate = TopK(TopK.Spec(k=2), Sizes(2, 3))
    assert gate(torch.tensor([[-1.0, 3.0, -2.0]]))["code"].tolist() == [[0.0, 3.0, 0.0]]


def test_calibrated_inference_is_by_row_until_the_threshold_is_set_and_by_threshold_after():
    gate = TopK(TopK.Spec(k=1, inference="calibrated"), Sizes(2, 3))
    rows = torch.tensor([[5.0, 4.0, 3.0], [0.5, 0.1, -1.0]])
    assert gate.infer(rows)["code"].tolist() == [[5.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    gate.threshold = gate.calibrate(pre=rows)["threshold"]
    assert gate.infer(rows)["code"].tolist() == [[5.0, 4.0, 0.0], [0.0, 0.0, 0.0]]  # k latents a row, on average


@pytest.mark.parametrize("k", [1, 4, 9])
def test_calibrated_inference_keeps_k_latents_on_average(k: int):
    gate = TopK(TopK.Spec(k=k, inference="calibrated"), Sizes(2, 32))
    rows = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    gate.threshold = gate.calibrate(pre=rows)["threshold"]
    assert (gate.infer(rows)["code"] != 0).sum() == k * 64


def test_by_row_nothing_is_calibrated():
    gate = TopK(TopK.Spec(k=1), Sizes(2, 3))
    assert gate.calibrate(pre=torch.ones(2, 3)) == {} and gate.states == []
