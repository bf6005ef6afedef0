from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.topk import TopK
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two
from tests.blocks.test_ramps import k_most, k_now


def reference(settings, ports, tensors):
    pre = ports["pre"]
    code = np.zeros_like(pre)
    for row, values in enumerate(pre):
        # Which of several equal values is kept is the library's choice: the reference takes it.
        chosen = torch.tensor(values).topk(k_most(settings, len(values))).indices.tolist()[: round(k_now(settings, ports))]
        assert sorted(values[chosen]) == sorted(values)[-len(chosen) :]
        for index in chosen:
            code[row, index] = max(values[index], 0.0)
    return {"code": code, **({"threshold": tensors["threshold"]} if settings["inference"] == "calibrated" else {})}


def reference_infer(settings, ports, tensors):
    if settings["inference"] == "rows":
        return reference(settings, {"pre": ports["pre"]}, tensors)
    theta = float(tensors["threshold"])
    return {"code": [[value if value > 0 and value >= theta else 0.0 for value in row] for row in ports["pre"]]}


EXAMPLE = Example(
    settings={"k": 3},
    cases=(
        Case(),
        Case({"k": 100}),
        Case({"k_start": 6, "anneal_frac": 0.75}),
        Case({"k_start": 100, "anneal_frac": 0.75, "anneal": "exponential"}),
        Case({"inference": "calibrated"}),
    ),
    fields={
        "k": Two(2, 5),
        "k_start": Two(6, 10, {"anneal_frac": 0.75}),
        "anneal_frac": Two(0.5, 1.0, {"k_start": 6}),
        "anneal": Two("linear", "exponential", {"k_start": 10, "anneal_frac": 0.75}),
        "inference": Two("rows", "calibrated"),
    },
    reference=reference,
)


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
