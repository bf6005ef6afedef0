"""Auxiliary loss on dead latents."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import SPACE, Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class AuxK(Loss):
    """Rebuilds what the SAE got wrong from dead latents alone, so that they learn what is missing (AuxK).

    With `e` the error of the SAE, taken as a constant, and `z` the `k_aux` largest pre-activations of each row among latents that have not
    fired for `dead_after_frac` of the run, `e_hat = z D` (no bias). `scale: fvu` gives the share of the error's variance left, times d:
    `d * mean_b |e - e_hat|^2 / mean_b |e - mean_b e|^2`, the paper's ratio to the reconstruction's error where that is summed over d.
    `scale: dead_share` gives `min(dead / k_aux, 1) * mean_b |e - e_hat|^2`. The term is zero while no latent is dead.

    Of an error with a level axis the last level is taken.

    Differs from the paper: by default values are clipped at zero before they are chosen, not after, which differs only in rows with fewer
    than `k_aux` positive ones; a latent is dead after a share of the run, where the paper says 10M tokens. `candidates: raw` with
    `scale: dead_share` is SAELens' form with a unit-norm dictionary;
    dictionary_learning's leaves d out of `fvu`: divide `weight` by d for it.
    """

    class Spec(LossSpec):
        kind: Literal["aux_k"] = "aux_k"
        weight: float = Field(1 / 32, ge=0, allow_inf_nan=False, description="Coefficient of the term (in units of E|x|^2 = d).")
        k_aux: int | None = Field(None, ge=1, description="Dead latents used per row (count); null: half the model's width.")
        dead_after_frac: float = Field(0.05, gt=0, lt=1, description="Share of the run without firing after which a latent is dead.")
        candidates: Literal["relu", "raw"] = Field("relu", description="Clip dead pre-activations at zero, or use negative ones too.")
        scale: Literal["fvu", "dead_share"] = Field(
            "fvu", description="Relative to the error's variance, or plain by the share of dead latents."
        )

    paper = Paper(
        title="Scaling and evaluating sparse autoencoders", url="https://arxiv.org/abs/2406.04093", where="section 2.4; appendix A.2"
    )
    inputs = {
        "pre": Port((Signal.PRE,), default="pre"),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary"),
        "idle": Port((Signal.IDLE,), default="dictionary"),
        "target": Port(SPACE, default="target"),
        "reconstruction": Port(SPACE, default="output", levels=True),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        wanted = spec.k_aux or max(sizes.model // 2, 1)
        self.k_aux_bound = sizes.bound(wanted)
        self.setting("k_aux", wanted)
        self.setting("dead_after_frac", spec.dead_after_frac)
        self.clipped, self.relative = spec.candidates == "relu", spec.scale == "fvu"
        self.levels = any(info.levels for info in sizes.inputs["reconstruction"])

    def forward(
        self,
        pre: Float[Tensor, "batch latent"],
        dictionary: Float[Tensor, "latent model"],
        idle: Float[Tensor, " latent"],
        target: Float[Tensor, "batch model"],
        reconstruction: Float[Tensor, "*level batch model"],
    ) -> Out:
        error = (target - (reconstruction[-1] if self.levels else reconstruction)).detach()
        dead = idle >= self.dead_after_frac
        rebuilt = self._chosen(pre, dead) @ dictionary
        missed = (error - rebuilt).square().sum(-1).mean()
        if self.relative:
            variance = (error - error.mean(0)).square().sum(-1).mean()
            usable = variance > 0  # a perfect reconstruction, or a batch of one row, has none
            loss = torch.where(usable, missed * error.shape[-1] / torch.where(usable, variance, 1.0), 0.0)
        else:
            loss = missed * (dead.sum() / self.k_aux).clamp(max=1)
        return Out(loss=torch.where(dead.any(), loss, 0.0))

    def _chosen(self, pre: Tensor, dead: Tensor) -> Tensor:
        """Returns the pre-activations of each row's chosen dead latents, zero elsewhere."""
        values = pre.relu() if self.clipped else pre
        best = torch.where(dead, values, -torch.inf).topk(self.k_aux_bound, dim=-1)
        kept = best.values.isfinite() & (torch.arange(self.k_aux_bound, device=pre.device) < self.k_aux)
        return torch.zeros_like(pre).scatter(-1, best.indices, torch.where(kept, best.values, 0.0))
