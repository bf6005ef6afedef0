"""Gated encoder with hard concrete noise for its step."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._noise import DrawnGate
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class GatedHardConcrete(DrawnGate):
    """Trains the gate as a hard concrete variable: `f = z * m`, `z = clip(s (zeta - gamma) + gamma, 0, 1)`.

    `s = sigmoid((log u - log(1 - u) + pi) / beta)` with `u` uniform; `pi` and `m` are those of `gated`. A stretched and clipped `z` is
    exactly 0 or exactly 1 with a chance of its own, and in between it has a gradient. `active = P(z > 0) = sigmoid(pi - beta log(-gamma /
    zeta))`: its sum, an `l0` loss, is the expected L0. At inference `z = clip(sigmoid(pi) (zeta - gamma) + gamma, 0, 1)`, without noise:
    a latent is on where `pi > log(-gamma / zeta)`, its `threshold` (-2.4 by default), and its gate may stay between 0 and 1.

    Gradient: that of the clipped value with the noise held; none where it is clipped. The expected L0 reaches every `pi`.

    Differs from the paper: there `pi` is a parameter of a weight, here it depends on the row.
    """

    class Spec(StepSpec):
        kind: Literal["gated_hard_concrete"] = "gated_hard_concrete"
        beta: float = Field(2 / 3, gt=0, description="Temperature of the noise (in units of pi).")
        gamma: float = Field(-0.1, lt=0, allow_inf_nan=False, description="Lower end of the stretched gate, below 0 (no unit).")
        zeta: float = Field(1.1, gt=1, allow_inf_nan=False, description="Upper end of the stretched gate, above 1 (no unit).")

    paper = Paper(
        title="Learning sparse neural networks through L0 regularization",
        url="https://arxiv.org/abs/1712.01312",
        where="the hard concrete distribution, its expected L0 and its test-time estimator",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(sizes)
        for name in ("beta", "gamma", "zeta"):
            self.setting(name, float(getattr(spec, name)))

    @property
    def threshold(self) -> Float[Tensor, " latent"]:
        """What the gate's pre-activation must exceed for its latent to be on at inference."""
        return torch.log(-self.gamma / self.zeta) - self.b_gate

    def drawn(self, noisy: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return self._stretch(torch.sigmoid(noisy / self.beta))

    def chance(self, pi: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return torch.sigmoid(pi - self.beta * torch.log(-self.gamma / self.zeta))

    def infer(self, gate: Float[Tensor, "batch latent"], magnitude: Float[Tensor, "batch latent"] | None = None, **_: Tensor) -> Out:
        pi, m = self.paths(gate, magnitude)
        return Out(code=self._stretch(torch.sigmoid(pi)) * m, gate_code=pi.relu(), active=self.chance(pi))

    def _stretch(self, s: Tensor) -> Tensor:
        return (s * (self.zeta - self.gamma) + self.gamma).clamp(0, 1)
