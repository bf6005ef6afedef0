from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.gates.gated_sigmoid import GatedSigmoid
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.gates.shared import back_through_paths, counted, paths, share_on, sigmoid, stepped
from tests.blocks.harness import Case, Example, Two


def _tau(settings, ports):
    done = min(float(ports["progress"]) / settings["anneal_frac"], 1.0)
    return np.exp((1 - done) * np.log(settings["tau_start"]) + done * np.log(settings["tau_end"]))


def reference(settings, ports, tensors):
    pi, strength = paths(ports, tensors)
    hard = settings["hard_frac"] > 0 and float(ports["progress"]) >= 1 - settings["hard_frac"]
    on = (pi > 0) * 1.0 if hard else sigmoid(pi / _tau(settings, ports))
    return {"code": on * np.maximum(strength, 0.0), "gate_code": np.maximum(pi, 0.0), "active": on}


reference_infer = stepped


def reference_grad(settings, ports, tensors, above):
    """The sigmoid's derivative s(1 - s) / tau, whichever goes forward."""
    pi, strength = paths(ports, tensors)
    tau = _tau(settings, ports)
    soft, m = sigmoid(pi / tau), np.maximum(strength, 0.0)
    d_pi = (above["code"] * m + above["active"]) * soft * (1 - soft) / tau + above["gate_code"] * (pi > 0)
    d_strength = above["code"] * reference(settings, ports, tensors)["active"] * (strength > 0)
    return back_through_paths(d_pi, d_strength, ports, tensors)


EXAMPLE = Example(
    cases=(
        Case(),
        Case({"tau_start": 2.0, "tau_end": 0.1, "anneal_frac": 1.0, "hard_frac": 0.0}, wired=("magnitude",)),
        Case({"anneal_frac": 0.01, "hard_frac": 0.99}),
        Case({"anneal_frac": 0.05, "hard_frac": 0.95, "tau_end": 0.4}, wired=("magnitude",)),
    ),
    fields={
        "tau_start": Two(1.0, 2.0),
        "tau_end": Two(0.01, 0.3),
        "anneal_frac": Two(0.3, 0.8),
        "hard_frac": Two(0.0, 0.2),
    },
    reference=reference,
    reference_grad=reference_grad,
    sae=counted,
)


def _gate(latents: int = 3, **settings: float) -> GatedSigmoid:
    return GatedSigmoid(GatedSigmoid.Spec(**settings), Sizes(2, latents, {"gate": (Info(Signal.PRE, latents),)}))


def _on(gate: GatedSigmoid, progress: float, value: float = 1.0) -> float:
    return gate(torch.full((1, 3), value), progress=torch.tensor(progress))["active"][0, 0].item()


def test_the_sigmoid_sharpens_and_ends_as_a_step():
    gate = _gate(tau_start=1.0, tau_end=0.01, anneal_frac=0.8, hard_frac=0.1)
    assert _on(gate, 0.0) == pytest.approx(0.731059)  # sigmoid(1)
    assert _on(gate, 0.4) == pytest.approx(0.9999546)  # tau is 0.1 halfway: sigmoid(10)
    assert _on(gate, 0.85, 0.01) == pytest.approx(0.731059)  # tau stays at 0.01: sigmoid(0.01 / 0.01)
    assert _on(gate, 0.95, 0.01) == 1.0
    assert gate.infer(torch.tensor([[0.5, 0.0, -0.5]]))["code"].tolist() == [[0.5, 0.0, 0.0]]


def test_the_gradient_is_that_of_the_smoothed_objective():
    """Finite differences of the soft forward pass, and the same gradient where the step goes forward at that temperature."""
    gate = _gate(4, anneal_frac=0.5, hard_frac=0.5, tau_end=0.5).double()
    torch.manual_seed(0)
    pre, way = torch.randn(5, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)

    def count(progress: float, shift: float = 0.0) -> torch.Tensor:
        return gate(pre + shift * way, progress=torch.tensor(progress, dtype=torch.float64))["active"].sum()

    slopes = []
    for progress in (0.4999999, 0.5):
        gate.b_gate.grad = None
        count(progress).backward()
        slopes.append((gate.b_gate.grad * way).sum().item())
    with torch.no_grad():
        smooth = ((count(0.4999999, 1e-5) - count(0.4999999, -1e-5)) / 2e-5).item()
    assert slopes == pytest.approx([smooth, smooth], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"tau_end": 2.0}, "tau_end must be at most tau_start"),
        ({"anneal_frac": 0.95}, "must add up to 1 at most"),
        ({"tau_start": 0.5, "tau_end": 0.5, "anneal_frac": 0.3}, "cannot act with tau_start equal to tau_end"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(settings: dict, what: str):
    with pytest.raises(ValidationError, match=what):
        GatedSigmoid.Spec(**settings)


def test_the_sum_of_the_gate_turns_latents_off():
    spec = {"kind": "gated_sigmoid", "tau_end": 0.1}
    assert share_on(spec, 1.0) < 0.5 * share_on(spec, 1e-9)
