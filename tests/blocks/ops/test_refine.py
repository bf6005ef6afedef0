from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.ops.refine import Refine
from archsearch.blocks.signals import Signal, Sizes
from tests.blocks.harness import Case, Example, Two, base


def reference(settings, ports, tensors):
    eta = tensors["eta"][0] if settings["learned"] else settings["eta"]
    refined = np.zeros_like(ports["pre"])
    for row, code in enumerate(ports["code"]):
        left = ports["x"][row] - ports.get("bias", 0.0)
        for value, direction in zip(code, ports["dictionary"]):
            left = left - value * direction
        for latent, direction in enumerate(ports["weight"]):
            refined[row, latent] = ports["pre"][row, latent] + eta * sum(left * direction)
    return {"pre": refined}


def _sae(spec):
    document = base()
    wires = {"pre": "encoder", "weight": "encoder.weight", **(spec.pop("from", None) or {})}
    document["graph"] = {
        "encoder": "linear_encoder",
        "first": {"kind": "topk", "k": 4},
        "refine": {**spec, "from": wires},
        "gate": {"kind": "topk", "k": 3},
        "decoder": "linear_decoder",
    }
    return document


EXAMPLE = Example(
    cases=(Case(), Case({"learned": True}), Case(wired=("bias",)), Case({"bias": False}), Case(types={"weight": Signal.DICTIONARY})),
    fields={
        "eta": Two(0.1, 0.9),
        "learned": Two(False, True),
        "bias": Two(True, False),
        "from_": Two(None, {"code": {"signal": "first", "detach": True}}),
    },
    reference=reference,
    sae=_sae,
)


def test_what_the_first_code_left_over_is_added():
    block = Refine(Refine.Spec(eta=0.5), Sizes(2, 2))
    x, rows = torch.tensor([[3.0, 2.0]]), torch.eye(2)
    pre, code = torch.tensor([[3.0, 2.0]]), torch.tensor([[3.0, 0.0]])
    assert block(pre, code, x, rows, rows)["pre"].tolist() == [[3.0, 3.0]]  # latent 1 lacks all of its 2


def test_a_code_that_explains_all_changes_nothing():
    block = Refine(Refine.Spec(), Sizes(2, 2))
    x, bias, rows = torch.tensor([[4.0, 2.0]]), torch.tensor([1.0, 2.0]), torch.eye(2)
    pre = torch.tensor([[0.7, -0.3]])
    assert torch.equal(block(pre, x - bias, x, rows, rows, bias)["pre"], pre)


def test_a_step_is_two_products():
    assert Refine.flops(Refine.Spec(), Sizes(3, 7)) == 2 * (2 * 3 * 7)
