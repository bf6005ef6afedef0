"""Gated encoder with binary Gumbel noise for its step."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks.gates._noise import DrawnGate
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class GatedGumbel(DrawnGate):
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

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(sizes)
        self.hard = spec.hard
        self.setting("beta", float(spec.beta))

    def drawn(self, noisy: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        s = torch.sigmoid(noisy / self.beta)
        return (noisy > 0).to(s.dtype) + (s - s.detach()) if self.hard else s

    def chance(self, pi: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return torch.sigmoid(pi)
