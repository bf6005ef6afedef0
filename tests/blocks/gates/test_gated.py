from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks._kernels import Kernel
from archsearch.blocks.gates.gated import Gated
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from tests.blocks.gates.shared import back_through_paths, counted, kernel, paths, share_on
from tests.blocks.harness import Case, Example, Two, base, data

KERNELS = get_args(Kernel)
STRAIGHT = {"training": "straight_through"}
FROZEN = {"training": "frozen_decoder"}


def reference(settings, ports, tensors):
    pi, strength = paths(ports, tensors)
    code = np.zeros_like(pi)
    for index in np.ndindex(*pi.shape):
        code[index] = max(strength[index], 0.0) if pi[index] > 0 else 0.0
    out = {"code": code, "gate_code": np.maximum(pi, 0.0)}
    if settings["training"] == "straight_through":
        return {**out, "active": pi > 0}
    rebuilt = out["gate_code"] @ ports["dictionary"] + ports.get("bias", 0.0)
    rows = [sum(value**2 for value in row) for row in ports["target"] - rebuilt]
    return {**out, "auxiliary": settings["auxiliary_weight"] * sum(rows) / len(rows)}


def reference_grad(settings, ports, tensors, above):
    """Gradients by hand: equation 8's third term reaches the gate and the dictionary (whose wire the assembler may detach)."""
    pi, strength = paths(ports, tensors)
    on = (pi > 0).astype(float)
    d_pi = above["gate_code"] * on
    d_strength = above["code"] * on * (strength > 0)
    found = {}
    if settings["training"] == "straight_through":
        slope = kernel(pi / settings["bandwidth"], settings["kernel"]) / settings["bandwidth"]
        d_pi = d_pi + (above["code"] * np.maximum(strength, 0.0) + above["active"]) * slope
    else:
        gate_code = np.maximum(pi, 0.0)
        error = ports["target"] - gate_code @ ports["dictionary"] - ports.get("bias", 0.0)
        d_error = above["auxiliary"] * settings["auxiliary_weight"] * 2 * error / len(error)
        found["target"] = d_error
        found["dictionary"] = -gate_code.T @ d_error
        d_pi = d_pi - (d_error @ ports["dictionary"].T) * on
        if "bias" in ports:
            found["bias"] = -d_error.sum(0)
    return found | back_through_paths(d_pi, d_strength, ports, tensors)


def _sae(spec):
    document = base()
    document["graph"]["gate"] = spec
    document["losses"]["sparsity"]["of"] = "gate.gate_code"
    return document


EXAMPLE = Example(
    settings=STRAIGHT,
    cases=(
        Case(FROZEN),
        Case({**FROZEN, "auxiliary_weight": 0.3}, wired=("bias",)),
        Case(FROZEN, wired=("magnitude", "bias")),
        Case({"training": "unfrozen_decoder", "auxiliary_weight": 0.3}, wired=("bias",)),
        *(Case({"kernel": kernel, "bandwidth": 0.8}) for kernel in KERNELS),
        Case({"bandwidth": 0.8}, wired=("magnitude",)),
    ),
    fields={
        "training": Two("frozen_decoder", "unfrozen_decoder"),
        "auxiliary_weight": Two(0.5, 2.0, FROZEN),
        "kernel": Two("rectangle", "gaussian"),
        "bandwidth": Two(0.3, 1.5, STRAIGHT),
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
    "settings",
    [
        {"kernel": "gaussian"},
        {"training": "unfrozen_decoder", "bandwidth": 2.0},
        {"training": "straight_through", "auxiliary_weight": 2.0},
    ],
)
def test_a_setting_that_cannot_act_is_refused(settings: dict):
    with pytest.raises(ValidationError, match="cannot act with training"):
        Gated.Spec(**settings)


def test_a_full_dump_reads_back():
    spec = Gated.Spec(training="straight_through", kernel="gaussian")
    assert Gated.Spec.model_validate(spec.model_dump(by_alias=True)) == spec


def _decoder_gradients(gate: dict) -> dict[str, Tensor]:
    """Gradients of dictionary and bias for a fixed start, by name."""
    document = _sae({"kind": "gated", **gate})
    del document["graph"]["center"]  # it shares the decoder's bias, which the encoder's side of the task does reach
    torch.manual_seed(0)
    sae = assemble(parse(document), model=6, dtype=torch.float64).sae
    for value in sae.parameters():
        value.data = torch.randn_like(value)
    sae(data(), torch.tensor(0.5, dtype=torch.float64))[0].backward()
    found = {name: value.grad for name, value in sae.blocks["decoder"].named_parameters()}
    return {name: value for name, value in found.items() if value is not None}


def test_the_auxiliary_task_reaches_the_decoder_only_where_it_is_not_frozen():
    frozen, unfrozen, without = (_decoder_gradients(gate) for gate in (FROZEN, {"training": "unfrozen_decoder"}, {"auxiliary_weight": 0.0}))
    for name in ("dictionary", "bias"):
        torch.testing.assert_close(frozen[name], without[name])
        assert (unfrozen[name] - frozen[name]).norm() > 0.01 * frozen[name].norm()


def test_a_wire_says_the_same_as_the_setting():
    wired = {"from": {"dictionary": {"signal": "decoder.dictionary", "detach": False}, "bias": {"signal": "decoder.bias", "detach": False}}}
    said, by_wire = _decoder_gradients({"training": "unfrozen_decoder"}), _decoder_gradients(wired)
    for name, value in said.items():
        torch.testing.assert_close(by_wire[name], value)


@pytest.mark.parametrize("shape", KERNELS[2:])
def test_the_mean_pseudo_gradient_is_the_density_at_the_step(shape: str):
    """E K(pi / eps) / eps estimates the density of pi at zero: that is d/db E 1[s + b > 0], here N(0, 1) at 0.4."""
    torch.manual_seed(0)
    gate = Gated(Gated.Spec(training="straight_through", kernel=shape, bandwidth=0.1), Sizes(2, 3, {"gate": (Info(Signal.PRE, 3),)}))
    gate.b_gate.data.fill_(-0.4)
    gate(torch.randn(200_000, 3))["active"].mean(0).sum().backward()
    density = math.exp(-(0.4**2) / 2) / math.sqrt(2 * math.pi)
    # A Cauchy kernel's tails are heavy: its bias is of first order in the bandwidth.
    assert gate.b_gate.grad.tolist() == pytest.approx([density] * 3, rel=0.1 if shape == "cauchy" else 0.04)


def test_a_count_of_what_is_on_turns_latents_off_without_any_l1():
    spec = {"kind": "gated", "training": "straight_through"}
    assert share_on(spec, 1.0) < 0.5 * share_on(spec, 1e-9)


def test_counting_what_has_no_gradient_is_refused():
    with pytest.raises(AssemblyError, match=r"losses.*active"):
        assemble(parse(counted({"kind": "gated"})), model=6)
