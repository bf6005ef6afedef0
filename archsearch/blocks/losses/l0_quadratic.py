"""Quadratic loss on L0."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class L0Quadratic(Loss):
    """Pulls the number of latents that are on, `L0_b = sum_i 1[h_bi > theta_i]`, to a target T from both sides.

    `per: batch` is `(mean_b L0_b / T - 1)^2` (dictionary_learning): rows may differ, their mean may not. `per: row` is
    `mean_b (2 / T) (L0_b - T)^2` (SAELens; said to be Gemma Scope 2's): every row is pulled to the same L0, whatever it holds. For the same
    relative miss the second is 2 T times the first, plus what the rows' spread costs.

    It reads a gate's `active` signal, which carries a pseudo-gradient to what switches latents.
    """

    class Spec(LossSpec):
        kind: Literal["l0_quadratic"] = "l0_quadratic"
        target: float = Field(32.0, gt=0, allow_inf_nan=False, description="L0 aimed at, T (latents per row).")
        per: Literal["batch", "row"] = Field("batch", description="Square the miss of the batch's mean, or of every row.")

    paper = Paper(
        title="Jumping ahead: improving reconstruction fidelity with JumpReLU sparse autoencoders",
        url="https://arxiv.org/abs/2407.14435",
        where="appendix, other loss functions: a target L0",
    )
    sparsity = l0_setting = "target"
    inputs = {"active": Port((Signal.ACTIVE,), default="active")}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        self.setting("target", float(spec.target))
        self.per_row = spec.per == "row"

    def forward(self, active: Float[Tensor, "batch latent"]) -> Out:
        count = wide(active).sum(-1)
        if self.per_row:
            return Out(loss=(2 / self.target * (count - self.target).square()).mean())
        return Out(loss=(count.mean() / self.target - 1).square())
