"""Squared error of the reconstruction."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import SPACE, Port, Sizes
from archsearch.spec.block import Field, LossSpec


class SquaredError(Loss):
    """Sums the squared error over the model's dimensions, and takes the mean over rows: `mean_b |x - x_hat|^2`.

    A reconstruction with a level axis gives one error per level; `levels` says how they are put together.
    """

    class Spec(LossSpec):
        kind: Literal["squared_error"] = "squared_error"
        levels: Literal["sum", "mean"] = Field("sum", description="How the errors of several levels are put together.")

    paper = None
    inputs = {"reconstruction": Port(SPACE, default="output", levels=True), "target": Port(SPACE, default="target")}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        levels = max((info.levels for info in sizes.inputs.get("reconstruction", ())), default=0)
        self.share = 1.0 if spec.levels == "mean" else float(max(levels, 1))

    def forward(self, reconstruction: Float[Tensor, "*level batch model"], target: Float[Tensor, "batch model"]) -> Out:
        return Out(loss=wide(target - reconstruction).square().sum(-1).mean() * self.share)
