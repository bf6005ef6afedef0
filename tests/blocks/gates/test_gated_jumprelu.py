from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.gated import Gated
from archsearch.blocks.gates.gated_jumprelu import GatedJumpReLU
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.gates.shared import counted, kernel, share_on
from tests.blocks.harness import Case, Example, Two


def _form(ports, tensors):
    rho = np.exp(tensors["r_mag"])
    return rho, rho * ports["pre"] + tensors["b_mag"], tensors["b_mag"] - rho * tensors["b_gate"]


def reference(settings, ports, tensors):
    _, z, theta = _form(ports, tensors)
    on = np.zeros_like(z)
    for index, value in np.ndenumerate(z):
        on[index] = value > theta[index[1]] and value > 0
    return {"code": z * on, "active": on}


def reference_grad(settings, ports, tensors, above):
    """Derivatives of theta = b_mag - rho b_gate and z = rho s + b_mag, written out; r_mag moves rho by rho."""
    rho, z, theta = _form(ports, tensors)
    width, s, on = settings["bandwidth"], ports["pre"], reference(settings, ports, tensors)["active"]
    k = kernel((z - theta) / width, settings["kernel"]) / width
    moved = np.maximum(theta, 0.0) * k * above["code"] + k * above["active"]
    d_z = above["code"] * on + (moved if settings["to_input"] else 0.0)
    return {
        "pre": rho * d_z,
        "b_gate": (rho * moved).sum(0),
        "b_mag": (d_z - moved).sum(0),
        "r_mag": (rho * (d_z * s + tensors["b_gate"] * moved)).sum(0),
    }


EXAMPLE = Example(
    settings={"threshold": 0.3, "bandwidth": 0.7},
    cases=(
        Case(),
        Case({"to_input": True, "kernel": "triangle"}),
        Case({"kernel": "gaussian"}),
        Case({"kernel": "quartic", "threshold": 0.0}),
    ),
    fields={
        "threshold": Two(0.1, 0.5),
        "bandwidth": Two(0.3, 1.5),
        "kernel": Two("rectangle", "triangle"),
        "to_input": Two(False, True),
    },
    reference=reference,
    reference_grad=reference_grad,
    sae=counted,
)


def _gate(latents: int = 3, **settings: object) -> GatedJumpReLU:
    return GatedJumpReLU(GatedJumpReLU.Spec(**settings), Sizes(2, latents))


def test_the_threshold_decides_and_z_passes_unchanged():
    # rho = 2, b_mag = 1, b_gate = -1: z = 2 s + 1, theta = 3, so s must exceed 1.
    gate = _gate()
    gate.r_mag.data, gate.b_mag.data, gate.b_gate.data = torch.full((3,), math.log(2)), torch.ones(3), -torch.ones(3)
    out = gate(torch.tensor([[0.9, 1.1, 4.0]]))
    assert out["code"].tolist() == [[0.0, pytest.approx(3.2), pytest.approx(9.0)]]
    assert out["active"].tolist() == [[0.0, 1.0, 1.0]]
    assert gate.threshold.tolist() == [1.0, 1.0, 1.0]


def test_it_is_the_gated_encoder_forward():
    torch.manual_seed(0)
    form, gated = _gate(50), Gated(Gated.Spec(), Sizes(2, 50, {"gate": (Info(Signal.PRE, 50),)}))
    gated.load_state_dict({name: torch.randn_like(value) for name, value in form.named_parameters()}, strict=False)
    form.load_state_dict(dict(gated.named_parameters()), strict=False)
    pre = torch.randn(40, 50)
    torch.testing.assert_close(form(pre)["code"], gated.infer(pre)["code"])


def test_a_threshold_below_zero_is_set_back_and_no_code_changes():
    torch.manual_seed(0)
    gate, pre = _gate(50), torch.randn(40, 50)
    for value in gate.parameters():
        value.data = torch.randn_like(value)
    before = gate(pre)["code"]
    gate.renormalise({name: value.data for name, value in gate.named_parameters()})
    theta = gate.b_mag - gate.r_mag.exp() * gate.b_gate
    assert theta.min() > -1e-6 and (theta < 1e-6).any() and (theta > 0.1).any()
    torch.testing.assert_close(gate(pre)["code"], before)


@pytest.mark.parametrize("to_input", [False, True])
def test_the_pseudo_gradient_is_that_of_the_expected_count(to_input: bool):
    """dE[active]/db_gate is rho times the density of z at theta; b_mag cancels out of it only with `to_input`."""
    torch.manual_seed(0)
    gate = _gate(threshold=0.7, bandwidth=0.2, to_input=to_input)
    gate.r_mag.data.fill_(math.log(2))
    gate.b_mag.data.fill_(0.5)
    gate(torch.randn(200_000, 3))["active"].mean(0).sum().backward()
    density = math.exp(-(0.7**2) / 2) / math.sqrt(2 * math.pi)  # of s at 0.7; that of z is half of it, and rho is 2
    assert gate.b_gate.grad.tolist() == pytest.approx([density] * 3, rel=0.05)
    assert gate.b_mag.grad.tolist() == pytest.approx([0.0 if to_input else -density / 2] * 3, rel=0.05, abs=1e-4)


def test_a_count_of_what_is_on_turns_latents_off():
    spec = {"kind": "gated_jumprelu", "bandwidth": 0.5}
    assert share_on(spec, 1.0) < 0.5 * share_on(spec, 1e-9)
