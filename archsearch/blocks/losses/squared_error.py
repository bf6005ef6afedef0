"""Squared error of the reconstruction."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._levels import Levelled, LevelledSpec
from archsearch.blocks.signals import SPACE, Port, Sizes


class SquaredError(Levelled):
    """Sums the squared error over the model's dimensions, and takes the mean over rows: `mean_b |x - x_hat|^2`.

    A reconstruction with a level axis gives one error per level, each times its `level_weights`; `levels` says how they are put together.
    `levels: mean` divides by the number of levels, not by the sum of weights.

    Gradient: with `inner: added` the error of level l, neither the first nor the last, goes to what tells its reconstruction from that of
    level l - 1, which is taken as a constant: to the latents it adds and their dictionary rows. The first level and the last train all
    they hold.
    """

    class Spec(LevelledSpec):
        kind: Literal["squared_error"] = "squared_error"

    paper = None
    inputs = {"reconstruction": Port(SPACE, default="output", levels=True), "target": Port(SPACE, default="target")}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)

    def forward(self, reconstruction: Float[Tensor, "*level batch model"], target: Float[Tensor, "batch model"]) -> Out:
        return Out(loss=self.together(wide(target - self.seen(reconstruction)).square().sum(-1)))
