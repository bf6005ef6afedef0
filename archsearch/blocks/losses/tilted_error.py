"""Tilted squared error."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._levels import Levelled, LevelledSpec
from archsearch.blocks.signals import SPACE, Port, Sizes
from archsearch.spec.block import Field, Paper


class TiltedError(Levelled):
    """Squared error of the reconstruction in which rows that are rebuilt badly count more.

    With `l_b = |x_b - x_hat_b|^2` and tilt t: `form: weights` is `sum_b v_b l_b`, `v = softmax_b(t l_b / mean l)`, the weights taken as
    constants; t has no unit. `form: log_mean_exp` is the paper's `(1 / t) log mean_b exp(t l_b)`, whose gradient has the weights
    `softmax_b(t l_b)`; t is in units of 1 / l. Where t is 0 both are `squared_error`.

    It takes the place of the reconstruction loss under its label: `losses: {reconstruction: {kind: tilted_error}}`. A reconstruction
    with a level axis gives one tilted error per level; its settings say what each counts and trains, as those of `squared_error`.

    Gradient: as said; in `weights` none flows through `v`.

    Differs from the paper: `weights` with t = 0.002 on a mean of 1, and its constant weights, are a later use on SAEs by chanind
    (claude-auto-research-synthsaebench).
    """

    class Spec(LevelledSpec):
        kind: Literal["tilted_error"] = "tilted_error"
        tilt: float = Field(
            0.002, ge=0, allow_inf_nan=False, description="Tilt t, at least 0; no unit with form: weights, else in units of 1 / loss."
        )
        form: Literal["weights", "log_mean_exp"] = Field("weights", description="Weights held constant, or the paper's soft maximum.")

    paper = Paper(title="Tilted empirical risk minimization", url="https://arxiv.org/abs/2007.01162", where="the TERM objective")
    inputs = {"reconstruction": Port(SPACE, default="output", levels=True), "target": Port(SPACE, default="target")}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("tilt", float(spec.tilt))
        self.weighted = spec.form == "weights"

    def forward(self, reconstruction: Float[Tensor, "*level batch model"], target: Float[Tensor, "batch model"]) -> Out:
        error = wide(target - self.seen(reconstruction)).square().sum(-1)
        return Out(loss=self.together(self._by_weights(error) if self.weighted else self._log_mean_exp(error)))

    def _by_weights(self, error: Float[Tensor, "*level batch"]) -> Float[Tensor, "*level"]:
        constant = error.detach()
        mean = constant.mean(-1, keepdim=True)
        relative = constant / torch.where(mean > 0, mean, 1.0)  # a perfect reconstruction has no hard rows
        return ((self.tilt * relative).softmax(-1) * error).sum(-1)

    def _log_mean_exp(self, error: Float[Tensor, "*level batch"]) -> Float[Tensor, "*level"]:
        tilted = self.tilt > 0
        tilt = torch.where(tilted, self.tilt, 1.0)
        highest = error.detach().amax(-1, keepdim=True)  # keeps exp within range; it cancels
        soft = (tilt * (error - highest)).exp().mean(-1).log() / tilt + highest.squeeze(-1)
        return torch.where(tilted, soft, error.mean(-1))
