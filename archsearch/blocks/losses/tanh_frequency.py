"""Quadratic penalty on soft firing frequencies."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper


class TanhFrequency(Penalty):
    """Adds the square of soft firing frequencies to a tanh penalty: `sum_i s_i (1 + s_i / w0)`, `s_i = mean_b tanh(c |f_bi|)`.

    `tanh_penalty` is `sum_i s_i`; the square makes latents that are on in more than a share w0 of rows dear. It needs no gate that says
    what is on. OpenMOSS' Language-Model-SAEs calls it `tanh-quad`, with `norm: dictionary`. Of a code with levels each level has
    frequencies of its own, and the mean over levels is taken.
    """

    class Spec(PenaltySpec):
        kind: Literal["tanh_frequency"] = "tanh_frequency"
        c: float = Field(4.0, gt=0, allow_inf_nan=False, description="Steepness c (per unit of the code).")
        w0: float = Field(0.01, gt=0, allow_inf_nan=False, description="Soft frequency at which the square costs as much (share of rows).")

    paper = Paper(
        title="Language-Model-SAEs", url="https://github.com/OpenMOSS/Language-Model-SAEs", where="the sparsity loss named tanh-quad"
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("c", float(spec.c))
        self.setting("w0", float(spec.w0))

    def forward(self, code: Float[Tensor, "*level batch latent"], dictionary: Rows | None = None) -> Out:
        frequency = (self.c * self.sizes(code, dictionary)).tanh().mean(-2)
        return Out(loss=(frequency * (1 + frequency / self.w0)).sum(-1).mean())
