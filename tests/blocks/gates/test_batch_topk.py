from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.gates.batch_topk import BatchTopK
from archsearch.blocks.signals import Sizes
from tests.blocks.gates.shared import k_now
from tests.blocks.harness import Case, Example, Two


def reference(settings, ports, tensors):
    pre = ports["pre"]
    values = np.maximum(pre, 0.0).ravel()
    ranked = np.argsort(-values, kind="stable")  # of equal ones the first
    chosen = [i for i in ranked[: round(k_now(settings, ports) * len(pre))] if values[i] > 0]
    code = np.zeros_like(values)
    code[chosen] = values[chosen]
    seen, threshold = float(tensors["seen"]), float(tensors["threshold"])
    if chosen:
        seen += 1
        threshold += (min(values[chosen]) - threshold) / min(seen, settings["memory"])
    return {"code": code.reshape(pre.shape), "threshold": threshold, "seen": seen}


def reference_infer(settings, ports, tensors):
    pre, threshold = ports["pre"], float(tensors["threshold"])
    return {"code": [[value if value > 0 and value >= threshold else 0.0 for value in row] for row in pre]}


EXAMPLE = Example(
    settings={"k": 3},
    cases=(
        Case(),
        Case({"k": 100}),
        Case({"k": 1, "k_start": 4, "anneal_frac": 0.75}),
        Case({"k": 1, "k_start": 100, "anneal_frac": 0.75, "anneal": "exponential"}),
        Case({"inference": "calibrated"}),
    ),
    fields={
        "k": Two(2, 5),
        "memory": Two(1, 100, {"inference": "running"}),
        "k_start": Two(4, 6, {"anneal_frac": 0.75}),
        "anneal_frac": Two(0.5, 1.0, {"k_start": 4}),
        "anneal": Two("linear", "exponential", {"k_start": 10, "anneal_frac": 0.75}),
        "inference": Two("running", "calibrated"),
    },
    reference=reference,
)


def _gate(k: int, latents: int = 3, **more) -> BatchTopK:
    return BatchTopK(BatchTopK.Spec(k=k, **more), Sizes(2, latents))


def test_rows_share_the_budget():
    code = _gate(1)(torch.tensor([[5.0, 4.0, 1.0], [0.5, 0.1, -1.0]]))["code"]
    assert code.tolist() == [[5.0, 4.0, 0.0], [0.0, 0.0, 0.0]]


def test_the_threshold_is_the_mean_of_the_smallest_kept_values_and_inference_uses_it():
    gate = _gate(1)
    for lowest in (2.0, 4.0):
        out = gate(torch.tensor([[9.0, 0.0, 0.0], [lowest, 0.0, 0.0]]))
        gate.threshold, gate.seen = out["threshold"], out["seen"]
    assert gate.threshold == 3.0
    assert gate.infer(torch.tensor([[2.9, 3.0, 3.1]]))["code"].tolist() == [[0.0, pytest.approx(3.0), pytest.approx(3.1)]]


def test_a_batch_without_positive_values_changes_nothing():
    gate = _gate(1)
    gate.threshold, gate.seen = torch.tensor(2.0), torch.tensor(5.0)
    out = gate(-torch.ones(2, 3))
    assert (out["code"] == 0).all() and out["threshold"] == 2.0 and out["seen"] == 5.0


def test_while_k_moves_the_batch_may_hold_a_part_of_a_latent_per_row():
    # Half way from 2 to 1 latents a row: 1.5 a row, 3 in two rows.
    out = _gate(1, k_start=2, anneal_frac=0.5)(torch.tensor([[5.0, 4.0, 1.0], [0.5, 0.1, -1.0]]), progress=torch.tensor(0.25))
    assert out["code"].tolist() == [[5.0, 4.0, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("k", [1, 4, 9])
def test_calibrated_inference_keeps_k_latents_on_average(k: int):
    gate = _gate(k, 32, inference="calibrated")
    rows = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    gate.threshold = gate.calibrate(pre=rows)["threshold"]
    assert (gate.infer(rows)["code"] != 0).sum() == k * 64


def test_a_running_threshold_is_left_as_it_is():
    assert _gate(1).calibrate(pre=torch.ones(2, 3)) == {}
    with pytest.raises(ValidationError, match="memory: 7 cannot act with inference: calibrated"):
        _gate(1, memory=7, inference="calibrated")
