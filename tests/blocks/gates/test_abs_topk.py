from __future__ import annotations

import torch

from archsearch.blocks.gates.abs_topk import AbsTopK
from archsearch.blocks.signals import Sizes
from tests.blocks.gates.shared import by_row, row_example
from tests.blocks.harness import base, grown

reference, reference_infer = by_row(abs, lambda h: h)
EXAMPLE = row_example(reference)


def test_the_two_largest_in_size_keep_their_sign():
    gate = AbsTopK(AbsTopK.Spec(k=2), Sizes(2, 4))
    assert gate(torch.tensor([[1.0, 3.0, -5.0, 2.0]]))["code"].tolist() == [[0.0, 3.0, -5.0, 0.0]]


def test_the_gradient_of_a_negative_value_flows():
    pre = torch.tensor([[1.0, 3.0, -5.0, 2.0]], requires_grad=True)
    AbsTopK(AbsTopK.Spec(k=2), Sizes(2, 4))(pre)["code"].sum().backward()
    assert pre.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]]


def test_calibrated_inference_keeps_k_latents_on_average_by_size():
    gate = AbsTopK(AbsTopK.Spec(k=5, inference="calibrated"), Sizes(2, 32))
    rows = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gate.infer(rows)["code"], gate(rows)["code"])  # not yet calibrated
    gate.threshold = gate.calibrate(pre=rows)["threshold"]
    code = gate.infer(rows)["code"]
    assert (code != 0).sum() == 5 * 64 and (code < 0).any()


def test_signed_codes_count_as_on_for_idle_latents_and_penalties():
    document = base()
    document["graph"]["gate"] = {"kind": "abs_topk", "k": 12}
    document["losses"] = {
        "sparsity": {"kind": "l1", "weight": 0.1},
        "dead": {"kind": "aux_k", "dead_after_frac": 0.2, "candidates": "magnitude"},
    }
    member = grown(document)
    assert (member.sae.idle_of("gate") == 0).all() and member.history[-1][1]["sparsity"] > 0
