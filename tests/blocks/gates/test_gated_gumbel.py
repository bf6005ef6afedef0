from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.gated_gumbel import GatedGumbel
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.gates.shared import assert_finite_at_the_ends_of_noise, back_through_paths, counted, paths, share_on, sigmoid, stepped
from tests.blocks.harness import Case, Example, Two


def _relaxed(settings, ports, pi):
    u = np.clip(ports["uniform"], 1e-6, 1 - 1e-6)
    return sigmoid((np.log(u / (1 - u)) + pi) / settings["beta"])


def reference(settings, ports, tensors):
    pi, strength = paths(ports, tensors)
    s = _relaxed(settings, ports, pi)
    on = (s > 0.5) * 1.0 if settings["hard"] else s
    return {"code": on * np.maximum(strength, 0.0), "gate_code": np.maximum(pi, 0.0), "active": sigmoid(pi)}


reference_infer = stepped


def reference_grad(settings, ports, tensors, above):
    pi, strength = paths(ports, tensors)
    s, chance = _relaxed(settings, ports, pi), sigmoid(pi)
    m = np.maximum(strength, 0.0)
    d_pi = above["code"] * m * s * (1 - s) / settings["beta"] + above["active"] * chance * (1 - chance) + above["gate_code"] * (pi > 0)
    d_strength = above["code"] * ((s > 0.5) if settings["hard"] else s) * (strength > 0)
    return back_through_paths(d_pi, d_strength, ports, tensors)


EXAMPLE = Example(
    cases=(Case(), Case({"beta": 0.3}, wired=("magnitude",)), Case({"hard": False})),
    fields={"beta": Two(0.4, 1.0), "hard": Two(True, False)},
    reference=reference,
    reference_grad=reference_grad,
    sae=counted,
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
    assert_finite_at_the_ends_of_noise(_gate())


def test_the_expected_count_turns_latents_off():
    spec = {"kind": "gated_gumbel"}
    assert share_on(spec, 1.0) < 0.5 * share_on(spec, 1e-9)
