from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.gated_hard_concrete import GatedHardConcrete
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.gates.shared import assert_finite_at_the_ends_of_noise, counted, paths, share_on, sigmoid
from tests.blocks.harness import Case, Example, Two


def _out(settings, pi, strength, z):
    stretched = np.clip(z * (settings["zeta"] - settings["gamma"]) + settings["gamma"], 0.0, 1.0)
    edge = settings["beta"] * math.log(-settings["gamma"] / settings["zeta"])
    return {"code": stretched * np.maximum(strength, 0.0), "gate_code": np.maximum(pi, 0.0), "active": sigmoid(pi - edge)}


def reference(settings, ports, tensors):
    pi, strength = paths(ports, tensors)
    z = np.zeros_like(pi)
    for index, u in np.ndenumerate(ports["uniform"]):
        u = min(max(u, 1e-6), 1 - 1e-6)
        z[index] = sigmoid((math.log(u) - math.log(1 - u) + pi[index]) / settings["beta"])
    return _out(settings, pi, strength, z)


def reference_infer(settings, ports, tensors):
    pi, strength = paths(ports, tensors)
    return _out(settings, pi, strength, sigmoid(pi))


EXAMPLE = Example(
    cases=(Case(), Case({"beta": 0.4, "gamma": -0.3, "zeta": 1.2}, wired=("magnitude",))),
    fields={"beta": Two(0.5, 0.9), "gamma": Two(-0.1, -0.3), "zeta": Two(1.1, 1.4)},
    reference=reference,
    sae=counted,
)


def _gate(latents: int = 3) -> GatedHardConcrete:
    return GatedHardConcrete(GatedHardConcrete.Spec(), Sizes(2, latents, {"gate": (Info(Signal.PRE, latents),)}))


def test_a_gate_is_closed_half_open_or_open():
    # u = 1/2 is no noise: sigmoid(0) = 1/2 stays 1/2 when stretched to (-0.1, 1.1); m is the pre-activation plus 1.
    gate = _gate()
    gate.b_mag.data.fill_(1.0)
    code = gate(torch.tensor([[0.0, 9.0, -3.0]]), uniform=torch.full((1, 3), 0.5))["code"]
    assert code.tolist() == [[pytest.approx(0.5), pytest.approx(10.0), 0.0]]
    gate.b_mag.data.fill_(5.0)
    assert gate(torch.full((1, 3), -3.0), uniform=torch.tensor([[0.5, 0.999, 0.0]]))["code"].tolist() == [[0.0, pytest.approx(2.0), 0.0]]


def test_active_is_the_chance_that_the_gate_is_open():
    torch.manual_seed(0)
    gate = _gate(1)
    gate.b_mag.data.fill_(9.0)
    for pi in (-2.0, -0.5, 1.0):
        out = gate(torch.full((100_000, 1), pi), uniform=torch.rand(100_000, 1))
        assert (out["code"] > 0).double().mean().item() == pytest.approx(out["active"][0, 0].item(), abs=0.005)


def test_noise_of_exactly_zero_or_nearly_one_stays_finite():
    assert_finite_at_the_ends_of_noise(_gate())


def test_the_threshold_is_where_inference_turns_on():
    gate = _gate(2)
    gate.b_mag.data.fill_(9.0)
    gate.b_gate.data = torch.tensor([0.0, 1.0])
    assert gate.threshold.tolist() == pytest.approx([-math.log(11), -1 - math.log(11)])
    assert (gate.infer(gate.threshold[None] + torch.tensor([[1e-3, -1e-3]]))["code"] > 0).tolist() == [[True, False]]


def test_the_expected_count_turns_latents_off():
    spec = {"kind": "gated_hard_concrete"}
    assert share_on(spec, 1.0) < 0.5 * share_on(spec, 1e-9)
