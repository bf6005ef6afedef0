"""Pre-activation loss."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.losses._penalty import DICTIONARIES, Dictionaries, Norms, Rows
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper, refuse_unused


class PreAct(Loss):
    """Lifts pre-activations that stay below their threshold, so that latents do not die: `mean_b sum_i relu(theta_i - h_bi) |d_i|`.

    `theta` is the threshold of the gate, 0 where it has none; `|d_i|` over several decoders of a code is what penalties take it for.
    `latents: all` is the January 2025 form: rows in which a latent is rightly off pull at it too, so the coefficient is tiny.
    `latents: dead` (SAELens) takes only latents that have not fired for `dead_after_frac` of the run.

    Gradient: it flows to the pre-activations, down into the threshold, and into the norms of the dictionary, as in SAELens and
    OpenMOSS; a wire with `detach: true` stops any of them (`from: {threshold: {signal: gate.threshold, detach: true}}`).

    Differs from the paper: crosscode hands it the gated code instead of pre-activations, which makes every latent that is off cost its
    whole threshold and has no gradient to the encoder; that is not done here.
    """

    class Spec(LossSpec):
        kind: Literal["pre_act"] = "pre_act"
        weight: float = Field(3e-6, ge=0, allow_inf_nan=False, description="Coefficient of the term (in units of E|x|^2 = d).")
        latents: Literal["all", "dead"] = Field("all", description="Latents the loss is taken over.")
        dictionaries: Dictionaries = DICTIONARIES
        dead_after_frac: float | None = Field(
            None, gt=0, lt=1, description="Share of the run without firing after which a latent is dead; latents: dead only. null: 0.05."
        )

        @model_validator(mode="after")
        def _acting(self) -> PreAct.Spec:
            return refuse_unused(self, ("dead_after_frac",) if self.latents == "all" else (), f"latents: {self.latents}")

    paper = Paper(
        title="Circuits updates, January 2025",
        url="https://transformer-circuits.pub/2025/january-update/index.html",
        where="dictionary learning: the pre-act loss",
    )
    inputs = {
        "pre": Port((Signal.PRE,), default="pre"),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary", many=True),
        "threshold": Port((Signal.THRESHOLD,), default="threshold", optional=True),
        "idle": Port((Signal.IDLE,), default="dictionary"),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        self.norms = Norms(spec.dictionaries, sizes)
        self.setting("dead_after_frac", 0.05 if spec.dead_after_frac is None else spec.dead_after_frac)

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.latents == "dead" else {name: cls.inputs[name] for name in ("pre", "dictionary", "threshold")}

    def forward(
        self,
        pre: Float[Tensor, "batch latent"],
        dictionary: Rows,
        threshold: Float[Tensor, " latent"] | None = None,
        idle: Float[Tensor, " latent"] | None = None,
    ) -> Out:
        below = (-pre if threshold is None else threshold - pre).relu() * self.norms(dictionary)
        if idle is not None:
            below = torch.where(idle >= self.dead_after_frac, below, 0.0)
        return Out(loss=wide(below).sum(-1).mean())
