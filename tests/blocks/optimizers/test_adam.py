from __future__ import annotations

import pytest
import torch

from archsearch.blocks.optimizers.adam import Adam
from tests.blocks.harness import Example, Two


def reference(settings, ports, tensors):
    """Algorithm 1 on plain numbers: parameters after the gradients given, one after the other."""
    theta, m, v = list(ports["parameter"]), [0.0] * len(ports["parameter"]), [0.0] * len(ports["parameter"])
    for t, gradient in enumerate(ports["gradients"], start=1):
        for i, g in enumerate(gradient):
            m[i] = settings["beta1"] * m[i] + (1 - settings["beta1"]) * g
            v[i] = settings["beta2"] * v[i] + (1 - settings["beta2"]) * g * g
            m_hat, v_hat = m[i] / (1 - settings["beta1"] ** t), v[i] / (1 - settings["beta2"] ** t)
            theta[i] -= settings["lr"] * m_hat / (v_hat**0.5 + settings["eps"])
    return {"parameter": theta}


EXAMPLE = Example(
    fields={"lr": Two(0.01, 0.02), "beta1": Two(0.9, 0.0), "beta2": Two(0.999, 0.9), "eps": Two(1e-8, 1e-2)}, reference=reference
)


def test_the_first_step_has_the_size_of_the_learning_rate():
    adam = Adam(Adam.Spec(lr=0.1))
    parameter, gradient = torch.zeros(2), torch.tensor([5.0, -0.001])
    settings = {name: getattr(adam, name) for name in adam.settings}
    adam.update(gradient, adam.moments(parameter), parameter, settings, torch.tensor(1.0))
    assert parameter.tolist() == pytest.approx([-0.1, 0.1], rel=1e-3)
