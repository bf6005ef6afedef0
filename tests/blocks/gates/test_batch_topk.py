from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.batch_topk import BatchTopK
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two


def reference(settings, ports, tensors):
    pre = ports["pre"]
    values = np.maximum(pre, 0.0).ravel()
    count = min(settings["k"], pre.shape[1]) * len(pre)
    chosen = [i for i in torch.tensor(values).topk(count).indices.tolist() if values[i] > 0]
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


EXAMPLE = Example(settings={"k": 3}, cases=(Case(), Case({"k": 100})), fields={"k": Two(2, 5), "memory": Two(1, 100)}, reference=reference)


def _gate(k: int, latents: int = 3, **more: int) -> BatchTopK:
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
