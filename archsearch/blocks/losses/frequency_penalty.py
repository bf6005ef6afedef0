"""Quadratic penalty on firing frequencies."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class FrequencyPenalty(Loss):
    """Counts latents that are on, and those that are on often more: `sum_i w_i (1 + w_i / w0)`.

    `w_i = mean_b 1[h_bi > theta_i]` is the share of the batch's rows in which a latent is on. Far below w0 it is `l0`, `sum_i w_i` being
    the mean L0; at w0 the price of firing has doubled, so latents that fire in more than that share of rows die out. A small batch measures
    w_i with noise, which adds about `w_i (1 - w_i) / (batch w0)`.

    It reads a gate's `active` signal, which carries a pseudo-gradient to what switches latents.

    Gradient: `(1 + 2 w_i / w0) / batch` times that of each entry of `active`.
    """

    class Spec(LossSpec):
        kind: Literal["frequency_penalty"] = "frequency_penalty"
        w0: float = Field(0.1, gt=0, allow_inf_nan=False, description="Firing frequency at which the square costs as much (share of rows).")

    paper = Paper(
        title="Negative results for SAEs on downstream tasks and deprioritising SAE research (progress update 2)",
        url="https://www.lesswrong.com/posts/4uXCAJNuPKtKBsi28/sae-progress-update-2-draft",
        where="removing high frequency latents: modifying the sparsity penalty",
    )
    sparsity = "weight"
    inputs = {"active": Port((Signal.ACTIVE,), default="active")}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        self.setting("w0", float(spec.w0))

    def forward(self, active: Float[Tensor, "batch latent"]) -> Out:
        frequency = wide(active).mean(0)
        return Out(loss=(frequency * (1 + frequency / self.w0)).sum())
