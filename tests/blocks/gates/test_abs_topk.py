from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.gates.abs_topk import AbsTopK
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two, base, grown
from tests.blocks.test_ramps import k_most, k_now


def reference(settings, ports, tensors):
    pre = ports["pre"]
    code = np.zeros_like(pre)
    for row, values in enumerate(pre):
        sizes = abs(values)
        # Which of several equal values is kept is the library's choice: the reference takes it.
        chosen = torch.tensor(sizes).topk(k_most(settings, len(values))).indices.tolist()[: round(k_now(settings, ports))]
        assert sorted(sizes[chosen]) == sorted(sizes)[-len(chosen) :]
        for index in chosen:
            code[row, index] = values[index]
    return {"code": code, **({"threshold": tensors["threshold"]} if settings["inference"] == "calibrated" else {})}


def reference_infer(settings, ports, tensors):
    if settings["inference"] == "rows":
        return reference(settings, {"pre": ports["pre"]}, tensors)
    theta = float(tensors["threshold"])
    return {"code": [[value if abs(value) >= theta else 0.0 for value in row] for row in ports["pre"]]}


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
