from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.gates.prolu import ProLU
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two


def reference(settings, ports, tensors):
    rows = ports["pre"]
    return {"code": [[m if m > 0 and m + b > 0 else 0.0 for m, b in zip(row, tensors["bias"])] for row in rows]}


def reference_grad(settings, ports, tensors, above):
    """`relu`: dm = g G, db = g G; `ste`: dm = g G (1 + m), db = g G m."""
    m, g = ports["pre"], above["code"]
    gated = g * ((m > 0) & (m + tensors["bias"] > 0))
    if settings["gradient"] == "relu":
        return {"pre": gated, "bias": gated.sum(0)}
    return {"pre": gated * (1 + m), "bias": (gated * m).sum(0)}


EXAMPLE = Example(
    cases=(Case(), Case({"gradient": "relu"})),
    fields={"gradient": Two("ste", "relu")},
    reference=reference,
    reference_grad=reference_grad,
)


def _gate(bias: list[float], gradient: str = "ste") -> ProLU:
    gate = ProLU(ProLU.Spec(gradient=gradient), Sizes(2, len(bias)))
    gate.bias.data = torch.tensor(bias)
    return gate


def test_the_bias_decides_but_does_not_shift():
    # 3 > 2 passes unchanged, 1 < 2 does not; a positive bias has no say.
    assert _gate([-2.0, -2.0, 5.0, 5.0])(torch.tensor([[3.0, 1.0, 1.0, -1.0]]))["code"].tolist() == [[3.0, 0.0, 1.0, 0.0]]


def test_it_is_a_jumprelu_with_threshold_of_the_negative_bias():
    bias, m = torch.randn(50), torch.randn(20, 50)
    theta = (-bias).clamp(min=0)
    np.testing.assert_array_equal(_gate(bias.tolist())(m)["code"].detach(), m * (m > theta))
