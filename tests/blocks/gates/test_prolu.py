from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from archsearch.blocks.gates.prolu import ProLU
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two


def reference(settings, ports, tensors):
    rows = ports["pre"]
    return {"code": [[m if m > 0 and m + b > 0 else 0.0 for m, b in zip(row, tensors["bias"])] for row in rows]}


def reference_grad(settings, ports, tensors, above):
    """The definitions, one after the other; `surrogate` is the product rule on m H(m) H(m + b)."""
    m, b, g = ports["pre"], tensors["bias"], above["code"]
    gated = g * ((m > 0) & (m + b > 0))
    if settings["gradient"] == "relu":
        return {"pre": gated, "bias": gated.sum(0)}
    if settings["gradient"] == "ste":
        return {"pre": gated * (1 + m), "bias": (gated * m).sum(0)}
    if settings["gradient"] == "mixed":
        b_ste, m_ste, m_gg = (settings[name] for name in ("b_ste", "m_ste", "m_gg"))
        d_bias = (1 - b_ste) * gated + b_ste * gated * m
        return {"pre": (1 - m_ste) * gated + m_ste * (m_gg * gated + gated * m), "bias": d_bias.sum(0)}
    d_bias = g * m * (m > 0) * _psi(m + b, settings["surrogate"])
    return {"pre": gated + d_bias + g * m * (m + b > 0) * _psi(m, settings["surrogate"]), "bias": d_bias.sum(0)}


def _psi(u, surrogate):
    return {
        "heaviside": (u > 0) * 1.0,
        "unit_window": (u > 0) * (u < 1) * 1.0,
        "signed_ramp": np.clip(u, -1, 1),
        "ramp": np.clip(u, 0, 1),
        "identity": np.ones_like(u),
    }[surrogate]


MIXED = {"gradient": "mixed"}

EXAMPLE = Example(
    cases=(
        Case(),
        Case({"gradient": "relu"}),
        Case({**MIXED, "b_ste": 0.3, "m_ste": 0.6, "m_gg": 0.7}),
        *(Case({"gradient": "surrogate", "surrogate": name}) for name in ("heaviside", "unit_window", "signed_ramp", "ramp", "identity")),
    ),
    fields={
        "gradient": Two("ste", "relu"),
        "b_ste": Two(0.2, 0.9, MIXED),
        "m_ste": Two(0.2, 0.9, MIXED),
        "m_gg": Two(0.5, 2.0, MIXED),
        "surrogate": Two("ramp", "signed_ramp", {"gradient": "surrogate"}),
    },
    reference=reference,
    reference_grad=reference_grad,
)


def _gate(bias: list[float], gradient: str = "ste", **more: object) -> ProLU:
    gate = ProLU(ProLU.Spec(gradient=gradient, **more), Sizes(2, len(bias)))
    gate.bias.data = torch.tensor(bias)
    return gate


def test_the_bias_decides_but_does_not_shift():
    # 3 > 2 passes unchanged, 1 < 2 does not; a positive bias has no say.
    assert _gate([-2.0, -2.0, 5.0, 5.0])(torch.tensor([[3.0, 1.0, 1.0, -1.0]]))["code"].tolist() == [[3.0, 0.0, 1.0, 0.0]]


def test_it_is_a_jumprelu_with_threshold_of_the_negative_bias():
    bias, m = torch.randn(50), torch.randn(20, 50)
    theta = (-bias).clamp(min=0)
    np.testing.assert_array_equal(_gate(bias.tolist())(m)["code"].detach(), m * (m > theta))
    np.testing.assert_array_equal(_gate(bias.tolist()).threshold.detach(), theta)


def _gradients(m: Tensor, bias: list[float], **settings: object) -> list[Tensor]:
    gate, pre = _gate(bias, **settings), m.clone().requires_grad_()
    return list(torch.autograd.grad((gate(pre)["code"] * torch.arange(m.numel()).view_as(m)).sum(), [pre, gate.bias]))


@pytest.mark.parametrize(("corner", "shares"), [("relu", (0.0, 0.0)), ("ste", (1.0, 1.0))])
def test_the_presets_are_corners_of_the_family(corner: str, shares: tuple[float, float]):
    torch.manual_seed(0)
    m, bias = torch.randn(20, 50), torch.randn(50).tolist()
    mixed = _gradients(m, bias, gradient="mixed", b_ste=shares[0], m_ste=shares[1])
    for one, other in zip(mixed, _gradients(m, bias, gradient=corner)):
        torch.testing.assert_close(one, other)


def test_the_surrogate_of_both_steps_adds_a_term_to_the_pre_activation():
    """Where both steps are on, `heaviside` gives dm = 1 + 2 m and db = m; `ste` gives dm = 1 + m and the same db."""
    m, bias = torch.tensor([[0.0, 3.0]]), [0.0, -1.0]
    (d_m, d_b), (ste_m, ste_b) = (_gradients(m, bias, gradient=gradient) for gradient in ("surrogate", "ste"))
    assert d_m.tolist() == [[0.0, 7.0]] and ste_m.tolist() == [[0.0, 4.0]]
    assert d_b.tolist() == ste_b.tolist() == [0.0, 3.0]


@pytest.mark.parametrize(
    "settings", [{"b_ste": 0.1}, {"surrogate": "ramp"}, {"gradient": "mixed", "surrogate": "ramp"}, {**MIXED, "m_ste": 0.0, "m_gg": 2.0}]
)
def test_a_setting_that_cannot_act_is_refused(settings: dict):
    with pytest.raises(ValidationError, match="cannot act with"):
        ProLU.Spec(**settings)
