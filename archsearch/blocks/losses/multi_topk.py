"""Multi-TopK loss."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.losses._relative import relative
from archsearch.blocks.signals import SPACE, Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class MultiTopK(Loss):
    """Rebuilds the target a second time, from more latents than the gate keeps, so that codes serve at other counts too.

    With `z` the `k` largest pre-activations of each row, clipped at zero, and `x_hat = z D + b`: `mean_b |x - x_hat|^2`. Published
    values: `k` four times the gate's, `weight` 1/8. `scale: fvu` gives the share of the target's variance left, times d:
    `d * mean_b |x - x_hat|^2 / mean_b |x - mean_b x|^2`; it is zero for a batch of equal rows.

    Gradient: reaches encoder, dictionary and bias, as the reconstruction's does.
    """

    class Spec(LossSpec):
        kind: Literal["multi_topk"] = "multi_topk"
        weight: float = Field(1 / 8, ge=0, allow_inf_nan=False, description="Coefficient of the term (in units of E|x|^2 = d).")
        k: int = Field(128, ge=1, description="Latents kept per row by this term (count); published: four times the gate's.")
        scale: Literal["plain", "fvu"] = Field("plain", description="Squared error as it is, or relative to the target's variance.")

    paper = Paper(
        title="Scaling and evaluating sparse autoencoders",
        url="https://arxiv.org/abs/2406.04093",
        where="the Multi-TopK loss: L(k) + L(4k) / 8",
    )
    inputs = {
        "pre": Port((Signal.PRE,), default="pre"),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary"),
        "target": Port(SPACE, default="target"),
        "bias": Port((Signal.BIAS,), default="dictionary", optional=True),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        self.k_bound = sizes.bound(spec.k)
        self.setting("k", spec.k)
        self.relative = spec.scale == "fvu"

    def forward(
        self,
        pre: Float[Tensor, "batch latent"],
        dictionary: Float[Tensor, "latent model"],
        target: Float[Tensor, "batch model"],
        bias: Float[Tensor, " model"] | None = None,
    ) -> Out:
        kept = pre.topk(self.k_bound, dim=-1)
        values = kept.values.relu() * (torch.arange(self.k_bound, device=pre.device) < self.k)
        rebuilt = torch.zeros_like(pre).scatter(-1, kept.indices, values) @ dictionary
        error = target - (rebuilt if bias is None else rebuilt + bias)
        missed = wide(error).square().sum(-1).mean()
        return Out(loss=relative(missed, target) if self.relative else missed)
