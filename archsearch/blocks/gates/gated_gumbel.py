"""Gated encoder with binary Gumbel noise for its step."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._noise import logistic
from archsearch.blocks.gates._two_paths import TwoPaths
from archsearch.blocks.signals import Given, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class GatedGumbel(TwoPaths):
    """Trains the gate as a coin flip with a relaxed gradient: `f = 1[s > 1/2] * m`; at inference `f = 1[pi > 0] * m`.

    `s = sigmoid((log u - log(1 - u) + pi) / beta)` with `u` uniform, a binary concrete variable; `pi` and `m` are those of `gated`. The
    coin comes up with the chance `active = sigmoid(pi)`: its sum, an `l0` loss, is the expected L0. With `hard: false` the code is `s * m`,
    dense in training.

    Gradient: that of `s` with the noise held, for the coin too (straight-through).

    Differs from the paper: two categories, written as one logit.
    """

    class Spec(StepSpec):
        kind: Literal["gated_gumbel"] = "gated_gumbel"
        beta: float = Field(2 / 3, gt=0, description="Temperature of the relaxation (in units of pi).")
        hard: bool = Field(True, description="Take the coin forward, or its relaxation.")

    paper = Paper(
        title="Categorical reparameterization with Gumbel-softmax",
        url="https://arxiv.org/abs/1611.01144",
        where="the Gumbel-softmax distribution and its straight-through estimator",
    )

    soft = True

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(sizes)
        self.hard = spec.hard
        self.setting("beta", float(spec.beta))

    @classmethod
    def given(cls, spec: Spec) -> dict[str, Given]:
        return {"uniform": Given.UNIFORM}

    def forward(
        self,
        gate: Float[Tensor, "batch latent"],
        magnitude: Float[Tensor, "batch latent"] | None = None,
        *,
        uniform: Float[Tensor, "batch latent"],
    ) -> Out:
        pi, m = self.paths(gate, magnitude)
        noisy = logistic(uniform) + pi
        s = torch.sigmoid(noisy / self.beta)
        on = (noisy > 0).to(s.dtype) + (s - s.detach()) if self.hard else s
        return Out(code=on * m, gate_code=pi.relu(), active=torch.sigmoid(pi))
