"""Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from archsearch.blocks.optimizers._base import Optimizer
from archsearch.spec.block import BlockSpec, Field, Paper


class Adam(Optimizer):
    """Adam with bias correction; equal to `torch.optim.Adam` without weight decay.

    `m = b1 m + (1 - b1) g`; `v = b2 v + (1 - b2) g^2`; `p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.
    """

    class Spec(BlockSpec):
        kind: Literal["adam"] = "adam"
        lr: float = Field(1e-3, gt=0, description="Learning rate.")
        beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the running mean of gradients.")
        beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the running mean of squared gradients.")
        eps: float = Field(1e-8, gt=0, description="Added to the denominator.")

    paper = Paper(title="Adam: a method for stochastic optimization", url="https://arxiv.org/abs/1412.6980", where="algorithm 1")

    def __init__(self, spec: Spec):
        super().__init__()
        for name in ("lr", "beta1", "beta2", "eps"):
            self.setting(name, float(getattr(spec, name)))

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}

    def restart(self, moments: dict[str, Tensor], rows: Tensor) -> None:
        moments["mean"][rows] = 0
        # Not zero: bias correction is long over, so the next steps would be up to 1 / sqrt(1 - beta2) times too long.
        alive = moments["square"][~rows]
        moments["square"][rows] = alive.mean(0) if len(alive) else 0.0

    def update(self, gradient: Tensor, moments: dict[str, Tensor], parameter: Tensor, settings: Mapping[str, Tensor], step: Tensor) -> None:
        beta1, beta2 = settings["beta1"], settings["beta2"]
        mean, square = moments["mean"], moments["square"]
        mean.lerp_(gradient, 1 - beta1)
        square.lerp_(gradient * gradient, 1 - beta2)
        rate = settings["lr"] / (1 - beta1**step)
        parameter.sub_(rate * mean / ((square / (1 - beta2**step)).sqrt_() + settings["eps"]))
