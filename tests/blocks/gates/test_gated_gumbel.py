from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.gated_gumbel import GatedGumbel
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import Case, Example, Two, base, data, grown


def _paths(ports, tensors):
    gate, magnitude = ports["gate"], ports.get("magnitude")
    strength = (gate * np.exp(tensors["r_mag"]) if magnitude is None else magnitude) + tensors["b_mag"]
    return gate + tensors["b_gate"], strength


def _sigmoid(value):
    return 0.5 * (1 + np.tanh(value / 2))


def _relaxed(settings, ports, pi):
    u = np.clip(ports["uniform"], 1e-6, 1 - 1e-6)
    return _sigmoid((np.log(u / (1 - u)) + pi) / settings["beta"])


def reference(settings, ports, tensors):
    pi, strength = _paths(ports, tensors)
    s = _relaxed(settings, ports, pi)
    on = (s > 0.5) * 1.0 if settings["hard"] else s
    return {"code": on * np.maximum(strength, 0.0), "gate_code": np.maximum(pi, 0.0), "active": _sigmoid(pi)}


def reference_infer(settings, ports, tensors):
    pi, strength = _paths(ports, tensors)
    on = (pi > 0) * 1.0
    return {"code": on * np.maximum(strength, 0.0), "gate_code": np.maximum(pi, 0.0), "active": on}


def reference_grad(settings, ports, tensors, above):
    pi, strength = _paths(ports, tensors)
    s, chance = _relaxed(settings, ports, pi), _sigmoid(pi)
    m = np.maximum(strength, 0.0)
    d_pi = above["code"] * m * s * (1 - s) / settings["beta"] + above["active"] * chance * (1 - chance) + above["gate_code"] * (pi > 0)
    d_strength = above["code"] * ((s > 0.5) if settings["hard"] else s) * (strength > 0)
    found = {"gate": d_pi, "b_gate": d_pi.sum(0), "b_mag": d_strength.sum(0)}
    if "magnitude" in ports:
        return {**found, "magnitude": d_strength}
    scale = np.exp(tensors["r_mag"])
    return {**found, "gate": d_pi + d_strength * scale, "r_mag": (d_strength * ports["gate"] * scale).sum(0)}


def _sae(spec):
    document = base()
    document["graph"]["gate"] = spec
    document["losses"]["sparsity"] = {"kind": "l0", "weight": 0.1}
    return document


EXAMPLE = Example(
    cases=(Case(), Case({"beta": 0.3}, wired=("magnitude",)), Case({"hard": False})),
    fields={"beta": Two(0.4, 1.0), "hard": Two(True, False)},
    reference=reference,
    reference_grad=reference_grad,
    sae=_sae,
)


def _gate(latents: int = 3, **settings: object) -> GatedGumbel:
    return GatedGumbel(GatedGumbel.Spec(**settings), Sizes(2, latents, {"gate": (Info(Signal.PRE, latents),)}))


def test_the_coin_decides_and_the_magnitude_speaks():
    # pi = 1 has the chance sigmoid(1) = 0.73: a number above 0.27 turns it on.
    gate = _gate()
    pre, uniform = torch.ones(1, 3), torch.tensor([[0.26, 0.28, 0.9]])
    assert gate(pre, uniform=uniform)["code"].tolist() == [[0.0, 1.0, 1.0]]
    assert gate.infer(pre)["code"].tolist() == [[1.0, 1.0, 1.0]]


def test_active_is_the_chance_that_the_coin_comes_up():
    torch.manual_seed(0)
    out = _gate(1)(torch.full((100_000, 1), 0.7), uniform=torch.rand(100_000, 1))
    assert (out["code"] > 0).double().mean().item() == pytest.approx(out["active"][0, 0].item(), abs=0.005)


def test_the_relaxed_gradient_is_that_of_finite_differences_with_the_noise_held():
    gate = _gate(4, hard=False).double()
    torch.manual_seed(0)
    pre, noise, way = (torch.randn(5, 4, dtype=torch.float64) for _ in range(3))
    uniform = noise.sigmoid()

    def total(shift: float) -> torch.Tensor:
        return gate(pre + shift * way, uniform=uniform)["code"].square().sum()

    pre.requires_grad_()
    slope = (torch.autograd.grad(total(0.0), pre)[0] * way).sum().item()
    with torch.no_grad():
        assert slope == pytest.approx(((total(1e-6) - total(-1e-6)) / 2e-6).item(), rel=1e-6)


def test_noise_of_exactly_zero_or_nearly_one_stays_finite():
    gate = _gate()
    out = gate(torch.zeros(1, 3), uniform=torch.tensor([[0.0, 1 - 2**-24, 0.5]]))
    sum(value.sum() for value in out.values()).backward()
    assert all(value.isfinite().all() for value in out.values())
    assert all(value.grad.isfinite().all() for value in gate.parameters())


def test_the_expected_count_turns_latents_off():
    def fraction_on(weight: float) -> float:
        document = _sae({"kind": "gated_gumbel"})
        document["losses"]["sparsity"]["weight"] = weight
        document["training"]["tokens"] = 4096
        member = grown(document)
        assert (member.sae.blocks["gate"].b_gate.abs() > 0.01).any()
        return (member.sae.encode(data()) != 0).double().mean().item()

    assert fraction_on(1.0) < 0.5 * fraction_on(0.0)
