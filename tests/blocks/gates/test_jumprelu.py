from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.gates.jumprelu import JumpReLU
from archsearch.blocks.signals import Sizes
from tests.blocks.gates.shared import counted, kernel
from tests.blocks.harness import Case, Example, Two


def _theta(settings, tensors):
    return np.exp(tensors["log_theta"]) if settings["parametrisation"] == "log_theta" else tensors["theta"]


def reference(settings, ports, tensors):
    theta = _theta(settings, tensors)
    on = [[1.0 if h > t else 0.0 for h, t in zip(row, theta)] for row in ports["pre"]]
    return {"code": np.array(on) * ports["pre"], "active": on}


def reference_grad(settings, ports, tensors, above):
    """The paper's pseudo-derivatives times upstream gradients, entry by entry."""
    pre, theta, width = ports["pre"], _theta(settings, tensors), settings["bandwidth"]
    d_pre, d_theta = np.zeros_like(pre), np.zeros_like(theta)
    for (row, i), h in np.ndenumerate(pre):
        on = h > theta[i]
        half = settings["kernel_on"] == "magnitude"
        jump = kernel(((max(h, 0.0) if half else h) - theta[i]) / width, settings["kernel"]) / width
        step = kernel(((h if on else 0.0) - theta[i]) / width, settings["kernel"]) / width if half else jump
        moved = theta[i] * jump * above["code"][row, i] + step * above["active"][row, i]
        d_theta[i] -= moved
        d_pre[row, i] = above["code"][row, i] * on + (moved if settings["to_input"] else 0.0)
    if settings["parametrisation"] == "log_theta":
        return {"pre": d_pre, "log_theta": d_theta * (1.0 if settings["log_gradient"] == "literal" else theta)}
    return {"pre": d_pre, "theta": d_theta}


EXAMPLE = Example(
    settings={"threshold": 0.3, "bandwidth": 0.7},
    cases=(
        *(Case({"kernel": kernel}) for kernel in ("rectangle", "triangle", "sigmoid", "gaussian")),
        Case({"parametrisation": "log_theta"}),
        Case({"parametrisation": "log_theta", "log_gradient": "literal", "to_input": True}),
        Case({"kernel_on": "magnitude"}),
        Case({"kernel_on": "magnitude", "to_input": True, "kernel": "gaussian"}),
        Case({"to_input": True}),
    ),
    fields={
        "threshold": Two(0.1, 0.5),
        "bandwidth": Two(0.3, 1.5),
        "kernel": Two("rectangle", "triangle"),
        "parametrisation": Two("theta", "log_theta"),
        "kernel_on": Two("pre", "magnitude"),
        "to_input": Two(False, True),
        "log_gradient": Two("chain", "literal", {"parametrisation": "log_theta"}),
    },
    reference=reference,
    reference_grad=reference_grad,
    sae=counted,
)


def _gate(**settings) -> JumpReLU:
    return JumpReLU(JumpReLU.Spec(**settings), Sizes(2, 3))


def test_values_above_the_threshold_pass_unchanged():
    out = _gate(threshold=1.0)(torch.tensor([[0.9, 1.0, 1.5]]))
    assert out["code"].tolist() == [[0.0, 0.0, 1.5]]
    assert out["active"].tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize(("kernel_on", "felt"), [("pre", [-1.0, -1.0, 0.0]), ("magnitude", [0.0, -1.0, 0.0])])
def test_full_and_half_kernel(kernel_on: str, felt: list[float]):
    """Just below, just above and far above a threshold of 1 with bandwidth 1: the paper's pseudo-code feels only those above."""
    gate = _gate(threshold=1.0, bandwidth=1.0, kernel_on=kernel_on)
    gate(torch.tensor([[0.8, 1.2, 3.0]]))["active"].sum().backward()
    assert gate.theta.grad.tolist() == felt


def test_a_threshold_below_zero_is_set_back():
    gate = _gate()
    gate.theta.data = torch.tensor([-1.0, 0.0, 2.0])
    gate.renormalise({"theta": gate.theta.data})
    assert gate.theta.tolist() == [0.0, 0.0, 2.0]


def test_the_pseudo_gradient_is_that_of_the_expected_count():
    """The mean pseudo-gradient estimates the derivative of E 1[h > theta], minus the density at theta (kernel density estimate)."""
    torch.manual_seed(0)
    gate = _gate(threshold=0.7, bandwidth=0.2)
    gate(torch.randn(200_000, 3))["active"].mean(0).sum().backward()
    density = math.exp(-(0.7**2) / 2) / math.sqrt(2 * math.pi)
    assert gate.theta.grad.tolist() == pytest.approx([-density] * 3, rel=0.03)


@pytest.mark.parametrize(("log_gradient", "felt"), [("chain", [-4.0, -2.0]), ("literal", [-2.0, -1.0])])
def test_a_log_threshold_by_the_chain_rule_and_as_printed(log_gradient: str, felt: list[float]):
    """A threshold of 2 with bandwidth 1, one row just above it: theta / eps is 2, 1 / eps is 1; the chain rule doubles both."""
    for name, expected in zip(("code", "active"), felt):
        gate = _gate(threshold=2.0, bandwidth=1.0, parametrisation="log_theta", log_gradient=log_gradient)
        gate(torch.tensor([[2.2, 9.0, 0.0]]))[name].sum().backward()
        assert gate.log_theta.grad.tolist() == pytest.approx([expected, 0.0, 0.0])


@pytest.mark.parametrize(("parametrisation", "slope"), [("theta", 1.0), ("log_theta", 2.0)])
def test_the_threshold_it_exposes_is_theta(parametrisation: str, slope: float):
    gate = _gate(threshold=2.0, parametrisation=parametrisation)
    gate.threshold.sum().backward()
    assert gate.threshold.tolist() == pytest.approx([2.0] * 3)
    assert next(gate.parameters()).grad.tolist() == pytest.approx([slope] * 3)


def test_a_gradient_of_the_logarithm_needs_a_logarithm():
    with pytest.raises(ValidationError, match="cannot act with parametrisation: theta"):
        JumpReLU.Spec(log_gradient="literal")
