from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.gates.gated import Gated
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import Case, Example, Two, base

STRAIGHT = {"training": "straight_through", "bandwidth": 0.8}


def _parts(ports, tensors):
    gate = ports["gate"]
    pi = gate + tensors["b_gate"]
    magnitude = ports.get("magnitude")
    strength = (gate * np.exp(tensors["r_mag"]) if magnitude is None else magnitude) + tensors["b_mag"]
    return pi, strength


def reference(settings, ports, tensors):
    pi, strength = _parts(ports, tensors)
    code = np.zeros_like(pi)
    for index in np.ndindex(*pi.shape):
        code[index] = max(strength[index], 0.0) if pi[index] > 0 else 0.0
    out = {"code": code, "gate_code": np.maximum(pi, 0.0)}
    if settings["training"] == "frozen_decoder":
        rebuilt = out["gate_code"] @ ports["dictionary"] + ports.get("bias", 0.0)
        rows = [sum(value**2 for value in row) for row in ports["target"] - rebuilt]
        out["auxiliary"] = settings["auxiliary_weight"] * sum(rows) / len(rows)
    return out


def reference_grad(settings, ports, tensors, above):
    """Gradients by hand: equation 8's third term reaches the gate and the dictionary (whose wire the assembler detaches)."""
    pi, strength = _parts(ports, tensors)
    on = (pi > 0).astype(float)
    d_pi = above["gate_code"] * on
    d_strength = above["code"] * on * (strength > 0)
    found = {}
    if settings["training"] == "frozen_decoder":
        gate_code = np.maximum(pi, 0.0)
        error = ports["target"] - gate_code @ ports["dictionary"] - ports.get("bias", 0.0)
        d_error = above["auxiliary"] * settings["auxiliary_weight"] * 2 * error / len(error)
        found["target"] = d_error
        found["dictionary"] = -gate_code.T @ d_error
        d_pi = d_pi - (d_error @ ports["dictionary"].T) * on
        if "bias" in ports:
            found["bias"] = -d_error.sum(0)
    else:
        width = settings["bandwidth"]
        d_pi = d_pi + above["code"] * np.maximum(strength, 0.0) * _kernel(pi / width, settings["kernel"]) / width
    found |= {"b_gate": d_pi.sum(0), "b_mag": d_strength.sum(0), "gate": d_pi}
    if "magnitude" in ports:
        found["magnitude"] = d_strength
    else:
        scale = np.exp(tensors["r_mag"])
        found["gate"] = d_pi + d_strength * scale
        found["r_mag"] = (d_strength * ports["gate"] * scale).sum(0)
    return found


def _kernel(u, shape):
    if shape == "identity":
        return np.ones_like(u)
    if shape == "rectangle":
        return (abs(u) < 0.5).astype(float)
    if shape == "triangle":
        return np.maximum(0.0, 1 - abs(u))
    if shape == "sigmoid":
        return np.exp(-u) / (1 + np.exp(-u)) ** 2
    return np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)


def _sae(spec):
    document = base()
    document["graph"]["gate"] = spec
    document["losses"]["sparsity"]["of"] = "gate.gate_code"
    return document


EXAMPLE = Example(
    cases=(
        Case(),
        Case({"auxiliary_weight": 0.3}, wired=("bias",)),
        Case(wired=("magnitude", "bias")),
        *(Case({**STRAIGHT, "kernel": kernel}) for kernel in ("identity", "rectangle", "triangle", "sigmoid", "gaussian")),
        Case(STRAIGHT, wired=("magnitude",)),
    ),
    fields={
        "training": Two("frozen_decoder", "straight_through"),
        "auxiliary_weight": Two(0.5, 2.0, {"training": "frozen_decoder"}),
        "kernel": Two("rectangle", "gaussian", STRAIGHT),
        "bandwidth": Two(0.3, 1.5, {"training": "straight_through"}),
    },
    reference=reference,
    reference_grad=reference_grad,
    sae=_sae,
)


def test_the_gate_decides_and_the_magnitude_speaks():
    gate = Gated(Gated.Spec(training="straight_through"), Sizes(2, 3, {"gate": (Info(Signal.PRE, 3),)}))
    gate.b_gate.data = torch.tensor([0.0, -2.0, 0.0])
    gate.b_mag.data = torch.tensor([0.5, 0.5, -9.0])
    assert gate(torch.ones(1, 3))["code"].tolist() == [[1.5, 0.0, 0.0]]


@pytest.mark.parametrize(
    "settings", [{"kernel": "gaussian"}, {"bandwidth": 2.0}, {"training": "straight_through", "auxiliary_weight": 2.0}]
)
def test_a_setting_that_cannot_act_is_refused(settings: dict):
    with pytest.raises(ValidationError, match="cannot act with training"):
        Gated.Spec(**settings)


def test_a_full_dump_reads_back():
    spec = Gated.Spec(training="straight_through", kernel="gaussian")
    assert Gated.Spec.model_validate(spec.model_dump(by_alias=True)) == spec
