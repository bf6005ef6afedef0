"""Gated encoder with an annealed sigmoid for its step."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._ramps import ramp
from archsearch.blocks.gates._two_paths import TwoPaths
from archsearch.blocks.signals import Given, Sizes
from archsearch.spec.block import Field, Paper, StepSpec, refuse_unused


class GatedSigmoid(TwoPaths):
    """Trains the gate as a sigmoid that sharpens into a step: `f = sigmoid(pi / tau) * m`; at inference `f = 1[pi > 0] * m`.

    `pi` and `m` are those of `gated`. `tau` falls from `tau_start` to `tau_end` exponentially over the first `anneal_frac` of the run.
    `active = sigmoid(pi / tau)`: its sum, an `l0` loss, is the penalty that goes with it.

    The code is dense while it is soft, so training never saw the codes that inference gives; in the last `hard_frac` of the run the forward
    pass takes the step, so that the decoder settles on what will be used. Whether a latent fired is counted on the
    codes inference would give.

    Gradient: the sigmoid's; where the forward pass takes the step, still that of the sigmoid at the temperature reached.

    Differs from the paper: there the sigmoid's argument is a weight's own parameter, here it depends on the row; `hard_frac` is ours.
    """

    class Spec(StepSpec):
        kind: Literal["gated_sigmoid"] = "gated_sigmoid"
        tau_start: float = Field(1.0, gt=0, description="First temperature (in units of pi).")
        tau_end: float = Field(0.01, gt=0, description="Last temperature (in units of pi), at most the first.")
        anneal_frac: float = Field(0.8, gt=0, le=1, description="Share of the run over which the temperature falls (0 to 1).")
        hard_frac: float = Field(0.1, ge=0, lt=1, description="Share of the run, at its end, that takes the step forward (0 to 1).")

        @model_validator(mode="after")
        def _fits(self) -> GatedSigmoid.Spec:
            if self.tau_end > self.tau_start:
                raise ValueError(f"tau_end must be at most tau_start; got {self.tau_end!r} > {self.tau_start!r}")
            if self.anneal_frac + self.hard_frac > 1 + 1e-9:
                got = f"{self.anneal_frac!r} and {self.hard_frac!r}"
                raise ValueError(f"anneal_frac and hard_frac must add up to 1 at most, so that the temperature gets to its end; got {got}")
            return refuse_unused(self, ("anneal_frac",) if self.tau_start == self.tau_end else (), "tau_start equal to tau_end")

    paper = Paper(
        title="Winning the lottery with continuous sparsification",
        url="https://arxiv.org/abs/1912.04427",
        where="the method: a sigmoid with a rising inverse temperature, and its sum as penalty",
    )

    soft = True

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(sizes)
        for name in ("tau_start", "tau_end", "anneal_frac", "hard_frac"):
            self.setting(name, float(getattr(spec, name)))

    @classmethod
    def given(cls, spec: Spec) -> dict[str, Given]:
        return {"progress": Given.PROGRESS}

    @classmethod
    def settled_frac(cls, spec: Spec) -> float:
        return 1 - spec.hard_frac

    def forward(
        self,
        gate: Float[Tensor, "batch latent"],
        magnitude: Float[Tensor, "batch latent"] | None = None,
        *,
        progress: Float[Tensor, ""],
    ) -> Out:
        pi, m = self.paths(gate, magnitude)
        tau = ramp(progress, self.tau_start, self.tau_end, self.anneal_frac, "exponential")
        soft = torch.sigmoid(pi / tau)
        step = (pi > 0).to(soft.dtype) + (soft - soft.detach())
        on = torch.where(progress >= 1 - self.hard_frac, step, soft)  # progress stays below 1: no hard part where hard_frac is 0
        return Out(code=on * m, gate_code=pi.relu(), active=on)
